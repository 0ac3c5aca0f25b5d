//! Runs the commands of the documents on a real stand: every fence marked
//! `sh run`, line by line as it stands there, in a copy of the sample stand.
//! `cargo` is a shim for the program under test, `RID` the last release.
//! The two scripts that a newcomer begins with run as they are.
#![allow(clippy::unwrap_used, clippy::expect_used)]
#![cfg(unix)]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use support::leftovers::nothing_of;
use xtask::exec::{Ended, Exec, Finished, Interrupt, Invocation};
use xtask::redact::Redactor;
use xtask::sample::Sample;

#[test]
fn the_documented_commands_do_what_the_documents_say() {
    let scratch = tempfile::tempdir().unwrap();
    let stand = Stand::make(scratch.path());
    let mut ran = Vec::new();
    for document in ["README.md", "docs/evidence.md"] {
        for line in run_lines(&read(document)) {
            let line = line.replace("RID", &stand.last_release());
            let finished = stand.sh(&line);
            assert!(
                finished.ok(),
                "{document}: `{line}` ended with {}\n{}{}",
                finished.ended,
                finished.text(),
                finished.stderr
            );
            ran.push(line);
        }
    }
    for command in
        ["release --plan", "release --yes", "smoke", "status", "config", "rollback --yes", "sha256sum"]
    {
        assert!(ran.iter().any(|line| line.contains(command)), "no document shows `{command}`");
    }
}

#[test]
fn the_demo_shows_a_release_and_a_rollback_and_takes_everything_away() {
    let scratch = tempfile::tempdir().unwrap();
    let finished = script("demo", &["--yes"], scratch.path());
    let said = &finished.stderr;
    assert!(finished.ok(), "scripts/demo ended with {}\n{said}", finished.ended);
    for words in ["PASS", "(exit 30", "verified, by clone", "demo: good"] {
        assert!(said.contains(words), "no word of `{words}`:\n{said}");
    }
    let project = said.split("project ").nth(1).and_then(|rest| rest.split(',').next()).unwrap();
    assert!(project.starts_with("ffdemo-"), "{project}");
    nothing_of(project);
    let left: Vec<_> = std::fs::read_dir(scratch.path()).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(left.is_empty(), "the demo left {left:?}");
}

/// Not all tests, of which this is one: those with a certain name, and none.
#[test]
fn the_test_command_runs_what_it_is_told_to() {
    let scratch = tempfile::tempdir().unwrap();
    let one = script("test", &["--fast", "every_module_has_its_layer"], scratch.path());
    let said = one.text();
    assert!(one.ok(), "scripts/test ended with {}\n{said}{}", one.ended, one.stderr);
    let last = said.lines().last().unwrap_or_default();
    assert!(last.starts_with("test: passed: tests") && last.contains("(1 tests"), "{last}");
    let none = script("test", &["--fast", "no_test_has_this_name"], scratch.path());
    assert_eq!(none.ended, Ended::Exit(1), "{}{}", none.text(), none.stderr);
    assert!(none.stderr.contains("no test has \"no_test_has_this_name\" in its name"), "{}", none.stderr);
}

/// One of this repository's scripts, whose temporary files go into `tmp`.
fn script(name: &str, args: &[&str], tmp: &Path) -> Finished {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let call = Invocation::new("bash")
        .arg(root.join("scripts").join(name).display().to_string())
        .args(args.iter().copied())
        .cwd(tmp)
        .env("TMPDIR", tmp.display().to_string())
        .timeout(Duration::from_secs(900));
    outside().run(&call).unwrap()
}

fn outside() -> Exec {
    Exec::new(Redactor::new(), Interrupt::default())
}

#[test]
fn lines_to_run_are_found() {
    let text = "```sh run\na  # why\n\n# only words\nb c\n```\n```sh\nnot this\n```\n";
    assert_eq!(run_lines(text), ["a  # why", "b c"]);
}

fn run_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        match line {
            "```sh run" => inside = true,
            _ if line.starts_with("```") => inside = false,
            _ if inside && !line.is_empty() && !line.starts_with('#') => lines.push(line.to_string()),
            _ => {}
        }
    }
    lines
}

/// A copy of the sample stand that is gone when this is dropped, also by a panic.
struct Stand {
    exec: Exec,
    sample: Sample,
    bin: PathBuf,
}

impl Stand {
    fn make(scratch: &Path) -> Stand {
        let bin = scratch.join("bin");
        std::fs::create_dir(&bin).unwrap();
        let shim = format!("#!/bin/sh\nshift\nexec '{}' \"$@\"\n", env!("CARGO_BIN_EXE_xtask"));
        std::fs::write(bin.join("cargo"), shim).unwrap();
        std::fs::set_permissions(bin.join("cargo"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let exec = outside();
        let sample = Sample::make(&exec, &scratch.join("stand")).unwrap();
        Stand { exec, sample, bin }
    }

    /// One line of a document, as a shell in the checkout runs it.
    fn sh(&self, line: &str) -> Finished {
        let path = format!("{}:{}", self.bin.display(), std::env::var("PATH").unwrap_or_default());
        let call = Invocation::new("bash")
            .args(["-euo", "pipefail", "-c", line])
            .cwd(&self.sample.repo)
            .env("PATH", path)
            .timeout(Duration::from_secs(300));
        self.exec.run(&call).unwrap()
    }

    /// The newest release; before the first one a name that no run has.
    fn last_release(&self) -> String {
        let list = self.sh("cargo xtask evidence list --json");
        let runs: Vec<serde_json::Value> = serde_json::from_slice(&list.stdout).unwrap_or_default();
        let mut rids = runs.iter().filter_map(|run| run["rid"].as_str());
        rids.find(|rid| rid.starts_with("rel_")).unwrap_or("none-yet").to_string()
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        if let Err(error) = self.sample.remove(&self.exec) {
            assert!(std::thread::panicking(), "the copy could not be removed: {error:#}");
        }
    }
}

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file)).unwrap()
}
