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

/// The pairs of an env file's text.
pub fn parse(text: &str) -> Vec<(String, String)> {
    text.trim_start_matches('\u{feff}').lines().filter_map(pair).collect()
}

fn pair(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    if line.starts_with('#') {
        return None;
    }
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (key, value) = line.split_once('=')?;
    let key = key.trim();
    if key.is_empty() || key.contains(char::is_whitespace) {
        return None;
    }
    Some((key.into(), unquote(value.trim())))
}

fn unquote(value: &str) -> String {
    for quote in ['"', '\''] {
        if let Some(rest) = value.strip_prefix(quote)
            && let Some(end) = rest.rfind(quote)
        {
            return rest[..end].into();
        }
    }
    // ` #` begins a comment in an unquoted value.
    value.split(" #").next().unwrap_or(value).trim_end().into()
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
