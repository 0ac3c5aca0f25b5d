//! Runs that are not settled: interrupted ones, whose journal is not sealed,
//! and ones that could not be rolled back.

use crate::error::{Fault, Result};
use crate::evidence::records::Rollback;
use crate::evidence::{
    self, DIGEST, EVIDENCE, Line, LineKind, Reached, read_journal, read_record, read_up_to_damage,
};
use crate::fsx;
use crate::lkg::Store;
use serde::Deserialize;
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
    /// Its journal is damaged, so nobody knows how far it came.
    Unreadable,
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
            Why::Unreadable => "cannot be read: whether it ended, and how far it came, is not known".into(),
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self.why {
            Why::Interrupted => "cargo xtask rollback".into(),
            Why::NotBack => "cargo xtask rollback tries again".into(),
            Why::LeftInPlace => "cargo xtask rollback, or release a better version".into(),
            Why::Unreadable => format!(
                "cargo xtask rollback --backup DIR, or --to RID, takes its place; where the stand is as it should \
                 be, move {} away",
                self.dir.display()
            ),
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
            Err(_) => {
                let lines = read_up_to_damage(&dir.join("events.jsonl"));
                match told_end(&dir) {
                    // Of which runs it could be the end nobody knows.
                    Some(_) if evidence::began(&dir).is_none() => {}
                    // What was changed in it after that `evidence verify` finds.
                    Some(told) => {
                        passed |= told.exit_code == 0 && told.command == "release";
                        let back: Option<Rollback> =
                            read_record(&dir, "rollback.json").filter(|b: &Rollback| b.verified);
                        recovered.extend(back.as_ref().and_then(|b| b.recovers.clone()));
                        if back.is_some_and(|b| b.source == "archive") {
                            break;
                        }
                    }
                    None if passed => {}
                    None => push(&mut open, &recovered, Why::Unreadable, &rid, &dir, &lines),
                }
                continue;
            }
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
                if good && command(&lines, &rid) == "release" {
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

/// What a run said of its end.
#[derive(Deserialize)]
struct Told {
    command: String,
    exit_code: u8,
}

/// Of a run whose journal is damaged: its end, where it ended and left nothing to be settled.
fn told_end(dir: &Path) -> Option<Told> {
    let told: Option<Told> = read_record(dir, "summary.json");
    told.filter(|told| dir.join(DIGEST).exists() && ![40, 50].contains(&told.exit_code))
}

fn push(open: &mut Vec<OpenRun>, recovered: &[String], why: Why, rid: &str, dir: &Path, lines: &[Line]) {
    // A recovery that did not end, or not well, stands for the run that it recovers; one that has begun
    // to replace the database is finished itself.
    let recovers = evidence::begun(lines).recovers.filter(|_| !evidence::replaced(lines));
    let about = recovers.unwrap_or_else(|| rid.into());
    if command(lines, rid) == "smoke" || recovered.iter().any(|r| r == rid || *r == about) {
        return;
    }
    let last = lines.iter().rfind(|l| l.kind == LineKind::Intent && l.act != "step");
    open.push(OpenRun {
        about,
        command: command(lines, rid),
        why,
        reached: evidence::reached(lines),
        last: last.map_or("nothing".into(), |l| format!("{}: {}", l.step, l.act)),
        started: lines.first().map(|l| l.time.clone()).unwrap_or_default(),
        rid: rid.into(),
        dir: dir.into(),
    });
}

/// The command of a run; where it died before it said so, its id tells.
fn command(lines: &[Line], rid: &str) -> String {
    let kind = match rid.split('_').next() {
        Some("smk") => "smoke",
        Some("bak") => "backup",
        Some("rbk") => "rollback",
        _ => "release",
    };
    Some(evidence::begun(lines).command).filter(|c| !c.is_empty()).unwrap_or_else(|| kind.into())
}

/// [`refuse`], and, for a release that is to have a way back, also while a run could not be rolled back:
/// what was before that one is not there as a whole, and so nothing is that it could go back to.
pub fn refuse_release(repo: &Path, rollback_enabled: bool) -> Result<Vec<OpenRun>> {
    let open = refuse(repo)?;
    match open.iter().find(|run| rollback_enabled && run.why == Why::NotBack) {
        None => Ok(open),
        Some(run) => Err(Fault::refused(format!("{} {} {}", run.command, run.rid, run.words()))
            .why("the state before it is not back as a whole, so there is nothing that this release could go back to")
            .remedy(
                "mend what it names, then cargo xtask rollback, or with --backup DIR or --to RID; where a better \
                 version is the way out, release it with --no-rollback and the reason",
            )
            .into()),
    }
}

/// Refuses while a run is interrupted or cannot be read. Returns what else is open.
pub fn refuse(repo: &Path) -> Result<Vec<OpenRun>> {
    let open = find(repo)?;
    refuse_unreadable(&open)?;
    match open.iter().find(|run| run.why == Why::Interrupted) {
        None => Ok(open),
        Some(run) => Err(Fault::refused(format!("{} {} was interrupted", run.command, run.rid))
            .why(format!("its last act was `{}`", run.last))
            .remedy("finish or undo it first: cargo xtask rollback")
            .into()),
    }
}

/// Refuses while a run cannot be read: neither to build on it nor to undo it is safe.
///
/// # Errors
/// A [`Fault`] with exit 10 that names the run, the damage, and what takes its place.
pub fn refuse_unreadable(open: &[OpenRun]) -> Result<()> {
    let Some(run) = open.iter().find(|run| run.why == Why::Unreadable) else { return Ok(()) };
    let damage = read_journal(&run.dir.join("events.jsonl")).err();
    Err(Fault::refused(format!("{} {} {}", run.command, run.rid, run.words()))
        .why(damage.map(|error| format!("{error:#}")).unwrap_or_default())
        .remedy(run.remedy())
        .into())
}

#[cfg(test)]
mod tests;
