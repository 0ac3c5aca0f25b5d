//! An operator who says stop, at any step and in the way back, once or twice,
//! with Ctrl-C or with SIGTERM: never a PASS, never a last known good, never a
//! stopped stand without a word. Once all is good, it ends as it would have.

use crate::early;
use crate::support::before::Before;
use crate::support::die::{Die, Moment, some};
use crate::support::leftovers::Kept;
use crate::support::process::tool;
use crate::support::stand::EVIDENCE;
use crate::support::{Checks, Outcome, SOON, Stand, note, wait_for};
use std::path::Path;

const STEPS: [&str; 9] =
    ["precheck", "backup", "build", "proof", "ready", "change", "migrate", "deploy", "smoke"];
/// The way back of a release that failed by itself.
const BACK: [&str; 1] = ["rollback"];

/// A step, the signal that comes in it, and how often it comes.
#[derive(Clone)]
struct Stop {
    step: &'static str,
    signal: &'static str,
    twice: bool,
}

impl Stop {
    /// The exit codes that tell the state in which it leaves the stand.
    fn right(&self) -> &'static [i32] {
        match (self.signal, self.twice, self.step) {
            // As it is, or not undone yet.
            ("INT", true, _) => &[130],
            (_, true, _) => &[143],
            // Undone without a restore, or with one: it is either half of the change.
            ("INT", _, "change") => &[130, 30],
            (_, _, "change") => &[143, 30],
            (_, _, "migrate" | "deploy" | "smoke" | "rollback") => &[30],
            ("INT", ..) => &[130],
            _ => &[143],
        }
    }

    fn name(&self) -> String {
        format!("SIG{}{} in {}", self.signal, if self.twice { " twice" } else { "" }, self.step)
    }
}

/// These steps with both signals, once and twice.
fn all(steps: &[&'static str]) -> Vec<Stop> {
    let ways = [("INT", false), ("TERM", true), ("TERM", false), ("INT", true)];
    let mut stops = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        // Each step begins with another way: what is taken from equal parts is not one way only.
        stops.extend((0..4).map(|n| ways[(n + number) % 4]).map(|(signal, twice)| Stop {
            step,
            signal,
            twice,
        }));
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
pub fn begins(stand: &Stand, rid: &str, step: &str, act: &str) {
    let journal = stand.repo.join(EVIDENCE).join(rid).join("events.jsonl");
    let begun = format!("\"kind\":\"intent\",\"step\":\"{step}\",\"act\":\"{act}\"");
    wait_for(&format!("{act} of {step}"), SOON * 7, || {
        std::fs::read_to_string(&journal).unwrap_or_default().contains(&begun).then_some(())
    });
}

/// `status` names every service that does not run. The engine may still be at what it was told last, so
/// both are asked until they say the same.
fn told_what_is_stopped(stand: &Stand) {
    wait_for("status to say what is stopped", SOON, || {
        let status = stand.run(&["status"]);
        let states = states(stand);
        let mut stopped = states.lines().filter(|state| !state.ends_with(" running"));
        let said: Vec<String> = status.stdout.lines().map(service_and_state).collect();
        (status.code == 0 && stopped.all(|state| said.iter().any(|s| s == state))).then_some(())
    });
}

/// `service state` of every container, by one question: some may go while it is asked.
fn states(stand: &Stand) -> String {
    let project = format!("label=com.docker.compose.project={}", stand.project);
    let format = "{{.Label \"com.docker.compose.service\"}} {{.State}}";
    tool("docker", &["ps", "-a", "--filter", &project, "--format", format], Path::new("/"), None)
}

/// The same of a line of `status`: `service    api        exited, image 0123`.
fn service_and_state(line: &str) -> String {
    let words: Vec<&str> = line.split([' ', ',']).filter(|w| !w.is_empty()).collect();
    match words[..] {
        ["service", service, state, ..] => format!("{service} {state}"),
        _ => String::new(),
    }
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
    stand.stop_soon();
    let first = stand.run(&["release", "--yes"]).expect(0);
    let first = stand.evidence(&first);
    let mut kept = Kept::default();
    kept.passed(&first);
    let mut checks = Checks::default();
    let stops = some(all(&STEPS), 1).into_iter().chain(some(all(&BACK), 1));
    for (number, stop) in stops.enumerate() {
        stand.version(if BACK.contains(&stop.step) { "bad-verify" } else { "good-v2" });
        let rid = format!("rel_20991231-{number:06}_stopped");
        note(stop.name());
        let before = Before::of(&stand);
        let outcome = stopped(&stand, &rid, &stop);
        checks.that(format!("{}: exit code", stop.name()), || {
            assert!(stop.right().contains(&outcome.code), "exit {}{}", outcome.code, outcome.at());
        });
        if stop.twice {
            checks.that(format!("{}: what is stopped", stop.name()), || told_what_is_stopped(&stand));
        } else {
            checks.that(format!("{}: evidence", stop.name()), || {
                let evidence = stand.evidence(&outcome);
                let (verdict, code) = evidence.verdict();
                assert!(!verdict.starts_with("PASS"), "verdict {verdict}{}", evidence.at);
                assert_eq!(code, outcome.code as u64, "exit code and verdict{}", evidence.at);
                stand.run(&["evidence", "verify", &rid]).expect(0);
            });
        }
        let told = format!("SIG{}{}", stop.signal, if stop.twice { " twice" } else { "" });
        checks.tried.add("told to stop", &told, stop.step, &outcome.code.to_string());
        let settled = settle(&stand, &mut kept, &rid, &outcome);
        checks.that(format!("{}: the stand", stop.name()), || {
            let at = settled.at();
            before.last_good_untouched(&stand, &at);
            before.data_services_ran_on(&stand, &at);
            before.checkout_untouched(&stand, &at);
            before.names_point_back(&stand, &at);
            stand.runs_version("1");
            stand.run(&["smoke"]).expect(0);
            let status = stand.run(&["status", "--json"]).expect(0).json();
            assert_eq!(status["last_known_good"]["rid"], first.rid(), "last known good: {status:#}{at}");
            assert_eq!(status["interrupted"].as_array().map(Vec::len), Some(0), "open: {status:#}{at}");
        });
        checks.that(format!("{}: leftovers", stop.name()), || stand.nothing_left_over(&kept, &settled));
    }
    checks.that("a terminal that goes away", || early::hung_up(&stand));
    early::before_a_run(&stand, &mut checks);
    after_all_is_good(&stand, &mut checks);
    checks.that("a stop that goes on", || early::stop_that_goes_on(&stand));
    checks.that("a rollback is finished", || finished_nevertheless(&stand, &first.rid()));
    checks.that("a rollback that is told twice", || told_twice(&stand, &first.rid()));
    checks.that("no secret", || stand.no_secret_anywhere());
    checks.all_hold();
}

/// In the last writes of a release that passed there is nothing to undo: it ends them, and is one.
fn after_all_is_good(stand: &Stand, checks: &mut Checks) {
    stand.version("good-v2");
    let rid = "rel_20991231-235959_good";
    let scanned = Moment::after("fact", "evidence", "secret scan");
    let args = ["release", "--yes", "--json", "--rid", rid];
    let running = Die::build(stand).stopped(stand, &args, &scanned);
    running.signal("INT");
    running.signal("CONT");
    let outcome = stand.heard(running.wait(), &[]);
    checks.that("SIGINT in the last writes", || {
        let at = outcome.at();
        assert_eq!(outcome.code, 0, "exit code{at}");
        stand.runs_version("2");
        stand.run(&["evidence", "verify", rid]).expect(0);
        let status = stand.run(&["status", "--json"]).expect(0).json();
        assert_eq!(status["last_known_good"]["rid"], rid, "last known good: {status:#}{at}");
        assert_eq!(status["interrupted"].as_array().map(Vec::len), Some(0), "open: {status:#}{at}");
    });
}

/// Two words stop a rollback at once: it is open, says so, and the next one ends it.
fn told_twice(stand: &Stand, first: &str) {
    stand.run(&["release", "--yes"]).expect(0);
    stand.runs_version("2");
    let rid = "rbk_20991231-900001_stopped";
    let running = stand.start(&["rollback", "--yes", "--json", "--rid", rid]);
    begins(stand, rid, "rollback", "swap");
    running.signal("TERM");
    wait_for("an answer to the first signal", SOON, || running.said().contains("once more").then_some(()));
    running.signal("TERM");
    let stopped = stand.heard(running.wait(), &[]).expect(143);
    stopped.says("cargo xtask rollback");
    stand.run(&["release", "--yes"]).expect(10).says(rid);
    stand.run(&["status"]).expect(0).says(rid);
    let ended = stand.run(&["rollback", "--yes", "--json"]).expect(0);
    let at = ended.at();
    stand.runs_version("1");
    stand.run(&["smoke"]).expect(0);
    let status = stand.run(&["status", "--json"]).expect(0).json();
    assert_eq!(status["last_known_good"]["rid"], first, "last known good: {status:#}{at}");
    assert_eq!(status["interrupted"].as_array().map(Vec::len), Some(0), "open: {status:#}{at}");
}

/// A rollback is not left half-way for one word: it goes to its end, and what it says then is so.
fn finished_nevertheless(stand: &Stand, first: &str) {
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
