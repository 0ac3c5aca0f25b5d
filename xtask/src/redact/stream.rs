//! Masks a stream of bytes that arrives in chunks. The result depends on the
//! bytes alone, never on where the chunks end: whole lines are judged, and very
//! long ones in windows that overlap. Memory is bounded by two windows.

use super::line::{self, Span};
use super::rows::{Cut, Rows};
use super::values::Matcher;
use super::{Redactor, prefix, shapes};
use std::io::BufRead;
use std::sync::Arc;

/// Longer lines are judged in windows of this size.
const WINDOW: usize = 64 << 10;
/// By how much windows overlap at least. A secret that is longer takes the rest
/// of its line with it.
const OVERLAP: usize = 8 << 10;
/// No label of a secret is longer: a value whose label stands before a border begins within this much.
const KEY: usize = 512;

/// Masks what is pushed through it. Made by [`Redactor::stream`].
pub struct Stream {
    redactor: Redactor,
    matcher: Arc<Matcher>,
    /// The cutter of row values, where they are to be cut.
    rows: Option<Rows>,
    /// The source of a private key whose end has not been seen.
    key: Option<Vec<u8>>,
    /// The service that the line at hand comes from.
    source: Vec<u8>,
    buffer: Vec<u8>,
    /// The buffer begins inside a line.
    inside: bool,
    /// The rest of the line belongs to a mask that has been written.
    dropping: bool,
}

impl Stream {
    pub(super) fn new(redactor: &Redactor, rows: Option<Rows>) -> Stream {
        Stream {
            redactor: redactor.clone(),
            matcher: redactor.matcher(),
            rows,
            key: None,
            source: Vec::new(),
            buffer: Vec::new(),
            inside: false,
            dropping: false,
        }
    }

    /// Takes bytes; returns masked ones that are ready to write: whole lines, and
    /// parts of very long ones.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        // What was learned meanwhile counts from here on.
        self.matcher = self.redactor.matcher();
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.extend_from_slice(bytes);
        if !bytes.contains(&b'\n') && buffer.len() < self.window() {
            self.buffer = buffer;
            return Vec::new();
        }
        let mut out = Vec::with_capacity(buffer.len());
        let used = self.lines(&buffer, &mut out);
        buffer.drain(..used);
        self.buffer = buffer;
        out
    }

    /// The rest: a last line without a line break.
    pub fn finish(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let rest = std::mem::take(&mut self.buffer);
        if !rest.is_empty() && !self.dropping {
            self.line(&rest, &mut out);
        }
        (self.inside, self.dropping, self.key) = (false, false, None);
        self.rows = self.rows.take().map(|_| Rows::default());
        out
    }

    fn window(&self) -> usize {
        WINDOW + self.overlap()
    }

    fn overlap(&self) -> usize {
        OVERLAP.max(self.matcher.longest)
    }

    /// Nothing that an earlier line left open reaches into the next one.
    fn calm(&self) -> bool {
        self.key.is_none() && self.rows.as_ref().is_none_or(Rows::calm)
    }

    /// Consumes complete lines and windows; returns how many bytes.
    fn lines(&mut self, buffer: &[u8], out: &mut Vec<u8>) -> usize {
        let mut look = Look::new(self, buffer);
        let (mut at, mut clean) = (0, 0);
        loop {
            let rest = &buffer[at..];
            // Compiled with optimisation, unlike a loop of ours.
            let length = (&mut &*rest).skip_until(b'\n').unwrap_or(0);
            let complete = length > 0 && rest[length - 1] == b'\n';
            let window = self.window();
            if !self.dropping
                && !self.inside
                && complete
                && length <= window
                && self.calm()
                && !look.finds(at, at + length)
            {
                at += length;
                continue;
            }
            out.extend_from_slice(&buffer[clean..at]);
            let used = if self.dropping {
                if complete {
                    out.push(b'\n');
                    (self.inside, self.dropping) = (false, false);
                }
                length
            } else if length > window || (length == window && !complete) {
                self.part(&rest[..window], out)
            } else if complete {
                self.line(&rest[..length], out);
                length
            } else {
                return at;
            };
            at += used;
            clean = at;
            if used == 0 {
                return at;
            }
        }
    }

    /// A line, or the end of one whose windows went before.
    fn line(&mut self, text: &[u8], out: &mut Vec<u8>) {
        let whole = !std::mem::take(&mut self.inside);
        let body = text.strip_suffix(b"\n").unwrap_or(text);
        let body = body.strip_suffix(b"\r").unwrap_or(body);
        let Some(judged) = self.judge(body, whole, false) else { return };
        self.commit(judged.key);
        line::write(&body[judged.skip..], &judged.spans, body.len() - judged.skip, out);
        out.extend_from_slice(&text[body.len()..]);
    }

    /// A window of a long line. Returns how much of it is done: the next window begins there.
    fn part(&mut self, text: &[u8], out: &mut Vec<u8>) -> usize {
        let whole = !std::mem::replace(&mut self.inside, true);
        let Some(judged) = self.judge(text, whole, true) else {
            self.dropping = true;
            return text.len();
        };
        let text = &text[judged.skip..];
        let mut end = text.len().saturating_sub(self.overlap());
        while end > 0 && text[end] & 0xC0 == 0x80 {
            end -= 1;
        }
        // A value whose key stands before `end` is found now or never.
        for span in &judged.spans {
            if span.start >= end && span.start < end + KEY {
                end = span.end;
            }
        }
        let end = line::write(text, &judged.spans, end, out);
        if end == text.len() {
            self.dropping = true;
            self.commit(judged.key);
        }
        judged.skip + end
    }

    /// What was found has been written: what it leaves open reaches into the next line.
    fn commit(&mut self, key: bool) {
        if let Some(rows) = &mut self.rows {
            rows.commit(&self.source);
        }
        if key {
            self.key = Some(self.source.clone());
        }
    }

    /// None if the line vanishes.
    fn judge(&mut self, body: &[u8], whole: bool, partial: bool) -> Option<Judged> {
        let offset = if whole { prefix::length(body) } else { 0 };
        let mut skip = 0;
        if whole {
            self.source = prefix::source(&body[..offset]).to_vec();
        }
        if whole && self.key.as_ref() == Some(&self.source) {
            let end = shapes::private_key_end(&body[offset..]);
            if end.is_none() && shapes::inside_private_key(&body[offset..]) {
                return None;
            }
            self.key = None;
            skip = end.map_or(0, |end| offset + end);
            if skip > 0 && body[skip..].trim_ascii().is_empty() {
                return None;
            }
        }
        let whole = whole && skip == 0;
        let offset = if whole { offset } else { 0 };
        let body = &body[skip..];
        let mut rows = match self.rows.as_mut().map(|r| r.line(&self.source, &body[offset..], whole, partial))
        {
            Some(Cut::Vanish) => return None,
            Some(Cut::Ranges(ranges)) => ranges,
            None => Vec::new(),
        };
        rows.iter_mut().for_each(|r| *r = (r.0 + offset, r.1 + offset));
        let (spans, key) = line::secrets(body, whole, &self.redactor.rules, &self.matcher);
        Some(Judged { skip, spans: line::with_rows(spans, &rows), key })
    }
}

/// What a line has to hide.
struct Judged {
    /// The end of a private key before it.
    skip: usize,
    spans: Vec<Span>,
    /// A private key begins that does not end here.
    key: bool,
}

/// The quick look: where the next line of interest is, in one pass over many lines.
struct Look<'b> {
    redactor: Redactor,
    matcher: Arc<Matcher>,
    rows: bool,
    buffer: &'b [u8],
    /// The next place of interest at or after a position that was asked for.
    shape: Option<Option<usize>>,
    value: Option<Option<usize>>,
}

impl<'b> Look<'b> {
    fn new(stream: &Stream, buffer: &'b [u8]) -> Self {
        // An incomplete line is not looked at: it will be, when it is complete.
        let end = buffer.iter().rposition(|b| *b == b'\n').map_or(0, |p| p + 1);
        Look {
            redactor: stream.redactor.clone(),
            matcher: stream.matcher.clone(),
            rows: stream.rows.is_some(),
            buffer: &buffer[..end],
            shape: None,
            value: None,
        }
    }

    fn finds(&mut self, from: usize, to: usize) -> bool {
        if self.shape.is_none_or(|s| s.is_some_and(|s| s < from)) {
            self.shape =
                Some(self.redactor.rules.interest(self.rows).find_at(self.buffer, from).map(|m| m.start()));
        }
        if self.value.is_none_or(|v| v.is_some_and(|v| v < from)) {
            self.value = Some(self.matcher.first(self.buffer, from));
        }
        [self.shape, self.value].into_iter().flatten().flatten().any(|p| p < to)
    }
}
