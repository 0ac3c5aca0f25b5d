//! Masks secrets and cuts row values before bytes reach disk or screen; finds
//! secrets in files. A mask reads `***`, a cut `[row values cut]`.
//!
//! By value only what is long enough not to damage ordinary text; shorter and
//! common values are masked where they stand as a value: `key=value`, URL, JSON.

mod keys;
mod lines;
mod rows;
mod shapes;
mod source;
#[cfg(test)]
mod tests;
mod values;

pub use source::{SecretFinding, scan_text};
pub use values::Scanner;

use keys::Keys;
use lines::Lines;
use std::sync::{Arc, PoisonError, RwLock};
use values::Values;

/// How a value was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Learned {
    /// Masked wherever it stands.
    Strong,
    /// Too short or too common: masked in value positions only.
    Weak,
    NotSensitive,
}

/// Known secret values and shapes. Cheap to clone; clones share what is learned.
#[derive(Clone, Default)]
pub struct Redactor {
    values: Arc<RwLock<Values>>,
    keys: Arc<Keys>,
}

impl Redactor {
    pub fn new() -> Redactor {
        Redactor::default()
    }

    /// With further names of sensitive keys, and further patterns that are masked.
    pub fn with_extra(keys: &[String], patterns: &[String]) -> Result<Redactor, String> {
        Ok(Redactor { values: Arc::default(), keys: Arc::new(Keys::with_extra(keys, patterns)?) })
    }

    /// Names of users, databases and services: never masked by value.
    pub fn spare(&self, names: &[&str]) {
        self.write(|v| v.spare(names));
    }

    /// Learns one key and its value, also the password inside a value that is a URL.
    pub fn learn(&self, key: &str, value: &str) -> Learned {
        let sensitive = self.keys.is_sensitive(key);
        self.write(|v| v.learn(key, value, sensitive))
    }

    /// Keys whose values are too short or too common to be masked everywhere.
    pub fn weak_keys(&self) -> Vec<String> {
        self.values.read().unwrap_or_else(PoisonError::into_inner).weak_keys()
    }

    /// One complete text, masked and cut.
    pub fn text(&self, text: &str) -> String {
        let mut lines = Lines::new(self.clone());
        let mut out = String::with_capacity(text.len());
        for line in text.split_inclusive('\n') {
            lines.take(line, &mut out);
        }
        out
    }

    /// For bytes that come in pieces.
    pub fn stream(&self) -> Stream {
        Stream { lines: Lines::new(self.clone()), pending: Vec::new() }
    }

    /// Looks for known values in bytes that come in pieces.
    pub fn scanner(&self) -> Scanner {
        self.write(Values::scanner)
    }

    fn matcher(&self) -> Option<Arc<regex::Regex>> {
        if let Some(ready) = self.values.read().unwrap_or_else(PoisonError::into_inner).ready() {
            return ready;
        }
        self.write(Values::matcher)
    }

    fn write<T>(&self, work: impl FnOnce(&mut Values) -> T) -> T {
        work(&mut self.values.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A line longer than this is masked in windows.
const WINDOW: usize = 64 << 10;
/// What of a window is kept back, so that a secret on its border is seen whole.
const OVERLAP: usize = 4 << 10;

/// Masks bytes as they come; gives whole lines.
pub struct Stream {
    lines: Lines,
    pending: Vec<u8>,
}

impl Stream {
    /// Takes bytes; returns what is ready, masked.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.pending.extend_from_slice(bytes);
        let whole = self.pending.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let rest = self.pending.split_off(whole);
        let ready = std::mem::replace(&mut self.pending, rest);
        let mut out = String::new();
        for line in String::from_utf8_lossy(&ready).split_inclusive('\n') {
            self.lines.take(line, &mut out);
        }
        while self.pending.len() > WINDOW {
            let cut = border(&self.pending[..WINDOW]);
            let rest = self.pending.split_off(cut);
            let window = std::mem::replace(&mut self.pending, rest);
            self.lines.take(&String::from_utf8_lossy(&window), &mut out);
        }
        out.into_bytes()
    }

    /// What is left.
    pub fn finish(&mut self) -> Vec<u8> {
        let rest = std::mem::take(&mut self.pending);
        let mut out = String::new();
        if !rest.is_empty() {
            self.lines.take(&String::from_utf8_lossy(&rest), &mut out);
        }
        out.into_bytes()
    }
}

/// Where a long line is cut: behind a separator, which no secret value contains, where there is one.
fn border(window: &[u8]) -> usize {
    let (from, to) = (window.len() / 2, window.len() - OVERLAP);
    let separator = |b: &u8| b" \t,;&\"'".contains(b);
    let mut cut = window[from..to].iter().rposition(separator).map_or(to, |at| from + at + 1);
    // Not inside a character.
    while cut > from && window[cut] & 0xC0 == 0x80 {
        cut -= 1;
    }
    cut
}
