//! The run directory: what a release leaves behind so that anybody can check
//! its verdict later, offline. Steps write records; the verdict is read from
//! the records, here and again by `evidence verify`.

mod derive;
mod digest;
mod journal;
mod judge;
mod leaks;
pub mod records;
mod summary;
mod verify;

pub use derive::{Begun, STARTED_ANEW, begun, derive};
pub use digest::{Mismatch, NAME as DIGEST, check as check_digest, write as write_digest};
pub use journal::{Journal, Line, LineKind, read as read_journal, read_up_to_damage};
pub use judge::{
    Charge, END_STOP, Judgement, OPEN_BACK, RECORD, REPLACE, Reached, STOP, STOP_BACK, UNFENCE, UP, judge,
    other_images, reached, replaced,
};
pub use leaks::leaks;
pub use summary::*;
pub use verify::{Render, Verification, hashes, verify};

use crate::clock::{self, Clock};
use crate::error::{Context, Exit, Fault, Result};
use crate::exec::RawLog;
use crate::fsx::{self, Room};
use crate::redact::Redactor;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Where evidence lies below the checkout.
pub const EVIDENCE: &str = "ops/_local/evidence";

/// The fact that RAW logs are not whole: `{"lost": [...]}`.
const LOGS: (&str, &str) = ("evidence", "raw logs");

/// The directory of one run.
pub struct RunDir {
    pub rid: String,
    pub path: PathBuf,
    pub journal: Journal,
    redactor: Redactor,
    logs: Mutex<BTreeMap<String, Arc<RawLog>>>,
    lost: Mutex<Vec<String>>,
    room: Mutex<Option<Room>>,
}

/// What a run keeps of the disk for its way back and its last writes, in bytes. A run writes less than
/// a tenth of that.
const ROOM: usize = 4 << 20;

impl RunDir {
    /// The same as [`RunDir::create`] where a disk that is full could leave a run half-way: room is kept, for
    /// the way back of one that changes the stand.
    ///
    /// # Errors
    /// Refuses where there is too little room, before anything is written.
    pub fn create_with_room(root: &Path, rid: &str, redactor: &Redactor) -> Result<RunDir> {
        fsx::private_dir(root)?;
        let refused = |error: anyhow::Error| {
            Fault::refused("too little room for the evidence of a run")
                .why(format!("{error:#}"))
                .remedy(format!("free space on the disk of {}", root.display()))
        };
        let room = Room::take(root, ROOM).map_err(refused)?;
        // As much again for what is written before the room is needed.
        drop(Room::take(root, ROOM).map_err(refused)?);
        let run = RunDir::create(root, rid, redactor)?;
        *run.room.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(room);
        Ok(run)
    }

    /// Gives the room that was kept to what is written from now on.
    pub fn use_room(&self) {
        self.room.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    }

    /// Creates `<root>/<rid>/`, owner-only. An existing directory is refused.
    pub fn create(root: &Path, rid: &str, redactor: &Redactor) -> Result<RunDir> {
        check_rid(rid)?;
        let path = root.join(rid);
        fsx::private_dir(root)?;
        if path.exists() {
            return Err(Fault::refused(format!("evidence of {rid} exists already"))
                .why(path.display().to_string())
                .remedy("leave --rid out, or give another one")
                .into());
        }
        fsx::private_dir(&path)?;
        let journal = Journal::create(&path.join("events.jsonl"), redactor)?;
        Ok(RunDir {
            rid: rid.into(),
            path,
            journal,
            redactor: redactor.clone(),
            logs: Mutex::default(),
            lost: Mutex::default(),
            room: Mutex::default(),
        })
    }

    /// The RAW log of a step, opened at first use.
    pub fn log(&self, step: &str) -> Result<Arc<RawLog>> {
        let mut logs = self.logs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(log) = logs.get(step) {
            return Ok(Arc::clone(log));
        }
        let log = Arc::new(RawLog::create(&self.path.join(format!("step_{step}.log")), &self.redactor)?);
        logs.insert(step.into(), Arc::clone(&log));
        Ok(log)
    }

    /// Remembers that a log could not be written, where saying so at once would hide another failure.
    pub fn lose(&self, what: String) {
        self.lost.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(what);
    }

    /// Every RAW log on disk; the journal says which of them are not whole.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub fn close_logs(&self) -> Result<()> {
        let logs = self.logs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let closed = logs.values().filter_map(|log| log.close().err());
        let mut lost: Vec<String> = closed.map(|error| format!("{error:#}")).collect();
        lost.append(&mut self.lost.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        if lost.is_empty() {
            return Ok(());
        }
        self.journal.fact(LOGS.0, LOGS.1, serde_json::json!({ "lost": lost }))
    }

    /// Writes a record; every text in it is masked.
    pub fn write_json<T: serde::Serialize>(&self, name: &str, value: &T) -> Result<()> {
        let value = masked(&self.redactor, serde_json::to_value(value)?);
        fsx::write_json(&self.path.join(name), &value)
    }

    /// The same value as it is written: for what is shown besides.
    pub fn masked<T: serde::Serialize + serde::de::DeserializeOwned>(&self, value: &T) -> Result<T> {
        Ok(serde_json::from_value(masked(&self.redactor, serde_json::to_value(value)?))?)
    }

    /// Writes a text, masked.
    pub fn write_text(&self, name: &str, text: &str) -> Result<()> {
        let path = self.path.join(name);
        if let Some(parent) = path.parent() {
            fsx::private_dir(parent)?;
        }
        fsx::write_atomic(&path, self.redactor.output(text).as_bytes())
    }

    /// A record written earlier in this run, if it was.
    pub fn read<T: serde::de::DeserializeOwned>(&self, name: &str) -> Option<T> {
        read_record(&self.path, name)
    }
}

/// The same value with every text in it masked.
fn masked(redactor: &Redactor, value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(redactor.output(&text)),
        Value::Array(items) => items.into_iter().map(|v| masked(redactor, v)).collect(),
        Value::Object(map) => {
            map.into_iter().map(|(k, v)| (redactor.output(&k), masked(redactor, v))).collect()
        }
        other => other,
    }
}

/// A record of a run directory; none when it is not there or not readable.
pub fn read_record<T: serde::de::DeserializeOwned>(dir: &Path, name: &str) -> Option<T> {
    fsx::read_json(&dir.join(name)).ok()
}

/// `rel_20251227-101500_0a1b2c3`: kind, UTC time, short head.
pub fn new_rid(kind: &str, clock: Clock, head: Option<&str>) -> String {
    let head = head.map(|h| &h[..h.len().min(7)]).unwrap_or("nohead");
    format!("{kind}_{}_{head}", clock::stamp(clock.now()))
}

/// A rid that has no directory yet: a second run within the same second gets `.2`.
pub fn free_rid(root: &Path, rid: String) -> String {
    let mut name = rid.clone();
    let mut number = 2;
    while root.join(&name).exists() {
        name = format!("{rid}.{number}");
        number += 1;
    }
    name
}

/// The rid of a run of that kind: the one that was asked for, or a new one. An id of the operator's
/// own begins with the kind, as every other does.
pub fn rid_of(root: &Path, kind: &str, asked: Option<&str>, head: Option<&str>) -> Result<String> {
    let Some(rid) = asked else { return Ok(free_rid(root, new_rid(kind, Clock::System, head))) };
    check_rid(rid)?;
    if rid.starts_with(&format!("{kind}_")) {
        return Ok(rid.into());
    }
    Err(Fault::usage(format!("`{rid}` is no id for this command"))
        .why("the kind of a run is told by how its id begins")
        .remedy(format!("let it begin with {kind}_, or leave --rid out"))
        .into())
}

/// A rid becomes a file name, a word of commands and a part of a git ref: `[A-Za-z0-9._-]` only,
/// and nothing that git refuses in a ref.
pub fn check_rid(rid: &str) -> Result<()> {
    let fine = !rid.is_empty()
        && rid.len() <= 80
        && !rid.starts_with(['.', '-'])
        && !rid.ends_with('.')
        && !rid.ends_with(".lock")
        && !rid.contains("..")
        && rid.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if fine {
        return Ok(());
    }
    Err(Fault::new(format!("`{rid}` is not a release id"))
        .why("allowed are 1 to 80 of A-Z a-z 0-9 . _ -, without `..`, `.` or `-` at the beginning, `.` or `.lock` at the end")
        .exit(Exit::Usage)
        .into())
}

/// The runs of a root, newest first by name's time; last those that may not be looked into.
///
/// # Errors
/// When the root may not be looked into.
pub fn runs(root: &Path) -> Result<Vec<PathBuf>> {
    if !fsx::is_there(root)? {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(root).with_context(|| format!("list {}", root.display()))?;
    let mut dirs: Vec<PathBuf> = entries
        .filter_map(std::result::Result::ok)
        .map(|e| e.path())
        .filter(|p| p.join("events.jsonl").try_exists().unwrap_or(true))
        .collect();
    dirs.sort_by_cached_key(|dir| std::cmp::Reverse(started(dir)));
    Ok(dirs)
}

/// When a run began: the time of its first journal line, or, where that is damaged, the time in its name.
pub fn began(dir: &Path) -> Option<String> {
    journal::read_first(&dir.join("events.jsonl")).map(|first| first.time).or_else(|| time_in_name(dir))
}

/// The same, to sort by. A run of which nobody knows it counts as the newest, so that no other one is
/// taken for a later one; one that may not be looked into as the oldest.
pub fn started(dir: &Path) -> String {
    began(dir).unwrap_or_else(|| match std::fs::File::open(dir.join("events.jsonl")) {
        Ok(_) => "unknown".into(),
        Err(_) => String::new(),
    })
}

/// The UTC time in a rid that was not chosen by hand (`rel_20261123-225228_c3dedd6`), as in a journal.
fn time_in_name(dir: &Path) -> Option<String> {
    let name = dir.file_name()?.to_str()?;
    let time = name.split('_').nth(1)?;
    let digits = |part: &str, count| part.len() == count && part.bytes().all(|b| b.is_ascii_digit());
    let (day, clock) = time.split_once('-').filter(|(day, clock)| digits(day, 8) && digits(clock, 6))?;
    let ((year, month, day), (hour, minute, second)) =
        ((&day[..4], &day[4..6], &day[6..]), (&clock[..2], &clock[2..4], &clock[4..]));
    Some(format!("{year}-{month}-{day}T{hour}:{minute}:{second}"))
}

#[cfg(test)]
mod tests;
