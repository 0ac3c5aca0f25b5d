//! The gates of the evidence itself: is it whole, and free of secrets?

use super::{Charge, NOT_REACHED};
use crate::evidence::records::Backup;
use crate::evidence::{LOGS, Line, LineKind, read_record};
use std::path::Path;

/// E1: every step that acted has its RAW log.
pub(super) fn raw_logs(dir: &Path, journal: &[Line]) -> (bool, String) {
    let mut steps: Vec<&str> = journal
        .iter()
        .filter(|l| l.act == "step" && l.kind == LineKind::Intent)
        .map(|l| l.step.as_str())
        .collect();
    steps.dedup();
    let missing: Vec<&str> = steps
        .iter()
        .copied()
        .filter(|step| std::fs::metadata(dir.join(format!("step_{step}.log"))).map_or(0, |m| m.len()) == 0)
        .collect();
    let fact = journal.iter().find(|l| (l.step.as_str(), l.act.as_str()) == LOGS);
    let lost: Vec<&str> = fact
        .and_then(|l| l.data["lost"].as_array())
        .into_iter()
        .flatten()
        .filter_map(serde_json::Value::as_str)
        .collect();
    let detail = if !missing.is_empty() {
        format!("no log of {}", missing.join(", "))
    } else if !lost.is_empty() {
        format!("lines were lost: {}", lost.join("; "))
    } else {
        format!("{} logs", steps.len())
    };
    (missing.is_empty() && fact.is_none() && !steps.is_empty(), detail)
}

/// E2: the backup's digest, copied here, lists the dump with the hash that was made.
pub(super) fn digests(dir: &Path, charge: &Charge) -> (bool, String) {
    match read_record::<Backup>(dir, "backup.json") {
        Some(b) if b.skipped.is_none() => {
            let copy = std::fs::read_to_string(dir.join("backup_digest.sha256")).unwrap_or_default();
            let listed = copy.lines().any(|l| l == format!("{}  {}", b.sha256, b.dump));
            (listed, "dump and manifest in the backup's digest".into())
        }
        Some(_) => (true, "no backup, said so".into()),
        None if matches!(charge.command.as_str(), "release" | "backup") => (false, NOT_REACHED.into()),
        None => (true, "the files of this run".into()),
    }
}

/// E3: no act is open.
pub(super) fn facts_complete(journal: &[Line]) -> (bool, String) {
    let mut open: Vec<(&str, &str)> = Vec::new();
    for line in journal {
        let key = (line.step.as_str(), line.act.as_str());
        match line.kind {
            LineKind::Intent => open.push(key),
            LineKind::Done | LineKind::Failed => {
                if let Some(at) = open.iter().rposition(|k| *k == key) {
                    open.remove(at);
                }
            }
            LineKind::Fact | LineKind::Sealed => {}
        }
    }
    let names: Vec<String> = open.iter().map(|(step, act)| format!("{step}: {act}")).collect();
    let detail = if names.is_empty() { "every act has its end".into() } else { names.join(", ") };
    (names.is_empty(), detail)
}

/// E4: the scan of the evidence for known secret values found none.
pub(super) fn no_secrets(journal: &[Line]) -> (bool, String) {
    let scan = journal.iter().rev().find(|l| l.act == "secret scan" && l.kind == LineKind::Fact);
    match scan.and_then(|l| l.data.get("hits")).and_then(serde_json::Value::as_array) {
        Some(hits) if hits.is_empty() => (true, "no known secret value in the evidence".into()),
        Some(hits) => (false, format!("{} known secret values in the evidence", hits.len())),
        None => (false, "the evidence was not scanned".into()),
    }
}
