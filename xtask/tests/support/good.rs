//! A release that passed: the evidence of every gate, opened and compared with
//! the world.

use super::process::tool;
use super::world::{APPS, DATA};
use super::{Checks, Evidence, Stand};
use serde_json::Value;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use xtask::fsx::{sha256, sha256_file};

/// What is known of a release besides its evidence.
pub struct Good<'a> {
    pub stand: &'a Stand,
    pub evidence: &'a Evidence,
    /// The release before it.
    pub previous: Option<&'a Evidence>,
    /// SQL files of the released commit, in the order of ops/xtask.toml.
    pub files: &'a [&'a str],
}

/// The gates of a release that passed.
pub const GATES: [&str; 15] =
    ["P1", "P2", "P3", "P4", "P5", "B1", "B2", "R0", "M1", "D1", "S1", "E1", "E2", "E3", "E4"];
const CHECKS: [&str; 7] = [
    "GET /health",
    "GET /health/extended",
    "GET /api/crm/smoke/ping",
    "GET /api/devfactory/orders/recent?limit=1&include_result=0",
    "worker ping",
    "worker tasks",
    "task round trip",
];

impl<'a> Good<'a> {
    /// Opens the evidence of every gate.
    pub fn every_gate(&self, name: &str, checks: &mut Checks) {
        type Gate<'a> = (&'static str, fn(&Good<'a>));
        let all: [Gate<'a>; 11] = [
            ("verdict", Good::verdict),
            ("P1 and P2", Good::charter),
            ("P3 to P5", Good::precheck),
            ("B1", Good::backup),
            ("B2", Good::build),
            ("R0", Good::way_back),
            ("M1", Good::migrations),
            ("D1", Good::deploy),
            ("S1", Good::smoke),
            ("E1 and E2", Good::logs_and_digest),
            ("last known good", Good::last_known_good),
        ];
        for (gate, check) in all {
            checks.that(format!("{name}: {gate}"), || check(self));
        }
    }

    fn verdict(&self) {
        let at = &self.evidence.at;
        assert_eq!(self.evidence.verdict(), ("PASS".into(), 0), "verdict{at}");
        assert_eq!(self.evidence.gates(true), GATES, "gates that are true{at}");
        assert!(self.evidence.gates(false).is_empty(), "gates that are false{at}");
        let summary = self.evidence.json("summary.json");
        let previous = &summary["previous"];
        match self.previous {
            None => assert_eq!(*previous, Value::Null, "previous{at}"),
            Some(before) => {
                assert_eq!(previous["rid"], before.rid(), "previous.rid{at}");
                let digest = sha256(before.text("digest.sha256").as_bytes());
                assert_eq!(previous["digest_sha256"], digest, "previous.digest_sha256{at}");
            }
        }
        assert_eq!(summary["ok"], true);
        self.evidence.summary_is_complete();
        assert_eq!(summary["git"]["head"], self.stand.head(), "git.head{at}");
        assert!(self.evidence.requests().is_empty(), "a request without a failure{at}");
    }

    fn charter(&self) {
        let (at, c) = (&self.evidence.at, self.evidence.json("charter.json"));
        let repo = self.stand.repo.display().to_string();
        let want = [
            ("worktree", repo.as_str()),
            ("lane", "main"),
            ("branch", "main"),
            ("operator", "тест-оператор"),
        ];
        for (key, want) in want {
            assert_eq!(c[key], want, "charter.{key}{at}");
        }
        assert_eq!(c["git_head"], self.stand.head(), "charter.git_head{at}");
        assert_eq!(c["rid"], self.evidence.rid(), "charter.rid{at}");
        assert!(c["host"].as_str().is_some_and(|h| !h.is_empty()), "charter.host{at}");
        let tasks = c["devtasks"].as_array().unwrap();
        assert!(tasks.iter().all(|t| t == "1" || t == "2") && !tasks.is_empty(), "devtasks {tasks:?}{at}");
        assert_eq!(c["lock"]["database"], true, "the database half of the lock{at}");
        assert!(Path::new(c["lock"]["file"].as_str().unwrap()).exists(), "the lock file{at}");
        assert!(c["lock"]["holder"].as_str().unwrap().contains("тест-оператор"), "the holder{at}");
    }

    fn precheck(&self) {
        let (at, p) = (&self.evidence.at, self.evidence.json("precheck.json"));
        assert_eq!(p["git_status"][0], "## main", "git status -sb{at}");
        let services: BTreeSet<&str> = strings(&p["services"]).into_iter().collect();
        let all: BTreeSet<&str> = APPS.into_iter().chain(DATA).collect();
        assert_eq!(services, all, "services{at}");
        for version in ["xtask", "docker", "compose", "git"] {
            assert!(
                p["versions"][version].as_str().is_some_and(|v| !v.is_empty()),
                "version of {version}{at}"
            );
        }
        for place in ["backups", "database"] {
            assert!(p["free"][place].as_u64().is_some_and(|b| b > 0), "free space of {place}{at}");
        }
        let baseline = p["baseline"]["checks"].as_array().unwrap();
        assert_eq!(baseline.len(), CHECKS.len(), "the baseline is a full smoke{at}");
        let green = baseline.iter().filter(|c| c["ok"] == true).count();
        assert_eq!(
            green,
            if self.previous.is_some() { CHECKS.len() } else { 0 },
            "green in the baseline{at}"
        );
        let log = self.evidence.text("step_precheck.log");
        assert!(log.contains(&self.stand.head()), "step_precheck.log does not name the head{at}");
        assert!(p["scanned_files"].as_u64().is_some_and(|n| n > 0), "nothing was scanned{at}");
        assert_eq!(p["findings"].as_array().map(Vec::len), Some(0), "findings{at}");
    }

    fn backup(&self) {
        let (at, b) = (&self.evidence.at, self.evidence.json("backup.json"));
        let dir = self.stand.repo.join(b["dir"].as_str().unwrap());
        let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir), 0o700, "mode of {}{at}", dir.display());
        for entry in std::fs::read_dir(&dir).unwrap().flatten() {
            assert_eq!(mode(&entry.path()), 0o600, "mode of {}{at}", entry.path().display());
        }
        tool("sha256sum", &["-c", "--quiet", "digest.sha256"], &dir, None);
        let (hash, bytes) = sha256_file(&dir.join("db.dump")).unwrap();
        assert_eq!(
            (b["sha256"].as_str(), b["bytes"].as_u64()),
            (Some(hash.as_str()), Some(bytes)),
            "the dump{at}"
        );
        let manifest: Value =
            serde_json::from_str(&std::fs::read_to_string(dir.join("manifest.json")).unwrap()).unwrap();
        assert_eq!(manifest["postgres"]["db_name"], "foxproflow", "manifest.postgres.db_name{at}");
        assert_eq!(manifest["git"]["head"], self.stand.head(), "manifest.git.head{at}");
        let files = manifest["files"].as_array().unwrap();
        let dump = files.iter().find(|f| f["rel"] == "db.dump").unwrap_or_else(|| panic!("no dump{at}"));
        assert_eq!(dump["sha256"], hash, "the dump in the manifest{at}");
        let copy = self.evidence.text("backup_digest.sha256");
        assert_eq!(
            copy,
            std::fs::read_to_string(dir.join("digest.sha256")).unwrap(),
            "the digest's copy{at}"
        );
        // Read to its end by the server's own tool.
        let id = self.stand.container("postgres");
        let archive = std::fs::read(dir.join("db.dump")).unwrap();
        tool("docker", &["exec", "-i", &id, "pg_restore", "-f", "/dev/null"], Path::new("/"), Some(&archive));
        let summary = self.evidence.json("summary.json");
        assert_eq!(summary["backup"]["sha256"], hash, "summary.backup.sha256{at}");
        assert_eq!(summary["backup"]["proof"], "restored and equal", "summary.backup.proof{at}");
    }

    fn build(&self) {
        let (at, b) = (&self.evidence.at, self.evidence.json("images.json"));
        let now = self.stand.containers();
        let images = b["images"].as_array().unwrap();
        assert_eq!(images.len(), APPS.len(), "images{at}");
        for image in images {
            let service = image["service"].as_str().unwrap();
            assert_eq!(image["after"], now[service].image, "the image that {service} runs{at}");
            assert_eq!(image["before"] == Value::Null, self.previous.is_none(), "before of {service}{at}");
        }
        let log = self.evidence.text("step_build.log");
        let call = log.lines().find(|l| l.contains("\"build\"")).unwrap_or_else(|| panic!("no call{at}"));
        assert!(APPS.iter().all(|s| call.contains(&format!("\"{s}\""))), "the build's argv: {call}{at}");
    }

    fn way_back(&self) {
        let at = &self.evidence.at;
        let (p, r) = (self.evidence.json("proof.json"), self.evidence.json("readiness.json"));
        assert_eq!(p["restored_sha256"], self.evidence.json("backup.json")["sha256"], "another dump{at}");
        for key in
            ["restore_ok", "sums_equal", "schema_equal", "extensions_equal", "sequences_equal", "equal"]
        {
            assert_eq!(p[key], true, "proof.{key}{at}");
        }
        assert_eq!(p["differences"].as_array().map(Vec::len), Some(0), "differences{at}");
        let log = self.evidence.text("step_proof.log");
        assert!(log.contains("pg_restore"), "no pg_restore in step_proof.log{at}");
        assert_eq!(r["ok"], true, "readiness.ok{at}");
        assert_eq!(r["blockers"].as_array().map(Vec::len), Some(0), "blockers{at}");
        assert_eq!(r["override_valid"], true, "override{at}");
        let images = r["images"].as_array().unwrap();
        let (count, kind) = match self.previous {
            Some(_) => (APPS.len(), "release"),
            None => (0, "stopped"),
        };
        assert_eq!((images.len(), r["source"]["kind"].as_str()), (count, Some(kind)), "the way back{at}");
        assert!(images.iter().all(|i| i["present"] == true), "images to go back to: {images:?}{at}");
        let fence = self.evidence.json("fence.json");
        assert_ne!(fence["clone_oid"], fence["live_oid"], "the clone{at}");
    }

    fn migrations(&self) {
        let (at, m) = (&self.evidence.at, self.evidence.json("migrate.json"));
        assert_eq!(m["source_commit"], self.stand.head(), "source_commit{at}");
        let files = m["files"].as_array().unwrap();
        let paths: Vec<&str> = files.iter().filter_map(|f| f["path"].as_str()).collect();
        assert_eq!(paths, self.files, "files in their order{at}");
        let verified = m["verify"].as_array().unwrap();
        assert!(verified.len() >= 4, "verifications{at}");
        for (files, status) in [(files, "applied"), (verified, "passed")] {
            for (n, file) in files.iter().enumerate() {
                let path = file["path"].as_str().unwrap();
                let blob = self.stand.git(&["show", &format!("HEAD:{path}")]);
                assert_eq!(file["sha256"], sha256(blob.as_bytes()), "sha256 of {path}{at}");
                assert_eq!(
                    (file["status"].as_str(), file["exit_code"].as_i64()),
                    (Some(status), Some(0)),
                    "{path}{at}"
                );
                assert_eq!(file["order"], n + 1, "order of {path}{at}");
            }
        }
        let step = step(self.evidence, "migrate");
        if self.files.is_empty() {
            assert!(m["skipped"].as_str().is_some_and(|r| r.len() > 5), "no reason for the skip{at}");
            assert_eq!(step["status"], "skipped", "the step in the summary{at}");
            assert!(step["reason"].as_str().is_some_and(|r| r.len() > 5), "the step's reason{at}");
        } else {
            assert_eq!(step["status"], "ok", "the step in the summary{at}");
        }
    }

    fn deploy(&self) {
        let (at, d) = (&self.evidence.at, self.evidence.json("deploy.json"));
        assert_eq!(
            (&d["up"], d["problems"].as_array().map(Vec::len)),
            (&Value::Bool(true), Some(0)),
            "up{at}"
        );
        let now = self.stand.containers();
        let services = d["services"].as_array().unwrap();
        assert_eq!(services.len(), now.len(), "services that were watched{at}");
        for s in services {
            let container = &now[s["service"].as_str().unwrap()];
            assert_eq!(
                (&s["container"], &s["started"]),
                (&json(&container.id), &json(&container.started)),
                "{s}{at}"
            );
            assert_eq!((s["restarts"].as_u64(), s["state"].as_str()), (Some(0), Some("running")), "{s}{at}");
        }
        assert_eq!(self.evidence.json("compose_ps.json").as_array().map(Vec::len), Some(now.len()), "ps{at}");
        for service in now.keys() {
            let log = self.evidence.text(&format!("logs_{service}.log"));
            assert!(!log.trim().is_empty(), "the log of {service} is empty{at}");
        }
        for service in APPS {
            let source = now[service].source.as_deref();
            assert_eq!(source, Some(self.stand.repo.as_path()), "the source that {service} runs{at}");
        }
    }

    fn smoke(&self) {
        let (at, s) = (&self.evidence.at, self.evidence.json("smoke.json"));
        let checks = s["checks"].as_array().unwrap();
        let good: BTreeSet<&str> =
            checks.iter().filter(|c| c["ok"] == true).filter_map(|c| c["name"].as_str()).collect();
        assert_eq!(good, CHECKS.into_iter().collect(), "good checks{at}");
        let log = self.evidence.text("step_smoke.log");
        assert!(CHECKS.iter().all(|c| log.contains(c)), "a check is not in step_smoke.log{at}");
        let summary = self.evidence.json("summary.json");
        assert_eq!(summary["smoke"].as_array().map(Vec::len), Some(CHECKS.len()), "summary.smoke{at}");
    }

    fn logs_and_digest(&self) {
        let at = &self.evidence.at;
        for name in ["precheck", "backup", "build", "migrate", "deploy", "smoke"] {
            let log = self.evidence.text(&format!("step_{name}.log"));
            assert!(!log.trim().is_empty(), "step_{name}.log is empty{at}");
            let line = step(self.evidence, name);
            assert_eq!(line["log"], format!("step_{name}.log"), "summary.steps, log of {name}{at}");
        }
        tool("sha256sum", &["-c", "--quiet", "digest.sha256"], &self.evidence.dir, None);
        let digest = self.evidence.text("digest.sha256");
        let listed: Vec<&str> = digest.lines().filter_map(|l| l.split_once("  ")).map(|(_, f)| f).collect();
        let mut there = xtask::fsx::files_below(&self.evidence.dir).unwrap();
        there.retain(|f| f != "digest.sha256");
        assert_eq!(listed, there, "files in the digest, sorted{at}");
        assert!(
            listed.contains(&"summary.json") && listed.contains(&"backup_digest.sha256"),
            "{listed:?}{at}"
        );
        let ignored =
            self.stand.git(&["check-ignore", "ops/_local/evidence/x", "ops/_backups/x", "ops/_local/lkg/x"]);
        assert_eq!(ignored.lines().count(), 3, "evidence and backups are ignored by git: {ignored}{at}");
        self.stand.run(&["evidence", "verify", &self.evidence.rid()]).expect(0);
    }

    fn last_known_good(&self) {
        let at = &self.evidence.at;
        let path = self.stand.repo.join("ops/_local/lkg/last_known_good.json");
        let last: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(last["rid"], self.evidence.rid(), "last known good{at}");
        let digest = sha256(self.evidence.text("digest.sha256").as_bytes());
        assert_eq!(last["digest_sha256"], digest, "its digest{at}");
        let commit = last["commit"].as_str().unwrap();
        let pinned = self.stand.git(&["rev-parse", &format!("refs/ff-xtask/lkg/{}", self.evidence.rid())]);
        assert_eq!(pinned.trim(), commit, "the ref that pins it{at}");
        let status = self.stand.run(&["status", "--json"]).expect(0).json();
        assert_eq!(status["last_known_good"]["rid"], self.evidence.rid(), "status{at}");
    }
}

/// A step as the summary has it.
pub fn step(evidence: &Evidence, name: &str) -> Value {
    let summary = evidence.json("summary.json");
    let steps = summary["steps"].as_array().unwrap();
    let found = steps.iter().find(|s| s["name"] == name);
    found.unwrap_or_else(|| panic!("no step {name} in the summary{}", evidence.at)).clone()
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn json(text: &str) -> Value {
    Value::String(text.into())
}
