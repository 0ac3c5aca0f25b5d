//! An invocation: what to start, as data. Runs nothing.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

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
    /// Where standard output goes outright, past this process: for bulk, of which the log gets nothing.
    pub stdout: Option<Arc<File>>,
    /// What is left of its process group when it has ended is ended, too.
    pub whole_group: bool,
    /// What it prints is the end of something: it may begin inside a statement with row values.
    pub tail: bool,
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
            stdout: None,
            whole_group: false,
            tail: false,
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
    pub fn stdout(mut self, file: &Arc<File>) -> Self {
        self.stdout = Some(Arc::clone(file));
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
    pub fn whole_group(mut self) -> Self {
        self.whole_group = true;
        self
    }
    pub fn tail(mut self) -> Self {
        self.tail = true;
        self
    }
    /// Program and arguments, as they are journaled.
    pub fn argv(&self) -> Vec<String> {
        std::iter::once(self.program.clone()).chain(self.args.iter().cloned()).collect()
    }
}
