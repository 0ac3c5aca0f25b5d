//! What is to be masked in one line, and the masked line.

use super::rows::CUT;
use super::rules::Rules;
use super::values::Matcher;
use super::{json, positions, prefix, quotes, shapes, urls};
use regex::bytes::Regex;
use std::sync::LazyLock;

/// A range of a line and what takes its place. Where ranges overlap, the label
/// of the highest rank names the union.
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
    rank: u8,
    label: String,
    /// Around the mask of a value of JSON that is no text: it becomes one.
    quote: String,
}

impl Span {
    pub(super) fn mask(&self) -> String {
        let quote = &self.quote;
        match (self.rank, self.label.as_str()) {
            (ROWS, _) => CUT.to_string(),
            (_, "") => format!("{quote}***{quote}"),
            (_, label) => format!("{quote}***{label}***{quote}"),
        }
    }

    /// A part of it, under the same name.
    pub(super) fn part(&self, start: usize, end: usize) -> Span {
        Span { start, end, label: self.label.clone(), quote: String::new(), rank: self.rank }
    }

    /// Keeps a document of JSON one: a number becomes a text, an escape stays whole.
    fn fit(&mut self, line: &[u8]) {
        let (before, value) = (&line[..self.start], &line[self.start..self.end]);
        if json::is_number(value) {
            let before = before.trim_ascii_end();
            let named = before.strip_suffix(b":").and_then(|b| b.trim_ascii_end().strip_suffix(b"\""));
            let document = line.first().is_some_and(|b| b"{[".contains(b));
            let listed = document && before.ends_with(b"[") && !quotes::inside(before);
            let ends = line[self.end..].trim_ascii_start().first().is_none_or(|b| b",]}".contains(b));
            self.quote = match named {
                _ if !ends => String::new(),
                Some(name) => "\\".repeat(quotes::run(name)) + "\"",
                None if listed => "\"".into(),
                None => String::new(),
            };
        } else if quotes::run(before) % 2 == 1 {
            // `\n` and a value: the mask must not become the letter of the escape.
            self.start -= 1;
        }
    }
}

/// Was this masked or cut before?
pub(super) fn begins_with_mark(text: &[u8]) -> bool {
    static MARK: LazyLock<Regex> = LazyLock::new(|| {
        super::regex(r"\A(?:\*\*\*(?:[A-Za-z0-9_. -]{1,80}\*\*\*)?(?:\z|[^*A-Za-z0-9])|\[row values cut\])")
    });
    text.first().is_some_and(|b| b"*[".contains(b)) && MARK.is_match(text)
}

const POSITION: u8 = 0;
const SHAPE: u8 = 1;
const KNOWN: u8 = 2;
const ROWS: u8 = 3;

/// The secrets of a line, sorted and disjoint; and whether a private key begins that
/// does not end in it. `whole`: the text begins where the line begins.
pub(super) fn secrets(line: &[u8], whole: bool, rules: &Rules, matcher: &Matcher) -> (Vec<Span>, bool) {
    let mut spans = Vec::new();
    let mut add = |start, end, rank, label: &str| {
        spans.push(Span { start, end, rank, label: label.to_string(), quote: String::new() })
    };
    for (start, end, keys) in matcher.find(line) {
        add(start, end, KNOWN, keys.first().map_or("", String::as_str));
    }
    let (mut key_open, mut from) = (false, 0);
    while let Some((start, end)) = shapes::private_key(&line[from..]) {
        add(from + start, end.map_or(line.len(), |e| from + e), SHAPE, "private key");
        key_open = end.is_none();
        from = end.map_or(line.len(), |e| from + e);
    }
    for (start, end, kind) in shapes::tokens(line) {
        add(start, end, SHAPE, kind);
    }
    for pattern in &rules.patterns {
        pattern
            .find_iter(line)
            .filter(|m| !m.is_empty())
            .for_each(|m| add(m.start(), m.end(), SHAPE, "pattern"));
    }
    let bare = urls::secrets(line).into_iter().chain(shapes::headers(line)).chain(shapes::options(line));
    for (start, end) in bare.chain(positions::values(line, rules, whole)) {
        add(start, end, POSITION, "");
    }
    if !spans.is_empty() && whole {
        let skip = prefix::length(line);
        if let Some(texts) = json::texts(&line[skip..]) {
            let texts: Vec<_> = texts.iter().map(|t| (skip + t.0, skip + t.1)).collect();
            spans = json::fit(line, spans, &texts);
            key_open = false;
        }
    }
    spans.iter_mut().for_each(|s| s.fit(line));
    let spans = disjoint(spans);
    (spans, key_open)
}

/// Adds the cuts of row values.
pub(super) fn with_rows(mut spans: Vec<Span>, rows: &[(usize, usize)]) -> Vec<Span> {
    if rows.is_empty() {
        return spans;
    }
    let cut = |r: &(usize, usize)| Span {
        start: r.0,
        end: r.1,
        rank: ROWS,
        label: String::new(),
        quote: String::new(),
    };
    spans.extend(rows.iter().map(cut));
    disjoint(spans)
}

fn disjoint(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by_key(|s| s.start);
    let mut out: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match out.last_mut() {
            Some(last) if span.start < last.end => {
                last.end = last.end.max(span.end);
                if last.quote.is_empty() {
                    last.quote = span.quote;
                }
                if span.rank > last.rank {
                    (last.rank, last.label) = (span.rank, span.label);
                }
            }
            _ => out.push(span),
        }
    }
    out
}

/// Writes the line up to `end` with its masks. A span that begins before `end` is written whole.
pub(super) fn write(line: &[u8], spans: &[Span], end: usize, out: &mut Vec<u8>) -> usize {
    let mut at = 0;
    for span in spans.iter().take_while(|s| s.start < end || s.start == line.len()) {
        out.extend_from_slice(&line[at..span.start]);
        out.extend_from_slice(span.mask().as_bytes());
        at = span.end;
    }
    let end = end.max(at);
    out.extend_from_slice(&line[at..end]);
    end
}
