//! The one place that starts processes. An [`Invocation`] is data; [`Exec`]
//! runs it in a process group of its own, with a deadline, streams its masked
//! output to a RAW log and ends the whole group when time is up or the
//! operator says stop. Knows nothing of docker or of steps.

mod interrupt;
mod invocation;
mod limit;
mod pump;
mod rawlog;
mod session;

pub use interrupt::{Interrupt, Kind};
pub use invocation::{Invocation, SHORT};
pub use limit::{cap_calls, capped};
pub use rawlog::RawLog;
pub use session::Session;

use crate::error::{Context, Fault, Lane, Result};
use crate::redact::Redactor;
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

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
    /// Where programs are looked for; None: the inherited PATH.
    path: Option<Arc<OsString>>,
    log: Option<Arc<RawLog>>,
    shielded: bool,
    /// Raised when the result is no longer wanted.
    cancel: Option<Arc<AtomicBool>>,
}

/// Takes standard output while it comes.
pub type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> std::io::Result<()>;

impl Exec {
    pub fn new(redactor: Redactor, interrupt: Interrupt) -> Exec {
        let hidden = Arc::default();
        Exec { redactor, interrupt, hidden, path: None, log: None, shielded: false, cancel: None }
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
    /// The same, with programs looked for in these directories, also by its children.
    pub fn searching(&self, path: impl Into<OsString>) -> Exec {
        Exec { path: Some(Arc::new(path.into())), ..self.clone() }
    }
    /// The first program of this name on the PATH, absolute.
    pub fn find(&self, name: &str) -> Option<PathBuf> {
        let path =
            self.path.as_ref().map(|p| p.as_os_str().to_owned()).or_else(|| std::env::var_os("PATH"))?;
        let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
        std::env::split_paths(&path).map(|dir| dir.join(&file)).find(|f| f.is_absolute() && is_program(f))
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
        if let Some(path) = &self.path {
            cmd = cmd.env("PATH", path.as_os_str());
        }
        cmd = cmd.envs(invocation.env.iter().map(|(k, v)| (k, v)));
        let mut command = std::process::Command::from(cmd);
        if let Some(dir) = &invocation.cwd {
            command.current_dir(dir);
        }
        let stdin = if piped || invocation.stdin.is_some() { Stdio::piped() } else { Stdio::null() };
        let stdout = match &invocation.stdout {
            Some(file) => Stdio::from(file.try_clone().context("hand a file to a process")?),
            None => Stdio::piped(),
        };
        command.stdin(stdin).stdout(stdout).stderr(Stdio::piped());
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

fn is_program(file: &Path) -> bool {
    let Ok(meta) = std::fs::metadata(file) else { return false };
    #[cfg(unix)]
    let may_run = std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o111 != 0;
    #[cfg(not(unix))]
    let may_run = true;
    meta.is_file() && may_run
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
