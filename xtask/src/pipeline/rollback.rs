//! `rollback`: finishes or undoes an interrupted run, goes back by the undo
//! clone, or from a backup directory.

use super::finish::{self, Given as Finish};
use super::lock::Lock;
use super::open_runs::{self, OpenRun};
use super::release::failure_of;
use super::{Ending, Start, housekeeping, single, step};
use crate::acts::sums::Sums;
use crate::acts::{Ctx, app_prefix, code, fence, restore, short_id};
use crate::clock::{self, Clock};
use crate::error::{Context, Exit, Fault, Lane, Result};
use crate::evidence::records::*;
use crate::evidence::{EVIDENCE, Previous, Reached, RunDir, new_rid, read_journal, read_record};
use crate::facts::Facts;
use crate::fsx;
use crate::lkg::{Store, Target};
use crate::stand::postgres;
use crate::steps::{migrate, precheck, rollback};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What to go back to.
#[derive(Debug, Clone)]
pub enum Choice {
    /// An interrupted run: undo it.
    Recover(OpenRun),
    /// The state before the last release, by its undo clone.
    Undo { rid: String },
    /// The database of a backup directory; the code stays as it runs.
    Backup { dir: PathBuf },
}

/// A thing to go back to, for people.
#[derive(Debug, Clone)]
pub struct Offer {
    pub choice: Choice,
    pub words: String,
    /// What will be destroyed or set aside.
    pub consequences: Vec<String>,
}

/// Looks what there is to go back to. Changes nothing.
pub fn offer(start: &Start<'_>, facts: &Facts, backup: Option<&Path>) -> Result<Offer> {
    let repo = &start.config.repo;
    let store = Store::of(repo);
    let aside = "what was written since is kept in a database of its own, counted and dumped".to_string();
    if let Some(run) = open_runs::find(repo)?.into_iter().next() {
        let words = format!("undo the interrupted {} {} (last act: {})", run.command, run.rid, run.last);
        return Ok(Offer { choice: Choice::Recover(run), words, consequences: vec![aside] });
    }
    if let Some(dir) = backup {
        let dir = fsx::absolute(dir)?;
        let manifest: Value = fsx::read_json(&dir.join("manifest.json")).map_err(|e| {
            Fault::refused(format!("{} is not a backup directory", dir.display())).why(format!("{e:#}"))
        })?;
        let words =
            format!("the database as of {} from {}", manifest["ts"].as_str().unwrap_or("?"), dir.display());
        return Ok(Offer {
            choice: Choice::Backup { dir },
            words,
            consequences: vec![aside, "the code stays as it runs".into()],
        });
    }
    let last =
        store.last()?.ok_or_else(|| code::nothing_to_go_back_to("no release has passed on this stand"))?;
    let target = store.target(&last.rid).ok_or_else(|| {
        code::nothing_to_go_back_to(&format!("what was before {} is not recorded", last.rid))
    })?;
    let pg = facts.pg(start.stand, start.config)?;
    let mut admin = pg.session("postgres", "ffx-offer")?;
    let Some(row) = postgres::database(&mut admin, &target.clone)? else {
        let hint = last.backup.as_deref().unwrap_or("none");
        return Err(code::nothing_to_go_back_to(&format!(
            "the undo clone of {} is gone; its backup: {hint}",
            last.rid
        ))
        .into());
    };
    let before =
        target.previous.as_ref().map_or("the state before the first release".to_string(), |p| p.rid.clone());
    let age = clock::parse_rfc3339(&last.time).map_or(0, |t| (Clock::System.now() - t).whole_seconds());
    let words = format!(
        "{before}, by the undo clone made {} ago ({}, proved before the change)",
        clock::human_age(age),
        fsx::human_bytes(row.bytes)
    );
    Ok(Offer { choice: Choice::Undo { rid: last.rid }, words, consequences: vec![aside] })
}

/// Goes back.
pub fn rollback(start: &Start<'_>, facts: &Facts, offer: &Offer) -> Result<Ending> {
    let head = start.stand.head()?;
    let rid = new_rid("rbk", Clock::System, Some(&head));
    let mut lock = Lock::take(&facts.engine_id, &start.config.stand.project, &rid, "rollback")?;
    let (run, mut plan) = single::open(start, facts, "rbk", "rollback", &offer.words)?;
    plan.branch = start.stand.branch().unwrap_or_default();
    let recovers = match &offer.choice {
        Choice::Recover(open) => Some(original(open)),
        Choice::Undo { rid } => Some(rid.clone()),
        Choice::Backup { .. } => None,
    };
    let id = short_id(&run.rid, &clock::stamp(Clock::System.now()));
    run.journal.fact("pipeline", "run", json!({ "id": id, "command": "rollback", "recovers": recovers }))?;
    let mut facts = facts.clone();
    let outcome = step(&run, start.events, Some(start.interrupt), "rollback", || {
        go(start, &run, &mut facts, &id, &mut lock, offer, recovers.as_deref(), &head, &plan.run.time)
    });
    let done = run.read::<Rollback>("rollback.json").is_some_and(|r| r.verified);
    let failure = outcome.err().map(|f| failure_of(&f, &run));
    let store = Store::of(&start.config.repo);
    if done && let Some(of) = &recovers {
        // What was undone is no longer the last known good release; what was before it is again.
        if store.last()?.is_some_and(|l| &l.rid == of) {
            match store.target(of).and_then(|t| t.previous) {
                Some(previous) => store.set_last(&previous)?,
                None => store.clear_last()?,
            }
        }
    }
    let previous = recovers.map(|rid| Previous { rid, digest_sha256: String::new() });
    let given = Finish { started: plan.run.time.clone(), plan: &plan, previous, on_pass: None };
    Ok(finish::finish(start, &run, failure.as_ref(), given))
}

/// The release that an interrupted run was about: its own, or the one that it was recovering.
fn original(open: &OpenRun) -> String {
    let of = read_journal(&open.dir.join("events.jsonl")).ok().and_then(|lines| {
        let run = lines.iter().find(|l| l.act == "run")?;
        run.data["recovers"].as_str().map(String::from)
    });
    of.unwrap_or_else(|| open.rid.clone())
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
    lock.at("rollback");
    let record = match &offer.choice {
        Choice::Recover(open) => recover(&ctx, open, recovers.unwrap_or(&open.rid))?,
        Choice::Undo { rid } => by_clone(&ctx, rid, "asked for by the operator")?,
        Choice::Backup { dir } => from_backup(&ctx, dir)?,
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

/// Undoes an interrupted run: by what the world says, not by its journal alone.
fn recover(ctx: &Ctx<'_>, open: &OpenRun, of: &str) -> Result<Rollback> {
    let dir = ctx.config.repo.join(EVIDENCE).join(of);
    let lines = read_journal(&dir.join("events.jsonl"))?;
    let id = lines
        .iter()
        .find(|l| l.act == "run")
        .and_then(|l| l.data["id"].as_str())
        .unwrap_or_default()
        .to_string();
    let pg = ctx.pg("rollback")?;
    let mut admin = pg.session("postgres", &ctx.app("recover"))?;
    ctx.act("rollback", "end what the dead run left", json!({ "of": of }), || {
        for dead in [id.as_str(), &short_of(open)] {
            if !dead.is_empty() {
                pg.end_backends(&mut admin, &app_prefix(dead))?;
                pg.end_backends(&mut admin, &format!("ffxadmin:{dead}"))?;
            }
        }
        Ok(((), json!({})))
    })?;
    let reached = crate::evidence::reached(&lines);
    let store = Store::of(&ctx.config.repo);
    let mut record = match (reached, store.target(of)) {
        (Reached::Unchanged, _) | (_, None) => untouched(ctx, &dir, reached)?,
        (_, Some(target)) => {
            let precheck: Option<Precheck> = read_record(&dir, "precheck.json");
            let fence = fence_of(&dir, &lines, &target);
            let sums: Option<Sums> = read_record(&dir, "sums_clone.json");
            let given = rollback::Given {
                reason: &format!("{of} was interrupted"),
                target: &target,
                fence: fence.as_ref(),
                reached,
                baseline: precheck.as_ref().and_then(|p| p.baseline.as_ref()),
                clone_sums: sums.as_ref(),
                clone_sums_ms: 0,
                keep_database: None,
                recovers: Some(of),
                cited: format!("clone {} made under the fence of {of}", target.clone),
            };
            let record = rollback::run(ctx, &given);
            let theirs = Ctx { id: &target.id, ..*ctx };
            if record.verified {
                housekeeping::after_failure(&theirs, false)?;
            }
            record
        }
    };
    let theirs = Ctx { id: &id, ..*ctx };
    migrate::unstage(&theirs)?;
    housekeeping::after_failure(&theirs, !record.verified)?;
    housekeeping::remove_half_backups(ctx, of)?;
    names_of_before(ctx, &dir, reached)?;
    record.recovers = Some(of.into());
    Ok(record)
}

fn short_of(open: &OpenRun) -> String {
    let lines = read_journal(&open.dir.join("events.jsonl")).unwrap_or_default();
    let run = lines.iter().find(|l| l.act == "run");
    run.and_then(|l| l.data["id"].as_str()).unwrap_or_default().to_string()
}

/// The record of the fence, or what the journal and the world say of it.
fn fence_of(dir: &Path, lines: &[crate::evidence::Line], target: &Target) -> Option<Fence> {
    if let Some(fence) = read_record::<Fence>(dir, "fence.json") {
        return Some(fence);
    }
    let done = |act: &str| {
        lines.iter().find(|l| l.step == "change" && l.act == act && l.kind == crate::evidence::LineKind::Done)
    };
    let fence = done("fence")?;
    Some(Fence {
        database: target.database.clone(),
        live_oid: fence.data["oid"].as_u64()?,
        clone: target.clone.clone(),
        clone_oid: done("clone").and_then(|l| l.data["oid"].as_u64()).unwrap_or(0),
        xid: fence.data["xid"].as_str().unwrap_or("0").into(),
        ..Fence::default()
    })
}

/// Nothing was changed: what is there is what was there.
fn untouched(ctx: &Ctx<'_>, dir: &Path, reached: Reached) -> Result<Rollback> {
    if reached != Reached::Unchanged {
        return Err(Fault::new("the interrupted run changed the stand, and its way back is not recorded")
            .why(dir.display().to_string())
            .remedy("go back from its backup: cargo xtask rollback --backup DIR")
            .lane(Lane::A)
            .into());
    }
    let pg = ctx.pg("rollback")?;
    let mut admin = pg.session("postgres", &ctx.app("look"))?;
    let row = postgres::the_database(&mut admin, &pg.database)?;
    if !row.open {
        fence::unfence(&mut admin, &pg.database)?;
    }
    let precheck: Option<Precheck> = read_record(dir, "precheck.json");
    let smoked = crate::acts::smoke::run(
        ctx,
        "rollback",
        crate::acts::smoke::Patience::none(),
        &crate::acts::smoke::never(),
        &|_| {},
    )?;
    let lost =
        precheck.and_then(|p| p.baseline).map(|b| crate::acts::smoke::lost(&b, &smoked)).unwrap_or_default();
    let problems = lost.iter().map(|name| format!("not good again: {name}")).collect::<Vec<_>>();
    Ok(Rollback {
        source: "undo".into(),
        reason: "interrupted before anything was changed".into(),
        database: DatabaseBack {
            expected_oid: row.oid,
            live_oid: row.oid,
            open: true,
            cited: "never written to by the interrupted run".into(),
            ..DatabaseBack::default()
        },
        up: true,
        smoke: Some(smoked),
        not_green_again: lost,
        verified: problems.is_empty(),
        problems,
        broker: "not touched".into(),
        ..Rollback::default()
    })
}

/// A build that was interrupted may have moved compose's image names.
fn names_of_before(ctx: &Ctx<'_>, dir: &Path, reached: Reached) -> Result<()> {
    if reached != Reached::Unchanged {
        return Ok(());
    }
    let stand = ctx.stand("rollback")?;
    for container in stand.containers()?.iter().filter(|c| ctx.facts.built.contains(&c.service)) {
        let name = ctx.facts.model.image_name(&stand.project, &container.service);
        if dir.join("step_build.log").exists()
            && stand.image_id(&name)?.as_deref() != Some(container.image.as_str())
        {
            stand.tag(&container.image, &name)?;
        }
    }
    Ok(())
}

/// Back to before release `rid`, by its undo clone.
fn by_clone(ctx: &Ctx<'_>, rid: &str, reason: &str) -> Result<Rollback> {
    let store = Store::of(&ctx.config.repo);
    let dir = ctx.config.repo.join(EVIDENCE).join(rid);
    let target = store.target(rid).context("the state before the release is not recorded")?;
    let fence: Fence = read_record(&dir, "fence.json").context("the record of the fence is not there")?;
    let precheck: Option<Precheck> = read_record(&dir, "precheck.json");
    let sums: Option<Sums> = read_record(&dir, "sums_clone.json");
    let mut target = target;
    for image in &mut target.images {
        image.present = true;
    }
    let given = rollback::Given {
        reason,
        target: &target,
        fence: Some(&fence),
        reached: Reached::Unfenced,
        baseline: precheck.as_ref().and_then(|p| p.baseline.as_ref()),
        clone_sums: sums.as_ref(),
        clone_sums_ms: 0,
        keep_database: None,
        recovers: Some(rid),
        cited: format!("clone {} made under the fence of {rid}", target.clone),
    };
    let record = rollback::run(ctx, &given);
    if record.verified {
        let theirs = Ctx { id: &target.id, ..*ctx };
        housekeeping::after_failure(&theirs, false)?;
    }
    Ok(record)
}

/// The database of a backup directory: restored beside, proved, then the same swap.
fn from_backup(ctx: &Ctx<'_>, dir: &Path) -> Result<Rollback> {
    let found = crate::evidence::check_digest(dir)?;
    if let Some(mismatch) = found.first() {
        return Err(Fault::refused("the backup does not verify").why(mismatch.to_string()).into());
    }
    let sums: Sums = fsx::read_json(&dir.join("sums.json")).map_err(|e| {
        Fault::refused("the backup has no table sums: it cannot be proved").why(format!("{e:#}"))
    })?;
    let pg = ctx.pg("rollback")?;
    let mut admin = pg.session("postgres", &ctx.app("from-backup"))?;
    let side = postgres::side_name(&pg.database, "from", ctx.id);
    let shape = postgres::shape(&mut admin, &pg.database)?;
    let mut live = pg.session(&pg.database, &ctx.app("extensions"))?;
    let extensions = crate::acts::schema::extensions(&mut live)?;
    live.close();
    let manifest: Value = fsx::read_json(&dir.join("manifest.json"))?;
    let from = manifest["postgres"]["db_name"].as_str().unwrap_or(&pg.database).to_string();
    let archive = dir.join("db.dump");
    let what =
        restore::What { archive: &archive, side: &side, shape: &shape, from: &from, extensions: &extensions };
    let restored = restore::beside(ctx, "rollback", &mut admin, &what)?;
    let copy = restore::sums_of_closed(ctx, "rollback", &mut admin, &side)?;
    let differences = crate::acts::sums::differences(&sums, &copy);
    if !differences.is_empty() {
        postgres::drop_database(&mut admin, &side, Duration::from_secs(600))?;
        return Err(Fault::refused("the restored backup is not equal to what was backed up")
            .why(differences.join("; "))
            .into());
    }
    let store = Store::of(&ctx.config.repo);
    fsx::write_json(&store.of_release(&ctx.run.rid)?.join("properties.json"), &restored.properties)?;
    let head = ctx.stand.head()?;
    let dirt = ctx.stand.dirt()?;
    let last = store.last()?;
    let mut target = code::decide(ctx, last.as_ref(), &head, &dirt, &side)?;
    target.database.clone_from(&pg.database);
    code::keep_images(ctx, "rollback", &mut target)?;
    store.set_target(&target)?;
    let fenced = ctx.act("rollback", "fence before the swap", json!({ "database": pg.database }), || {
        let fenced = fence::fence(&mut admin, &pg.database)?;
        let data = json!({ "oid": fenced.oid });
        Ok((fenced, data))
    })?;
    let record = Fence {
        database: pg.database.clone(),
        live_oid: fenced.oid,
        clone_oid: postgres::the_database(&mut admin, &side)?.oid,
        clone: side,
        xid: fenced.xid,
        ..Fence::default()
    };
    ctx.run.write_json("fence.json", &record)?;
    let given = rollback::Given {
        reason: "asked for by the operator",
        target: &target,
        fence: Some(&record),
        reached: Reached::Unfenced,
        baseline: None,
        clone_sums: Some(&copy),
        clone_sums_ms: 0,
        keep_database: None,
        recovers: None,
        cited: format!("backup {} restored beside, sums equal", dir.display()),
    };
    Ok(rollback::run(ctx, &given))
}
