//! The program is killed at every act that it journals, of a release and of a
//! rollback: the next release refuses and names the run, `rollback` brings the
//! state before back, and nothing is left over.

use crate::support::before::{Before, no_row_is_lost};
use crate::support::die::{Die, Moment, moments, more_than, some};
use crate::support::leftovers::Kept;
use crate::support::stand::EVIDENCE;
use crate::support::writer::Writer;
use crate::support::{Checks, Evidence, Outcome, Stand};
use serde_json::Value;

struct Case {
    /// Of the release that passed before.
    good: Vec<Moment>,
    stand: Stand,
    die: Die,
    kept: Kept,
    checks: Checks,
    commit: String,
    first: String,
    tries: usize,
}

impl Case {
    fn new() -> Case {
        let mut stand = Stand::new();
        stand.stop_soon();
        // Every release copies its backup there, too.
        stand.set("FF_BACKUP_COPY_TO", &stand.second_place().display().to_string());
        let (evidence, kept) = stand.first_release();
        let die = Die::build(&stand);
        let commit = stand.head();
        Case {
            good: moments(&evidence),
            first: evidence.rid(),
            stand,
            die,
            kept,
            checks: Checks::default(),
            commit,
            tries: 0,
        }
    }

    /// A release that is killed; its rid. A task waits when it begins. Where its version may have run, and
    /// nobody has gone back from it, the task is done then, as by a worker of that version.
    fn killed(&mut self, moment: &Moment) -> String {
        self.tries += 1;
        let rid = format!("rel_20991231-{:06}_killed", self.tries);
        self.stand.a_task_is_held();
        self.die.killed(&self.stand, &["release", "--yes", "--rid", &rid], moment);
        let killed = Evidence { dir: self.stand.repo.join(EVIDENCE).join(&rid), at: String::new() };
        let begun = |step, act| killed.at_ms("intent", step, act).is_some();
        if begun("deploy", "up") && !begun("rollback", "put queues back") {
            // Its API may have been quicker.
            self.stand.redis(&["DEL", "unacked_held"]);
        }
        rid
    }

    /// The run is open: it is named, and nothing else begins.
    fn open(&mut self, what: &str, rid: &str) {
        let Case { stand, checks, .. } = self;
        checks.that(format!("{what}: the next release refuses"), || {
            let refused = stand.run(&["release", "--yes"]).expect(10);
            refused.says("cargo xtask rollback");
            let status = stand.run(&["status", "--json"]).expect(0).json();
            let open = status["interrupted"].as_array().unwrap();
            assert!(open.iter().any(|o| o["rid"] == rid), "{rid} is not open: {status:#}");
            // The newest one: that run, or a recovery of it which was killed as well.
            let newest = open[0]["rid"].as_str().unwrap();
            refused.says(&format!("{newest} was interrupted"));
            refused.says(&format!("its last act was `{}`", last_act(stand, newest)));
        });
    }

    /// `rollback` brings everything back.
    fn back(
        &mut self,
        (run, moment): (&str, &Moment),
        rid: &str,
        before: &Before,
        writer: Writer,
    ) -> Outcome {
        let what = format!("{run} {}", moment.name);
        let outcome = self.stand.run(&["rollback", "--yes", "--json"]);
        let Case { stand, kept, checks, commit, first, .. } = self;
        let mut back = false;
        checks.that(format!("{what}: rollback"), || {
            assert_eq!(outcome.code, 0, "rollback{}", outcome.at());
            back = true;
        });
        if !back {
            return outcome;
        }
        writer.acked_in_newest();
        let (tag, sessions) = (writer.tag().to_string(), writer.stop());
        let evidence = stand.evidence(&outcome);
        let at = &evidence.at;
        let record = evidence.json("rollback.json");
        let failed = record["failed_database"].as_str().map(String::from);
        let database = if failed.is_some() { "exchanged" } else { "as it was" };
        checks.tried.add(run, &moment.step, &moment.act, &format!("0, database {database}"));
        if let Some(failed) = &failed {
            kept.rolled_back(failed);
        }
        checks.that(format!("{what}: state"), || {
            assert_eq!(record["recovers"], rid, "the run that was recovered{at}");
            assert_eq!(evidence.verdict(), ("PASS".into(), 0), "verdict{at}");
            stand.run(&["evidence", "verify", &evidence.rid()]).expect(0);
            let killed = Evidence { dir: stand.repo.join(EVIDENCE).join(rid), at: at.clone() };
            before.content_is_back(stand, &killed, &evidence);
            before.data_services_ran_on(stand, at);
            before.checkout_untouched(stand, at);
            before.last_good_untouched(stand, at);
            stand.the_task_is_there(at);
            stand.runs_version("1");
            if failed.is_some() {
                before.code_is_back(stand, "1", commit, at);
            }
            stand.run(&["smoke"]).expect(0);
            let status = stand.run(&["status", "--json"]).expect(0).json();
            assert_eq!(status["last_known_good"]["rid"], first.as_str(), "{status:#}{at}");
            assert_eq!(status["interrupted"].as_array().map(Vec::len), Some(0), "open: {status:#}{at}");
        });
        checks
            .that(format!("{what}: rows"), || no_row_is_lost(stand, &tag, &sessions, failed.as_deref(), at));
        checks.that(format!("{what}: leftovers"), || stand.nothing_left_over(kept, &outcome));
        outcome
    }
}

/// What a run had begun last, by its journal.
fn last_act(stand: &Stand, rid: &str) -> String {
    let killed = Evidence { dir: stand.repo.join(EVIDENCE).join(rid), at: String::new() };
    let journal = killed.journal();
    let last = journal.iter().rfind(|l| l["kind"] == "intent" && l["act"] != "step");
    let named = |l: &Value| format!("{}: {}", l["step"].as_str().unwrap(), l["act"].as_str().unwrap());
    last.map_or("nothing".into(), named)
}

#[test]
fn a_release_that_is_killed_at_any_act_is_undone() {
    let mut case = Case::new();
    case.stand.version("bad-api-not-ready");
    // Its own rollback, too, has a task to bring back that its version has done.
    let (ready, done) = ("    ready = False\n", "    _redis.delete(\"unacked_held\")\n");
    case.stand.edit("src/api/health.py", ready, &format!("{done}{ready}"));
    case.stand.commit("[DEVTASK:12] api: takes the task");
    // A whole one names the acts, those of its rollback too.
    let whole = case.stand.run(&["release", "--yes"]).expect(30);
    let evidence = case.stand.evidence(&whole);
    case.kept.rolled_back(evidence.json("rollback.json")["failed_database"].as_str().unwrap());
    let bad = moments(&evidence);
    for moment in some(bad.clone(), 2) {
        let writer = Writer::start(&case.stand, "killed");
        let before = Before::of(&case.stand);
        let rid = case.killed(&moment);
        case.open(&moment.name, &rid);
        case.back(("a bad release", &moment), &rid, &before, writer);
    }
    // One that is good, where it is not as the bad one; sealed and not recorded is not passed.
    case.stand.version("good-v2");
    let mut ends =
        vec![Moment::before("sealed", "pipeline", "sealed"), Moment::after("sealed", "pipeline", "sealed")];
    // The first release alone had to start them.
    let again = |moment: &&Moment| !bad.contains(moment) && !moment.name.contains("start data services");
    ends.extend(case.good.iter().filter(again).cloned());
    assert!(ends.len() > 2, "a good release does nothing that a bad one does not");
    for moment in some(ends, 1) {
        let writer = Writer::start(&case.stand, "sealed");
        let before = Before::of(&case.stand);
        let rid = case.killed(&moment);
        let killed = Evidence { dir: case.stand.repo.join(EVIDENCE).join(&rid), at: String::new() };
        if killed.journal().iter().any(|l| l["step"] == "housekeeping" && l["act"] == "after pass") {
            // It had dropped what a release that passes drops.
            case.kept = Kept::default();
        }
        case.open(&moment.name, &rid);
        case.back(("a good release", &moment), &rid, &before, writer);
    }
    case.checks.that("no secret", || case.stand.no_secret_anywhere());
    case.checks.all_hold();
}

#[test]
fn a_recovery_that_is_killed_at_any_act_is_finished_by_the_next() {
    let mut case = Case::new();
    case.stand.version("bad-api-not-ready");
    // The database is exchanged, or opened again as it was: two ways back with acts of their own.
    let (exchanged, opened) =
        (Moment::before("done", "deploy", "up"), Moment::before("done", "change", "clone"));
    for (killed, least) in [(exchanged, 15), (opened, 7)] {
        let writer = Writer::start(&case.stand, "recovered");
        let before = Before::of(&case.stand);
        let rid = case.killed(&killed);
        let whole = case.back(("a release", &killed), &rid, &before, writer);
        let evidence = case.stand.evidence(&whole);
        for moment in some(more_than(least, &evidence), 1) {
            let run = format!("recovery of {}: {}", killed.step, killed.act);
            let writer = Writer::start(&case.stand, "again");
            let before = Before::of(&case.stand);
            let rid = case.killed(&killed);
            case.die.killed(&case.stand, &["rollback", "--yes"], &moment);
            case.open(&format!("{run} {}", moment.name), &rid);
            case.back((&run, &moment), &rid, &before, writer);
        }
    }
    case.checks.that("no secret", || case.stand.no_secret_anywhere());
    case.checks.all_hold();
}
