//! Runs that were begun and not ended: their lock is free and their journal is
//! not sealed.

use crate::error::{Fault, Result};
use crate::evidence::records::Rollback;
use crate::evidence::{self, EVIDENCE, LineKind, Reached, read_journal, read_record};
use std::path::{Path, PathBuf};

/// A run that did not end.
#[derive(Debug, Clone)]
pub struct OpenRun {
    pub rid: String,
    pub dir: PathBuf,
    pub command: String,
    pub reached: Reached,
    /// The last act that was begun, in words.
    pub last: String,
    pub started: String,
}

/// Runs without an end, newest first, that no later rollback recovered. Must be called by the one
/// who holds the lock, or only to show: a run that is at work right now looks the same.
pub fn find(repo: &Path) -> Result<Vec<OpenRun>> {
    let root = repo.join(EVIDENCE);
    let dirs = evidence::runs(&root)?;
    let mut recovered = Vec::new();
    let mut open = Vec::new();
    for dir in dirs {
        let rid = dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let Ok(lines) = read_journal(&dir.join("events.jsonl")) else { continue };
        let sealed = lines.last().is_some_and(|l| l.kind == LineKind::Sealed);
        if sealed {
            if let Some(back) = read_record::<Rollback>(&dir, "rollback.json").filter(|b| b.verified) {
                recovered.extend(back.recovers);
            }
            continue;
        }
        let command = rid.split('_').next().unwrap_or_default().to_string();
        if command == "smk" || recovered.contains(&rid) {
            continue;
        }
        let last = lines.iter().rfind(|l| l.kind == LineKind::Intent && l.act != "step");
        open.push(OpenRun {
            command: match command.as_str() {
                "rbk" => "rollback".into(),
                "bak" => "backup".into(),
                _ => "release".into(),
            },
            reached: evidence::reached(&lines),
            last: last.map_or("nothing".into(), |l| format!("{}: {}", l.step, l.act)),
            started: lines.first().map(|l| l.time.clone()).unwrap_or_default(),
            rid,
            dir,
        });
    }
    // A recovery that is open stands for the run that it recovers.
    Ok(open)
}

/// Refuses while a run is open.
pub fn refuse(repo: &Path) -> Result<()> {
    match find(repo)?.first() {
        None => Ok(()),
        Some(run) => Err(Fault::refused(format!("{} {} was interrupted", run.command, run.rid))
            .why(format!("its last act was `{}`", run.last))
            .remedy("finish or undo it first: cargo xtask rollback")
            .into()),
    }
}
