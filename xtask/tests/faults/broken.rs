//! The ways in which an answer can be wrong: of a call of its own, and of a
//! question in a session. Starts no program.

use super::tape::Answer;

/// The ways in which a call can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Exit1,
    Killed,
    Hangs,
    Empty,
    Garbage,
    Lie,
    Half,
}

pub const KINDS: [Kind; 7] =
    [Kind::Exit1, Kind::Killed, Kind::Hangs, Kind::Empty, Kind::Garbage, Kind::Lie, Kind::Half];

const GARBAGE: &str = "\u{1}%$ {]garbage\u{7f}; 12 ::\n";

/// What a broken call prints before it ends with 0; none where it ends otherwise.
pub fn printed(kind: Kind, truth: &[u8]) -> Option<Vec<u8>> {
    match kind {
        Kind::Exit1 | Kind::Killed | Kind::Hangs => None,
        Kind::Empty => Some(Vec::new()),
        Kind::Garbage => Some(GARBAGE.into()),
        Kind::Half => Some(truth[..truth.len() / 2].into()),
        Kind::Lie => Some(match std::str::from_utf8(truth) {
            Ok(text) => lie(text).into_bytes(),
            Err(_) => truth.iter().rev().copied().collect(),
        }),
    }
}

/// Where the rows of a session's answer end and the words about them begin.
pub fn rows(text: &str) -> (&str, &str) {
    text.split_at(text.find("{{MARK}}").unwrap_or(text.len()))
}

/// Is the broken answer the true one? Then nothing was broken.
pub fn is_true(kind: Kind, truth: &Answer, session: bool) -> bool {
    let text = String::from_utf8_lossy(&truth.out);
    match kind {
        // The session ends by it.
        Kind::Half if session => false,
        _ if session => {
            printed(kind, rows(&text).0.as_bytes()).is_some_and(|p| p == rows(&text).0.as_bytes())
        }
        _ => truth.exit == 0 && printed(kind, &truth.out).is_some_and(|p| p == truth.out),
    }
}

/// A question in a session that is answered with an error.
pub fn refused(where_to: &str) -> Answer {
    let out = if where_to.starts_with("psql") {
        "{{MARK}}-state true 58000 0\n{{MARK}}-why broken on purpose\n{{MARK}}\n".into()
    } else {
        "\n{{MARK}} 1\n{{MARK}}\n".to_string()
    };
    Answer { out: out.into_bytes(), err: b"ERROR:  broken on purpose\n\n{{MARK}}\n".to_vec(), exit: 0 }
}

/// A well-formed answer that is not true: words that say the state are turned round, else the last
/// number or hexadecimal digit is another one.
fn lie(text: &str) -> String {
    // The end of every answer of Redis: the lie is in what comes before it.
    if let Some(reply) = text.strip_suffix("PONG\n") {
        return format!("{}PONG\n", lie(reply));
    }
    const TURNED: [(&str, &str); 7] = [
        ("\"running\"", "\"exited\""),
        ("true", "false"),
        ("\nt\n", "\nf\n"),
        ("t\n", "f\n"),
        ("f\n", "t\n"),
        ("sha256:", "sha256:0"),
        ("ok", "no"),
    ];
    if let Some((from, to)) = TURNED.iter().find(|(from, _)| text.contains(from)) {
        return text.replacen(from, to, usize::MAX);
    }
    let at = text.rfind(|c: char| c.is_ascii_digit());
    match at {
        Some(at) => {
            let digit = (text.as_bytes()[at] - b'0' + 1) % 10;
            format!("{}{digit}{}", &text[..at], &text[at + 1..])
        }
        None => format!("{}x\n", text.trim_end()),
    }
}
