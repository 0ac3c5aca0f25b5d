//! The judge, judged: made-up cells of which each tells one known lie, beside
//! the same cell without it. Needs neither engine nor recordings.

use crate::acts::{CLOSE, OPEN};
use crate::judge::{Found, Phase, judge};
use crate::plays::Play;
use crate::stage::Cell;
use crate::support::note;
use crate::support::process::Outcome;
use crate::support::stand::EVIDENCE;
use crate::tape::{Call, Fault, Kind};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use xtask::evidence::{self, RunDir, STOP, UNFENCE};
use xtask::lkg::DIR;
use xtask::redact::Redactor;

const STOPS: &str = "docker compose stop -t 30 api";
const STARTS: &str = "docker start 1";
const UP: &str = "docker compose -f x.yml up -d api";
const SWAP: &str = r#"psql postgres | ALTER DATABASE "foxproflow__pre_1" RENAME TO "foxproflow""#;
const ASIDE: &str = r#"psql postgres | ALTER DATABASE "foxproflow" RENAME TO "foxproflow__failed_1""#;
const CLOSES: &str = r#"psql postgres | ALTER DATABASE "foxproflow" WITH ALLOW_CONNECTIONS false"#;
const OPENS: &str = r#"psql postgres | ALTER DATABASE "foxproflow" WITH ALLOW_CONNECTIONS true"#;
/// Is broken in every cell that breaks nothing else, and no entry names it.
const BROKEN: &str = "docker inspect of something";
const BEFORE: &str = "rel_before";

pub fn run() {
    assert!(CLOSES.ends_with(CLOSE) && OPENS.ends_with(OPEN));
    acts_of_a_way_back();
    acts_of_a_stand_that_is_as_before();
    last_known_good();
    what_is_left_and_said_of_it();
    person();
    what_is_not_broken();
    what_only_looks();
    the_document_has_the_entries();
    note("the judge sees what it is lied to");
}

fn the_document_has_the_entries() {
    let document = include_str!("../../../docs/faults.md");
    assert!(
        document.contains(&crate::named::table()),
        "the entries of named.rs are others in docs/faults.md"
    );
}

/// A cell in the making.
struct Made {
    play: Play,
    phase: Phase,
    /// What was broken, and how.
    label: &'static str,
    kind: Kind,
    scratch: tempfile::TempDir,
    cell: Cell,
}

/// A run that ended with `code`, asked for these, and has sound evidence of it.
fn made(play: Play, phase: Phase, code: u8, asked: &[&'static str]) -> Made {
    let scratch = tempfile::tempdir().unwrap();
    let (repo, before) = (scratch.path().join("repo"), scratch.path().join("before"));
    let record = json!({ "rid": BEFORE });
    for dir in [&repo, &before] {
        last_good_is(dir, &record);
    }
    let (dir, outcome) = (scratch.path().to_path_buf(), outcome(play, code));
    let player = dir.join("player").display().to_string();
    let calls = asked.iter().map(|label| call(label, None)).collect();
    let took = Duration::from_secs(1);
    let cell = Cell { calls, took, outcome, repo, before, dir, player, other: BTreeSet::new() };
    let mut made = Made { play, phase, label: BROKEN, kind: Kind::Exit1, scratch, cell };
    if code == 0 && play == Play::Release {
        last_good_is(&made.cell.repo, &json!({ "rid": play.rid() }));
    }
    made.cell.calls.push(call(BROKEN, Some(Kind::Exit1)));
    if !play.looks() {
        made.evidence(code);
    }
    made
}

fn outcome(play: Play, code: u8) -> Outcome {
    // A way back that was cut short and done once more may end as if nothing had been broken, and so may
    // a release that has passed and says what it leaves behind.
    let stderr = "it failed; once more\n  warn housekeeping what it leaves behind".to_string();
    Outcome { what: play.name().into(), code: code.into(), stdout: String::new(), stderr, dir: None, peak: 0 }
}

fn call(label: &str, fault: Option<Kind>) -> Call {
    let (key, label) = (label.into(), label.into());
    Call { key, nth: 1, label, act: true, fault, unknown: false, stale: false, same: false }
}

fn last_good_is(repo: &Path, record: &Value) {
    let dir = repo.join(DIR);
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("last_known_good.json"), record.to_string()).unwrap();
}

impl Made {
    /// Evidence as a run that ends with `code` leaves it.
    fn evidence(&mut self, code: u8) {
        let root = self.cell.repo.join(EVIDENCE);
        let _ = std::fs::remove_dir_all(&root);
        std::fs::create_dir_all(&root).unwrap();
        let run = RunDir::create(&root, self.play.rid(), &Redactor::new()).unwrap();
        let way_back = self.play.is_way_back();
        let command = if way_back { "rollback" } else { "release" };
        let gates = ["P1", "P2", "P3", "P4", "P5", "B1", "B2", "R0", "M1", "D1", "S1", "E2"];
        let waivers: Vec<Value> =
            gates.iter().map(|gate| json!({ "gate": gate, "flag": "--all", "reason": "made up" })).collect();
        let plan = json!({ "command": command, "waivers": waivers, "rollback_enabled": true,
                           "run": { "rid": self.play.rid() } });
        run.write_json("plan.json", &plan).unwrap();
        let lock = json!({ "file": "x", "database": true, "holder": "x", "since": "x" });
        let charter = json!({ "rid": self.play.rid(), "command": command, "worktree": "x", "lane": "A",
            "branch": "x", "git_head": "x", "dirty": false, "operator": "x", "host": "x", "started": "x",
            "devtasks": [], "devtasks_from": "x", "lock": lock });
        run.write_json("charter.json", &charter).unwrap();
        run.log("change").unwrap().say("made up");
        let touched = crate::acts::touched(&self.cell.calls);
        let _ = run.journal.act("change", "step", json!({}), || {
            let acts = [(touched, STOP), (touched && matches!(code, 0 | 30), UNFENCE)];
            for (_, (step, act)) in acts.into_iter().filter(|(does, _)| *does) {
                run.journal.act(step, act, json!({}), || Ok(((), json!({}))))?;
            }
            if code == 0 { Ok(((), json!({}))) } else { Err(xtask::error::anyhow!("made up")) }
        });
        if code != 0 {
            let exit = (code == 11).then_some(code);
            let failure = json!({ "step": "change", "what": "made up", "exit": exit });
            run.write_json("failure.json", &failure).unwrap();
        }
        if touched && (way_back || matches!(code, 20 | 30 | 40)) {
            let source = if code == 20 { "undo" } else { "clone" };
            let service = json!({ "service": "api", "expected_image": "x", "image": "x", "source": "x" });
            let problems = if code == 40 { vec!["made up"] } else { vec![] };
            let back = xtask::evidence::records::Rollback {
                source: source.into(),
                services: vec![serde_json::from_value(service).unwrap()],
                up: true,
                smoke: Some(Default::default()),
                verified: code != 40,
                problems: problems.into_iter().map(String::from).collect(),
                to: Some(BEFORE.into()),
                database: xtask::evidence::records::DatabaseBack { open: true, ..Default::default() },
                ..Default::default()
            };
            run.write_json("rollback.json", &back).unwrap();
        }
        run.close_logs().unwrap();
        run.journal.fact("evidence", "secret scan", json!({ "hits": [] })).unwrap();
        let judged = evidence::judge(&run.path).unwrap();
        let files = evidence::hashes(&run.path).unwrap();
        let (verdict, exit) = (judged.verdict.to_string(), judged.exit.code());
        run.journal.seal(json!({ "verdict": verdict, "exit_code": exit, "files": files })).unwrap();
        let summary = evidence::derive(&run.path).unwrap();
        xtask::fsx::write_json(&run.path.join("summary.json"), &summary).unwrap();
        for (name, text) in xtask::report::render(&summary) {
            std::fs::write(run.path.join(name), text).unwrap();
        }
        evidence::write_digest(&run.path).unwrap();
        self.cell.outcome.dir = Some(run.path.clone());
    }

    /// Breaks the last call of this label instead.
    fn breaks(mut self, label: &'static str, kind: Kind) -> Made {
        self.cell.calls.retain(|c| c.fault.is_none());
        let broken = self.cell.calls.iter_mut().rev().find(|c| c.label == label).unwrap();
        broken.fault = Some(kind);
        (self.label, self.kind) = (label, kind);
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Cell)) -> Made {
        change(&mut self.cell);
        self
    }

    fn found(&self) -> Found {
        let fault = Fault { key: self.label.into(), nth: 1, kind: self.kind };
        judge(self.play, self.phase, self.label, &fault, &self.cell)
    }

    #[track_caller]
    fn ends(self, found: Found) {
        assert_eq!(self.found(), found, "in {}", self.scratch.path().display());
    }

    /// It is wrong, and for this reason alone.
    #[track_caller]
    fn fails(self, why: &str) {
        match self.found() {
            Found::Wrong(all) if !all.is_empty() && all.iter().all(|w| w.contains(why)) => {}
            other => panic!("not wrong because of `{why}`: {other:?}"),
        }
    }
}

fn acts_of_a_way_back() {
    let asked = [STOPS, CLOSES, OPENS, UP, STOPS, CLOSES, ASIDE, SWAP, OPENS, UP];
    let cell = |asked: &[&'static str]| made(Play::Release, Phase::Changed, 30, asked);
    cell(&asked).ends(Found::Holds(30));
    cell(&[STOPS, CLOSES, OPENS, UP, STOPS, CLOSES, ASIDE, OPENS, UP]).fails("not swapped in");
    cell(&[STOPS, CLOSES, OPENS, UP, STOPS, CLOSES, ASIDE, SWAP, UP]).fails("not opened");
    cell(&[STOPS, CLOSES, OPENS, UP, STOPS, CLOSES, ASIDE, SWAP, OPENS]).fails("nothing was started");
    cell(&[STOPS, CLOSES, OPENS, STOPS, CLOSES, ASIDE, SWAP, UP, OPENS]).fails("nothing was started");
    cell(&[STOPS, CLOSES, OPENS, SWAP, UP]).fails("not opened after the swap");
    // What was answered broken was not done: its words alone are another matter.
    cell(&asked).breaks(SWAP, Kind::Exit1).fails("not swapped in");
    cell(&asked).breaks(OPENS, Kind::Half).ends(Found::Holds(30));
    cell(&asked).breaks(OPENS, Kind::Killed).fails("not opened");
    cell(&asked).breaks(UP, Kind::Hangs).fails("nothing was started");
    cell(&asked).breaks(UP, Kind::Lie).fails("nothing was started");
    let looks = call("psql postgres | SELECT row_to_json(q) FROM ( SELECT datname AS name, oid", None);
    let looked = cell(&asked).breaks(SWAP, Kind::Exit1).with(|c| c.calls.push(looks));
    looked.ends(Found::Holds(30));
    let undo = [STOPS, CLOSES, ASIDE, SWAP, OPENS, UP];
    undone(&undo).ends(Found::Holds(0));
    undone(&[STOPS, CLOSES, OPENS, UP]).fails("not swapped in");
    undone(&undo[..5]).fails("nothing was started");
    // A lie that nothing shows counts as what it says.
    let lie = made(Play::From, Phase::Back, 0, &undo).breaks(UP, Kind::Lie);
    lie.with(|c| c.outcome.stderr.clear()).ends(Found::Named);
}

fn acts_of_a_stand_that_is_as_before() {
    let cell = |asked: &[&'static str]| made(Play::Release, Phase::Changed, 20, asked);
    let asked = [STOPS, CLOSES, OPENS, STARTS];
    cell(&asked).ends(Found::Holds(20));
    cell(&[STOPS, OPENS, STARTS]).ends(Found::Holds(20));
    cell(&[STOPS, CLOSES, OPENS, UP]).ends(Found::Holds(20));
    cell(&[STOPS, CLOSES, OPENS]).fails("nothing was started");
    cell(&[STARTS, STOPS, CLOSES, OPENS]).fails("nothing was started");
    cell(&[STOPS, CLOSES, OPENS, STARTS, STOPS]).fails("nothing was started after the last stop");
    cell(&[STOPS, CLOSES, STARTS]).fails("not opened");
    cell(&[STOPS, OPENS, CLOSES, STARTS]).fails("not opened");
    cell(&[STOPS, CLOSES, ASIDE, SWAP, OPENS, STARTS]).fails("renamed");
    cell(&asked).breaks(STARTS, Kind::Exit1).fails("nothing was started");
    cell(&asked).breaks(OPENS, Kind::Lie).fails("not opened");
    let refused = |asked: &[&'static str]| made(Play::Release, Phase::Before, 11, asked);
    refused(&[]).ends(Found::Holds(11));
    let stopped = refused(&[]).with(|c| c.calls.push(call(STOPS, None)));
    stopped.fails("services were stopped");
}

/// A release that passed is undone.
fn undone(asked: &[&'static str]) -> Made {
    let made = made(Play::Undo, Phase::Back, 0, asked);
    let last = json!({ "rid": "rel_bad" });
    last_good_is(&made.cell.before, &last);
    let dir = made.cell.before.join(DIR).join("rel_bad");
    std::fs::create_dir(&dir).unwrap();
    let target = json!({ "previous": { "rid": BEFORE } });
    std::fs::write(dir.join("target.json"), target.to_string()).unwrap();
    made
}

fn last_known_good() {
    let passed = || made(Play::Release, Phase::After, 0, &[STOPS, CLOSES, OPENS, UP]);
    let other = |c: &mut Cell| last_good_is(&c.repo, &json!({ "rid": "rel_other" }));
    let none = |c: &mut Cell| std::fs::remove_dir_all(c.repo.join(DIR)).unwrap();
    let why = "the last known good release is";
    passed().ends(Found::Holds(0));
    passed().with(other).fails(why);
    passed().with(none).fails(why);
    let undo = [STOPS, CLOSES, ASIDE, SWAP, OPENS, UP];
    undone(&undo).with(other).fails(why);
    undone(&undo).with(|c| last_good_is(&c.repo, &json!({ "rid": "rel_bad" }))).fails(why);
    made(Play::Release, Phase::Before, 20, &[]).with(other).fails(why);
    made(Play::From, Phase::Back, 0, &undo).ends(Found::Holds(0));
    made(Play::From, Phase::Back, 0, &undo).with(other).fails(why);
}

fn what_is_left_and_said_of_it() {
    let failed = || made(Play::Release, Phase::Changed, 20, &[STOPS, CLOSES, OPENS, STARTS]);
    let untouched = |phase| made(Play::Release, phase, 20, &[]);
    untouched(Phase::Before).ends(Found::Holds(20));
    // Evidence of a run that has stopped nothing, and the calls of one that has.
    let asked = [STOPS, CLOSES, OPENS, STARTS].map(|label| call(label, None));
    untouched(Phase::Changed).with(|c| c.calls.extend(asked)).fails("state_left `unchanged`");
    failed().with(|c| c.calls.drain(..4).for_each(drop)).fails("state_left `as before");
    failed().with(|c| c.outcome.dir = None).fails("no evidence");
    untouched(Phase::Before).with(|c| c.outcome.dir = None).ends(Found::Holds(20));
    let end = |c: &mut Cell, name: &str| {
        let file = c.outcome.dir.as_ref().unwrap().join(name);
        let text = std::fs::read_to_string(&file).unwrap() + "\n";
        std::fs::write(file, text).unwrap();
    };
    failed().with(|c| end(c, "summary.md")).fails("evidence verify");
    failed().with(|c| end(c, "step_change.log")).fails("evidence verify");
    let mut other = made(Play::Release, Phase::Before, 11, &[]);
    other.cell.outcome.code = 10;
    other.fails("summary.json says exit 11");
    // A release that passed and was not recorded: evidence that says PASS lies.
    let unsaved = |said: &str| {
        let made = made(Play::Release, Phase::After, 0, &[STOPS, CLOSES, OPENS, UP]);
        last_good_is(&made.cell.repo, &json!({ "rid": BEFORE }));
        made.with(|c| (c.outcome.code, c.outcome.stderr) = (50, said.into()))
    };
    unsaved("").fails("summary.json says exit 0");
    unsaved("the evidence of rel_fault_cell could not be saved").ends(Found::Holds(50));
    untouched(Phase::Before).with(|c| c.took = Duration::from_secs(200)).fails("took 200 s");
}

fn person() {
    let cell = || made(Play::Release, Phase::Changed, 40, &[STOPS, CLOSES, OPENS, UP]);
    cell().fails("no entry of acts.rs");
    cell().breaks(UP, Kind::Exit1).fails("no entry of acts.rs");
    cell().breaks(UP, Kind::Lie).ends(Found::Holds(40));
}

fn what_is_not_broken() {
    let whole = |c: &mut Cell| c.calls.retain(|c| c.fault.is_none());
    let passed = || made(Play::Release, Phase::After, 0, &[STOPS, CLOSES, OPENS, UP]);
    passed().with(whole).ends(Found::NotReached);
    passed().with(whole).with(|c| c.outcome.dir = None).fails("no evidence");
    made(Play::Release, Phase::Before, 20, &[]).with(whole).fails("though nothing was broken");
    let same = |c: &mut Cell| c.calls.iter_mut().for_each(|c| c.same = c.fault.is_some());
    passed().with(same).ends(Found::Same);
    passed().with(same).with(|c| last_good_is(&c.repo, &Value::Null)).fails("last known good");
    // A lie about an act that nothing shows; and a failure that nobody took for one.
    let believed = |kind| {
        let made = made(Play::Release, Phase::Changed, 0, &[STOPS, CLOSES, OPENS, UP]);
        made.breaks(STOPS, kind).with(|c| c.outcome.stderr.clear())
    };
    believed(Kind::Lie).ends(Found::NotSeen);
    believed(Kind::Lie).with(|c| last_good_is(&c.repo, &Value::Null)).fails("last known good");
    believed(Kind::Garbage).ends(Found::Named);
    believed(Kind::Exit1).fails("believed");
    let silent = |c: &mut Cell| c.outcome.stderr.clear();
    passed().with(silent).fails("believed");
    let (look, act) = ("docker image ls", "docker tag x");
    let after = || made(Play::Release, Phase::After, 0, &[STOPS, CLOSES, OPENS, UP, look, act]).with(silent);
    after().breaks(look, Kind::Empty).ends(Found::Named);
    after().breaks(look, Kind::Exit1).fails("believed");
    after().breaks(act, Kind::Exit1).fails("believed");
}

fn what_only_looks() {
    let cell = |code, kind| {
        let mut made = made(Play::Status, Phase::Before, code, &[]);
        made.cell.calls.iter_mut().for_each(|c| (c.act, c.fault) = (false, Some(kind)));
        made.kind = kind;
        made
    };
    for kind in [Kind::Exit1, Kind::Empty, Kind::Garbage, Kind::Half] {
        cell(0, kind).fails("believed");
        cell(0, kind).with(|c| c.outcome.stdout = "NOT KNOWN  the commit".into()).ends(Found::Holds(0));
        cell(10, kind).ends(Found::Holds(10));
    }
    cell(0, Kind::Lie).ends(Found::NotSeen);
    cell(20, Kind::Exit1).fails("exit 20");
    cell(10, Kind::Exit1).with(|c| c.calls[0].act = true).fails("it did");
}
