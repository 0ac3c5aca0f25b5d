//! Moves the bytes of one process: input in, output to the sink and the masked
//! log, until it ends, its time is up or the operator says stop.

use super::{Child, Ended, Exec, Invocation, Sink, end_group};
use crate::error::{Context, Result};
use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// How often the clock and the operator are looked at while nothing arrives.
const TICK: Duration = Duration::from_millis(25);
/// How long output may still come after the process itself has ended: a
/// grandchild can hold the pipe open for ever.
const AFTERMATH: Duration = Duration::from_secs(2);
/// What is kept of standard error for messages.
const STDERR_KEPT: usize = 64 << 10;

pub(super) enum Piece {
    Out(Vec<u8>),
    Err(Vec<u8>),
    Closed,
}

pub(super) fn read_into(
    mut from: impl Read + Send + 'static,
    to: SyncSender<Piece>,
    wrap: fn(Vec<u8>) -> Piece,
) {
    std::thread::spawn(move || {
        let mut buffer = vec![0u8; 64 << 10];
        loop {
            match from.read(&mut buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
                Ok(read) => {
                    if to.send(wrap(buffer[..read].to_vec())).is_err() {
                        return;
                    }
                }
            }
        }
        let _ = to.send(Piece::Closed);
    });
}

/// Runs the child to its end. Returns how it ended and the masked end of stderr.
pub(super) fn run(
    exec: &Exec,
    mut child: Child,
    invocation: &Invocation,
    input: Option<Box<dyn Read + Send>>,
    sink: Sink<'_>,
    number: Option<u32>,
) -> Result<(Ended, String)> {
    let limit = super::capped(invocation.timeout);
    let deadline = Instant::now() + limit;
    let (to, from) = sync_channel(16);
    let mut open = 0;
    if let Some(out) = child.stdout().take() {
        read_into(out, to.clone(), Piece::Out);
        open += 1;
    }
    if let Some(err) = child.stderr().take() {
        read_into(err, to.clone(), Piece::Err);
        open += 1;
    }
    drop(to);
    let feeding = match (child.stdin().take(), input) {
        (Some(mut stdin), Some(mut input)) => Some(std::thread::spawn(move || {
            std::io::copy(&mut input, &mut stdin).and_then(|_| stdin.flush())
        })),
        _ => None,
    };

    let mut talk = Talk::new(exec, number, invocation);
    let verdict = talk.follow(&mut child, &from, open, deadline, exec, sink);
    let (ended, failed) = match verdict {
        Ok(Some(ended)) => {
            // A client that was killed leaves its plugin at work.
            if invocation.whole_group || matches!(ended, Ended::Signal(_)) {
                let _ = child.start_kill();
            }
            (ended, None)
        }
        Ok(None) => {
            // Time is up, or the operator said stop.
            let ended = if exec.stopped() { exec.stop_word() } else { Ended::TimedOut(limit) };
            end_group(&mut child, Duration::from_secs(2));
            (ended, None)
        }
        Err(error) => {
            end_group(&mut child, Duration::from_secs(2));
            (Ended::Interrupted, Some(error))
        }
    };
    let stderr = talk.finish();
    if let Some(error) = failed {
        return Err(error).with_context(|| format!("take the output of `{}`", invocation.program));
    }
    if let Some(feeding) = feeding
        && feeding.is_finished()
        && let Ok(Err(error)) = feeding.join()
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        return Err(error).with_context(|| format!("feed `{}`", invocation.program));
    }
    Ok((ended, stderr))
}

/// The two output streams of a process on their way to log and memory.
struct Talk<'a> {
    exec: &'a Exec,
    number: Option<u32>,
    quiet: bool,
    whole_group: bool,
    out: crate::redact::Stream,
    err: crate::redact::Stream,
    unlogged: u64,
    stderr: Vec<u8>,
}

impl<'a> Talk<'a> {
    fn new(exec: &'a Exec, number: Option<u32>, invocation: &Invocation) -> Self {
        let Invocation { quiet, whole_group, tail, .. } = *invocation;
        let redactor = exec.redactor();
        let stream = || if tail { redactor.tail_stream() } else { redactor.stream() };
        let (out, err) = (stream(), stream());
        Talk { exec, number, quiet, whole_group, out, err, unlogged: 0, stderr: Vec::new() }
    }

    /// `None` when the deadline passed or the operator said stop.
    fn follow(
        &mut self,
        child: &mut Child,
        from: &Receiver<Piece>,
        mut open: usize,
        deadline: Instant,
        exec: &Exec,
        sink: Sink<'_>,
    ) -> std::io::Result<Option<Ended>> {
        let mut gone: Option<Instant> = None;
        loop {
            if open == 0 {
                return wait(child, deadline, exec);
            }
            match from.recv_timeout(TICK) {
                Ok(Piece::Out(bytes)) => {
                    sink(&bytes)?;
                    self.log_out(&bytes);
                }
                Ok(Piece::Err(bytes)) => self.log_err(&bytes),
                Ok(Piece::Closed) => open -= 1,
                Err(RecvTimeoutError::Disconnected) => open = 0,
                Err(RecvTimeoutError::Timeout) => {
                    if gone.is_none() && child.try_wait()?.is_some() {
                        gone = Some(Instant::now());
                        if self.whole_group {
                            // Whoever still holds the pipes is not waited for.
                            let _ = child.start_kill();
                        }
                    }
                }
            }
            if gone.is_some_and(|at| at.elapsed() > AFTERMATH) {
                open = 0;
            }
            if Instant::now() > deadline || exec.stopped() {
                return Ok(None);
            }
        }
    }

    fn log_out(&mut self, bytes: &[u8]) {
        if self.quiet {
            self.unlogged += bytes.len() as u64;
        } else if let (Some(log), Some(number)) = (&self.exec.log, self.number) {
            log.lines(number, "out", &self.out.push(bytes));
        }
    }

    fn log_err(&mut self, bytes: &[u8]) {
        let masked = self.err.push(bytes);
        self.keep_err(&masked);
    }

    fn keep_err(&mut self, masked: &[u8]) {
        if let (Some(log), Some(number)) = (&self.exec.log, self.number) {
            log.lines(number, "err", masked);
        }
        self.stderr.extend_from_slice(masked);
        let over = self.stderr.len().saturating_sub(STDERR_KEPT);
        self.stderr.drain(..over);
    }

    fn finish(mut self) -> String {
        if let (Some(log), Some(number)) = (&self.exec.log, self.number) {
            if self.quiet {
                log.line(number, "...", &format!("{} bytes of output not logged: data", self.unlogged));
            } else {
                log.lines(number, "out", &self.out.finish());
            }
        }
        let rest = self.err.finish();
        self.keep_err(&rest);
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

fn wait(child: &mut Child, deadline: Instant, exec: &Exec) -> std::io::Result<Option<Ended>> {
    let mut pause = Duration::from_micros(200);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(ended(status)));
        }
        if Instant::now() > deadline || exec.stopped() {
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(TICK);
    }
}

pub(super) fn ended(status: std::process::ExitStatus) -> Ended {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return Ended::Signal(signal);
    }
    Ended::Exit(status.code().unwrap_or(-1))
}
