//! What stands on the PATH as `docker`, `git` and `pwsh`: it tells the player
//! behind a socket what was asked, and does as it is told. The program starts
//! some 150 of these in a cell, so it is built by itself, optimised, and knows
//! nothing (stage.rs); the frames are described where the player reads and
//! writes them (caller.rs).

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

fn main() {
    let at = std::env::var_os("XTASK_TAPE").expect("no player is named");
    let mut player = UnixStream::connect(at).expect("the player does not answer");
    player.write_all(&question()).expect("the player does not listen");
    while let Some((tag, data)) = frame(&mut player) {
        match tag {
            b'i' => relay_input(player.try_clone().expect("no second handle")),
            // Whoever asked may have gone.
            b'o' => drop(std::io::stdout().write_all(&data).and_then(|()| std::io::stdout().flush())),
            b'e' => drop(std::io::stderr().write_all(&data)),
            b'x' => std::process::exit(i32::from(data[0])),
            b'k' => std::process::abort(),
            b'h' => loop {
                std::thread::sleep(Duration::from_secs(3600));
            },
            b'r' => become_real(&data),
            _ => panic!("the player says {tag}"),
        }
    }
    panic!("the player went away");
}

/// Three lists: the name and the directory, the arguments, the environment.
fn question() -> Vec<u8> {
    let mut words = std::env::args_os();
    let called = words.next().unwrap_or_default();
    let dir = std::env::current_dir().expect("no directory");
    let env = std::env::vars_os().map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat());
    let lists: [Vec<Vec<u8>>; 3] = [
        vec![called.as_bytes().to_vec(), dir.as_os_str().as_bytes().to_vec()],
        words.map(|w| w.as_bytes().to_vec()).collect(),
        env.collect(),
    ];
    let mut bytes = Vec::new();
    for list in lists {
        bytes.extend((list.len() as u32).to_le_bytes());
        for word in list {
            bytes.extend((word.len() as u32).to_le_bytes());
            bytes.extend(word);
        }
    }
    bytes
}

fn frame(player: &mut UnixStream) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    player.read_exact(&mut head).ok()?;
    let mut data = vec![0; u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize];
    player.read_exact(&mut data).ok()?;
    Some((head[0], data))
}

fn relay_input(mut player: UnixStream) {
    std::thread::spawn(move || {
        let mut buffer = [0; 65536];
        let mut input = std::io::stdin();
        while let Ok(read @ 1..) = input.read(&mut buffer) {
            if player.write_all(&buffer[..read]).is_err() {
                return;
            }
        }
        let _ = player.shutdown(Shutdown::Write);
    });
}

/// `PROGRAM NUL PATH`: the real program, with the same words and streams.
fn become_real(data: &[u8]) {
    let mut parts = data.splitn(2, |b| *b == 0).map(OsStr::from_bytes);
    let (program, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let error = Command::new(program).args(std::env::args_os().skip(1)).env("PATH", path).exec();
    panic!("{program:?} does not start: {error}");
}
