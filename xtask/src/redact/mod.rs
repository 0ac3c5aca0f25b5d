//! Secrets and personal row data are masked before bytes reach disk or
//! screen, and secrets are found in files. What is a secret: by the name it
//! stands under (`keys`), by its position (`positions`), by its shape
//! (`shapes`), and by value once it was learned (`known`). What PostgreSQL
//! prints of rows is cut (`rows`). Nothing here does input or output.

mod forms;
mod hit;
mod keys;
mod known;
mod lines;
mod positions;
mod rows;
mod shapes;
mod source;
mod stream;
#[cfg(test)]
mod tests;

use known::{Compiled, Known};
use std::sync::{Arc, PoisonError, RwLock};

pub use source::{SecretFinding, scan_text};
pub use stream::{Scanner, Stream};

/// Knows the secrets of a run; clones share what they know.
#[derive(Clone, Default)]
pub struct Redactor {
    known: Arc<RwLock<Known>>,
}

/// What became of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Learned {
    /// Masked wherever it stands.
    Strong,
    /// Too short or too common for that: masked behind its key, in URLs and in JSON only.
    Weak,
    NotSensitive,
}

impl Redactor {
    pub fn new() -> Redactor {
        Redactor::default()
    }

    /// With further names of sensitive keys, and further patterns. Of a pattern the first group is
    /// masked, or all of it. The error names the pattern that does not compile.
    pub fn with_extra(keys: &[String], patterns: &[String]) -> Result<Redactor, String> {
        let compile = |p: &String| regex::Regex::new(p).map_err(|e| format!("`{p}`: {e}"));
        let keys = keys.iter().map(|k| k.trim().to_ascii_lowercase()).filter(|k| !k.is_empty()).collect();
        let known = Known::new(keys, patterns.iter().map(compile).collect::<Result<_, _>>()?);
        Ok(Redactor { known: Arc::new(RwLock::new(known)) })
    }

    /// Names of users, databases and services: never masked by value.
    pub fn spare(&self, names: &[&str]) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).spare(names);
    }

    /// Takes in a value with its name: the value itself if the name is a secret's, and whatever
    /// the name, the passwords of URLs in it.
    pub fn learn(&self, key: &str, value: &str) -> Learned {
        self.known.write().unwrap_or_else(PoisonError::into_inner).learn(key, value)
    }

    /// Names whose values are too short or too common to be masked by value.
    pub fn weak_keys(&self) -> Vec<String> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).weak_keys()
    }

    /// The text with every secret masked and every row value cut.
    pub fn text(&self, text: &str) -> String {
        let compiled = self.compiled();
        if compiled.next(text, 0).is_none() {
            return text.to_string();
        }
        let mut out = String::with_capacity(text.len());
        lines::Lines::default().take(&compiled, text, true, &mut out);
        out
    }

    /// The same for bytes as they come.
    pub fn stream(&self) -> Stream {
        Stream::new(self.clone())
    }

    /// Looks for known values.
    pub fn scanner(&self) -> Scanner {
        Scanner::new(self.clone())
    }

    fn compiled(&self) -> Arc<Compiled> {
        if let Some(ready) = self.known.read().unwrap_or_else(PoisonError::into_inner).ready() {
            return ready;
        }
        self.known.write().unwrap_or_else(PoisonError::into_inner).compile()
    }
}
