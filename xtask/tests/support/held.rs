//! A psql that stays open and holds something: a table, a lock, a place.
#![allow(clippy::disallowed_methods)]

use super::process::program;
use super::sql::psql_args;
use super::{SOON, Stand};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc;

/// What is held goes when this goes.
pub struct Held {
    child: Child,
    input: Option<ChildStdin>,
}

impl Stand {
    /// Opens a session under an application name and runs `sql` in it; returns when that is done.
    #[track_caller]
    pub fn hold(&self, database: &str, app: &str, sql: &str) -> Held {
        let args = psql_args(&self.container("postgres"), database, app);
        let words: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut command = program("docker", &words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        let mut held = Held { child, input };
        let pipe = held.input.as_mut().unwrap();
        writeln!(pipe, "\\set ON_ERROR_STOP 1\n{sql};\n\\echo it is held").unwrap();
        let (say, said) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = say.send(line);
            }
        });
        loop {
            match said.recv_timeout(SOON) {
                Ok(line) if line == "it is held" => return held,
                Ok(_) => {}
                Err(why) => panic!("{sql} was not done in {database}: {why}"),
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // psql ends at the end of its input, and what it holds with it.
        self.input.take();
        let _ = super::poll(SOON, || self.child.try_wait().ok().flatten());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
