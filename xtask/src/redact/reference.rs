//! Texts that name a value which stands elsewhere, or hold the place of one to
//! come: `${X}`, `$X`, `$(cat f)`, `%(x)s`, `{x}`, `<x>`, `__GENERATE__`. Masking
//! them would hide nothing and make commands unreadable.

use super::keys::Keys;
use regex::bytes::Regex;
use std::sync::LazyLock;

pub(super) fn is_reference(value: &[u8]) -> bool {
    static WHOLE: LazyLock<Regex> = LazyLock::new(|| {
        super::regex(
            r"\A(?:\$(?:env:)?[A-Za-z_][A-Za-z0-9_]*|\$\([^()]*\)|\$\{\{[^{}]*\}\}|\$[0-9@*#?]|%\([A-Za-z0-9_.]+\)s|%[A-Za-z_][A-Za-z0-9_]*%|\{\{[^{}]*\}\}|\{[A-Za-z_][A-Za-z0-9_.]*\}|<[A-Za-z][A-Za-z0-9 _-]*>|__[A-Z0-9_]+__)\z",
        )
    });
    let value = value.trim_ascii();
    let nothing = |default: &[u8]| default.is_empty() || is_reference(default);
    WHOLE.is_match(value)
        || (!value.is_empty()
            && variable(value) == value.len()
            && default_of(value).is_none_or(|(from, to)| nothing(&value[from..to])))
}

/// How long the variable is that a text begins with: `${A-${B}}`; 0 if it begins with none.
pub(super) fn variable(text: &[u8]) -> usize {
    if !text.starts_with(b"${") {
        return 0;
    }
    let mut depth = 0;
    for (at, byte) in text.iter().enumerate().take(4096) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            return at + 1;
        }
    }
    0
}

/// Where the default stands in `${NAME:-default}`. `${NAME:?message}` has none.
fn default_of(variable: &[u8]) -> Option<(usize, usize)> {
    let end = variable.len().checked_sub(1)?;
    let name = 2 + name_length(&variable[2.min(end)..end]);
    let colon = name + usize::from(variable.get(name) == Some(&b':'));
    matches!(variable.get(colon), Some(b'-' | b'=' | b'+')).then_some((colon + 1, end))
}

fn name_length(text: &[u8]) -> usize {
    text.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count()
}

/// Secrets written down as the default of a variable: `${PASSWORD:-abc}`.
pub(super) fn defaults(line: &[u8], keys: &Keys) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = line[at..].windows(2).position(|w| w == b"${").map(|p| at + p) {
        at = start + 2;
        let whole = &line[start..start + variable(&line[start..])];
        let Some((from, to)) = default_of(whole) else { continue };
        let name = &whole[2..2 + name_length(&whole[2..])];
        let value = &whole[from..to];
        let sensitive = std::str::from_utf8(name).is_ok_and(|n| keys.is_sensitive(n));
        if sensitive && !super::is_blank(value) && !is_reference(value) && !value.starts_with(b"${") {
            found.push((start + from, start + to));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_and_places_to_fill() {
        for text in [
            "${X}",
            "${X:-}",
            "${PGPASSWORD-${POSTGRES_PASSWORD-}}",
            "${X:?say it}",
            "$X",
            "$env:X",
            "$1",
            "$(cat f)",
            "%(x)s",
            "%X%",
            "{x}",
            "{{ x }}",
            "${{ secrets.X }}",
            "<your password>",
            "__GENERATE__",
            " $X ",
        ] {
            assert!(is_reference(text.as_bytes()), "{text}");
        }
        for text in [
            "",
            "$",
            "${X:-abc}",
            "${X}abc",
            "$2b$12$abc",
            "$X-abc",
            "a$X",
            "__init__",
            "<",
            "{",
            "%",
            "${",
            "${X",
        ] {
            assert!(!is_reference(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_default_is_a_secret_when_its_variable_is_one() {
        let found = |text: &str| {
            let found = defaults(text.as_bytes(), &Keys::default());
            found.iter().map(|(from, to)| text[*from..*to].to_string()).collect::<Vec<_>>()
        };
        assert_eq!(found("x: ${A_PASSWORD:-abc} ${A_TOKEN-d e} ${USER:-x}"), ["abc", "d e"]);
        assert_eq!(found("${A_PASSWORD-${B_PASSWORD:-abc}}"), ["abc"]);
        for text in [
            "${A_PASSWORD:?set it}",
            "${A_PASSWORD:-}",
            "${A_PASSWORD}",
            "${A_PASSWORD:-$B}",
            "${",
            "${A_TOKEN-",
        ] {
            assert!(found(text).is_empty(), "{text}");
        }
    }
}
