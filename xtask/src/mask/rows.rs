//! Row values that PostgreSQL prints: DETAIL, CONTEXT, QUERY, STATEMENT, LINE
//! and COPY lines, and the quoted parts of errors of SQLSTATE class 22 and 23.

use regex::Regex;
use std::borrow::Cow;
use std::sync::LazyLock;

pub(super) const CUT: &str = "[row values cut]";

struct Rows {
    interesting: Regex,
    label: Regex,
    wide: Regex,
    line: Regex,
    copy: Regex,
    error: Regex,
    quoted: Regex,
    caret: Regex,
    continued: Regex,
}

/// What stands before a label: docker's time, the server log's prefix, psql's file and line.
const PREFIX: &str = r"^(?:\S+T\S+Z )?(?:\d{4}-\d\d-\d\d \S+ \S+ \[\d+\](?: \S+)? )?(?:psql:[^ ]*:\d+: )?(?:pg_[a-z]+: (?:error: |detail: )?)?\s*";

static ROWS: LazyLock<Option<Rows>> = LazyLock::new(|| build().ok());

fn build() -> Result<Rows, regex::Error> {
    Ok(Rows {
        interesting: Regex::new(
            r"DETAIL|CONTEXT|STATEMENT|QUERY|LINE \d|COPY |ERROR|FATAL|error|Error|Violation|psycopg|detail:",
        )?,
        label: Regex::new(&format!(r"({PREFIX}(?:DETAIL|CONTEXT|STATEMENT|QUERY|detail):\s+).*"))?,
        // PostgreSQL puts two spaces behind its labels, wherever the line was joined to another.
        wide: Regex::new(r"\b((?:DETAIL|CONTEXT|STATEMENT|QUERY):  ).*")?,
        line: Regex::new(&format!(r"({PREFIX}LINE \d+: ).*"))?,
        copy: Regex::new(r"\b(COPY \S+, line \d+).*")?,
        error: Regex::new(
            r"(?:ERROR|FATAL|error)s?:?.*\b2[23][0-9A-Z]{3}\b|invalid input syntax|duplicate key value|violates (?:foreign key|check|not-null|unique|exclusion)|value too long|out of range|invalid input value|invalid byte sequence|malformed (?:array|range|record) literal|date/time field|conflicting key value|is not a valid|cannot cast|Token .* is invalid|invalid (?:value|hexadecimal|regular|escape)",
        )?,
        quoted: Regex::new(r#""[^"]*""#)?,
        caret: Regex::new(r"^(?:\S+T\S+Z )?\s*\^\s*$")?,
        continued: Regex::new(r"^(?:\S+T\S+Z )?\t")?,
    })
}

/// What the line before was, for the one that follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Before {
    #[default]
    Ordinary,
    /// A cut line: its continuation goes too.
    Cut,
    /// `LINE n:`: the caret under it goes too.
    Line,
}

/// One line with its row values cut; none when the whole line goes.
pub(super) fn cut<'a>(line: &'a str, before: &mut Before) -> Option<Cow<'a, str>> {
    let Some(rows) = ROWS.as_ref() else { return Some(Cow::Owned(format!("{CUT}\n"))) };
    let bare = line.trim_end_matches(['\n', '\r']);
    match *before {
        Before::Cut if rows.continued.is_match(bare) => return None,
        Before::Line if rows.caret.is_match(bare) => {
            *before = Before::Ordinary;
            return None;
        }
        _ => *before = Before::Ordinary,
    }
    if !rows.interesting.is_match(bare) {
        return Some(Cow::Borrowed(line));
    }
    let end = &line[bare.len()..];
    let replaced = |pattern: &Regex| {
        pattern.captures(bare).map(|c| {
            let at = c.get(0).map_or(0, |m| m.start());
            format!("{}{}{CUT}{end}", &bare[..at], &c[1])
        })
    };
    if let Some(text) = replaced(&rows.line) {
        *before = Before::Line;
        return Some(Cow::Owned(text));
    }
    if let Some(text) = replaced(&rows.label) {
        *before = Before::Cut;
        return Some(Cow::Owned(text));
    }
    let mut text = Cow::Borrowed(bare);
    if let Some(c) = rows.copy.captures(&text) {
        *before = Before::Cut;
        let at = c.get(0).map_or(0, |m| m.start());
        let new = format!("{}{} {CUT}", &text[..at], &c[1]);
        text = Cow::Owned(new);
    }
    if let Some(c) = rows.wide.captures(&text) {
        *before = Before::Cut;
        let at = c.get(0).map_or(0, |m| m.start());
        let new = format!("{}{}{CUT}", &text[..at], &c[1]);
        text = Cow::Owned(new);
    }
    if rows.error.is_match(&text) {
        let new = rows.quoted.replace_all(&text, "\"[cut]\"").into_owned();
        text = Cow::Owned(new);
    }
    match text {
        Cow::Borrowed(_) => Some(Cow::Borrowed(line)),
        Cow::Owned(text) => Some(Cow::Owned(text + end)),
    }
}
