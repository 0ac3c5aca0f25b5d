//! The ways back that an operator asks for: by the undo clone, from a backup
//! directory.

use super::recover::sums_ms;
use super::tidied;
use crate::acts::privileges::{self, Donor};
use crate::acts::stored::{self, Stored};
use crate::acts::sums::{self, Sums};
use crate::acts::{Ctx, aside, code, fence, properties, restore, room, schema, target};
use crate::error::{Context, Exit, Fault, Result, fault_of, some};
use crate::evidence::records::*;
use crate::evidence::{EVIDENCE, REPLACE, Reached, read_journal, read_record};
use crate::fsx;
use crate::lkg::{LastKnownGood, Store};
use crate::pipeline::housekeeping;
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
    let lines = read_journal(&dir.join("events.jsonl"))?;
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
        clone_sums_ms: sums_ms(&lines),
        keep_database: None,
        recovers: Some(rid),
        cited: format!("clone {} made under the fence of {rid}", target.clone),
        hold,
    };
    let record = rollback::run(ctx, &given);
    if record.verified {
        let theirs = Ctx { id: &target.id, ..*ctx };
        tidied(ctx, housekeeping::after_failure(&theirs, false));
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
    let mut live = pg.session(&pg.database, &ctx.app("extensions"))?;
    let extensions = schema::extensions(&mut live)?;
    let donor = match stored.keeps_privileges() {
        true => None,
        false => privileges::donor(ctx, &stored, &privileges::all(ctx, &pg, &mut live)?)?,
    };
    let now = aside::moment(&mut live)?;
    live.close();
    let side = postgres::side_name(&pg.database, "from", ctx.id);
    let (restored, mut then) = match beside(ctx, &stored, &mut admin, &side, &extensions, donor.as_ref()) {
        Ok(both) => both,
        Err(error) => {
            postgres::drop_database(&mut admin, &side, Duration::from_secs(600))?;
            return Err(refused(error));
        }
    };
    let store = Store::of(&ctx.config.repo);
    let mut properties = vec![properties::open_to_all(&pg.database)];
    properties.extend(restored.properties);
    fsx::write_json(&store.of_release(&ctx.run.rid)?.join("properties.json"), &properties)?;
    let archive = Archive {
        dir: dir.display().to_string(),
        snapshot: aside::comparable(stored.moment.as_ref(), &now, &mut then),
        privileges_of: donor.map(|d| d.dir()),
    };
    ctx.run.write_json("sums_clone.json", &then)?;
    let mut cited = match stored.sums {
        true => format!("backup {} restored beside, sums equal", dir.display()),
        false => format!("backup {} restored beside to its end; it has no sums to compare", dir.display()),
    };
    if let Some(from) = &archive.privileges_of {
        cited.push_str(&format!("; privileges of backup {from}"));
    }
    let head = ctx.stand.head()?;
    let dirt = ctx.stand.dirt()?;
    let mut target = target::decide(ctx, code_of, &head, &dirt, &side)?;
    target.database.clone_from(&pg.database);
    let last = store.last()?.map(|l| l.rid);
    if let Some(release) = code_of.filter(|r| Some(&r.rid) != last.as_ref()) {
        // Its services that a later release did without.
        let missing = |s: &String| ctx.facts.container(s).is_none() && !target.running.contains(s);
        let gone: Vec<String> = release.images.iter().map(|(s, _)| s.clone()).filter(missing).collect();
        target.running.extend(gone);
    }
    code::keep_images(ctx, "rollback", &mut target)?;
    if let Some(gone) = target.images.iter().find(|i| !i.present && target.running.contains(&i.service)) {
        postgres::drop_database(&mut admin, &target.clone, Duration::from_secs(600))?;
        return Err(Fault::refused(format!("the image of {} is not here any more", gone.service))
            .why(gone.id.clone())
            .remedy("release that commit again, or go back to another state: cargo xtask rollback lists them")
            .into());
    }
    store.set_target(&target)?;
    let fenced = ctx.act(REPLACE.0, REPLACE.1, json!({ "database": pg.database }), || {
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
        archive: Some(archive),
        ..Fence::default()
    };
    ctx.run.write_json("fence.json", &record)?;
    let given = rollback::Given {
        reason: "asked for by the operator",
        target: &target,
        fence: Some(&record),
        reached: Reached::Unfenced,
        baseline: None,
        // Of the copy, which nobody was let into since.
        clone_sums: Some(&then),
        clone_sums_ms: u64::MAX,
        keep_database: None,
        recovers: None,
        cited,
        hold,
    };
    let record = rollback::run(ctx, &given);
    if record.verified {
        // The images that run are those that ran before: nothing goes back to their kept tags.
        tidied(ctx, housekeeping::after_failure(ctx, false));
    }
    Ok(record)
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
    fault.exit(Exit::Refused).into()
}
