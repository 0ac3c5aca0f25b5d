//! Copies of a run's evidence, changed in one place each.

use super::process::tool;
use super::stand::EVIDENCE;
use super::{Evidence, Stand};
use serde_json::Value;
use std::path::{Path, PathBuf};
use xtask::fsx::sha256;

/// A copy of one run with its backup, laid out as in a checkout.
pub struct Copy {
    pub root: tempfile::TempDir,
    pub dir: PathBuf,
}

impl Copy {
    pub fn of(stand: &Stand, evidence: &Evidence) -> Copy {
        let root = tempfile::Builder::new().prefix("ff-copy-").tempdir().unwrap();
        let dir = root.path().join(EVIDENCE).join(evidence.rid());
        let copy = |from: &Path, to: &Path| {
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            tool("cp", &["-a", &from.display().to_string(), &to.display().to_string()], Path::new("/"), None);
        };
        copy(&evidence.dir, &dir);
        if evidence.has("backup.json") {
            let place = evidence.json("backup.json")["dir"].as_str().unwrap().to_string();
            copy(&stand.repo.join(&place), &root.path().join(&place));
        }
        Copy { root, dir }
    }

    /// The directory of its backup.
    pub fn backup(&self) -> PathBuf {
        self.root.path().join(self.json("backup.json")["dir"].as_str().unwrap())
    }

    pub fn json(&self, name: &str) -> Value {
        serde_json::from_str(&std::fs::read_to_string(self.dir.join(name)).unwrap()).unwrap()
    }

    /// Changes a JSON file at a pointer; what was there must be something else.
    #[track_caller]
    pub fn set(&self, name: &str, pointer: &str, value: Value) {
        let mut json = self.json(name);
        let place = json.pointer_mut(pointer).unwrap_or_else(|| panic!("{name} has no {pointer}"));
        assert_ne!(*place, value, "{name} has this at {pointer} already");
        *place = value;
        std::fs::write(self.dir.join(name), serde_json::to_string_pretty(&json).unwrap() + "\n").unwrap();
    }

    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.dir.join(name)).unwrap();
    }

    /// Flips one bit in the middle of a file.
    pub fn flip(path: &Path) {
        let mut bytes = std::fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(path, bytes).unwrap();
    }

    /// Rewrites the journal's lines, with sequence numbers and chain as they must be.
    #[track_caller]
    pub fn journal(&self, edit: impl FnOnce(&mut Vec<Value>)) {
        let path = self.dir.join("events.jsonl");
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let before = lines.clone();
        edit(&mut lines);
        assert_ne!(lines, before, "the journal was not changed");
        let (mut out, mut prev) = (String::new(), sha256(b""));
        for (number, line) in lines.iter_mut().enumerate() {
            line["seq"] = (number + 1).into();
            line["prev"] = prev.into();
            let text = serde_json::to_string(line).unwrap();
            prev = sha256(text.as_bytes());
            out += &(text + "\n");
        }
        std::fs::write(path, out).unwrap();
    }

    /// Makes the digest fit again, as somebody would who has something to hide.
    pub fn digest_again(&self) {
        xtask::evidence::write_digest(&self.dir).unwrap();
    }

    /// `evidence verify` of this copy, offline: exit code and what it said.
    #[track_caller]
    pub fn verify(&self, stand: &Stand) -> (i32, String) {
        let path = self.dir.display().to_string();
        let nowhere = [("DOCKER_HOST", "tcp://127.0.0.1:1")];
        let outcome = stand.run_with(&nowhere, &["evidence", "verify", &path]);
        (outcome.code, outcome.stdout + &outcome.stderr)
    }
}

/// A case: what it is called, what is done to the copy, a word of what must be said.
pub type Case = (&'static str, fn(&Copy), &'static str);

/// What `evidence verify` must find in any run with a backup.
pub const CASES: [Case; 12] = [
    ("a flipped bit in a RAW log", |c| Copy::flip(&c.dir.join("step_backup.log")), "step_backup.log"),
    ("a flipped bit in a record", |c| Copy::flip(&c.dir.join("proof.json")), "proof.json"),
    ("a flipped bit in the journal", |c| Copy::flip(&c.dir.join("events.jsonl")), "events.jsonl"),
    ("a flipped bit in the summary", |c| Copy::flip(&c.dir.join("summary.json")), "summary.json"),
    ("a flipped bit in the digest", |c| Copy::flip(&c.dir.join("digest.sha256")), ""),
    ("a dropped file", |c| c.remove("proof.json"), "proof.json"),
    ("no digest", |c| c.remove("digest.sha256"), "digest.sha256"),
    ("an added file", |c| std::fs::write(c.dir.join("more.txt"), "x").unwrap(), "more.txt"),
    ("a flipped bit in the dump", |c| Copy::flip(&c.backup().join("db.dump")), "db.dump"),
    ("a lost dump", |c| std::fs::remove_file(c.backup().join("db.dump")).unwrap(), "backup"),
    (
        "a dropped line of the journal",
        |c| {
            let path = c.dir.join("events.jsonl");
            let text = std::fs::read_to_string(&path).unwrap();
            let kept: Vec<&str> = text.lines().enumerate().filter(|(n, _)| *n != 4).map(|(_, l)| l).collect();
            std::fs::write(path, kept.join("\n") + "\n").unwrap();
            c.digest_again();
        },
        "events.jsonl",
    ),
    (
        "a run that did not end",
        |c| {
            c.journal(|lines| drop(lines.pop()));
            c.digest_again();
        },
        "sealed",
    ),
];
