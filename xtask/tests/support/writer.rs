//! A client that writes all the time and remembers what it was told is
//! committed: the witness that no acknowledged row is lost.
#![allow(clippy::disallowed_methods)]

use super::process::program;
use super::sql::{DATABASE, psql_args};
use super::{Stand, wait_for};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// One connection, from its opening until somebody ended it.
#[derive(Debug, Clone, Default)]
pub struct Session {
    /// Which database had the live name.
    pub oid: u64,
    /// Orders whose commit was acknowledged, by title.
    pub acked: Vec<String>,
    /// Heartbeat rows that were seen committed: id and time.
    pub beats: BTreeSet<(u64, String)>,
}

pub struct Writer {
    tag: String,
    stop: Arc<AtomicBool>,
    sessions: Arc<Mutex<Vec<Session>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Begins to write; returns when the first row is acknowledged.
    pub fn start(stand: &Stand, what: &str) -> Writer {
        // Rows of an earlier one must not stand for those of this.
        static BEGUN: AtomicUsize = AtomicUsize::new(1);
        let tag = format!("{what}-{}", BEGUN.fetch_add(1, Ordering::SeqCst));
        let stop = Arc::new(AtomicBool::new(false));
        let sessions: Arc<Mutex<Vec<Session>>> = Arc::default();
        let args = psql_args(&stand.container("postgres"), DATABASE, "ff-test-writer");
        let thread = {
            let (stop, sessions, tag) = (Arc::clone(&stop), Arc::clone(&sessions), tag.clone());
            std::thread::spawn(move || {
                let mut number = 0;
                while !stop.load(Ordering::SeqCst) {
                    // Comes back when it is thrown out, as an application does.
                    let _ = session(&args, &tag, &mut number, &stop, &sessions);
                    std::thread::sleep(Duration::from_millis(100));
                }
            })
        };
        let writer = Writer { tag, stop, sessions, thread: Some(thread) };
        writer.acked_in_newest();
        writer
    }

    /// Waits until a row of the newest connection is acknowledged: somebody can write now.
    pub fn acked_in_newest(&self) {
        wait_for("the writer's first acknowledged row", super::SOON, || {
            self.sessions.lock().unwrap().last().filter(|s| !s.acked.is_empty()).map(|_| ())
        });
    }

    /// Stops writing; returns the connections in their order.
    pub fn stop(mut self) -> Vec<Session> {
        self.end();
        self.sessions.lock().unwrap().clone()
    }

    /// The connections until now.
    pub fn so_far(&self) -> Vec<Session> {
        self.sessions.lock().unwrap().clone()
    }

    pub fn tag(&self) -> &str {
        &self.tag
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.end();
    }
}

/// One connection to its end. `None`: it was refused or ended by the server.
fn session(
    args: &[String],
    tag: &str,
    number: &mut u64,
    stop: &AtomicBool,
    sessions: &Mutex<Vec<Session>>,
) -> Option<()> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut command = program("docker", &words);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let (mut input, output) = (child.stdin.take()?, child.stdout.take()?);
    let mut lines = BufReader::new(output).lines();
    let mut open = || -> Option<()> {
        writeln!(input, "SELECT oid FROM pg_database WHERE datname = current_database();").ok()?;
        let oid = lines.next()?.ok()?.parse().ok()?;
        sessions.lock().unwrap().push(Session { oid, ..Session::default() });
        let mut seen = 0;
        while !stop.load(Ordering::SeqCst) {
            *number += 1;
            // A row that RETURNING prints is a row whose commit the server has acknowledged: psql prints
            // nothing before the statement is complete.
            writeln!(
                input,
                "INSERT INTO devfactory.orders (title, status) VALUES ('{tag}-{number}', 'written') \
                 RETURNING 'ack ' || title;\n\
                 SELECT 'beat ' || id || ' ' || at FROM ops.heartbeat WHERE id > {seen} ORDER BY id;\n\
                 \\echo end {number}"
            )
            .ok()?;
            let end = format!("end {number}");
            loop {
                let line = lines.next()?.ok()?;
                if line == end {
                    break;
                }
                let mut all = sessions.lock().unwrap();
                let mine = all.last_mut()?;
                if let Some(title) = line.strip_prefix("ack ") {
                    mine.acked.push(title.into());
                } else if let Some((id, at)) = line.strip_prefix("beat ").and_then(|b| b.split_once(' ')) {
                    seen = id.parse().ok()?;
                    mine.beats.insert((seen, at.into()));
                }
            }
            // Some thirty rows a second are witnesses enough, and leave the processors to the rest.
            std::thread::sleep(Duration::from_millis(25));
        }
        writeln!(input, "\\q").ok()
    };
    let ended = open();
    // With its input closed psql ends by itself; killing the client would leave it in the container.
    drop(input);
    let until = Instant::now() + super::SOON;
    while Instant::now() < until && matches!(child.try_wait(), Ok(None)) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
    ended
}
