//! What collectors put before a line: `postgres-1  | `, a time stamp, colours; a build's `#12 0.3 `.

use regex::bytes::Regex;
use std::sync::LazyLock;

static PREFIX: LazyLock<Regex> = LazyLock::new(|| {
    let colour = r"(?:\x1b\[[0-9;]*m)*";
    super::regex(&format!(
        r"\A{colour}(?:[A-Za-z0-9_.-]{{1,80}}\s{{0,40}}\|{colour}\s?)?{colour}(?:#[0-9]{{1,5}}\s[0-9]{{1,6}}\.[0-9]{{1,3}}\s)?(?:[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T[0-9:.]{{8,18}}Z\s)?{colour}"
    ))
});

/// How many bytes of the line are a collector's, not the program's.
pub(super) fn length(line: &[u8]) -> usize {
    // Most lines begin with neither.
    match line.first() {
        Some(b) if b.is_ascii_alphanumeric() || [0x1b, b'#'].contains(b) => {
            PREFIX.find(line).map_or(0, |m| m.end())
        }
        _ => 0,
    }
}

/// The service a line comes from: lines of several are interleaved.
pub(super) fn source(prefix: &[u8]) -> &[u8] {
    prefix.split(|b| *b == b'|').next().filter(|s| s.len() < prefix.len()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_of_compose_and_docker_logs() {
        for (line, rest) in [
            ("postgres-1  | DETAIL:  x", "DETAIL:  x"),
            ("foxproflow-api  | 2026-11-23T06:55:19.916123456Z \tx", "\tx"),
            ("2026-11-23T06:55:19.916Z DETAIL:  x", "DETAIL:  x"),
            ("\x1b[36mpostgres-1  | \x1b[0mDETAIL:  x", "DETAIL:  x"),
            ("2026-11-23 22:20:46.326 UTC [1] ERROR:  x", "2026-11-23 22:20:46.326 UTC [1] ERROR:  x"),
            ("#12 0.345 DETAIL:  x", "DETAIL:  x"),
            ("#12 [2/3] RUN x", "#12 [2/3] RUN x"),
            ("# comment", "# comment"),
            ("\tx", "\tx"),
            ("plain | text", "text"),
            ("", ""),
        ] {
            assert_eq!(&line[length(line.as_bytes())..], rest);
        }
        assert_eq!(source(b"postgres-1  | 2026-11-23T06:55:19.9Z "), b"postgres-1  ");
        assert_eq!(source(b"2026-11-23T06:55:19.9Z "), b"");
    }
}
