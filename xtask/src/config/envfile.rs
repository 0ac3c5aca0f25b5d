//! Env files as compose reads them: `KEY=value`, quotes, comments, CRLF, a BOM.

use crate::error::{Context, Result};
use std::path::Path;

/// The env files at the top of a directory, by name; templates are not among them.
pub fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter(|e| e.file_type().is_ok_and(|t| t.is_file()))
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .filter(|n| {
            n == ".env" || (n.starts_with(".env.") && !n.ends_with(".example") && !n.ends_with(".sample"))
        })
        .collect()
}

/// The pairs of an env file. A line that cannot be read is skipped: the file is
/// compose's to judge, here it only feeds the list of secrets.
pub fn read(path: &Path) -> Result<Vec<(String, String)>> {
    let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    Ok(parse(&String::from_utf8_lossy(&bytes)))
}

/// The pairs of an env file's text, in their order: of equal keys the last one holds. References
/// to other variables stay as they are written.
pub fn parse(text: &str) -> Vec<(String, String)> {
    let mut rest = text.trim_start_matches('\u{feff}');
    let mut found = Vec::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return found;
        }
        let (pair, after) = statement(rest);
        found.extend(pair);
        rest = after;
    }
}

/// The last value of a key.
pub fn last<'a>(pairs: &'a [(String, String)], key: &str) -> Option<&'a str> {
    pairs.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
}

/// One line, or several where quotes reach over them: its pair, if it is one, and what follows.
fn statement(text: &str) -> (Option<(String, String)>, &str) {
    let (line, below) = text.split_once('\n').unwrap_or((text, ""));
    let exported = line.strip_prefix("export").filter(|l| l.starts_with(char::is_whitespace));
    let line = exported.unwrap_or(line);
    // `KEY: value` is legal, too.
    let Some(at) = line.find(['=', ':']).filter(|_| !line.starts_with('#')) else { return (None, below) };
    let key = line[..at].trim();
    if key.is_empty() || key.contains(char::is_whitespace) {
        return (None, below);
    }
    let value = line[at + 1..].trim();
    let begin =
        text.len() - below.len() - usize::from(text.contains('\n')) - line[at + 1..].trim_start().len();
    if let Some((value, length)) = quoted(&text[begin..]) {
        let after = &text[begin + length..];
        return (Some((key.into(), value)), after.split_once('\n').map_or("", |(_, below)| below));
    }
    // ` #` begins a comment in an unquoted value.
    let value = value.split(" #").next().unwrap_or(value).trim_end();
    (Some((key.into(), value.into())), below)
}

/// The text between the quotes that `text` begins with, and its length with them. None without
/// quotes, or where they do not end.
fn quoted(text: &str) -> Option<(String, usize)> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Some((value, at + 1)),
            '\\' => match (quote, chars.next()?.1) {
                (_, c) if c == quote => value.push(c),
                ('"', c @ ('\\' | '$')) => value.push(c),
                ('"', 'n') => value.push('\n'),
                ('"', 'r') => value.push('\r'),
                ('"', 't') => value.push('\t'),
                ('"', 'a') => value.push('\u{7}'),
                ('"', 'b') => value.push('\u{8}'),
                ('"', 'v') => value.push('\u{b}'),
                ('"', 'f') => value.push('\u{c}'),
                (_, c) => value.extend(['\\', c]),
            },
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_compose_reads() {
        let text = "\u{feff}A=1\r\n# no\nexport B=\"x y\"\nC='a#b' # c\nD=u#v # w\n\nnot a pair\nE=\nF=a=b\nG=\"open\n";
        let pairs = parse(text);
        let expected =
            [("A", "1"), ("B", "x y"), ("C", "a#b"), ("D", "u#v"), ("E", ""), ("F", "a=b"), ("G", "\"open")];
        assert_eq!(pairs, expected.map(|(k, v)| (k.to_string(), v.to_string())));
    }
}
