//! The disk with the evidence fills up in the middle of a release and at its
//! end: the stand comes back or is named, and nothing counts that is not saved.

use crate::support::before::Before;
use crate::support::die::{Die, Moment, some};
use crate::support::disk::Disk;
use crate::support::leftovers::Kept;
use crate::support::stand::EVIDENCE;
use crate::support::writer::Writer;
use crate::support::{Checks, Evidence, Outcome, Stand};
use serde_json::json;

struct Case {
    /// First, to be gone before the stand is removed.
    disk: Disk,
    stand: Stand,
    kept: Kept,
    checks: Checks,
    commit: String,
    first: String,
}

impl Case {
    /// The run is open; once there is room again, `rollback` brings everything back.
    fn recovered(&mut self, what: &str, before: &Before, rid: &str, writer: Writer) {
        let Case { stand, kept, checks, commit, first, .. } = self;
        checks.that(format!("{what}: it is open"), || {
            // One that ended is named, and a better version is a way out, too.
            if !stand.repo.join(EVIDENCE).join(rid).join("digest.sha256").exists() {
                stand.run(&["release", "--yes"]).expect(10).says(rid);
            }
            stand.run(&["status"]).expect(0).says(rid);
            before.last_good_untouched(stand, what);
        });
        let outcome = stand.run(&["rollback", "--yes", "--json"]).expect(0);
        writer.acked_in_newest();
        writer.stop();
        let evidence = stand.evidence(&outcome);
        if let Some(failed) = evidence.json("rollback.json")["failed_database"].as_str() {
            kept.rolled_back(failed);
        }
        let killed = Evidence { dir: stand.repo.join(EVIDENCE).join(rid), at: evidence.at.clone() };
        checks.that(format!("{what}: rollback"), || {
            assert_eq!(evidence.json("rollback.json")["recovers"], rid, "recovers{}", evidence.at);
            is_back(stand, before, (&killed, &evidence), commit);
            let status = stand.run(&["status", "--json"]).expect(0).json();
            assert_eq!(status["last_known_good"]["rid"], first.as_str(), "{status:#}");
            assert_eq!(status["interrupted"].as_array().map(Vec::len), Some(0), "open: {status:#}");
        });
    }
}

fn is_back(stand: &Stand, before: &Before, (release, rollback): (&Evidence, &Evidence), commit: &str) {
    let at = &rollback.at;
    before.content_is_back(stand, release, rollback);
    before.code_is_back(stand, "1", commit, at);
    before.data_services_ran_on(stand, at);
    before.checkout_untouched(stand, at);
    before.last_good_untouched(stand, at);
    stand.run(&["evidence", "verify", &rollback.rid()]).expect(0);
}

/// What could not be saved is said, and nothing was touched; where there is no room it does not begin.
fn smoke_and_backup(case: &mut Case, die: &Die) {
    let Case { stand, disk, kept, checks, .. } = case;
    for (command, rid, moment) in [
        ("smoke", "smk_20991231-000000_full", Moment::after("intent", "smoke", "step")),
        ("backup", "bak_20991231-000000_full", Moment::after("intent", "backup", "dump")),
    ] {
        let before = Before::of(stand);
        let outcome = full_in(stand, (die, disk), &[command, "--rid", rid], &moment, false);
        checks.that(format!("full in a {command}: told as it is"), || {
            let at = outcome.at();
            assert_eq!(outcome.code, 50, "exit code{at}");
            outcome.says("could not be saved");
            outcome.says("No space left on device");
            outcome.says("the stand is as it was");
            before.containers_untouched(stand, &at);
            before.last_good_untouched(stand, &at);
            stand.run(&["evidence", "verify", rid]).expect(50);
        });
        // Of a backup something may lie about.
        let refused = stand.run(&["release", "--plan"]);
        let back = (command == "backup").then(|| stand.run(&["rollback", "--yes"]));
        checks.that(format!("full in a {command}: what is open"), || {
            refused.clone().expect(if back.is_some() { 10 } else { 0 });
            if let Some(back) = back {
                refused.says(rid);
                stand.nothing_left_over(kept, &back.expect(0));
            }
            stand.run(&["release", "--plan"]).expect(0);
        });
        // From its beginning.
        disk.fill();
        let outcome = stand.run(&[command]);
        disk.free();
        checks.that(format!("full before a {command}: not begun"), || {
            let at = outcome.at();
            assert_eq!(outcome.code, 10, "exit code{at}");
            outcome.says("too little room for the evidence of a run");
            outcome.says("No space left on device");
            before.containers_untouched(stand, &at);
            before.last_good_untouched(stand, &at);
            // Nothing lies there that looks like a run which did not end.
            let status = stand.run(&["status", "--json"]).expect(0).json();
            assert_eq!(status["interrupted"], json!([]), "open{at}");
            stand.nothing_left_over(kept, &outcome);
        });
    }
}

/// A release that finds the disk full from this moment on; again and again where it is `hungry`.
fn full(stand: &Stand, on: (&Die, &Disk), rid: &str, moment: &Moment, hungry: bool) -> Outcome {
    full_in(stand, on, &["release", "--yes", "--rid", rid], moment, hungry)
}

fn full_in(
    stand: &Stand,
    (die, disk): (&Die, &Disk),
    args: &[&str],
    moment: &Moment,
    hungry: bool,
) -> Outcome {
    let mut running = die.stopped(stand, args, moment);
    disk.fill();
    running.signal("CONT");
    if hungry {
        disk.keep_full(|| running.ended());
    }
    let outcome = stand.heard(running.wait(), &[]);
    disk.free();
    outcome
}

#[test]
fn a_disk_that_fills_up_is_never_a_pass_and_keeps_nobody_from_coming_back() {
    let stand = Stand::new();
    let disk = Disk::mount(&stand.repo.join("ops/_local"), "24m");
    let (evidence, kept) = stand.first_release();
    let die = Die::build(&stand);
    let mut case =
        Case { disk, commit: stand.head(), first: evidence.rid(), stand, kept, checks: Checks::default() };

    let Case { stand, disk, kept, checks, .. } = &mut case;
    checks.that("too little from the start", || {
        let before = Before::of(stand);
        disk.fill();
        let refused = stand.run(&["release", "--yes"]);
        disk.free();
        let refused = refused.expect(10);
        refused.says("too little room for the evidence");
        before.containers_untouched(stand, &refused.at());
        stand.nothing_left_over(kept, &refused);
        let status = stand.run(&["status", "--json"]).expect(0).json();
        assert_eq!(status["interrupted"].as_array().map(Vec::len), Some(0), "open: {status:#}");
    });
    smoke_and_backup(&mut case, &die);
    case.stand.version("good-v2");

    // In the middle: once, then whatever is free is taken at once.
    for hungry in some(vec![false, true], 1) {
        let rid = if hungry { "rel_20991231-000002_hungry" } else { "rel_20991231-000001_full" };
        let what = format!("full while it deploys ({rid})");
        let writer = Writer::start(&case.stand, "full");
        let before = Before::of(&case.stand);
        let deploys = Moment::after("intent", "deploy", "up");
        let outcome = full(&case.stand, (&die, &case.disk), rid, &deploys, hungry);
        let evidence = Evidence { dir: case.stand.repo.join(EVIDENCE).join(rid), at: outcome.at() };
        case.checks.that(format!("{what}: told as it is"), || {
            outcome.says("No space left on device");
            // The stand is back, and RAW lines are lost: 50 comes before 30.
            let codes: &[i32] = if hungry { &[40, 50] } else { &[50] };
            assert!(codes.contains(&outcome.code), "exit code{}", outcome.at());
            if evidence.has("digest.sha256") {
                assert_eq!(
                    evidence.verdict().1,
                    outcome.code as u64,
                    "exit code and verdict{}",
                    outcome.at()
                );
            } else {
                outcome.says("could not be saved");
                outcome.says("cargo xtask rollback");
            }
        });
        if !evidence.has("digest.sha256") || evidence.json("rollback.json")["verified"] != true {
            case.recovered(&what, &before, rid, writer);
            continue;
        }
        writer.acked_in_newest();
        writer.stop();
        case.kept.rolled_back(evidence.json("rollback.json")["failed_database"].as_str().unwrap());
        let Case { stand, checks, commit, kept, .. } = &mut case;
        checks.that(format!("{what}: it went back with the room that was kept"), || {
            assert_eq!(evidence.verdict(), ("FAIL".into(), 50), "verdict{}", evidence.at);
            assert_eq!(evidence.gates(false), ["D1", "S1", "E1"], "gates that are not true{}", evidence.at);
            outcome.says("the previous version runs on the database as it was at the fence");
            outcome.says("free space on that disk");
            is_back(stand, &before, (&evidence, &evidence), commit);
        });
        checks.that(format!("{what}: leftovers"), || stand.nothing_left_over(kept, &outcome));
    }

    // At the end, when everything was good and is sealed.
    let rid = "rel_20991231-000003_sealed";
    let writer = Writer::start(&case.stand, "sealed");
    let before = Before::of(&case.stand);
    let sealed = Moment::after("sealed", "pipeline", "sealed");
    let outcome = full(&case.stand, (&die, &case.disk), rid, &sealed, false);
    case.kept = Kept::default();
    case.checks.that("full at the end: told as it is", || {
        assert_eq!(outcome.code, 50, "exit code{}", outcome.at());
        for word in
            ["could not be saved", "No space left on device", "the new version runs", "no last known good"]
        {
            outcome.says(word);
        }
        before.last_good_untouched(&case.stand, &outcome.at());
        case.stand.runs_version("2");
        case.stand.run(&["evidence", "verify", rid]).expect(50);
    });
    case.recovered("full at the end", &before, rid, writer);

    // Good, and git does not take down what a later release would go back to.
    let rid = "rel_20991231-000003_unrecorded";
    let pin = case.stand.repo.join(".git/refs/ff-xtask/lkg").join(format!("{rid}.lock"));
    let writer = Writer::start(&case.stand, "unrecorded");
    let before = Before::of(&case.stand);
    std::fs::write(&pin, "").unwrap();
    let outcome = case.stand.run(&["release", "--yes", "--rid", rid]);
    std::fs::remove_file(&pin).unwrap();
    case.checks.that("not recorded: told as it is", || {
        let evidence = case.stand.evidence(&outcome);
        let at = &evidence.at;
        assert_eq!((outcome.code, evidence.verdict()), (50, ("FAIL".into(), 50)), "verdict{at}");
        outcome.says("could not be recorded as the last known good one: git update-ref: exit 128");
        outcome.says("the new version runs, and is no last known good release; the undo clone is kept");
        case.stand.run(&["evidence", "verify", rid]).expect(0);
        case.stand.runs_version("2");
        let clone = evidence.json("fence.json")["clone"].as_str().unwrap().to_string();
        let there = format!("SELECT count(*) FROM pg_database WHERE datname = '{clone}'");
        assert_eq!(case.stand.value(&there), "1", "its clone{at}");
    });
    case.recovered("not recorded", &before, rid, writer);

    // In a rollback, which has the room that it kept for its second try.
    let passed = case.stand.run(&["release", "--yes"]).expect(0);
    let release = case.stand.evidence(&passed);
    let stopped = Moment::after("intent", "rollback", "stop failed version");
    let args = ["rollback", "--yes", "--rid", "rbk_20991231-000004_full"];
    let outcome = full_in(&case.stand, (&die, &case.disk), &args, &stopped, false);
    case.checks.that("full in a rollback: it comes back, and says what is missing", || {
        let at = outcome.at();
        outcome.says("; once more");
        // 0 only where nothing is missing: a file has room up to the end of its last page, so the first
        // line that does not fit may be the beginning of an act, which is then not begun and is written
        // again, whole, by the second try. Lines of a log, or the end of an act, that did not fit are 50.
        let evidence = case.stand.evidence(&outcome);
        let missing = evidence.gates(false);
        assert!(missing.iter().all(|gate| ["E1", "E3"].contains(&gate.as_str())), "{missing:?}{at}");
        assert_eq!(outcome.code, if missing.is_empty() { 0 } else { 50 }, "{missing:?}{at}");
        missing.iter().for_each(|gate| outcome.says(&format!("NOT {gate}: {}", evidence.gate(gate).1)));
        case.stand.run(&["evidence", "verify", &evidence.rid()]).expect(0);
        case.stand.runs_version("1");
        case.stand.run(&["smoke"]).expect(0);
        let status = case.stand.run(&["status", "--json"]).expect(0).json();
        assert_eq!(status["interrupted"].as_array().map(Vec::len), Some(0), "open: {status:#}{at}");
        assert_ne!(status["last_known_good"]["rid"], release.rid(), "{status:#}{at}");
    });
    let Case { stand, checks, .. } = &mut case;
    checks.that("no secret", || stand.no_secret_anywhere());
    case.checks.all_hold();
}
