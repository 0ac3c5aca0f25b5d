//! Looks for known secrets in the bytes of a file. Says whose they are, never what they are.

use super::values::Matcher;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Takes a file chunk by chunk. Made by [`super::Redactor::scanner`].
pub struct Scanner {
    matcher: Arc<Matcher>,
    /// The end of what has been looked at: a secret may begin in it.
    tail: Vec<u8>,
    found: BTreeSet<String>,
}

impl Scanner {
    pub(super) fn new(matcher: Arc<Matcher>) -> Scanner {
        Scanner { matcher, tail: Vec::new(), found: BTreeSet::new() }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        for (_, _, keys) in self.matcher.find(&self.tail) {
            self.found.extend(keys.iter().cloned());
        }
        let keep = self.matcher.longest.saturating_sub(1);
        self.tail.drain(..self.tail.len().saturating_sub(keep));
    }

    /// Names of the keys whose values occur, sorted.
    pub fn finish(self) -> Vec<String> {
        self.found.into_iter().collect()
    }
}
