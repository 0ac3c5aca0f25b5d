//! Every way back from a version that is not merely other code: the release
//! before it was made of edits, its commit is on no branch any more, the env
//! files were edited, services came and went, and a task was waiting.
//!
//! One stand: the containers as found, a release of edits, a bad version that
//! changes everything at once, a good one, and back again.

use crate::support::before::Before;
use crate::support::process::tool;
use crate::support::world::APPS;
use crate::support::writer::Writer;
use crate::support::{Checks, Evidence, SOON, Stand, wait_for};
use changed::{Ways, without_beat};
use serde_json::Value;
use std::net::{TcpListener, TcpStream};
use std::path::Path;

#[path = "changed.rs"]
mod changed;

const SNAPSHOTS: &str = "SELECT count(*) FROM planner.kpi_snapshots";

#[test]
fn edits_rewritten_history_env_files_services_and_queues_all_go_back() {
    let stand = Stand::with(|repo| {
        let path = repo.join("ops/xtask.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let queues = "\n[rollback]\nqueue_keys = [\"celery\", \"later\", \"unacked*\"]\n";
        std::fs::write(&path, text + queues).unwrap();
        let path = repo.join(".env.docker");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text + "FF_GREETING=then\n").unwrap();
    });
    let compose = std::fs::read_to_string(stand.repo.join("docker-compose.yml")).unwrap();
    let mut ways = Ways { stand, checks: Checks::default(), compose };
    let found = as_found(&mut ways);
    let (before, good) = everything_at_once(&mut ways, &found);
    the_next_release(&mut ways, &good);
    and_back_again(&mut ways, &before, &good);
    let Ways { stand, checks, .. } = &mut ways;
    checks.that("no secret", || stand.no_secret_anywhere());
    ways.checks.all_hold();
}

/// Containers that somebody started from edits; the first release; back to them, although git has
/// forgotten the commit that they were started on.
fn as_found(ways: &mut Ways) -> Evidence {
    ways.stand.edit("src/version.py", "VERSION = \"1\"", "VERSION = \"0-found\"");
    let project = ways.stand.project.clone();
    let up = ["compose", "-p", &project, "up", "-d", "--build"];
    tool("docker", &up, &ways.stand.repo, None);
    // By its port: the server that a new database is made with answers in its container, too, and ends.
    wait_for("the database", SOON * 2, || {
        ways.stand.get("/health/extended").filter(|a| a.json["ready"] == true).map(|_| ())
    });
    let images = APPS.map(|s| ways.stand.containers()[s].image.clone());
    ways.stand.run(&["release", "--yes", "--allow-dirty", "as it is"]).expect(0);
    ways.rewrite_history();
    let outcome = ways.stand.run(&["rollback", "--yes", "--json"]).expect(0);
    let evidence = ways.stand.evidence(&outcome);
    let Ways { stand, checks, .. } = ways;
    checks.that("as found: the edits run again, from a commit that only the program names", || {
        let at = &evidence.at;
        let now = stand.containers();
        assert_eq!(APPS.map(|s| now[s].image.clone()), images, "images{at}");
        let source = now["api"].source.clone().unwrap();
        assert!(source.starts_with(stand.beside()), "the source {}{at}", source.display());
        let file = std::fs::read_to_string(source.join("src/version.py")).unwrap();
        assert!(file.contains("0-found"), "not the edits that were found: {file}{at}");
        assert_eq!(evidence.json("rollback.json")["code"]["kind"], "as found", "kind{at}");
        outcome.says("not this checkout");
        outcome.says("cargo xtask release");
    });
    evidence
}

/// A good release of edits, its commit rewritten; then the bad version.
fn everything_at_once(ways: &mut Ways, found: &Evidence) -> (Before, Evidence) {
    let good = ways.release_of_edits();
    ways.stand.runs_version("1-edited");
    ways.rewrite_history();
    let last = ways.stand.run(&["status", "--json"]).expect(0).json()["last_known_good"].clone();
    let commit = last["commit"].as_str().unwrap().to_string();
    let Ways { stand, checks, .. } = ways;
    checks.that("a source beside the checkout is what the next first release finds", || {
        let commit = |of: &Value| of["commit"].as_str().map(String::from);
        let (ran, target) = (found.json("rollback.json"), good.json("readiness.json"));
        assert_eq!(commit(&target["source"]), commit(&ran["code"]), "what it goes back to{}", good.at);
    });
    checks.that("rewritten history: status tells it", || {
        assert_eq!((&last["dirty"], &last["rid"]), (&Value::Bool(true), &Value::from(good.rid())));
        let words = stand.run(&["status"]).expect(0);
        for text in [
            "made of uncommitted edits on commit",
            "on no branch any more",
            &format!("refs/ff-xtask/lkg/{}", good.rid()),
        ] {
            words.says(text);
            stand.run(&["doctor"]).says(text);
        }
    });

    // One task that version 1 has done, and one that nobody takes there.
    ways.send("planner.kpi.snapshot", "celery");
    wait_for("the task that version 1 does", SOON, || (ways.stand.value(SNAPSHOTS) == "1").then_some(()));
    let waiting = ways.send("planner.kpi.snapshot", "later");
    let other = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = other.local_addr().unwrap().port();
    drop(other);
    ways.bad_version(port);
    let defined = APPS.map(|s| ways.definition(s));
    let writer = Writer::start(&ways.stand, "ways");
    let before = Before::of(&ways.stand);
    ways.stand.set("FF_SMOKE_TIMEOUT_S", "60");
    let outcome = ways.stand.run(&["release", "--yes", "--json"]).expect(30);
    ways.stand.set("FF_SMOKE_TIMEOUT_S", "20");
    writer.acked_in_newest();
    let sessions = writer.stop();
    let evidence = ways.stand.evidence(&outcome);
    let at = &evidence.at;
    let record = evidence.json("rollback.json");

    let mut checks = std::mem::take(&mut ways.checks);
    let stand = &ways.stand;
    checks.that("the baseline and the proof ask what runs, not what the checkout defines", || {
        assert_eq!(evidence.verdict(), ("FAIL".into(), 30), "verdict{at}");
        assert_eq!(evidence.json("precheck.json")["baseline"]["ok"], true, "baseline{at}");
        assert_eq!(record["smoke"]["ok"], true, "smoke after the rollback: {:#}{at}", record["smoke"]);
        assert!(evidence.json("summary.json")["downtime_ms"]["measured"].is_u64(), "downtime{at}");
        stand.run(&["smoke"]).expect(0);
        stand.run(&["evidence", "verify", &evidence.rid()]).expect(0);
    });
    checks.that("edits: image and source as they were released", || {
        before.code_is_back(stand, "1-edited", &commit, at);
        let tree = stand.containers()["api"].source.clone().unwrap();
        assert!(tree.join("src/notes.py").exists(), "the untracked file is not there{at}");
        before.checkout_untouched(stand, at);
        before.last_good_untouched(stand, at);
    });
    checks.that("env files: the values of then, the operator's files as they are", || {
        for service in APPS {
            assert_eq!(ways.env(service, "FF_GREETING").as_deref(), Some("then"), "{service}{at}");
            assert_eq!(ways.env(service, "FF_ONLY_NEW"), None, "{service}{at}");
            let tree = stand.containers()[service].source.clone().unwrap();
            let file = std::fs::read_to_string(tree.join(".env.docker")).unwrap();
            assert!(file.contains("FF_GREETING=then"), "the env file beside {service}'s source{at}");
        }
        let seen = ["exec", &stand.container("api"), "printenv", "FF_GREETING"];
        assert_eq!(tool("docker", &seen, Path::new("/"), None).trim(), "then", "what the API sees{at}");
    });
    checks.that("services: exactly the previous ones, defined as they were", || {
        assert_eq!(APPS.map(|s| ways.definition(s)), defined, "definitions{at}");
        assert_eq!(stand.running(), ["api", "beat", "cache", "postgres", "redis", "worker"], "what runs{at}");
        assert!(!stand.containers().contains_key("extra"), "a container of `extra` is left{at}");
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "somebody listens on the new port{at}");
        assert_eq!(record["removed"][0], "extra", "what was removed{at}");
        assert_eq!(record["left_running"][0], "cache", "what is left{at}");
    });
    checks.that("queues: what waited waits again, what was done is not done again", || {
        let queue = stand.redis(&["LRANGE", "later", "0", "-1"]);
        assert!(queue.len() == 1 && queue[0].contains(&waiting), "the queue: {queue:?}{at}");
        assert_eq!(stand.value(SNAPSHOTS), "1", "snapshots{at}");
        let failed = record["failed_database"].as_str().unwrap();
        assert_eq!(stand.psql_closed(failed, SNAPSHOTS), ["2"], "the failed version did it{at}");
    });
    checks.that("rows since the fence are counted, dumped and told", || {
        before.rows_are_accounted_for(stand, (&evidence, &evidence), "ways", &sessions);
        before.content_is_back(stand, &evidence, &evidence);
        outcome.says("planner.kpi_snapshots: 1 rows at the fence, 2 now, 1 written since");
        outcome.says(record["failed_dump"].as_str().unwrap());
    });
    checks.that("the final screen says what runs and what to do", || {
        for words in [
            &format!("containers run the source of {}", good.rid()) as &str,
            "not this checkout",
            "cargo xtask release",
            ".env.docker: FF_GREETING, FF_ONLY_NEW",
            ".env: REDIS_PASSWORD",
            "not there before are removed: extra",
            "the data service cache",
        ] {
            outcome.says(words);
        }
    });
    checks.that("status, doctor and the next release say the same", || {
        let status = stand.run(&["status", "--json"]).expect(0).json();
        assert_eq!(status["last_known_good"]["rid"], good.rid().as_str(), "{status:#}{at}");
        assert_eq!(status["env_differs"][1], ".env.docker: FF_GREETING, FF_ONLY_NEW", "{status:#}{at}");
        let of = |name: &str| {
            status["services"].as_array().unwrap().iter().find(|s| s["service"] == name).cloned()
        };
        assert_eq!(of("worker").unwrap()["runs_previous_source"], true, "{status:#}{at}");
        // What the bad compose file does not name runs a previous source, too.
        assert_eq!(of("beat").unwrap()["runs_previous_source"], true, "{status:#}{at}");
        assert_eq!(of("cache").unwrap()["not_in_last_good"], true, "{status:#}{at}");
        let told = stand.run(&["status"]).expect(0);
        for words in [
            "not this checkout; `cargo xtask release` returns to the checkout",
            "FF_GREETING",
            "not a service of the last good release",
        ] {
            told.says(words);
        }
        let told = stand.run(&["doctor"]);
        for words in [
            "not this checkout",
            "would put this checkout live unproved: cargo xtask release returns to it",
            "FF_GREETING",
            "cache runs",
            "beat runs",
        ] {
            told.says(words);
        }
        let plan = stand.run(&["release", "--plan", "--json"]).expect(0).json()["warnings"].to_string();
        for words in [
            "not this checkout: this release returns to it",
            "FF_GREETING",
            "beat is not in the compose files",
        ] {
            assert!(plan.contains(words), "the plan does not say `{words}`: {plan}{at}");
        }
        assert!(!plan.contains("live already"), "the checkout is not live: {plan}{at}");
    });
    ways.checks = checks;
    (before, good)
}

/// A version that is good, without beat and with the new env value.
fn the_next_release(ways: &mut Ways, good: &Evidence) {
    let password = ways.stand.secret("REDIS_PASSWORD");
    ways.stand.edit(".env", "not-the-one-of-before", password);
    let text = ways.compose.replacen("PGAPPNAME: ff-demo-api", "PGAPPNAME: ff-demo-new", 1);
    ways.write("docker-compose.yml", &without_beat(&text, ""));
    ways.stand.git(&["checkout", "-q", "HEAD~", "--", "src/api/health.py"]);
    ways.write("src/version.py", "VERSION = \"2\"\n");
    ways.stand.commit("[DEVTASK:5] stand: mended, without beat");
    let outcome = ways.stand.run(&["release", "--yes", "--json"]).expect(0);
    let evidence = ways.stand.evidence(&outcome);
    let at = &evidence.at;
    let mut checks = std::mem::take(&mut ways.checks);
    checks.that("the next release: what it takes over is said, and what is gone is gone", || {
        let precheck = evidence.json("precheck.json");
        assert_eq!(precheck["code_already_live"], false, "containers ran a previous source{at}");
        let warnings = precheck["warnings"].to_string();
        for words in
            ["not this checkout", ".env.docker: FF_GREETING, FF_ONLY_NEW", "beat is not in the compose"]
        {
            assert!(warnings.contains(words), "no warning of `{words}`: {warnings}{at}");
        }
        assert_eq!(evidence.json("readiness.json")["source"]["commit"].as_str().map(str::len), Some(40));
        assert_eq!(evidence.json("summary.json")["previous"]["rid"], good.rid().as_str(), "previous{at}");
        assert!(!ways.stand.containers().contains_key("beat"), "beat is left{at}");
        assert_eq!(ways.env("api", "FF_GREETING").as_deref(), Some("now"), "what the API sees{at}");
        assert_eq!(ways.stand.api_version().as_deref(), Some("2"), "the version{at}");
        let status = ways.stand.run(&["status", "--json"]).expect(0).json();
        assert_eq!(status["env_differs"], Value::Array(Vec::new()), "{status:#}{at}");
        assert_eq!(status["last_known_good_commit"], Value::Array(Vec::new()), "{status:#}{at}");
    });
    ways.checks = checks;
}

/// `rollback` from it, when compose cannot even read the checkout's file any more: the edits, the env
/// values and beat are there again.
fn and_back_again(ways: &mut Ways, before: &Before, good: &Evidence) {
    ways.forget();
    let file = ways.stand.repo.join("docker-compose.yml");
    let whole = std::fs::read_to_string(&file).unwrap();
    ways.write("docker-compose.yml", "services:\n  api: [\n");
    let env = std::fs::read_to_string(ways.stand.repo.join(".env")).unwrap();
    ways.write(".env", &format!("{env}this line is no pair\n"));
    ways.stand.run(&["status"]).expect(0).says("checkout's compose files say");
    ways.stand.run(&["smoke"]).expect(20).says("docker compose config -q");
    let mut checks = std::mem::take(&mut ways.checks);
    for command in [&["release", "--yes"] as &[&str], &["backup"]] {
        checks.that(format!("{command:?} where compose cannot read the files"), || {
            let rids = ways.stand.rids();
            ways.stand.run(command).expect(20).says("docker compose config -q");
            assert_eq!(ways.stand.rids(), rids, "a run that did not begin left evidence");
        });
    }
    ways.checks = checks;
    // As a worker of the version that is undone would have done it.
    let waiting = ways.stand.redis(&["RPOP", "later"]);
    let outcome = ways.stand.run(&["rollback", "--yes", "--json"]).expect(0);
    outcome.says("checkout's compose files say");
    ways.write("docker-compose.yml", &whole);
    ways.write(".env", &env);
    let evidence = ways.stand.evidence(&outcome);
    let at = &evidence.at;
    let mut checks = std::mem::take(&mut ways.checks);
    checks.that("back again: edits, env values and beat", || {
        assert_eq!(evidence.verdict(), ("PASS".into(), 0), "verdict{at}");
        let commit = evidence.json("rollback.json")["code"]["commit"].as_str().unwrap().to_string();
        before.code_is_back(&ways.stand, "1-edited", &commit, at);
        for service in APPS {
            assert_eq!(ways.env(service, "FF_GREETING").as_deref(), Some("then"), "{service}{at}");
        }
        assert_eq!(ways.env("api", "PGAPPNAME").as_deref(), Some("ff-demo-api"), "the API's definition{at}");
        assert_eq!(waiting.len(), 1, "what waited while the next release ran{at}");
        assert_eq!(ways.stand.redis(&["LRANGE", "later", "0", "-1"]), waiting, "the queue{at}");
    });
    checks.that("back again: the final screen and status say it", || {
        for words in [
            &format!("{} runs", good.rid()) as &str,
            &format!("containers run the source of {}", good.rid()),
            "cargo xtask release",
            ".env.docker: FF_GREETING, FF_ONLY_NEW",
            "kept in database",
        ] {
            outcome.says(words);
        }
        let words = ways.stand.run(&["status"]).expect(0);
        for text in ["on no branch any more", "not this checkout", "FF_GREETING"] {
            words.says(text);
        }
        ways.stand.run(&["rollback", "--yes"]).expect(10).says("nothing to go back to");
    });
    ways.checks = checks;
}
