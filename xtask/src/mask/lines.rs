//! Masks line by line, with what one line means for the next.

use super::rows::{self, Before};
use super::{Redactor, shapes};
use std::borrow::Cow;

pub(super) struct Lines {
    redactor: Redactor,
    before: Before,
    /// Inside a private key.
    key: bool,
}

impl Lines {
    pub(super) fn new(redactor: Redactor) -> Lines {
        Lines { redactor, before: Before::Ordinary, key: false }
    }

    /// Takes a line, with its end where it has one, and writes what may be seen of it.
    pub(super) fn take(&mut self, line: &str, out: &mut String) {
        if self.key {
            self.key = !line.contains("-----END ");
            return;
        }
        let begins = line.find("-----BEGIN ").filter(|at| line[*at..].contains("PRIVATE KEY-----"));
        if let Some(at) = begins
            && !line[at..].contains("-----END ")
        {
            self.key = true;
            out.push_str(&self.mask(&line[..at]));
            out.push_str("***private key***\n");
            return;
        }
        if let Some(kept) = rows::cut(line, &mut self.before) {
            out.push_str(&self.mask(&kept));
        }
    }

    fn mask<'a>(&self, line: &'a str) -> Cow<'a, str> {
        let known = match self.redactor.matcher() {
            Some(matcher) => matcher.replace_all(line, "***"),
            None => Cow::Borrowed(line),
        };
        match known {
            Cow::Borrowed(text) => shapes::mask(text, &self.redactor.keys),
            Cow::Owned(text) => Cow::Owned(shapes::mask(&text, &self.redactor.keys).into_owned()),
        }
    }
}
