//! The commands beside `release` on the real engine: what they find, what they
//! leave behind, and what they refuse.

use crate::support::before::Before;
use crate::support::leftovers::{Kept, nothing_of};
use crate::support::process::{self, tool};
use crate::support::root::{as_nobody, as_root};
use crate::support::stand::XTASK;
use crate::support::tamper::{Copy, every_case_is_found};
use crate::support::{Checks, Evidence, Outcome, SOON, Stand, wait_for};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;

const PROBE: &str = include_str!("../../../src/stand/probe.py");
/// Says which modules are brought in by another thread than the main one.
const WATCH: &str = "import sys, threading
def heard(event, args):
    if event == 'import' and threading.current_thread() is not threading.main_thread():
        sys.stdout.write('late %s\\n' % args[0])
sys.addaudithook(heard)
";
const KEY: &str = "kZ8rQ2vW5nB9xL3tY7mC4pD6";

#[path = "commands/refused.rs"]
mod refused;

#[test]
fn smoke_backup_and_evidence_say_what_is_so() {
    let mut checks = Checks::default();
    // Orders ask for the architect key in this stand.
    let mut stand = Stand::with(|repo| {
        let mut file = std::fs::File::options().append(true).open(repo.join(".env.docker")).unwrap();
        writeln!(file, "FF_ARCHITECT_KEY={KEY}").unwrap();
    });
    stand.set("FF_ARCHITECT_KEY", KEY);
    refused::before_any_run(&stand, &mut checks);
    let released = stand.run(&["release", "--yes"]).expect(0);
    let mut kept = Kept::default();
    kept.passed(&stand.evidence(&released));
    let release = stand.evidence(&released);

    checks.that("a run of that name is there", || refused::a_name_that_is_taken(&stand, &release));
    checks.that("smoke, good", || good_smoke(&stand, &kept));
    checks.that("the worker's probe imports nothing in two threads", || {
        for (probe, late) in [(PROBE, false), (&PROBE.replacen("\nload()\n", "\n", 1), true)] {
            let found = imported_in_threads(&stand, probe);
            assert_eq!(found.is_empty(), !late, "imported beside the main thread: {found:?}");
        }
    });
    let bad = bad_smoke(&stand, &mut checks);
    let backup = backup(&stand, &kept, &mut checks);
    checks.that("list and show", || list_and_show(&stand, &[&release, &bad, &backup]));
    for evidence in [&release, &bad, &backup] {
        checks.that(format!("read by another operator: {}", evidence.rid()), || {
            read_by_another(&stand, evidence);
        });
    }
    every_case_is_found(&stand, &release, &backup, &mut checks);
    every_case_is_found(&stand, &backup, &release, &mut checks);
    edited_summaries(&stand, &release, &bad, &mut checks);
    checks.that("no secret", || stand.no_secret_anywhere());
    // Last: the stand is gone after it.
    checks.that("a kept copy is removed, and nothing but a copy", || removed(&stand));
    checks.all_hold();
}

fn removed(stand: &Stand) {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join(".env"), "COMPOSE_PROJECT_NAME=foxproflow\n").unwrap();
    let dir = place.path().display().to_string();
    stand.run(&["demo", "--remove", &dir]).expect(2).says("is no copy of the sample stand");
    assert!(place.path().join(".env").exists());

    let dir = stand.repo.display().to_string();
    stand.run(&["demo", "--remove", &dir]).expect(0);
    assert!(!stand.repo.exists());
    nothing_of(&stand.project);
}

/// The first word is heeded between the releases, too, and nothing stays for it.
#[test]
fn a_demo_that_is_told_to_stop_begins_no_second_release_and_leaves_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let mut command = process::program(XTASK, &["demo"]);
    command.current_dir("/").env("TMPDIR", scratch.path()).env_remove("FF_REPO");
    let running = process::start(command, "xtask demo", None, SOON * 4);
    wait_for("the build", SOON * 2, || running.said().contains("build     begins").then_some(()));
    running.signal("INT");
    let outcome = running.wait().expect(130);
    outcome.says("the demo was told to stop");
    let said = outcome.stderr.clone();
    assert_eq!(said.matches("once more stops at once").count(), 1, "told more than once:\n{said}");
    assert!(!said.contains("2 of 2"), "a second release was begun:\n{said}");
    let project = said.split("project ").nth(1).and_then(|rest| rest.split(',').next()).unwrap();
    nothing_of(project);
    let left: Vec<_> = std::fs::read_dir(scratch.path()).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(left.is_empty(), "the demo left {left:?}");
}

fn good_smoke(stand: &Stand, kept: &Kept) {
    let before = Before::of(stand);
    let outcome = stand.run(&["smoke", "--json"]).expect(0);
    let evidence = stand.evidence(&outcome);
    assert!(evidence.rid().starts_with("smk_"), "{}", evidence.rid());
    assert_eq!(outcome.json()["smoke"].as_array().map(Vec::len), Some(7), "checks{}", outcome.at());
    assert_eq!(evidence.gates(true), ["S1", "E1", "E2", "E3", "E4"], "gates{}", outcome.at());
    stand.run(&["evidence", "verify", &evidence.rid()]).expect(0);
    before.containers_untouched(stand, &evidence.at);
    before.checkout_untouched(stand, &evidence.at);
    before.last_good_untouched(stand, &evidence.at);
    stand.nothing_left_over(kept, &outcome);
}

/// Python's modules that the probe's questions bring in, each in its thread. Two threads that import
/// parts of one package at once may end with `_DeadlockError`.
fn imported_in_threads(stand: &Stand, probe: &str) -> Vec<String> {
    let worker = stand.container("worker");
    let host = tool("docker", &["inspect", "-f", "{{.Config.Hostname}}", &worker], Path::new("/"), None);
    let checks = ["ping", "tasks", "round_trip", "active"];
    let asked = json!({"app": "src.worker.celery_app", "node": format!("celery@{}", host.trim()),
        "checks": checks, "tasks": [], "timeout": 20});
    let program = format!("{WATCH}FF_PROBE = {}\n{probe}", Value::from(asked.to_string()));
    let run = ["exec", "-i", &worker, "python3", "-c", "import sys\nexec(sys.stdin.read())"];
    let said = tool("docker", &run, Path::new("/"), Some(program.as_bytes()));
    for check in checks {
        let good = |line: &&str| line.contains(&format!("\"{check}\", \"ok\": true"));
        assert!(said.lines().any(|l| good(&l)), "{check} is not good:\n{said}");
    }
    said.lines().filter_map(|line| line.strip_prefix("late ")).map(String::from).collect()
}

/// A worker that does not run, and orders that are asked without the key.
fn bad_smoke(stand: &Stand, checks: &mut Checks) -> Evidence {
    let red = |evidence: &Evidence| {
        let all = evidence.json("smoke.json");
        let red = all["checks"].as_array().unwrap().iter().filter(|c| c["ok"] == false);
        red.map(|c| c["name"].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    // On the screen, beside its name.
    let instead = |outcome: &Outcome, name: &str, found: &str| {
        let line = outcome.stderr.lines().find(|l| l.starts_with("NOT ") && l.contains(name));
        assert!(line.is_some_and(|l| l.contains(found)), "{name}, not `{found}`: {line:?}{}", outcome.at());
    };
    checks.that("smoke, without the key", || {
        let outcome = stand.run_with(&[("FF_ARCHITECT_KEY", "")], &["smoke"]).expect(20);
        let evidence = stand.evidence(&outcome);
        let orders = "GET /api/devfactory/orders/recent?limit=1&include_result=0";
        assert_eq!(red(&evidence), [orders], "checks that are not good{}", evidence.at);
        instead(&outcome, orders, "status 403");
    });
    let worker = stand.container("worker");
    tool("docker", &["stop", &worker], Path::new("/"), None);
    let outcome = stand.run(&["smoke", "--json"]).expect(20);
    tool("docker", &["start", &worker], Path::new("/"), None);
    let evidence = stand.evidence(&outcome);
    checks.that("smoke, bad", || {
        assert_eq!(evidence.verdict(), ("FAIL".into(), 20), "verdict{}", outcome.at());
        assert_eq!(evidence.gates(false), ["S1"], "gates that are false{}", outcome.at());
        let names = ["worker ping", "worker tasks", "task round trip"];
        assert_eq!(red(&evidence), names, "{}", outcome.at());
        names.iter().for_each(|name| instead(&outcome, name, "the service worker does not run"));
        stand.run(&["evidence", "verify", &evidence.rid()]).expect(0);
    });
    wait_for("the worker to be back", SOON, || (stand.run(&["smoke"]).code == 0).then_some(()));
    evidence
}

fn backup(stand: &Stand, kept: &Kept, checks: &mut Checks) -> Evidence {
    let before = Before::of(stand);
    let outcome = stand.run(&["backup", "--json"]).expect(0);
    let evidence = stand.evidence(&outcome);
    checks.that("backup", || {
        assert!(evidence.rid().starts_with("bak_"), "{}", evidence.rid());
        assert_eq!(
            evidence.gates(true),
            ["P1", "P2", "B1", "R0", "E1", "E2", "E3", "E4"],
            "{}",
            outcome.at()
        );
        assert!(evidence.gates(false).is_empty(), "gates that are false{}", outcome.at());
        let dir = stand.repo.join(evidence.json("backup.json")["dir"].as_str().unwrap());
        tool("sha256sum", &["-c", "--quiet", "digest.sha256"], &dir, None);
        assert_eq!(outcome.json()["backup"]["proof"], "restored and equal", "{}", outcome.at());
        assert_eq!(evidence.json("proof.json")["tables"], evidence.json("backup.json")["tables"]);
        before.containers_untouched(stand, &evidence.at);
        before.checkout_untouched(stand, &evidence.at);
        before.last_good_untouched(stand, &evidence.at);
        stand.nothing_left_over(kept, &outcome);
    });
    evidence
}

fn list_and_show(stand: &Stand, known: &[&Evidence]) {
    let list = stand.run(&["evidence", "list", "--json"]).expect(0).json();
    let rids: Vec<String> =
        list.as_array().unwrap().iter().map(|r| r["rid"].as_str().unwrap().into()).collect();
    let mut wanted = stand.rids();
    wanted.reverse();
    assert_eq!(rids, wanted, "runs, newest first");
    let words = stand.run(&["evidence", "list"]).expect(0);
    for evidence in known {
        words.says(&evidence.rid());
        let (verdict, code) = evidence.verdict();
        let row = list.as_array().unwrap().iter().find(|r| r["rid"] == evidence.rid()).unwrap();
        assert_eq!((&row["verdict"], &row["exit_code"]), (&json!(verdict), &json!(code)), "{row}");
        let show = stand.run(&["evidence", "show", &evidence.rid(), "--json"]).expect(0).json();
        assert_eq!(show, evidence.json("summary.json"), "show {}", evidence.rid());
        stand.run(&["evidence", "show", &evidence.rid()]).expect(0).says(&verdict);
    }
}

/// A checkout of somebody else, which may be read and no more; then not even that.
fn read_by_another(stand: &Stand, evidence: &Evidence) {
    let (rid, verdict) = (evidence.rid(), evidence.verdict().0);
    let copy = Copy::of(stand, evidence);
    let place = copy.root.path().display().to_string();
    let xtask = format!("{place}/xtask");
    std::fs::copy(XTASK, &xtask).unwrap();
    as_root("chown", &["-R", "4711:4711", &place]);
    as_root("chmod", &["-R", "a=rX", &place]);
    let evidence_of = |args: &[&str]| as_nobody(&xtask, &[&["--repo", &place, "evidence"], args].concat());
    evidence_of(&["list"]).expect(0).says(&verdict);
    evidence_of(&["show", &rid]).expect(0).says(&verdict);
    evidence_of(&["verify", &rid]).expect(0).says("the evidence holds");
    let dir = copy.dir.display().to_string();
    evidence_of(&["verify", &dir]).expect(0).says("the evidence holds");
    // A copy elsewhere, under another name: the run in it is the same, or it is not.
    let moved = tempfile::Builder::new().prefix("ff-moved-").tempdir().unwrap();
    let to = moved.path().join("of last friday").display().to_string();
    tool("cp", &["-r", &dir, &to], Path::new("/"), None);
    as_root("chmod", &["-R", "u=rwX", &to]);
    stand.run(&["evidence", "verify", &to]).expect(0).says("the evidence holds");
    stand.run(&["evidence", "show", &to]).expect(0).says(&rid);
    Copy::flip(&Path::new(&to).join("events.jsonl"));
    stand.run(&["evidence", "verify", &to]).expect(50);
    // Under the name of another run, where runs are found by name, it is none.
    let other = copy.dir.with_file_name("rel_20991231-000009_other").display().to_string();
    as_root("cp", &["-a", &dir, &other]);
    evidence_of(&["verify", "rel_20991231-000009_other"]).expect(50).says(&rid);
    // What may not be read is neither gone nor broken, and is called by its name.
    if evidence.has("backup.json") {
        as_root("chmod", &["700", &format!("{place}/ops/_backups")]);
        let outcome = evidence_of(&["verify", &rid]).expect(50);
        outcome.says("the backup cannot be read");
        assert!(!outcome.stdout.contains("not where it was"), "{}", outcome.at());
    }
    as_root("chmod", &["700", &dir]);
    evidence_of(&["list"]).expect(0).says("(not readable)");
    evidence_of(&["show", &rid]).expect(50).says("Permission denied");
    as_root("chmod", &["700", &format!("{place}/ops/_local")]);
    let outcome = evidence_of(&["list"]);
    assert!(outcome.code != 0, "nothing was seen, and nothing said{}", outcome.at());
    outcome.says("Permission denied");
    let owner = tool("id", &["-u"], Path::new("/"), None);
    as_root("chown", &["-R", owner.trim(), &place]);
    as_root("chmod", &["-R", "u=rwX", &place]);
}

/// Summaries that say something else than the records, with a digest that fits.
fn edited_summaries(stand: &Stand, release: &Evidence, bad: &Evidence, checks: &mut Checks) {
    let mut found = |name: &str, evidence: &Evidence, word: &str, change: &dyn Fn(&Copy)| {
        checks.that(format!("verify: {name}"), || {
            let copy = Copy::of(stand, evidence);
            change(&copy);
            copy.digest_again();
            let (code, said) = copy.verify(stand);
            assert_eq!(code, 50, "{name} was not found:\n{said}");
            assert!(said.contains(word), "{name}: no word of `{word}`:\n{said}");
        });
    };
    found("a FAIL told as a PASS", bad, "/verdict", &|c| {
        let mut summary = c.json("summary.json");
        for gate in summary["gates"].as_array_mut().unwrap() {
            gate["ok"] = true.into();
        }
        for (key, value) in [("ok", json!(true)), ("verdict", json!("PASS")), ("exit_code", json!(0))] {
            summary[key] = value;
        }
        std::fs::write(c.dir.join("summary.json"), summary.to_string()).unwrap();
    });
    found("a record told otherwise", bad, "smoke.json is not what", &|c| {
        let mut smoke = c.json("smoke.json");
        smoke["ok"] = true.into();
        for check in smoke["checks"].as_array_mut().unwrap() {
            check["ok"] = true.into();
        }
        std::fs::write(c.dir.join("smoke.json"), smoke.to_string()).unwrap();
    });
    found("the reason of a failure", bad, "than the records: /reason", &|c| {
        c.set("summary.json", "/reason", json!("nothing"));
    });
    let fields: [(&str, Value); 9] = [
        ("/ok", json!(false)),
        ("/state_left", json!("another")),
        ("/git/head", json!("0000000000000000000000000000000000000000")),
        ("/operator", json!("somebody")),
        ("/backup/sha256", json!("00")),
        ("/migrations/0/sha256", json!("00")),
        ("/images/0/after", json!("sha256:00")),
        ("/smoke/0/detail", json!("status 500")),
        ("/rollback/lost_rows", json!(7)),
    ];
    for (pointer, value) in fields {
        found(&format!("{pointer} of the summary"), release, &format!("than the records: {pointer}"), &|c| {
            c.set("summary.json", pointer, value.clone())
        });
    }
    found("a gate's detail", release, "than the records: /gates/0/detail", &|c| {
        c.set("summary.json", "/gates/0/detail", json!("x"));
    });
    checks.that("verify: a backup that was pruned is no fault", || {
        let copy = Copy::of(stand, release);
        std::fs::remove_dir_all(copy.backup()).unwrap();
        std::fs::write(copy.dir.join("pruned.json"), "{}\n").unwrap();
        let (code, said) = copy.verify(stand);
        assert_eq!(code, 0, "a pruned backup:\n{said}");
    });
}
