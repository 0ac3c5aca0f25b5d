//! Kills or stops the program at one line of its journal: exactly, and with
//! nothing in the program for it (support/die/die.c).

use super::process::{Outcome, Running, tool};
use super::{Evidence, Stand, note, wait_for};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Killed by signal 9.
const KILLED: i32 = -9;

/// A moment of a run: a line of its journal is not written any more, or is the last that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// As die.c has it: `before`, `after` or `said`.
    when: &'static str,
    /// What the line holds.
    line: String,
    /// In words: right before or right after what.
    pub name: String,
    pub step: String,
    pub act: String,
}

impl Moment {
    /// Before a line of this kind is written.
    pub fn before(kind: &str, step: &str, act: &str) -> Moment {
        Moment::at("before", kind, step, act)
    }

    /// When a line of this kind is on disk.
    pub fn after(kind: &str, step: &str, act: &str) -> Moment {
        Moment::at("after", kind, step, act)
    }

    fn at(when: &'static str, kind: &str, step: &str, act: &str) -> Moment {
        Moment {
            when,
            line: format!("\"kind\":\"{kind}\",\"step\":\"{step}\",\"act\":\"{act}\""),
            name: format!("{when} `{kind}` of {step}: {act}"),
            step: step.into(),
            act: act.into(),
        }
    }

    /// Of several acts of that name the one that is about this file.
    fn with_file(mut self, path: &Value) -> Moment {
        if let Some(name) = path.as_str() {
            // The data come right behind the name of the act, the path first.
            self.line += &format!(",\"data\":{{\"path\":{path}");
            self.name += &format!(" {name}");
        }
        self
    }

    /// When these words have been said: before there is a journal.
    pub fn said(words: &str) -> Moment {
        Moment {
            when: "said",
            line: words.into(),
            name: format!("when it says `{words}`"),
            step: String::new(),
            act: words.into(),
        }
    }
}

/// Right before every act of a run (its intent is the last line), and right after it (it is done, and
/// no line says so). An act that comes more than once counts once, but before each of the files that it
/// is about.
pub fn moments(evidence: &Evidence) -> Vec<Moment> {
    more_than(15, evidence)
}

/// The same of a run that may have so few.
pub fn more_than(least: usize, evidence: &Evidence) -> Vec<Moment> {
    let mut found: Vec<Moment> = Vec::new();
    for line in evidence.journal() {
        let of = |name: &str| line[name].as_str().unwrap().to_string();
        let moment = match of("kind").as_str() {
            "intent" => Moment::after("intent", &of("step"), &of("act")).with_file(&line["data"]["path"]),
            kind @ ("done" | "failed") => Moment::before(kind, &of("step"), &of("act")),
            _ => continue,
        };
        if !found.contains(&moment) {
            found.push(moment);
        }
    }
    assert!(found.len() > least, "only {} moments in the journal{}", found.len(), evidence.at);
    found
}

/// Some of them, others each time; all with FF_TEST_ALL. The choice is printed, and made again with
/// FF_TEST_SEED.
pub fn some<T: Clone>(moments: Vec<T>, count: usize) -> Vec<T> {
    if std::env::var_os("FF_TEST_ALL").is_some() || moments.len() <= count {
        return moments;
    }
    let seed = seed();
    note(format!("FF_TEST_SEED={seed}: {count} of {} moments; FF_TEST_ALL=1 takes all", moments.len()));
    // One of each of `count` equal parts, so that every stretch of a run has its turn.
    let part = moments.len() as f64 / count as f64;
    let shift = (seed * 137 % 1000) as f64 / 1000.0 * part;
    (0..count).map(|n| moments[(n as f64 * part + shift) as usize].clone()).collect()
}

/// Some of them behind those that are always there.
pub fn some_and(mut always: Vec<Moment>, moments: Vec<Moment>, count: usize) -> Vec<Moment> {
    let others: Vec<Moment> = some(moments, count).into_iter().filter(|m| !always.contains(m)).collect();
    always.extend(others);
    always
}

/// What chooses them. scripts/test says it and chooses another one each time; else it is the same for a
/// day, so that who sees it fail can run it again, and tomorrow others have their turn.
pub fn seed() -> u64 {
    let days = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 86_400;
    std::env::var("FF_TEST_SEED").ok().map_or(days, |s| s.parse().unwrap())
}

/// The library that kills, built for this test.
pub struct Die {
    path: PathBuf,
}

impl Die {
    pub fn build(stand: &Stand) -> Die {
        let path = stand.repo.with_file_name("die.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/die/die.c");
        let (out, source) = (path.display().to_string(), source.display().to_string());
        tool("cc", &["-shared", "-fPIC", "-o", &out, &source, "-ldl"], Path::new("/"), None);
        Die { path }
    }

    /// Runs the program on the stand until it is killed at that moment.
    #[track_caller]
    pub fn killed(&self, stand: &Stand, args: &[&str], moment: &Moment) -> Outcome {
        note(format!("{} killed {}", args[0], moment.name));
        let outcome = stand.heard(self.start(stand, args, moment).wait(), &[]);
        assert_eq!(outcome.code, KILLED, "not killed {}{}", moment.name, outcome.at());
        outcome
    }

    /// Starts the program on the stand; it is killed at that moment.
    pub fn start(&self, stand: &Stand, args: &[&str], moment: &Moment) -> Running {
        self.start_by("KILL", stand, args, moment)
    }

    /// Starts the program on the stand and returns when it stands still at that moment: what is changed
    /// now it finds when it is sent SIGCONT.
    #[track_caller]
    pub fn stopped(&self, stand: &Stand, args: &[&str], moment: &Moment) -> Running {
        let mut running = self.start_by("STOP", stand, args, moment);
        let stat = format!("/proc/{}/stat", running.id());
        wait_for(&moment.name, super::SOON * 7, || {
            assert!(!running.ended(), "it ended before it came to {}: {}", moment.name, running.said());
            // `pid (name) state ...`
            let stat = std::fs::read_to_string(&stat).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')).then_some(())
        });
        running
    }

    fn start_by(&self, signal: &str, stand: &Stand, args: &[&str], moment: &Moment) -> Running {
        let at = format!("{}:{}", moment.when, moment.line);
        let path = self.path.display().to_string();
        stand.start_in(&stand.repo, &[("LD_PRELOAD", &path), ("DIE_AT", &at), ("DIE_BY", signal)], args)
    }
}
