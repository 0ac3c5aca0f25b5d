//! The cells of a release that passes although a call in it was broken: each
//! call by its name, each with the reason. What is not here is a failure of
//! the matrix, and so is an entry that no call fits.

use crate::judge::Phase;
use crate::tape::Kind;

/// An exception.
pub struct Named {
    pub when: Phase,
    /// How the name of the call begins (see [`name`]).
    pub call: &'static str,
    /// The ways of breaking.
    pub ways: &'static [Kind],
    pub why: &'static str,
}

const HARD: &[Kind] = &[Kind::Exit1, Kind::Killed, Kind::Hangs];
const SOFT: &[Kind] = &[Kind::Empty, Kind::Garbage, Kind::Lie, Kind::Half];
const ALL: &[Kind] =
    &[Kind::Exit1, Kind::Killed, Kind::Hangs, Kind::Empty, Kind::Garbage, Kind::Lie, Kind::Half];
const UNREAD: &[Kind] = &[Kind::Empty, Kind::Garbage, Kind::Half];

const fn named(when: Phase, call: &'static str, ways: &'static [Kind], why: &'static str) -> Named {
    Named { when, call, ways, why }
}

const VERSION: &str = "a version for the records; the summary says when it is not known";
const COURTESY: &str = "tells the one who waits how far this is; the lock holds without it";

pub const NAMED: &[Named] = &[
    // Before the stop.
    named(Phase::Before, "git --version", ALL, VERSION),
    named(Phase::Before, "docker compose version", ALL, VERSION),
];

/// The entry for a cell.
pub fn find(when: Phase, label: &str, way: Kind) -> Option<&'static Named> {
    let name = name(label);
    NAMED.iter().find(|n| n.when == when && n.ways.contains(&way) && name.starts_with(n.call))
}

/// Entries that fit none of these calls.
pub fn idle<'a>(calls: impl Iterator<Item = (Phase, &'a str)> + Clone) -> Vec<String> {
    let fits =
        |n: &&Named| calls.clone().any(|(when, label)| when == n.when && name(label).starts_with(n.call));
    NAMED.iter().filter(|n| !fits(n)).map(|n| format!("{:?} {}", n.when, n.call)).collect()
}

/// What a call is, without what differs from stand to stand: the program, its sub command and what it is
/// asked; a container's id and how the password comes are left out.
pub fn name(label: &str) -> String {
    let mut words: Vec<&str> = label.split_whitespace().collect();
    let is_id = |w: &str| w.len() == 64 && w.bytes().all(|b| b.is_ascii_hexdigit());
    match words[..] {
        ["docker", "exec", ..] => {
            let at = words.iter().position(|w| is_id(w)).unwrap_or(0);
            words.drain(1..=at);
        }
        ["docker", "compose", ..] => {
            // The sub command comes after the last compose file.
            let at = words.iter().rposition(|w| *w == "-f").map_or(1, |at| at + 1);
            words.drain(2..=at);
        }
        ["sh", ..] => {
            words.remove(1);
        }
        _ => {}
    }
    let text = words.join(" ");
    text.replace(r#"sh -c PGPASSWORD="${PGPASSWORD-${POSTGRES_PASSWORD-}}" exec "$@" sh "#, "")
}

/// The entries as the document has them.
pub fn table() -> String {
    let mut text = String::from("| when | call | ways | why the release may pass |\n|---|---|---|---|\n");
    for n in NAMED {
        let ways = if n.ways.len() == ALL.len() {
            "all".to_string()
        } else {
            n.ways.iter().map(|way| format!("{way:?}").to_lowercase()).collect::<Vec<_>>().join(", ")
        };
        text.push_str(&format!("| {:?} | `{}` | {ways} | {} |\n", n.when, n.call.replace('|', "\\|"), n.why));
    }
    text
}
