//! The one place of the tests that starts programs: with a deadline, with both
//! streams read while they come, and with what they said in every failure.
#![allow(clippy::disallowed_methods)] // the program's own exec is what is tested here

use serde_json::Value;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A program and what it is given.
pub fn program(name: &str, args: &[&str]) -> Command {
    let mut command = Command::new(name);
    command.args(args);
    command
}

/// What a program came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub what: String,
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    /// Where its evidence is, if it said so.
    pub dir: Option<PathBuf>,
    /// Its highest resident memory in bytes, as the kernel keeps it; looked at a hundred times a second.
    pub peak: u64,
}

impl Outcome {
    /// The end of what was said and where the evidence lies: part of every assertion.
    pub fn at(&self) -> String {
        let lines: Vec<&str> = self.stderr.lines().collect();
        let tail = lines[lines.len().saturating_sub(40)..].join("\n    ");
        let dir = self.dir.as_ref().map(|d| d.display().to_string()).unwrap_or("none".into());
        format!("\n  {}: exit {}\n  evidence: {dir}\n    {tail}", self.what, self.code)
    }

    #[track_caller]
    pub fn expect(self, code: i32) -> Outcome {
        assert_eq!(self.code, code, "another exit code than {code}{}", self.at());
        self
    }

    /// What was printed as data.
    #[track_caller]
    pub fn json(&self) -> Value {
        match serde_json::from_str(&self.stdout) {
            Ok(json) => json,
            Err(error) => panic!("stdout is no JSON: {error}: {:?}{}", self.stdout, self.at()),
        }
    }

    #[track_caller]
    pub fn says(&self, words: &str) {
        assert!(
            self.stderr.contains(words) || self.stdout.contains(words),
            "no word of `{words}`{}",
            self.at()
        );
    }

    #[track_caller]
    pub fn lacks(&self, words: &str) {
        assert!(
            !self.stderr.contains(words) && !self.stdout.contains(words),
            "`{words}` is said{}",
            self.at()
        );
    }
}

/// A program at work.
pub struct Running {
    what: String,
    child: Option<Child>,
    out: Option<JoinHandle<()>>,
    err: Option<JoinHandle<()>>,
    stdout: Arc<Mutex<Vec<u8>>>,
    stderr: Arc<Mutex<Vec<u8>>>,
    deadline: Instant,
}

/// Starts a program; `limit` is when it is killed and the test fails.
pub fn start(mut command: Command, what: &str, stdin: Option<&[u8]>, limit: Duration) -> Running {
    command.stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{what} does not start: {e}"));
    if let (Some(bytes), Some(mut pipe)) = (stdin, child.stdin.take()) {
        // A program that does not read is not the test's failure here.
        let _ = pipe.write_all(bytes);
    }
    let (stdout, stderr) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
    let out = collect(child.stdout.take(), Arc::clone(&stdout));
    let err = collect(child.stderr.take(), Arc::clone(&stderr));
    let deadline = Instant::now() + limit;
    Running { what: what.into(), child: Some(child), out, err, stdout, stderr, deadline }
}

fn collect<R: Read + Send + 'static>(pipe: Option<R>, into: Arc<Mutex<Vec<u8>>>) -> Option<JoinHandle<()>> {
    let mut pipe = pipe?;
    Some(std::thread::spawn(move || {
        let mut buffer = [0u8; 8192];
        while let Ok(read @ 1..) = pipe.read(&mut buffer) {
            into.lock().unwrap().extend_from_slice(&buffer[..read]);
        }
    }))
}

impl Running {
    pub fn id(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// What it has said on stderr until now.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&self.stderr.lock().unwrap()).into_owned()
    }

    /// Has it ended?
    pub fn ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|c| matches!(c.try_wait(), Ok(Some(_)) | Err(_)))
    }

    /// Sends a signal to the program alone, as `kill` does.
    pub fn signal(&self, name: &str) {
        let id = self.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &id]).status();
        assert!(sent.is_ok_and(|s| s.success()), "kill -{name} {id} ({}) did not work", self.what);
    }

    /// Waits for the end.
    #[track_caller]
    pub fn wait(mut self) -> Outcome {
        let mut child = self.child.take().unwrap();
        let mut peak = 0;
        let status = loop {
            peak = peak.max(highest_memory(child.id()));
            match child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() > self.deadline => {
                    let _ = child.kill();
                    let _ = child.wait();
                    panic!("{} did not end in time; it said:\n{}", self.what, self.said());
                }
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        for reader in [self.out.take(), self.err.take()].into_iter().flatten() {
            let _ = reader.join();
        }
        use std::os::unix::process::ExitStatusExt;
        let code = status.code().unwrap_or_else(|| -status.signal().unwrap_or(0));
        let text = |bytes: &Mutex<Vec<u8>>| String::from_utf8_lossy(&bytes.lock().unwrap()).into_owned();
        Outcome {
            what: self.what.clone(),
            code,
            stdout: text(&self.stdout),
            stderr: text(&self.stderr),
            dir: None,
            peak,
        }
    }
}

/// VmHWM of a process in bytes; 0 when it has ended.
fn highest_memory(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<u64>().ok()).map_or(0, |kb| kb * 1024)
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Runs a helper program to its end; anything but exit 0 fails the test.
#[track_caller]
pub fn tool(name: &str, args: &[&str], dir: &Path, stdin: Option<&[u8]>) -> String {
    let mut command = program(name, args);
    // Looking must not write: `git status` refreshes the index otherwise.
    command.current_dir(dir).env("GIT_OPTIONAL_LOCKS", "0");
    let what = format!("{name} {}", args.join(" "));
    start(command, &what, stdin, Duration::from_secs(120)).wait().expect(0).stdout
}
