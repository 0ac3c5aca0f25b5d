//! Values by their position: `KEY=value`, `"key": "value"`, `key: value`,
//! `--key value`, and what SQL calls a password.

use super::hit::{Hit, MASK, QUOTED_MASK, builtin, closing, inside_quotes};
use super::keys;
use regex::Regex;
use std::sync::LazyLock;

/// Pieces of names worth a look; `keys` judges the whole name.
pub(super) const CORES: &str =
    "pass(?:word|wd|phrase|wort)?|pwd|secret|token|key|credential|creds|dsn|auth|salt|pepper|jwt";

/// A name, perhaps a closing quote, and what makes the next thing its value.
fn pattern(cores: &str) -> String {
    let name = format!(r"(?P<key>[a-z0-9_.\-]*(?:{cores})[a-z0-9_.\-]*)");
    format!(r#"(?i-u){name}(?P<quote>\\*["'`]\]?)?[ \t]*(?P<by>:=|=>|=|:)[ \t]*"#)
}

pub(super) struct Positions {
    pub key: Regex,
    extra: Vec<String>,
}

/// `--requirepass abc`, `"--password","abc"`, `requirepass abc`.
static OPTION: LazyLock<Regex> = LazyLock::new(|| {
    builtin(&format!(
        r#"(?i-u)(?:--?(?P<key>[a-z0-9_\-]*(?:{CORES})[a-z0-9_\-]*)|\b(?P<conf>requirepass|masterauth))(?:\\*["'][ \t]*,[ \t]*|[ \t]+)"#
    ))
});

/// `PASSWORD 'abc'` of SQL, `redis-cli -a abc`, `sshpass -p abc`, `curl -u user:abc`.
static SPOKEN: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let patterns = [
        r"(?i-u:\b(?:password|identified by)[ \t]+e?)'((?:[^'\r\n]|'')+)'",
        r#"(?i-u:\bredis-cli\b)[^|;&]*?[ \t"]-a(?:"[ \t]*,[ \t]*"|[ \t]+["']?)([^\s"'\\]+)"#,
        r#"(?i-u:\bsshpass[ \t]+-p[ \t]*)["']?([^\s"'\\]+)"#,
        r#"(?i-u:\bcurl\b)[^|;]*?[ \t](?:-u|--user)[ \t]+["']?[^\s"':]+:([^\s"'\\]+)"#,
        r"(?i-u:\blogin[ \t]+)[^\s]+(?i-u:[ \t]+password[ \t]+)([^\s]+)",
        // The default in a reference: `${PASSWORD:-abc}`.
        r"\$\{(?i-u:[a-z0-9_]*(?:pass(?:word|wd)?|secret|token|api_?key|auth)[a-z0-9_]*):?[-=]([^$}][^}]*)\}",
    ];
    patterns.map(builtin).into()
});

/// Where a value stands: the value, and what is behind it.
#[derive(Debug, PartialEq)]
pub(super) struct Place {
    pub start: usize,
    pub end: usize,
    pub quoted: bool,
}

impl Positions {
    pub(super) fn new(extra: &[String]) -> Positions {
        let mut cores = CORES.to_string();
        for key in extra {
            cores = format!("{cores}|{}", regex::escape(key));
        }
        let key = Regex::new(&pattern(&cores)).unwrap_or_else(|_| builtin(&pattern(CORES)));
        Positions { key, extra: extra.iter().map(|k| k.to_ascii_lowercase()).collect() }
    }

    /// No names but the built-in ones?
    pub(super) fn plain(&self) -> bool {
        self.extra.is_empty()
    }

    /// `weak` are values too short or common to be masked elsewhere; they may hold blanks.
    pub(super) fn find(&self, line: &str, weak: &[String], hits: &mut Vec<Hit>) {
        for found in self.key.captures_iter(line) {
            let (Some(whole), Some(key)) = (found.get(0), found.name("key")) else { continue };
            let by = found.name("by").map_or("", |m| m.as_str());
            let quoted = found.name("quote").is_some();
            let bare = by == ":" && !quoted;
            if !keys::sensitive(keys::last_segment(key.as_str()), &self.extra)
                || bare && !speaks(line, key.as_str(), key.start(), whole.end())
            {
                continue;
            }
            let Some(mut place) = value(line, key.start(), whole.end(), bare) else { continue };
            if !place.quoted
                && let Some(known) = weak.iter().find(|w| line[place.start..].starts_with(w.as_str()))
            {
                place.end = place.end.max(place.start + known.len());
            }
            let text = &line[place.start..place.end];
            if keys::harmless(text) || is_path(key.as_str(), text) {
                continue;
            }
            let number = quoted && !place.quoted && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
            let mask = if number { QUOTED_MASK } else { MASK };
            url_or_all(key.start(), text, place.start, mask, hits);
        }
        for found in OPTION.captures_iter(line) {
            let Some(whole) = found.get(0) else { continue };
            let key = found.name("key").map_or("requirepass", |k| k.as_str());
            if key.starts_with("no-") || !keys::sensitive(key, &self.extra) {
                continue;
            }
            let Some(place) = value(line, whole.start(), whole.end(), false) else { continue };
            let text = &line[place.start..place.end];
            if !text.starts_with('-') && !keys::harmless(text) {
                hits.push(Hit::new(whole.start(), place.start, place.end, MASK));
            }
        }
        for regex in SPOKEN.iter() {
            for found in regex.captures_iter(line) {
                if let Some(value) = found.get(1).filter(|v| !keys::harmless(v.as_str())) {
                    let from = found.get(0).map_or(value.start(), |m| m.start());
                    hits.push(Hit::new(from, value.start(), value.end(), MASK));
                }
            }
        }
    }
}

/// A URL keeps its readable parts, if it is one with a password.
fn url_or_all(from: usize, text: &str, at: usize, mask: &'static str, hits: &mut Vec<Hit>) {
    if super::shapes::URL.is_match(text) {
        return; // shapes::find masks the password in it
    }
    hits.push(Hit::new(from, at, at + text.len(), mask));
}

/// `PWD=/work`: the shell's directory and its like.
fn is_path(key: &str, text: &str) -> bool {
    key.to_ascii_lowercase().ends_with("pwd") && (text.starts_with('/') || text.get(1..3) == Some(":\\"))
}

/// Is `key: value` without any quotes a setting, and not prose or the tag of an image?
fn speaks(line: &str, key: &str, start: usize, value: usize) -> bool {
    let spaced = line[..value].ends_with([' ', '\t']);
    let before = &line[..start];
    let first = before.trim_start_matches([' ', '\t', '-']).is_empty();
    let strong = keys::says_secret(key);
    if line[value..].starts_with(':') {
        return false;
    }
    let quoted_value = line[value..].starts_with(['"', '\'', '\\']);
    match spaced || value == line.len() {
        true => first || strong || quoted_value,
        false => (strong && !before.ends_with('/')) || key.to_ascii_lowercase().starts_with("x-"),
    }
}

/// The value that begins at `at`, for a name that begins at `key`.
fn value(line: &str, key: usize, at: usize, bare_colon: bool) -> Option<Place> {
    let rest = &line[at..];
    let level = rest.len() - rest.trim_start_matches('\\').len();
    match rest[level..].chars().next()? {
        quote @ ('"' | '\'' | '`') => {
            // Inside a text its own closing quote opens nothing: `"PGPASSWORD=","next"`.
            if quote == '"' && level == 0 && inside_quotes(line, at) {
                return None;
            }
            let start = at + level + 1;
            let end = closing(line, start, quote, level).unwrap_or(line.len());
            Some(Place { start, end, quoted: true })
        }
        '[' | '{' | '(' => None,
        _ => {
            let end = at + bare(line, key, rest, bare_colon);
            (end > at).then_some(Place { start: at, end, quoted: false })
        }
    }
}

/// How far a value without quotes goes.
fn bare(line: &str, key: usize, rest: &str, colon: bool) -> usize {
    let before = &line[..key];
    let first = before.trim_start_matches([' ', '\t', '-']).trim_start_matches("export ").is_empty();
    // The whole text of a JSON string: `"KEY=two words"`.
    if before.ends_with('"')
        && !colon
        && let Some(end) = closing(rest, 0, '"', before.len() - 1 - before[..before.len() - 1].trim_end_matches('\\').len())
    {
        return end;
    }
    // A line of YAML: all of it, but for a comment.
    if colon && first {
        let end = rest.find(" #").unwrap_or(rest.len());
        return rest[..end].trim_end().len();
    }
    let stop = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>') || (c == '&' && !first);
    let mut end = rest.find(stop).unwrap_or(rest.len());
    // `\n` and `\"` of a text within a text.
    if let Some(escape) = ["\\n", "\\r", "\\t", "\\\""].iter().filter_map(|e| rest[..end].find(e)).min() {
        end = escape;
    }
    let text = rest[..end].trim_end_matches('\\');
    if first { text.len() } else { text.trim_end_matches([',', ';', ')', ']', '}']).len() }
}
