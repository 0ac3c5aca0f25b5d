//! Other users than the one of the tests: root, and one who owns nothing.
#![allow(clippy::disallowed_methods)]

use super::SOON;
use super::process::{self, Outcome, tool};
use std::path::Path;

/// Runs a program as root, directly or by sudo without a password; anything but exit 0 fails the test.
#[track_caller]
pub fn as_root(name: &str, args: &[&str]) -> String {
    let words = with_root(name, args);
    tool(words[0], &words[1..], Path::new("/"), None)
}

/// Runs a program as a user to whom nothing belongs.
pub fn as_nobody(name: &str, args: &[&str]) -> Outcome {
    let user = ["--reuid=65534", "--regid=65534", "--clear-groups", name];
    let words = [&user[..], args].concat();
    let words = with_root("setpriv", &words);
    let mut command = process::program(words[0], &words[1..]);
    command.current_dir("/").env_remove("FF_REPO");
    process::start(command, &format!("nobody: {name} {}", args.join(" ")), None, SOON).wait()
}

/// The words that run a program as root.
pub fn with_root<'a>(name: &'a str, args: &[&'a str]) -> Vec<&'a str> {
    let root = tool("id", &["-u"], Path::new("/"), None).trim() == "0";
    let sudo: &[&str] = if root { &[] } else { &["sudo", "-n"] };
    [sudo, &[name], args].concat()
}
