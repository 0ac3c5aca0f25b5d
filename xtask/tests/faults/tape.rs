//! A tape: what the real programs were asked and what they answered. Answers
//! are looked up by what is asked and by how far the world is: an act (a call
//! that changes something) moves it on. Starts no program.

use super::broken::is_true;
pub use super::broken::{KINDS, Kind};
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};
use xtask::fsx::sha256;

/// Says where the socket of a player lies.
pub const SETUP: &str = "XTASK_TAPE";

/// One call to break: its key and its how many-eth time, from 1; in a recording 0 is every time.
#[derive(Debug, Clone)]
pub struct Fault {
    pub key: String,
    pub nth: u32,
    pub kind: Kind,
}

/// What a player is told.
#[derive(Clone)]
pub struct Setup {
    pub record: bool,
    pub docker: String,
    pub git: String,
    /// The PATH of the real programs.
    pub path: String,
    pub tape: PathBuf,
    /// Numbers of this recording start here.
    pub first: u64,
    /// The checkout of this run, as marks stand for it.
    pub dir: String,
    pub port: u16,
    pub rid: String,
    /// In a recording by a word of the label, in a play by key.
    pub faults: Vec<Fault>,
}

/// A call as it came, for the test.
#[derive(Debug, Clone)]
pub struct Call {
    pub key: String,
    pub nth: u32,
    pub label: String,
    pub act: bool,
    pub fault: Option<Kind>,
    /// No tape has it.
    pub unknown: bool,
    /// This part of the world stood still after a lie, and this answer shows it.
    pub stale: bool,
    /// The broken answer is the true one.
    pub same: bool,
}

#[derive(Default)]
struct State {
    calls: Vec<Call>,
    counts: BTreeMap<String, u32>,
    served: BTreeMap<String, u64>,
    /// How far each part of the world is: containers, databases, shells.
    at: BTreeMap<char, u64>,
    next: u64,
    /// Parts of the world that stand still after a lie.
    frozen: BTreeSet<char>,
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
    index: Arc<Index>,
    /// A short id of this run, its tail, the port.
    id: Regex,
    tail: String,
    port: Regex,
    state: Mutex<State>,
}

/// What was recorded: the answers to each question by their number, and the acts of each part of the world.
#[derive(Default)]
pub struct Index {
    answers: BTreeMap<String, Vec<u64>>,
    acts: BTreeMap<char, Vec<u64>>,
}

impl Index {
    /// A line for each: number, key, 1 for an act, part of the world.
    pub fn read(tape: &Path) -> Index {
        let mut index = Index::default();
        for line in std::fs::read_to_string(tape.join("index")).unwrap().lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let number = words[0].parse().unwrap();
            index.answers.entry(words[1].into()).or_default().push(number);
            if words[2] == "1" {
                index.acts.entry(words[3].chars().next().unwrap()).or_default().push(number);
            }
        }
        let all = index.answers.values_mut().chain(index.acts.values_mut());
        all.for_each(|numbers| numbers.sort());
        index
    }
}

static TIMEOUT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#"\\*"timeout\\*":[0-9.]+"#).unwrap());
static ARCHIVE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\{\{ID\}\}_[0-9a-f]{6}\b").unwrap());
static HOLDER: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#""pid":[0-9]+,"since":"[^"]*""#).unwrap());

/// Replaces what `expression` finds in texts that have `word`: to look for that costs next to nothing.
fn replaced(text: String, word: &str, expression: &Regex, with: &str) -> String {
    if text.contains(word) { expression.replace_all(&text, with).into_owned() } else { text }
}

/// What a player does about a call.
pub enum Turn {
    Serve(Answer),
    Break(Kind, Answer),
    Unknown,
}

impl Tape {
    /// `index`: of what was recorded before; a recording reads none.
    pub fn open(setup: Setup, index: Arc<Index>) -> Tape {
        let tail = sha256(setup.rid.as_bytes())[..4].to_string();
        let regex = |text: String| Regex::new(&text).unwrap();
        Tape {
            id: regex(format!("[0-9]{{8}}t[0-9]{{6}}_{tail}")),
            port: regex(format!("(^|[^0-9A-Za-z]){}($|[^0-9A-Za-z])", setup.port)),
            tail,
            index,
            setup,
            state: Mutex::default(),
        }
    }

    /// Every call until now.
    pub fn calls(&self) -> Vec<Call> {
        self.state.lock().unwrap().calls.clone()
    }

    /// Run-specific words as marks.
    fn fold(&self, text: &str) -> String {
        let mut text = text.replace(&self.setup.dir, "{{DIR}}").replace(&self.setup.rid, "{{RID}}");
        let port = self.setup.port.to_string();
        // Twice: neighbours share what stands between them.
        for _ in 0..2 {
            text = replaced(text, &port, &self.port, "${1}{{PORT}}${2}");
        }
        let text = replaced(text, &self.tail, &self.id, "{{ID}}");
        // The random tail of an archive's name in the container.
        replaced(text, "{{ID}}_", &ARCHIVE, "{{ID}}_N")
    }

    fn unfold(&self, text: &str, id: &str) -> String {
        text.replace("{{DIR}}", &self.setup.dir)
            .replace("{{RID}}", &self.setup.rid)
            .replace("{{PORT}}", &self.setup.port.to_string())
            .replace("{{ID}}", id)
    }

    /// The key of a call, and its label: what is asked, with run-specific words as marks.
    pub fn key(&self, question: &str) -> (String, String) {
        let label = replaced(self.fold(question), "timeout", &TIMEOUT, "\"timeout\":N").replace('\n', " ");
        // Who holds the lock, as its session tells it.
        let label = replaced(label, "\"since\":", &HOLDER, "\"pid\":N,\"since\":T");
        (sha256(label.as_bytes())[..16].to_string(), label)
    }

    /// Learns the run's short id from what is asked.
    fn learn(&self, state: &mut State, raw: &str) {
        if state.id.is_empty()
            && raw.contains(&self.tail)
            && let Some(found) = self.id.find(raw)
        {
            state.id = found.as_str().into();
        }
    }

    /// In a recording: is this call to be broken?
    pub fn breaks(&self, label: &str) -> bool {
        let Some(fault) = self.setup.faults.iter().find(|f| label.contains(&f.key)) else { return false };
        fault.nth == 0 || self.count(&mut self.state.lock().unwrap(), &fault.key).0 == fault.nth
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
        let mut state = self.state.lock().unwrap();
        let (nth, fault) = self.count(&mut state, key);
        let (key, label) = (key.into(), label.into());
        state.calls.push(Call { key, nth, label, act, fault, unknown: false, stale: false, same: false });
        fault
    }

    /// Adds to the log that the broken answer of a call which passed through was the true one.
    pub fn was_true(&self, key: &str, label: &str) {
        let (key, label) = (key.into(), label.into());
        let call =
            Call { key, nth: 0, label, act: false, fault: None, unknown: false, stale: false, same: true };
        self.state.lock().unwrap().calls.push(call);
    }

    /// Writes an answer down.
    pub fn keep(&self, key: &str, label: &str, act: bool, answer: &Answer) {
        let mut state = self.state.lock().unwrap();
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
    }

    /// The turn of a call: from the tape, broken, or unknown.
    pub fn turn(&self, key: &str, label: &str, raw: &str, act: bool) -> Turn {
        let mine: &[u64] = self.index.answers.get(key).map_or(&[], Vec::as_slice);
        let acts: &[u64] = self.index.acts.get(&part(label)).map_or(&[], Vec::as_slice);
        let mut guard = self.state.lock().unwrap();
        let state = &mut *guard;
        self.learn(state, raw);
        let (nth, fault) = self.count(state, key);
        let last = state.served.get(key).copied();
        let at = state.at.get(&part(label)).copied().unwrap_or(0);
        let next_act = acts.iter().copied().find(|a| *a > at).unwrap_or(u64::MAX);
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
        let still = state.frozen.contains(&part(label));
        let mut stale = false;
        let seq = match (picked, last) {
            (Some(seq), Some(last)) if still && !act && fault.is_none() => {
                stale = self.read(seq, "").out != self.read(last, "").out;
                Some(last)
            }
            (seq, _) => seq,
        };
        let same = match (fault, seq) {
            (Some(kind), Some(seq)) if !act => is_true(kind, &self.read(seq, &state.id), is_session(label)),
            _ => false,
        };
        state.calls.push(Call {
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
        if lie {
            state.frozen.extend(reaches(part(label)));
        }
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

/// Where it shows that an act of this part was not done: what containers do reaches the databases, what
/// is done within a database reaches no container.
fn reaches(part: char) -> &'static [char] {
    if part == 'c' { &['c', 'd', 's'] } else { &['d', 's'] }
}

/// Are these of one recording? What was asked less often in a slow one goes on with its own answers,
/// not with those of another world.
fn same_run(one: u64, other: u64) -> bool {
    one / 1_000_000 == other / 1_000_000
}
