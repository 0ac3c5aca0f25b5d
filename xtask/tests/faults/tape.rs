//! A tape: what the real programs were asked and what they answered. Answers
//! are looked up by what is asked and by how far the world is: an act (a call
//! that changes something) moves it on. Starts no program.

use super::broken::is_true;
pub use super::broken::{KINDS, Kind};
use regex::Regex;
use serde::{Deserialize, Serialize};
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use xtask::fsx::sha256;

/// Says where the setup of a player lies.
pub const SETUP: &str = "XTASK_TAPE";

/// One call to break: its key and its how many-eth time, from 1; in a recording 0 is every time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fault {
    pub key: String,
    pub nth: u32,
    pub kind: Kind,
}

/// What a player is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Setup {
    pub record: bool,
    pub docker: String,
    pub git: String,
    /// The PATH of the real programs.
    pub path: String,
    pub tape: PathBuf,
    /// Numbers of this recording start here.
    pub first: u64,
    pub state: PathBuf,
    pub dir: String,
    pub port: u16,
    pub rid: String,
    /// In a recording by a word of the label, in a play by key.
    pub faults: Vec<Fault>,
}

/// A call as it came, for the test.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Call {
    pub key: String,
    pub nth: u32,
    pub label: String,
    pub act: bool,
    pub fault: Option<Kind>,
    /// No tape has it.
    pub unknown: bool,
    /// The world stood still after a lie, and this answer shows it.
    pub stale: bool,
    /// The broken answer is the true one.
    pub same: bool,
}

#[derive(Default, Serialize, Deserialize)]
struct State {
    counts: BTreeMap<String, u32>,
    served: BTreeMap<String, u64>,
    /// How far each part of the world is: containers, databases, shells.
    at: BTreeMap<char, u64>,
    next: u64,
    frozen: bool,
    id: String,
}

/// An answer.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    pub out: Vec<u8>,
    pub err: Vec<u8>,
    pub exit: i32,
}

pub struct Tape {
    pub setup: Setup,
    port: String,
    /// The tail of a run's short id.
    tail: String,
    /// What was recorded, a line each: number, key, 1 for an act, part of the world.
    index: OnceCell<String>,
}

/// Replaces what `expression` finds in texts that have `word`. A player answers one call and ends:
/// without optimisation, building an expression takes longer than all else that it does.
fn replaced(text: String, word: &str, expression: &str, with: &str) -> String {
    if !text.contains(word) {
        return text;
    }
    Regex::new(expression).unwrap().replace_all(&text, with).into_owned()
}

/// What a player does about a call.
pub enum Turn {
    Serve(Answer),
    Break(Kind, Answer),
    Unknown,
}

impl Tape {
    pub fn open(at: &Path) -> Tape {
        let setup: Setup = serde_json::from_slice(&std::fs::read(at).unwrap()).unwrap();
        let tail = sha256(setup.rid.as_bytes())[..4].to_string();
        Tape { port: setup.port.to_string(), tail, setup, index: OnceCell::new() }
    }

    /// Run-specific words as marks.
    fn fold(&self, text: &str) -> String {
        let mut text = text.replace(&self.setup.dir, "{{DIR}}").replace(&self.setup.rid, "{{RID}}");
        let port = format!("(^|[^0-9A-Za-z]){}($|[^0-9A-Za-z])", self.port);
        for _ in 0..2 {
            text = replaced(text, &self.port, &port, "${1}{{PORT}}${2}");
        }
        let text = replaced(text, &self.tail, &self.id(), "{{ID}}");
        // The random tail of an archive's name in the container.
        replaced(text, "{{ID}}_", r"\{\{ID\}\}_[0-9a-f]{6}\b", "{{ID}}_N")
    }

    /// A short id of this run.
    fn id(&self) -> String {
        format!("[0-9]{{8}}t[0-9]{{6}}_{}", self.tail)
    }

    fn unfold(&self, text: &str, id: &str) -> String {
        text.replace("{{DIR}}", &self.setup.dir)
            .replace("{{RID}}", &self.setup.rid)
            .replace("{{PORT}}", &self.setup.port.to_string())
            .replace("{{ID}}", id)
    }

    /// The key of a call, and its label: what is asked, with run-specific words as marks.
    pub fn key(&self, question: &str) -> (String, String) {
        let label = self.fold(question);
        let label =
            replaced(label, "timeout", r#"\\*"timeout\\*":[0-9.]+"#, "\"timeout\":N").replace('\n', " ");
        // Who holds the lock, as its session tells it.
        let label = replaced(label, "\"since\":", r#""pid":[0-9]+,"since":"[^"]*""#, "\"pid\":N,\"since\":T");
        (sha256(label.as_bytes())[..16].to_string(), label)
    }

    fn locked<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let lock = File::create(self.setup.state.join("lock")).unwrap();
        lock.lock().unwrap();
        let path = self.setup.state.join("state.json");
        let mut state: State =
            std::fs::read(&path).ok().and_then(|b| serde_json::from_slice(&b).ok()).unwrap_or_default();
        let result = work(&mut state);
        std::fs::write(&path, serde_json::to_vec(&state).unwrap()).unwrap();
        result
    }

    fn log(&self, call: &Call) {
        let mut file =
            OpenOptions::new().append(true).create(true).open(self.setup.state.join("log.jsonl")).unwrap();
        file.write_all((serde_json::to_string(call).unwrap() + "\n").as_bytes()).unwrap();
    }

    /// Learns the run's short id from what is asked.
    fn learn(&self, state: &mut State, raw: &str) {
        if state.id.is_empty()
            && raw.contains(&self.tail)
            && let Some(found) = Regex::new(&self.id()).unwrap().find(raw)
        {
            state.id = found.as_str().into();
        }
    }

    /// In a recording: is this call to be broken?
    pub fn breaks(&self, label: &str) -> bool {
        let Some(fault) = self.setup.faults.iter().find(|f| label.contains(&f.key)) else { return false };
        fault.nth == 0 || self.locked(|state| self.count(state, &fault.key).0) == fault.nth
    }

    /// Counts a call; says whether and how it is to be broken.
    fn count(&self, state: &mut State, key: &str) -> (u32, Option<Kind>) {
        let count = state.counts.entry(key.into()).or_default();
        *count += 1;
        let fault = self.setup.faults.iter().find(|f| f.key == key && f.nth == *count);
        (*count, fault.map(|f| f.kind))
    }

    /// A call that passes through to the real program: counted and logged only.
    pub fn pass(&self, key: &str, label: &str, act: bool) -> Option<Kind> {
        self.locked(|state| {
            let (nth, fault) = self.count(state, key);
            let (key, label) = (key.into(), label.into());
            self.log(&Call { key, nth, label, act, fault, unknown: false, stale: false, same: false });
            fault
        })
    }

    /// Adds to the log that the broken answer of a call which passed through was the true one.
    pub fn was_true(&self, key: &str, label: &str) {
        let (key, label) = (key.into(), label.into());
        let call =
            Call { key, nth: 0, label, act: false, fault: None, unknown: false, stale: false, same: true };
        self.locked(|_| self.log(&call));
    }

    /// Writes an answer down.
    pub fn keep(&self, key: &str, label: &str, act: bool, answer: &Answer) {
        self.locked(|state| {
            let seq = self.setup.first + state.next;
            state.next += 1;
            let place = self.setup.tape.join(seq.to_string());
            let folded = |bytes: &[u8]| match std::str::from_utf8(bytes) {
                Ok(text) => self.fold(text).into_bytes(),
                Err(_) => bytes.to_vec(),
            };
            std::fs::write(place.with_extension("out"), folded(&answer.out)).unwrap();
            std::fs::write(place.with_extension("err"), folded(&answer.err)).unwrap();
            std::fs::write(place.with_extension("exit"), answer.exit.to_string()).unwrap();
            std::fs::write(place.with_extension("asked"), label).unwrap();
            let index = self.setup.tape.join("index");
            let mut index = OpenOptions::new().append(true).create(true).open(index).unwrap();
            writeln!(index, "{seq} {key} {} {}", u8::from(act), part(label)).unwrap();
        });
    }

    /// The answers to a question by their number, and the acts: number and part of the world.
    fn index(&self, key: &str) -> (Vec<u64>, Vec<(u64, char)>) {
        let text = self.index.get_or_init(|| std::fs::read_to_string(self.setup.tape.join("index")).unwrap());
        let (mut mine, mut acts) = (Vec::new(), Vec::new());
        // A player answers one call and ends, unoptimised: only what is wanted is taken apart.
        for line in text.lines().filter(|l| l.contains(key) || l.contains(" 1 ")) {
            let words: Vec<&str> = line.split(' ').collect();
            let seq = words[0].parse().unwrap();
            if words[1] == key {
                mine.push(seq);
            }
            if words[2] == "1" {
                acts.push((seq, words[3].chars().next().unwrap()));
            }
        }
        mine.sort();
        acts.sort();
        (mine, acts)
    }

    /// The turn of a call: from the tape, broken, or unknown.
    pub fn turn(&self, key: &str, label: &str, raw: &str, act: bool) -> Turn {
        let (mine, acts) = self.index(key);
        self.locked(|state| {
            self.learn(state, raw);
            let (nth, fault) = self.count(state, key);
            let last = state.served.get(key).copied();
            let at = state.at.get(&part(label)).copied().unwrap_or(0);
            let next_act = acts.iter().find(|a| a.1 == part(label) && a.0 > at).map_or(u64::MAX, |a| a.0);
            let after = last.map_or(at, |l| l.max(at));
            let fresh = mine.iter().copied().find(|s| *s > after);
            let inside = |s: &u64| *s > at && *s < next_act;
            let stays = |l: u64| l > at || same_run(l, at) && fresh.is_some_and(|f| !same_run(f, l));
            let picked = if act {
                // Acts side by side come in any order: the next one of the same, wherever the world is.
                let next = mine.iter().copied().find(|s| last.is_none_or(|l| *s > l));
                next.filter(|s| last.is_none_or(|l| same_run(*s, l))).or(last)
            } else {
                fresh
                    .filter(inside)
                    .or(last.filter(inside))
                    .or(if last.is_some_and(stays) { last } else { fresh })
                    .or(last)
                    .or(mine.last().copied())
            };
            let mut stale = false;
            let seq = match (picked, last) {
                (Some(seq), Some(last)) if state.frozen && !act && fault.is_none() => {
                    stale = self.read(seq, "").out != self.read(last, "").out;
                    Some(last)
                }
                (seq, _) => seq,
            };
            let same = match (fault, seq) {
                (Some(kind), Some(seq)) if !act => {
                    is_true(kind, &self.read(seq, &state.id), is_session(label))
                }
                _ => false,
            };
            self.log(&Call {
                key: key.into(),
                nth,
                label: label.into(),
                act,
                fault,
                unknown: seq.is_none(),
                stale,
                same,
            });
            let Some(seq) = seq else { return Turn::Unknown };
            let lie = fault == Some(Kind::Lie) && act;
            state.frozen |= lie;
            state.served.insert(key.into(), seq);
            if act && !lie {
                state.at.insert(part(label), at.max(seq));
            }
            let answer = self.read(seq, &state.id);
            match fault {
                None => Turn::Serve(answer),
                // An act that was never done and is said to be: its own words.
                Some(_) if lie => Turn::Serve(answer),
                Some(kind) => Turn::Break(kind, answer),
            }
        })
    }

    fn read(&self, seq: u64, id: &str) -> Answer {
        let place = self.setup.tape.join(seq.to_string());
        let read = |end: &str| std::fs::read(place.with_extension(end)).unwrap();
        let live = |bytes: Vec<u8>| match String::from_utf8(bytes) {
            Ok(text) => self.unfold(&text, id).into_bytes(),
            Err(error) => error.into_bytes(),
        };
        let exit = String::from_utf8(read("exit")).unwrap().parse().unwrap();
        Answer { out: live(read("out")), err: live(read("err")), exit }
    }
}

fn is_session(label: &str) -> bool {
    label.starts_with("psql ") || label.starts_with("sh ")
}

/// The part of the world that a call is about: what is done in one moves no other on.
fn part(label: &str) -> char {
    match label {
        l if l.starts_with("psql ") || l.contains("PGAPPNAME") => 'd',
        l if l.starts_with("sh ") => 's',
        _ => 'c',
    }
}

/// Are these of one recording? What was asked less often in a slow one goes on with its own answers,
/// not with those of another world.
fn same_run(one: u64, other: u64) -> bool {
    one / 1_000_000 == other / 1_000_000
}
