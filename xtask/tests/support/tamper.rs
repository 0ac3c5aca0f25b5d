//! Copies of a run's evidence, changed in one place each.

use super::before::live_oid;
use super::process::tool;
use super::stand::EVIDENCE;
use super::{Checks, Evidence, Stand};
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

    /// Rewrites a file's lines; the digest stays as it was.
    #[track_caller]
    pub fn change(&self, name: &str, edit: impl FnOnce(&mut Vec<&str>)) {
        let text = std::fs::read_to_string(self.dir.join(name)).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        edit(&mut lines);
        let changed = lines.join("\n") + "\n";
        assert_ne!(changed, text, "{name} was not changed");
        std::fs::write(self.dir.join(name), changed).unwrap();
    }

    /// Rewrites a file's lines, and the digest for them.
    #[track_caller]
    pub fn lines(&self, name: &str, edit: impl FnOnce(&mut Vec<&str>)) {
        self.change(name, edit);
        self.digest_again();
    }

    /// Puts the file of another run in its place, and makes the digest for it.
    #[track_caller]
    pub fn older(&self, other: &Evidence, name: &str) {
        let theirs = std::fs::read(other.dir.join(name)).unwrap();
        assert_ne!(theirs, std::fs::read(self.dir.join(name)).unwrap(), "{name} is the same in both");
        std::fs::write(self.dir.join(name), theirs).unwrap();
        self.digest_again();
    }

    pub fn rename(&self, from: &str, to: &str) {
        std::fs::rename(self.dir.join(from), self.dir.join(to)).unwrap();
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

/// Nobody is brought back from a backup whose dump is not the one that was made.
#[track_caller]
pub fn refused_as_a_way_back(stand: &Stand, backup: &Path) {
    let oid = live_oid(stand);
    let refused = stand.run(&["rollback", "--yes", "--backup", &backup.display().to_string()]).expect(10);
    refused.says("does not verify");
    refused.says("db.dump");
    assert_eq!(live_oid(stand), oid, "another database has the live name{}", refused.at());
}

/// A case: what it is called, what is done to the copy with the files of an older run at hand, a word
/// of what must be said.
pub type Case = (&'static str, fn(&Copy, &Evidence), &'static str);

/// `evidence verify` finds every case in a copy of a run, and nothing in one that is as it was. `other` is
/// a run of the same kind of files.
pub fn every_case_is_found(stand: &Stand, evidence: &Evidence, other: &Evidence, checks: &mut Checks) {
    let rid = evidence.rid();
    checks.that(format!("verify {rid}: an untouched copy"), || {
        let (code, said) = Copy::of(stand, evidence).verify(stand);
        assert_eq!(code, 0, "it does not verify:\n{said}");
    });
    for (name, change, word) in CASES {
        checks.that(format!("verify {rid}: {name}"), || {
            let copy = Copy::of(stand, evidence);
            change(&copy, other);
            let (code, said) = copy.verify(stand);
            assert_eq!(code, 50, "{name} was not found:\n{said}");
            assert!(said.contains(word), "{name}: no word of `{word}`:\n{said}");
        });
    }
}

/// What `evidence verify` must find in any run with a backup.
const CASES: [Case; 21] = [
    ("a flipped bit in a RAW log", |c, _| Copy::flip(&c.dir.join("step_backup.log")), "step_backup.log"),
    ("a flipped bit in a record", |c, _| Copy::flip(&c.dir.join("proof.json")), "proof.json"),
    ("a flipped bit in the journal", |c, _| Copy::flip(&c.dir.join("events.jsonl")), "events.jsonl"),
    ("a flipped bit in the summary", |c, _| Copy::flip(&c.dir.join("summary.json")), "summary.json"),
    ("a flipped bit in the digest", |c, _| Copy::flip(&c.dir.join("digest.sha256")), ""),
    ("a dropped file", |c, _| c.remove("proof.json"), "proof.json"),
    ("no digest", |c, _| c.remove("digest.sha256"), "digest.sha256"),
    ("an added file", |c, _| std::fs::write(c.dir.join("more.txt"), "x").unwrap(), "more.txt"),
    ("a flipped bit in the dump", |c, _| Copy::flip(&c.backup().join("db.dump")), "db.dump"),
    (
        "a rewritten backup with a digest of its own",
        |c, _| {
            std::fs::write(c.backup().join("globals.sql"), "-- nothing\n").unwrap();
            xtask::evidence::write_digest(&c.backup()).unwrap();
        },
        "its digest.sha256 is not the one",
    ),
    ("a lost dump", |c, _| std::fs::remove_file(c.backup().join("db.dump")).unwrap(), "backup"),
    (
        "a dropped line of the journal",
        |c, _| c.lines("events.jsonl", |lines| lines.retain(|l| !l.contains("\"seq\":5,"))),
        "line 5 of",
    ),
    ("swapped lines of the journal", |c, _| c.lines("events.jsonl", |l| l.swap(4, 9)), "line 5 of"),
    (
        "a run that did not end",
        |c, _| {
            c.journal(|lines| drop(lines.pop()));
            c.digest_again();
        },
        "sealed",
    ),
    ("a RAW log of an older run", |c, old| c.older(old, "step_backup.log"), "step_backup.log is not what"),
    ("a record of an older run", |c, old| c.older(old, "proof.json"), "proof.json is not what"),
    ("the journal of an older run", |c, old| c.older(old, "events.jsonl"), "events.jsonl is the journal of"),
    (
        "a shorter RAW log",
        |c, _| c.lines("step_backup.log", |l| l.truncate(l.len() / 2)),
        "step_backup.log is",
    ),
    (
        "a renamed file, before the digest",
        |c, _| {
            c.rename("proof.json", "proof-1.json");
            c.digest_again();
        },
        "proof-1.json is not what",
    ),
    ("a renamed file", |c, _| c.rename("step_backup.log", "step_zzz.log"), "step_backup.log is missing"),
    (
        "a digest in another order",
        |c, _| c.change("digest.sha256", |lines| lines.swap(1, 2)),
        "line 3 of digest.sha256",
    ),
];
