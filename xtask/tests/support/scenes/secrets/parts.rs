//! The outcomes, one after another on one stand.

use super::*;
use crate::support::process::tool;
use crate::support::stand::EVIDENCE;
use crate::support::{SOON, wait_for};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

pub fn a_release_that_passes(scene: &mut Scene) {
    // As operators have it: readable by others.
    let env = scene.stand.repo.join(".env.docker");
    std::fs::set_permissions(&env, std::fs::Permissions::from_mode(0o644)).unwrap();
    let passed = scene.run(&["release", "--yes", "--json"], 0);
    scene.spoken(&passed, &["step_build.log", "step_smoke.log", "logs_api.log", "logs_worker.log"]);
    let evidence = scene.stand.evidence(&passed);
    scene.checks.that("what is masked is named", || {
        let log = evidence.text("logs_api.log");
        for word in [
            "***LEAK_PASSWORD***",
            "environment SMTP_PASSWORD=***",
            "***COMPOSE_ENV_TOKEN***",
            "[row values cut]",
        ] {
            assert!(log.contains(word), "logs_api.log has no {word}{}", evidence.at);
        }
        assert!(
            evidence.text("logs_sidecar.log").contains("--license-key ***"),
            "the sidecar{}",
            evidence.at
        );
        assert!(evidence.text("step_build.log").contains("index with ***"), "the build{}", evidence.at);
        let weak = evidence.json("precheck.json")["weak_secrets"].clone();
        assert!(weak.as_array().unwrap().contains(&json!("SMTP_PASSWORD")), "weak secrets: {weak}");
    });
    scene.checks.that("a weak secret is a request to lane D", || {
        let request = evidence.requests().into_iter().find(|(lane, _)| lane == "D-weak");
        let (_, text) =
            request.unwrap_or_else(|| panic!("no request: {:?}{}", evidence.requests(), evidence.at));
        assert!(text.contains("> SMTP_PASSWORD"), "the request: {text}{}", evidence.at);
        assert_eq!(evidence.verdict(), ("PASS".into(), 0), "verdict{}", evidence.at);
    });
}

pub fn commands_that_look(scene: &mut Scene) {
    let rid = scene.stand.rids().pop().unwrap();
    for args in [
        &["status"][..],
        &["status", "--json"],
        &["evidence", "list"],
        &["evidence", "show", &rid],
        &["evidence", "show", &rid, "--json"],
        &["evidence", "verify", &rid],
        &["release", "--plan"],
        &["release", "--plan", "--json"],
        &["backup"],
    ] {
        scene.run(args, 0);
    }
    let base = format!("http://app:{}@127.0.0.1:1", scene.planted.word("API_BASE"));
    scene.run_with(&[("API_BASE", &base)], &["config"], 0);
    scene.run_with(&[("API_BASE", &base)], &["config", "--json"], 0);
    // What compose cannot read it quotes.
    let compose = std::fs::read_to_string(scene.stand.repo.join("docker-compose.yml")).unwrap();
    scene.stand.edit(
        "docker-compose.yml",
        "127.0.0.1:${FF_DEMO_API_PORT:-8080}:8080",
        "127.0.0.1:${POSTGRES_PASSWORD}:8080",
    );
    for args in [&["status"][..], &["release", "--yes"], &["config"]] {
        scene.said.push(scene.stand.run(args));
    }
    scene.said.last().unwrap().says("FF_");
    std::fs::write(scene.stand.repo.join("docker-compose.yml"), compose).unwrap();
}

pub fn smoke_with_bad_answers(scene: &mut Scene) {
    let (base, server) = bad_answers(&scene.planted);
    let outcome = scene.run_with(&[("API_BASE", &base)], &["smoke", "--json"], 20);
    let _ = server.join();
    let evidence = scene.stand.evidence(&outcome);
    scene.checks.that("smoke: the answers are quoted, masked", || {
        let smoke = evidence.text("smoke.json");
        assert!(
            smoke.contains("***PLAIN_PASSWORD***") && smoke.contains("say-0. "),
            "{smoke}{}",
            evidence.at
        );
    });
}

/// Rows and secrets in a migration, an answer that quotes them, an allowed finding.
pub fn a_release_that_is_rolled_back(scene: &mut Scene) {
    let token = format!("gh{}_{}", "p", scene.planted.word("allowed") + "Zz9Zz9Zz9Zz9Zz9Zz");
    let Scene { stand, planted, .. } = scene;
    let path = "scripts/sql/fixpacks/20251222_people_apply.sql";
    std::fs::write(stand.repo.join(path), migration(planted)).unwrap();
    let last = "  \"scripts/sql/fixpacks/20251218_analytics_totals_apply.sql\",\n";
    stand.edit("ops/xtask.toml", last, &format!("{last}  \"{path}\",\n"));
    stand.edit("src/api/health.py", "    return {\"status\": \"ok\" if ready else \"degraded\", \"ready\": ready,", "    import os\n    told = \"x\" * 66 + os.environ[\"PLAIN_PASSWORD\"]\n    return {\"status\": \"degraded\", \"ready\": False, \"detail\": told,");
    stand.edit("src/api/app.py", "    with transaction() as cursor:\n", "    import os\n    return JSONResponse({\"error\": \"smtp://app:\" + os.environ[\"SMTP_PASSWORD\"] + \"@mail, \" + os.environ[\"SIGNING_KEY_PEM\"]}, 500)\n    with transaction() as cursor:\n");
    std::fs::write(stand.repo.join("src/client.py"), format!("SAMPLE = '{token}'\n")).unwrap();
    let list = "[[allow]]\nfile = \"src/client.py\"\nkind = \"github token\"\nreason = \"a sample of the provider's documents\"\n\n\
                [[allow]]\nfile = \"src/gone.py\"\nkind = \"private key\"\nreason = \"was for a test\"\n";
    std::fs::write(
        stand.repo.join("ops/secret-scan-allow.toml"),
        list.replace("reason = \"was for a test\"\n", ""),
    )
    .unwrap();
    stand.commit("[DEVTASK:9] people");
    let rids = scene.stand.rids();
    let refused = scene.run(&["release", "--yes"], 2);
    scene.checks.that("an allowance without a reason is an error that names it", || {
        refused.says("entry 2 (src/gone.py) has no reason");
    });
    scene.checks.that("it is said before a run begins", || assert_eq!(scene.stand.rids(), rids));
    std::fs::write(scene.stand.repo.join("ops/secret-scan-allow.toml"), list).unwrap();
    scene.stand.commit("[DEVTASK:9] people, allowed");

    let outcome = scene.run(&["release", "--yes", "--json"], 30);
    scene.spoken(&outcome, &["step_migrate.log", "step_build.log"]);
    let evidence = scene.stand.evidence(&outcome);
    let at = &evidence.at;
    scene.checks.that("rows are cut and the cut is marked", || {
        let log = evidence.text("step_migrate.log");
        let (errors, cuts) = (log.matches("ERROR:").count(), log.matches("[row values cut]").count());
        assert!(errors >= 20 && cuts >= 30, "{errors} errors, {cuts} cuts{at}");
        let server = evidence.text("logs_postgres.log");
        assert!(server.contains("STATEMENT:  [row values cut]"), "the server's own log{at}");
        assert!(evidence.gate("E4").0, "E4: {}{at}", evidence.gate("E4").1);
    });
    scene.checks.that("an allowed finding has its reason and is not hard", || {
        let precheck = evidence.json("precheck.json");
        let found = precheck["findings"].as_array().unwrap().iter().find(|f| f["file"] == "src/client.py");
        let found = found.unwrap_or_else(|| panic!("not found: {precheck}{at}"));
        assert_eq!((&found["hard"], &found["new"]), (&json!(false), &json!(true)), "{found}{at}");
        assert_eq!(found["allowed"], "a sample of the provider's documents", "{found}{at}");
        let warnings = precheck["warnings"].to_string();
        assert!(warnings.contains("not there any more: src/gone.py: private key"), "{warnings}{at}");
        assert!(!warnings.contains("client.py"), "{warnings}{at}");
    });
    scene.checks.that("what is kept is the operator's alone", || owner_only(&scene.stand));
}

/// The same version, which is left in place this time, and what it says of that.
pub fn a_release_that_stays(scene: &mut Scene) {
    let reason = "the window is long";
    let outcome = scene.run(&["release", "--yes", "--json", "--no-rollback", reason], 40);
    scene.spoken(&outcome, &["step_migrate.log", "logs_api.log"]);
    let evidence = scene.stand.evidence(&outcome);
    scene.checks.that("a release that stays quotes as much, masked", || {
        let at = &evidence.at;
        assert_eq!(evidence.verdict(), ("FAIL".into(), 40), "verdict{at}");
        assert!(evidence.gate("E4").0, "E4: {}{at}", evidence.gate("E4").1);
        outcome.says("needs a person: the failed version is in place");
        outcome.says("***PLAIN_PASSWORD***");
        assert!(evidence.text("step_migrate.log").contains("[row values cut]"), "the rows{at}");
    });
    scene.run(&["status"], 0);
    scene.run(&["rollback", "--yes", "--json"], 0);
}

/// The failed version is gone; the next one does not build, and a file has a secret's name.
pub fn a_build_that_fails(scene: &mut Scene) {
    scene.stand.git(&["revert", "--no-edit", "HEAD"]);
    scene.stand.git(&["revert", "--no-edit", "HEAD~2"]);
    scene.stand.edit(
        "Dockerfile",
        DOCKERFILE,
        &format!("RUN echo \"cannot index with $PIP_INDEX_TOKEN\" >&2 && false\n{DOCKERFILE}"),
    );
    let name = format!("notes-{}.txt", scene.planted.words["PLAIN_PASSWORD"]);
    std::fs::write(scene.stand.repo.join(&name), "a note\n").unwrap();
    let outcome = scene.run(&["release", "--yes", "--allow-dirty", "only a test"], 20);
    let evidence = scene.stand.evidence(&outcome);
    scene.checks.that("the failed build is quoted, masked", || {
        let log = evidence.text("step_build.log");
        assert!(log.contains("cannot index with ***"), "the build's words{}", evidence.at);
        assert!(evidence.text("step_precheck.log").contains("notes-***"), "git status{}", evidence.at);
        assert!(evidence.requests().iter().any(|(lane, _)| lane == "A"), "no request{}", evidence.at);
    });
    std::fs::remove_file(scene.stand.repo.join(&name)).unwrap();
    scene.stand.git(&["checkout", "-q", "--", "Dockerfile"]);
}

/// Twice told to stop while the new version starts, and recovered.
pub fn a_release_that_is_stopped(scene: &mut Scene) {
    let rid = "rel_20991231-000000_stopped";
    let running = scene.stand.start(&["release", "--yes", "--rid", rid]);
    let journal = scene.stand.repo.join(EVIDENCE).join(rid).join("events.jsonl");
    wait_for("the new version to start", SOON * 7, || {
        let text = std::fs::read_to_string(&journal).unwrap_or_default();
        text.contains("\"kind\":\"intent\",\"step\":\"deploy\",\"act\":\"up\"").then_some(())
    });
    running.signal("INT");
    wait_for("an answer to the first signal", SOON, || running.said().contains("once more").then_some(()));
    running.signal("INT");
    let outcome = scene.stand.heard(running.wait(), &[]);
    scene.checks.that("exit 130 of a release that is stopped", || {
        assert_eq!(outcome.code, 130, "exit code{}", outcome.at());
    });
    scene.said.push(outcome);
    scene.run(&["status"], 0);
    scene.run(&["rollback", "--yes", "--json"], 0);
}

/// Back to before the last release, whatever it came to.
pub fn a_rollback(scene: &mut Scene) {
    scene.run(&["rollback", "--yes", "--json"], 0);
}

/// E4 for real: the build says what becomes known as a secret only when a container runs.
pub fn the_gate_fails(scene: &mut Scene) {
    let late = scene.planted.word("late");
    scene.planted.nowhere.remove("late");
    let base = Base::make(&scene.stand, "IMAGE_SIGNING_KEY", &late);
    scene.stand.edit("Dockerfile", "FROM foxproflow-demo-base:1", &format!("FROM {}", base.0));
    scene.stand.edit(
        "Dockerfile",
        DOCKERFILE,
        &format!("RUN echo \"signing with $IMAGE_SIGNING_KEY\"\n{DOCKERFILE}"),
    );
    scene.stand.commit("[DEVTASK:10] another base");
    let good = scene.stand.run(&["status", "--json"]).json()["last_known_good"].clone();
    let outcome = scene.run(&["release", "--yes"], 50);
    let evidence = scene.stand.evidence(&outcome);
    let at = &evidence.at;
    scene.checks.that("the new version runs", || {
        outcome.says("the new version runs, the evidence is not complete");
        let api = scene.stand.container("api");
        let key = tool("docker", &["exec", &api, "printenv", "IMAGE_SIGNING_KEY"], Path::new("/"), None);
        assert!(key.trim() == late, "the API does not run on the new base{at}");
    });
    scene.checks.that("E4 is false", || {
        assert_eq!(evidence.verdict(), ("FAIL".into(), 50), "verdict{at}");
        assert_eq!(evidence.gates(false), ["E4"], "gates that are false{at}");
        let request = evidence.requests().into_iter().find(|(lane, _)| lane == "D-secrets");
        let (_, text) = request.unwrap_or_else(|| panic!("no request to D: {:?}{at}", evidence.requests()));
        assert!(text.contains("IMAGE_SIGNING_KEY in step_build.log"), "the request: {text}{at}");
        assert!(!text.contains(&late) && !outcome.stderr.contains(&late), "it is said{at}");
        assert!(evidence.text("step_build.log").contains(&late), "it was not in the log at all{at}");
    });
    let now = scene.stand.run(&["status", "--json"]).json()["last_known_good"].clone();
    scene.checks.that("such a release is not the last known good", || assert_eq!(good, now, "{at}"));
}

/// Dumps, env copies, evidence: nobody else can read them. The laid out source keeps the modes that
/// services need, below a directory that nobody else can enter.
fn owner_only(stand: &Stand) {
    let open = |path: &Path| {
        let meta = std::fs::symlink_metadata(path).unwrap();
        (meta.mode() & 0o077 != 0 && !meta.file_type().is_symlink())
            .then(|| format!("{:o} {}", meta.mode() & 0o777, path.display()))
    };
    let mut wide: Vec<String> = Vec::new();
    let mut files = 0;
    for root in ["ops/_backups", "ops/_local"] {
        for entry in walkdir::WalkDir::new(stand.repo.join(root)) {
            files += 1;
            wide.extend(open(entry.unwrap().path()));
        }
    }
    wide.extend(open(&stand.beside()));
    let tree =
        walkdir::WalkDir::new(stand.beside()).into_iter().flatten().find(|e| e.file_name() == ".env.docker");
    let tree = tree.expect("the laid out source has no env file");
    assert_eq!(
        tree.metadata().unwrap().mode() & 0o777,
        0o644,
        "a service of another user must read it as before"
    );
    assert!(files > 60, "only {files} files are kept");
    assert!(wide.is_empty(), "others can read:\n  {}", wide.join("\n  "));
}
