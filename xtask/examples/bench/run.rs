//! Starts what is measured, and looks at its memory while it runs.

use crate::say;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use xtask::error::{Context, Fault, Result};
use xtask::exec::{Exec, Interrupt};
use xtask::redact::Redactor;

/// Nothing that is measured takes longer.
const LIMIT: Duration = Duration::from_secs(1800);
/// How often memory is looked at. The kernel keeps the highest value, so only what a process
/// takes within this time before its end can be missed.
const LOOK: Duration = Duration::from_millis(10);

/// A process that ended well.
pub struct Ran {
    /// From its start to its end.
    pub ms: f64,
    pub began: OffsetDateTime,
    pub out: String,
}

/// The highest resident memory that was seen, in bytes.
#[derive(Debug, Clone, Default)]
pub struct Peak {
    pub own: u64,
    pub child: u64,
    pub child_name: String,
}

/// What to start.
pub struct Job<'a> {
    pub program: &'a str,
    pub args: Vec<String>,
    pub cwd: &'a Path,
    pub env: Vec<(&'a str, String)>,
    /// Under which name its memory is kept; none: it is not looked at.
    pub label: Option<String>,
    /// The exit code that is wanted.
    pub exit: i32,
}

pub struct Runner {
    /// Stops when the operator says stop.
    pub exec: Exec,
    /// Does not: for cleaning up.
    pub shielded: Exec,
    pub interrupt: Interrupt,
    pub peaks: Mutex<BTreeMap<String, Peak>>,
    /// The checkout of the tool, and the program that `cargo xtask` starts.
    home: PathBuf,
    pub program: PathBuf,
}

impl Runner {
    pub fn new(interrupt: Interrupt, home: &Path) -> Result<Runner> {
        let exec = Exec::new(Redactor::new(), interrupt.clone());
        let me = std::env::current_exe().context("find the program")?;
        let name = format!("xtask{}", std::env::consts::EXE_SUFFIX);
        let program = me.parent().and_then(Path::parent).unwrap_or(home).join(name);
        if !program.exists() {
            return Err(Fault::new(format!("{} is not built", program.display()))
                .remedy("use scripts/bench")
                .into());
        }
        Ok(Runner {
            shielded: exec.shielded(),
            exec,
            interrupt,
            peaks: Mutex::default(),
            home: home.into(),
            program,
        })
    }

    /// `cargo xtask ...`, as users run it.
    pub fn xtask<'a>(&'a self, repo: &Path, args: &[&str]) -> Job<'a> {
        let mut all = vec!["xtask".to_string(), "--repo".into(), repo.display().to_string()];
        all.extend(args.iter().map(|a| (*a).to_string()));
        Job { program: "cargo", args: all, cwd: &self.home, env: Vec::new(), label: None, exit: 0 }
    }

    /// Runs a job to its end. Another exit code than the wanted one is an error with what it said.
    #[allow(clippy::disallowed_methods)] // measured from its start to its end, without what Exec does beside it
    pub fn job(&self, job: &Job<'_>) -> Result<Ran> {
        let mut command = Command::new(job.program);
        command.args(&job.args).current_dir(job.cwd);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if ["FF_", "COMPOSE_", "API_BASE"].iter().any(|p| name.starts_with(p)) {
                command.env_remove(&*name);
            }
        }
        command.envs(job.env.iter().map(|(k, v)| (*k, v)));
        let mut wrapped = process_wrap::std::CommandWrap::from(command);
        #[cfg(unix)]
        wrapped.wrap(process_wrap::std::ProcessGroup::leader());
        let began = OffsetDateTime::now_utc();
        let start = Instant::now();
        let mut child = wrapped.spawn().with_context(|| format!("start {}", job.program))?;
        let out = child.stdout().take().map(reader);
        let err = child.stderr().take().map(reader);
        let pid = child.id();
        let mut peak = Peak::default();
        let (mut looked, mut told) = (Instant::now(), false);
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if job.label.is_some() && looked.elapsed() >= LOOK {
                look(pid, &mut peak);
                looked = Instant::now();
            }
            let stopped = self.interrupt.kind().is_some();
            if !told && (stopped || start.elapsed() > LIMIT) {
                // A release goes back before it ends.
                #[cfg(unix)]
                let _ = child.signal(signal_hook::consts::SIGTERM);
                told = true;
            }
            if told && start.elapsed() > LIMIT * 2 {
                let _ = child.start_kill();
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let ms = start.elapsed().as_secs_f64() * 1000.0;
        let text = |r: Option<std::thread::JoinHandle<Vec<u8>>>| {
            let bytes = r.and_then(|r| r.join().ok()).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let (out, err) = (text(out), text(err));
        if self.interrupt.kind().is_some() {
            return Err(Fault::new("interrupted").into());
        }
        if status.code() != Some(job.exit) {
            let said: Vec<&str> = err.lines().chain(out.lines()).filter(|l| !l.trim().is_empty()).collect();
            say(&said[said.len().saturating_sub(25)..].join("\n"));
            // Without paths: this may stand on the page.
            let words: Vec<&str> = job.args.iter().map(String::as_str).filter(|w| !w.contains('/')).collect();
            let (program, words) = (job.program.rsplit('/').next().unwrap_or_default(), words.join(" "));
            let what = format!("`{program} {words}` ended with {status} and not with {}", job.exit);
            return Err(Fault::new(what).into());
        }
        if let Some(label) = &job.label {
            self.remember(label, &peak);
        }
        Ok(Ran { ms, began, out })
    }

    fn remember(&self, label: &str, seen: &Peak) {
        let mut peaks = self.peaks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let peak = peaks.entry(label.into()).or_default();
        peak.own = peak.own.max(seen.own);
        if seen.child > peak.child {
            (peak.child, peak.child_name) = (seen.child, seen.child_name.clone());
        }
    }
}

fn reader(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        bytes
    })
}

/// Takes in the process and everything below it. `cargo` becomes `xtask` by exec: the same
/// process, whose memory is counted anew.
fn look(pid: u32, peak: &mut Peak) {
    let Some((name, bytes)) = highest(pid) else { return };
    if name == "xtask" {
        peak.own = peak.own.max(bytes);
        let mut below = children(pid);
        while let Some(child) = below.pop() {
            if let Some((name, bytes)) = highest(child)
                && bytes > peak.child
            {
                (peak.child, peak.child_name) = (bytes, name);
            }
            below.extend(children(child));
        }
    }
}

/// A process's name and the highest resident memory that it ever had, in bytes.
fn highest(pid: u32) -> Option<(String, u64)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).map(str::trim);
    let kib: u64 = field("VmHWM:")?.split_whitespace().next()?.parse().ok()?;
    Some((field("Name:")?.to_string(), kib * 1024))
}

fn children(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks
        .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|text| text.split_whitespace().filter_map(|p| p.parse().ok()).collect::<Vec<u32>>())
        .collect()
}
