//! The verdict, read from the files of a run and from nothing else. The
//! pipeline judges with it before it speaks, `evidence verify` judges with it
//! again: the two can only disagree when a file was changed in between.

mod back;
mod gates;

pub use gates::other_images;

use back::{judge_rollback, left_stopped, stopped};

use super::records::{Failure, Rollback};
use super::summary::{Gate, Verdict, Waiver};
use super::{Line, LineKind, read_journal, read_record};
use crate::error::{Exit, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What the judge needs to know of plan.json.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Charge {
    pub command: String,
    #[serde(default)]
    pub waivers: Vec<Waiver>,
    #[serde(default)]
    pub rollback_enabled: bool,
    /// What was going to be done, for the question whether it was.
    #[serde(default)]
    pub app_services: Vec<String>,
    #[serde(default)]
    pub data_services: Vec<String>,
    #[serde(default)]
    pub smoke: Vec<String>,
    #[serde(default)]
    pub migrations: Vec<Planned>,
    #[serde(default)]
    pub verify: Vec<Planned>,
}

/// A file that the plan names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    pub path: String,
    pub sha256: String,
}

/// What the files say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    pub verdict: Verdict,
    pub exit: Exit,
    pub state_left: String,
    pub reason: Option<String>,
    pub gates: Vec<Gate>,
}

/// The step and act names by which the stand counts as changed, and as unfenced.
pub const STOP: (&str, &str) = ("change", "stop services");
pub const UNFENCE: (&str, &str) = ("change", "unfence");
/// By this act the new version is started.
pub const UP: (&str, &str) = ("deploy", "up");
/// The same for a database that comes from a backup directory: it replaces the live one.
pub const REPLACE: (&str, &str) = ("rollback", "fence before the swap");
/// The acts of a way back before which nothing was changed by it.
pub const STOP_BACK: (&str, &str) = ("rollback", "stop failed version");
/// Waits for the end of a stop that was cut short.
pub const END_STOP: (&str, &str) = ("rollback", "end the stop");
/// Either starts the previous version again.
const START_BACK: [&str; 2] = ["redeploy previous version", "start the same containers"];
pub const OPEN_BACK: (&str, &str) = ("rollback", "open database");

/// After the last check of a release: what is kept of it, so that a later one can go back to it. No step
/// of the journal, which is sealed once it is done.
pub const RECORD: &str = "record";

/// How far a run got in changing the stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reached {
    Unchanged,
    Stopped,
    Unfenced,
}

/// How far the journal says that the run got.
pub fn reached(journal: &[Line]) -> Reached {
    if has_begun(journal, UNFENCE) || has_begun(journal, REPLACE) {
        Reached::Unfenced
    } else if has_begun(journal, STOP) {
        Reached::Stopped
    } else {
        Reached::Unchanged
    }
}

/// Has the journal begun to replace the database by one from a backup directory?
pub fn replaced(journal: &[Line]) -> bool {
    has_begun(journal, REPLACE)
}

/// A step that failed, or a way back that was begun: whatever the records say, that was no PASS.
fn tells_of_a_failure(journal: &[Line]) -> bool {
    journal.iter().any(|l| l.kind == LineKind::Failed && l.act == "step") || has_begun(journal, STOP_BACK)
}

fn has_begun(journal: &[Line], act: (&str, &str)) -> bool {
    journal.iter().any(|line| is_begun(line, act))
}

fn is_begun(line: &Line, (step, act): (&str, &str)) -> bool {
    line.kind == LineKind::Intent && line.step == step && line.act == act
}

fn is_done(line: &Line, (step, act): (&str, &str)) -> bool {
    line.kind == LineKind::Done && line.step == step && line.act == act
}

/// Judges the run in `dir`.
pub fn judge(dir: &Path) -> Result<Judgement> {
    let journal = read_journal(&dir.join("events.jsonl"))?;
    let charge: Charge = read_record(dir, "plan.json").unwrap_or_default();
    let failure: Option<Failure> = read_record(dir, "failure.json");
    let rollback: Option<Rollback> = read_record(dir, "rollback.json");
    let gates = gates::all(dir, &journal, &charge, rollback.is_some());
    let all_ok = gates.iter().all(|g| g.ok || charge.waivers.iter().any(|w| w.gate == g.id));

    if charge.command == "rollback" {
        let touched = [STOP_BACK, OPEN_BACK, REPLACE].iter().any(|act| has_begun(&journal, *act));
        return Ok(judge_rollback(gates, failure, rollback, touched, &journal));
    }
    if failure.is_none() && all_ok && !tells_of_a_failure(&journal) {
        let waived = !charge.waivers.is_empty();
        return Ok(Judgement {
            verdict: if waived { Verdict::PassWaived } else { Verdict::Pass },
            exit: Exit::Pass,
            state_left: match charge.command.as_str() {
                "release" => "the new version runs".into(),
                _ => "unchanged".into(),
            },
            reason: None,
            gates,
        });
    }
    let reason = failure
        .as_ref()
        .map(|f| join(&f.what, f.why.as_deref()))
        .or_else(|| first_open(&gates, &charge.waivers));
    let (exit, state_left) = match outcome(&charge, failure.as_ref(), rollback.as_ref(), &journal) {
        // A stand that is as it should be, and evidence that does not tell all of it or tells too much.
        (Exit::FailRolledBack | Exit::FailUnchanged, state)
            if gates.iter().any(|g| ["E1", "E4"].contains(&g.id.as_str()) && !g.ok) =>
        {
            (Exit::Evidence, format!("{state}; the evidence is not complete"))
        }
        other => other,
    };
    let verdict = if exit == Exit::Refused { Verdict::Refused } else { Verdict::Fail };
    Ok(Judgement { verdict, exit, state_left, reason, gates })
}

/// The first gate that does not hold and is not waived.
fn first_open(gates: &[Gate], waivers: &[Waiver]) -> Option<String> {
    let open = gates.iter().find(|g| !g.ok && !waivers.iter().any(|w| w.gate == g.id))?;
    Some(format!("gate {} does not hold: {}", open.id, open.detail))
}

/// Exit code and state of a run that did not pass.
fn outcome(
    charge: &Charge,
    failure: Option<&Failure>,
    rollback: Option<&Rollback>,
    journal: &[Line],
) -> (Exit, String) {
    let reached = reached(journal);
    let signal = failure.and_then(|f| f.stopped_by.as_deref()).map(|by| match by {
        "terminate" => Exit::Terminated,
        _ => Exit::Interrupted,
    });
    match (reached, rollback) {
        (_, Some(back)) if back.verified && back.source == "undo" => (
            signal.unwrap_or(Exit::FailUnchanged),
            match stopped(back) {
                true => "as before: nothing runs, and the database is the same".into(),
                false => "as before: the previous version runs on the same database".into(),
            },
        ),
        (_, Some(back)) if back.verified => (
            Exit::FailRolledBack,
            match stopped(back) {
                true => "nothing runs, as before; the database is as it was at the fence".into(),
                false => "the previous version runs on the database as it was at the fence".into(),
            },
        ),
        (_, Some(back)) => (
            Exit::NeedsPerson,
            format!("needs a person: {}{}", back.problems.join("; "), left_stopped(back, journal)),
        ),
        (Reached::Unchanged, None) => {
            let own = failure.and_then(|f| f.exit).and_then(|code| match code {
                2 => Some(Exit::Usage),
                10 => Some(Exit::Refused),
                11 => Some(Exit::Locked),
                50 => Some(Exit::Evidence),
                _ => None,
            });
            (signal.or(own).unwrap_or(Exit::FailUnchanged), "unchanged".into())
        }
        // After the last good check: the stand stays as it is, and a way back was not begun.
        (_, None) if failure.is_none_or(|f| f.step == RECORD) && !tells_of_a_failure(journal) => (
            Exit::Evidence,
            match failure {
                None => "the new version runs, the evidence is not complete; the undo clone is kept".into(),
                Some(_) => {
                    "the new version runs, and is no last known good release; the undo clone is kept".into()
                }
            },
        ),
        (_, None) if !charge.rollback_enabled => (
            Exit::NeedsPerson,
            format!("needs a person: {}; rollback was switched off", left_in_place(journal)),
        ),
        (_, None) if [STOP_BACK, OPEN_BACK].iter().any(|act| has_begun(journal, *act)) => (
            Exit::NeedsPerson,
            "needs a person: the rollback was begun, and what it came to is not recorded".into(),
        ),
        (_, None) => (Exit::NeedsPerson, "needs a person: the rollback did not run".into()),
    }
}

/// What a release has left that failed and was not to be rolled back.
fn left_in_place(journal: &[Line]) -> &'static str {
    match reached(journal) {
        _ if journal.iter().any(|l| is_done(l, UP)) => "the failed version is in place",
        _ if has_begun(journal, UP) => {
            "the failed version did not start as a whole, so services may be stopped"
        }
        Reached::Unfenced => "the services are stopped, the database is as the failed step left it",
        _ => "the services are stopped, the database may be closed",
    }
}

fn join(what: &str, why: Option<&str>) -> String {
    match why {
        Some(why) => format!("{what}: {}", why.trim()),
        None => what.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Journal;
    use crate::redact::Redactor;
    use serde_json::json;

    #[test]
    fn a_journal_that_tells_of_a_failure_is_of_no_pass() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let journal = Journal::create(&path, &Redactor::new()).unwrap();
        let act = |act: &str, good: bool| {
            let work = || if good { Ok(((), json!({}))) } else { Err(crate::error::anyhow!("no")) };
            let _ = journal.act("smoke", act, json!({}), work);
            tells_of_a_failure(&read_journal(&path).unwrap())
        };
        assert!(!act("step", true));
        assert!(!act("ask the worker", false), "a step may do without one of its acts");
        assert!(act("step", false));
    }
}
