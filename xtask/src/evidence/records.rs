//! What each step writes down: the facts that its gate is judged on. Plain
//! data; sizes in bytes, durations in ms, hashes lower-case hex.

mod aside;

pub use aside::{Archive, SetAside};

use crate::error::Lane;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// P1: charter.json.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Charter {
    pub rid: String,
    pub command: String,
    pub worktree: String,
    pub lane: String,
    pub branch: String,
    pub git_head: String,
    /// Null for a command that does not look.
    pub dirty: Option<bool>,
    pub operator: String,
    pub host: String,
    pub started: String,
    pub devtasks: Vec<String>,
    /// Which commits the DevTasks were read from.
    pub devtasks_from: String,
    pub lock: LockRecord,
}

/// P2: who writes, in which two places that is held.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct LockRecord {
    pub file: String,
    /// The advisory lock on database `postgres` of the stand; false until data services run.
    pub database: bool,
    pub holder: String,
    pub since: String,
}

/// P3, P4, P5: precheck.json.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Precheck {
    pub git_status: Vec<String>,
    pub git_head: String,
    pub services: Vec<String>,
    pub versions: BTreeMap<String, String>,
    /// Free bytes by place.
    pub free: BTreeMap<String, u64>,
    pub code_already_live: bool,
    pub data_services_started: Vec<String>,
    pub eol_only: u64,
    pub content_edits: Vec<String>,
    pub findings: Vec<Finding>,
    /// Entries of the allow list that no finding fits any more.
    #[serde(default)]
    pub stale_allowances: Vec<String>,
    /// What the build context would bake in.
    pub context: Vec<String>,
    pub weak_secrets: Vec<String>,
    pub warnings: Vec<String>,
    pub scanned_files: u64,
    pub scan_base: Option<String>,
    pub baseline: Option<Smoke>,
    /// Why the release was refused, where it was.
    pub refusals: Vec<String>,
}

/// A secret found in a file: where and what kind, never the value.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Finding {
    pub file: String,
    pub line: usize,
    pub kind: String,
    pub hard: bool,
    /// Not there in the last known good release.
    pub new: bool,
    /// Why the allow list says that it is no secret; such a finding is never hard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed: Option<String>,
}

/// B1: backup.json.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Backup {
    pub skipped: Option<String>,
    pub dir: String,
    pub engine: String,
    pub database: String,
    pub dump: String,
    pub sha256: String,
    pub bytes: u64,
    /// sha256 of the backup's own digest file, of which a copy lies in the evidence.
    pub digest_sha256: String,
    /// manifest.json, db.dump and digest were read back and fit.
    pub verified: bool,
    pub tables: u64,
    pub rows: u64,
    pub dump_ms: u64,
    pub sums_ms: u64,
    /// The backup lies on the device that holds the database.
    pub same_device: Option<bool>,
    pub copied_to: Option<String>,
    /// The script engine's own directory, where it ran.
    pub script_dir: Option<String>,
}

/// The restored copy compared with its source: proof.json.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Proof {
    pub skipped: Option<String>,
    pub side_database: String,
    /// sha256 of the bytes that were restored.
    pub restored_sha256: String,
    pub restore_ok: bool,
    pub tables: u64,
    pub sums_equal: bool,
    pub schema_equal: bool,
    pub extensions_equal: bool,
    pub sequences_equal: bool,
    /// Names of what differs, never values.
    pub differences: Vec<String>,
    /// Indexes already invalid in the source.
    pub warnings: Vec<String>,
    pub equal: bool,
    pub restore_ms: u64,
    pub ms: u64,
}

/// R0: readiness.json.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Readiness {
    pub waived: Option<String>,
    pub blockers: Vec<Blocker>,
    pub images: Vec<ImageBack>,
    pub source: SourceBack,
    pub override_valid: bool,
    pub proof_equal: bool,
    /// What makes a way back impossible, in words; empty when ready.
    pub missing: Vec<String>,
    pub ok: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Blocker {
    pub id: String,
    pub found: String,
    pub remedy: String,
}

/// The image that a service goes back to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ImageBack {
    pub service: String,
    pub id: String,
    pub tag: String,
    pub present: bool,
}

/// The source that a service goes back to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SourceBack {
    pub commit: String,
    /// Where it is laid out; empty when no service mounts the checkout.
    pub tree: String,
    pub kind: String,
}

/// B2: images.json.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Build {
    pub skipped: Option<String>,
    pub images: Vec<ImageChange>,
    pub ok: bool,
    pub ms: u64,
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ImageChange {
    pub service: String,
    pub before: Option<String>,
    pub after: Option<String>,
}

/// Stop, fence and clone: fence.json.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Fence {
    pub database: String,
    pub live_oid: u64,
    pub clone: String,
    pub clone_oid: u64,
    /// First transaction id that was not yet used when the fence stood, as `xid8`.
    pub xid: String,
    pub sessions_ended: u64,
    pub fence_ms: u64,
    pub clone_ms: u64,
    pub active_tasks: Vec<String>,
    pub frozen_keys: Vec<String>,
    pub broker: String,
    /// Milliseconds on the journal's clock at which the stop began.
    pub stopped_at_ms: u64,
    /// Roles and settings of the cluster, by hash: a swap does not bring them back.
    #[serde(default)]
    pub cluster: BTreeMap<String, String>,
    /// The backup that the copy was restored from, where it is no clone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<Archive>,
}

/// M1: migrate.json.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Migrate {
    pub skipped: Option<String>,
    pub waived: Option<String>,
    pub source_commit: String,
    pub files: Vec<SqlFile>,
    pub verify: Vec<SqlFile>,
    pub ok: bool,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SqlFile {
    pub order: u32,
    pub path: String,
    pub sha256: String,
    /// `applied`, `passed`, `failed`, `not run`.
    pub status: String,
    pub ms: u64,
    pub exit_code: Option<i32>,
    pub error: Option<String>,
}

/// D1: deploy.json.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Deploy {
    pub services: Vec<ServiceUp>,
    pub soak_ms: u64,
    pub up: bool,
    pub problems: Vec<String>,
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ServiceUp {
    pub service: String,
    pub container: String,
    pub image: String,
    pub state: String,
    pub health: Option<String>,
    pub started: String,
    pub restarts: u64,
}

/// S1: smoke.json.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Smoke {
    pub checks: Vec<Check>,
    pub ok: bool,
    pub ms: u64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Check {
    pub name: String,
    pub ok: bool,
    pub ms: u64,
    pub detail: String,
    /// The SQLSTATE that the cause carries, where one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sqlstate: Option<String>,
}

/// R1, R2: rollback.json.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Rollback {
    /// `undo` (nothing was unfenced yet), `clone`, `archive` or `containers` (database kept on purpose).
    pub source: String,
    pub reason: String,
    pub database: DatabaseBack,
    pub services: Vec<ServiceBack>,
    pub code: Option<SourceBack>,
    pub broker: String,
    pub up: bool,
    pub smoke: Option<Smoke>,
    /// Checks that were green before and are not green again.
    pub not_green_again: Vec<String>,
    /// Roles and cluster settings that are not as they were at the fence: named, never repaired.
    pub cluster_changed: Vec<String>,
    pub set_aside: Vec<SetAside>,
    /// Services that only the failed version had: their containers are removed.
    #[serde(default)]
    pub removed: Vec<String>,
    /// Data services that only the failed version depends on: they are left as they run.
    #[serde(default)]
    pub left_running: Vec<String>,
    /// Env files of the checkout that say something else than what runs: file and keys.
    #[serde(default)]
    pub env_differs: Vec<String>,
    pub failed_database: Option<String>,
    pub failed_dump: Option<String>,
    pub verified: bool,
    /// What went wrong, in words; empty when verified.
    pub problems: Vec<String>,
    /// What to do about it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    pub ms: u64,
    pub db_ms: u64,
    /// The run that this one recovers, where it is another one.
    pub recovers: Option<String>,
    /// The release that runs afterwards, where it is known by name.
    pub to: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct DatabaseBack {
    /// The OID that the live name must have, and the one it has.
    pub expected_oid: u64,
    pub live_oid: u64,
    pub sums_taken: bool,
    pub sums_equal: Option<bool>,
    pub open: bool,
    pub properties_replayed: u64,
    pub cited: String,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ServiceBack {
    pub service: String,
    pub expected_image: String,
    pub image: String,
    pub source: String,
}

/// The first failure of a run, as the pipeline saw it: failure.json.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Failure {
    pub step: String,
    pub what: String,
    pub why: Option<String>,
    pub remedy: Option<String>,
    pub log: Option<String>,
    pub lane: Option<Lane>,
    /// `interrupt`, `terminate`, or nothing.
    pub stopped_by: Option<String>,
    /// The exit code that the failure itself asks for.
    pub exit: Option<u8>,
}
