//! The end of a release: the last known good, the failure as it is recorded.

use super::{Flow, ctx};
use crate::acts::{elsewhere, env};
use crate::clock::{self, Clock};
use crate::error::{Context, Exit, Fault, Lane, Result, fault_of};
use crate::evidence::records::*;
use crate::evidence::{self, RunDir};
use crate::exec::Kind;
use crate::fsx;
use crate::lkg::{LastKnownGood, Store};
use crate::pipeline::{Ending, StepFailure, finish, housekeeping};

pub(super) fn after_pass(flow: &Flow<'_>) -> Result<()> {
    let ctx = ctx(flow, flow.start.stand).shielded();
    housekeeping::remove_files(&ctx)?;
    housekeeping::after_pass(&ctx, flow.fence.as_ref().map(|f| f.clone.as_str()), flow.target.as_ref())
}

/// Sums up, and writes the last known good after everything else.
pub(super) fn end(flow: Flow<'_>, mut failure: Option<Failure>) -> Ending {
    let start = flow.start;
    let store = Store::of(&start.config.repo);
    let mut good = None;
    if failure.is_none() {
        // All of it that can fail before the verdict is written, so that the verdict can tell.
        match keep_good(&flow, &store) {
            Ok(kept) => good = Some(kept),
            Err(error) => failure = Some(not_kept(&flow, error)),
        }
    }
    let mut on_pass = |digest: &str| {
        let good = good.clone().context("nothing was kept of this release")?;
        record_good(&flow, &store, LastKnownGood { digest_sha256: digest.into(), ..good })
    };
    finish::finish(start, flow.run, failure.as_ref(), Some(&mut on_pass))
}

/// The new version runs and is good, and nothing could go back to it later.
fn not_kept(flow: &Flow<'_>, error: anyhow::Error) -> Failure {
    let error = Fault::new("this release could not be recorded as the last known good one")
        .why(format!("{error:#}"))
        .remedy("mend that, then release again; cargo xtask rollback goes back to before it")
        .lane(Lane::A)
        .exit(Exit::Evidence)
        .into();
    failure_of(&StepFailure { step: evidence::RECORD.into(), error, by: None }, flow.run)
}

/// Keeps what a later release goes back to: the tree as deployed, the model, the env files, the images.
fn keep_good(flow: &Flow<'_>, store: &Store) -> Result<LastKnownGood> {
    let stand = flow.start.stand.with(&flow.start.stand.exec.shielded());
    let head = flow.prepared.head.clone();
    let rid = &flow.run.rid;
    let commit =
        stand.commit_as_deployed(&flow.prepared.dirt, &head, &format!("tree as deployed by {rid}"))?;
    stand.pin(rid, &commit)?;
    fsx::private_dir(&store.of_release(rid)?)?;
    fsx::write_json(&store.own_model(rid), &flow.facts.model.raw)?;
    env::keep(&flow.start.config.repo, store, rid)?;
    let deploy: Deploy = flow.run.read("deploy.json").unwrap_or_default();
    let backup: Option<Backup> = flow.run.read("backup.json");
    let good = LastKnownGood {
        rid: rid.clone(),
        time: clock::rfc3339(Clock::System.now()),
        head,
        commit,
        branch: flow.prepared.plan.branch.clone(),
        dirty: flow.prepared.plan.dirty == Some(true),
        images: deploy
            .services
            .iter()
            .filter(|s| flow.facts.app_services.contains(&s.service))
            .map(|s| (s.service.clone(), s.image.clone()))
            .collect(),
        digest_sha256: String::new(),
        backup: backup.filter(|b| b.skipped.is_none()).map(|b| b.dir),
        undo: flow.fence.as_ref().map(|f| f.clone.clone()),
    };
    stand.name_for_release(&good.images, rid)?;
    Ok(good)
}

fn record_good(flow: &Flow<'_>, store: &Store, good: LastKnownGood) -> Result<()> {
    store.set_last(&good)?;
    // With it the run counts as recorded, also when it is no longer the last one. It is the last good
    // release already: what is lost is that a later `--to` finds it.
    if let Err(error) = store.set_release(&good) {
        let events = flow.start.events;
        events
            .warn("evidence", format!("`rollback --to {}` will not find this release: {error:#}", good.rid));
    }
    // Not before: until then the run is open, and its clone the way back.
    let stand = flow.start.stand.with(&flow.start.stand.exec.shielded());
    let pg = flow.facts.pg(&stand, flow.start.config);
    if let Some(fence) = &flow.fence
        && let Err(error) = pg.and_then(|pg| elsewhere::ended(&pg, &good.rid, &fence.clone))
    {
        let what = "other checkouts wait for this release until the next release or rollback here";
        flow.start.events.warn("evidence", format!("{what}: {error:#}"));
    }
    Ok(())
}

/// The failure as it is recorded.
pub fn failure_of(failure: &StepFailure, run: &RunDir) -> Failure {
    let mut fault = fault_of(&failure.error);
    if let Some(kind) = failure.by {
        // What was cut short says nothing about itself.
        let word = if kind == Kind::CtrlC { "Ctrl-C" } else { "SIGTERM" };
        fault = Fault::new(format!("stopped by {word} in step {}", failure.step));
    }
    let full = |e: &std::io::Error| e.kind() == std::io::ErrorKind::StorageFull;
    if fault.remedy.is_none() && failure.error.chain().filter_map(|e| e.downcast_ref()).any(full) {
        fault.remedy = Some("free space on that disk, then release again".into());
    }
    let log = run.path.join(format!("step_{}.log", failure.step));
    Failure {
        step: failure.step.clone(),
        what: fault.what,
        why: fault.why,
        remedy: fault.remedy,
        log: log.exists().then(|| format!("step_{}.log", failure.step)),
        lane: fault.lane,
        stopped_by: failure.by.map(|kind| match kind {
            Kind::CtrlC => "interrupt".into(),
            Kind::Terminate => "terminate".into(),
        }),
        exit: fault.exit.map(Exit::code),
    }
}
