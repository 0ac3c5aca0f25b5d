//! Runs that are not settled: interrupted ones, whose journal is not sealed,
//! and ones that could not be rolled back.

use crate::error::{Fault, Result};
use crate::evidence::records::Rollback;
use crate::evidence::{self, DIGEST, EVIDENCE, Line, LineKind, Reached, read_journal, read_record};
use crate::fsx;
use crate::lkg::Store;
use std::path::{Path, PathBuf};

/// Why a run is not settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It was begun and not ended; its lock is free.
    Interrupted,
    /// It ended, and its way back was not verified.
    NotBack,
    /// It failed and was left in place: rollback was off, or its evidence could not be saved.
    LeftInPlace,
}

/// A run that is not settled.
#[derive(Debug, Clone)]
pub struct OpenRun {
    pub rid: String,
    /// The run whose way back finishes or undoes it: its own, or the one that it was recovering.
    pub about: String,
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
            Why::LeftInPlace => "failed and was left in place".into(),
        }
    }
}

/// Runs that are not settled, newest first. Must be called by the one who holds the lock, or only to
/// show: a run that is at work right now looks like an interrupted one.
///
/// A rollback that was verified settles what it recovers, one from a backup directory everything before
/// it, a release that passed settles every failure before it.
pub fn find(repo: &Path) -> Result<Vec<OpenRun>> {
    let mut recovered = Vec::new();
    let mut passed = false;
    let mut open = Vec::new();
    let store = Store::of(repo);
    let last_good = store.last()?.map(|l| l.rid);
    for dir in evidence::runs(&repo.join(EVIDENCE))? {
        let rid = dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let lines = match read_journal(&dir.join("events.jsonl")) {
            Ok(lines) => lines,
            // Nobody knows whether it is settled.
            Err(error) if fsx::is_denied(&error) => return Err(error.context("look whether a run is open")),
            Err(_) => continue,
        };
        if evidence::replaced(&lines) && recovered.contains(&rid) {
            break;
        }
        let back: Option<Rollback> = read_record(&dir, "rollback.json");
        let sealed = lines.last().filter(|l| l.kind == LineKind::Sealed);
        let why = match sealed {
            None => Why::Interrupted,
            Some(last) => {
                let good = last.data["exit_code"] == 0;
                let verified = back.as_ref().filter(|b| b.verified);
                recovered.extend(verified.and_then(|b| b.recovers.clone()));
                if verified.is_some() && evidence::replaced(&lines) {
                    break;
                }
                if good && command(&lines) == "release" {
                    // It died between its seal and its last write.
                    let named = last.data["last_known_good"].as_str() == Some(rid.as_str());
                    let recorded = last_good.as_ref() == Some(&rid) || store.release(&rid).is_some();
                    if !passed && (!dir.join(DIGEST).exists() || named && !recorded) {
                        push(&mut open, &recovered, Why::Interrupted, &rid, &dir, &lines);
                    }
                    passed = true;
                    continue;
                }
                let failed = last.data["exit_code"] == 40 || last.data["exit_code"] == 50;
                let changed = evidence::reached(&lines) != Reached::Unchanged;
                match back {
                    _ if !failed || passed => continue,
                    Some(back) if back.verified => continue,
                    Some(_) => Why::NotBack,
                    None if changed => Why::LeftInPlace,
                    None => continue,
                }
            }
        };
        push(&mut open, &recovered, why, &rid, &dir, &lines);
    }
    Ok(open)
}

fn push(open: &mut Vec<OpenRun>, recovered: &[String], why: Why, rid: &str, dir: &Path, lines: &[Line]) {
    // A recovery that did not end, or not well, stands for the run that it recovers; one that has begun
    // to replace the database is finished itself.
    let recovers = evidence::begun(lines).recovers.filter(|_| !evidence::replaced(lines));
    let about = recovers.unwrap_or_else(|| rid.into());
    if command(lines) == "smoke" || recovered.iter().any(|r| r == rid || *r == about) {
        return;
    }
    let last = lines.iter().rfind(|l| l.kind == LineKind::Intent && l.act != "step");
    open.push(OpenRun {
        about,
        command: command(lines),
        why,
        reached: evidence::reached(lines),
        last: last.map_or("nothing".into(), |l| format!("{}: {}", l.step, l.act)),
        started: lines.first().map(|l| l.time.clone()).unwrap_or_default(),
        rid: rid.into(),
        dir: dir.into(),
    });
}

/// The command of a run; one that died before it said so began as a release.
fn command(lines: &[Line]) -> String {
    Some(evidence::begun(lines).command).filter(|c| !c.is_empty()).unwrap_or_else(|| "release".into())
}

/// Refuses while a run is interrupted. One that could not be rolled back does not refuse: a better
/// version is a way out, too. Returns those.
pub fn refuse(repo: &Path) -> Result<Vec<OpenRun>> {
    let open = find(repo)?;
    match open.iter().find(|run| run.why == Why::Interrupted) {
        None => Ok(open),
        Some(run) => Err(Fault::refused(format!("{} {} was interrupted", run.command, run.rid))
            .why(format!("its last act was `{}`", run.last))
            .remedy("finish or undo it first: cargo xtask rollback")
            .into()),
    }
}
