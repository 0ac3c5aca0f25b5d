//! Gates that the real thing makes false before anything is changed: a secret
//! in the release, a dirty checkout, no way back; and what it takes to go on.

use crate::support::before::Before;
use crate::support::leftovers::Kept;
use crate::support::process::tool;
use crate::support::{Checks, Evidence, Outcome, Stand};
use serde_json::json;
use std::path::Path;

/// Values that may stand nowhere: put together here, so that no file of this repository has them.
fn token() -> String {
    format!("ghp_{}", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8")
}
const PERSON: [&str; 2] = ["Иван Сергеевич Петров", "+7 901 234-56-78"];

struct Gates {
    stand: Stand,
    kept: Kept,
    checks: Checks,
}

impl Gates {
    /// Runs a release that must fail before the stand is changed, and looks that it was not.
    fn refused(&mut self, what: &str, code: i32, args: &[&str]) -> (Outcome, Evidence) {
        let Gates { stand, kept, checks } = self;
        let before = Before::of(stand);
        let outcome = stand.run(&[&["release", "--yes"], args].concat()).expect(code);
        let evidence = stand.evidence(&outcome);
        checks.that(format!("{what}: nothing was touched"), || {
            before.containers_untouched(stand, &evidence.at);
            before.checkout_untouched(stand, &evidence.at);
            before.last_good_untouched(stand, &evidence.at);
            assert_eq!(evidence.json("summary.json")["state_left"], "unchanged", "state_left{}", evidence.at);
            stand.run(&["evidence", "verify", &evidence.rid()]).expect(0);
        });
        // The checkout may be dirty here: the case itself made it so.
        if stand.git(&["status", "--porcelain"]).is_empty() {
            checks.that(format!("{what}: leftovers"), || stand.nothing_left_over(kept, &outcome));
        }
        (outcome, evidence)
    }

    /// A secret in a file to be released refuses, also in an edit that is allowed: P5.
    fn a_secret(&mut self) {
        let token = token();
        std::fs::write(
            self.stand.repo.join("src/client.py"),
            format!("URL = 'x'\n# old\nTOKEN = '{token}'\n"),
        )
        .unwrap();
        let dirty = self.refused("an untracked secret", 10, &["--allow-dirty", "only a test"]);
        self.stand.commit("[DEVTASK:7] api: a client");
        let committed = self.refused("a committed secret", 10, &[]);
        for (what, (outcome, evidence)) in [("untracked", dirty), ("committed", committed)] {
            self.checks.that(format!("P5 is false: {what}"), || {
                let at = &evidence.at;
                assert_eq!(evidence.verdict(), ("REFUSED".into(), 10), "verdict{at}");
                assert!(!evidence.gate("P5").0, "P5 is true: {}{at}", evidence.gate("P5").1);
                let found = evidence.json("precheck.json")["findings"].clone();
                let hard = found.as_array().unwrap().iter().find(|f| f["file"] == "src/client.py");
                let hard = hard.unwrap_or_else(|| panic!("not found: {found}{at}"));
                assert_eq!(
                    (&hard["line"], &hard["hard"], &hard["new"]),
                    (&json!(3), &json!(true), &json!(true)),
                    "{at}"
                );
                outcome.says("src/client.py:3 holds a github token");
                let requests = evidence.requests();
                assert!(requests.len() == 1 && requests[0].0 == "D", "requests: {requests:?}{at}");
                assert!(requests[0].1.contains("src/client.py:3"), "the request: {}{at}", requests[0].1);
                assert!(
                    !outcome.stderr.contains(&token) && !outcome.stdout.contains(&token),
                    "on the screen"
                );
                evidence.holds_none_of(&[&token]);
                let tasks = evidence.json("charter.json")["devtasks"].clone();
                if what == "committed" {
                    assert_eq!(tasks, json!(["7"]), "DevTasks since the last known good{at}");
                }
            });
        }
        std::fs::remove_file(self.stand.repo.join("src/client.py")).unwrap();
        self.stand.commit("[DEVTASK:7] api: no client");
    }

    /// Edits refuse until they are allowed with a reason: then they are released as they are.
    fn a_dirty_checkout(&mut self) {
        self.stand.edit("src/version.py", "VERSION = \"1\"", "VERSION = \"1-edited\"");
        std::fs::write(self.stand.repo.join("src/staged.py"), "X = 1\n").unwrap();
        self.stand.git(&["add", "src/staged.py"]);
        std::fs::write(self.stand.repo.join("src/untracked.py"), "Y = 2\n").unwrap();
        let (outcome, evidence) = self.refused("a dirty checkout", 10, &[]);
        self.checks.that("a dirty checkout is refused by name", || {
            assert_eq!(evidence.verdict(), ("REFUSED".into(), 10), "verdict{}", evidence.at);
            for file in ["src/version.py", "src/staged.py", "src/untracked.py", "--allow-dirty"] {
                outcome.says(file);
            }
            assert!(!evidence.gate("P3").0, "P3 is true{}", evidence.at);
        });
        let Gates { stand, kept, checks } = self;
        let before = Before::of(stand);
        let outcome = stand.run(&["release", "--yes", "--allow-dirty", "a fix that cannot wait"]).expect(0);
        let evidence = stand.evidence(&outcome);
        kept.passed(&evidence);
        checks.that("a release of edits is waived, not passed", || {
            let at = &evidence.at;
            assert_eq!(evidence.verdict(), ("PASS_WAIVED".into(), 0), "verdict{at}");
            let summary = evidence.json("summary.json");
            assert_eq!(
                (&summary["ok"], &summary["git"]["dirty"]),
                (&json!(true), &json!(true)),
                "ok and dirty{at}"
            );
            assert_eq!(summary["waivers"][0]["reason"], "a fix that cannot wait", "waivers{at}");
            let dir = stand.repo.join(summary["backup"]["dir"].as_str().unwrap());
            let manifest = std::fs::read_to_string(dir.join("manifest.json")).unwrap();
            let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
            assert_eq!(manifest["git"]["dirty"], true, "manifest.json{at}");
            assert_eq!(
                under_the_verdict(&outcome),
                "waived V4 by --allow-dirty: a fix that cannot wait",
                "{at}"
            );
            assert_eq!(stand.api_version().as_deref(), Some("1-edited"), "what answers{at}");
            let differ = before.checkout_differs(stand);
            assert!(differ.is_empty(), "the operator's checkout was touched: {differ:?}{at}");
            // The last known good is the tree as deployed, with nothing of the tool's own in it.
            let commit = format!("refs/ff-xtask/lkg/{}", evidence.rid());
            let tree = stand.git(&["ls-tree", "-r", "--name-only", &commit]);
            for file in ["src/staged.py", "src/untracked.py"] {
                assert!(tree.lines().any(|l| l == file), "{file} is not in the tree as deployed{at}");
            }
            assert!(!tree.contains("ops/_"), "the tool's own files are in the tree{at}");
            let version = stand.git(&["show", &format!("{commit}:src/version.py")]);
            assert!(version.contains("1-edited"), "version.py as deployed: {version}{at}");
        });
        stand.git(&["reset", "-q", "--hard"]);
        std::fs::remove_file(stand.repo.join("src/untracked.py")).unwrap();
    }

    /// What blocks the swap, and what is missing for the way back: R0.
    fn no_way_back(&mut self) {
        self.stand.psql("SELECT pg_create_logical_replication_slot('consumer', 'test_decoding')");
        self.stand.psql("BEGIN; DELETE FROM app.points WHERE t = 'other'; PREPARE TRANSACTION 'left open'");
        let (outcome, evidence) = self.refused("blockers", 20, &[]);
        let waived = ["--skip-backup", "no time", "--no-rollback", "no time"];
        let (no_clone, waived) = self.refused("blockers of the clone", 20, &waived);
        self.stand.psql("ROLLBACK PREPARED 'left open'");
        self.stand.psql("SELECT pg_drop_replication_slot('consumer')");
        self.checks.that("R0 is false: blockers", || {
            let at = &evidence.at;
            assert_eq!(evidence.verdict(), ("FAIL".into(), 20), "verdict{at}");
            assert_eq!(evidence.gates(false), ["R0", "M1", "D1", "S1"], "gates that are false{at}");
            let blockers = evidence.json("readiness.json")["blockers"].clone();
            assert_eq!(blockers.as_array().map(Vec::len), Some(2), "blockers: {blockers}{at}");
            for word in ["prepared", "slot", "ROLLBACK PREPARED", "pg_drop_replication_slot"] {
                outcome.says(word);
            }
            assert_eq!(evidence.requests().first().map(|r| r.0.as_str()), Some("A"), "the request{at}");
        });
        self.checks.that("what stops the clone is not waived", || {
            assert_eq!(waived.verdict(), ("FAIL".into(), 20), "verdict{}", waived.at);
            no_clone.says("the database could not be cloned after the stop");
            no_clone.says("1 prepared transactions");
            no_clone.says("ROLLBACK PREPARED");
            no_clone.lacks("pg_drop_replication_slot");
        });

        let redis = self.stand.container("redis");
        let moved = |from: &str, to: &str| {
            tool(
                "docker",
                &["exec", &redis, "sh", "-c", &format!("mv $(command -v {from}) {to}")],
                Path::new("/"),
                None,
            )
        };
        moved("redis-cli", "/usr/local/bin/redis-away");
        let before = Before::of(&self.stand);
        let outcome = self.stand.run(&["release", "--yes"]);
        moved("redis-away", "/usr/local/bin/redis-cli");
        self.checks.that("R0 is false: the queues cannot be set aside", || {
            let evidence = self.stand.evidence(&outcome.clone().expect(20));
            let at = &evidence.at;
            before.containers_untouched(&self.stand, at);
            self.stand.nothing_left_over(&self.kept, &outcome);
            assert_eq!(evidence.verdict(), ("FAIL".into(), 20), "verdict{at}");
            assert_eq!(evidence.gates(false), ["R0", "M1", "D1", "S1"], "gates that are false{at}");
            outcome.says("the queues cannot be set aside: ask Redis: exit 126");
            outcome.says("let redis-cli in its container answer");
        });

        // Somebody built and started the API by hand, and cleaned up the image of the last release.
        let stand = &self.stand;
        let old = stand.containers()["api"].image.clone();
        stand.edit("src/version.py", "VERSION = \"1\"", "VERSION = \"by hand\"");
        let compose = |args: &[&str]| {
            tool("docker", &[&["compose", "-p", &stand.project], args].concat(), &stand.repo, None)
        };
        compose(&["build", "-q", "api"]);
        compose(&["up", "-d", "--no-deps", "api"]);
        let tags = tool(
            "docker",
            &["image", "inspect", "--format", "{{join .RepoTags \" \"}}", &old],
            Path::new("/"),
            None,
        );
        let names: Vec<&str> = tags.split_whitespace().collect();
        tool("docker", &[&["image", "rm", "-f"], &names[..], &[old.as_str()]].concat(), Path::new("/"), None);
        stand.git(&["checkout", "-q", "--", "src/version.py"]);
        let (outcome, evidence) = self.refused("no previous image", 20, &[]);
        self.checks.that("R0 is false: the previous image is gone", || {
            let at = &evidence.at;
            assert_eq!(evidence.verdict(), ("FAIL".into(), 20), "verdict{at}");
            assert_eq!(evidence.gates(false), ["R0", "M1", "D1", "S1"], "gates that are false{at}");
            outcome.says("previous image of api");
            assert!(evidence.gate("R0").1.contains("api"), "R0: {}{at}", evidence.gate("R0").1);
        });
        // Said on purpose, it is released all the same, and never as a plain PASS.
        let Gates { stand, kept, checks } = self;
        // The failed database cannot be dropped: that keeps nothing else from being tidied.
        let failed = stand.value("SELECT datname FROM pg_database WHERE datname LIKE '%\\_\\_failed\\_%'");
        stand.psql_closed(
            &failed,
            "CREATE SUBSCRIPTION stays CONNECTION 'host=127.0.0.1 port=1 dbname=x' PUBLICATION p WITH (connect = false)",
        );
        let outcome =
            stand.run(&["release", "--yes", "--no-rollback", "the image is gone for good"]).expect(0);
        let evidence = stand.evidence(&outcome);
        kept.passed(&evidence);
        checks.that("a database that something holds is named, and the rest is tidied", || {
            let at = &evidence.at;
            outcome.says(&format!("not dropped: {failed}"));
            outcome.says("DROP SUBSCRIPTION in it");
            let clone = evidence.json("fence.json")["clone"].as_str().unwrap().to_string();
            let clones = "SELECT datname FROM pg_database WHERE datname LIKE '%\\_\\_pre\\_%'";
            assert_eq!(stand.psql(clones), std::slice::from_ref(&clone), "undo clones{at}");
            assert_eq!(told_by(stand, &clone), format!("undo clone of {}", evidence.rid()), "{at}");
        });
        stand
            .psql_closed(&failed, "ALTER SUBSCRIPTION stays SET (slot_name = NONE); DROP SUBSCRIPTION stays");
        checks.that("a rollback that is switched off is waived", || {
            assert_eq!(evidence.verdict(), ("PASS_WAIVED".into(), 0), "verdict{}", evidence.at);
            let told = under_the_verdict(&outcome);
            assert_eq!(told, "waived R0 by --no-rollback: the image is gone for good", "{}", evidence.at);
            let rollback = evidence.json("summary.json")["rollback"].clone();
            assert_eq!(rollback["enabled"], false, "rollback: {rollback}{}", evidence.at);
            assert_eq!(
                rollback["reason"], "the image is gone for good",
                "rollback: {rollback}{}",
                evidence.at
            );
            stand.runs_version("1");
        });
    }

    /// What the database prints of rows, and what a file prints of secrets, never reaches the disk: E4.
    fn rows_and_secrets_that_are_printed(&mut self) {
        let [name, phone] = PERSON;
        let sql = format!(
            "INSERT INTO app.attachments VALUES ('{name}', 0);\n\
             \\! echo \"password is $POSTGRES_PASSWORD\"\n\
             \\set ON_ERROR_STOP 0\nSELECT '{phone}'::integer;\n\\set ON_ERROR_STOP 1\n\
             INSERT INTO app.attachments VALUES ('{name}', 1);\n"
        );
        let path = "scripts/sql/fixpacks/20251221_app_people_apply.sql";
        std::fs::write(self.stand.repo.join(path), sql).unwrap();
        let last = "  \"scripts/sql/fixpacks/20251218_analytics_totals_apply.sql\",\n";
        self.stand.edit("ops/xtask.toml", last, &format!("{last}  \"{path}\",\n"));
        self.stand.commit("[DEVTASK:8] crm: people");
        let outcome = self.stand.run(&["release", "--yes", "--json"]).expect(30);
        let evidence = self.stand.evidence(&outcome);
        self.kept.rolled_back(evidence.json("rollback.json")["failed_database"].as_str().unwrap());
        self.checks.that("rows that PostgreSQL prints are cut, secrets are masked", || {
            let at = &evidence.at;
            assert!(!evidence.gate("M1").0 && evidence.gate("E4").0, "M1 and E4{at}");
            let log = evidence.text("step_migrate.log");
            for word in
                ["duplicate key value violates unique constraint", "invalid input syntax for type integer"]
            {
                assert!(log.contains(word), "the log does not say `{word}`{at}");
            }
            assert!(log.contains("password is "), "what the file echoes is not in the log{at}");
            let server = evidence.text("logs_postgres.log");
            assert!(server.contains("duplicate key value"), "the server's own log{at}");
            evidence.holds_none_of(&PERSON);
            for text in PERSON {
                assert!(
                    !outcome.stderr.contains(text) && !outcome.stdout.contains(text),
                    "on the screen: {text}{at}"
                );
            }
        });
        let Gates { stand, kept, checks } = self;
        checks.that("after it: leftovers", || stand.nothing_left_over(kept, &outcome));
    }
}

/// The first line below the verdict of a release that is waived.
fn under_the_verdict(outcome: &Outcome) -> &str {
    let (_, screen) = outcome.stderr.rsplit_once("\nPASS_WAIVED  release  ").unwrap_or_default();
    screen.lines().nth(1).unwrap_or_default().trim()
}

/// What an undo clone says to other checkouts.
fn told_by(stand: &Stand, clone: &str) -> String {
    let sql = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname =";
    stand.value(&format!("{sql} '{clone}'"))
}

#[test]
fn nothing_is_changed_without_a_way_back_or_with_a_secret() {
    // What prepared transactions and logical slots need of a server.
    let server = "    image: postgres:15\n    command: [\"postgres\", \"-c\", \"wal_level=logical\", \"-c\", \"max_prepared_transactions=5\"]\n";
    let stand = Stand::with(|repo| {
        let path = repo.join("docker-compose.yml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, text.replace("    image: postgres:15\n", server)).unwrap();
    });
    let first = stand.run(&["release", "--yes"]).expect(0);
    let mut gates = Gates { stand, kept: Kept::default(), checks: Checks::default() };
    let evidence = gates.stand.evidence(&first);
    gates.kept.passed(&evidence);
    // As if that one had been killed between its record and the mark of its clone.
    let clone = gates.kept.clone.clone().unwrap();
    let ended = told_by(&gates.stand, &clone);
    let mark =
        format!("COMMENT ON DATABASE \"{clone}\" IS '{ended}, which has not ended: anna@host, /srv/a'");
    gates.stand.psql(&mark);
    gates.a_secret();
    let Gates { stand, checks, .. } = &mut gates;
    checks.that("no other checkout waits for a release that passed", || {
        let rid = evidence.rid();
        assert_eq!((ended.clone(), told_by(stand, &clone)), (format!("undo clone of {rid}"), ended));
    });
    gates.a_dirty_checkout();
    // Back to version 1 as a release, for the way back to be it.
    let again = gates.stand.run(&["release", "--yes"]).expect(0);
    gates.kept.passed(&gates.stand.evidence(&again));
    gates.rows_and_secrets_that_are_printed();
    gates.stand.version("1");
    gates.no_way_back();
    let Gates { stand, checks, .. } = &mut gates;
    checks.that("no secret", || stand.no_secret_anywhere());
    gates.checks.all_hold();
}
