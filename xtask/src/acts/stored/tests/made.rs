//! Backup directories for tests: the sample of a real run, and older ones.

use super::super::*;
use crate::error::fault_of;
use serde_json::{Value, json};

macro_rules! sample {
    ($name:literal) => {
        include_str!(concat!("../../../../tests/data/ff-backup/", $name))
    };
}

/// A backup directory in the making: files, and what is said of them.
pub struct Made {
    pub dir: tempfile::TempDir,
    pub manifest: Value,
    pub digest: String,
}

impl Made {
    /// The sample of a real run. Its paths were shortened and its dump is not kept: where that
    /// changes a file, the lists are made to fit again.
    pub fn sample() -> Made {
        let dir = tempfile::Builder::new().prefix("лис ").tempdir().unwrap();
        let mut manifest: Value = serde_json::from_str(sample!("manifest.json")).unwrap();
        let crlf = |text: &str| text.replace('\n', "\r\n");
        let mut digest = crlf(sample!("digest.sha256").trim_end()) + "\r\n\n";
        let log = sample!("backup.log");
        let begun = &log[..log.find("manifest=").unwrap()];
        let redone = [
            ("snapshot_docker-compose.yml", "services: {}\n".to_string()),
            ("pg_foxproflow.dump", "PGDMP\0\x01 a dump".into()),
            ("compose_ps_q.log", sample!("compose_ps_q.log").into()),
            ("docker_cp_dump.log", sample!("docker_cp_dump.log").into()),
            ("docker_cp_globals.log", sample!("docker_cp_globals.log").into()),
            ("backup.log", begun.into()),
        ];
        let kept = [
            ("snapshot_.env", crlf(sample!("snapshot_.env").trim_end()) + "\r\n\n"),
            ("pg_globals.sql", sample!("pg_globals.sql").into()),
            ("pg_dump_exec.log", sample!("pg_dump_exec.log").into()),
            ("pg_globals_exec.log", sample!("pg_globals_exec.log").into()),
        ];
        let path = dir.path().to_path_buf();
        let write = |name: &str, text: &str| std::fs::write(path.join(name), text).unwrap();
        for (name, text) in &redone {
            write(name, text);
            for file in manifest["files"].as_array_mut().unwrap() {
                if file["rel"] == *name {
                    let old = file["sha256"].as_str().unwrap().to_string();
                    let new = fsx::sha256(text.as_bytes()).to_uppercase();
                    digest = digest.replace(&old, &new);
                    file["sha256"] = new.into();
                    file["bytes"] = text.len().into();
                }
            }
        }
        for (name, text) in &kept {
            write(name, text);
        }
        write("backup.log", log);
        let mut made = Made { dir, manifest, digest };
        made.describe_digest();
        made
    }

    /// The manifest's entry of the digest, as the digest is now.
    pub fn describe_digest(&mut self) {
        let digest = self.digest.clone();
        for file in list_mut(&mut self.manifest).iter_mut().filter(|f| f["rel"] == DIGEST) {
            file["sha256"] = fsx::sha256(digest.as_bytes()).to_uppercase().into();
            file["bytes"] = digest.len().into();
        }
    }

    pub fn file(&mut self, name: &str) -> &mut Value {
        list_mut(&mut self.manifest).iter_mut().find(|f| f["rel"] == name).unwrap()
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.dir.path().join(name), bytes).unwrap();
    }

    /// Changes the digest, and the manifest with it.
    pub fn edit_digest(&mut self, edit: impl FnOnce(&str) -> String) {
        self.digest = edit(&self.digest);
        self.describe_digest();
    }

    pub fn read(&self) -> Result<Stored> {
        self.write(MANIFEST, serde_json::to_string_pretty(&self.manifest).unwrap().as_bytes());
        self.write(DIGEST, self.digest.as_bytes());
        super::super::read(self.dir.path())
    }

    #[track_caller]
    pub fn refused(&self, word: &str) {
        let fault = fault_of(&self.read().map(|s| s.files).unwrap_err());
        assert!(fault.to_string().contains(word), "{word}: {fault}");
        assert_eq!(fault.lane, Some(Lane::A));
    }
}

pub fn list_mut(manifest: &mut Value) -> &mut Vec<Value> {
    manifest["files"].as_array_mut().unwrap()
}

/// A backup as an older script wrote it, with these keys at the root.
pub fn older(root: Value, files: &[(&str, &str)]) -> Made {
    let dir = tempfile::tempdir().unwrap();
    let mut digest = String::new();
    let mut list = Vec::new();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
        let hash = fsx::sha256(text.as_bytes()).to_uppercase();
        digest.push_str(&format!("{hash}  {name}\r\n"));
        list.push(json!({ "name": name, "bytes": text.len(), "sha256": hash }));
    }
    let mut manifest = root;
    manifest["files"] = if list.len() == 1 { list.remove(0) } else { list.into() };
    Made { dir, manifest, digest }
}
