//! The worker's checks, and a probe that is started before it is known what to
//! ask: loading Python and Celery takes longer than all answers.

use super::Patience;
use crate::acts::Ctx;
use crate::error::{Result, anyhow};
use crate::evidence::records::Check;
use crate::exec::{Exec, Finished, Invocation, Sink};
use crate::stand::Stand;
use crate::stand::sqlstate::sqlstate_in;
use crate::stand::worker::{Asked, ProbeLine, question, read_probe};
use std::io::Read;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// A probe that waits for its question.
pub struct Warm {
    container: String,
    started: Instant,
    call: Invocation,
    question: Sender<Vec<u8>>,
    said: Receiver<Said>,
}

enum Said {
    Bytes(Vec<u8>),
    Ended(Result<Finished>),
}

impl Warm {
    /// Starts it in the worker's container, by its id. Without a question it ends by itself when this is
    /// dropped.
    pub fn start(stand: &Stand, container: &str) -> Warm {
        let call = stand.probe_ready(container).timeout(Duration::from_secs(60));
        let (question, asked) = channel();
        let (say, said) = channel();
        let (exec, theirs) = (stand.exec.clone(), call.clone());
        std::thread::spawn(move || {
            let input = Box::new(Question { from: asked, rest: Vec::new() });
            let mut sink = |bytes: &[u8]| {
                // Nobody listens any more: then nobody needs it.
                let _ = say.send(Said::Bytes(bytes.to_vec()));
                Ok(())
            };
            let ended = exec.run_with(&theirs, Some(input), &mut sink);
            let _ = say.send(Said::Ended(ended));
        });
        Warm { container: container.into(), started: Instant::now(), call, question, said }
    }

    /// Asks, and gives `sink` what it prints. In the log it stands like any other command.
    fn ask(self, exec: &Exec, asked: &Asked<'_>, sink: Sink<'_>) -> Result<Finished> {
        let number = exec.log_begin(&self.call.argv());
        let _ = self.question.send(question(asked).into_bytes());
        drop(self.question);
        let mut stdout = Vec::new();
        loop {
            match self.said.recv_timeout(asked.limit + Duration::from_secs(10)) {
                Ok(Said::Bytes(bytes)) => {
                    sink(&bytes)?;
                    stdout.extend_from_slice(&bytes);
                }
                Ok(Said::Ended(ended)) => {
                    let finished = ended?;
                    let (out, word) = (String::from_utf8_lossy(&stdout), finished.ended.to_string());
                    exec.log_end(number, &out, &finished.stderr, &word, finished.ms)?;
                    return Ok(finished);
                }
                Err(_) => return Err(anyhow!("the probe in the worker's container did not answer")),
            }
        }
    }
}

/// Standard input that waits until there is something to read.
struct Question {
    from: Receiver<Vec<u8>>,
    rest: Vec<u8>,
}

impl Read for Question {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.rest.is_empty() {
            self.rest = self.from.recv().unwrap_or_default();
        }
        let count = self.rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.rest[..count]);
        self.rest.drain(..count);
        Ok(count)
    }
}

/// Ping, tasks and round trip, by one probe. `warm` is used once, where it is for the container that
/// runs.
pub(super) fn checks(
    ctx: &Ctx<'_>,
    step: &str,
    exec: &Exec,
    patience: Patience,
    mut warm: Option<Warm>,
    tell: &(dyn Fn(Check) -> Check + Sync),
) -> Vec<Check> {
    let names = crate::plan::smoke_names(ctx.config, ctx.facts);
    let asked: Vec<(&str, &str)> =
        [("ping", "worker ping"), ("tasks", "worker tasks"), ("round_trip", "task round trip")]
            .into_iter()
            .filter(|(_, name)| names.iter().any(|n| n == name))
            .collect();
    if asked.is_empty() {
        return Vec::new();
    }
    let all = |detail: &str| -> Vec<Check> {
        asked
            .iter()
            .map(|(_, name)| tell(Check { name: (*name).into(), detail: detail.into(), ..Check::default() }))
            .collect()
    };
    let Some(app) = &ctx.facts.worker_app else {
        return all("the worker's app is not known: name it with [smoke] worker_app");
    };
    let stand = ctx.stand.with(exec);
    let start = Instant::now();
    let mut pause = Duration::from_millis(50);
    loop {
        // The quick smoke has just looked; after a deploy containers come and go.
        let found =
            if patience.settle.is_zero() { Ok(ctx.facts.containers.clone()) } else { stand.containers() };
        let container = match found {
            Ok(list) => {
                list.into_iter().find(|c| c.service == ctx.config.smoke.worker_service && c.running())
            }
            Err(error) => return all(&format!("{error:#}")),
        };
        let left = patience.limit.saturating_sub(start.elapsed());
        if let Some(container) = container {
            let checks: Vec<&str> = asked.iter().map(|(check, _)| *check).collect();
            let question = Asked {
                container: &container,
                app,
                checks: &checks,
                tasks: &ctx.config.smoke.tasks,
                limit: left.max(Duration::from_secs(1)),
            };
            let warm = warm.take().filter(|w| w.container == container.id);
            // Where its Python was started before, the wait for its answer began there.
            let asked_at = warm.as_ref().map_or_else(Instant::now, |w| w.started);
            let mut known: Vec<Check> = Vec::new();
            let mut rest = String::new();
            let mut sink = |bytes: &[u8]| {
                rest.push_str(&String::from_utf8_lossy(bytes));
                while let Some((line, after)) = rest.split_once('\n') {
                    for answer in read_probe(line) {
                        let name =
                            asked.iter().find(|(check, _)| *check == answer.check).map(|(_, name)| *name);
                        // From our question to its answer: what a person waits for.
                        let ms = crate::clock::ms_since(asked_at);
                        known.extend(name.map(|name| tell(check_of(name, answer, ms))));
                    }
                    rest = after.to_string();
                }
                Ok(())
            };
            let outcome = match warm {
                Some(warm) => warm.ask(exec, &question, &mut sink),
                None => stand.exec.run_with(&stand.probe(&question), None, &mut sink),
            };
            // A container that died under the question is asked again in its next life.
            let again = known.is_empty() && !patience.settle.is_zero();
            if !again || start.elapsed() >= patience.limit || exec.stopped() {
                let why = match &outcome {
                    Ok(finished) => {
                        let last =
                            finished.stderr.lines().rfind(|l| !l.trim().is_empty()).unwrap_or("no answer");
                        format!("{}: {last}", finished.ended)
                    }
                    Err(error) => format!("{error:#}"),
                };
                let missing = asked.iter().filter(|(_, name)| !known.iter().any(|c| c.name == *name));
                let unanswered: Vec<Check> = missing
                    .map(|(_, name)| {
                        tell(Check { name: (*name).into(), detail: why.clone(), ..Check::default() })
                    })
                    .collect();
                known.extend(unanswered);
                return known;
            }
        } else if patience.settle.is_zero() || start.elapsed() >= patience.limit || exec.stopped() {
            return all(&format!("the service {} does not run", ctx.config.smoke.worker_service));
        }
        ctx.run.log(step).ok().inspect(|log| log.say("the worker is not there yet"));
        std::thread::sleep(pause);
        pause = (pause * 3 / 2).min(Duration::from_millis(500));
    }
}

fn check_of(name: &str, line: ProbeLine, ms: u64) -> Check {
    let sqlstate = sqlstate_in(&line.detail).filter(|_| !line.ok);
    Check { name: name.into(), ok: line.ok, ms, detail: line.detail, sqlstate }
}
