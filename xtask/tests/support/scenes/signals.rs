//! An operator who says stop, at any step, once or twice, with Ctrl-C or with
//! SIGTERM: never a PASS, never a last known good, never a stopped stand without
//! a word.

use crate::support::before::Before;
use crate::support::die::some;
use crate::support::leftovers::Kept;
use crate::support::stand::EVIDENCE;
use crate::support::{Checks, Outcome, SOON, Stand, note, wait_for};

const STEPS: [&str; 9] =
    ["precheck", "backup", "build", "proof", "ready", "change", "migrate", "deploy", "smoke"];

/// A step, the signal that comes in it, and how often it comes.
#[derive(Clone)]
struct Stop {
    step: &'static str,
    signal: &'static str,
    twice: bool,
}

impl Stop {
    fn name(&self) -> String {
        format!("SIG{}{} in {}", self.signal, if self.twice { " twice" } else { "" }, self.step)
    }
}

/// Every step with both signals, once and twice.
fn all() -> Vec<Stop> {
    let mut stops = Vec::new();
    for step in STEPS {
        for (signal, twice) in [("INT", false), ("TERM", true), ("TERM", false), ("INT", true)] {
            stops.push(Stop { step, signal, twice });
        }
    }
    stops
}

/// Starts a release and stops it in that step.
fn stopped(stand: &Stand, rid: &str, stop: &Stop) -> Outcome {
    let running = stand.start(&["release", "--yes", "--json", "--rid", rid]);
    begins(stand, rid, stop.step, "step");
    running.signal(stop.signal);
    if stop.twice {
        // The second counts as one only after the first was heard.
        wait_for("an answer to the first signal", SOON, || {
            running.said().contains("once more").then_some(())
        });
        running.signal(stop.signal);
    }
    stand.heard(running.wait(), &[])
}

/// Waits until that act begins.
fn begins(stand: &Stand, rid: &str, step: &str, act: &str) {
    let journal = stand.repo.join(EVIDENCE).join(rid).join("events.jsonl");
    let begun = format!("\"kind\":\"intent\",\"step\":\"{step}\",\"act\":\"{act}\"");
    wait_for(&format!("{act} of {step}"), SOON * 2, || {
        std::fs::read_to_string(&journal).unwrap_or_default().contains(&begun).then_some(())
    });
}

/// What is open is undone by the next rollback; what is not needs none.
fn settle(stand: &Stand, kept: &mut Kept, rid: &str, outcome: &Outcome) -> Outcome {
    let status = stand.run(&["status", "--json"]).expect(0).json();
    let open = !status["interrupted"].as_array().unwrap().is_empty();
    let settled = if open {
        outcome.says("cargo xtask");
        stand.run(&["release", "--yes"]).expect(10).says(rid);
        stand.run(&["rollback", "--yes", "--json"]).expect(0)
    } else {
        outcome.clone()
    };
    let of = if open { stand.evidence(&settled).dir } else { stand.repo.join(EVIDENCE).join(rid) };
    let record = std::fs::read_to_string(of.join("rollback.json")).unwrap_or_default();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap_or_default();
    if let Some(failed) = record["failed_database"].as_str() {
        kept.rolled_back(failed);
    } else if stand.beside().exists() {
        // Undone before the swap, with the previous source: the checkout had moved on.
        kept.tree = true;
    }
    settled
}

#[test]
fn a_release_that_is_told_to_stop_is_never_a_pass() {
    let mut stand = Stand::new();
    // A process that has just been started does not hear that it shall stop: half a minute each time.
    stand.set("FF_STAND_STOP_GRACE_S", "5");
    let first = stand.run(&["release", "--yes"]).expect(0);
    let first = stand.evidence(&first);
    let mut kept = Kept::default();
    kept.passed(&first);
    let mut checks = Checks::default();
    stand.version("good-v2");
    for (number, stop) in some(all(), 3).into_iter().enumerate() {
        let rid = format!("rel_20991231-{number:06}_stopped");
        note(stop.name());
        let before = Before::of(&stand);
        let outcome = stopped(&stand, &rid, &stop);
        checks.that(format!("{}: exit code", stop.name()), || {
            let own = if stop.signal == "INT" { 130 } else { 143 };
            let good: &[i32] = if stop.twice { &[own] } else { &[own, 20, 30] };
            assert!(good.contains(&outcome.code), "exit {}{}", outcome.code, outcome.at());
        });
        let settled = settle(&stand, &mut kept, &rid, &outcome);
        checks.that(format!("{}: the stand", stop.name()), || {
            let at = settled.at();
            before.last_good_untouched(&stand, &at);
            before.data_services_ran_on(&stand, &at);
            before.checkout_untouched(&stand, &at);
            stand.runs_version("1");
            stand.run(&["smoke"]).expect(0);
            let status = stand.run(&["status", "--json"]).expect(0).json();
            assert_eq!(status["last_known_good"]["rid"], first.rid(), "last known good: {status:#}{at}");
            assert_eq!(status["interrupted"].as_array().map(Vec::len), Some(0), "open: {status:#}{at}");
        });
        checks.that(format!("{}: leftovers", stop.name()), || stand.nothing_left_over(&kept, &settled));
    }
    checks.that("a rollback is finished", || finished_nevertheless(&stand, &first.rid()));
    checks.that("no secret", || stand.no_secret_anywhere());
    checks.all_hold();
}

/// A rollback is not left half-way for one word: it goes to its end, and what it says then is so.
fn finished_nevertheless(stand: &Stand, first: &str) {
    stand.run(&["release", "--yes"]).expect(0);
    let rid = "rbk_20991231-900000_stopped";
    let running = stand.start(&["rollback", "--yes", "--json", "--rid", rid]);
    begins(stand, rid, "rollback", "swap");
    running.signal("INT");
    let outcome = stand.heard(running.wait(), &[]).expect(0);
    let at = outcome.at();
    outcome.says("once more");
    let evidence = stand.evidence(&outcome);
    assert_eq!(evidence.verdict(), ("PASS".into(), 0), "verdict{at}");
    stand.runs_version("1");
    let status = stand.run(&["status", "--json"]).expect(0).json();
    assert_eq!(status["last_known_good"]["rid"], first, "last known good: {status:#}{at}");
    assert_eq!(status["interrupted"].as_array().map(Vec::len), Some(0), "open: {status:#}{at}");
}
