//! Everything that `rollback` could go back to, with age, size and how far it
//! is proved: for the one who has to choose. Changes nothing.

use super::Start;
use super::offer::{self, Wanted};
use crate::clock::{self, Clock};
use crate::error::{Exit, Result, fault_of};
use crate::evidence::records::Proof;
use crate::evidence::{EVIDENCE, read_record};
use crate::facts::Facts;
use crate::fsx;
use crate::lkg::Store;
use serde_json::Value;
use std::path::Path;

/// One state to go back to.
#[derive(Debug, Clone)]
pub struct Way {
    /// `undo`, `release`, `backup`.
    pub kind: &'static str,
    pub words: String,
    /// What to type for it.
    pub command: String,
}

/// Enough to choose from; `ops/_backups` has the rest.
const SHOWN: usize = 8;

/// The ways back, nearest first.
pub fn list(start: &Start<'_>, facts: &Facts) -> Result<Vec<Way>> {
    let repo = &start.config.repo;
    let store = Store::of(repo);
    let mut ways = Vec::new();
    let undo = match offer::offer(start, facts, &Wanted::default()) {
        Ok(undo) => Some(undo.words),
        Err(error) => {
            let fault = fault_of(&error);
            // Refused: there is none. Anything else: it may be there.
            (fault.exit != Some(Exit::Refused)).then(|| format!("not known: {fault:#}"))
        }
    };
    ways.extend(undo.map(|words| Way { kind: "undo", words, command: "cargo xtask rollback".into() }));
    let last = store.last()?.map(|l| l.rid);
    let mut releases: Vec<_> = store.releases().iter().filter_map(|rid| store.release(rid)).collect();
    releases.sort_by(|a, b| b.time.cmp(&a.time));
    for release in releases.iter().filter(|r| Some(&r.rid) != last.as_ref()) {
        let made_by = store.successor(&release.rid);
        let dir = made_by.as_ref().and_then(|s| s.backup.as_ref()).map(|dir| repo.join(dir));
        if let Some(backup) = dir.as_deref().and_then(|dir| describe(repo, dir)) {
            ways.push(Way {
                kind: "release",
                words: format!("{}, database {backup}", release.rid),
                command: format!("cargo xtask rollback --to {}", release.rid),
            });
        }
    }
    let mut dirs: Vec<_> = std::fs::read_dir(repo.join(&start.config.backup.directory))
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path())
        .collect();
    dirs.sort();
    for dir in dirs.iter().rev() {
        if let Some(backup) = describe(repo, dir) {
            ways.push(Way {
                kind: "backup",
                words: format!("database {backup}"),
                command: format!("cargo xtask rollback --backup '{}'", dir.display()),
            });
        }
    }
    ways.truncate(SHOWN);
    Ok(ways)
}

/// Age, size and proof of a backup that a run made; none for other directories.
fn describe(repo: &Path, dir: &Path) -> Option<String> {
    let manifest: Value = fsx::read_json(&dir.join("manifest.json")).ok()?;
    let made = manifest["ts"].as_str().and_then(clock::parse_rfc3339)?;
    let bytes: u64 = manifest["files"].as_array()?.iter().filter_map(|f| f["bytes"].as_u64()).sum();
    let proof = manifest["rid"]
        .as_str()
        .and_then(|rid| read_record::<Proof>(&repo.join(EVIDENCE).join(rid), "proof.json"));
    let proof = match proof {
        Some(proof) if proof.equal => "restored and equal when it was made",
        Some(_) => "NOT equal when it was restored",
        None => "not proved",
    };
    let age = clock::human_age((Clock::System.now() - made).whole_seconds());
    Some(format!("of {age} ago, {}, {proof}", fsx::human_bytes(bytes)))
}
