//! The one place that starts processes. An [`Invocation`] is data; [`Exec`]
//! runs it in a process group of its own, with a deadline, streams its masked
//! output to a RAW log and ends the whole group when time is up or the
//! operator says stop. Knows nothing of docker or of steps.

mod interrupt;
mod limit;
mod pump;
mod rawlog;
mod session;

pub use interrupt::{Interrupt, Kind};
pub use limit::capped;
pub use rawlog::RawLog;
pub use session::Session;

use crate::error::{Context, Fault, Lane, Result};
use crate::redact::Redactor;
use std::io::Read;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What to start: values only, runs nothing.
#[derive(Debug, Clone)]
pub struct Invocation {
    pub program: String,
    pub args: Vec<String>,
    /// Added to the inherited environment. Secrets travel here or by stdin, never in `args`.
    pub env: Vec<(String, String)>,
    pub cwd: Option<PathBuf>,
    /// Bytes for stdin; without them stdin is closed.
    pub stdin: Option<Vec<u8>>,
    pub timeout: Duration,
    /// Standard output is data with secrets or bulk in it: the log gets its size only.
    pub quiet: bool,
}

/// Enough for a call that answers from local state.
pub const SHORT: Duration = Duration::from_secs(60);

impl Invocation {
    pub fn new(program: &str) -> Invocation {
        Invocation {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            cwd: None,
            stdin: None,
            timeout: SHORT,
            quiet: false,
        }
    }
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }
    pub fn args<I: IntoIterator<Item = S>, S: Into<String>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }
    pub fn env(mut self, key: &str, value: impl Into<String>) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }
    pub fn cwd(mut self, dir: impl Into<PathBuf>) -> Self {
        self.cwd = Some(dir.into());
        self
    }
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }
    /// Program and arguments, as they are journaled.
    pub fn argv(&self) -> Vec<String> {
        std::iter::once(self.program.clone()).chain(self.args.iter().cloned()).collect()
    }
}

/// How a process ended: five different things, never one bool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Exit(i32),
    Signal(i32),
    TimedOut(Duration),
    Interrupted,
    /// Another part failed: the result is no longer wanted.
    GivenUp,
}

/// How [`Ended::GivenUp`] reads, for those who only have the text.
pub const GIVEN_UP: &str = "given up: another part failed first";

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ended::Exit(code) => write!(f, "exit {code}"),
            Ended::Signal(number) => write!(f, "killed by signal {number}"),
            Ended::TimedOut(limit) => write!(f, "no end within {} s", limit.as_secs()),
            Ended::Interrupted => write!(f, "interrupted"),
            Ended::GivenUp => f.write_str(GIVEN_UP),
        }
    }
}

/// A process that ended, however it did.
#[derive(Debug, Clone)]
pub struct Finished {
    pub argv: Vec<String>,
    pub ended: Ended,
    /// Standard output as it came, for parsing; empty where it went to a sink.
    pub stdout: Vec<u8>,
    /// The end of standard error, masked: at most 64 KiB.
    pub stderr: String,
    pub ms: u64,
    log: Option<PathBuf>,
}

impl Finished {
    /// A command that ran inside a session.
    pub fn of_session(
        argv: Vec<String>,
        ended: Ended,
        stdout: String,
        stderr: String,
        ms: u64,
        log: Option<PathBuf>,
    ) -> Finished {
        Finished { argv, ended, stdout: stdout.into_bytes(), stderr, ms, log }
    }
    pub fn ok(&self) -> bool {
        self.ended == Ended::Exit(0)
    }
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
    /// This, when it ended with 0; else a fault that quotes the end of its stderr.
    pub fn success(self, what: &str, lane: Lane) -> Result<Finished> {
        if self.ok() { Ok(self) } else { Err(self.fault(what, lane).into()) }
    }
    /// The fault that this end means.
    pub fn fault(&self, what: &str, lane: Lane) -> Fault {
        let cause = self
            .stderr
            .lines()
            .map(str::trim)
            .rfind(|l| l.contains("ERROR") || l.contains("error") || l.contains("FATAL"))
            .or_else(|| self.stderr.lines().map(str::trim).rfind(|l| !l.is_empty()))
            .unwrap_or_default();
        let why = if cause.is_empty() { self.ended.to_string() } else { format!("{}: {cause}", self.ended) };
        let mut fault = Fault::new(what).why(why).lane(lane);
        fault.log.clone_from(&self.log);
        fault
    }
}

/// Runs invocations. Cheap to clone; each clone may have its own log.
#[derive(Clone)]
pub struct Exec {
    redactor: Redactor,
    interrupt: Interrupt,
    /// Variables that no child may inherit.
    hidden: Arc<Vec<String>>,
    log: Option<Arc<RawLog>>,
    shielded: bool,
    /// Raised when the result is no longer wanted.
    cancel: Option<Arc<AtomicBool>>,
}

/// Takes standard output while it comes.
pub type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> std::io::Result<()>;

impl Exec {
    pub fn new(redactor: Redactor, interrupt: Interrupt) -> Exec {
        Exec { redactor, interrupt, hidden: Arc::default(), log: None, shielded: false, cancel: None }
    }
    /// The same, writing to `log`.
    pub fn logging(&self, log: Arc<RawLog>) -> Exec {
        Exec { log: Some(log), ..self.clone() }
    }
    /// The same, deaf to the first Ctrl-C: what undoes a change must run to its end.
    pub fn shielded(&self) -> Exec {
        Exec { shielded: true, cancel: None, ..self.clone() }
    }
    /// The same, giving up as soon as `flag` is raised.
    pub fn cancelled_by(&self, flag: &Arc<AtomicBool>) -> Exec {
        Exec { cancel: Some(Arc::clone(flag)), ..self.clone() }
    }
    /// The same, with `names` kept from children.
    pub fn hiding(&self, names: &[&str]) -> Exec {
        Exec { hidden: Arc::new(names.iter().map(|n| (*n).to_string()).collect()), ..self.clone() }
    }
    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }
    pub fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }
    /// How a process ends that is stopped now.
    pub fn stop_word(&self) -> Ended {
        match self.interrupt.kind() {
            Some(_) if !self.shielded => Ended::Interrupted,
            _ => Ended::GivenUp,
        }
    }
    /// Has the operator said stop (and does this executor listen), or is the result not wanted?
    pub fn stopped(&self) -> bool {
        self.cancel.as_ref().is_some_and(|c| c.load(Ordering::SeqCst))
            || (!self.shielded && self.interrupt.kind().is_some())
    }
    pub fn log_path(&self) -> Option<PathBuf> {
        self.log.as_ref().map(|l| l.path().to_path_buf())
    }

    /// Runs to the end and keeps standard output (at most 32 MiB).
    pub fn run(&self, invocation: &Invocation) -> Result<Finished> {
        let mut kept = Vec::new();
        let mut sink = |bytes: &[u8]| {
            if kept.len() + bytes.len() > 32 << 20 {
                return Err(std::io::Error::other("more than 32 MiB of output"));
            }
            kept.extend_from_slice(bytes);
            Ok(())
        };
        let mut finished = self.run_with(invocation, None, &mut sink)?;
        finished.stdout = kept;
        Ok(finished)
    }

    /// Runs to the end; standard output goes to `sink`, standard input comes from `input`.
    /// An error of the sink ends the process and is the result.
    pub fn run_with(
        &self,
        invocation: &Invocation,
        input: Option<Box<dyn Read + Send>>,
        sink: Sink<'_>,
    ) -> Result<Finished> {
        let start = Instant::now();
        let number = self.log.as_ref().map(|log| log.begin(&invocation.argv(), &self.redactor));
        let ended = self.spawn(invocation, input.is_some()).and_then(|child| {
            let input = input.or_else(|| {
                invocation.stdin.clone().map(|b| Box::new(std::io::Cursor::new(b)) as Box<dyn Read + Send>)
            });
            pump::run(self, child, invocation, input, sink, number)
        });
        let ms = crate::clock::ms_since(start);
        if let (Some(log), Some(number)) = (&self.log, number) {
            let word = match &ended {
                Ok((ended, _)) => ended.to_string(),
                Err(error) => self.redactor.output(&format!("{error:#}")),
            };
            log.end(number, &word, ms)?;
        }
        let (ended, stderr) = ended?;
        Ok(Finished { argv: invocation.argv(), ended, stdout: Vec::new(), stderr, ms, log: self.log_path() })
    }

    /// Starts a process that is talked to line by line.
    pub fn session(&self, invocation: &Invocation) -> Result<Session> {
        if let Some(log) = &self.log {
            let number = log.begin(&invocation.argv(), &self.redactor);
            log.line(number, "...", "kept open as a session");
        }
        Session::start(self, self.spawn(invocation, true)?)
    }

    /// Opens a command in the log that runs inside a session; its number.
    pub fn log_begin(&self, argv: &[String]) -> Option<u32> {
        self.log.as_ref().map(|log| log.begin(argv, &self.redactor))
    }

    /// Closes it. `stderr` is masked already.
    pub fn log_end(
        &self,
        number: Option<u32>,
        stdout: &str,
        stderr: &str,
        word: &str,
        ms: u64,
    ) -> Result<()> {
        let (Some(log), Some(number)) = (&self.log, number) else { return Ok(()) };
        log.lines(number, "out", self.redactor.output(stdout).as_bytes());
        log.lines(number, "err", stderr.as_bytes());
        log.end(number, word, ms)
    }

    #[allow(clippy::disallowed_methods)] // the one home of process starts
    fn spawn(&self, invocation: &Invocation, piped: bool) -> Result<Child> {
        let shell = xshell::Shell::new().context("open a shell")?;
        let mut cmd = shell.cmd(&invocation.program).args(&invocation.args);
        for name in self.hidden.iter() {
            cmd = cmd.env_remove(name);
        }
        cmd = cmd.envs(invocation.env.iter().map(|(k, v)| (k, v)));
        let mut command = std::process::Command::from(cmd);
        if let Some(dir) = &invocation.cwd {
            command.current_dir(dir);
        }
        let stdin = if piped || invocation.stdin.is_some() { Stdio::piped() } else { Stdio::null() };
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut wrapped = process_wrap::std::CommandWrap::from(command);
        #[cfg(unix)]
        wrapped.wrap(process_wrap::std::ProcessGroup::leader());
        #[cfg(windows)]
        wrapped.wrap(process_wrap::std::JobObject);
        wrapped.spawn().map_err(|error| {
            let fault = Fault::new(format!("`{}` could not be started", invocation.program))
                .why(error.to_string())
                .lane(Lane::A);
            match error.kind() {
                std::io::ErrorKind::NotFound => {
                    fault.remedy(format!("install {} and put it on the PATH", invocation.program)).into()
                }
                _ => anyhow::Error::from(fault),
            }
        })
    }
}

pub(crate) type Child = Box<dyn process_wrap::std::ChildWrapper>;

/// Ends a whole process group: asks, waits up to `grace`, then kills.
pub(crate) fn end_group(child: &mut Child, grace: Duration) {
    #[cfg(unix)]
    let _ = child.signal(signal_hook::consts::SIGTERM);
    let until = Instant::now() + grace;
    while Instant::now() < until && cfg!(unix) {
        if matches!(child.try_wait(), Ok(Some(_))) {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    // The leader may be gone while others of its group live on: always sent.
    let _ = child.start_kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests;
