//! From the stop to the last good check: what is done while the stand counts as
//! changed.

use super::{Flow, ctx, with_lock};
use crate::acts::smoke::{self, Patience};
use crate::acts::{Ctx, admin_app, restore};
use crate::clock;
use crate::error::{Context, Fault, Lane, Result, anyhow};
use crate::evidence::records::*;
use crate::pipeline::lock::Lock;
use crate::pipeline::{StepFailure, StepResult, step};
use crate::stand::postgres;
use crate::stand::shell::Shell;
use crate::steps::{change, deploy, migrate};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// How long the sums of the clone wait for the service to be back.
pub(super) const SUMS_WAIT: Duration = Duration::from_secs(3);

/// Will the clone be summed within about a second? About 5 s for 1 GB.
pub(super) fn summing_is_short(flow: &Flow<'_>) -> bool {
    flow.prepared.plan.run.database_bytes < 100_000_000
}

pub(super) fn stop_and_clone(flow: &mut Flow<'_>, active: Vec<String>) -> Result<(Fence, String)> {
    let start = flow.start;
    with_lock(flow, Lock::check_database)?;
    let ctx = ctx(flow, start.stand);
    let target = flow.target.as_ref().context("no target was decided")?;
    let pg = ctx.pg("change")?;
    // Opened before the stop: it costs no downtime.
    let mut admin = pg.session("postgres", &admin_app(&flow.id))?;
    // The clone begins with a checkpoint: what it would have to write is written before the stop.
    // Not everybody may ask for one, and nothing depends on it.
    let _ = admin.ask("CHECKPOINT", Duration::from_secs(600));
    let stopped_at = flow.run.journal.elapsed_ms();
    change::stop(&ctx, &target.app_services(&flow.facts.app_services))?;
    let fence = change::fence_and_clone(&ctx, &mut admin, target, active, stopped_at)?;
    change::unfence(&ctx, &mut admin, &fence)?;
    let detail = format!("fence {} ms, clone {} ms, {}", fence.fence_ms, fence.clone_ms, fence.broker);
    Ok((fence, detail))
}

/// The sums of the clone; none when the release was done first.
pub(super) fn sum_clone(flow: &Flow<'_>, cancel: &Arc<AtomicBool>) {
    let Some(fence) = &flow.fence else { return };
    let stand = flow.start.stand.with(&flow.start.stand.exec.cancelled_by(cancel));
    let ctx = ctx(flow, &stand);
    let begun = Instant::now();
    let summed = ctx.act("clone", "sum the clone", json!({ "clone": fence.clone }), || {
        let pg = ctx.pg("change")?;
        let mut admin = pg.session("postgres", &ctx.app("sum-clone"))?;
        let sums = restore::sums_of_closed(&ctx, "change", &mut admin, &fence.clone)?;
        ctx.run.write_json("sums_clone.json", &sums)?;
        let tables = sums.len();
        Ok((sums, json!({ "tables": tables })))
    });
    let Ok(sums) = summed else {
        // Cut off between opening and closing it, perhaps: it must not stay open to others.
        if let Err(error) = shut(flow, &fence.clone) {
            let what = format!("{} may accept connections: {error:#}", fence.clone);
            flow.start.events.warn("clone", what);
        }
        return;
    };
    if let Ok(mut place) = flow.clone_sums.lock() {
        *place = Some((sums, clock::ms_since(begun)));
    }
}

/// Closes the clone if it is open, and ends who is in it.
fn shut(flow: &Flow<'_>, clone: &str) -> Result<()> {
    let stand = flow.start.stand.with(&flow.start.stand.exec.shielded());
    let ctx = ctx(flow, &stand);
    let mut admin = ctx.pg("change")?.session("postgres", &ctx.app("shut-clone"))?;
    if postgres::database(&mut admin, clone)?.is_some_and(|row| row.open) {
        postgres::allow_connections(&mut admin, clone, false)?;
        postgres::end_sessions(&mut admin, clone, Duration::from_secs(30))?;
    }
    Ok(())
}

pub(super) fn migrate_and_deploy(
    flow: &Flow<'_>,
    shell: &mut Shell,
    commit: &str,
    serving: Sender<()>,
) -> StepResult<()> {
    let start = flow.start;
    let (run, events, interrupt) = (flow.run, start.events, Some(start.interrupt));
    let ctx = ctx(flow, start.stand);
    let skip = flow.prepared.options.waivers.skip_migrate.as_deref();
    step(run, events, interrupt, "migrate", || {
        let record = migrate::run(&ctx, shell, &flow.prepared.plan, commit, skip)?;
        let detail = match record.waived.as_ref().or(record.skipped.as_ref()) {
            Some(reason) => format!("skipped: {reason}; {} verified", record.verify.len()),
            None => format!("{} applied, {} verified", record.files.len(), record.verify.len()),
        };
        Ok(((), detail))
    })?;
    let cancel = smoke::never();
    let (go, gone) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        // Smoke begins as soon as `up -d` has returned, beside the soak.
        let (ctx, cancel) = (&ctx, &cancel);
        let smoking = scope.spawn(move || {
            let serving = serving;
            if gone.recv().is_err() {
                return Ok(());
            }
            step(run, events, interrupt, "smoke", || smoke_step(ctx, cancel, &serving))
        });
        let deployed = step(run, events, interrupt, "deploy", || {
            deploy::start(ctx)?;
            let _ = go.send(());
            let record = deploy::prove(ctx, cancel)?;
            if !record.up {
                smoke::raise(cancel);
                return Err(Fault::new("the new version does not stay up")
                    .why(record.problems.join("; "))
                    .log(run.path.join("step_deploy.log"))
                    .lane(Lane::B)
                    .into());
            }
            Ok(((), format!("{} services up over {} s", record.services.len(), record.soak_ms / 1000)))
        });
        drop(go);
        let smoked = smoking.join().unwrap_or_else(|_| {
            Err(StepFailure { step: "smoke".into(), error: anyhow!("smoke died"), by: None })
        });
        deployed.and(smoked)
    })?;
    deploy::portrait(&ctx, "deploy").map(drop).map_err(|error| StepFailure {
        step: "deploy".into(),
        error,
        // What it was cut short by, where it was.
        by: start.interrupt.kind(),
    })
}

fn smoke_step(ctx: &Ctx<'_>, cancel: &Arc<AtomicBool>, serving: &Sender<()>) -> Result<((), String)> {
    ctx.waiting("smoke", "every check to be good", Duration::from_secs(ctx.config.smoke.timeout_s));
    let told = smoke::first_answer(ctx, "smoke", || {
        let _ = serving.send(());
    });
    // Where the new version listens, which need not be where the previous one did.
    let defined = ctx.facts.as_defined(ctx.config);
    let ctx = &Ctx { facts: &defined, ..*ctx };
    let record = smoke::run(ctx, "smoke", Patience::of(ctx.config), cancel, &told)?;
    ctx.run.write_json("smoke.json", &record)?;
    let bad: Vec<String> =
        record.checks.iter().filter(|c| !c.ok).map(|c| format!("{}: {}", c.name, c.detail)).collect();
    if !bad.is_empty() {
        return Err(Fault::new("smoke is not good")
            .why(bad.join("; "))
            .log(ctx.run.path.join("step_smoke.log"))
            .lane(Lane::B)
            .into());
    }
    Ok(((), format!("{} checks good", record.checks.len())))
}
