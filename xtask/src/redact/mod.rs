//! Masks secrets and cuts personal row data before bytes reach disk or screen,
//! and finds secrets in files.
//!
//! A mask is `***`, or `***NAME***` where the place does not say what
//! stood there: NAME is the key of a known value or the kind of a token. A cut is
//! `[row values cut]`; further lines of it vanish. Masks are not masked again.
//!
//! Known values are masked wherever they occur, in all spellings of [`values`];
//! shapes (tokens, private keys, URLs) and positions (`key=value`) without being
//! known. Here live no I/O, but for one look whether a value is a directory, and no
//! knowledge of docker, evidence or steps.

mod encode;
mod json;
mod keys;
mod line;
mod literal;
mod positions;
mod prefix;
mod quotes;
mod reference;
mod rows;
mod rows_text;
mod rules;
mod scanner;
mod shapes;
mod source;
mod stream;
#[cfg(test)]
mod tests;
mod urls;
mod values;

pub use scanner::Scanner;
pub use source::{SecretFinding, finding_kinds, scan_text};
pub use stream::Stream;

use rows::Rows;
use rules::Rules;
use std::sync::{Arc, Mutex, PoisonError};
use values::{Matcher, Values};

/// What became of a key and its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Learned {
    #[default]
    NotSensitive,
    /// Short, common or a name: masked only in `key=value`, URL and JSON positions.
    Weak,
    /// Masked wherever it occurs.
    Strong,
}

/// Known secrets and the shapes of others. Clones share what they learn.
#[derive(Clone)]
pub struct Redactor {
    rules: Arc<Rules>,
    values: Arc<Mutex<Values>>,
}

impl Default for Redactor {
    fn default() -> Self {
        Redactor::new()
    }
}

/// Never shows a value.
impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redactor({} values)", self.lock().count())
    }
}

impl Redactor {
    pub fn new() -> Self {
        Redactor { rules: Rules::built_in(), values: Arc::default() }
    }

    /// With further names of sensitive keys, and expressions whose matches are
    /// masked (the syntax of the `regex` crate on bytes; classes are ASCII).
    ///
    /// # Errors
    /// Names the expression that does not compile or matches the empty text.
    pub fn with_extra(keys: &[String], patterns: &[String]) -> Result<Self, String> {
        Ok(Redactor { rules: Rules::with_extra(keys, patterns)?, values: Arc::default() })
    }

    /// Does a key of this name hold a secret? The value of `DATABASE_URL` is not
    /// one, but its password is: [`Redactor::learn`] takes care of that.
    pub fn is_sensitive_key(&self, key: &str) -> bool {
        self.rules.keys.is_sensitive(key)
    }

    /// Names of users, databases and services: never masked by value.
    pub fn spare(&self, names: &[&str]) {
        self.lock().spare(names);
    }

    /// Learns the secrets that a key and its value hold: the value of a sensitive
    /// key, and in any value passwords of URLs, tokens, `--password x`, JSON.
    pub fn learn(&self, key: &str, value: &str) -> Learned {
        self.lock().learn(key, value, &self.rules)
    }

    /// Keys whose values are too short or too common to be masked by value, sorted.
    pub fn weak_keys(&self) -> Vec<String> {
        self.lock().weak_keys()
    }

    /// Keys whose values are too long to be looked at: neither they nor what they hold is known. Sorted.
    pub fn too_long_keys(&self) -> Vec<String> {
        self.lock().too_long_keys()
    }

    /// Masks the secrets of a complete text.
    pub fn text(&self, s: &str) -> String {
        complete(Stream::new(self, None), s)
    }

    /// Masks the secrets of a complete output of a tool and cuts its row values:
    /// what [`Redactor::stream`] does to the same bytes.
    pub fn output(&self, s: &str) -> String {
        complete(self.stream(), s)
    }

    /// The same of the end of an output, which may begin inside a value.
    pub fn tail(&self, s: &str) -> String {
        complete(self.tail_stream(), s)
    }

    /// For RAW logs: masks secrets and cuts row values as bytes come.
    pub fn stream(&self) -> Stream {
        Stream::new(self, Some(Rows::default()))
    }

    /// The same for the end of a log, as in [`Redactor::tail`].
    pub fn tail_stream(&self) -> Stream {
        Stream::new(self, Some(Rows::of_tail()))
    }

    /// Looks for known values, and what the configured expressions match, in the bytes of a file.
    pub fn scanner(&self) -> Scanner {
        Scanner::new(self.matcher(), self.rules.clone())
    }

    fn matcher(&self) -> Arc<Matcher> {
        self.lock().matcher()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Values> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn complete(mut stream: Stream, s: &str) -> String {
    let mut bytes = stream.push(s.as_bytes());
    bytes.extend(stream.finish());
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Compiles an expression of ours: on bytes, so classes are ASCII. A broken one
/// must not pass as one that finds nothing: it ends the program, and every test
/// that touches it.
fn regex(expression: &str) -> regex::bytes::Regex {
    let built = regex::bytes::RegexBuilder::new(expression).unicode(false).build();
    built.unwrap_or_else(|why| panic!("{why}"))
}

/// Nothing that hides a secret: empty, a variable, a truth, masked already.
fn is_blank(value: &[u8]) -> bool {
    let value = value.trim_ascii();
    let variable = value.strip_prefix(b"${").and_then(|v| v.strip_suffix(b"}"));
    value.is_empty()
        || line::begins_with_mark(value)
        || value.iter().all(|b| *b == b'*')
        || variable.is_some_and(|v| v.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_'))
        || [
            &b"null"[..],
            b"None",
            b"none",
            b"nil",
            b"true",
            b"false",
            b"True",
            b"False",
            b"undefined",
            b"|",
            b">",
            b"|-",
            b">-",
        ]
        .contains(&value)
}
