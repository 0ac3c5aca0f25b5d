//! Looks for known secrets in the bytes of a file, and for what the configuration
//! wants masked. Says whose they are, never what they are.

use super::line::begins_with_mark;
use super::rules::Rules;
use super::values::Matcher;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a match of a configured pattern is called.
const PATTERN: &str = "pattern";
/// Longer matches of a pattern can be missed at the border of two chunks.
const LONGEST_MATCH: usize = 4 << 10;

/// Takes a file chunk by chunk. Made by [`super::Redactor::scanner`].
pub struct Scanner {
    matcher: Arc<Matcher>,
    rules: Arc<Rules>,
    /// The end of what has been looked at: a secret may begin in it.
    tail: Vec<u8>,
    found: BTreeSet<String>,
}

impl Scanner {
    pub(super) fn new(matcher: Arc<Matcher>, rules: Arc<Rules>) -> Scanner {
        Scanner { matcher, rules, tail: Vec::new(), found: BTreeSet::new() }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        for (_, _, keys) in self.matcher.find(&self.tail) {
            self.found.extend(keys.iter().cloned());
        }
        let mut keep = self.matcher.longest.saturating_sub(1);
        if !self.rules.patterns.is_empty() {
            keep = keep.max(LONGEST_MATCH);
            // A pattern may fit the mask that took the place of what it fits.
            let hit =
                self.rules.patterns.iter().any(|p| {
                    p.find_iter(&self.tail).any(|m| !m.is_empty() && !begins_with_mark(m.as_bytes()))
                });
            if hit {
                self.found.insert(PATTERN.into());
            }
        }
        self.tail.drain(..self.tail.len().saturating_sub(keep));
    }

    /// Names of the keys whose values occur, sorted.
    pub fn finish(self) -> Vec<String> {
        self.found.into_iter().collect()
    }
}
