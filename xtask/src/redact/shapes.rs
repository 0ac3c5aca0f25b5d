//! What is a secret by its shape, whatever is known: credentials in URLs,
//! authorization headers, tokens of well-known services, password hashes.

use super::hit::{Hit, MASK, builtin};
use super::keys;
use regex::Regex;
use std::sync::LazyLock;

pub(super) struct Shape {
    pub kind: &'static str,
    /// Its first group is masked.
    pub regex: Regex,
}

/// Well-known tokens: their own prefix tells them from any other text.
pub(super) static TOKENS: LazyLock<Vec<Shape>> = LazyLock::new(|| {
    let shapes = [
        ("jwt", r"(?-u)(eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]*)"),
        ("aws key", r"(?-u)\b((?:AKIA|ASIA)[A-Z2-7]{16})\b"),
        ("github token", r"(?-u)\b(gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{22,})"),
        ("gitlab token", r"(?-u)\b(gl(?:pat|dt|rt|ptt|cbt)-[A-Za-z0-9_-]{20,})"),
        ("slack token", r"(?-u)\b(xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,})"),
        ("slack webhook", r"(?-u)hooks\.slack\.com/services/([A-Za-z0-9/]{20,})"),
        ("api key", r"(?-u)\b(sk-[A-Za-z0-9_-]{20,})"),
        ("api key", r"(?-u)\b([rs]k_(?:live|test)_[A-Za-z0-9]{16,})"),
        ("google key", r"(?-u)\b(AIza[A-Za-z0-9_-]{35})"),
        ("google token", r"(?-u)\b(ya29\.[A-Za-z0-9_-]{20,})"),
        ("npm token", r"(?-u)\b(npm_[A-Za-z0-9]{36})"),
        ("pypi token", r"(?-u)\b(pypi-[A-Za-z0-9_-]{40,})"),
        ("docker token", r"(?-u)\b(dckr_pat_[A-Za-z0-9_-]{20,})"),
        ("hugging face token", r"(?-u)\b(hf_[A-Za-z0-9]{30,})"),
        ("telegram token", r"(?-u)\b([0-9]{8,10}:AA[A-Za-z0-9_-]{33})"),
        ("sendgrid key", r"(?-u)\b(SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,})"),
        ("scram hash", r"(?-u)(SCRAM-SHA-256\$[0-9]+:[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+:[A-Za-z0-9+/=]+)"),
        ("password hash", r"(?-u)(\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}|\$argon2id?\$v=[A-Za-z0-9$+/=,]{20,})"),
        ("age key", r"(?-u)\b(AGE-SECRET-KEY-1[A-Z0-9]{20,})"),
    ];
    shapes.map(|(kind, pattern)| Shape { kind, regex: builtin(pattern) }).into()
});

/// `scheme://user:PASS@host`. Greedy up to the last `@` of the word: a password may hold one.
pub(super) static URL: LazyLock<Regex> = LazyLock::new(|| {
    builtin(r#"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*)://(?P<user>[^\s:/@"'<>\\]*):(?P<pass>[^\s"'<>\\/][^\s"'<>\\/]*)@"#)
});

/// The same with a slash or a quote in the password; only up to the next `@`.
static WILD_URL: LazyLock<Regex> = LazyLock::new(|| {
    builtin(r#"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*)://(?P<user>[^\s:/@"'<>\\]*):(?P<pass>[^\s"<>\\@]+)@[A-Za-z0-9\[*$]"#)
});

static HEADERS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let patterns = [
        r#"(?i-u:authorization)\\*["']?[ \t]*[:=,][ \t]*\\*["']?(?-u:(?:[A-Za-z][A-Za-z0-9-]{2,15}[ \t]+)?)([^\s"'\\,;]{2,}[^\s"'\\]*)"#,
        r#"(?i-u:\bbearer)[ \t]+([A-Za-z0-9._~+/=-]{12,})"#,
        r#"(?i-u:\bbasic)[ \t]+([A-Za-z0-9+/]{12,}={0,2})(?:$|[\s"'\\,])"#,
        r#"(?:^|[\s"'>])(?i-u:(?:set-)?cookie)\\*["']?\s*:\s*\\*["']?([^"'\\\r\n]{4,})"#,
    ];
    patterns.map(builtin).into()
});

pub(super) fn find(line: &str, hits: &mut Vec<Hit>) {
    if line.contains("://") {
        for url in [&*URL, &*WILD_URL] {
            for found in url.captures_iter(line) {
                if let Some(pass) = found.name("pass").filter(|p| !keys::reference(p.as_str())) {
                    let from = found.get(0).map_or(pass.start(), |m| m.start());
                    hits.push(Hit { to: pass.end() + 1, ..Hit::new(from, pass.start(), pass.end(), MASK) });
                }
            }
        }
    }
    let regexes = HEADERS.iter().chain(TOKENS.iter().map(|t| &t.regex));
    for regex in regexes {
        for found in regex.captures_iter(line) {
            if let Some(value) = found.get(1).filter(|v| !keys::harmless(v.as_str())) {
                let from = found.get(0).map_or(value.start(), |m| m.start());
                hits.push(Hit::new(from, value.start(), value.end(), MASK));
            }
        }
    }
}
