//! `rollback`: finishes or undoes an interrupted run, goes back by the undo
//! clone, or from a backup directory.

mod instead;
mod recover;
mod ways;

use super::finish;
use super::lock::Lock;
use super::offer::{Choice, Offer};
use super::open_runs;
use super::release::failure_of;
use super::{Ending, Start, StepFailure, begin, housekeeping, single, step_to_its_end};
use crate::acts::Ctx;
use crate::clock;
use crate::error::{Exit, Fault, Result};
use crate::evidence::records::*;
use crate::evidence::{EVIDENCE, Previous, RunDir, rid_of};
use crate::facts::Facts;
use crate::lkg::{LastKnownGood, Store};
use crate::steps::precheck;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Goes back. `rid`: the id that was asked for. An error is one before which nothing was touched: what
/// fails later stands in the evidence.
pub fn rollback(start: &Start<'_>, facts: &Facts, offer: &Offer, rid: Option<&str>) -> Result<Ending> {
    let head = start.stand.head()?;
    let rid = rid_of(&start.config.repo.join(EVIDENCE), "rbk", rid, Some(&head))?;
    let mut lock = Lock::take(&facts.engine_id, &start.config.stand.project, &rid, "rollback")?;
    offer.still_stands(&start.config.repo)?;
    let planned = facts;
    let mut facts = facts.clone();
    facts.refresh(start.stand)?;
    if let Some(why) = facts.made_anew(&planned.containers) {
        return Err(Fault::refused("the stand is not the one that you were asked about")
            .why(why)
            .remedy("cargo xtask status says what runs now; then cargo xtask rollback again")
            .into());
    }
    let recovers = match &offer.choice {
        Choice::Recover(open) => Some(open.about.clone()),
        Choice::Undo { rid } => Some(rid.clone()),
        // Until the database is replaced, what is open stays so.
        Choice::Backup { .. } | Choice::To { .. } => {
            open_runs::find(&start.config.repo)?.into_iter().next().map(|open| open.about)
        }
    };
    let (run, mut plan) = single::open(start, &facts, &rid, "rollback", &offer.words, Some(head.clone()))?;
    plan.branch = start.stand.branch().unwrap_or_default();
    let previous = goes_to(&Store::of(&start.config.repo), &offer.choice, recovers.as_deref())?;
    let id = begin(start, &run, "rollback", previous, recovers.clone())?;
    let outcome = step_to_its_end(&run, start.events, Some(start.interrupt), "rollback", || {
        go(start, &run, &mut facts, &id, &mut lock, offer, recovers.as_deref(), &head, &plan.run.time)
    });
    // What is told of a way back that is over must not fail for want of what is kept for it.
    run.use_room();
    let done = run.read::<Rollback>("rollback.json").is_some_and(|r| r.verified);
    let outcome = outcome.and_then(|()| match done {
        true => tell_last_good(start, offer, recovers.as_deref()).map_err(|error| StepFailure {
            step: "rollback".into(),
            error: error.context("record which release is the last known good one"),
            by: None,
        }),
        false => Ok(()),
    });
    let failure = outcome.err().map(|f| failure_of(&f, &run));
    Ok(finish::finish(start, &run, failure.as_ref(), None))
}

/// The release that a rollback goes back to; none where that is not known, or was before the first.
fn goes_to(store: &Store, choice: &Choice, of: Option<&str>) -> Result<Option<Previous>> {
    let target = of.and_then(|rid| store.target(rid));
    let release = match (choice, target) {
        (Choice::To { release, .. }, _) => Some(release.clone()),
        (_, Some(target)) => target.previous,
        // What was to be recovered had prepared no way back, so it changed nothing; or the code stays.
        (_, None) => store.last()?,
    };
    Ok(release.map(|r| Previous { rid: r.rid, digest_sha256: r.digest_sha256 }))
}

/// What was undone is no longer the last known good release; what was gone back to is.
fn tell_last_good(start: &Start<'_>, offer: &Offer, recovers: Option<&str>) -> Result<()> {
    let store = Store::of(&start.config.repo);
    if let Choice::To { release, .. } = &offer.choice {
        store.set_last(&LastKnownGood { undo: None, ..release.clone() })?;
    }
    let by_name = matches!(offer.choice, Choice::To { .. } | Choice::Backup { .. });
    let Some(of) = recovers.filter(|_| !by_name) else { return Ok(()) };
    // A rollback from a backup directory that was interrupted, and is finished now; where it left the code,
    // the last good release is the same one, undo clone and all.
    let to = store.target(of).filter(|t| t.rid.starts_with("rbk")).and_then(|t| t.previous);
    let last = store.last()?.map(|l| l.rid);
    if let Some(to) = to.filter(|to| Some(&to.rid) != last.as_ref()) {
        store.set_last(&LastKnownGood { undo: None, ..to })?;
    }
    if store.last()?.is_some_and(|l| l.rid == of) {
        match store.target(of).and_then(|t| t.previous) {
            Some(previous) => store.set_last(&previous)?,
            None => store.clear_last()?,
        }
    }
    Ok(())
}

/// What of a run that is over cannot be taken away is told. It is in nobody's way, the next release that
/// passes takes it along, and it makes no database and no version that is back less so.
fn tidied(ctx: &Ctx<'_>, outcome: Result<()>) {
    if let Err(error) = outcome {
        ctx.events.warn("rollback", format!("something was left behind: {error:#}"));
    }
}

#[allow(clippy::too_many_arguments)] // one call, in the order in which things are known
fn go(
    start: &Start<'_>,
    run: &RunDir,
    facts: &mut Facts,
    id: &str,
    lock: &mut Lock,
    offer: &Offer,
    recovers: Option<&str>,
    head: &str,
    started: &str,
) -> Result<((), String)> {
    let ctx = Ctx {
        config: start.config,
        facts,
        run,
        stand: start.stand,
        events: start.events,
        id,
        shielded: true,
    };
    let begun = precheck::start_data_services(&ctx)?;
    if !begun.is_empty() {
        facts.refresh(start.stand)?;
    }
    let ctx = Ctx {
        config: start.config,
        facts,
        run,
        stand: start.stand,
        events: start.events,
        id,
        shielded: true,
    };
    let pg = ctx.pg("rollback")?;
    pg.wait_ready(Duration::from_secs(start.config.deploy.timeout_s))?;
    lock.take_database(&pg)?;
    run.write_json(
        "charter.json",
        &precheck::brief_charter(&ctx, "rollback", head, lock.record(), started)?,
    )?;
    if matches!(offer.choice, Choice::Backup { .. } | Choice::To { .. }) {
        // It takes the place of no clone: that of the last good release stays.
        housekeeping::mark_settled(start.events, &pg, &start.config.repo)?;
    }
    lock.at("rollback");
    let lock = Mutex::new(lock);
    let hold = || lock.lock().unwrap_or_else(PoisonError::into_inner).hold(&ctx);
    let record = match &offer.choice {
        Choice::Recover(open) => recover::recover(&ctx, open, recovers.unwrap_or(&open.rid), &hold)?,
        Choice::Undo { rid } => ways::by_clone(&ctx, rid, "asked for by the operator", &hold)?,
        Choice::Backup { dir } => {
            ways::from_backup(&ctx, dir, Store::of(&start.config.repo).last()?.as_ref(), &hold)?
        }
        Choice::To { release, dir } => ways::from_backup(&ctx, dir, Some(release), &hold)?,
    };
    let verified = record.verified;
    let problems = record.problems.join("; ");
    let detail = format!("{} in {}", record.source, clock::human_ms(record.ms));
    run.write_json("rollback.json", &record)?;
    if !verified {
        return Err(Fault::new("the rollback is not verified").why(problems).exit(Exit::NeedsPerson).into());
    }
    Ok(((), detail))
}
