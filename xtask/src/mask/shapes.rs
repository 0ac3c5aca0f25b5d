//! What is a secret by its shape, whatever is known: credentials in URLs,
//! bearer tokens, JWTs, well-known tokens, values of sensitive keys.

use super::keys::Keys;
use super::values::is_reference;
use regex::{Captures, Regex};
use std::borrow::Cow;
use std::sync::LazyLock;

const MASK: &str = "***";

struct Shapes {
    interesting: Regex,
    pem: Regex,
    url: Regex,
    bearer: Regex,
    tokens: Regex,
    json: Regex,
    escaped: Regex,
    equals: Regex,
    colon: Regex,
    option: Regex,
}

/// A name that may be a sensitive key's; whether it is, [`Keys`] decides.
const KEY: &str = r"[A-Za-z0-9_.\-]*(?i:pass|pwd|secret|token|key|credential|dsn|auth)[A-Za-z0-9_\-]*";

// A pattern of ours that does not compile is found by the first test that masks anything.
static SHAPES: LazyLock<Option<Shapes>> = LazyLock::new(|| build().ok());

fn build() -> Result<Shapes, regex::Error> {
    Ok(Shapes {
        interesting: Regex::new(
            r"(?i)://|bearer|basic |eyJ|AKIA|gh[pousr]_|glpat-|xox[abprs]-|sk-|AIza|pass|pwd|secret|token|key|credential|dsn|auth",
        )?,
        pem: Regex::new(r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?-----END [A-Z0-9 ]*PRIVATE KEY-----")?,
        url: Regex::new(r#"([A-Za-z][A-Za-z0-9+.\-]*://[^\s:/@'"\\]*):([^\s@/?#'"\\]+)@"#)?,
        bearer: Regex::new(r"(?i)\b(bearer|basic)\s+([A-Za-z0-9._~+/=\-]{6,})")?,
        tokens: Regex::new(
            r"eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]*|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}|\bglpat-[A-Za-z0-9_\-]{16,}|\bxox[abprs]-[A-Za-z0-9\-]{10,}|\bsk-[A-Za-z0-9_\-]{20,}|\bAIza[0-9A-Za-z_\-]{30,}",
        )?,
        json: Regex::new(&format!(r#""({KEY})"(\s*:\s*)"((?:[^"\\]|\\.)*)""#))?,
        escaped: Regex::new(&format!(r#"\\"({KEY})\\"(\s*:\s*)\\"([^"\\]*)\\""#))?,
        equals: Regex::new(&format!(r#"\b({KEY})(=)("[^"]*"|'[^']*'|[^\s"',;&)\]\}}\\]+)"#))?,
        colon: Regex::new(&format!(r#"\b({KEY})(:\s+)("[^"]*"|'[^']*'|[^\s"',;\[\{{\\]+)"#))?,
        option: Regex::new(
            r#"(?i)(--?(?:requirepass|masterauth|password|passwd|token|secret)(?:=|\s+|"\s*,\s*"|'\s*,\s*'))([^\s"',\]]+)"#,
        )?,
    })
}

/// One line, masked by shape.
pub(super) fn mask<'a>(line: &'a str, keys: &Keys) -> Cow<'a, str> {
    let Some(shapes) = SHAPES.as_ref() else { return Cow::Owned("[not shown: masking is broken]\n".into()) };
    let mut text = Cow::Borrowed(line);
    for pattern in &keys.patterns {
        text = owned(text, |t| pattern.replace_all(t, MASK));
    }
    if !shapes.interesting.is_match(&text) {
        return text;
    }
    text = owned(text, |t| shapes.pem.replace_all(t, "***private key***"));
    text = owned(text, |t| {
        shapes.url.replace_all(t, |c: &Captures<'_>| {
            if is_reference(&c[2]) { c[0].to_string() } else { format!("{}:{MASK}@", &c[1]) }
        })
    });
    text = owned(text, |t| {
        shapes.bearer.replace_all(t, |c: &Captures<'_>| {
            // `basic setup` is prose; a credential has a digit, a capital or a sign in it.
            let plain = c[2].chars().all(|ch| ch.is_ascii_lowercase() || ch == '.' || ch == '-');
            if plain { c[0].to_string() } else { format!("{} {MASK}", &c[1]) }
        })
    });
    text = owned(text, |t| shapes.tokens.replace_all(t, MASK));
    let value = |c: &Captures<'_>, quote: &str| {
        if !keys.is_sensitive(&c[1]) || is_reference(&c[3]) {
            return c[0].to_string();
        }
        format!("{quote}{}{quote}{}{quote}{MASK}{quote}", &c[1], &c[2])
    };
    text = owned(text, |t| shapes.json.replace_all(t, |c: &Captures<'_>| value(c, "\"")));
    text = owned(text, |t| shapes.escaped.replace_all(t, |c: &Captures<'_>| value(c, "\\\"")));
    text = owned(text, |t| shapes.equals.replace_all(t, |c: &Captures<'_>| value(c, "")));
    text = owned(text, |t| shapes.colon.replace_all(t, |c: &Captures<'_>| value(c, "")));
    owned(text, |t| {
        shapes.option.replace_all(t, |c: &Captures<'_>| {
            if is_reference(&c[2]) { c[0].to_string() } else { format!("{}{MASK}", &c[1]) }
        })
    })
}

/// Replaces in a text that may be borrowed already.
fn owned<'a>(text: Cow<'a, str>, replace: impl Fn(&str) -> Cow<'_, str>) -> Cow<'a, str> {
    match replace(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(new) => Cow::Owned(new),
    }
}
