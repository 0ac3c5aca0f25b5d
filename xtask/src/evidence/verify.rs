//! Reads a run back and says what does not fit: offline, from the files alone.

use super::records::Backup;
use super::{LineKind, Summary, check_digest, judge, read_journal, read_record};
use crate::error::Result;
use crate::fsx;
use std::path::{Path, PathBuf};

/// What a re-reading found.
#[derive(Debug, Clone)]
pub struct Verification {
    pub dir: PathBuf,
    pub summary: Option<Summary>,
    /// Each problem in words; none when the evidence holds.
    pub problems: Vec<String>,
    /// What was checked and held.
    pub held: Vec<String>,
}

impl Verification {
    pub fn ok(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Verifies the run in `dir`. `repo` is where a backup's relative directory starts;
/// without it the backup's files are not looked at.
pub fn verify(dir: &Path, repo: Option<&Path>) -> Result<Verification> {
    let mut problems = Vec::new();
    let mut held = Vec::new();
    match check_digest(dir) {
        Ok(found) if found.is_empty() => held.push("every file fits digest.sha256".into()),
        Ok(found) => problems.extend(found.iter().map(ToString::to_string)),
        Err(error) => problems.push(format!("{error:#}")),
    }
    let summary: Option<Summary> = read_record(dir, "summary.json");
    if summary.is_none() {
        problems.push("summary.json is missing or not readable".into());
    }
    let journal = read_journal(&dir.join("events.jsonl"));
    match &journal {
        Err(error) => problems.push(format!("{error:#}")),
        Ok(lines) => {
            held.push(format!("the journal's {} lines follow each other", lines.len()));
            check_sealed(lines, summary.as_ref(), &mut problems, &mut held);
        }
    }
    if let (Some(summary), Ok(_)) = (&summary, &journal) {
        match judge(dir) {
            Err(error) => problems.push(format!("cannot be judged again: {error:#}")),
            Ok(again) => {
                if again.gates != summary.gates {
                    let differ = again
                        .gates
                        .iter()
                        .zip(&summary.gates)
                        .find(|(a, b)| a != b)
                        .map_or("their number".to_string(), |(a, _)| a.id.clone());
                    problems
                        .push(format!("summary.json says something else than the records: gate {differ}"));
                }
                // 50 is decided after the records are closed, by a self-verify that failed.
                let same = again.verdict == summary.verdict && again.exit.code() == summary.exit_code;
                if !same && summary.exit_code != 50 {
                    problems.push(format!(
                        "the records say {} (exit {}), summary.json says {} (exit {})",
                        again.verdict,
                        again.exit.code(),
                        summary.verdict,
                        summary.exit_code
                    ));
                } else {
                    held.push(format!("the records give the same verdict: {}", summary.verdict));
                }
            }
        }
    }
    if let Some(name) = dir.file_name().map(|n| n.to_string_lossy().into_owned())
        && summary.as_ref().is_some_and(|s| s.rid != name)
    {
        problems.push(format!("summary.json belongs to another run than {name}"));
    }
    if let (Some(repo), Some(backup)) = (repo, read_record::<Backup>(dir, "backup.json"))
        && backup.skipped.is_none()
        && !backup.dir.is_empty()
    {
        check_backup(dir, repo, &backup, &mut problems, &mut held);
    }
    Ok(Verification { dir: dir.into(), summary, problems, held })
}

fn check_sealed(
    lines: &[super::Line],
    summary: Option<&Summary>,
    problems: &mut Vec<String>,
    held: &mut Vec<String>,
) {
    let Some(last) = lines.last().filter(|l| l.kind == LineKind::Sealed) else {
        problems.push("the journal has no `sealed` line at its end: the run did not finish".into());
        return;
    };
    let Some(summary) = summary else { return };
    let sealed = (last.data["verdict"].as_str(), last.data["exit_code"].as_u64());
    let told = (Some(summary.verdict.to_string()), Some(u64::from(summary.exit_code)));
    if (sealed.0.map(str::to_string), sealed.1) == told || summary.exit_code == 50 {
        held.push("summary and sealed journal agree".into());
    } else {
        problems.push(format!(
            "the sealed journal says {} (exit {}), summary.json says {} (exit {})",
            sealed.0.unwrap_or("nothing"),
            sealed.1.unwrap_or(0),
            summary.verdict,
            summary.exit_code
        ));
    }
}

fn check_backup(
    dir: &Path,
    repo: &Path,
    backup: &Backup,
    problems: &mut Vec<String>,
    held: &mut Vec<String>,
) {
    let place = repo.join(&backup.dir);
    let dump = place.join(&backup.dump);
    if !dump.exists() {
        if dir.join("pruned.json").exists() {
            held.push("the backup was pruned, as pruned.json says".into());
        } else {
            problems.push(format!("the backup is not where it was: {}", dump.display()));
        }
        return;
    }
    match check_digest(&place) {
        Ok(found) if found.is_empty() => held.push(format!("the backup's files fit: {}", backup.dir)),
        Ok(found) => problems.extend(found.iter().map(|m| format!("backup: {m}"))),
        Err(error) => problems.push(format!("backup: {error:#}")),
    }
    match fsx::sha256_file(&dump) {
        Ok((hash, _)) if hash == backup.sha256 => {}
        Ok(_) => problems.push("backup: the dump is not the one that was made".into()),
        Err(error) => problems.push(format!("backup: {error:#}")),
    }
}
