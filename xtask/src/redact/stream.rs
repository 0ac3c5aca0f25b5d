//! Bytes as they come: masked on their way (`Stream`), or searched for known
//! values (`Scanner`). Both hold little, however much comes.

use super::Redactor;
use super::lines::Lines;
use std::collections::BTreeSet;

/// Masks a stream of bytes. What comes out of all pushes and the end is what `Redactor::text` makes
/// of the whole, however it was divided. Bytes that are not UTF-8 become replacement characters.
pub struct Stream {
    redactor: Redactor,
    lines: Lines,
    /// Bytes of a character that is not all here yet.
    broken: Vec<u8>,
    pending: String,
}

impl Stream {
    pub(super) fn new(redactor: Redactor) -> Stream {
        Stream { redactor, lines: Lines::default(), broken: Vec::new(), pending: String::new() }
    }

    /// What can be said of the text so far: its whole lines.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let searched = self.pending.len();
        self.decode(bytes);
        let more = self.pending.len() > super::lines::WINDOW;
        if !more && !self.pending[searched..].contains('\n') {
            return Vec::new();
        }
        self.drain(false)
    }

    /// The rest; the stream begins anew.
    pub fn finish(&mut self) -> Vec<u8> {
        let broken = std::mem::take(&mut self.broken);
        self.pending.push_str(&String::from_utf8_lossy(&broken));
        let out = self.drain(true);
        self.lines = Lines::default();
        out
    }

    fn drain(&mut self, last: bool) -> Vec<u8> {
        let compiled = self.redactor.compiled();
        let mut out = String::with_capacity(self.pending.len());
        let taken = self.lines.take(&compiled, &self.pending, last, &mut out);
        self.pending.drain(..taken);
        out.into_bytes()
    }

    fn decode(&mut self, bytes: &[u8]) {
        let joined;
        let mut rest = if self.broken.is_empty() {
            bytes
        } else {
            joined = [std::mem::take(&mut self.broken).as_slice(), bytes].concat();
            joined.as_slice()
        };
        loop {
            match std::str::from_utf8(rest) {
                Ok(text) => return self.pending.push_str(text),
                Err(error) => {
                    let (good, bad) = rest.split_at(error.valid_up_to());
                    self.pending.push_str(&String::from_utf8_lossy(good));
                    match error.error_len() {
                        Some(length) => {
                            self.pending.push(char::REPLACEMENT_CHARACTER);
                            rest = &bad[length..];
                        }
                        None => {
                            self.broken = bad.to_vec();
                            return;
                        }
                    }
                }
            }
        }
    }
}

/// Looks for known strong values, in every spelling, in bytes that come in pieces.
pub struct Scanner {
    redactor: Redactor,
    kept: Vec<u8>,
    found: BTreeSet<String>,
}

impl Scanner {
    pub(super) fn new(redactor: Redactor) -> Scanner {
        Scanner { redactor, kept: Vec::new(), found: BTreeSet::new() }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        let compiled = self.redactor.compiled();
        let Some(values) = &compiled.values else { return };
        self.kept.extend_from_slice(bytes);
        let text = String::from_utf8_lossy(&self.kept);
        let mut at = 0;
        while let Some(hit) = values.find_at(&text, at) {
            if let Some(names) = compiled.names.get(hit.as_str()) {
                self.found.extend(names.iter().cloned());
            }
            // Another value may begin inside of this one.
            at = text.ceil_char_boundary(hit.start() + 1);
        }
        let keep = compiled.longest.saturating_sub(1).min(self.kept.len());
        let done = self.kept.len() - keep;
        self.kept.drain(..done);
    }

    /// The names of what was found, sorted, each once; never the values.
    pub fn finish(self) -> Vec<String> {
        self.found.into_iter().collect()
    }
}
