//! Reads a run back and says what does not fit: offline, from the files alone.

use super::records::{Backup, Proof};
use super::{DIGEST, Line, LineKind, Summary, derive, digest, read_journal, read_record};
use crate::error::Result;
use crate::fsx;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
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

/// What makes summary.md and report.html of a summary: how things look is decided elsewhere.
pub type Render = fn(&Summary) -> Vec<(String, String)>;

/// Written after the seal, or by it.
const LATER: [&str; 6] =
    ["events.jsonl", "summary.json", "summary.md", "report.html", digest::NAME, "pruned.json"];

/// The sha256 of every file of a run that is complete when its journal is sealed, by path.
pub fn hashes(dir: &Path) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for file in fsx::files_below(dir)?.into_iter().filter(|f| !LATER.contains(&f.as_str())) {
        let (hash, _) = fsx::sha256_file(&dir.join(&file))?;
        found.insert(file, hash);
    }
    Ok(found)
}

/// Verifies the run in `dir`. `repo` is where a backup's relative directory starts;
/// without it the backup's files are not looked at.
pub fn verify(dir: &Path, repo: Option<&Path>, render: Render) -> Result<Verification> {
    let mut told = Told::default();
    match digest::check(dir) {
        Ok(found) if found.is_empty() => told.held("every file fits digest.sha256"),
        Ok(found) => told.problems.extend(found.iter().map(ToString::to_string)),
        Err(error) => told.problem(format!("{error:#}")),
    }
    let summary: Option<Summary> = read_record(dir, "summary.json");
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    // A copy may have any name; in its checkout a run is found by it.
    if let Some(rid) = summary.as_ref().map(|s| &s.rid).filter(|rid| repo.is_some() && **rid != name) {
        told.problem(format!("the directory of {rid} is named {name}"));
    }
    if summary.is_none() {
        told.problem("summary.json is missing or not readable");
    }
    match read_journal(&dir.join("events.jsonl")) {
        Err(error) => told.problem(format!("{error:#}")),
        Ok(lines) => {
            told.held(format!("the journal's {} lines follow each other", lines.len()));
            let rid = super::begun(&lines).rid;
            if summary.as_ref().is_some_and(|s| !rid.is_empty() && s.rid != rid) {
                told.problem(format!("events.jsonl is the journal of another run, {rid}"));
            }
            check_sealed(dir, &lines, summary.as_ref(), &mut told);
            check_summary(dir, render, &mut told);
        }
    }
    if let (Some(repo), Some(backup)) = (repo, read_record::<Backup>(dir, "backup.json"))
        && backup.skipped.is_none()
        && !backup.dir.is_empty()
    {
        check_backup(dir, repo, &backup, &mut told);
    }
    Ok(Verification { dir: dir.into(), summary, problems: told.problems, held: told.held })
}

#[derive(Default)]
struct Told {
    problems: Vec<String>,
    held: Vec<String>,
}

impl Told {
    fn problem(&mut self, text: impl Into<String>) {
        self.problems.push(text.into());
    }
    fn held(&mut self, text: impl Into<String>) {
        self.held.push(text.into());
    }
}

/// The last line: the verdict, and what the files were then.
fn check_sealed(dir: &Path, lines: &[Line], summary: Option<&Summary>, told: &mut Told) {
    let Some(last) = lines.last().filter(|l| l.kind == LineKind::Sealed) else {
        return told.problem("the journal has no `sealed` line at its end: the run did not finish");
    };
    // A torn last line is left out by the reader; behind a seal nobody has begun one.
    if std::fs::read(dir.join("events.jsonl")).is_ok_and(|bytes| !bytes.ends_with(b"\n")) {
        told.problem("events.jsonl goes on behind its `sealed` line");
    }
    let good = &last.data["last_known_good"];
    if !good.is_null() && (last.data["exit_code"] != 0 || *good != super::begun(lines).rid.as_str()) {
        told.problem(format!(
            "the sealed journal names {good} as the last known good release, which it is not"
        ));
    }
    let sealed: BTreeMap<String, String> =
        serde_json::from_value(last.data["files"].clone()).unwrap_or_default();
    match hashes(dir) {
        Err(error) => told.problem(format!("{error:#}")),
        Ok(now) if now == sealed => told.held("every file is the one that the journal was sealed with"),
        Ok(now) => {
            let names: BTreeSet<&String> = now.keys().chain(sealed.keys()).collect();
            let other = names.into_iter().filter(|name| now.get(*name) != sealed.get(*name));
            told.problems.extend(other.map(|name| format!("{name} is not what the journal was sealed with")));
        }
    }
    let Some(summary) = summary else { return };
    let verdict = (last.data["verdict"].as_str().unwrap_or("nothing"), last.data["exit_code"].as_u64());
    if verdict == (summary.verdict.to_string().as_str(), Some(u64::from(summary.exit_code))) {
        return told.held("summary and sealed journal agree");
    }
    told.problem(format!(
        "the sealed journal says {} (exit {}), summary.json says {} (exit {})",
        verdict.0,
        verdict.1.unwrap_or(0),
        summary.verdict,
        summary.exit_code
    ));
}

/// summary.json is what the records give, field by field; the other two are what it gives.
fn check_summary(dir: &Path, render: Render, told: &mut Told) {
    let (again, written) = match (derive(dir), read_record::<Value>(dir, "summary.json")) {
        (Err(error), _) => return told.problem(format!("cannot be judged again: {error:#}")),
        (_, None) => return,
        (Ok(again), Some(written)) => (again, written),
    };
    let mut other = Vec::new();
    if let Ok(derived) = serde_json::to_value(&again) {
        differing(&derived, &written, "", &mut other);
    }
    match other.first() {
        None => told.held(format!("the records give the same summary: {}", again.verdict)),
        Some(_) => {
            told.problem(format!("summary.json says something else than the records: {}", other.join(", ")))
        }
    }
    for (name, text) in render(&again) {
        if std::fs::read_to_string(dir.join(&name)).ok().as_ref() != Some(&text) {
            told.problem(format!("{name} is not what the records give"));
        }
    }
}

/// The places at which two values differ, the deepest that tell it.
fn differing(a: &Value, b: &Value, at: &str, found: &mut Vec<String>) {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for name in names {
                let (a, b) = (a.get(name).unwrap_or(&Value::Null), b.get(name).unwrap_or(&Value::Null));
                differing(a, b, &format!("{at}/{name}"), found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().for_each(|(n, (a, b))| differing(a, b, &format!("{at}/{n}"), found));
        }
        _ if a == b => {}
        _ => found.push(at.to_string()),
    }
}

fn check_backup(dir: &Path, repo: &Path, backup: &Backup, told: &mut Told) {
    let place = repo.join(&backup.dir);
    let dump = place.join(&backup.dump);
    let there = match fsx::is_there(&dump) {
        Ok(there) => there,
        Err(error) => return told.problem(format!("the backup cannot be read: {error:#}")),
    };
    if !there {
        if dir.join("pruned.json").exists() {
            told.held("the backup was pruned, as pruned.json says");
        } else {
            told.problem(format!("the backup is not where it was: {}", dump.display()));
        }
        return;
    }
    let lies_there = fsx::sha256_file(&dump).map(|(hash, _)| hash);
    // A dump that was damaged before the proof is what the run found: its verdict says so.
    let damaged = read_record::<Proof>(dir, "proof.json")
        .map(|p| p.restored_sha256)
        .filter(|read| !read.is_empty() && *read != backup.sha256);
    if let (Some(read), Ok(now)) = (&damaged, &lies_there)
        && read == now
    {
        return told
            .held(format!("the dump in {} is not the one that was made, as the proof found", backup.dir));
    }
    match fsx::sha256_file(&place.join(DIGEST)) {
        Ok((hash, _)) if hash == backup.digest_sha256 => {}
        Ok(_) => told.problem("backup: its digest.sha256 is not the one that the run made"),
        Err(error) => told.problem(format!("backup: {error:#}")),
    }
    match digest::check(&place) {
        Ok(found) if found.is_empty() => told.held(format!("the backup's files fit: {}", backup.dir)),
        Ok(found) => told.problems.extend(found.iter().map(|m| format!("backup: {m}"))),
        Err(error) => told.problem(format!("backup: {error:#}")),
    }
    match lies_there {
        Ok(hash) if hash == backup.sha256 => {}
        Ok(_) => told.problem("backup: the dump is not the one that was made"),
        Err(error) => told.problem(format!("backup: {error:#}")),
    }
}
