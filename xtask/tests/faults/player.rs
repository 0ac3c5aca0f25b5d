//! The stand-in for `docker`, `git` and `pwsh`. Recording, it runs the real
//! program and writes down what was asked and answered. Playing, it answers
//! for docker from the tape alone; git works for real on the cell's own copy of
//! the checkout, because its answers are files. A call may be broken in either.
#![allow(clippy::disallowed_methods)] // the stand-in of what the program's own exec starts

use crate::broken::{is_true, printed, refused, rows};
use crate::caller::{Caller, End};
use crate::tape::{Answer, Kind, Tape, Turn};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What an unknown call ends with.
pub const UNKNOWN: i32 = 97;

/// Answers the calls of one run, each in a thread of its own, until it is dropped.
pub struct Player {
    /// The socket: what the relays are told (`SETUP`).
    pub at: PathBuf,
    pub tape: Arc<Tape>,
    over: Arc<AtomicBool>,
}

impl Player {
    pub fn start(tape: Tape, state: &Path) -> Player {
        let at = state.join("player");
        let listener = UnixListener::bind(&at).unwrap();
        let (tape, over) = (Arc::new(tape), Arc::new(AtomicBool::new(false)));
        let (plays, ends) = (Arc::clone(&tape), Arc::clone(&over));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                let tape = Arc::clone(&plays);
                std::thread::spawn(move || {
                    if let Some(caller) = Caller::read(stream) {
                        let end = play(&tape, &caller);
                        caller.end(end);
                    }
                });
            }
        });
        Player { at, tape, over }
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // It waits for a call.
        let _ = UnixStream::connect(&self.at);
    }
}

fn play(tape: &Tape, caller: &Caller) -> End {
    match caller.program.as_str() {
        "git" => git(tape, caller),
        "docker" if is_session(&caller.args) => session(tape, caller),
        "docker" => docker(tape, caller),
        program => unknown(caller, program, &caller.args.join(" ")),
    }
}

fn unknown(caller: &Caller, program: &str, what: &str) -> End {
    caller.err(format!("no recording has this call of {program}: {what}\n").as_bytes());
    End::Exit(UNKNOWN)
}

fn is_session(args: &[String]) -> bool {
    let last = args.last().map(String::as_str);
    args.iter().any(|a| a == "exec") && (last == Some("ON_ERROR_STOP=0") || last == Some("sh"))
}

/// The real program, its three streams in our hands.
fn start(tape: &Tape, program: &str, caller: &Caller) -> Child {
    let mut command = Command::new(program);
    command.args(&caller.args).current_dir(&caller.dir).env_clear().envs(caller.env.iter().cloned());
    command.env("PATH", &tape.setup.path);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// What the real program says to this.
fn truth(tape: &Tape, program: &str, caller: &Caller, input: Vec<u8>) -> Answer {
    let mut child = start(tape, program, caller);
    let mut stdin = child.stdin.take().unwrap();
    std::thread::spawn(move || stdin.write_all(&input));
    let done = child.wait_with_output().unwrap();
    Answer { out: done.stdout, err: done.stderr, exit: done.status.code().unwrap_or(128) }
}

/// Words that say that a call changes something.
fn acts(words: &str) -> bool {
    const DOCKER: [&str; 14] = [
        " up -d",
        " build",
        " stop ",
        " tag ",
        " start ",
        " image rm",
        " pg_restore -U",
        " cat >",
        " COPY ",
        " RENAME ",
        " DEL ",
        "worktree ",
        "update-ref",
        "commit-tree",
    ];
    const SQL: [&str; 3] = ["| ALTER ", "| CREATE ", "| DROP "];
    DOCKER.iter().chain(&SQL).any(|w| words.contains(w)) && !words.contains(" -l /")
}

fn git(tape: &Tape, caller: &Caller) -> End {
    let mut words = caller.args.iter();
    let mut rest = Vec::new();
    while let Some(word) = words.next() {
        if word == "-c" {
            words.next();
        } else {
            rest.push(word.clone());
        }
    }
    let (key, label) = tape.key(&format!("git {}", rest.join(" ")));
    let act = acts(&label);
    let program = &tape.setup.git;
    match tape.pass(&key, &label, act) {
        None => End::Real(program.clone(), tape.setup.path.clone()),
        Some(Kind::Lie) if act => End::Exit(0),
        // What is broken did nothing, but for an answer that needs the real one.
        Some(kind @ (Kind::Exit1 | Kind::Killed | Kind::Hangs)) => broken(caller, kind, &Answer::default()),
        Some(kind @ (Kind::Empty | Kind::Garbage)) if act => broken(caller, kind, &Answer::default()),
        Some(kind) => {
            let truth = truth(tape, program, caller, caller.whole_input());
            if !act && is_true(kind, &truth, false) {
                tape.was_true(&key, &label);
            }
            broken(caller, kind, &truth)
        }
    }
}

fn docker(tape: &Tape, caller: &Caller) -> End {
    let input = caller.whole_input();
    let told = match std::str::from_utf8(&input) {
        Ok("") => String::new(),
        Ok(text) => format!(" < {text}"),
        Err(_) => " < bytes".into(),
    };
    let raw = caller.args.join(" ") + &told;
    let (key, label) = tape.key(&format!("docker {raw}"));
    let act = acts(&label);
    if !tape.setup.record {
        return match tape.turn(&key, &label, &raw, act) {
            Turn::Serve(answer) => give(caller, &answer),
            Turn::Break(kind, answer) => broken(caller, kind, &answer),
            Turn::Unknown => unknown(caller, "docker", &raw),
        };
    }
    tape.pass(&key, &label, act);
    if tape.breaks(&label) {
        return broken(caller, Kind::Exit1, &Answer::default());
    }
    let answer = truth(tape, &tape.setup.docker, caller, input);
    tape.keep(&key, &label, act, &answer);
    give(caller, &answer)
}

fn give(caller: &Caller, answer: &Answer) -> End {
    caller.err(&answer.err);
    caller.out(&answer.out);
    End::Exit(answer.exit)
}

/// A whole call, broken.
fn broken(caller: &Caller, kind: Kind, answer: &Answer) -> End {
    match kind {
        Kind::Exit1 => {
            caller.err(b"error: broken on purpose\n");
            End::Exit(1)
        }
        Kind::Killed => End::Killed,
        Kind::Hangs => End::Hangs,
        Kind::Empty | Kind::Garbage | Kind::Half | Kind::Lie => {
            caller.out(&printed(kind, &answer.out).unwrap_or_default());
            End::Exit(0)
        }
    }
}

/// The mark that ends a question: the last word of its last line.
fn mark_of(line: &str) -> Option<String> {
    let echo = line.strip_prefix("\\echo ff-mark-").filter(|rest| !rest.contains(' '));
    if let Some(rest) = echo {
        return Some(format!("ff-mark-{rest}"));
    }
    let at = line.rfind("; printf '%s\\n' ff-shell-")?;
    Some(line[at..].rsplit(' ').next()?.to_string())
}

/// A psql or a shell that is talked to: one entry for each question.
fn session(tape: &Tape, caller: &Caller) -> End {
    let args = &caller.args;
    let database = args.iter().position(|a| a == "-d").and_then(|at| args.get(at + 1));
    let where_to = database.map_or_else(|| format!("sh {}", args[args.len() - 2]), |d| format!("psql {d}"));
    let mut talk = tape.setup.record.then(|| Talk::start(tape, caller));
    let mut asked = String::new();
    let mut line = String::new();
    let mut input = caller.input();
    loop {
        line.clear();
        if input.read_line(&mut line).unwrap_or(0) == 0 {
            return End::Exit(talk.map_or(0, Talk::end));
        }
        asked.push_str(&line);
        let Some(mark) = mark_of(line.trim_end()) else { continue };
        let question = std::mem::take(&mut asked);
        let raw = format!("{} {where_to}", args.join(" "));
        let plain = question.replace(&mark, "{{MARK}}");
        let sql = plain.split("\n;\n\\echo").next().unwrap_or_default();
        let (key, label) = tape.key(&format!("{where_to} | {sql}"));
        let act = acts(&label) || where_to.starts_with("sh ") && label.contains(" -f");
        match &mut talk {
            Some(talk) => {
                tape.pass(&key, &label, act);
                let broken = tape.breaks(&label);
                let answer = if broken { Ok(refused(&where_to)) } else { talk.ask(&question, &mark) };
                let answer = match answer {
                    Ok(answer) => answer,
                    Err(code) => return End::Exit(code),
                };
                say(caller, &answer, &mark);
                if !broken {
                    tape.keep(&key, &label, act, &answer);
                }
            }
            None => match tape.turn(&key, &label, &raw, act) {
                Turn::Serve(answer) => say(caller, &answer, &mark),
                Turn::Break(kind, answer) => {
                    if let Some(end) = said_wrong(caller, kind, &answer, &where_to, &mark) {
                        return end;
                    }
                }
                Turn::Unknown => return unknown(caller, &where_to, sql),
            },
        }
    }
}

/// An answer of a session, broken; with an end where the session ends by it.
fn said_wrong(caller: &Caller, kind: Kind, answer: &Answer, where_to: &str, mark: &str) -> Option<End> {
    let text = String::from_utf8_lossy(&answer.out).into_owned();
    let (rows, rest) = rows(&text);
    match kind {
        Kind::Exit1 => say(caller, &refused(where_to), mark),
        Kind::Killed => return Some(End::Killed),
        Kind::Hangs => return Some(End::Hangs),
        Kind::Empty | Kind::Garbage | Kind::Lie => {
            let mut out = printed(kind, rows.as_bytes()).unwrap_or_default();
            out.extend_from_slice(rest.as_bytes());
            say(caller, &Answer { out, ..answer.clone() }, mark);
        }
        Kind::Half => {
            let half = text.chars().take(text.chars().count() / 2).collect::<String>();
            say(caller, &Answer { out: half.into_bytes(), ..Answer::default() }, mark);
            return Some(End::Exit(0));
        }
    }
    None
}

fn say(caller: &Caller, answer: &Answer, mark: &str) {
    let live = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace("{{MARK}}", mark);
    caller.err(live(&answer.err).as_bytes());
    caller.out(live(&answer.out).as_bytes());
}

/// A real session while it is recorded.
struct Talk {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
    err: Arc<Mutex<Vec<u8>>>,
}

impl Talk {
    fn start(tape: &Tape, caller: &Caller) -> Talk {
        let mut child = start(tape, &tape.setup.docker, caller);
        let out = BufReader::new(child.stdout.take().unwrap());
        let mut from = child.stderr.take().unwrap();
        let err = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&err);
        std::thread::spawn(move || {
            let mut buffer = [0u8; 4096];
            while let Ok(read @ 1..) = from.read(&mut buffer) {
                to.lock().unwrap().extend_from_slice(&buffer[..read]);
            }
        });
        Talk { child, out, err }
    }

    /// Or the code with which the session ended before it had answered.
    fn ask(&mut self, question: &str, mark: &str) -> Result<Answer, i32> {
        let stdin = self.child.stdin.as_mut().unwrap();
        let _ = stdin.write_all(question.as_bytes()).and_then(|()| stdin.flush());
        let mut out = String::new();
        loop {
            let mut line = String::new();
            if self.out.read_line(&mut line).unwrap_or(0) == 0 {
                return Err(self.child.wait().ok().and_then(|s| s.code()).unwrap_or(1));
            }
            out.push_str(&line);
            if line.trim_end() == mark {
                break;
            }
        }
        // A shell marks the end of its stderr, too.
        let wanted = mark.starts_with("ff-shell");
        let err = loop {
            let text = String::from_utf8_lossy(&self.err.lock().unwrap()).into_owned();
            if !wanted || text.contains(mark) {
                break text;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        self.err.lock().unwrap().clear();
        let folded = |text: String| text.replace(mark, "{{MARK}}").into_bytes();
        Ok(Answer { out: folded(out), err: folded(err), exit: 0 })
    }

    fn end(mut self) -> i32 {
        drop(self.child.stdin.take());
        self.child.wait().ok().and_then(|s| s.code()).unwrap_or(1)
    }
}
