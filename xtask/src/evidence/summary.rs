//! summary.json: the outcome for machines.

use super::records;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of this schema.
pub const SCHEMA: u32 = 1;
/// The canon that verdicts are judged by.
pub const CANON: &str = "T10 Ops: Release Pipeline v0.1 (2025-12-27)";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    #[serde(rename = "PASS")]
    Pass,
    #[serde(rename = "PASS_WAIVED")]
    PassWaived,
    #[serde(rename = "FAIL")]
    Fail,
    #[serde(rename = "REFUSED")]
    Refused,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Verdict::Pass => "PASS",
            Verdict::PassWaived => "PASS_WAIVED",
            Verdict::Fail => "FAIL",
            Verdict::Refused => "REFUSED",
        })
    }
}

/// One gate of the canon, judged from the files of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    pub id: String,
    pub ok: bool,
    pub detail: String,
}

/// A gate that was weakened on purpose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiver {
    pub gate: String,
    pub flag: String,
    pub reason: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Summary {
    pub schema: u32,
    pub canon: String,
    pub rid: String,
    pub command: String,
    pub ok: bool,
    pub verdict: Verdict,
    pub exit_code: u8,
    pub state_left: String,
    pub reason: Option<String>,
    pub started: String,
    pub ended: String,
    pub duration_ms: u64,
    pub downtime_ms: Downtime,
    pub operator: String,
    pub host: String,
    pub git: Git,
    pub versions: BTreeMap<String, String>,
    pub repo: String,
    pub project: String,
    pub gates: Vec<Gate>,
    pub steps: Vec<Step>,
    pub backup: Option<BackupBrief>,
    pub migrations: Vec<MigrationBrief>,
    pub images: Vec<records::ImageChange>,
    pub smoke: Vec<records::Check>,
    pub rollback: RollbackBrief,
    /// How long it took until service was back after a failure, in ms.
    pub rto_ms: Option<u64>,
    pub waivers: Vec<Waiver>,
    pub previous: Option<Previous>,
    /// The run that this one finished or undid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovers: Option<String>,
    /// What to do next, one line each.
    pub next: Vec<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Downtime {
    pub expected: Option<u64>,
    pub measured: Option<u64>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Git {
    pub head: String,
    pub branch: String,
    /// Null for a command that does not look.
    pub dirty: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Step {
    pub name: String,
    pub status: crate::event::Outcome,
    pub started: String,
    pub ms: u64,
    pub reason: Option<String>,
    pub log: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct BackupBrief {
    pub dir: String,
    pub engine: String,
    pub dump: String,
    pub sha256: String,
    pub bytes: u64,
    /// `restored and equal`, `not equal`, `not proved`.
    pub proof: String,
    pub same_device: Option<bool>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct MigrationBrief {
    pub path: String,
    pub sha256: String,
    pub ms: u64,
    pub status: String,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RollbackBrief {
    pub enabled: bool,
    pub reason: Option<String>,
    pub performed: bool,
    pub verified: bool,
    pub ms: Option<u64>,
    pub db_ms: Option<u64>,
    pub source: Option<String>,
    pub set_aside: Vec<records::SetAside>,
    /// Rows committed before the fence that are not there any more: 0 where R1 shows that the database
    /// of the fence has the live name and no sum says otherwise, null where that is not shown.
    pub lost_rows: Option<u64>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Previous {
    pub rid: String,
    pub digest_sha256: String,
}
