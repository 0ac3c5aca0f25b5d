//! A run's directory, read with nothing of the program's own.

use serde_json::Value;
use std::path::PathBuf;

pub struct Evidence {
    pub dir: PathBuf,
    /// What the run said: part of every assertion.
    pub at: String,
}

impl Evidence {
    pub fn rid(&self) -> String {
        self.dir.file_name().unwrap().to_string_lossy().into_owned()
    }

    pub fn has(&self, name: &str) -> bool {
        self.dir.join(name).exists()
    }

    #[track_caller]
    pub fn text(&self, name: &str) -> String {
        let path = self.dir.join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}{}", path.display(), self.at))
    }

    #[track_caller]
    pub fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.text(name)).unwrap_or_else(|e| panic!("{name}: {e}{}", self.at))
    }

    /// The journal's lines.
    #[track_caller]
    pub fn journal(&self) -> Vec<Value> {
        self.text("events.jsonl").lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    }

    /// Milliseconds on the journal's clock at which an act was begun or ended.
    pub fn at_ms(&self, kind: &str, step: &str, act: &str) -> Option<u64> {
        let journal = self.journal();
        let line = journal.iter().find(|l| l["kind"] == kind && l["step"] == step && l["act"] == act)?;
        line["at_ms"].as_u64()
    }

    /// No file of the run holds any of these.
    #[track_caller]
    pub fn holds_none_of(&self, texts: &[&str]) {
        for file in xtask::fsx::files_below(&self.dir).unwrap() {
            let bytes = std::fs::read(self.dir.join(&file)).unwrap();
            let content = String::from_utf8_lossy(&bytes);
            for text in texts {
                let line = content.lines().find(|l| l.contains(text));
                assert!(line.is_none(), "`{text}` stands in {file}: {line:?}{}", self.at);
            }
        }
    }

    /// Is a gate of the summary true; what does it say?
    #[track_caller]
    pub fn gate(&self, id: &str) -> (bool, String) {
        let summary = self.json("summary.json");
        let gates = summary["gates"].as_array().unwrap();
        let gate = gates.iter().find(|g| g["id"] == id);
        let gate = gate.unwrap_or_else(|| panic!("the summary has no gate {id}{}", self.at));
        (gate["ok"].as_bool().unwrap(), gate["detail"].as_str().unwrap().into())
    }

    /// The ids of the gates that are true, or not.
    #[track_caller]
    pub fn gates(&self, ok: bool) -> Vec<String> {
        let summary = self.json("summary.json");
        let gates = summary["gates"].as_array().unwrap();
        gates.iter().filter(|g| g["ok"] == ok).map(|g| g["id"].as_str().unwrap().to_string()).collect()
    }

    /// The requests, by lane.
    pub fn requests(&self) -> Vec<(String, String)> {
        let entries = std::fs::read_dir(self.dir.join("req")).into_iter().flatten().flatten();
        let lane = |name: &str| {
            let rid = self.rid();
            name.strip_prefix(&format!("REQ-{rid}-")).and_then(|n| n.strip_suffix(".md")).map(String::from)
        };
        entries
            .map(|e| {
                let name = e.file_name().to_string_lossy().into_owned();
                let lane =
                    lane(&name).unwrap_or_else(|| panic!("not the name of a request: {name}{}", self.at));
                (lane, std::fs::read_to_string(e.path()).unwrap())
            })
            .collect()
    }

    /// Verdict and exit code of the summary.
    #[track_caller]
    pub fn verdict(&self) -> (String, u64) {
        let summary = self.json("summary.json");
        (summary["verdict"].as_str().unwrap().into(), summary["exit_code"].as_u64().unwrap())
    }

    /// Every field that interface.md demands of a summary is there, times as it wants them.
    #[track_caller]
    pub fn summary_is_complete(&self) {
        let summary = self.json("summary.json");
        for field in FIELDS {
            let pointer = format!("/{}", field.replace('.', "/"));
            assert!(summary.pointer(&pointer).is_some(), "the summary has no {field}{}", self.at);
        }
        for (list, keys) in LISTS {
            for entry in summary[list].as_array().unwrap_or_else(|| panic!("{list} is no list{}", self.at)) {
                for key in keys.split(' ') {
                    assert!(entry.get(key).is_some(), "{list} has an entry without {key}{}", self.at);
                }
            }
        }
        for field in ["started", "ended"] {
            let text = summary[field].as_str().unwrap_or_default();
            // UTC, milliseconds: what is read is written the same again.
            let again = xtask::clock::parse_rfc3339(text).map(xtask::clock::rfc3339);
            assert_eq!(again.as_deref(), Some(text), "{field}{}", self.at);
        }
        assert_eq!(summary["schema"], 1, "schema{}", self.at);
        assert!(summary["canon"].as_str().is_some_and(|c| c.contains("v0.1")), "canon{}", self.at);
        assert_eq!(summary["rid"], self.rid(), "rid{}", self.at);
        let text = self.text("summary.md") + &self.text("report.html");
        assert!(text.matches(&self.rid()).count() >= 2, "summary.md and report.html name the run{}", self.at);
    }
}

const FIELDS: [&str; 42] = [
    "schema",
    "canon",
    "rid",
    "ok",
    "verdict",
    "exit_code",
    "state_left",
    "reason",
    "started",
    "ended",
    "duration_ms",
    "downtime_ms.expected",
    "downtime_ms.measured",
    "operator",
    "host",
    "git.head",
    "git.branch",
    "git.dirty",
    "versions.xtask",
    "versions.docker",
    "versions.compose",
    "versions.postgres",
    "versions.pwsh",
    "repo",
    "project",
    "backup.dir",
    "backup.engine",
    "backup.dump",
    "backup.sha256",
    "backup.bytes",
    "backup.proof",
    "backup.same_device",
    "rollback.enabled",
    "rollback.reason",
    "rollback.performed",
    "rollback.verified",
    "rollback.ms",
    "rollback.db_ms",
    "rollback.source",
    "rollback.lost_rows",
    "rto_ms",
    "previous",
];
const LISTS: [(&str, &str); 6] = [
    ("gates", "id ok detail"),
    ("steps", "name status started ms reason log"),
    ("migrations", "path sha256 ms status"),
    ("images", "service before after"),
    ("smoke", "name ok ms detail"),
    ("waivers", "gate flag reason"),
];
