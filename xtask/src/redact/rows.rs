//! What PostgreSQL and its tools print of rows: cut, and the cut is marked.

use super::hit::{CUT, Hit, builtin, closing, inside_quotes};
use regex::Regex;
use std::sync::LazyLock;

/// What could concern this file, for the pattern that looks at whole texts.
pub(super) const INTEREST: &str = r"DETAIL:|CONTEXT:|STATEMENT:|QUERY:|LINE [0-9]+:|COPY [^ \r\n]+, line |Command was:|Query was:|\[SQL: |\[parameters: |ERROR:|FATAL:|PANIC:|WARNING:|errors?\.[A-Z]|2[23][0-9A-Z]{3}:";

pub(super) const MARK: &str = " [row values cut]";

/// What stands before PostgreSQL's own words: docker's and compose's prefixes, the server's
/// `log_line_prefix`, psql's and pg_restore's names, our own log's.
const PREFIX: &str = r"^(?:\[[0-9]+\] (?:out|err) )?(?:[a-zA-Z0-9_.-]+[ \t]+\| )?(?:[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(?:Z|[+-][0-9:]+) )?(?:[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:.,]+ [A-Za-z0-9+:-]+ (?:\[[^\]]*\][: ]*)?(?:[a-z0-9_\[\]-]+@[a-z0-9_\[\]-]+ )?)?(?:(?:psql|pg_restore|pg_dump|pg_dumpall)[^ ]*: (?:error: |warning: |detail: |hint: )?)?";

static PREFIXED: LazyLock<Regex> = LazyLock::new(|| builtin(PREFIX));

/// A line that is row values from its label on.
static LABEL: LazyLock<Regex> = LazyLock::new(|| {
    builtin(r"^[ \t]*(DETAIL:|CONTEXT:|STATEMENT:|QUERY:|LINE [0-9]+:|COPY [^ ,]+, line [0-9]+[,:]|(?:error: )?[Cc]ommand was:|[Qq]uery was:|\[SQL:|\[parameters:)")
});

/// The same after anything: PostgreSQL puts two blanks behind its labels.
static INNER: LazyLock<Regex> =
    LazyLock::new(|| builtin(r"(?-u)(?:^|[\s\]|:])((?:DETAIL|CONTEXT|STATEMENT|QUERY):  )"));

/// The same in a text within a text, where a new line is written `\n`.
static WRITTEN: LazyLock<Regex> = LazyLock::new(|| {
    builtin(r"(?-u)\\n((?:DETAIL|CONTEXT|STATEMENT|QUERY): |LINE [0-9]+: |\[SQL: |\[parameters: )")
});

static ERROR: LazyLock<Regex> =
    LazyLock::new(|| builtin(r"(?-u)(?:ERROR|FATAL|PANIC|WARNING):|\berrors?\.[A-Z][A-Za-z]+[:)]"));

/// An SQLSTATE, as verbose errors show it, of the classes whose messages quote values.
static STATE: LazyLock<Regex> =
    LazyLock::new(|| builtin(r"(?-u)(?:ERROR|FATAL|PANIC|WARNING): +(?:(2[23][0-9A-Z]{3})|[0-9A-Z]{5}):"));

/// What errors of these classes say where no SQLSTATE is shown.
static PHRASE: LazyLock<Regex> = LazyLock::new(|| {
    builtin(
        r"(?-u)invalid input (?:syntax for|value for enum)|duplicate key value violates|conflicting key value violates|violates (?:foreign key|check|not-null|unique|exclusion) constraint|is violated by some row|contains null values|could not create unique index|no partition of relation|value too long for type|out of range|date/time field value|division by zero|invalid byte sequence|has no equivalent in encoding|malformed (?:array|record|range|multirange) literal|invalid (?:regular expression|escape|hexadecimal|base64|value) |extra data after last expected column|missing data for column|bit string length|numeric field overflow|unsupported Unicode escape|not recognized",
    )
});

/// What the lines before say of the next one.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) enum Rows {
    #[default]
    None,
    /// Lines that begin with a tab go on with what was cut.
    Tabs,
    /// As `Tabs`, and a line with nothing but a caret points into the line before.
    Caret,
}

impl Rows {
    /// Is this line the rest of what was cut before? Then it goes, too.
    pub(super) fn goes_on(&mut self, line: &str) -> bool {
        let rest = &line[prefix(line)..];
        let tabs = *self != Rows::None && rest.starts_with('\t');
        let caret = *self == Rows::Caret && rest.trim() == "^";
        if !tabs {
            *self = Rows::None;
        }
        tabs || caret
    }

    /// Adds what is to be cut of this line.
    pub(super) fn cut(&mut self, line: &str, hits: &mut Vec<Hit>) {
        let skip = prefix(line);
        let label = LABEL.captures(&line[skip..]).and_then(|c| c.get(1)).map(|m| (skip + m.start(), skip + m.end()));
        let label = label.or_else(|| {
            INNER.captures(line).and_then(|c| c.get(1)).map(|m| (m.start(), m.start() + m.as_str().trim_end().len()))
        });
        if let Some((start, end)) = label {
            *self = if line[start..].starts_with("LINE ") { Rows::Caret } else { Rows::Tabs };
            if end < line.len() {
                hits.push(Hit { to: line.len(), ..Hit::new(start, end, line.len(), "  [row values cut]") });
            }
            return;
        }
        for found in WRITTEN.captures_iter(line) {
            let Some(label) = found.get(1) else { continue };
            let rest = &line[label.end()..];
            let end = rest.find("\\n").or_else(|| rest.find('"')).unwrap_or(rest.len());
            hits.push(Hit::new(label.start(), label.end(), label.end() + end, MARK));
        }
        errors(line, hits);
    }
}

/// How much of a line stands before PostgreSQL's own words.
fn prefix(line: &str) -> usize {
    PREFIXED.find(line).map_or(0, |m| m.end())
}

/// The quoted parts of errors that quote values.
fn errors(line: &str, hits: &mut Vec<Hit>) {
    let state = STATE.captures(line);
    let mut from = match (&state, PHRASE.find(line)) {
        (Some(state), _) if state.get(1).is_none() => return,
        (Some(state), _) => state.get(0).map_or(0, |m| m.end()),
        (None, None) => return,
        (None, Some(phrase)) => {
            ERROR.find(line).filter(|m| m.start() < phrase.start()).map_or(phrase.start(), |m| m.end())
        }
    };
    while let Some(at) = line[from..].find('"').map(|i| from + i) {
        let level = super::hit::run_of_backslashes(line, at);
        if level == 0 && inside_quotes(line, at) {
            return; // the end of the text that the error stands in
        }
        let end = closing(line, at + 1, '"', level).unwrap_or(line.len());
        hits.push(Hit::new(at, at + 1, end, CUT));
        from = (end + level + 1).min(line.len());
    }
}
