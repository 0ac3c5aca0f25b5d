//! P5: secrets in source files. A finding names the line and the kind, never
//! the value.

use regex::Regex;
use std::sync::LazyLock;

/// A secret in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretFinding {
    /// 1, 2, 3, ...
    pub line: usize,
    pub kind: &'static str,
    /// A key, a token, a password literal; a soft one is only looked at.
    pub hard: bool,
}

struct Rules {
    exact: Vec<(Regex, &'static str)>,
    url: Regex,
    assigned: Regex,
}

static RULES: LazyLock<Option<Rules>> = LazyLock::new(|| build().ok());

fn build() -> Result<Rules, regex::Error> {
    let exact = [
        (r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----", "private key"),
        (r"\bAKIA[0-9A-Z]{16}\b", "cloud access key"),
        (r"\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_[A-Za-z0-9_]{30,}", "GitHub token"),
        (r"\bglpat-[A-Za-z0-9_\-]{20,}", "GitLab token"),
        (r"\bxox[abprs]-[A-Za-z0-9\-]{20,}", "Slack token"),
        (r"\bAIza[0-9A-Za-z_\-]{35}\b", "cloud API key"),
        (r"\bsk-[A-Za-z0-9_\-]{32,}", "API key"),
        (r"\beyJ[A-Za-z0-9_\-]{10,}\.eyJ[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-]{10,}", "JSON web token"),
    ];
    let exact: Result<Vec<_>, regex::Error> =
        exact.into_iter().map(|(p, kind)| Ok((Regex::new(p)?, kind))).collect();
    Ok(Rules {
        exact: exact?,
        url: Regex::new(r#"[A-Za-z][A-Za-z0-9+.\-]*://[^\s:/@'"]*:([^\s@/'"]+)@[A-Za-z0-9\[]"#)?,
        assigned: Regex::new(
            r#"(?i)\b[A-Za-z0-9_.\-]*(?:password|passwd|passphrase|secret|token|api[_\-]?key|access[_\-]?key|architect[_\-]?key|private[_\-]?key)[A-Za-z0-9_]*["']?\s*(?:=|:|:=|=>)\s*(?:"([^"\s]+)"|'([^'\s]+)'|([^\s"'`,;(){}\[\]<>$#]+)\s*(?:#.*)?$)"#,
        )?,
    })
}

/// Finds secrets in a text.
pub fn scan_text(text: &str) -> Vec<SecretFinding> {
    let Some(rules) = RULES.as_ref() else {
        return vec![SecretFinding { line: 0, kind: "file that could not be scanned", hard: true }];
    };
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        // Minified bundles and data: not written by hand.
        if line.len() > 4000 {
            continue;
        }
        let mut add = |kind, hard| found.push(SecretFinding { line: number + 1, kind, hard });
        if let Some((_, kind)) = rules.exact.iter().find(|(rule, _)| rule.is_match(line)) {
            add(*kind, true);
        } else if let Some(value) = rules.url.captures(line).and_then(|c| c.get(1)) {
            match weight(value.as_str()) {
                Weight::None => {}
                weight => add("URL with a password", weight == Weight::Hard),
            }
        } else if let Some(c) = rules.assigned.captures(line) {
            let quoted = c.get(1).or_else(|| c.get(2));
            let value = quoted.or_else(|| c.get(3)).map(|m| m.as_str()).unwrap_or_default();
            match weight(value) {
                Weight::None => {}
                // A bare word in code is a name; in env style it is a value.
                _ if quoted.is_none() && looks_like_code(value) => {}
                weight => add("password or token literal", weight == Weight::Hard),
            }
        }
    }
    found
}

#[derive(PartialEq, Eq)]
enum Weight {
    None,
    Soft,
    Hard,
}

const PLACEHOLDERS: &[&str] = &[
    "changeme",
    "change_me",
    "change-me",
    "example",
    "placeholder",
    "dummy",
    "redacted",
    "your",
    "todo",
    "none",
    "null",
    "generate",
    "sample",
    "fixme",
];

fn weight(value: &str) -> Weight {
    let lower = value.to_lowercase();
    let first = value.chars().next();
    let reference = value.len() < 3
        || value.contains(['$', '{', '}', '<', '>', '%', '*', '(', ')'])
        || value.starts_with("__")
        || value.chars().all(|c| Some(c) == first)
        || lower.starts_with("xxx")
        || lower.starts_with("os.")
        || lower.contains("env")
        || PLACEHOLDERS.iter().any(|p| lower.contains(p));
    // Names of files, variables and keys.
    let name = value.starts_with(['/', '.']) || value.ends_with(['.', ':', ',']) || value.contains("://");
    if reference || name {
        return Weight::None;
    }
    let classes = [
        value.chars().any(|c| c.is_ascii_lowercase()),
        value.chars().any(|c| c.is_ascii_uppercase()),
        value.chars().any(|c| c.is_ascii_digit()),
        value.chars().any(|c| !c.is_alphanumeric() && c != '_' && c != '-' && c != '.'),
    ];
    let kinds = classes.iter().filter(|c| **c).count();
    let digest = value.len() >= 32 && value.chars().all(|c| c.is_ascii_hexdigit());
    if digest {
        return Weight::Soft;
    }
    if value.len() >= 8 && kinds >= 2 && classes[2]
        || value.len() >= 8 && classes[3] && kinds >= 2
        || value.len() >= 20 && kinds >= 2
    {
        Weight::Hard
    } else {
        Weight::Soft
    }
}

/// `settings.password`, `password_value`, `None`: a name, not a value.
fn looks_like_code(value: &str) -> bool {
    let identifier = value
        .chars()
        .all(|c| c.is_alphanumeric() || c == '_' || c == '.' || c == ':' || c == '&' || c == '?' || c == '!');
    let random = value.len() >= 12 && value.chars().filter(char::is_ascii_digit).count() >= 2;
    identifier && !random
}
