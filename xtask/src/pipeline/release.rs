//! A release: its order, and what happens when a step fails.

use super::finish::{self, Given as Finish};
use super::lock::{self, Lock};
use super::{Ending, Start, StepFailure, StepResult, housekeeping, open_runs, step};
use crate::acts::smoke::{self, Patience};
use crate::acts::sums::Sums;
use crate::acts::{Ctx, code, restore, short_id};
use crate::clock::{self, Clock};
use crate::error::{Context, Exit, Fault, Result, anyhow, fault_of};
use crate::evidence::records::*;
use crate::evidence::{self, EVIDENCE, Previous, Reached, RunDir, free_rid, new_rid};
use crate::exec::{GIVEN_UP, Kind};
use crate::facts::{self, Facts};
use crate::fsx;
use crate::lkg::{LastKnownGood, Store, Target};
use crate::plan::{Inputs, Plan, Waivers};
use crate::stand::git::Dirt;
use crate::stand::shell::Shell;
use crate::steps::{backup, build, change, deploy, migrate, precheck, proof, ready, rollback};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// What the command line says of a release.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub waivers: Waivers,
    pub rid: Option<String>,
    pub devtasks: Vec<String>,
}

/// Everything that is known before anything is done.
pub struct Prepared {
    pub facts: Facts,
    pub plan: Plan,
    pub dirt: Dirt,
    pub head: String,
    pub last: Option<LastKnownGood>,
    pub options: Options,
}

/// Looks at everything and makes the plan. Changes nothing.
pub fn prepare(start: &Start<'_>, options: Options) -> Result<Prepared> {
    check_waivers(&options.waivers)?;
    let stand = start.stand;
    let mut facts = facts::gather(stand, start.config)?;
    facts.versions.extend(facts::more_versions(stand));
    facts::learn_secrets(stand, &facts.model, &start.config.repo)?;
    lock::refuse_if_held(&facts.engine_id, &start.config.stand.project)?;
    open_runs::refuse(&start.config.repo)?;
    let head = stand.head()?;
    let dirt = stand.dirt()?;
    let store = Store::of(&start.config.repo);
    let last = store.last()?;
    let now = Clock::System;
    let rid = match &options.rid {
        Some(rid) => {
            evidence::check_rid(rid)?;
            rid.clone()
        }
        None => free_rid(&start.config.repo.join(EVIDENCE), new_rid("rel", now, Some(&head))),
    };
    let mut inputs = Inputs {
        commit: head.clone(),
        branch: stand.branch()?,
        dirty: !dirt.content.is_empty() || !dirt.untracked.is_empty(),
        migrations: migrate::resolve(stand, &head, &start.config.migrate.files)?,
        verify: migrate::resolve(stand, &head, &start.config.migrate.verify)?,
        base_images: base_images(start, &facts)?,
        last: last.clone(),
        rid,
        time: clock::rfc3339(now.now()),
        database_bytes: None,
        tables: 0,
        drops: Vec::new(),
    };
    if let Ok(pg) = facts.pg(stand, start.config) {
        let mut psql = pg
            .session(&pg.database, "ffx-plan")
            .with_context(|| format!("look at database {}", pg.database))?;
        inputs.database_bytes =
            psql.value("SELECT pg_database_size(current_database())")?.and_then(|b| b.parse().ok());
        inputs.tables = psql
            .value("SELECT count(*) FROM pg_class WHERE relkind IN ('r','i','t')")?
            .and_then(|n| n.parse().ok())
            .unwrap_or(0);
        let version = psql.value("SHOW server_version")?.unwrap_or_default();
        facts.versions.insert("postgres".into(), version);
        facts.database.clone_from(&pg.database);
        let own = housekeeping::own_databases(&mut psql, &pg.database)?;
        inputs.drops =
            own.into_iter().filter(|(purpose, _)| purpose != "failed").map(|(_, row)| row.name).collect();
    }
    let too_large = start.config.rollback.max_proof_gb * 1_000_000_000;
    if inputs.database_bytes.is_some_and(|b| b > too_large) && options.waivers.no_proof.is_none() {
        return Err(Fault::refused("the database is too large to be proved in a release")
            .why(format!(
                "{} is more than rollback.max_proof_gb",
                fsx::human_bytes(inputs.database_bytes.unwrap_or(0))
            ))
            .remedy("raise rollback.max_proof_gb, or give --no-proof and --no-rollback with their reason")
            .into());
    }
    let plan = Plan::release(start.config, &facts, &options.waivers, inputs);
    Ok(Prepared { facts, plan, dirt, head, last, options })
}

/// V2: without a proved backup there is no rollback, and that must be said.
fn check_waivers(waivers: &Waivers) -> Result<()> {
    let unproved = [(&waivers.skip_backup, "--skip-backup"), (&waivers.no_proof, "--no-proof")];
    for (flag, name) in unproved {
        if flag.is_some() && waivers.no_rollback.is_none() {
            return Err(Fault::usage(format!("{name} needs --no-rollback beside it"))
                .why("a rollback that was not verified before the change is no rollback")
                .remedy("give --no-rollback with its reason too, or leave it out")
                .into());
        }
    }
    Ok(())
}

/// What the Dockerfiles build on, with the ids that are here.
fn base_images(start: &Start<'_>, facts: &Facts) -> Result<BTreeMap<String, Option<String>>> {
    let mut found = BTreeMap::new();
    for service in &facts.built {
        let Some(context) = facts.model.build_context(service) else { continue };
        let text =
            std::fs::read_to_string(std::path::Path::new(&context).join("Dockerfile")).unwrap_or_default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            if words.next().is_some_and(|w| w.eq_ignore_ascii_case("FROM"))
                && let Some(name) = words.find(|w| !w.starts_with("--"))
                && !found.contains_key(name)
            {
                found.insert(name.to_string(), start.stand.image_id(name)?);
            }
        }
    }
    Ok(found)
}

/// A release on its way.
struct Flow<'a> {
    start: &'a Start<'a>,
    run: &'a RunDir,
    prepared: &'a Prepared,
    facts: Facts,
    id: String,
    /// Behind a mutex, because its session is one conversation and steps run side by side.
    lock: Mutex<Lock>,
    started: String,
    target: Option<Target>,
    fence: Option<Fence>,
    clone_sums: Mutex<Option<(Sums, u64)>>,
    built: bool,
}

/// Runs the release that was prepared.
pub fn release(start: &Start<'_>, prepared: &Prepared) -> Result<Ending> {
    let rid = &prepared.plan.run.rid;
    let lock = Lock::take(&prepared.facts.engine_id, &start.config.stand.project, rid, "release")?;
    open_runs::refuse(&start.config.repo)?;
    fsx::ignored_dir(&start.config.repo.join("ops/_local"))?;
    let run = RunDir::create(&start.config.repo.join(EVIDENCE), rid, start.stand.exec.redactor())?;
    run.write_json("plan.json", &prepared.plan)?;
    let now = Clock::System.now();
    let mut flow = Flow {
        start,
        run: &run,
        prepared,
        facts: prepared.facts.clone(),
        id: short_id(rid, &clock::stamp(now)),
        lock: Mutex::new(lock),
        started: clock::rfc3339(now),
        target: None,
        fence: None,
        clone_sums: Mutex::new(None),
        built: false,
    };
    run.journal.fact("pipeline", "run", json!({ "id": flow.id, "command": "release" }))?;
    let failure = forward(&mut flow).err().map(|f| failure_of(&f, &run));
    if let Some(failure) = &failure {
        run.write_json("failure.json", failure)?;
        backward(&mut flow, failure);
    } else if let Err(error) = after_pass(&flow) {
        start.events.warn("housekeeping", format!("{error:#}"));
    }
    Ok(end(flow, failure))
}

fn ctx<'a>(flow: &'a Flow<'_>, stand: &'a crate::stand::Stand) -> Ctx<'a> {
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

fn with_lock<T>(flow: &Flow<'_>, work: impl FnOnce(&mut Lock) -> T) -> T {
    work(&mut flow.lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
}

fn at(flow: &Flow<'_>, step: &str) {
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
                let made = backup::run(&ctx, &commit)?;
                let r = &made.record;
                let detail = format!(
                    "{} in {}, {} tables, into {}",
                    fsx::human_bytes(r.bytes),
                    clock::human_ms(r.dump_ms),
                    r.tables,
                    r.dir
                );
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
        let deployed =
            ctx.stand("ready")?.commit_as_deployed(&flow.prepared.dirt, &commit, "tree as deployed")?;
        let (target, active) = std::thread::scope(|scope| {
            let active = scope.spawn(|| change::active_tasks(&ctx));
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
    let fence = step(run, events, interrupt, "change", || stop_and_clone(flow, active))?;
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
            let _ = served.recv_timeout(SUMS_WAIT);
            sum_clone(flow, cancel_sums);
        });
        let result = migrate_and_deploy(flow, &mut shell, &commit, serving);
        if result.is_err() && summing_is_short(flow) {
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
    let started = precheck::start_data_services(&ctx(flow, start.stand))?;
    if !started.is_empty() {
        flow.facts.refresh(start.stand)?;
    }
    let pg = flow.facts.pg(start.stand, start.config)?;
    pg.wait_ready(Duration::from_secs(start.config.deploy.timeout_s))?;
    flow.facts.database.clone_from(&pg.database);
    with_lock(flow, |lock| lock.take_database(&pg))?;
    let last = flow.prepared.last.as_ref();
    let live = !flow.facts.mounts.is_empty()
        && last.is_some_and(|l| l.commit != flow.prepared.head && l.head != flow.prepared.head);
    let given = precheck::Given {
        head: &flow.prepared.head,
        branch: &flow.prepared.plan.branch,
        dirt: &flow.prepared.dirt,
        last,
        allow_dirty: flow.prepared.options.waivers.allow_dirty.as_deref(),
        devtasks: &flow.prepared.options.devtasks,
        lock: with_lock(flow, |lock| lock.record()),
        started: &flow.started,
        data_services_started: started,
        code_already_live: live,
    };
    let precheck = precheck::run(&ctx(flow, start.stand), &given)?;
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
                    let proof = proof::run(&ctx, made)?;
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

/// How long the sums of the clone wait for the service to be back.
const SUMS_WAIT: Duration = Duration::from_secs(3);

/// Will the clone be summed within about a second? About 5 s for 1 GB.
fn summing_is_short(flow: &Flow<'_>) -> bool {
    flow.prepared.plan.run.database_bytes < 100_000_000
}

fn stop_and_clone(flow: &mut Flow<'_>, active: Vec<String>) -> Result<(Fence, String)> {
    let start = flow.start;
    with_lock(flow, Lock::check_database)?;
    let ctx = ctx(flow, start.stand);
    let target = flow.target.as_ref().context("no target was decided")?;
    let pg = ctx.pg("change")?;
    // Opened before the stop: it costs no downtime.
    let mut admin = pg.session("postgres", &format!("ffxadmin:{}", flow.id))?;
    // The clone begins with a checkpoint: what it would have to write is written before the stop.
    // Not everybody may ask for one, and nothing depends on it.
    let _ = admin.ask("CHECKPOINT", Duration::from_secs(600));
    let stopped_at = flow.run.journal.elapsed_ms();
    change::stop(&ctx, &flow.facts.app_services)?;
    let fence = change::fence_and_clone(&ctx, &mut admin, target, active, stopped_at)?;
    change::unfence(&ctx, &mut admin, &fence)?;
    let detail = format!("fence {} ms, clone {} ms, {}", fence.fence_ms, fence.clone_ms, fence.broker);
    Ok((fence, detail))
}

/// The sums of the clone; none when the release was done first.
fn sum_clone(flow: &Flow<'_>, cancel: &std::sync::Arc<std::sync::atomic::AtomicBool>) {
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
    if let Ok(sums) = summed
        && let Ok(mut place) = flow.clone_sums.lock()
    {
        *place = Some((sums, clock::ms_since(begun)));
    }
}

fn migrate_and_deploy(
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
                    .lane(crate::error::Lane::B)
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
        by: None,
    })
}

fn smoke_step(
    ctx: &Ctx<'_>,
    cancel: &std::sync::Arc<std::sync::atomic::AtomicBool>,
    serving: &Sender<()>,
) -> Result<((), String)> {
    ctx.waiting("smoke", "every check to be good", Duration::from_secs(ctx.config.smoke.timeout_s));
    let told = smoke::first_answer(ctx, "smoke", || {
        let _ = serving.send(());
    });
    let record = smoke::run(ctx, "smoke", Patience::of(ctx.config), cancel, &told)?;
    ctx.run.write_json("smoke.json", &record)?;
    let bad: Vec<String> =
        record.checks.iter().filter(|c| !c.ok).map(|c| format!("{}: {}", c.name, c.detail)).collect();
    if !bad.is_empty() {
        return Err(Fault::new("smoke is not good")
            .why(bad.join("; "))
            .log(ctx.run.path.join("step_smoke.log"))
            .lane(crate::error::Lane::B)
            .into());
    }
    Ok(((), format!("{} checks good", record.checks.len())))
}

/// What is done about a failure: a portrait of the stand, then back, as far as the change went.
fn backward(flow: &mut Flow<'_>, failure: &Failure) {
    let start = flow.start;
    let reached = evidence::read_journal(&flow.run.path.join("events.jsonl"))
        .map_or(Reached::Unfenced, |j| evidence::reached(&j));
    let tail_of = failure.log.clone().unwrap_or_else(|| format!("step_{}.log", failure.step));
    let mut lines = fsx::tail(&flow.run.path.join(&tail_of), 40);
    // What was said, not what was asked.
    lines.retain(|l| !l.contains("Z $ [") && !l.contains("] ... ") && !l.ends_with("= exit 0"));
    lines.drain(..lines.len().saturating_sub(12));
    if failure.exit.is_none() && !lines.is_empty() {
        start.events.send(crate::event::Event::Tail { log: tail_of, lines });
    }
    if flow.facts.pg(start.stand, start.config).is_err() && reached == Reached::Unchanged {
        return;
    }
    at(flow, "rollback");
    let flow = &*flow;
    let ctx = ctx(flow, start.stand).shielded();
    if reached != Reached::Unchanged {
        let _ = deploy::portrait(&ctx, "deploy");
    }
    let may = flow.prepared.plan.rollback_enabled;
    let mut clone_stays = false;
    if reached == Reached::Unchanged {
        if let Err(error) = tidy_unchanged(flow, &ctx) {
            start.events.warn("housekeeping", format!("{error:#}"));
        }
    } else if may && let Some(target) = &flow.target {
        let result = step(flow.run, start.events, None, "rollback", || {
            let record = go_back(flow, &ctx, target, failure, reached);
            let verified = record.verified;
            let problems = record.problems.join("; ");
            flow.run.write_json("rollback.json", &record)?;
            if !verified {
                return Err(Fault::new("the rollback is not verified").why(problems).into());
            }
            Ok((record.source, format!("verified in {}", clock::human_ms(record.ms))))
        });
        clone_stays = result.is_err();
    } else {
        clone_stays = true;
    }
    let tidy = || -> Result<()> {
        if reached != Reached::Unchanged || flow.target.is_some() {
            migrate::unstage(&ctx)?;
        }
        housekeeping::after_failure(&ctx, clone_stays)
    };
    if let Err(error) = tidy() {
        start.events.warn("housekeeping", format!("{error:#}"));
    }
}

fn go_back(flow: &Flow<'_>, ctx: &Ctx<'_>, target: &Target, failure: &Failure, reached: Reached) -> Rollback {
    let precheck: Option<Precheck> = flow.run.read("precheck.json");
    let migrated: Option<Migrate> = flow.run.read("migrate.json");
    let begun = migrated.as_ref().is_none_or(|m| m.files.iter().any(|f| f.status != "not run"));
    let keep = flow.start.config.rollback.database == "if-migrated" && !begun;
    let fence: Option<Fence> = flow.fence.clone().or_else(|| flow.run.read("fence.json"));
    let sums = flow.clone_sums.lock().ok().and_then(|s| s.clone());
    let backup: Option<Backup> = flow.run.read("backup.json");
    let given = rollback::Given {
        reason: &failure.what,
        target,
        fence: fence.as_ref(),
        reached,
        baseline: precheck.as_ref().and_then(|p| p.baseline.as_ref()),
        clone_sums: sums.as_ref().map(|(s, _)| s),
        clone_sums_ms: sums.as_ref().map_or(u64::MAX, |(_, ms)| *ms),
        keep_database: keep.then_some("no migration ran"),
        recovers: None,
        cited: format!(
            "clone {} made under the fence; backup {} restored and compared equal before",
            target.clone,
            backup.map(|b| b.dir).unwrap_or_default()
        ),
    };
    rollback::run(ctx, &given)
}

/// The stand was not touched: only names and leftovers of this run are put right.
fn tidy_unchanged(flow: &Flow<'_>, ctx: &Ctx<'_>) -> Result<()> {
    if flow.built
        && let Some(build) = flow.run.read::<Build>("images.json")
    {
        let stand = ctx.stand("build")?;
        for image in build.images.iter().filter(|i| i.before != i.after) {
            let name = flow.facts.model.image_name(&stand.project, &image.service);
            match &image.before {
                Some(id) => stand.tag(id, &name)?,
                None => stand.untag(&name)?,
            }
        }
    }
    Store::of(&flow.start.config.repo).forget(&flow.run.rid)?;
    code::remove_unused_trees(ctx, "housekeeping", &[]).map(drop)
}

fn after_pass(flow: &Flow<'_>) -> Result<()> {
    let ctx = ctx(flow, flow.start.stand).shielded();
    migrate::unstage(&ctx)?;
    housekeeping::after_pass(&ctx, flow.fence.as_ref().map(|f| f.clone.as_str()))
}

/// Sums up, and writes the last known good after everything else.
fn end(flow: Flow<'_>, failure: Option<Failure>) -> Ending {
    let start = flow.start;
    let store = Store::of(&start.config.repo);
    let previous = flow
        .prepared
        .last
        .as_ref()
        .map(|l| Previous { rid: l.rid.clone(), digest_sha256: l.digest_sha256.clone() });
    let mut on_pass = |digest: &str| record_good(&flow, &store, digest);
    let given = Finish {
        plan: &flow.prepared.plan,
        started: flow.started.clone(),
        previous,
        on_pass: Some(&mut on_pass),
    };
    finish::finish(start, flow.run, failure.as_ref(), given)
}

fn record_good(flow: &Flow<'_>, store: &Store, digest: &str) -> Result<()> {
    let stand = flow.start.stand.with(&flow.start.stand.exec.shielded());
    let head = flow.prepared.head.clone();
    let rid = &flow.run.rid;
    let commit =
        stand.commit_as_deployed(&flow.prepared.dirt, &head, &format!("tree as deployed by {rid}"))?;
    stand.pin(rid, &commit)?;
    fsx::private_dir(&store.of_release(rid)?)?;
    fsx::write_json(&store.own_model(rid), &flow.facts.model.raw)?;
    code::keep_env_files(&flow.start.config.repo, store, rid)?;
    let deploy: Deploy = flow.run.read("deploy.json").unwrap_or_default();
    let backup: Option<Backup> = flow.run.read("backup.json");
    store.set_last(&LastKnownGood {
        rid: rid.clone(),
        time: clock::rfc3339(Clock::System.now()),
        head,
        commit,
        branch: flow.prepared.plan.branch.clone(),
        dirty: flow.prepared.plan.dirty,
        images: deploy
            .services
            .iter()
            .filter(|s| flow.facts.app_services.contains(&s.service))
            .map(|s| (s.service.clone(), s.image.clone()))
            .collect(),
        digest_sha256: digest.into(),
        backup: backup.filter(|b| b.skipped.is_none()).map(|b| b.dir),
        undo: flow.fence.as_ref().map(|f| f.clone.clone()),
    })
}

/// The failure as it is recorded.
pub fn failure_of(failure: &StepFailure, run: &RunDir) -> Failure {
    let mut fault = fault_of(&failure.error);
    if let Some(kind) = failure.by {
        // What was cut short says nothing about itself.
        let word = if kind == Kind::CtrlC { "Ctrl-C" } else { "SIGTERM" };
        fault = Fault::new(format!("stopped by {word} in step {}", failure.step));
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
