//! One call of `docker`, `git` or `pwsh`, as the relay hands it over
//! (relay.rs): what was asked, and the way back to whoever asked. Starts no
//! program.
//!
//! The relay sends three lists (the name and the directory; the arguments; the
//! environment), each as a number of words, and each word behind its length.
//! It is told what to do in frames of a letter, a length and data: `i` to send
//! its stdin, `o` and `e` to print, and one for its end: `x` exit, `k` by a
//! signal, `h` never, `r` as the real program. Numbers are four bytes, the
//! lowest first.

use std::ffi::OsString;
use std::io::{BufReader, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;

/// How a call ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    Exit(i32),
    /// By a signal.
    Killed,
    Hangs,
    /// As the real program: with this path, and this PATH.
    Real(String, String),
}

pub struct Caller {
    stream: UnixStream,
    pub program: String,
    pub dir: String,
    pub args: Vec<String>,
    pub env: Vec<(OsString, OsString)>,
}

impl Caller {
    /// None: it was killed before it had said all.
    pub fn read(mut stream: UnixStream) -> Option<Caller> {
        let (place, args, env) = (list(&mut stream)?, list(&mut stream)?, list(&mut stream)?);
        let text = |word: &Vec<u8>| String::from_utf8(word.clone()).unwrap();
        let pair = |word: Vec<u8>| {
            let at = word.iter().position(|b| *b == b'=').unwrap();
            (OsString::from_vec(word[..at].to_vec()), OsString::from_vec(word[at + 1..].to_vec()))
        };
        let program = text(&place[0]).rsplit('/').next().unwrap_or_default().to_string();
        Some(Caller {
            stream,
            program,
            dir: text(&place[1]),
            args: args.iter().map(text).collect(),
            env: env.into_iter().map(pair).collect(),
        })
    }

    /// Its stdin, as it comes.
    pub fn input(&self) -> BufReader<UnixStream> {
        self.frame(b'i', &[]);
        BufReader::new(self.stream.try_clone().unwrap())
    }

    /// Its stdin, to the end.
    pub fn whole_input(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Who is killed while it is asked has said all that it will say.
        let _ = self.input().read_to_end(&mut bytes);
        bytes
    }

    pub fn out(&self, bytes: &[u8]) {
        self.frame(b'o', bytes);
    }

    pub fn err(&self, bytes: &[u8]) {
        self.frame(b'e', bytes);
    }

    pub fn end(self, end: End) {
        match end {
            End::Exit(code) => self.frame(b'x', &[u8::try_from(code).unwrap_or(128)]),
            End::Killed => self.frame(b'k', &[]),
            End::Hangs => self.frame(b'h', &[]),
            End::Real(program, path) => self.frame(b'r', format!("{program}\0{path}").as_bytes()),
        }
    }

    fn frame(&self, tag: u8, data: &[u8]) {
        let mut bytes = vec![tag];
        bytes.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        bytes.extend(data);
        // The program may have killed it in the meantime.
        let _ = (&self.stream).write_all(&bytes);
    }
}

fn list(stream: &mut UnixStream) -> Option<Vec<Vec<u8>>> {
    let word = |stream: &mut UnixStream| {
        let mut word = vec![0; number(stream)?];
        stream.read_exact(&mut word).ok()?;
        Some(word)
    };
    (0..number(stream)?).map(|_| word(stream)).collect()
}

fn number(stream: &mut UnixStream) -> Option<usize> {
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes).ok()?;
    Some(u32::from_le_bytes(bytes) as usize)
}
