//! What must hold of every cell, whatever was broken in it: the exit code fits
//! how far the release was and what it did, the evidence says the same and
//! verifies, the last known good release is the right one, nothing hangs,
//! nothing lives on.

use crate::acts;
use crate::plays::Play;
use crate::stage::Cell;
use crate::support::poll;
use crate::tape::{Fault, Kind, SETUP};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;
use xtask::lkg::DIR;

/// What `status` says of what it could not ask.
pub const UNKNOWN: &str = "NOT KNOWN";

/// How far a run is when a call is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Until the application is stopped; all of a backup and of a smoke.
    Before,
    /// From the stop to the last good check.
    Changed,
    /// After a release that passed: housekeeping, the last known good.
    After,
    /// The way back.
    Back,
}

/// What a cell came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The invariants hold; with the exit code.
    Holds(i32),
    /// The call was not made again, or not that often.
    NotReached,
    /// A lie that nothing which is asked later could show.
    NotSeen,
    /// The broken answer is the true one: nothing was broken.
    Same,
    /// The run ended as if nothing had been broken, and `named.rs` says why it may.
    Named,
    /// The fault led to calls that no release of the recordings makes; the invariants hold.
    OffTape(i32),
    Wrong(Vec<String>),
}

pub fn judge(play: Play, phase: Phase, label: &str, fault: &Fault, cell: &Cell) -> Found {
    let code = cell.outcome.code;
    let hit = cell.calls.iter().find(|c| c.fault.is_some());
    let mut wrong = Vec::new();
    // What the judge has to say beside whether the invariants hold: they must in any case.
    let beside = match hit {
        None if code == play.undisturbed(phase) => Some(Found::NotReached),
        None => {
            wrong.push(format!("exit {code}, though nothing was broken"));
            None
        }
        Some(_) if code == play.undisturbed(phase) && cell.calls.iter().any(|c| c.same) => Some(Found::Same),
        Some(hit) if believes(play, phase, cell) => {
            let stale = cell.calls.iter().any(|c| c.stale);
            if crate::named::find(play, phase, label, fault.kind).is_some() {
                Some(Found::Named)
            } else if fault.kind == Kind::Lie && (play.looks() || hit.act && !stale) {
                Some(Found::NotSeen)
            } else {
                wrong.push("believed: a broken call that no entry of named.rs names".into());
                None
            }
        }
        Some(_) => None,
    };
    if (play, phase, code) == (Play::Release, Phase::Changed, 40) && !acts::needs_person(label, fault.kind) {
        wrong.push("exit 40, and no entry of acts.rs says why it takes a person".into());
    }
    wrong.extend(broken_rules(play, phase, cell, matches!(beside, Some(Found::Named | Found::NotSeen))));
    match beside {
        _ if !wrong.is_empty() => Found::Wrong(wrong),
        Some(found) => found,
        None if cell.calls.iter().any(|c| c.unknown) => Found::OffTape(code),
        None => Found::Holds(code),
    }
}

/// Did a run in which a call was broken end as if none had been?
fn believes(play: Play, phase: Phase, cell: &Cell) -> bool {
    // A part of the way back that was cut short is done once more, and that is said: nothing was believed.
    let told = cell.outcome.stderr.contains("; once more");
    // Nor where what is left behind by a release that has passed is said.
    let warned = ["warn housekeeping ", "warn evidence "].iter().any(|w| cell.outcome.stderr.contains(w));
    match phase {
        // What only looks may be told wrong; what it was not told it may not pass over.
        _ if play.looks() => cell.outcome.code == 0 && !cell.outcome.stdout.contains(UNKNOWN),
        Phase::After => cell.outcome.code == 0 && !warned,
        _ => cell.outcome.code == play.undisturbed(phase) && !told,
    }
}

/// The invariants that this run breaks, whatever was broken in it. `believed`: nothing could show it that
/// it was lied to.
pub fn broken_rules(play: Play, phase: Phase, cell: &Cell, believed: bool) -> Vec<String> {
    let code = cell.outcome.code;
    let mut wrong = acts::problems(play, code, &cell.calls, believed);
    if !play.allowed(phase).contains(&code) {
        wrong.push(format!("exit {code}"));
    }
    if play.looks() {
        let acts = cell.calls.iter().filter(|c| c.act).map(|c| format!("it did {}", c.label));
        wrong.extend(acts.chain(cell.other.iter().map(|file| format!("it changed {file}"))));
    } else {
        evidence(play, phase, cell, &mut wrong);
    }
    let good = last_good(&cell.repo);
    if !is_good(play, cell, &good) {
        wrong.push(format!("exit {code}, and the last known good release is {}", good["rid"]));
    }
    // The longest: a fence that never comes to stand, three times.
    if cell.took > Duration::from_secs(120) {
        wrong.push(format!("took {} s", cell.took.as_secs()));
    }
    if poll(Duration::from_secs(30), || living(&cell.player).is_empty().then_some(())).is_none() {
        wrong.push(format!("processes live on: {:?}", living(&cell.player)));
    }
    wrong
}

fn evidence(play: Play, phase: Phase, cell: &Cell, wrong: &mut Vec<String>) {
    let code = cell.outcome.code;
    let Some(dir) = &cell.outcome.dir else {
        // Only who has not begun to change anything may have nothing to show for it.
        if phase != Phase::Before || ![2, 10, 11, 20].contains(&code) {
            wrong.push("no evidence".into());
        }
        return;
    };
    // What the run says whose evidence could not be written: there is nothing to hold against it.
    if code == 50
        && cell.outcome.stderr.contains(&format!("the evidence of {} could not be saved", play.rid()))
    {
        return;
    }
    let summary = json(&dir.join("summary.json"));
    if summary["exit_code"] != code {
        wrong.push(format!("summary.json says exit {}", summary["exit_code"]));
    }
    let state = summary["state_left"].as_str().unwrap_or_default();
    if !play.left(code, state, acts::touched(&cell.calls)) {
        wrong.push(format!("exit {code}, state_left `{state}`"));
    }
    match xtask::evidence::verify(dir, Some(&cell.repo), xtask::report::render) {
        Ok(found) if found.ok() => {}
        Ok(found) => wrong.push(format!("evidence verify: {}", found.problems.join("; "))),
        Err(error) => wrong.push(format!("evidence verify: {error:#}")),
    }
}

/// Is this the last known good release that the run should leave?
fn is_good(play: Play, cell: &Cell, good: &Value) -> bool {
    let before = last_good(&cell.before);
    match (play, cell.outcome.code) {
        (Play::Release, 0) => good["rid"] == play.rid(),
        (Play::Undo, 0) => {
            let rid = before["rid"].as_str().unwrap_or_default();
            *good == json(&cell.before.join(DIR).join(rid).join("target.json"))["previous"]
        }
        // What recovers a release that never passed, or brings a backup, leaves it as it is.
        _ => *good == before,
    }
}

/// The record of the last known good release in a checkout; null where there is none.
fn last_good(repo: &Path) -> Value {
    json(&repo.join(DIR).join("last_known_good.json"))
}

fn json(path: &Path) -> Value {
    std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// Processes that carry the cell's own mark.
fn living(player: &str) -> Vec<String> {
    let mark = format!("{SETUP}={player}");
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter(|p| {
        let env = std::fs::read(p.path().join("environ")).unwrap_or_default();
        env.split(|b| *b == 0).any(|pair| pair == mark.as_bytes())
    })
    .map(|p| {
        let words = std::fs::read(p.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&words).replace('\0', " ").chars().take(120).collect()
    })
    .collect()
}
