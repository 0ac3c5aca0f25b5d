//! A shell that stays open in a container: a command in it costs what the
//! command costs, a `docker exec` of its own 100 ms more. During a downtime
//! that is what counts.

use super::Stand;
use crate::clock;
use crate::error::{Context, Lane, Result};
use crate::exec::{Ended, Finished, Session};
use std::time::{Duration, Instant};

pub struct Shell {
    session: Session,
    stand: Stand,
    count: u32,
}

impl Stand {
    /// Opens a shell in a container.
    pub fn shell(&self, container: &str) -> Result<Shell> {
        let session = self.exec.session(&self.inside(container, &[], &["sh"]))?;
        let mut shell = Shell { session, stand: self.clone(), count: 0 };
        // It is needed when the stand is down: one that does not answer must be found before.
        let opened = shell.run(".", &[], &["true".into()], Duration::from_secs(30))?;
        opened.success("open a shell in the database container", Lane::A)?;
        Ok(shell)
    }
}

impl Shell {
    /// Runs `argv` in `dir`, with its stdin closed. Both streams come back apart, stderr masked.
    pub fn run(
        &mut self,
        dir: &str,
        env: &[(&str, &str)],
        argv: &[String],
        limit: Duration,
    ) -> Result<Finished> {
        let limit = crate::exec::capped(limit);
        self.count += 1;
        let mark = format!("ff-shell-{}-{}", std::process::id(), self.count);
        let set: String = env.iter().map(|(k, v)| format!("{k}={} ", quoted(v))).collect();
        let words: Vec<String> = argv.iter().map(|a| quoted(a)).collect();
        let line = format!(
            "( cd {} && {set}exec {} ) </dev/null; printf '\\n%s %d\\n' {mark} $?; printf '\\n%s\\n' {mark} >&2; printf '%s\\n' {mark}\n",
            quoted(dir),
            words.join(" ")
        );
        let start = Instant::now();
        let told = self.stand.exec.log_begin(argv);
        let outcome = self.ask(&line, &mark, limit);
        let ms = clock::ms_since(start);
        let (ended, stdout, stderr) = match outcome {
            Ok(found) => found,
            Err(error) if start.elapsed() >= limit => {
                (Ended::TimedOut(limit), String::new(), format!("{error:#}"))
            }
            Err(error) if self.stand.exec.stopped() => {
                (self.stand.exec.stop_word(), String::new(), format!("{error:#}"))
            }
            Err(error) => return Err(error).context("talk to the shell in the container"),
        };
        self.stand.exec.log_end(told, &stdout, &stderr, &ended.to_string(), ms)?;
        Ok(Finished::of_session(argv.to_vec(), ended, stdout, stderr, ms, self.stand.exec.log_path()))
    }

    fn ask(&mut self, line: &str, mark: &str, limit: Duration) -> Result<(Ended, String, String)> {
        self.session.send(line)?;
        let mut lines = self.session.until(mark, limit)?;
        self.session.stderr_until_mark(Duration::from_secs(5))?;
        let last = lines.pop().context("the shell said nothing")?;
        let code = last
            .strip_prefix(mark)
            .and_then(|c| c.trim().parse::<i32>().ok())
            .context("the shell lost its place")?;
        // A shell reports a signal as 128 and its number.
        let ended = if code > 128 { Ended::Signal(code - 128) } else { Ended::Exit(code) };
        Ok((ended, lines.join("\n"), self.session.held_stderr()))
    }
}

/// A word as `sh` reads it.
pub(super) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
