//! What a run has asked of the stand, beside how it ended: a stand that is as
//! before was opened and started again, one that is back had its database
//! swapped. The run's own evidence is not asked.

use crate::judge::Phase;
use crate::named::name;
use crate::plays::Play;
use crate::tape::{Call, Kind};

/// Closes the live database, and opens it.
pub const CLOSE: &str = r#"ALTER DATABASE "foxproflow" WITH ALLOW_CONNECTIONS false"#;
pub const OPEN: &str = r#"ALTER DATABASE "foxproflow" WITH ALLOW_CONNECTIONS true"#;
/// Gives a database another name; with the second the copy becomes the live one.
const RENAME: &str = " RENAME TO ";
const COPY_IN: &str = r#" RENAME TO "foxproflow""#;
/// Which databases there are, with their OIDs.
const LOOK: &str = "SELECT datname AS name, oid";

/// Stops services.
pub fn stops(label: &str) -> bool {
    label.contains(" stop -t ")
}

fn starts(label: &str) -> bool {
    label.contains(" up -d") || label.starts_with("docker start ")
}

/// Has a run begun to change what serves?
pub fn touched(calls: &[Call]) -> bool {
    calls.iter().any(|c| stops(&c.label) || c.label.contains(CLOSE) || c.label.contains(RENAME))
}

/// What a run that ended with `code` should have asked for and did not, or did and should not have.
/// `believed`: nothing could show it that it was lied to.
pub fn problems(play: Play, code: i32, calls: &[Call], believed: bool) -> Vec<String> {
    let asked = |is: &dyn Fn(&Call) -> bool| calls.iter().rposition(is);
    let did = |is: &dyn Fn(&str) -> bool| asked(&|c| is(&c.label) && done(c, believed));
    let stop = asked(&|c| stops(&c.label));
    // What was to close it and failed may have closed it.
    let close = asked(&|c| c.label.contains(CLOSE));
    let open = did(&|l| l.contains(OPEN));
    let start = did(&starts);
    let renamed = calls.iter().any(|c| c.label.contains(RENAME));
    let swap = calls.iter().enumerate().rposition(|(at, c)| {
        // Either half of the exchange may be what was broken: after a look that finds the exchange made
        // there is nothing left to ask for.
        let broken = c.label.contains(RENAME) && c.fault.is_some_and(|kind| kind != Kind::Lie);
        c.label.contains(COPY_IN) && done(c, believed) || broken && looked(calls, at)
    });
    let back = code == 30 || play.is_way_back() && matches!(code, 0 | 50);
    let forth = play == Play::Release && (matches!(code, 0 | 50) || code == 20 && touched(calls));
    let mut wrong = Vec::new();
    let mut needs = |what: &str, at: Option<usize>, after: Option<usize>| {
        // None is before everything: what must have been done must be there.
        if at <= after {
            wrong.push(format!("exit {code}, and {what}"));
        }
    };
    if back {
        needs("the copy was not swapped in", swap, None);
        needs("the database was not opened after the swap", open, swap);
    }
    if back || forth {
        if close.is_some() {
            needs("the database was not opened after it was closed", open, close);
        }
        needs("nothing was started after the last stop", start, stop);
        needs("nothing was started after the database was opened", start, open);
    }
    if forth && renamed {
        wrong.push(format!("exit {code}, and a database was renamed"));
    }
    if !back && !forth && code != 40 && touched(calls) {
        wrong.push(format!("exit {code}, and services were stopped or the database was closed or renamed"));
    }
    wrong
}

/// Was it done, as far as the one who asked can know? Where only words are lost, yes.
fn done(call: &Call, believed: bool) -> bool {
    match call.fault {
        _ if call.unknown => false,
        Some(Kind::Exit1 | Kind::Killed | Kind::Hangs) => false,
        Some(Kind::Lie) => believed,
        None | Some(Kind::Empty | Kind::Garbage | Kind::Half) => true,
    }
}

/// Did the run look which databases there are after this call? The recordings go on as if an act that
/// failed had been done: who looks finds the copy swapped in, and does not ask for it again.
fn looked(calls: &[Call], at: usize) -> bool {
    calls[at..].iter().any(|c| c.fault.is_none() && !c.stale && c.label.contains(LOOK))
}

/// Calls of a release from the stop to the last good check that leave it to a person (40) when they are
/// broken so: the call by its name, and why. Where any other one does, it calls for a person needlessly.
const PERSON: [(&str, Kind, &str); 3] = [
    (
        "psql postgres | CREATE DATABASE",
        Kind::Lie,
        "the recorded databases stand still: the live one is told of as closed, whatever opens it",
    ),
    (
        "psql postgres | ALTER DATABASE \"foxproflow\" WITH ALLOW_CONNECTIONS true",
        Kind::Lie,
        "the recorded databases stand still: the live one never gets the copy's OID",
    ),
    (
        "docker compose up -d",
        Kind::Lie,
        "the recorded world stands still: neither database nor containers are seen to come back",
    ),
];

/// May a release end with 40 because this call was broken so, from the stop to the last good check?
pub fn needs_person(label: &str, kind: Kind) -> bool {
    PERSON.iter().any(|(call, way, _)| *way == kind && name(label).starts_with(call))
}

/// Entries that fit none of these calls.
pub fn idle(calls: &[(Play, Phase, String)]) -> Vec<String> {
    let fits = |call: &str| {
        let mine =
            |(play, when, _): &&(Play, Phase, String)| (*play, *when) == (Play::Release, Phase::Changed);
        calls.iter().filter(mine).any(|(_, _, label)| name(label).starts_with(call))
    };
    PERSON.iter().filter(|(call, _, _)| !fits(call)).map(|(call, _, why)| format!("{call} ({why})")).collect()
}
