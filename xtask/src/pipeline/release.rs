//! A release: its order. What happens when a step fails stands in `backward`,
//! what the change itself consists of in `change`.

mod backward;
mod change;
mod record;
mod since;

pub use record::failure_of;

use super::lock::Lock;
use super::prepare::Prepared;
use super::{Ending, Start, StepFailure, StepResult, begin, housekeeping, open_runs, step};
use crate::acts::sums::Sums;
use crate::acts::{Ctx, elsewhere, restore, room, smoke};
use crate::clock::{self, Clock};
use crate::error::{Fault, Lane, Result, anyhow, fault_of};
use crate::evidence::records::*;
use crate::evidence::{EVIDENCE, Previous, RunDir};
use crate::exec::GIVEN_UP;
use crate::facts::Facts;
use crate::fsx;
use crate::lkg::Target;
use crate::stand::Stand;
use crate::steps::{backup, build, change as change_step, migrate, precheck, proof, ready};
use std::sync::Mutex;
use std::time::Duration;

/// A release on its way.
pub(super) struct Flow<'a> {
    pub(super) start: &'a Start<'a>,
    pub(super) run: &'a RunDir,
    pub(super) prepared: &'a Prepared,
    pub(super) facts: Facts,
    pub(super) id: String,
    /// Behind a mutex, because its session is one conversation and steps run side by side.
    pub(super) lock: Mutex<Lock>,
    pub(super) started: String,
    pub(super) target: Option<Target>,
    pub(super) fence: Option<Fence>,
    pub(super) clone_sums: Mutex<Option<(Sums, u64)>>,
    pub(super) built: bool,
}

/// Runs the release that was prepared.
pub fn release(start: &Start<'_>, prepared: &Prepared) -> Result<Ending> {
    let rid = &prepared.plan.run.rid;
    let lock = Lock::take(&prepared.facts.engine_id, &start.config.stand.project, rid, "release")?;
    open_runs::refuse_release(&start.config.repo, prepared.plan.rollback_enabled)?;
    fsx::ignored_dir(&start.config.repo.join("ops/_local"))?;
    let run = RunDir::create_with_room(&start.config.repo.join(EVIDENCE), rid, start.stand.exec.redactor())?;
    run.write_json("plan.json", &prepared.plan)?;
    let last = prepared.last.as_ref();
    let previous = last.map(|l| Previous { rid: l.rid.clone(), digest_sha256: l.digest_sha256.clone() });
    let id = begin(start, &run, "release", previous, None)?;
    let mut flow = Flow {
        start,
        run: &run,
        prepared,
        facts: prepared.facts.clone(),
        id,
        lock: Mutex::new(lock),
        started: clock::rfc3339(Clock::System.now()),
        target: None,
        fence: None,
        clone_sums: Mutex::new(None),
        built: false,
    };
    let failure = forward(&mut flow).err().map(|f| failure_of(&f, &run));
    // Whatever filled the disk: the way back and the last writes have this much.
    run.use_room();
    if let Some(failure) = &failure {
        // No failed write may keep the stand from coming back: `finish` says what could not be saved.
        if let Err(error) = run.write_json("failure.json", failure) {
            start.events.warn("evidence", format!("{error:#}"));
        }
        backward::run(&mut flow, failure);
    } else if let Err(error) = record::after_pass(&flow) {
        start.events.warn("housekeeping", format!("{error:#}"));
    }
    Ok(record::end(flow, failure))
}

pub(super) fn ctx<'a>(flow: &'a Flow<'_>, stand: &'a Stand) -> Ctx<'a> {
    Ctx {
        config: flow.start.config,
        facts: &flow.facts,
        run: flow.run,
        stand,
        events: flow.start.events,
        id: &flow.id,
        shielded: false,
    }
}

pub(super) fn with_lock<T>(flow: &Flow<'_>, work: impl FnOnce(&mut Lock) -> T) -> T {
    work(&mut flow.lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
}

pub(super) fn at(flow: &Flow<'_>, step: &str) {
    with_lock(flow, |lock| lock.at(step));
}

fn forward(flow: &mut Flow<'_>) -> StepResult<()> {
    let start = flow.start;
    let (run, events, interrupt) = (flow.run, start.events, Some(start.interrupt));
    let waivers = &flow.prepared.options.waivers;
    let commit = flow.prepared.head.clone();

    at(flow, "precheck");
    step(run, events, interrupt, "precheck", || look(flow))?;

    at(flow, "backup");
    let made = step(run, events, interrupt, "backup", || {
        let ctx = ctx(flow, start.stand);
        match &waivers.skip_backup {
            Some(reason) => backup::skip(&ctx, reason).map(|()| (None, format!("skipped: {reason}"))),
            None => {
                let made = backup::run(&ctx, &commit, waivers.no_proof.is_none())?;
                let r = &made.record;
                let mut detail = format!(
                    "{} in {}, {} tables, into {}",
                    fsx::human_bytes(r.bytes),
                    clock::human_ms(r.dump_ms),
                    r.tables,
                    r.dir
                );
                detail.extend(r.script_dir.iter().map(|dir| format!("; the script's into {dir}")));
                Ok((Some(made), detail))
            }
        }
    })?;

    at(flow, "build");
    flow.built = true;
    build_and_prove(flow, made.as_ref())?;

    at(flow, "ready");
    let (target, commit, active, mut shell) = step(run, events, interrupt, "ready", || {
        let ctx = ctx(flow, start.stand);
        let given = ready::Given {
            last: flow.prepared.last.as_ref(),
            head: &commit,
            dirt: &flow.prepared.dirt,
            waived: (!flow.prepared.plan.rollback_enabled).then_some("rollback is switched off"),
        };
        if let Some(why) = since::moved_on(flow)? {
            return Err(Fault::new("the checkout was changed while it was built and proved")
                .why(why)
                .remedy("leave it alone while a release runs, then release again")
                .lane(Lane::B)
                .into());
        }
        let deployed =
            ctx.stand("ready")?.commit_as_deployed(&flow.prepared.dirt, &commit, "tree as deployed")?;
        let (target, active) = std::thread::scope(|scope| {
            let active = scope.spawn(|| change_step::active_tasks(&ctx));
            let target = ready::run(&ctx, &given).and_then(|target| {
                migrate::stage(&ctx, &flow.prepared.plan, &deployed)?;
                Ok((target, migrate::shell(&ctx)?))
            });
            (target, active.join().unwrap_or_default())
        });
        let (target, shell) = target?;
        let detail = format!(
            "{} images, source {} ({})",
            target.images.len(),
            &target.commit[..target.commit.len().min(12)],
            target.kind
        );
        Ok(((target, deployed, active, shell), detail))
    })?;
    flow.target = Some(target);

    at(flow, "change");
    let fence = step(run, events, interrupt, "change", || change::stop_and_clone(flow, active))?;
    flow.fence = Some(fence);

    // From here on the clone is summed beside what follows, and given up when that is done first.
    let cancel = smoke::never();
    let flow = &*flow;
    let (serving, served) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let cancel_sums = &cancel;
        let summing = scope.spawn(move || {
            // Not at once: on a small machine it would make the downtime longer. A long migration
            // is no reason to wait.
            let _ = served.recv_timeout(change::SUMS_WAIT);
            change::sum_clone(flow, cancel_sums);
        });
        let result = change::migrate_and_deploy(flow, &mut shell, &commit, serving);
        if result.is_err() && change::summing_is_short(flow) {
            // The sums say what was at the fence; without them a rollback tells less.
            let _ = summing.join();
            return result;
        }
        smoke::raise(&cancel);
        let _ = summing.join();
        result
    })
}

/// The precheck, and what must be there before it: data services and both halves of the lock.
fn look(flow: &mut Flow<'_>) -> Result<((), String)> {
    let start = flow.start;
    let planned = flow.facts.containers.clone();
    flow.facts.refresh(start.stand)?;
    if let Some(why) = since::other_stand(flow, &planned)? {
        return Err(Fault::refused("the stand is not what the plan was made of")
            .why(why)
            .remedy("release again: the plan is made anew")
            .into());
    }
    let started = precheck::start_data_services(&ctx(flow, start.stand))?;
    if !started.is_empty() {
        flow.facts.refresh(start.stand)?;
    }
    let pg = flow.facts.pg(start.stand, start.config)?;
    pg.wait_ready(Duration::from_secs(start.config.deploy.timeout_s))?;
    flow.facts.database.clone_from(&pg.database);
    if !started.is_empty() {
        // The plan was made while it did not run.
        let version =
            pg.session("postgres", "ffx-version")?.value("SELECT current_setting('server_version')")?;
        flow.facts.versions.insert("postgres".into(), version.unwrap_or_default());
    }
    with_lock(flow, |lock| lock.take_database(&pg))?;
    housekeeping::mark_settled(start.events, &pg, &start.config.repo)?;
    // Asked again by the one who holds the lock.
    elsewhere::refuse(&pg, &start.config.repo)?;
    if let Some(why) = since::moved_on(flow)? {
        return Err(Fault::refused("the checkout is not what the plan was made of")
            .why(why)
            .remedy("release again: the plan is made anew")
            .into());
    }
    let last = flow.prepared.last.as_ref();
    let given = precheck::Given {
        head: &flow.prepared.head,
        branch: &flow.prepared.plan.branch,
        dirt: &flow.prepared.dirt,
        last,
        allow_dirty: flow.prepared.options.waivers.allow_dirty.as_deref(),
        devtasks: &flow.prepared.options.devtasks,
        allow: &flow.prepared.allow,
        lock: with_lock(flow, |lock| lock.record()),
        started: &flow.started,
        data_services_started: started,
        code_already_live: flow.prepared.standing.code_live,
        standing: &flow.prepared.plan.warnings,
    };
    let precheck = precheck::run(&ctx(flow, start.stand), &given)?;
    ready::may(&ctx(flow, start.stand), flow.prepared.plan.rollback_enabled)?;
    let green = precheck.baseline.iter().flat_map(|b| &b.checks).filter(|c| c.ok).count();
    let all = precheck.baseline.iter().flat_map(|b| &b.checks).count();
    Ok(((), format!("baseline {green} of {all} good, {} files scanned", precheck.scanned_files)))
}

/// B2 and the proof, side by side: whichever fails ends the other.
fn build_and_prove(flow: &Flow<'_>, made: Option<&restore::Made>) -> StepResult<()> {
    let start = flow.start;
    let waivers = &flow.prepared.options.waivers;
    let cancel = smoke::never();
    let stand = start.stand.with(&start.stand.exec.cancelled_by(&cancel));
    let ctx = ctx(flow, &stand);
    let (run, events, interrupt) = (flow.run, start.events, Some(start.interrupt));
    let (built, proved) = std::thread::scope(|scope| {
        let proving = scope.spawn(|| {
            let result = step(run, events, interrupt, "proof", || match (made, &waivers.no_proof) {
                (Some(made), None) => {
                    let proof = proof::run(&ctx, made, room::make)?;
                    Ok((
                        (),
                        format!(
                            "{} tables equal, restored in {}",
                            proof.tables,
                            clock::human_ms(proof.restore_ms)
                        ),
                    ))
                }
                (_, reason) => {
                    let reason = reason.as_deref().or(waivers.skip_backup.as_deref()).unwrap_or("no backup");
                    proof::skip(&ctx, reason).map(|()| ((), format!("skipped: {reason}")))
                }
            });
            if result.is_err() {
                smoke::raise(&cancel);
            }
            result
        });
        let built = step(run, events, interrupt, "build", || {
            let build = build::run(&ctx, waivers.skip_build.as_deref())?;
            let new = build.images.iter().filter(|i| i.before != i.after).count();
            let detail = match &build.skipped {
                Some(reason) => format!("skipped: {reason}"),
                None => format!("{} services, {new} new images", build.images.len()),
            };
            Ok(((), detail))
        });
        if built.is_err() {
            smoke::raise(&cancel);
        }
        (built, proving.join())
    });
    let proved = proved.unwrap_or_else(|_| {
        Err(StepFailure { step: "proof".into(), error: anyhow!("the proof died"), by: None })
    });
    // The one that was cancelled is not the cause.
    match (built, proved) {
        (Ok(()), Ok(())) => Ok(()),
        (Err(failure), Ok(())) | (Ok(()), Err(failure)) => Err(failure),
        (Err(b), Err(p)) => Err(if fault_of(&b.error).to_string().contains(GIVEN_UP) { p } else { b }),
    }
}
