//! What must hold of every cell, whatever was broken in it: the exit code fits
//! how far the release was, the evidence says the same and verifies, nothing
//! became the last known good, nothing hangs, nothing lives on.

use crate::plays::Play;
use crate::stage::{Cell, Stage};
use crate::support::poll;
use crate::tape::{Fault, Kind, SETUP};
use serde_json::Value;
use std::time::Duration;

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

pub fn judge(stage: &Stage, play: Play, phase: Phase, label: &str, fault: &Fault, cell: &Cell) -> Found {
    let Some(hit) = cell.calls.iter().find(|c| c.fault.is_some()) else { return Found::NotReached };
    let code = cell.outcome.code;
    let mut wrong = Vec::new();
    let passed = code == 0;
    let mut named = false;
    let undisturbed = if play == Play::Release && phase == Phase::Back { 30 } else { 0 };
    if cell.calls.iter().any(|c| c.same) && code == undisturbed {
        return Found::Same;
    }
    let unknown = "NOT KNOWN";
    // A part of the way back that was cut short is done once more, and that is said: nothing was believed.
    let told = cell.outcome.stderr.contains("; once more");
    let believed = match phase {
        // What only looks may be told wrong; what it was not told it may not pass over.
        _ if play.looks() => passed && fault.kind.is_seen() && !cell.outcome.stdout.contains(unknown),
        Phase::After => false,
        _ => code == undisturbed && !told,
    };
    if believed {
        let stale = cell.calls.iter().any(|c| c.stale);
        if crate::named::find(play, phase, label, fault.kind).is_some() {
            named = true;
        } else if fault.kind == Kind::Lie && (hit.act && !stale) {
            return Found::NotSeen;
        } else {
            wrong.push("believed: a broken call that no entry of named.rs names".into());
        }
    }
    if !play.allowed(phase).contains(&code) {
        wrong.push(format!("exit {code}"));
    }
    if play.looks() {
        let acts = cell.calls.iter().filter(|c| c.act).map(|c| format!("it did {}", c.label));
        wrong.extend(acts.chain(cell.other.iter().map(|file| format!("it changed {file}"))));
    } else {
        evidence(play, cell, code, &mut wrong);
    }
    let good = cell.repo.join("ops/_local/lkg/last_known_good.json");
    let same = std::fs::read_to_string(good).unwrap_or_default() == stage.good(play);
    if !passed && !same {
        wrong.push("another last known good".into());
    }
    // The longest: a fence that never comes to stand, three times.
    if cell.took > Duration::from_secs(120) {
        wrong.push(format!("took {} s", cell.took.as_secs()));
    }
    if poll(Duration::from_secs(30), || living(&cell.setup).is_empty().then_some(())).is_none() {
        wrong.push(format!("processes live on: {:?}", living(&cell.setup)));
    }
    match () {
        () if !wrong.is_empty() => Found::Wrong(wrong),
        () if named => Found::Named,
        () if cell.calls.iter().any(|c| c.unknown) => Found::OffTape(code),
        () => Found::Holds(code),
    }
}

fn evidence(play: Play, cell: &Cell, code: i32, wrong: &mut Vec<String>) {
    let Some(dir) = &cell.outcome.dir else {
        if ![2, 10, 11, 20].contains(&code) {
            wrong.push("no evidence".into());
        }
        return;
    };
    let text = std::fs::read_to_string(dir.join("summary.json")).unwrap_or_default();
    let summary: Value = serde_json::from_str(&text).unwrap_or_default();
    if code != 50 && summary["exit_code"] != code {
        wrong.push(format!("summary.json says exit {}", summary["exit_code"]));
    }
    let state = summary["state_left"].as_str().unwrap_or_default();
    if !play.left(code, state) {
        wrong.push(format!("exit {code}, state_left `{state}`"));
    }
    if code != 50 {
        match xtask::evidence::verify(dir, Some(&cell.repo), xtask::report::render) {
            Ok(found) if found.ok() => {}
            Ok(found) => wrong.push(format!("evidence verify: {}", found.problems.join("; "))),
            Err(error) => wrong.push(format!("evidence verify: {error:#}")),
        }
    }
}

/// Processes that carry the cell's own mark.
fn living(setup: &str) -> Vec<String> {
    let mark = format!("{SETUP}={setup}");
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
