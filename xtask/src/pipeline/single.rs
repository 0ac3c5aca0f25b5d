//! Commands that are one step of the release: the same step functions, with a
//! run directory of their own.

use super::finish;
use super::lock::{self, Lock};
use super::release::failure_of;
use super::{Ending, Start, begin, housekeeping, open_runs, step};
use crate::acts::script::Engine;
use crate::acts::smoke::{self, Patience, Warm};
use crate::acts::{Ctx, elsewhere, room, target};
use crate::clock;
use crate::error::{Fault, Lane, Result};
use crate::evidence::records::Check;
use crate::evidence::{EVIDENCE, RunDir, rid_of};
use crate::facts::{self, Facts};
use crate::fsx;
use crate::lkg::Store;
use crate::plan::{Plan, Planned};
use crate::steps::{backup, precheck, proof, ready};

/// Facts of the stand, with its secrets known to the redactor.
pub fn look(start: &Start<'_>) -> Result<Facts> {
    let facts = facts::gather(start.stand, start.config)?;
    facts::learn_secrets(start.stand, &facts.model);
    Ok(facts)
}

/// The same where compose cannot read the checkout's files: by what the last release that passed was
/// deployed with. The way back must not depend on files that somebody has broken since.
pub fn look_back(start: &Start<'_>) -> Result<Facts> {
    let repo = &start.config.repo;
    let last = Store::of(repo).last().ok().flatten();
    let kept = target::model_of(repo, last.as_ref()).ok().flatten();
    let facts = facts::gather_or(start.stand, start.config, kept)?;
    facts::learn_secrets(start.stand, &facts.model);
    Ok(facts)
}

/// In words, for the one who goes back in spite of it.
pub fn unread(why: &str) -> String {
    format!("what the checkout's compose files say, so what the last good release had counts: {why}")
}

/// Opens the directory of a run with its plan.
pub fn open(
    start: &Start<'_>,
    facts: &Facts,
    rid: &str,
    command: &str,
    does: &str,
    head: Option<String>,
) -> Result<(RunDir, Plan)> {
    let root = start.config.repo.join(EVIDENCE);
    fsx::ignored_dir(&start.config.repo.join("ops/_local"))?;
    let redactor = start.stand.exec.redactor();
    let run = RunDir::create_with_room(&root, rid, redactor)?;
    let planned = Planned { step: command.into(), does: does.into(), skipped: None };
    let now = clock::rfc3339(clock::Clock::System.now());
    let mut plan = Plan::single(command, start.config, facts, rid, &now, planned);
    plan.commit = head.unwrap_or_default();
    run.write_json("plan.json", &plan)?;
    Ok((run, plan))
}

/// S1 alone. `rid`: the id that was asked for.
pub fn smoke(start: &Start<'_>, rid: Option<&str>, told: &(dyn Fn(&Check) + Sync)) -> Result<Ending> {
    // Nothing one after another that can be asked at once: a person waits for this one.
    let mut warm = None;
    let (facts, head) = std::thread::scope(|scope| {
        let head = scope.spawn(|| start.stand.head().ok());
        let worker = &start.config.smoke.worker_service;
        let facts = facts::gather_quickly(start.stand, start.config, |listed| {
            let container = listed.iter().find(|(_, service)| service == worker);
            warm = container.map(|(id, _)| Warm::start(start.stand, id));
        });
        (facts, head.join().ok().flatten())
    });
    let facts = facts?;
    facts::learn_secrets(start.stand, &facts.model);
    let rid = rid_of(&start.config.repo.join(EVIDENCE), "smk", rid, head.as_deref())?;
    let (run, mut plan) = open(start, &facts, &rid, "smoke", "every check once", head)?;
    let id = begin(start, &run, "smoke", None, None)?;
    let ctx = Ctx {
        config: start.config,
        facts: &facts,
        run: &run,
        stand: start.stand,
        events: start.events,
        id: &id,
        shielded: false,
    };
    let result = step(&run, start.events, Some(start.interrupt), "smoke", || {
        // Beside the checks: nothing waits for versions.
        let (record, versions) = std::thread::scope(|scope| {
            let versions = scope.spawn(|| facts::more_versions(start.stand));
            let record = smoke::run_warm(&ctx, "smoke", Patience::none(), &smoke::never(), warm, told);
            (record, versions.join())
        });
        plan.versions.extend(versions.unwrap_or_default());
        run.write_json("plan.json", &plan)?;
        let record = record?;
        run.write_json("smoke.json", &record)?;
        let bad: Vec<&str> = record.checks.iter().filter(|c| !c.ok).map(|c| c.name.as_str()).collect();
        if bad.is_empty() {
            Ok(((), format!("{} checks good", record.checks.len())))
        } else {
            Err(Fault::new("smoke is not good").why(bad.join(", ")).lane(Lane::B).into())
        }
    });
    let failure = result.err().map(|f| failure_of(&f, &run));
    Ok(finish::finish(start, &run, failure.as_ref(), None))
}

/// B1 alone, with proof. `rid`: the id that was asked for.
pub fn backup(start: &Start<'_>, rid: Option<&str>) -> Result<Ending> {
    let engine = Engine::of(start.config, &start.stand.exec)?;
    let mut facts = look(start)?;
    facts.versions.extend(facts::more_versions(start.stand));
    facts.versions.extend(engine.version(&start.stand.exec).map(|v| ("pwsh".into(), v)));
    let pg = facts.pg(start.stand, start.config)?;
    lock::refuse_if_held(&facts.engine_id, &start.config.stand.project, Some(&pg))?;
    let head = start.stand.head()?;
    let rid = rid_of(&start.config.repo.join(EVIDENCE), "bak", rid, Some(&head))?;
    let mut lock = Lock::take(&facts.engine_id, &start.config.stand.project, &rid, "backup")?;
    open_runs::refuse(&start.config.repo)?;
    elsewhere::refuse(&pg, &start.config.repo)?;
    let (run, mut plan) = open(start, &facts, &rid, "backup", "dump one snapshot", Some(head.clone()))?;
    plan.steps.push(Planned { step: "proof".into(), does: "restore beside, compare".into(), skipped: None });
    run.write_json("plan.json", &plan)?;
    let id = begin(start, &run, "backup", None, None)?;
    let ctx = Ctx {
        config: start.config,
        facts: &facts,
        run: &run,
        stand: start.stand,
        events: start.events,
        id: &id,
        shielded: false,
    };
    let interrupt = Some(start.interrupt);
    let outcome = (|| {
        let made = step(&run, start.events, interrupt, "backup", || {
            lock.take_database(&ctx.pg("backup")?)?;
            run.write_json(
                "charter.json",
                &precheck::brief_charter(&ctx, "backup", &head, lock.record(), &plan.run.time)?,
            )?;
            ready::may_back_up(&ctx)?;
            let made = backup::run(&ctx, &head, true)?;
            let r = &made.record;
            let mut detail =
                format!("{} in {}, into {}", fsx::human_bytes(r.bytes), clock::human_ms(r.dump_ms), r.dir);
            detail.extend(r.script_dir.iter().map(|dir| format!("; the script's into {dir}")));
            Ok((made, detail))
        })?;
        step(&run, start.events, interrupt, "proof", || {
            // The undo clone of the last release is no price for a backup.
            let proof = proof::run(&ctx, &made, room::enough)?;
            Ok((
                (),
                format!("{} tables equal, restored in {}", proof.tables, clock::human_ms(proof.restore_ms)),
            ))
        })
    })();
    let failure = outcome.err().map(|f| failure_of(&f, &run));
    if failure.is_some()
        && let Err(error) = housekeeping::after_failure(&ctx.shielded(), false, lock.is_alone())
    {
        start.events.warn("housekeeping", format!("{error:#}"));
    }
    // The properties that the proof read are in the archive; nothing goes back to this run.
    let _ = crate::lkg::Store::of(&start.config.repo).forget(&run.rid);
    Ok(finish::finish(start, &run, failure.as_ref(), None))
}
