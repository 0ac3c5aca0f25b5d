//! A process that is talked to line by line through its standard input and
//! output: a psql that stays open costs 3 ms an answer, a new one 100 ms.

use super::pump::{self, Piece};
use super::{Child, Exec, end_group};
use crate::error::{Context, Result, bail};
use crate::redact::Stream;
use std::io::Write;
use std::process::ChildStdin;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

pub struct Session {
    child: Child,
    stdin: Option<ChildStdin>,
    from: Receiver<Piece>,
    /// What came and is not yet a whole line.
    rest: Vec<u8>,
    rest_of_stderr: Vec<u8>,
    /// What ends the answer on stderr; None when it has come, or nothing was asked.
    mark: Option<String>,
    /// Standard error is masked as it comes: a part of it no longer shows what it is a part of.
    mask: Stream,
    stderr: Kept,
    exec: Exec,
}

impl Session {
    pub(super) fn start(exec: &Exec, mut child: Child) -> Result<Session> {
        let (to, from) = sync_channel(64);
        if let Some(out) = child.stdout().take() {
            pump::read_into(out, to.clone(), Piece::Out);
        }
        if let Some(err) = child.stderr().take() {
            pump::read_into(err, to, Piece::Err);
        }
        let stdin = child.stdin().take();
        Ok(Session {
            child,
            stdin,
            from,
            rest: Vec::new(),
            rest_of_stderr: Vec::new(),
            mark: None,
            mask: exec.redactor().stream(),
            stderr: Kept::default(),
            exec: exec.clone(),
        })
    }

    /// Sends text as it is.
    pub fn send(&mut self, text: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().context("the session is closed")?;
        stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush()).context("the session has ended")
    }

    /// The lines up to, without, the line that equals `mark`.
    pub fn until(&mut self, mark: &str, limit: Duration) -> Result<Vec<String>> {
        self.mark = Some(mark.into());
        let deadline = Instant::now() + super::capped(limit);
        let mut lines = Vec::new();
        loop {
            let whole = self.rest.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
            let rest = self.rest.split_off(whole);
            let text = std::mem::replace(&mut self.rest, rest);
            for line in text.split_inclusive(|b| *b == b'\n') {
                let line = String::from_utf8_lossy(line).trim_end_matches(['\n', '\r']).to_string();
                if line == mark {
                    return Ok(lines);
                }
                lines.push(line);
            }
            match self.from.recv_timeout(Duration::from_millis(25)) {
                Ok(Piece::Out(bytes)) => self.rest.extend_from_slice(&bytes),
                Ok(Piece::Err(bytes)) => self.keep_stderr(&bytes),
                // Two streams: the other one may still hold what was said last.
                Ok(Piece::Closed) => {}
                Err(RecvTimeoutError::Disconnected) => bail!("{}", self.how_it_ended()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.exec.stopped() {
                bail!("{}", self.exec.stop_word());
            }
            if Instant::now() > deadline {
                bail!("no answer within {} s", limit.as_secs());
            }
        }
    }

    /// Waits until the mark of [`Session::until`] has come on stderr as well; what came before it is kept
    /// for [`Session::take_stderr`].
    pub fn stderr_until_mark(&mut self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + super::capped(limit);
        while self.mark.is_some() {
            match self.from.recv_timeout(Duration::from_millis(25)) {
                Ok(Piece::Out(bytes)) => self.rest.extend_from_slice(&bytes),
                Ok(Piece::Err(bytes)) => self.keep_stderr(&bytes),
                Ok(Piece::Closed) => {}
                Err(RecvTimeoutError::Disconnected) => bail!("the session ended"),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if Instant::now() > deadline {
                bail!("no end of stderr within {} s", limit.as_secs());
            }
        }
        Ok(())
    }

    /// How the client of the session ended, and what it said.
    fn how_it_ended(&mut self) -> String {
        let said = self.take_stderr();
        let how = match self.child.try_wait() {
            Ok(Some(status)) => pump::ended(status).to_string(),
            _ => "its output was closed".into(),
        };
        let colon = if said.is_empty() { "" } else { ": " };
        format!("the session ended ({how}){colon}{said}")
    }

    /// What is held of stderr, masked, without waiting for more.
    pub fn held_stderr(&mut self) -> String {
        let rest = std::mem::take(&mut self.rest_of_stderr);
        self.stderr.push(&self.mask.push(&rest));
        self.stderr.push(&self.mask.finish());
        std::mem::take(&mut self.stderr).text()
    }

    /// What came on stderr since the last call, masked.
    pub fn take_stderr(&mut self) -> String {
        // The reader of stderr may be a moment behind the end of stdout.
        while let Ok(piece) = self.from.recv_timeout(Duration::from_millis(20)) {
            match piece {
                Piece::Err(bytes) => self.keep_stderr(&bytes),
                Piece::Out(bytes) => self.rest.extend_from_slice(&bytes),
                Piece::Closed => {}
            }
        }
        self.held_stderr().trim_start().to_string()
    }

    fn keep_stderr(&mut self, bytes: &[u8]) {
        self.rest_of_stderr.extend_from_slice(bytes);
        let whole = match self.rest_of_stderr.iter().rposition(|b| *b == b'\n') {
            Some(end) => end + 1,
            // No mark is that long.
            None if self.rest_of_stderr.len() > MOST => self.rest_of_stderr.len(),
            None => 0,
        };
        let rest = self.rest_of_stderr.split_off(whole);
        for line in std::mem::replace(&mut self.rest_of_stderr, rest).split_inclusive(|b| *b == b'\n') {
            let masked = if self.mark.as_ref().is_some_and(|m| line.trim_ascii_end() == m.as_bytes()) {
                self.mark = None;
                self.mask.finish()
            } else {
                self.mask.push(line)
            };
            self.stderr.push(&masked);
        }
    }

    /// Closes its input and waits for its end; kills the group when that does not come.
    pub fn close(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if self.stdin.take().is_some() {
            let until = Instant::now() + Duration::from_secs(2);
            while Instant::now() < until {
                if matches!(self.child.try_wait(), Ok(Some(_))) {
                    return;
                }
                // Drained, so that the other side can write its last words and end.
                let _ = self.from.recv_timeout(Duration::from_millis(2));
            }
            end_group(&mut self.child, Duration::from_millis(200));
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end();
    }
}

/// More of standard error than this is not held,
const MOST: usize = 64 << 10;
/// but so much of its end.
const END: usize = 16 << 10;

/// What is held of masked standard error.
#[derive(Default)]
struct Kept {
    text: String,
    /// Bytes before it.
    left_out: usize,
}

impl Kept {
    fn push(&mut self, masked: &[u8]) {
        self.text.push_str(&String::from_utf8_lossy(masked));
        if self.text.len() > MOST {
            let before = self.text.len();
            keep_end(&mut self.text, END);
            self.left_out += before - self.text.len();
        }
    }

    /// All of it, and how much there was more.
    fn text(self) -> String {
        let text = self.text.trim_end();
        if self.left_out == 0 {
            text.into()
        } else {
            format!("({} bytes before this are left out)\n{text}", self.left_out)
        }
    }
}

/// Keeps at most the last `most` bytes, in whole lines.
fn keep_end(text: &mut String, most: usize) {
    let from = text.len().saturating_sub(most);
    if from > 0 {
        let line = text.bytes().skip(from).position(|b| b == b'\n').map(|at| from + at + 1);
        text.drain(..line.unwrap_or(text.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_long_talk_is_whole_lines() {
        let mut text = "first line\nsecond é line\nthird".to_string();
        keep_end(&mut text, 100);
        assert_eq!(text.len(), 31);
        keep_end(&mut text, 14);
        assert_eq!(text, "third");
        keep_end(&mut text, 2);
        assert_eq!(text, "");
    }
}
