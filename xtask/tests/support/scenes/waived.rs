//! What is waived on purpose: really left out, and said with its reason; and what
//! a release that fails without a way back leaves, says and offers.

use crate::support::before::{Before, live_oid};
use crate::support::die::{Die, Moment};
use crate::support::leftovers::Kept;
use crate::support::process::tool;
use crate::support::tamper::{Copy, refused_as_a_way_back};
use crate::support::{Checks, Evidence, Outcome, Stand};
use serde_json::Value;
use std::path::{Path, PathBuf};

struct Case {
    stand: Stand,
    kept: Kept,
    checks: Checks,
    /// The commit of version 1.
    commit: String,
}

/// A waiver as the summary must have it.
type Waived<'a> = (&'a str, &'a str, &'a str);

const NO_ROLLBACK: Waived<'_> = ("R0", "--no-rollback", "the maintenance window is long");

impl Case {
    fn release(&mut self, waived: &[Waived<'_>]) -> (Outcome, Evidence) {
        let mut args = vec!["release", "--yes"];
        for (_, flag, reason) in waived {
            if !args.contains(flag) {
                args.extend([*flag, *reason]);
            }
        }
        let outcome = self.stand.run(&args).expect(0);
        let evidence = self.stand.evidence(&outcome);
        self.kept.passed(&evidence);
        (outcome, evidence)
    }

    /// The verdict, every reason on the screen and in the summary, and the gates that are not true.
    fn passes(&mut self, waived: &[Waived<'_>], open: &[&str]) -> Evidence {
        let (outcome, evidence) = self.release(waived);
        let Case { stand, kept, checks, .. } = self;
        let flags: Vec<&str> = waived.iter().map(|w| w.1).collect();
        checks.that(format!("{flags:?}: waived, and said"), || {
            let at = &evidence.at;
            assert_eq!(evidence.verdict(), ("PASS_WAIVED".into(), 0), "verdict{at}");
            let summary = evidence.json("summary.json");
            let found: Vec<Waived<'_>> = summary["waivers"].as_array().unwrap().iter().map(three).collect();
            assert_eq!(found, waived, "waivers of the summary{at}");
            for (gate, flag, reason) in waived {
                outcome.says(&format!("waived {gate} by {flag}: {reason}"));
            }
            assert_eq!(evidence.gates(false), open, "gates that are not true{at}");
            assert_eq!(summary["state_left"], "the new version runs", "state_left{at}");
            assert_eq!(summary["rollback"]["performed"], false, "a rollback{at}");
            stand.run(&["evidence", "verify", &evidence.rid()]).expect(0);
        });
        checks.that(format!("{flags:?}: leftovers"), || stand.nothing_left_over(kept, &outcome));
        evidence
    }

    /// A release that fails and stays, by itself or because it is told to stop at `told`; `rollback` is
    /// what it says is to be done.
    fn stays(
        &mut self,
        version: &str,
        args: &[&str],
        told: Option<Moment>,
        left: &str,
        version_now: Option<&str>,
    ) {
        let Case { stand, kept, checks, commit } = self;
        stand.version(version);
        let before = Before::of(stand);
        let args = [&["release", "--yes"], args].concat();
        let outcome = match told {
            None => stand.run(&args),
            Some(moment) => {
                let rids = stand.rids();
                let running = Die::build(stand).stopped(stand, &args, &moment);
                running.signal("INT");
                running.signal("CONT");
                stand.heard(running.wait(), &rids)
            }
        };
        let outcome = outcome.expect(40);
        let release = stand.evidence(&outcome);
        checks.that(format!("{version}: stays, and says so"), || {
            let at = &release.at;
            assert_eq!(release.verdict(), ("FAIL".into(), 40), "verdict{at}");
            let summary = release.json("summary.json");
            let state = summary["state_left"].as_str().unwrap();
            assert_eq!(state, format!("needs a person: {left}; rollback was switched off"), "state_left{at}");
            outcome.says(state);
            outcome.says(NO_ROLLBACK.2);
            let rollback = &summary["rollback"];
            assert_eq!(
                (&rollback["enabled"], &rollback["performed"]),
                (&false.into(), &false.into()),
                "{at}"
            );
            assert_eq!(rollback["reason"], NO_ROLLBACK.2, "summary.rollback.reason{at}");
            outcome.says("cargo xtask rollback");
            outcome.lacks("go back again");
            assert_eq!(live_oid(stand), before.oid, "another database has the live name{at}");
            assert_eq!(stand.api_version().as_deref(), version_now, "what answers{at}");
            before.last_good_untouched(stand, at);
            before.data_services_ran_on(stand, at);
            before.checkout_untouched(stand, at);
            stand.run(&["evidence", "verify", &release.rid()]).expect(0);
        });
        checks.that(format!("{version}: status names it"), || {
            let status = stand.run(&["status"]).expect(0);
            status.says(&format!("OPEN       release {} failed and was left in place", release.rid()));
            status.says("cargo xtask rollback: the state before release");
            let plan = stand.run(&["release", "--plan"]).expect(0);
            plan.says(&format!("release {} failed and was left in place: once this release", release.rid()));
        });
        if version_now.is_some() {
            checks.that(format!("{version}: what serves is not stopped for an image that is gone"), || {
                let images = release.json("readiness.json")["images"].clone();
                let api = images.as_array().unwrap().iter().find(|i| i["service"] == "api");
                let image = api.unwrap()["id"].as_str().unwrap().to_string();
                let file = stand.repo.with_file_name("image.tar").display().to_string();
                let docker = |args: &[&str]| tool("docker", args, Path::new("/"), None);
                let tags = docker(&["image", "inspect", "--format", "{{join .RepoTags \" \"}}", &image]);
                let names: Vec<&str> = tags.split_whitespace().collect();
                docker(&[&["save", "-o", &file], &names[..]].concat());
                docker(&[&["image", "rm"], &names[..]].concat());
                let refused = stand.run(&["rollback", "--yes"]);
                docker(&["load", "-q", "-i", &file]);
                refused.clone().expect(10).says("the image of api is not here any more");
                assert_eq!(stand.api_version().as_deref(), version_now, "what answers{}", refused.at());
            });
        }
        checks.that(format!("{version}: nothing is stopped or closed for a clone that is gone"), || {
            let clone = release.json("fence.json")["clone"].as_str().unwrap().to_string();
            let rename = |from: &str, to: &str| {
                stand.psql_on("postgres", &format!("ALTER DATABASE \"{from}\" RENAME TO \"{to}\""));
            };
            let containers = stand.containers();
            rename(&clone, "set aside");
            let refused = stand.run(&["rollback", "--yes"]);
            rename("set aside", &clone);
            refused.clone().expect(40).says(&format!("the clone {clone} is gone"));
            assert_eq!(stand.containers(), containers, "containers{}", refused.at());
            let open = "SELECT datallowconn FROM pg_database WHERE datname = 'foxproflow'";
            assert_eq!(stand.psql_on("postgres", open), ["t"], "it was closed{}", refused.at());
            for backup in backups(stand, &release.rid()) {
                refused.says(&format!("cargo xtask rollback --backup '{}'", backup.display()));
            }
        });
        let outcome = stand.run(&["rollback", "--yes"]);
        checks.that(format!("{version}: rollback ends it"), || {
            let back = stand.evidence(&outcome);
            let at = &back.at;
            assert_eq!((outcome.code, back.verdict()), (0, ("PASS".into(), 0)), "verdict{at}");
            let record = back.json("rollback.json");
            assert_eq!(record["recovers"], release.rid(), "the run that it ended{at}");
            let previous = |e: &Evidence| e.json("summary.json")["previous"].clone();
            assert!(previous(&back)["digest_sha256"].as_str().is_some_and(|d| d.len() == 64), "{at}");
            assert_eq!(previous(&back), previous(&release), "the release that it went back to{at}");
            before.content_is_back(stand, &release, &back);
            before.code_is_back(stand, "1", commit, at);
            before.data_services_ran_on(stand, at);
            before.last_good_untouched(stand, at);
            stand.run(&["status"]).expect(0).lacks("OPEN");
            kept.rolled_back(record["failed_database"].as_str().unwrap());
        });
        checks.that(format!("{version}: leftovers"), || stand.nothing_left_over(kept, &outcome));
    }

    /// Nobody restores it, so nobody but the backup itself reads its bytes back.
    fn a_dump_that_is_damaged(&mut self) {
        let Case { stand, kept, checks, .. } = self;
        let die = Die::build(stand);
        let before = Before::of(stand);
        let dumped = Moment::after("done", "backup", "dump");
        let args = ["release", "--yes", "--no-proof", "no time", "--no-rollback", "no time"];
        let rids = stand.rids();
        let running = die.stopped(stand, &args, &dumped);
        let newest = stand.rids().into_iter().find(|rid| !rids.contains(rid)).unwrap();
        Copy::flip(&backups(stand, &newest)[0].join("db.dump"));
        running.signal("CONT");
        let outcome = stand.heard(running.wait(), &rids);
        checks.that("--no-proof: a flipped byte of the dump is found", || {
            let evidence = stand.evidence(&outcome);
            let at = &evidence.at;
            assert_eq!((outcome.code, evidence.verdict()), (20, ("FAIL".into(), 20)), "verdict{at}");
            outcome.says("db.dump reads back otherwise");
            assert!(!evidence.gate("B1").0, "B1 is true: {}{at}", evidence.gate("B1").1);
            for file in ["compose_ps.json", "logs_api.log", "logs_postgres.log"] {
                assert!(evidence.has(file), "the stand's portrait has no {file}{at}");
            }
            before.containers_untouched(stand, at);
            before.last_good_untouched(stand, at);
            stand.nothing_left_over(kept, &outcome);
        });
        checks.that("--no-proof: the damaged dump stays, and nothing goes back to it", || {
            let backup = backups(stand, &newest).remove(0);
            assert!(backup.join("db.dump").exists(), "the dump is gone{}", outcome.at());
            refused_as_a_way_back(stand, &backup);
        });
    }
}

fn three(waiver: &Value) -> Waived<'_> {
    let of = |name: &str| waiver[name].as_str().unwrap();
    (of("gate"), of("flag"), of("reason"))
}

/// The directories of backups that a run made.
fn backups(stand: &Stand, rid: &str) -> Vec<PathBuf> {
    let all = std::fs::read_dir(stand.repo.join("ops/_backups")).unwrap().flatten().map(|e| e.path());
    all.filter(|p| p.to_string_lossy().ends_with(&format!("_{rid}"))).collect()
}

/// Changes that migrations made; refreshed views are the tasks' own doing.
fn changes(stand: &Stand) -> String {
    stand.value("SELECT count(*) FROM ops.ddl_log WHERE tag NOT LIKE 'REFRESH%'")
}

#[test]
fn what_is_waived_is_left_out_and_a_release_without_a_way_back_says_what_is_open() {
    let stand = Stand::new();
    let (_, kept) = stand.first_release();
    let mut case = Case { commit: stand.head(), stand, kept, checks: Checks::default() };
    case.a_dump_that_is_damaged();

    // A file that is no source, and would hide a secret as well as any.
    std::fs::write(case.stand.repo.join("export.csv"), "1;2\n".repeat(1_500_000)).unwrap();
    // The code is mounted, so it is the new one; the image keeps its old version.
    case.stand.edit("src/version.py", "VERSION = \"1\"", "VERSION = \"1.1\"");
    case.stand.commit("[DEVTASK:11] api: 1.1");
    let changed = changes(&case.stand);
    let evidence = case.passes(
        &[("B2", "--skip-build", "the registry is down"), ("M1", "--skip-migrate", "applied by hand")],
        &["M1"],
    );
    let Case { stand, checks, .. } = &mut case;
    checks.that("a file that is too large to be scanned is named", || {
        let at = &evidence.at;
        let warnings = evidence.json("precheck.json")["warnings"].to_string();
        assert!(warnings.contains("export.csv is too large to be source: not scanned"), "{warnings}{at}");
    });
    checks.that("no build and no migration", || {
        let at = &evidence.at;
        assert_eq!(evidence.gate("B2"), (true, "skipped: the registry is down".into()), "B2{at}");
        assert_eq!(evidence.gate("M1"), (false, "skipped: applied by hand".into()), "M1{at}");
        assert!(!evidence.text("step_build.log").contains("\"build\""), "something was built{at}");
        for image in evidence.json("images.json")["images"].as_array().unwrap() {
            assert_eq!(image["before"], image["after"], "{image}{at}");
        }
        assert_eq!(stand.api_version().as_deref(), Some("1.1"), "what answers{at}");
        assert_eq!(changes(stand), changed, "changes of the schema{at}");
        let record = evidence.json("migrate.json");
        assert_eq!(record["files"].as_array().map(Vec::len), Some(0), "files applied{at}");
        let verified = record["verify"].as_array().unwrap();
        assert!(verified.len() > 2 && verified.iter().all(|f| f["status"] == "passed"), "{verified:?}{at}");
    });

    std::fs::remove_file(case.stand.repo.join("export.csv")).unwrap();
    case.stand.edit("src/version.py", "VERSION = \"1.1\"", "VERSION = \"1\"");
    case.stand.commit("[DEVTASK:11] api: 1");
    case.commit = case.stand.head();
    let no_proof = ("R0", "--no-proof", "it takes too long");
    let evidence = case.passes(&[NO_ROLLBACK, no_proof], &["R0"]);
    let Case { stand, checks, .. } = &mut case;
    checks.that("a backup, and no proof", || {
        let at = &evidence.at;
        let (good, words) = evidence.gate("B1");
        assert!(good && evidence.json("backup.json")["verified"] == true, "B1: {words}{at}");
        assert_eq!(backups(stand, &evidence.rid()).len(), 1, "backups{at}");
        assert_eq!(evidence.json("proof.json")["skipped"], no_proof.2, "proof.json{at}");
        assert_eq!(evidence.json("summary.json")["backup"]["proof"], "not proved", "backup.proof{at}");
        assert!(!evidence.has("sums_proof.json"), "something was restored{at}");
    });

    let skip = |gate| (gate, "--skip-backup", "the night's one is good");
    let evidence = case.passes(&[skip("B1"), skip("R0"), skip("E2"), NO_ROLLBACK], &["B1", "R0"]);
    let Case { stand, checks, .. } = &mut case;
    checks.that("no backup", || {
        let at = &evidence.at;
        assert_eq!(evidence.gate("B1"), (false, "skipped: the night's one is good".into()), "B1{at}");
        assert!(backups(stand, &evidence.rid()).is_empty(), "a backup was made{at}");
        assert_eq!(evidence.json("summary.json")["backup"], Value::Null, "summary.backup{at}");
    });

    // Without a backup nothing was restored, and the way back is there all the same: the clone.
    case.stays(
        "bad-api-not-ready",
        &["--skip-backup", "no time", "--no-rollback", NO_ROLLBACK.2],
        None,
        "the failed version is in place",
        Some("bad-api-not-ready"),
    );
    let reason = format!("rollback.reason={}", NO_ROLLBACK.2);
    case.stays(
        "bad-fixpack-partial",
        &["--set", "rollback.enabled=false", "--set", &reason],
        None,
        "the services are stopped, the database is as the failed step left it",
        None,
    );
    // Ctrl-C once, in the downtime.
    case.stays(
        "good-v2",
        &["--no-rollback", NO_ROLLBACK.2],
        Some(Moment::after("intent", "migrate", "apply")),
        "the services are stopped, the database is as the failed step left it",
        None,
    );
    let Case { stand, checks, .. } = &mut case;
    checks.that("no secret", || stand.no_secret_anywhere());
    case.checks.all_hold();
}
