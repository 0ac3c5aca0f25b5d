//! Runs that are not settled: interrupted ones, whose journal is not sealed,
//! and ones that could not be rolled back.

use crate::error::{Fault, Result};
use crate::evidence::records::Rollback;
use crate::evidence::{self, EVIDENCE, Line, LineKind, Reached, read_journal, read_record};
use std::path::{Path, PathBuf};

/// Why a run is not settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It was begun and not ended; its lock is free.
    Interrupted,
    /// It ended, and its way back was not verified.
    NotBack,
}

/// A run that is not settled.
#[derive(Debug, Clone)]
pub struct OpenRun {
    pub rid: String,
    pub dir: PathBuf,
    pub command: String,
    pub why: Why,
    pub reached: Reached,
    /// The last act that was begun, in words.
    pub last: String,
    pub started: String,
}

impl OpenRun {
    /// What happened to it, as the end of a sentence.
    pub fn words(&self) -> String {
        match self.why {
            Why::Interrupted => format!("was interrupted at `{}`", self.last),
            Why::NotBack => "could not be rolled back".into(),
        }
    }
}

/// Runs that are not settled, newest first. Must be called by the one who holds the lock, or only to
/// show: a run that is at work right now looks like an interrupted one.
///
/// A rollback that was verified settles what it recovers, a release that passed settles every
/// failure before it.
pub fn find(repo: &Path) -> Result<Vec<OpenRun>> {
    let mut recovered = Vec::new();
    let mut passed = false;
    let mut open = Vec::new();
    for dir in evidence::runs(&repo.join(EVIDENCE))? {
        let rid = dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let Ok(lines) = read_journal(&dir.join("events.jsonl")) else { continue };
        let back: Option<Rollback> = read_record(&dir, "rollback.json");
        let sealed = lines.last().filter(|l| l.kind == LineKind::Sealed);
        let why = match sealed {
            None => Why::Interrupted,
            Some(last) => {
                let good = last.data["exit_code"] == 0;
                if let Some(of) = back.as_ref().filter(|b| b.verified).and_then(|b| b.recovers.clone()) {
                    recovered.push(of);
                }
                if good && command(&lines) == "release" {
                    passed = true;
                }
                if last.data["exit_code"] != 40 || passed || back.is_none_or(|b| b.verified) {
                    continue;
                }
                Why::NotBack
            }
        };
        let begun = evidence::begun(&lines);
        // A recovery that did not end, or not well, stands for the run that it recovers.
        let about = begun.recovers.clone().unwrap_or_else(|| rid.clone());
        if command(&lines) == "smoke" || recovered.contains(&rid) || recovered.contains(&about) {
            continue;
        }
        let last = lines.iter().rfind(|l| l.kind == LineKind::Intent && l.act != "step");
        open.push(OpenRun {
            command: command(&lines),
            why,
            reached: evidence::reached(&lines),
            last: last.map_or("nothing".into(), |l| format!("{}: {}", l.step, l.act)),
            started: lines.first().map(|l| l.time.clone()).unwrap_or_default(),
            rid,
            dir,
        });
    }
    Ok(open)
}

/// The command of a run; one that died before it said so began as a release.
fn command(lines: &[Line]) -> String {
    Some(evidence::begun(lines).command).filter(|c| !c.is_empty()).unwrap_or_else(|| "release".into())
}

/// Refuses while a run is interrupted. One that could not be rolled back does not refuse: a better
/// version is a way out, too.
pub fn refuse(repo: &Path) -> Result<()> {
    match find(repo)?.iter().find(|run| run.why == Why::Interrupted) {
        None => Ok(()),
        Some(run) => Err(Fault::refused(format!("{} {} was interrupted", run.command, run.rid))
            .why(format!("its last act was `{}`", run.last))
            .remedy("finish or undo it first: cargo xtask rollback")
            .into()),
    }
}
