//! A backup directory that the operator names while a run is open: it comes in
//! the place of that run's own way back, which may be lost. No row is lost with
//! it: the clone of the open run is kept as a failed database, and dumped.

use super::recover::end_what_is_left;
use super::tidied;
use crate::acts::{Ctx, aside};
use crate::error::{Result, fault_of};
use crate::evidence::records::Rollback;
use crate::evidence::{EVIDENCE, Reached, begun, reached, read_journal, read_up_to_damage, replaced};
use crate::fsx;
use crate::lkg::{LastKnownGood, Store, Target};
use crate::pipeline::housekeeping;
use crate::pipeline::open_runs::{self, OpenRun};
use crate::stand::images::kept_tag;
use crate::stand::postgres::{self, Pg};
use crate::stand::psql::Psql;
use serde_json::{Value, json};
use std::time::Duration;

/// The runs that are open beside this one, newest first, and nothing of them is at work any more.
pub(super) fn open(ctx: &Ctx<'_>, pg: &Pg, admin: &mut Psql) -> Result<Vec<OpenRun>> {
    let mut open = open_runs::find(&ctx.config.repo)?;
    open.retain(|o| o.rid != ctx.run.rid);
    for run in &open {
        let lines = read_up_to_damage(&run.dir.join("events.jsonl"));
        end_what_is_left(ctx, pg, admin, &run.rid, &lines)?;
    }
    Ok(open)
}

/// The services and the code that ran before the open run: its containers are no measure.
pub(super) fn as_before(
    ctx: &Ctx<'_>,
    open: &OpenRun,
    code_of: Option<&LastKnownGood>,
    target: &mut Target,
) -> Result<()> {
    let store = Store::of(&ctx.config.repo);
    let before = store.target(&open.about);
    let rid = |release: Option<&LastKnownGood>| release.map(|r| r.rid.clone());
    match (before, code_of) {
        (Some(before), code) if rid(before.previous.as_ref()) == rid(code) => {
            let stand = ctx.stand("rollback")?;
            if let Ok(raw) = fsx::read_json::<Value>(&store.model(&before.rid)) {
                store.of_release(&target.rid)?;
                fsx::write_json(&store.model(&target.rid), &raw)?;
            }
            let mut images = before.images.clone();
            for image in &mut images {
                image.tag = kept_tag(&stand.project, &image.service, ctx.id);
            }
            *target = Target {
                rid: target.rid.clone(),
                id: target.id.clone(),
                database: target.database.clone(),
                clone: target.clone.clone(),
                images,
                ..before
            };
        }
        (_, Some(code)) => target.running = code.images.iter().map(|(service, _)| service.clone()).collect(),
        (_, None) => {}
    }
    Ok(())
}

/// Once a backup took the place of what was open: what is left of it is kept or taken away. `of` is the
/// run that brought the backup.
pub(super) fn settle(ctx: &Ctx<'_>, of: &str, record: &mut Rollback) {
    if !record.verified {
        return;
    }
    let kept = (|| {
        let mut open = open_runs::find(&ctx.config.repo)?;
        open.retain(|o| ![of, &ctx.run.rid].contains(&o.rid.as_str()) && o.about != of);
        if open.is_empty() {
            return Ok(());
        }
        let last = Store::of(&ctx.config.repo).last()?.map(|l| l.rid);
        for run in &open {
            // The undo clone of the last good release stays what it is.
            if last.as_ref() != Some(&run.about) {
                keep_clone(ctx, run)?;
                tidied(ctx, forget(ctx, &run.about));
            }
            if run.rid != run.about {
                tidied(ctx, forget(ctx, &run.rid));
            }
        }
        dump_all(ctx)
    })();
    if let Err(error) = kept {
        let fault = fault_of(&error);
        record.problems.push(format!("what the open run left is not kept: {fault}"));
        record.remedy = fault.remedy;
        record.verified = false;
    }
}

/// Gives the clone of an open run the name of a failed database: with that it stays until it is dumped.
fn keep_clone(ctx: &Ctx<'_>, run: &OpenRun) -> Result<()> {
    let target = Store::of(&ctx.config.repo).target(&run.about);
    // Before the unfence nothing was written that is not in the database that was live, too; and what a
    // backup directory was restored into is still in that directory. Where that cannot be read, it stays.
    let holds_rows = read_journal(&ctx.config.repo.join(EVIDENCE).join(&run.about).join("events.jsonl"))
        .map_or(true, |lines| reached(&lines) == Reached::Unfenced && !replaced(&lines));
    let Some(target) = target.filter(|_| holds_rows) else { return Ok(()) };
    let mut admin = ctx.pg("rollback")?.session("postgres", &ctx.app("keep"))?;
    if postgres::database(&mut admin, &target.clone)?.is_none() {
        return Ok(());
    }
    let failed = postgres::side_name(&target.database, "failed", &target.id);
    ctx.act("rollback", "keep the undo clone", json!({ "clone": target.clone, "failed": failed }), || {
        postgres::end_sessions(&mut admin, &target.clone, Duration::from_secs(30))?;
        postgres::rename(&mut admin, &target.clone, &failed)?;
        postgres::comment(&mut admin, &failed, None)?;
        Ok(((), json!({})))
    })
}

/// Dumps the failed databases that nobody has dumped.
fn dump_all(ctx: &Ctx<'_>) -> Result<()> {
    let pg = ctx.pg("rollback")?;
    let mut admin = pg.session("postgres", &ctx.app("keep"))?;
    for (purpose, row) in postgres::own_databases(&mut admin, &pg.database)? {
        if purpose == "failed" && !aside::dumped(ctx, &row.name) {
            let dir = aside::dump(ctx, "rollback", &mut admin, &row.name)?;
            ctx.events.note("rollback", format!("{} is kept, and dumped into {dir}", row.name));
        }
    }
    Ok(())
}

/// Takes away what a dead run left under its id.
pub(super) fn forget(ctx: &Ctx<'_>, rid: &str) -> Result<()> {
    let id = begun(&read_up_to_damage(&ctx.config.repo.join(EVIDENCE).join(rid).join("events.jsonl"))).id;
    housekeeping::remove_half_backups(ctx, rid)?;
    // A run that died before it told its id has left nothing under it.
    if id.is_empty() {
        return Ok(());
    }
    let theirs = Ctx { id: &id, ..*ctx };
    housekeeping::after_failure(&theirs, false, true)
}
