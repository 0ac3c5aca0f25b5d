//! summary.json, derived from the other files of a run and from nothing else:
//! the pipeline writes what this returns, `evidence verify` derives it again and
//! compares field by field.

use super::judge::{Judgement, STOP, STOP_BACK, judge};
use super::records::*;
use super::summary::*;
use super::{Line, LineKind, read_journal, read_record};
use crate::error::{Exit, Result};
use crate::event::Outcome;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The journal's fact `run`: who runs what, where. Written when a run begins.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Begun {
    /// The run that this is the journal of; older ones do not say it.
    #[serde(default)]
    pub rid: String,
    /// The short id in names of databases, keys, tags and sessions.
    pub id: String,
    pub command: String,
    pub operator: String,
    pub host: String,
    /// The checkout.
    pub repo: String,
    /// The last known good release at the begin.
    pub previous: Option<Previous>,
    /// The run that this one finishes or undoes.
    pub recovers: Option<String>,
}

/// What a summary needs to know of plan.json.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Planned {
    command: String,
    project: String,
    commit: String,
    branch: String,
    dirty: Option<bool>,
    rollback_enabled: bool,
    waivers: Vec<Waiver>,
    versions: BTreeMap<String, String>,
    steps: Vec<PlannedStep>,
    run: PlannedRun,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct PlannedStep {
    step: String,
    skipped: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct PlannedRun {
    rid: String,
    expected_downtime_ms: u64,
}

/// The fact that containers were started anew while a run was at work, and not by it.
pub const STARTED_ANEW: &str = "started anew by others";

/// What the run said of itself when it began.
pub fn begun(journal: &[Line]) -> Begun {
    let line = journal.iter().find(|l| l.kind == LineKind::Fact && l.act == "run");
    line.and_then(|l| serde_json::from_value(l.data.clone()).ok()).unwrap_or_default()
}

/// The summary of the run in `dir`, whose journal is sealed.
pub fn derive(dir: &Path) -> Result<Summary> {
    let journal = read_journal(&dir.join("events.jsonl"))?;
    let judged = judge(dir)?;
    let plan: Planned = read_record(dir, "plan.json").unwrap_or_default();
    let begun = begun(&journal);
    let charter: Charter = read_record(dir, "charter.json").unwrap_or_default();
    let precheck: Precheck = read_record(dir, "precheck.json").unwrap_or_default();
    let migrate: Migrate = read_record(dir, "migrate.json").unwrap_or_default();
    let build: Build = read_record(dir, "images.json").unwrap_or_default();
    let smoke: Smoke = read_record(dir, "smoke.json").unwrap_or_default();
    let back: Option<Rollback> = read_record(dir, "rollback.json");
    let failure: Option<Failure> = read_record(dir, "failure.json");
    let mut versions = plan.versions.clone();
    versions.extend(precheck.versions);
    versions.entry("pwsh".into()).or_insert_with(|| "none".into());
    let time = |line: Option<&Line>| line.map(|l| l.time.clone()).unwrap_or_default();
    let mut next = next(&judged, dir, back.as_ref(), failure.as_ref());
    next.extend(started_anew(&journal));
    Ok(Summary {
        schema: SCHEMA,
        canon: CANON.into(),
        rid: match plan.run.rid.is_empty() {
            true => dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
            // A copy of a run may have another name.
            false => plan.run.rid,
        },
        command: plan.command.clone(),
        ok: judged.exit == Exit::Pass,
        verdict: judged.verdict,
        exit_code: judged.exit.code(),
        state_left: judged.state_left,
        reason: judged.reason,
        started: time(journal.first()),
        ended: time(journal.last()),
        duration_ms: journal.last().map_or(0, |l| l.at_ms),
        downtime_ms: Downtime {
            expected: (plan.command == "release").then_some(plan.run.expected_downtime_ms),
            measured: downtime(&journal),
        },
        operator: begun.operator,
        host: begun.host,
        git: Git {
            head: if charter.git_head.is_empty() { plan.commit } else { charter.git_head },
            branch: plan.branch,
            dirty: plan.dirty,
        },
        versions,
        repo: begun.repo,
        project: plan.project,
        gates: judged.gates,
        steps: steps(&journal, &plan.steps),
        backup: backup_brief(dir),
        migrations: migrate
            .files
            .into_iter()
            .map(|f| MigrationBrief { path: f.path, sha256: f.sha256, ms: f.ms, status: f.status })
            .collect(),
        images: build.images,
        smoke: smoke.checks,
        rto_ms: back.as_ref().filter(|b| b.verified).map(|b| b.ms),
        recovers: back.as_ref().and_then(|b| b.recovers.clone()),
        rollback: RollbackBrief {
            enabled: plan.rollback_enabled,
            reason: plan.waivers.iter().find(|w| w.flag.contains("rollback")).map(|w| w.reason.clone()),
            performed: back.is_some(),
            verified: back.as_ref().is_some_and(|b| b.verified),
            ms: back.as_ref().map(|b| b.ms),
            db_ms: back.as_ref().map(|b| b.db_ms),
            source: back.as_ref().map(|b| b.source.clone()),
            lost_rows: back.as_ref().and_then(lost_rows),
            set_aside: back.map(|b| b.set_aside).unwrap_or_default(),
        },
        waivers: plan.waivers,
        previous: begun.previous,
        next,
    })
}

/// How many rows of before the fence are gone: none, where the database of the fence has the live name and
/// no sum of its tables says otherwise. Anything else is not known.
fn lost_rows(back: &Rollback) -> Option<u64> {
    let database = &back.database;
    let there = database.live_oid != 0 && database.live_oid == database.expected_oid;
    (there && database.sums_equal != Some(false)).then_some(0)
}

fn backup_brief(dir: &Path) -> Option<BackupBrief> {
    let b = read_record::<Backup>(dir, "backup.json").filter(|b| b.skipped.is_none())?;
    let proof = match read_record::<Proof>(dir, "proof.json") {
        Some(p) if p.equal => "restored and equal",
        Some(p) if p.skipped.is_none() => "not equal",
        _ => "not proved",
    };
    Some(BackupBrief {
        dir: b.dir,
        engine: b.engine,
        dump: b.dump,
        sha256: b.sha256,
        bytes: b.bytes,
        proof: proof.into(),
        same_device: b.same_device,
    })
}

/// Every planned step as the journal has it.
fn steps(journal: &[Line], planned: &[PlannedStep]) -> Vec<Step> {
    planned
        .iter()
        .map(|planned| {
            let of = |kind: LineKind| {
                journal.iter().rfind(move |l| l.kind == kind && l.act == "step" && l.step == planned.step)
            };
            let begun = of(LineKind::Intent);
            let (status, line) = match (begun, of(LineKind::Done), of(LineKind::Failed)) {
                (_, Some(done), _) => (Outcome::Ok, Some(done)),
                (_, _, Some(failed)) => (Outcome::Failed, Some(failed)),
                (Some(begun), _, _) => (Outcome::Interrupted, Some(begun)),
                _ => (Outcome::Skipped, None),
            };
            let detail =
                line.and_then(|l| l.data["detail"].as_str().or(l.data["error"].as_str())).map(String::from);
            let skipped = detail.as_deref().is_some_and(|d| d.starts_with("skipped"));
            Step {
                name: planned.step.clone(),
                status: if skipped { Outcome::Skipped } else { status },
                started: begun.map(|l| l.time.clone()).unwrap_or_default(),
                ms: line.and_then(|l| l.ms).unwrap_or(0),
                reason: detail
                    .or_else(|| planned.skipped.clone())
                    .or_else(|| line.is_none().then(|| "not reached".into())),
                log: begun.map(|_| format!("step_{}.log", planned.step)),
            }
        })
        .collect()
}

/// From the stop to the first good answer, on the journal's clock.
fn downtime(journal: &[Line]) -> Option<u64> {
    let stopped =
        journal.iter().find(|l| l.kind == LineKind::Intent && (l.act == STOP.1 || l.act == STOP_BACK.1))?;
    let back = journal.iter().rfind(|l| l.act == "first good answer" && l.at_ms >= stopped.at_ms)?;
    Some(back.at_ms - stopped.at_ms)
}

fn next(judged: &Judgement, dir: &Path, back: Option<&Rollback>, failure: Option<&Failure>) -> Vec<String> {
    let mut next = Vec::new();
    match judged.exit {
        Exit::Pass if dir.join("fence.json").exists() && back.is_none() => {
            next.push("to go back while the undo clone is kept: cargo xtask rollback".into());
        }
        Exit::NeedsPerson => {
            next.push("look: cargo xtask status".into());
            // After one that is verified, `rollback` would go one release further back.
            if !back.is_some_and(|b| b.verified) {
                let again = if back.is_some() { "try to go back again" } else { "go back" };
                next.push(format!("{again}: cargo xtask rollback"));
            }
        }
        _ => {}
    }
    if let Some(back) = back.filter(|b| b.verified) {
        next.extend(after(back));
    }
    for text in back.into_iter().flat_map(|b| &b.cluster_changed) {
        next.push(format!("{text}: it belongs to the cluster; no rollback takes that back"));
    }
    if let Some(remedy) = back.and_then(|b| b.remedy.clone()) {
        next.insert(0, remedy);
    }
    if let Some(remedy) = failure.and_then(|f| f.remedy.clone()) {
        next.insert(0, remedy);
    }
    let mut requests: Vec<String> = std::fs::read_dir(dir.join("req"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    requests.sort();
    next.extend(requests.into_iter().map(|name| format!("request: req/{name}")));
    next
}

/// Where services mount the checkout, whoever starts them anew puts its code live.
fn started_anew(journal: &[Line]) -> Vec<String> {
    let Some(line) = journal.iter().find(|l| l.act == STARTED_ANEW) else { return Vec::new() };
    let names = |key: &str| -> Vec<&str> {
        line.data[key].as_array().into_iter().flatten().filter_map(|v| v.as_str()).collect()
    };
    let (services, mounting) = (names("services"), names("mounting"));
    let mut words = vec![format!(
        "{} started anew while this ran, and not by it: cargo xtask smoke",
        services.join(", ")
    )];
    if !mounting.is_empty() {
        words.push(format!(
            "{} mount the checkout, so they run its code as it is now, unproved: release it once it is good, \
             or check out what ran before and restart them",
            mounting.join(", ")
        ));
    }
    words
}

/// What runs after a rollback, what it left, and how to go on.
fn after(back: &Rollback) -> Vec<String> {
    let mut lines = Vec::new();
    let tree = back.code.as_ref().map(|code| code.tree.as_str()).filter(|tree| !tree.is_empty());
    if let Some(tree) = tree.filter(|tree| back.services.iter().any(|s| s.source == **tree)) {
        let of = back.to.as_ref().map(|rid| format!(" of {rid}")).unwrap_or_default();
        lines.push(format!("containers run the source{of} in {tree}, not this checkout"));
        lines.push("a plain `docker compose up` would put the checkout live as it is, unproved".into());
        lines.push("back to the checkout, once it is good: cargo xtask release".into());
    }
    for env in &back.env_differs {
        lines.push(format!(
            "containers run with the env values of then; your files are as you left them, and differ: {env}"
        ));
    }
    if !back.removed.is_empty() {
        let services = back.removed.join(", ");
        lines.push(format!("containers of services that were not there before are removed: {services}"));
    }
    for service in &back.left_running {
        lines.push(format!(
            "only the failed version needs the data service {service}: it is left, with its data; \
             `docker compose stop {service}` ends it"
        ));
    }
    if let Some(db) = &back.failed_database {
        let dump = back.failed_dump.as_ref().map(|dir| format!(", dumped into {dir}")).unwrap_or_default();
        lines.push(format!("what was written since is kept in database {db}{dump}"));
    }
    lines
}
