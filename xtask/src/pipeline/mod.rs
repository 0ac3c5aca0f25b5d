//! Order, lock, journal, when to roll back, verdict. Knows no docker words.

pub mod doctor;
pub mod finish;
pub mod housekeeping;
pub mod lock;
pub mod offer;
pub mod open_runs;
pub mod prepare;
pub mod release;
pub mod request;
pub mod rollback;
pub mod single;
pub mod standing;
pub mod targets;

use crate::acts::short_id;
use crate::clock::{self, Clock};
use crate::config::Config;
use crate::error::{Exit, Fault, Result};
use crate::event::{Event, Events, Outcome};
use crate::evidence::{Begun, Previous, Render, RunDir, Summary};
use crate::exec::{Interrupt, Kind};
use crate::fsx;
use crate::stand::Stand;
use serde_json::json;
use std::time::Instant;

/// What every command of the pipeline starts with.
pub struct Start<'a> {
    pub config: &'a Config,
    pub stand: &'a Stand,
    pub events: &'a Events,
    pub interrupt: &'a Interrupt,
    /// Makes summary.md and report.html of a summary: how things look is not decided here.
    pub render: Render,
}

/// Journals who runs what, and where: from this the summary knows it.
fn begin(
    start: &Start<'_>,
    run: &RunDir,
    command: &str,
    previous: Option<Previous>,
    recovers: Option<String>,
) -> Result<String> {
    let id = short_id(&run.rid, &clock::stamp(Clock::System.now()));
    let (operator, host) = crate::steps::precheck::whoami();
    let begun = Begun {
        rid: run.rid.clone(),
        id: id.clone(),
        command: command.into(),
        operator,
        host,
        repo: start.config.repo.display().to_string(),
        previous,
        recovers,
    };
    run.journal.fact("pipeline", "run", serde_json::to_value(begun)?)?;
    Ok(id)
}

/// What a command ended with.
#[derive(Debug)]
pub struct Ending {
    pub exit: Exit,
    pub summary: Option<Summary>,
    /// Where there is none: why not, and how the stand was left.
    pub unsaved: Option<Fault>,
}

/// A step that ran: its value, or the step's name and why it failed.
pub type StepResult<T> = std::result::Result<T, StepFailure>;

/// The failure that decides a run.
pub struct StepFailure {
    pub step: String,
    pub error: anyhow::Error,
    /// The signal that came, where one did.
    pub by: Option<Kind>,
}

/// Runs one step: journaled, told, timed. A signal that comes in it ends the run after it.
pub fn step<T>(
    run: &RunDir,
    events: &Events,
    interrupt: Option<&Interrupt>,
    name: &str,
    work: impl FnOnce() -> Result<(T, String)>,
) -> StepResult<T> {
    let value = step_to_its_end(run, events, interrupt, name, work)?;
    match interrupt.and_then(Interrupt::kind) {
        // The step is done; the operator said stop meanwhile.
        Some(kind) => Err(StepFailure {
            step: name.into(),
            error: crate::error::anyhow!("interrupted after {name}"),
            by: Some(kind),
        }),
        None => Ok(value),
    }
}

/// The same for a step that is the end of what was asked for: a signal keeps it from beginning, and
/// what was done nevertheless is done.
pub fn step_to_its_end<T>(
    run: &RunDir,
    events: &Events,
    interrupt: Option<&Interrupt>,
    name: &str,
    work: impl FnOnce() -> Result<(T, String)>,
) -> StepResult<T> {
    let failed = |error, by| StepFailure { step: name.into(), error, by };
    let by = || interrupt.and_then(Interrupt::kind);
    if let Some(kind) = by() {
        return Err(failed(crate::error::anyhow!("interrupted before {name}"), Some(kind)));
    }
    events.send(Event::StepStarted { step: name.into() });
    let start = Instant::now();
    let result = run.journal.act(name, "step", json!({}), || {
        let (value, detail) = work()?;
        let data = json!({ "detail": detail });
        Ok(((value, detail), data))
    });
    let ms = crate::clock::ms_since(start);
    let end = |outcome, detail: String| {
        events.send(Event::StepEnded { step: name.into(), outcome, ms, detail });
    };
    match result {
        Ok((value, detail)) => {
            let skipped = detail.starts_with("skipped");
            end(if skipped { Outcome::Skipped } else { Outcome::Ok }, detail);
            Ok(value)
        }
        Err(error) => {
            let fault = crate::error::fault_of(&error);
            let text = fault.to_string();
            let not_its_own = by().is_some() || text.contains(crate::exec::GIVEN_UP);
            end(if not_its_own { Outcome::Interrupted } else { Outcome::Failed }, text);
            if !not_its_own && fault.exit != Some(Exit::Refused) {
                tell_tail(run, events, name);
            }
            Err(failed(error, by()))
        }
    }
}

/// The end of a failed step's log: what was said, not what was asked.
fn tell_tail(run: &RunDir, events: &Events, step: &str) {
    let log = format!("step_{step}.log");
    let mut lines = fsx::tail(&run.path.join(&log), 40);
    lines.retain(|l| !l.contains("Z $ [") && !l.contains("] ... ") && !l.contains("] = exit 0"));
    lines.drain(..lines.len().saturating_sub(12));
    if !lines.is_empty() {
        events.send(Event::Tail { log, lines });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::Redactor;
    use std::sync::{Arc, Mutex};

    /// The lines of a log that are told of a step with this end.
    fn told(fault: Option<Fault>) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::create(dir.path(), "smk_1", &Redactor::new()).unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&lines);
        let events = Events::new(move |event| {
            if let Event::Tail { log, lines } = event {
                assert_eq!(log, "step_smoke.log");
                *heard.lock().unwrap() = lines;
            }
        });
        let _ = step(&run, &events, None, "smoke", || {
            run.log("smoke")?.say("the worker does not answer");
            fault.map_or(Ok(((), String::new())), |fault| Err(fault.into()))
        });
        let lines = lines.lock().unwrap();
        lines.clone()
    }

    #[test]
    fn the_end_of_its_log_is_told_of_every_step_that_fails() {
        for fault in [Fault::new("bad"), Fault::new("not verified").exit(Exit::NeedsPerson)] {
            let lines = told(Some(fault));
            assert!(lines.len() == 1 && lines[0].ends_with("the worker does not answer"), "{lines:?}");
        }
        assert!(told(Some(Fault::refused("no"))).is_empty(), "a refusal says all there is");
        assert!(told(None).is_empty());
    }
}
