//! The matrix: made of the calls that each command was seen to make, so that a
//! new call is in it by itself.

use crate::acts;
use crate::judge::{Found, Phase, UNKNOWN, broken_rules, judge};
use crate::named::{idle, name};
use crate::plays::{PLAYS, Play};
use crate::stage::{Cell, Lane, Stage};
use crate::support::die::seed;
use crate::support::note;
use crate::tape::{Call, Fault, KINDS, Kind};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// A document of the last run is written to the file that this names.
const WRITE: &str = "XTASK_FAULTS_WRITE";
/// Only calls whose label has one of these words, with `;` between them, or of the command with this
/// name, or of one part of it (`undo Back`).
const ONLY: &str = "XTASK_FAULTS_ONLY";
/// `all`: every way for every call; else one of the seven, turn by turn, for every third call, before
/// the stop for every fourth; others each time.
const EXTENT: &str = "XTASK_FAULTS";
/// Cells at once: most of their time they wait.
const LANES: usize = 12;

/// A cell to be tried.
struct Plan {
    play: Play,
    phase: Phase,
    label: String,
    fault: Fault,
}

pub fn run() {
    every_cell_has_its_turn();
    if !every() {
        note(format!("FF_TEST_SEED={}: a part of the matrix; {EXTENT}=all takes all of it", seed()));
    }
    let stage = Stage::record();
    let lane = Lane::open(&stage);
    let mut all = All::default();
    for (number, play) in PLAYS.into_iter().enumerate() {
        let whole = stage.cell(&lane, play, number, &[], false);
        control(play, Phase::Before, &whole);
        all.add(play, &whole.calls, None);
        if play == Play::Release {
            let back = stage.cell(&lane, play, PLAYS.len(), &[], true);
            control(play, Phase::Back, &back);
            all.add(play, &back.calls, Some(Phase::Back));
        }
    }
    let All { mut plans, calls, .. } = all;
    // What is done while the stand is changed is tried first.
    plans.sort_by_key(|plan| plan.phase == Phase::Before);
    let idle = [idle(&calls), acts::idle(&calls)].concat();
    note(format!("entries of named.rs and acts.rs that no call fits: {idle:#?}"));
    assert!(idle.is_empty(), "entries of named.rs or acts.rs that no call fits");
    note(format!("{} cells", plans.len()));
    let begun = Instant::now();
    let results = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                let lane = Lane::open(&stage);
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    let Some(plan) = plans.get(number) else { return };
                    let fault = std::slice::from_ref(&plan.fault);
                    let bad = plan.play == Play::Release && plan.phase == Phase::Back;
                    let cell = stage.cell(&lane, plan.play, number + PLAYS.len() + 1, fault, bad);
                    let found = judge(plan.play, plan.phase, &plan.label, &plan.fault, &cell);
                    if let Found::Wrong(wrong) = &found {
                        let what = wrong.join("; ");
                        note(format!(
                            "WRONG {} {:?} {:?} {}\n    {what}",
                            plan.play.name(),
                            plan.phase,
                            plan.fault.kind,
                            name(&plan.label)
                        ));
                    }
                    // On the way back one can be needed for every call; before it each is worth a look.
                    if cell.outcome.code == 40 && plan.phase != Phase::Back {
                        let (play, kind, of) = (plan.play.name(), plan.fault.kind, name(&plan.label));
                        note(format!("exit 40: {play} {:?} {kind:?} {of}", plan.phase));
                    }
                    if let (Found::OffTape(_), Some(call)) = (&found, cell.calls.iter().find(|c| c.unknown)) {
                        let (play, of) = (plan.play.name(), name(&plan.label));
                        note(format!("off tape: {play} {:?} {of}\n    asks {}", plan.fault.kind, call.label));
                    }
                    if matches!(found, Found::Wrong(_)) {
                        note(format!("    in {}{}", cell.dir.display(), cell.outcome.at()));
                    } else {
                        let _ = std::fs::remove_dir_all(&cell.dir);
                    }
                    let mut results = results.lock().unwrap();
                    results.push((number, found));
                    if results.len().is_multiple_of(100) {
                        note(format!("{} of {} cells", results.len(), plans.len()));
                    }
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap();
    results.sort_by_key(|(number, _)| *number);
    let results: Vec<(&Plan, Found)> = results.into_iter().map(|(n, found)| (&plans[n], found)).collect();
    note(format!("{} cells in {} s", results.len(), begun.elapsed().as_secs()));
    let table = table(&results) + "\n" + &crate::named::table();
    println!("{table}");
    if let Some(file) = std::env::var_os(WRITE) {
        std::fs::write(file, &table).unwrap();
    }
    let wrong = results.iter().filter(|(_, f)| matches!(f, Found::Wrong(_))).count();
    assert_eq!(wrong, 0, "{wrong} cells of {} do not hold: said above", results.len());
}

/// Without a fault the player gives what the real programs gave, and all that must hold does.
fn control(play: Play, phase: Phase, cell: &Cell) {
    let unknown: Vec<&str> = cell.calls.iter().filter(|c| c.unknown).map(|c| c.label.as_str()).collect();
    assert!(unknown.is_empty(), "no recording has these calls: {unknown:#?}{}", cell.outcome.at());
    assert_eq!(cell.outcome.code, play.undisturbed(phase), "nothing was broken{}", cell.outcome.at());
    let wrong = broken_rules(play, phase, cell, false);
    assert!(wrong.is_empty(), "nothing was broken, and {}: {wrong:#?}{}", play.name(), cell.outcome.at());
    // So that what a cell does not know is what was broken in it.
    cell.outcome.lacks(UNKNOWN);
}

/// Every cell, and every call with when it is made.
#[derive(Default)]
struct All {
    plans: Vec<Plan>,
    calls: Vec<(Play, Phase, String)>,
    seen: BTreeSet<(Play, Phase, String)>,
}

impl All {
    /// Adds the calls of one run, or only those of one phase: each once for each phase, broken in every
    /// way, or in the one whose turn it is.
    fn add(&mut self, play: Play, calls: &[Call], wanted: Option<Phase>) {
        let only = std::env::var(ONLY).unwrap_or_default();
        let (every, seed) = (every(), seed());
        let mut phase = Phase::Before;
        for call in calls {
            phase = play.phase(phase, call);
            if wanted.is_some_and(|wanted| phase != wanted) {
                continue;
            }
            self.calls.push((play, phase, call.label.clone()));
            let part = format!("{} {phase:?}", play.name());
            let mine = only.split(';').any(|w| call.label.contains(w) || play.name() == w || part == w);
            if !mine || !self.seen.insert((play, phase, call.key.clone())) {
                continue;
            }
            let usual = turn(self.seen.len(), phase, seed);
            for kind in KINDS.into_iter().filter(|k| every || usual == Some(*k)) {
                let fault = Fault { key: call.key.clone(), nth: call.nth, kind };
                self.plans.push(Plan { play, phase, label: call.label.clone(), fault });
            }
        }
    }
}

fn every() -> bool {
    std::env::var(EXTENT).is_ok_and(|extent| extent == "all")
}

/// The way in which a usual run with this seed breaks the call of this number; none: not at all. Before
/// the stop nothing can be lost: every fourth call stands for its neighbours there, then every third.
fn turn(number: usize, phase: Phase, seed: u64) -> Option<Kind> {
    let at = number + (seed % CYCLE) as usize;
    let every = if phase == Phase::Before { 4 } else { 3 };
    at.is_multiple_of(every).then(|| KINDS[at % KINDS.len()])
}

/// Seeds: the seven ways, and every third or fourth call.
const CYCLE: u64 = 7 * 3 * 4;

/// With so many seeds one after another every call is broken in every way.
fn every_cell_has_its_turn() {
    for number in 0..20 {
        for phase in [Phase::Before, Phase::Back] {
            let seeds = 5..5 + CYCLE;
            let tried: BTreeSet<Kind> = seeds.filter_map(|seed| turn(number, phase, seed)).collect();
            assert_eq!(tried.len(), KINDS.len(), "call {number}, {phase:?}: only {tried:?}");
        }
    }
}

/// How often each outcome came, by the way of breaking.
type Row = BTreeMap<Kind, BTreeMap<String, usize>>;

/// The results as the document has them.
fn table(results: &[(&Plan, Found)]) -> String {
    let mut rows: BTreeMap<(Play, Phase, &str), Row> = BTreeMap::new();
    for (plan, found) in results {
        let word = match found {
            Found::Holds(code) => code.to_string(),
            Found::NotReached => "not reached".into(),
            Found::NotSeen => "not seen".into(),
            Found::Same => "true".into(),
            Found::Named => "named".into(),
            Found::OffTape(code) => format!("{code} off tape"),
            Found::Wrong(_) => "WRONG".into(),
        };
        let row = rows.entry((plan.play, plan.phase, class(&plan.label))).or_default();
        *row.entry(plan.fault.kind).or_default().entry(word).or_default() += 1;
    }
    let mut text =
        String::from("| run | when | what | exit 1 | killed | hangs | empty | garbage | a lie | half |\n");
    text.push_str("|---|---|---|---|---|---|---|---|---|---|\n");
    for ((play, phase, class), row) in rows {
        text.push_str(&format!("| {} | {phase:?} | {class} |", play.name()));
        for kind in KINDS {
            let words = row.get(&kind).into_iter().flatten();
            let words: Vec<String> = words.map(|(word, n)| format!("{word} x{n}")).collect();
            text.push_str(&format!(" {} |", words.join(", ")));
        }
        text.push('\n');
    }
    text
}

/// The program that a call is about.
fn class(label: &str) -> &'static str {
    const CLASSES: [(&str, &str); 12] = [
        ("git ", "git"),
        ("psql ", "a statement in a psql session"),
        ("sh ", "a command in a shell session"),
        ("docker compose", "docker compose"),
        ("pg_dumpall", "pg_dumpall"),
        ("pg_dump ", "pg_dump"),
        ("pg_restore", "pg_restore"),
        ("redis-cli", "redis-cli"),
        ("FF_PROBE", "the worker's probe"),
        ("docker exec", "another docker exec"),
        ("docker image", "docker image"),
        ("docker ", "docker"),
    ];
    let of = |word: &str| match word {
        "git " | "psql " | "sh " => label.starts_with(word),
        _ => label.contains(word),
    };
    CLASSES.iter().find(|(word, _)| of(word)).map_or("another", |(_, class)| class)
}
