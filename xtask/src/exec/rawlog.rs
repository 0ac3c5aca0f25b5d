//! A RAW log: `step_<name>.log`. Every command as a JSON argv with its start,
//! its masked output as it came, and how it ended. Commands that run side by
//! side share a log; each line carries the number of its command.

use crate::clock;
use crate::error::{Context, Result, bail};
use crate::redact::Redactor;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

pub struct RawLog {
    path: PathBuf,
    redactor: Redactor,
    inner: Mutex<Inner>,
}

struct Inner {
    file: File,
    next: u32,
    /// Of a write that no command was told of yet.
    error: Option<std::io::Error>,
    /// The first that one was told of.
    lost: Option<String>,
}

impl RawLog {
    pub fn create(path: &Path, redactor: &Redactor) -> Result<RawLog> {
        let mut options = File::options();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).with_context(|| format!("create {}", path.display()))?;
        let inner = Mutex::new(Inner { file, next: 1, error: None, lost: None });
        Ok(RawLog { path: path.into(), redactor: redactor.clone(), inner })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a line of our own, masked: names of files and reasons can hold anything.
    pub fn say(&self, text: &str) {
        let text = self.redactor.output(text);
        self.write(&format!("# {} {text}\n", clock::rfc3339(clock::Clock::System.now())));
    }

    /// Opens a command; returns its number.
    pub(super) fn begin(&self, argv: &[String], redactor: &Redactor) -> u32 {
        let number = {
            let mut inner = self.lock();
            inner.next += 1;
            inner.next - 1
        };
        let argv = serde_json::to_string(argv).unwrap_or_default();
        let at = clock::rfc3339(clock::Clock::System.now());
        self.write(&format!("[{number}] {at} $ {}\n", redactor.text(&argv)));
        number
    }

    /// One line of a command's output; `stream` is `out`, `err` or `...`.
    pub(super) fn line(&self, number: u32, stream: &str, text: &str) {
        self.write(&format!("[{number}] {stream} {text}\n"));
    }

    /// Masked bytes of a command's output, whole lines.
    pub(super) fn lines(&self, number: u32, stream: &str, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        for line in text.lines() {
            self.line(number, stream, line.trim_end_matches('\r'));
        }
    }

    /// Closes a command. The first write error of the log so far comes back here:
    /// a log that could not be written is not evidence.
    pub(super) fn end(&self, number: u32, word: &str, ms: u64) -> Result<()> {
        self.write(&format!("[{number}] = {word}, {ms} ms\n"));
        let mut inner = self.lock();
        match inner.error.take() {
            Some(error) => {
                inner.lost.get_or_insert_with(|| error.to_string());
                Err(error).with_context(|| format!("write {}", self.path.display()))
            }
            None => Ok(()),
        }
    }

    /// Everything on disk.
    ///
    /// # Errors
    /// When it is not, or when lines were lost before, also where a command was told so.
    pub fn close(&self) -> Result<()> {
        let mut inner = self.lock();
        let lost = inner.error.take().map(|error| error.to_string()).or_else(|| inner.lost.take());
        if let Some(lost) = lost {
            bail!("write {}: {lost}", self.path.display());
        }
        inner.file.sync_all().with_context(|| format!("flush {}", self.path.display()))
    }

    fn write(&self, text: &str) {
        let mut inner = self.lock();
        if let Err(error) = inner.file.write_all(text.as_bytes()) {
            inner.error.get_or_insert(error);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
