//! The stand-in for `docker`, `git` and `pwsh`. Recording, it runs the real
//! program and writes down what was asked and answered. Playing, it answers
//! for docker from the tape alone; git works for real on the cell's own copy of
//! the checkout, because its answers are files. A call may be broken in either.
#![allow(clippy::disallowed_methods)] // the stand-in of what the program's own exec starts

use super::broken::{is_true, printed, refused, rows};
use super::tape::{Answer, Kind, SETUP, Tape, Turn};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What an unknown call ends with.
pub const UNKNOWN: i32 = 97;

/// Answers for `program`; never returns.
pub fn play(program: &str) -> ! {
    let at = std::env::var_os(SETUP).expect("no tape was named");
    let tape = Tape::open(at.as_ref());
    let args: Vec<String> = std::env::args().skip(1).collect();
    let code = match program {
        "git" => git(&tape, &args),
        "docker" if is_session(&args) => session(&tape, &args),
        "docker" => docker(&tape, &args),
        _ => unknown(program, &args.join(" ")),
    };
    std::process::exit(code)
}

fn unknown(program: &str, what: &str) -> i32 {
    eprintln!("no recording has this call of {program}: {what}");
    UNKNOWN
}

fn is_session(args: &[String]) -> bool {
    let last = args.last().map(String::as_str);
    args.iter().any(|a| a == "exec") && (last == Some("ON_ERROR_STOP=0") || last == Some("sh"))
}

fn real(tape: &Tape, program: &str, args: &[String]) -> Command {
    let mut command = Command::new(program);
    command.args(args).env("PATH", &tape.setup.path);
    command
}

/// The real docker, its three streams in our hands.
fn start(tape: &Tape, args: &[String]) -> Child {
    let mut command = real(tape, &tape.setup.docker, args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
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

fn git(tape: &Tape, args: &[String]) -> i32 {
    let mut words = args.iter();
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
    let fault = tape.pass(&key, &label, act);
    let run = || {
        let done = real(tape, &tape.setup.git, args).stdin(Stdio::inherit()).output().unwrap();
        Answer { out: done.stdout, err: done.stderr, exit: done.status.code().unwrap_or(128) }
    };
    match fault {
        None => give(&run()),
        Some(Kind::Lie) if act => 0,
        // What is broken did nothing, but for an answer that needs the real one.
        Some(kind @ (Kind::Exit1 | Kind::Killed | Kind::Hangs)) => broken(kind, &Answer::default()),
        Some(kind @ (Kind::Empty | Kind::Garbage)) if act => broken(kind, &Answer::default()),
        Some(kind) => {
            let truth = run();
            if !act && is_true(kind, &truth, false) {
                tape.was_true(&key, &label);
            }
            broken(kind, &truth)
        }
    }
}

fn docker(tape: &Tape, args: &[String]) -> i32 {
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input).unwrap();
    let told = match std::str::from_utf8(&input) {
        Ok("") => String::new(),
        Ok(text) => format!(" < {text}"),
        Err(_) => " < bytes".into(),
    };
    let raw = args.join(" ") + &told;
    let (key, label) = tape.key(&format!("docker {raw}"));
    let act = acts(&label);
    if !tape.setup.record {
        return match tape.turn(&key, &label, &raw, act) {
            Turn::Serve(answer) => give(&answer),
            Turn::Break(kind, answer) => broken(kind, &answer),
            Turn::Unknown => unknown("docker", &raw),
        };
    }
    tape.pass(&key, &label, act);
    if tape.breaks(&label) {
        return broken(Kind::Exit1, &Answer::default());
    }
    let mut child = start(tape, args);
    let mut stdin = child.stdin.take().unwrap();
    std::thread::spawn(move || stdin.write_all(&input));
    let done = child.wait_with_output().unwrap();
    let answer = Answer { out: done.stdout, err: done.stderr, exit: done.status.code().unwrap_or(128) };
    tape.keep(&key, &label, act, &answer);
    give(&answer)
}

fn give(answer: &Answer) -> i32 {
    let _ = std::io::stderr().write_all(&answer.err);
    let _ = std::io::stdout().write_all(&answer.out).and_then(|()| std::io::stdout().flush());
    answer.exit
}

fn hang() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// A whole call, broken.
fn broken(kind: Kind, answer: &Answer) -> i32 {
    match kind {
        Kind::Exit1 => {
            eprintln!("error: broken on purpose");
            return 1;
        }
        Kind::Killed => std::process::abort(),
        Kind::Hangs => hang(),
        Kind::Empty | Kind::Garbage | Kind::Half | Kind::Lie => {
            let told = printed(kind, &answer.out).unwrap_or_default();
            drop(std::io::stdout().write_all(&told));
        }
    }
    0
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
fn session(tape: &Tape, args: &[String]) -> i32 {
    let database = args.iter().position(|a| a == "-d").and_then(|at| args.get(at + 1));
    let where_to = database.map_or_else(|| format!("sh {}", args[args.len() - 2]), |d| format!("psql {d}"));
    let mut talk = tape.setup.record.then(|| Talk::start(tape, args));
    let mut asked = String::new();
    let mut line = String::new();
    let mut input = std::io::stdin().lock();
    loop {
        line.clear();
        if input.read_line(&mut line).unwrap_or(0) == 0 {
            return talk.map_or(0, Talk::end);
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
                let answer = if broken { refused(&where_to) } else { talk.ask(&question, &mark) };
                say(&answer, &mark);
                if !broken {
                    tape.keep(&key, &label, act, &answer);
                }
            }
            None => match tape.turn(&key, &label, &raw, act) {
                Turn::Serve(answer) => say(&answer, &mark),
                Turn::Break(kind, answer) => {
                    if let Some(code) = said_wrong(kind, &answer, &where_to, &mark) {
                        return code;
                    }
                }
                Turn::Unknown => return unknown(&where_to, sql),
            },
        }
    }
}

/// An answer of a session, broken; with an exit code where the session ends by it.
fn said_wrong(kind: Kind, answer: &Answer, where_to: &str, mark: &str) -> Option<i32> {
    let text = String::from_utf8_lossy(&answer.out).into_owned();
    let (rows, rest) = rows(&text);
    match kind {
        Kind::Exit1 => say(&refused(where_to), mark),
        Kind::Killed => std::process::abort(),
        Kind::Hangs => hang(),
        Kind::Empty | Kind::Garbage | Kind::Lie => {
            let mut out = printed(kind, rows.as_bytes()).unwrap_or_default();
            out.extend_from_slice(rest.as_bytes());
            say(&Answer { out, ..answer.clone() }, mark);
        }
        Kind::Half => {
            let half = text.chars().take(text.chars().count() / 2).collect::<String>();
            say(&Answer { out: half.into_bytes(), ..Answer::default() }, mark);
            return Some(0);
        }
    }
    None
}

fn say(answer: &Answer, mark: &str) {
    let live = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace("{{MARK}}", mark);
    let _ = std::io::stderr().write_all(live(&answer.err).as_bytes());
    let _ = std::io::stdout().write_all(live(&answer.out).as_bytes());
    let _ = std::io::stdout().flush();
}

/// A real session while it is recorded.
struct Talk {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
    err: Arc<Mutex<Vec<u8>>>,
}

impl Talk {
    fn start(tape: &Tape, args: &[String]) -> Talk {
        let mut child = start(tape, args);
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

    fn ask(&mut self, question: &str, mark: &str) -> Answer {
        let stdin = self.child.stdin.as_mut().unwrap();
        let _ = stdin.write_all(question.as_bytes()).and_then(|()| stdin.flush());
        let mut out = String::new();
        loop {
            let mut line = String::new();
            if self.out.read_line(&mut line).unwrap_or(0) == 0 {
                std::process::exit(self.child.wait().ok().and_then(|s| s.code()).unwrap_or(1));
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
        Answer { out: folded(out), err: folded(err), exit: 0 }
    }

    fn end(mut self) -> i32 {
        drop(self.child.stdin.take());
        self.child.wait().ok().and_then(|s| s.code()).unwrap_or(1)
    }
}
