//! events.jsonl: what the run was about to do, and what came of it. Each line
//! is on disk before the next act, carries a sequence number, and the sha256 of
//! the line before it, so that a dropped or exchanged line shows.

use crate::clock::{self, Clock};
use crate::error::{Context, Result, bail};
use crate::fsx;
use crate::redact::Redactor;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineKind {
    /// About to act.
    Intent,
    /// The act was done.
    Done,
    /// The act failed.
    Failed,
    /// A fact; no act.
    Fact,
    /// The last line: what is about to be summed up.
    Sealed,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Line {
    /// 1, 2, 3, ...
    pub seq: u64,
    /// RFC 3339 UTC; for people, never for order.
    pub time: String,
    /// Milliseconds since the journal was opened, monotonic.
    pub at_ms: u64,
    pub kind: LineKind,
    pub step: String,
    pub act: String,
    /// For done and failed: the act's own duration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub data: Value,
    /// sha256 of the line before, without its newline; of nothing for the first.
    pub prev: String,
}

pub struct Journal {
    path: PathBuf,
    opened: Instant,
    redactor: Redactor,
    inner: Mutex<Inner>,
}

struct Inner {
    file: File,
    seq: u64,
    prev: String,
    /// Bytes of the lines that are whole.
    length: u64,
}

impl Journal {
    pub fn create(path: &Path, redactor: &Redactor) -> Result<Journal> {
        let file = fsx::private_file(path)?;
        if let Some(dir) = path.parent() {
            fsx::sync_dir(dir)?;
        }
        let inner = Inner { file, seq: 0, prev: fsx::sha256(b""), length: 0 };
        Ok(Journal {
            path: path.into(),
            opened: Instant::now(),
            redactor: redactor.clone(),
            inner: Mutex::new(inner),
        })
    }

    /// Journals `intent`, works, journals `done` or `failed`. When the intent
    /// cannot be written the work is not begun.
    pub fn act<T>(
        &self,
        step: &str,
        act: &str,
        about: Value,
        work: impl FnOnce() -> Result<(T, Value)>,
    ) -> Result<T> {
        self.write(LineKind::Intent, step, act, None, about)?;
        let start = Instant::now();
        let result = work();
        let ms = Some(clock::ms_since(start));
        match result {
            Ok((value, data)) => {
                self.write(LineKind::Done, step, act, ms, data)?;
                Ok(value)
            }
            Err(error) => {
                let data = serde_json::json!({ "error": crate::error::fault_of(&error).to_string() });
                // The failure itself matters more than a journal that cannot take it.
                let _ = self.write(LineKind::Failed, step, act, ms, data);
                Err(error)
            }
        }
    }

    /// A fact that is not an act.
    pub fn fact(&self, step: &str, act: &str, data: Value) -> Result<()> {
        self.write(LineKind::Fact, step, act, None, data)
    }

    /// The last line.
    pub fn seal(&self, data: Value) -> Result<()> {
        self.write(LineKind::Sealed, "pipeline", "sealed", None, data)
    }

    /// Milliseconds since the journal was opened.
    pub fn elapsed_ms(&self) -> u64 {
        clock::ms_since(self.opened)
    }

    fn write(&self, kind: LineKind, step: &str, act: &str, ms: Option<u64>, data: Value) -> Result<()> {
        let mut inner = self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let line = Line {
            seq: inner.seq + 1,
            time: clock::rfc3339(Clock::System.now()),
            at_ms: self.elapsed_ms(),
            kind,
            step: step.into(),
            act: act.into(),
            ms,
            data: super::masked(&self.redactor, data),
            prev: inner.prev.clone(),
        };
        let mut text = serde_json::to_string(&line)?;
        let hash = fsx::sha256(text.as_bytes());
        text.push('\n');
        let written = inner.file.write_all(text.as_bytes()).and_then(|()| inner.file.sync_data());
        if written.is_err() {
            // A full disk takes half a line; behind it no later one could be read.
            let length = inner.length;
            let _ = inner.file.set_len(length);
            let _ = inner.file.seek(SeekFrom::Start(length));
        }
        written.with_context(|| format!("write {}", self.path.display()))?;
        inner.length += text.len() as u64;
        inner.seq += 1;
        inner.prev = hash;
        Ok(())
    }
}

/// Reads a journal and checks its chain. A torn last line (the run died while
/// writing it, perhaps inside a character) is left out; anything else that does
/// not fit is an error. For the last line, which no other one vouches for, it
/// is digest.sha256 that does.
pub fn read(path: &Path) -> Result<Vec<Line>> {
    lines(path)?.collect()
}

/// The lines before the first that does not fit: of a damaged journal, what can still be believed.
pub fn read_up_to_damage(path: &Path) -> Vec<Line> {
    // What keeps the rest from being read is told by `read`.
    lines(path).into_iter().flatten().map_while(Result::ok).collect()
}

/// The first line, where it is whole, without a look at the others.
pub fn read_first(path: &Path) -> Option<Line> {
    lines(path).ok()?.next()?.ok()
}

/// The lines one by one, each checked against the one before it; behind one that does not fit none counts.
fn lines(path: &Path) -> Result<impl Iterator<Item = Result<Line>>> {
    let mut file = BufReader::new(File::open(path).with_context(|| format!("read {}", path.display()))?);
    let path = path.to_path_buf();
    let (mut number, mut prev) = (0, fsx::sha256(b""));
    Ok(std::iter::from_fn(move || {
        let mut piece = Vec::new();
        if let Err(error) = file.read_until(b'\n', &mut piece) {
            return Some(Err(error).with_context(|| format!("read {}", path.display())));
        }
        let piece = piece.strip_suffix(b"\n")?;
        number += 1;
        let line = serde_json::from_slice(piece)
            .with_context(|| format!("line {number} of {} is not a journal line", path.display()));
        let line = line.and_then(|line: Line| {
            if line.seq == number && line.prev == prev {
                return Ok(line);
            }
            bail!("line {number} of {} does not follow the one before it", path.display());
        });
        prev = fsx::sha256(piece);
        Some(line)
    }))
}
