//! The last writes, in their order: RAW closed, secret scan, journal sealed,
//! summary, digest, self-verify, last known good. Only then is anything said.

use super::{Ending, Start, request};
use crate::clock::{self, Clock};
use crate::error::{Exit, Lane, Result};
use crate::event::Outcome;
use crate::evidence::records::*;
use crate::evidence::{self, *};
use crate::plan::Plan;
use serde_json::json;
use std::collections::BTreeMap;

/// Called with the digest's sha256.
pub type OnPass<'a> = &'a mut dyn FnMut(&str) -> Result<()>;

/// What the files do not say.
pub struct Given<'a> {
    pub plan: &'a Plan,
    pub started: String,
    pub previous: Option<Previous>,
    /// Writes the last known good release, once everything else is on disk and verifies. Gets the
    /// digest's sha256.
    pub on_pass: Option<OnPass<'a>>,
}

/// Ends a run: judges it from its files, sums it up, and verifies what was written.
pub fn finish(start: &Start<'_>, run: &RunDir, failure: Option<&Failure>, given: Given<'_>) -> Ending {
    match write(start, run, failure, given) {
        Ok(ending) => ending,
        Err(error) => {
            start.events.warn("evidence", format!("the evidence could not be saved: {error:#}"));
            // What has happened to the stand counts for more than what could not be written of it.
            let exit = match evidence::judge(&run.path) {
                Ok(judged) if judged.exit == Exit::NeedsPerson => Exit::NeedsPerson,
                _ => Exit::Evidence,
            };
            Ending { exit, summary: None, dir: Some(run.path.clone()) }
        }
    }
}

fn write(start: &Start<'_>, run: &RunDir, failure: Option<&Failure>, given: Given<'_>) -> Result<Ending> {
    if let Some(failure) = failure {
        run.write_json("failure.json", failure)?;
    }
    run.close_logs()?;
    // A refusal is the operator's own to mend, but for a secret, which is lane D's.
    let wanted = |f: &&Failure| {
        let refused = f.exit == Some(Exit::Refused.code()) && f.lane != Some(Lane::D);
        f.stopped_by.is_none() && !refused
    };
    if let Some(failure) = failure.filter(wanted) {
        request::write(run, failure, &start.config.stand.project, &given.plan.commit)?;
    }
    let hits = evidence::leaks(&run.path, start.stand.exec.redactor())?;
    run.journal.fact("evidence", "secret scan", json!({ "hits": hits }))?;
    if !hits.is_empty() {
        let wanted = "Find out how they came there, change them, and remove this run's directory.";
        request::write_about(run, Lane::D, "Secrets stand in the evidence", &hits, wanted)?;
    }
    let weak = run.read::<Precheck>("precheck.json").map(|p| p.weak_secrets).unwrap_or_default();
    if !weak.is_empty() {
        let wanted = "Choose values of eight characters or more that are no common words: only such can be masked everywhere.";
        request::write_about(run, Lane::D, "Weak secrets", &weak, wanted)?;
    }
    let judged = evidence::judge(&run.path)?;
    let passed = judged.exit == Exit::Pass;
    run.journal.seal(json!({
        "verdict": judged.verdict.to_string(),
        "exit_code": judged.exit.code(),
        "last_known_good": (passed && given.on_pass.is_some()).then_some(&run.rid),
    }))?;
    let mut summary = run.masked(&sum_up(start, run, failure, &given, judged)?)?;
    let mut exit = exit_of(&summary);
    let mut digest = put(start, run, &summary)?;
    let verified = evidence::verify(&run.path, Some(&start.config.repo))?;
    if !verified.ok() {
        summary.ok = false;
        summary.reason = Some(format!("the evidence does not verify: {}", verified.problems.join("; ")));
        if exit != Exit::NeedsPerson {
            exit = Exit::Evidence;
            summary.exit_code = exit.code();
            summary.verdict = Verdict::Fail;
        }
        digest = put(start, run, &summary)?;
    }
    if exit == Exit::Pass
        && let Some(on_pass) = given.on_pass
    {
        on_pass(&digest)?;
    }
    Ok(Ending { exit, summary: Some(summary), dir: Some(run.path.clone()) })
}

fn exit_of(summary: &Summary) -> Exit {
    use Exit::*;
    [
        Pass,
        Usage,
        Refused,
        Locked,
        FailUnchanged,
        FailRolledBack,
        NeedsPerson,
        Evidence,
        Interrupted,
        Terminated,
    ]
    .into_iter()
    .find(|e| e.code() == summary.exit_code)
    .unwrap_or(NeedsPerson)
}

/// summary.json, summary.md, report.html and, last, the digest.
fn put(start: &Start<'_>, run: &RunDir, summary: &Summary) -> Result<String> {
    run.write_json("summary.json", summary)?;
    for (name, text) in (start.render)(summary) {
        run.write_text(&name, &text)?;
    }
    evidence::write_digest(&run.path)
}

fn sum_up(
    start: &Start<'_>,
    run: &RunDir,
    failure: Option<&Failure>,
    given: &Given<'_>,
    judged: Judgement,
) -> Result<Summary> {
    let journal = read_journal(&run.path.join("events.jsonl"))?;
    let charter: Charter = run.read("charter.json").unwrap_or_default();
    let backup: Option<Backup> = run.read("backup.json");
    let proof: Option<Proof> = run.read("proof.json");
    let migrate: Migrate = run.read("migrate.json").unwrap_or_default();
    let build: Build = run.read("images.json").unwrap_or_default();
    let smoke: Smoke = run.read("smoke.json").unwrap_or_default();
    let back: Option<Rollback> = run.read("rollback.json");
    let steps = steps(&journal, given.plan);
    let (operator, host) = crate::steps::precheck::whoami();
    let ended = clock::rfc3339(Clock::System.now());
    let brief = backup.filter(|b| b.skipped.is_none()).map(|b| BackupBrief {
        dir: b.dir,
        engine: b.engine,
        dump: b.dump,
        sha256: b.sha256,
        bytes: b.bytes,
        proof: match &proof {
            Some(p) if p.equal => "restored and equal".into(),
            Some(p) if p.skipped.is_none() => "not equal".into(),
            _ => "not proved".into(),
        },
        same_device: b.same_device,
    });
    let mut versions: BTreeMap<String, String> = given.plan.versions.clone();
    versions.entry("pwsh".into()).or_insert_with(|| "none".into());
    let next = next(&judged, run, back.as_ref(), failure);
    Ok(Summary {
        schema: SCHEMA,
        canon: CANON.into(),
        rid: run.rid.clone(),
        command: given.plan.command.clone(),
        ok: judged.exit == Exit::Pass,
        verdict: judged.verdict,
        exit_code: judged.exit.code(),
        state_left: judged.state_left,
        reason: judged.reason,
        started: given.started.clone(),
        ended,
        duration_ms: run.journal.elapsed_ms(),
        downtime_ms: Downtime {
            expected: (given.plan.command == "release").then_some(given.plan.run.expected_downtime_ms),
            measured: downtime(&journal),
        },
        operator,
        host,
        git: Git {
            head: if charter.git_head.is_empty() { given.plan.commit.clone() } else { charter.git_head },
            branch: given.plan.branch.clone(),
            dirty: given.plan.dirty,
        },
        versions,
        repo: start.config.repo.display().to_string(),
        project: start.config.stand.project.clone(),
        gates: judged.gates,
        steps,
        backup: brief,
        migrations: migrate
            .files
            .iter()
            .map(|f| MigrationBrief {
                path: f.path.clone(),
                sha256: f.sha256.clone(),
                ms: f.ms,
                status: f.status.clone(),
            })
            .collect(),
        images: build.images,
        smoke: smoke.checks,
        rto_ms: back.as_ref().filter(|b| b.verified).map(|b| b.ms),
        recovers: back.as_ref().and_then(|b| b.recovers.clone()),
        rollback: RollbackBrief {
            enabled: given.plan.rollback_enabled,
            reason: given.plan.waivers.iter().find(|w| w.flag.contains("rollback")).map(|w| w.reason.clone()),
            performed: back.is_some(),
            verified: back.as_ref().is_some_and(|b| b.verified),
            ms: back.as_ref().map(|b| b.ms),
            db_ms: back.as_ref().map(|b| b.db_ms),
            source: back.as_ref().map(|b| b.source.clone()),
            lost_rows: back.as_ref().map_or(0, |b| b.lost_rows),
            set_aside: back.map(|b| b.set_aside).unwrap_or_default(),
        },
        waivers: given.plan.waivers.clone(),
        previous: given.previous.clone(),
        next,
    })
}

/// Every planned step as the journal has it.
fn steps(journal: &[Line], plan: &Plan) -> Vec<Step> {
    plan.steps
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
    let stopped = journal.iter().find(|l| {
        l.kind == LineKind::Intent && (l.act == evidence::STOP.1 || l.act == "stop failed version")
    })?;
    let back = journal.iter().rfind(|l| l.act == "first good answer" && l.at_ms >= stopped.at_ms)?;
    Some(back.at_ms - stopped.at_ms)
}

fn next(judged: &Judgement, run: &RunDir, back: Option<&Rollback>, failure: Option<&Failure>) -> Vec<String> {
    let mut next = Vec::new();
    match judged.exit {
        Exit::Pass if run.path.join("fence.json").exists() && back.is_none() => {
            next.push("to go back while the undo clone is kept: cargo xtask rollback".into());
        }
        Exit::FailRolledBack => {
            if let Some(db) = back.and_then(|b| b.failed_database.as_ref()) {
                next.push(format!("what the failed version wrote is kept in database {db} and dumped"));
            }
            if back.and_then(|b| b.code.as_ref()).is_some_and(|code| !code.tree.is_empty()) {
                next.push("containers run the previous source: do not `docker compose up` before the cause is mended".into());
            }
        }
        Exit::NeedsPerson => {
            next.push("look: cargo xtask status".into());
            next.push("try to go back again: cargo xtask rollback".into());
        }
        _ => {}
    }
    if let Some(remedy) = failure.and_then(|f| f.remedy.clone()) {
        next.insert(0, remedy);
    }
    if let Ok(entries) = std::fs::read_dir(run.path.join("req")) {
        for entry in entries.flatten() {
            next.push(format!("request: req/{}", entry.file_name().to_string_lossy()));
        }
    }
    next
}
