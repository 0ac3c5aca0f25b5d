//! What stays and what goes after a run: the undo clone, the failed database,
//! the previous images and the last known good stay; everything else that the
//! tool made on the stand goes.

use super::open_runs;
use crate::acts::{Ctx, admin_app, aside, code, elsewhere, freeze};
use crate::error::{Lane, Result, bail};
use crate::event::Events;
use crate::evidence::DIGEST;
use crate::lkg::{Store, Target};
use crate::stand::images::{is_kept_tag, kept_tag, release_tag};
use crate::stand::postgres::{self, Pg};
use serde_json::json;
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(600);

/// After a PASS: this release's clone is the undo button; what it replaces goes.
pub fn after_pass(ctx: &Ctx<'_>, clone: Option<&str>, target: Option<&Target>) -> Result<()> {
    if let Some(target) = target {
        // Once its source is taken away nothing else names what the first release found.
        if target.previous.is_none() && target.tree.is_some() {
            ctx.stand("housekeeping")?.pin_found(&target.rid, &target.commit)?;
        }
        code::remove_gone(ctx, "housekeeping", target)?;
    }
    let pg = ctx.pg("housekeeping")?;
    let mut admin = pg.session("postgres", &ctx.app("housekeeping"))?;
    let (mut gone, mut held) = (Vec::new(), Vec::new());
    for (purpose, row) in postgres::own_databases(&mut admin, &pg.database)? {
        let keep =
            Some(row.name.as_str()) == clone || (purpose == "failed" && !aside::dumped(ctx, &row.name));
        if keep {
            continue;
        }
        // What one database is held by is no reason to leave everything else behind.
        match postgres::drop_database(&mut admin, &row.name, LIMIT) {
            Ok(()) => gone.push(row.name),
            Err(error) => held.push(format!("{}: {error:#}", row.name)),
        }
    }
    forget_others(ctx, Some(ctx.id))?;
    let trees = code::remove_unused_trees(ctx, "housekeeping", &[])?;
    ctx.run.journal.fact(
        "housekeeping",
        "after pass",
        json!({ "databases_dropped": gone, "trees_removed": trees }),
    )?;
    match held.is_empty() {
        true => Ok(()),
        false => bail!(
            "not dropped: {}; end what holds it, where that is a subscription by ALTER DATABASE .. \
             ALLOW_CONNECTIONS true and DROP SUBSCRIPTION in it: the next release that passes drops it",
            held.join("; ")
        ),
    }
}

/// Marks the clones of this checkout's runs that are settled, for other checkouts not to wait for them: who
/// dies between the last record of a run and the mark of its clone leaves it as it was. By the one who holds
/// the lock.
///
/// # Errors
/// When it cannot be asked which there are. One that cannot be marked is a warning.
pub fn mark_settled(events: &Events, pg: &Pg, repo: &Path) -> Result<()> {
    let open = open_runs::find(repo)?;
    let settled = |rid: &str| !open.iter().any(|run| run.rid == rid || run.about == rid);
    for run in elsewhere::here(pg, repo)?.iter().filter(|run| settled(&run.rid)) {
        if let Err(error) = elsewhere::ended(pg, &run.rid, &run.clone) {
            let what = format!("other checkouts wait for {}, which is settled: {error:#}", run.rid);
            events.warn("housekeeping", what);
        }
    }
    Ok(())
}

/// After a failure: nothing of this run stays but the failed database, if there is one. `alone`: nobody
/// else is at work on the stand, so that what no run needs any more can be told from what one is making.
pub fn after_failure(ctx: &Ctx<'_>, clone_stays: bool, alone: bool) -> Result<()> {
    remove_half_backups(ctx, &ctx.run.rid)?;
    let files = remove_files(ctx);
    let pg = ctx.pg("housekeeping")?;
    let mut admin = pg.session("postgres", &ctx.app("housekeeping"))?;
    // Also what a client that was killed has left at work in the server.
    pg.end_backends(&mut admin, &ctx.app(""))?;
    pg.end_backends(&mut admin, &admin_app(ctx.id))?;
    let mut gone = Vec::new();
    let mut clones = Vec::new();
    for (purpose, row) in postgres::own_databases(&mut admin, &pg.database)? {
        let ours = row.name.ends_with(ctx.id);
        // A restored backup waits for its swap as a clone does.
        let waits = purpose == "pre" || purpose == "from";
        if ours && (purpose == "proof" || (waits && !clone_stays)) {
            postgres::drop_database(&mut admin, &row.name, LIMIT)?;
            gone.push(row.name);
        } else if purpose == "pre" {
            clones.push(row.name);
        }
    }
    let trees = match clone_stays || !alone {
        true => Vec::new(),
        false => code::remove_unused_trees(ctx, "housekeeping", &[])?,
    };
    if !clone_stays {
        // Tags and frozen queues live and die with their clone, also one that had to make room, but for
        // those of a run that is open. A clone that is being made is not there yet.
        let open = if alone { open_ids(ctx)? } else { Vec::new() };
        let needed = |id: &str| open.iter().any(|o| o == id) || clones.iter().any(|c| c.ends_with(id));
        // Whether a run of another checkout needs its own still, nobody knows here.
        let known = ids_of_this_checkout(ctx);
        let lonely =
            |id: &str| id == ctx.id || alone && !needed(id) && known.iter().any(|of_ours| of_ours == id);
        drop_tags(ctx, lonely)?;
        freeze::forget_copies(ctx, "housekeeping", lonely)?;
    }
    ctx.run.journal.fact(
        "housekeeping",
        "after failure",
        json!({ "databases_dropped": gone, "trees_removed": trees }),
    )?;
    files
}

/// Removes this run's files from the database container: its SQL, and archives of which a restore was cut
/// short and nobody could be reached to take them away.
pub fn remove_files(ctx: &Ctx<'_>) -> Result<()> {
    let stand = ctx.stand("housekeeping")?;
    let container = ctx.pg("housekeeping")?.container;
    let script = r#"rm -rf /tmp/ffx_"$1"_*"#;
    let call = stand.inside(&container, &[], &["sh", "-c", script, "sh", ctx.id]);
    stand.exec.run(&call)?.success("remove this run's files from the database container", Lane::A)?;
    Ok(())
}

/// The ids of the releases that this checkout knows a way back of.
fn ids_of_this_checkout(ctx: &Ctx<'_>) -> Vec<String> {
    let store = Store::of(&ctx.config.repo);
    store.releases().iter().filter_map(|rid| store.target(rid)).map(|target| target.id).collect()
}

/// The ids of runs that are not settled: where their clone is live already, queues and images may not be
/// back yet.
fn open_ids(ctx: &Ctx<'_>) -> Result<Vec<String>> {
    let store = Store::of(&ctx.config.repo);
    let open = open_runs::find(&ctx.config.repo)?;
    Ok(open.iter().filter_map(|run| store.target(&run.about)).map(|target| target.id).collect())
}

/// A backup that was not finished has no digest; half a dump is of no use to anybody.
pub fn remove_half_backups(ctx: &Ctx<'_>, rid: &str) -> Result<()> {
    let root = ctx.config.repo.join(&ctx.config.backup.directory);
    for entry in std::fs::read_dir(&root).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_string_lossy().ends_with(&format!("_{rid}"));
        if ours && !entry.path().join(DIGEST).exists() {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Tags, frozen queues and targets of other releases.
fn forget_others(ctx: &Ctx<'_>, keep: Option<&str>) -> Result<()> {
    drop_tags(ctx, |id| Some(id) != keep)?;
    freeze::forget_others(ctx, "housekeeping", keep.unwrap_or_default())?;
    let store = Store::of(&ctx.config.repo);
    let mut all = store.releases();
    all.retain(|rid| rid != &ctx.run.rid);
    all.sort();
    let known = store.last()?.map(|l| l.rid);
    let over = all.len().saturating_sub(ctx.config.retention.backups);
    for rid in all.into_iter().take(over).filter(|r| Some(r) != known.as_ref()) {
        let stand = ctx.stand("housekeeping")?;
        for (service, _) in store.release(&rid).map(|r| r.images).unwrap_or_default() {
            stand.untag(&release_tag(&stand.project, &service, &rid))?;
        }
        store.forget(&rid)?;
        stand.unpin(&rid)?;
    }
    Ok(())
}

/// Takes away what was kept of a release that was undone before it was recorded: nothing goes back to it.
pub fn forget_unrecorded(ctx: &Ctx<'_>, rid: &str) -> Result<()> {
    let store = Store::of(&ctx.config.repo);
    if store.release(rid).is_some() || store.last()?.is_some_and(|last| last.rid == rid) {
        return Ok(());
    }
    store.forget_own(rid)?;
    let stand = ctx.stand("housekeeping")?;
    stand.unpin(rid)?;
    let tags = stand.image_tags()?;
    for service in ctx.facts.model.services() {
        let tag = release_tag(&stand.project, &service, rid);
        if tags.contains_key(&tag) {
            stand.untag(&tag)?;
        }
    }
    Ok(())
}

fn drop_tags(ctx: &Ctx<'_>, which: impl Fn(&str) -> bool) -> Result<()> {
    let stand = ctx.stand("housekeeping")?;
    // Also services that only an earlier compose file has.
    let store = Store::of(&ctx.config.repo);
    let mut services = ctx.facts.model.services();
    let targets = store.releases().into_iter().filter_map(|rid| store.target(&rid));
    services.extend(targets.flat_map(|t| t.images).map(|i| i.service));
    for name in stand.image_tags()?.keys().filter(|n| is_kept_tag(&stand.project, n)) {
        let id = name.rsplit_once("ff-prev-").map(|(_, id)| id).unwrap_or_default();
        let ours = services.iter().any(|s| kept_tag(&stand.project, s, id) == *name);
        if ours && which(id) {
            stand.untag(name)?;
        }
    }
    Ok(())
}
