//! The ways back that an operator asks for: by the undo clone, from a backup
//! directory.

use super::recover::sums_ms;
use super::{instead, tidied};
use crate::acts::privileges::{self, Donor};
use crate::acts::stored::{self, Stored};
use crate::acts::sums::{self, Sums};
use crate::acts::{Ctx, aside, code, fence, properties, restore, room, schema, target};
use crate::error::{Context, Exit, Fault, Result, fault_of, some};
use crate::evidence::records::*;
use crate::evidence::{EVIDENCE, REPLACE, Reached, read_record, read_up_to_damage};
use crate::fsx;
use crate::lkg::{LastKnownGood, Store, Target};
use crate::pipeline::housekeeping;
use crate::pipeline::open_runs::OpenRun;
use crate::stand::postgres;
use crate::stand::psql::Psql;
use crate::steps::rollback::{self, Hold};
use serde_json::json;
use std::path::Path;
use std::time::Duration;

/// Back to before release `rid`, by its undo clone.
pub(super) fn by_clone(ctx: &Ctx<'_>, rid: &str, reason: &str, hold: &Hold<'_>) -> Result<Rollback> {
    let store = Store::of(&ctx.config.repo);
    let dir = ctx.config.repo.join(EVIDENCE).join(rid);
    let target = store.target(rid).context("the state before the release is not recorded")?;
    let fence: Fence = read_record(&dir, "fence.json").context("the record of the fence is not there")?;
    let precheck: Option<Precheck> = read_record(&dir, "precheck.json");
    let sums: Option<Sums> = read_record(&dir, "sums_clone.json");
    // For a duration alone.
    let lines = read_up_to_damage(&dir.join("events.jsonl"));
    let mut target = target;
    code::keep_images(ctx, "rollback", &mut target)?;
    all_here(ctx, &target)?;
    let given = rollback::Given {
        reason,
        target: &target,
        fence: Some(&fence),
        reached: Reached::Unfenced,
        baseline: precheck.as_ref().and_then(|p| p.baseline.as_ref()),
        clone_sums: sums.as_ref(),
        clone_sums_ms: sums_ms(&lines),
        keep_database: None,
        recovers: Some(rid),
        cited: format!("clone {} made under the fence of {rid}", target.clone),
        hold,
    };
    let record = rollback::run(ctx, &given);
    if record.verified {
        let theirs = Ctx { id: &target.id, ..*ctx };
        tidied(ctx, housekeeping::after_failure(&theirs, false, true));
    }
    Ok(record)
}

/// The database of a backup directory: restored beside, proved, then the same swap. `code_of` is the
/// release whose code runs with it.
pub(super) fn from_backup(
    ctx: &Ctx<'_>,
    dir: &Path,
    code_of: Option<&LastKnownGood>,
    hold: &Hold<'_>,
) -> Result<Rollback> {
    let stored = stored::read(dir).map_err(refused)?;
    let pg = ctx.pg("rollback")?;
    let mut admin = pg.session("postgres", &ctx.app("from-backup"))?;
    let open = instead::open(ctx, &pg, &mut admin)?;
    let side = postgres::side_name(&pg.database, "from", ctx.id);
    let Ready { target, copy, cited, mut fence } =
        // To restore takes long: nobody else may have come to the stand meanwhile.
        match ready(ctx, &stored, &mut admin, &side, code_of, &open).and_then(|it| hold().map(|()| it)) {
            Ok(ready) => ready,
            Err(error) => {
                // By a session of its own: the other one may be what failed.
                let dropped = pg.session("postgres", &ctx.app("drop")).and_then(|mut admin| {
                    postgres::drop_database(&mut admin, &side, Duration::from_secs(600))
                });
                tidied(ctx, dropped.and_then(|()| Store::of(&ctx.config.repo).forget(&ctx.run.rid)));
                return Err(refused(error));
            }
        };
    let fenced = ctx.act(REPLACE.0, REPLACE.1, json!({ "database": pg.database }), || {
        let fenced = fence::fence(&mut admin, &pg.database)?;
        let data = json!({ "oid": fenced.oid });
        Ok((fenced, data))
    });
    match fenced {
        Ok(fenced) => {
            fence.xid = fenced.xid;
            ctx.run.write_json("fence.json", &fence)?;
        }
        // It may be closed: what follows fences it again, and swaps.
        Err(error) => ctx.events.warn("rollback", format!("{:#}; once more", fault_of(&error))),
    }
    let given = rollback::Given {
        reason: "asked for by the operator",
        target: &target,
        fence: Some(&fence),
        reached: Reached::Unfenced,
        baseline: None,
        // Taken a moment ago, from a copy that nobody was let into since.
        clone_sums: Some(&copy),
        clone_sums_ms: u64::MAX,
        keep_database: None,
        recovers: open.first().map(|o| o.about.as_str()),
        cited,
        hold,
    };
    let mut record = rollback::run(ctx, &given);
    instead::settle(ctx, &ctx.run.rid, &mut record);
    if record.verified {
        // The images that run are those that ran before: nothing goes back to their kept tags.
        tidied(ctx, housekeeping::after_failure(ctx, false, true));
    }
    Ok(record)
}

/// What there is before the database is replaced.
struct Ready {
    target: Target,
    /// Sums of the restored copy.
    copy: Sums,
    /// What shows that it is the backup's.
    cited: String,
    fence: Fence,
}

/// Everything that can fail without a trace.
fn ready(
    ctx: &Ctx<'_>,
    stored: &Stored,
    admin: &mut Psql,
    side: &str,
    code_of: Option<&LastKnownGood>,
    open: &[OpenRun],
) -> Result<Ready> {
    let pg = ctx.pg("rollback")?;
    // A run that is open may have left it closed.
    let app = ctx.app("extensions");
    let mut live = match postgres::the_database(admin, &pg.database)?.open {
        true => pg.session(&pg.database, &app)?,
        false => fence::with_door_open(admin, &pg.database, &app, |_| pg.session(&pg.database, &app))?.0,
    };
    let extensions = schema::extensions(&mut live)?;
    let donor = match stored.keeps_privileges() {
        true => None,
        false => privileges::donor(ctx, stored, &privileges::all(ctx, &pg, &mut live)?)?,
    };
    let now = aside::moment(&mut live)?;
    live.close();
    let (restored, mut then) = beside(ctx, stored, admin, side, &extensions, donor.as_ref())?;
    let store = Store::of(&ctx.config.repo);
    let mut properties = vec![properties::open_to_all(&pg.database)];
    properties.extend(restored.properties);
    fsx::write_json(&store.of_release(&ctx.run.rid)?.join("properties.json"), &properties)?;
    let archive = Archive {
        dir: stored.dir.display().to_string(),
        snapshot: aside::comparable(stored.moment.as_ref(), &now, &mut then),
        privileges_of: donor.map(|d| d.dir()),
    };
    ctx.run.write_json("sums_clone.json", &then)?;
    let mut cited = match stored.sums {
        true => format!("backup {} restored beside, sums equal", stored.dir.display()),
        false => {
            format!("backup {} restored beside to its end; it has no sums to compare", stored.dir.display())
        }
    };
    if let Some(from) = &archive.privileges_of {
        cited.push_str(&format!("; privileges of backup {from}"));
    }
    let head = ctx.stand.head()?;
    let dirt = ctx.stand.dirt()?;
    let mut target = target::decide(ctx, code_of, &head, &dirt, side)?;
    target.database.clone_from(&pg.database);
    if let Some(open) = open.first() {
        instead::as_before(ctx, open, code_of, &mut target)?;
    }
    let last = store.last()?.map(|l| l.rid);
    if let Some(release) = code_of.filter(|r| Some(&r.rid) != last.as_ref()) {
        // Its services that a later release did without; all of them, where nothing runs: it was asked for.
        let missing = |s: &String| {
            !target.running.contains(s) && (ctx.facts.container(s).is_none() || target.running.is_empty())
        };
        let gone: Vec<String> = release.images.iter().map(|(s, _)| s.clone()).filter(missing).collect();
        target.running.extend(gone);
    }
    target::settle(ctx, &mut target);
    code::keep_images(ctx, "rollback", &mut target)?;
    all_here(ctx, &target)?;
    store.set_target(&target)?;
    let fence = Fence {
        database: pg.database.clone(),
        live_oid: postgres::the_database(admin, &pg.database)?.oid,
        clone_oid: postgres::the_database(admin, side)?.oid,
        clone: side.into(),
        xid: fence::next_xid(admin)?,
        archive: Some(archive),
        ..Fence::default()
    };
    // Before the fence: who ends this after a crash knows by it what goes where.
    ctx.run.write_json("fence.json", &fence)?;
    Ok(Ready { target, copy: then, cited, fence })
}

/// Refuses while something still serves: without an image of what ran then, or its source, nothing would.
pub(super) fn all_here(ctx: &Ctx<'_>, target: &Target) -> Result<()> {
    let gone = |what: String, why: String| {
        Fault::refused(what)
            .why(why)
            .remedy("release that commit again, or go back to another state: cargo xtask rollback lists them")
    };
    if let Some(image) = target.images.iter().find(|i| !i.present && target.running.contains(&i.service)) {
        return Err(
            gone(format!("the image of {} is not here any more", image.service), image.id.clone()).into()
        );
    }
    code::lay_out(ctx, "rollback", target).map_err(|error| {
        let commit = &target.commit[..target.commit.len().min(12)];
        gone(format!("the source of then, commit {commit}, cannot be laid out"), format!("{error:#}")).into()
    })
}

/// Restores a backup beside the live database, and compares it where it has table sums: these come back,
/// with the files that the tables had then, or else those of the copy.
fn beside(
    ctx: &Ctx<'_>,
    stored: &Stored,
    admin: &mut Psql,
    side: &str,
    extensions: &[schema::Extension],
    donor: Option<&Donor>,
) -> Result<(restore::Restored, Sums)> {
    let shape = postgres::shape(admin, &ctx.pg("rollback")?.database)?;
    let archive = stored.archive();
    let what = restore::What {
        archive: &archive,
        side,
        shape: &shape,
        from: &stored.database,
        extensions,
        views: true,
    };
    room::enough(ctx, "rollback", admin)?;
    let mut restored =
        restore::beside(ctx, "rollback", admin, &what, &mut |read| match *read == stored.dump.sha256 {
            true => Ok(()),
            false => Err(Fault::new("the dump was changed after it was verified").into()),
        })?;
    if let Some(donor) = donor {
        restored.properties.extend(donor.replay(ctx, side)?);
    }
    let copy = restore::sums_of_closed(ctx, "rollback", admin, side)?;
    if !stored.sums {
        return Ok((restored, copy));
    }
    let sums: Sums = fsx::read_json(&stored.dir.join("sums.json"))?;
    let differences = sums::differences(&sums, &copy);
    if !differences.is_empty() {
        return Err(Fault::new("the restored backup is not equal to what was backed up")
            .why(some(&differences))
            .into());
    }
    Ok((restored, sums))
}

/// The same failure, as one before which nothing was touched.
fn refused(error: anyhow::Error) -> anyhow::Error {
    let fault = fault_of(&error);
    // Who was quicker is told as in any other command.
    let exit = if fault.exit == Some(Exit::Locked) { Exit::Locked } else { Exit::Refused };
    fault.exit(exit).into()
}
