//! The expressions of one redactor: built in, plus those of the configuration.

use super::{keys, rows, shapes};
use regex::bytes::{Regex, RegexBuilder};
use std::sync::{Arc, LazyLock};

pub(super) struct Rules {
    pub(super) keys: keys::Keys,
    /// Words that may be sensitive keys.
    pub(super) words: Regex,
    /// What the configuration wants masked.
    pub(super) patterns: Vec<Regex>,
    /// A line in which this finds nothing needs no masking: the quick look.
    interest: Regex,
    /// The same, when row values are cut too.
    interest_with_rows: Regex,
}

static BUILT_IN: LazyLock<Arc<Rules>> =
    LazyLock::new(|| Arc::new(Rules::build(&[], Vec::new()).unwrap_or_else(|why| panic!("{why}"))));

impl Rules {
    pub(super) fn built_in() -> Arc<Rules> {
        BUILT_IN.clone()
    }

    pub(super) fn with_extra(names: &[String], patterns: &[String]) -> Result<Arc<Rules>, String> {
        let mut compiled = Vec::new();
        for pattern in patterns {
            let regex = compile(pattern).map_err(|why| format!("redact pattern `{pattern}`: {why}"))?;
            if regex.is_match(b"") {
                return Err(format!(
                    "redact pattern `{pattern}`: it matches the empty text, so it would mask nothing or everything"
                ));
            }
            compiled.push(regex);
        }
        Rules::build(names, compiled)
            .map(Arc::new)
            .map_err(|why| format!("redact keys and patterns together: {why}"))
    }

    fn build(names: &[String], patterns: Vec<Regex>) -> Result<Rules, regex::Error> {
        let mut finder = keys::FINDER.to_string();
        for name in names.iter().filter(|n| !n.trim().is_empty()) {
            let parts: Vec<String> = name.trim().split(['-', '_']).map(regex::escape).collect();
            let name = parts.join("[-_]");
            // Without case only where the letters are ASCII.
            finder.push_str(&if name.is_ascii() { format!("|{name}") } else { format!("|(?-i:{name})") });
        }
        let word = format!("(?:{finder})[A-Za-z0-9_.-]*");
        // After a key: a separator, or as a flag or SQL clause a blank.
        let position = format!(
            r#"{word}[\\"']{{0,2}}[ \t]{{0,8}}[=:,]|-[A-Za-z0-9_.-]*{word}|(?:requirepass|masterauth)\s|password\s+'"#
        );
        let mut interest =
            format!(r"(?i:{position})|(?:{}|://\S*@|\$\{{[A-Za-z0-9_]+:?[-=+])", shapes::TOKEN_SIGNS);
        for pattern in &patterns {
            interest.push_str(&format!("|(?:{})", pattern.as_str()));
        }
        // Side by side: before they are there nothing may be said, and in an unoptimised build they
        // take a moment.
        let with_rows = format!("{interest}|(?:{})", rows::signs());
        let (with_rows, interest) = std::thread::scope(|s| {
            let with_rows = s.spawn(|| quick(&with_rows));
            (with_rows.join(), quick(&interest))
        });
        Ok(Rules {
            keys: keys::Keys::new(names),
            words: compile(&format!("(?i)[A-Za-z0-9_.-]*{word}"))?,
            interest_with_rows: with_rows.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?,
            interest: interest?,
            patterns,
        })
    }

    pub(super) fn interest(&self, rows: bool) -> &Regex {
        if rows { &self.interest_with_rows } else { &self.interest }
    }
}

/// `(?i)` and classes work on ASCII; other letters match themselves.
fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).unicode(false).multi_line(true).size_limit(4 << 20).build()
}

/// With bigger caches: the quick look runs over every byte.
fn quick(expression: &str) -> Result<Regex, regex::Error> {
    let mut builder = RegexBuilder::new(expression);
    builder.unicode(false).multi_line(true).size_limit(32 << 20).dfa_size_limit(16 << 20).build()
}
