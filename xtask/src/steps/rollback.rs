//! R1 and R2: the previous version and its database back, and the proof of it.
//! Everything here asks the world before it acts, so that it can be run again
//! after it was interrupted.

mod again;
mod prove;
mod stop;

use crate::acts::sums::Sums;
use crate::acts::{
    Ctx, admin_app, aside, cluster, code, env, fence, freeze, properties, restore, stored, swap,
};
use crate::clock;
use crate::error::{Fault, Lane, Result, fault_of, some};
use crate::evidence::records::{Fence, Rollback, Smoke};
use crate::evidence::{OPEN_BACK, Reached};
use crate::fsx;
use crate::lkg::{Store, Target};
use crate::stand::postgres;
use crate::stand::psql::Psql;
use again::twice;
use serde_json::json;
use std::time::{Duration, Instant};

/// Called before each try.
pub type Hold<'a> = dyn Fn() -> Result<()> + Sync + 'a;

/// What there is to go back with.
pub struct Given<'a> {
    pub reason: &'a str,
    pub target: &'a Target,
    /// The record of the fence, where the run got that far.
    pub fence: Option<&'a Fence>,
    pub reached: Reached,
    pub baseline: Option<&'a Smoke>,
    /// Sums of the clone, where they were finished.
    pub clone_sums: Option<&'a Sums>,
    /// How long they took, in ms.
    pub clone_sums_ms: u64,
    /// Keep the database, for the reason given.
    pub keep_database: Option<&'a str>,
    /// The run that is being recovered, where it is another one.
    pub recovers: Option<&'a str>,
    /// What the database goes back to is cited by this.
    pub cited: String,
    /// Makes sure that the database answers and that no other writer is on the stand.
    pub hold: &'a Hold<'a>,
}

/// The clone is summed again before the swap when that takes no longer than this.
const SUM_AGAIN_MS: u64 = 3_000;

/// Goes back. Problems end in the record, not in an error: a rollback does as much as it can and
/// says what it could not.
pub fn run(ctx: &Ctx<'_>, given: &Given<'_>) -> Rollback {
    let start = Instant::now();
    let mut record = Rollback {
        source: match given.reached {
            Reached::Unfenced if given.keep_database.is_some() => "containers".into(),
            Reached::Unfenced if given.fence.is_some_and(|f| f.archive.is_some()) => "archive".into(),
            Reached::Unfenced => "clone".into(),
            _ => "undo".into(),
        },
        reason: given.reason.into(),
        recovers: given.recovers.map(String::from),
        to: given.target.previous.as_ref().map(|p| p.rid.clone()),
        code: Some(code::source_back(given.target)),
        env_differs: given
            .target
            .previous
            .as_ref()
            .map_or_else(Vec::new, |p| env::differences(&ctx.config.repo, &p.rid)),
        ..Rollback::default()
    };
    record.database.cited.clone_from(&given.cited);
    if given.keep_database.is_some() {
        record.database.cited = "kept: no migration ran".into();
    }
    let unfenced = given.reached == Reached::Unfenced;
    let begun = record.clone();
    let outcome = twice(ctx, given, || {
        let before = std::mem::replace(&mut record, begun.clone());
        again::carry_over(before, &mut record);
        if unfenced { swap_back(ctx, given, &mut record) } else { undo(ctx, given, &mut record) }
    });
    let outcome = outcome.and_then(|()| match given.fence {
        // The service is back: what fails from here on is no reason to stop it again.
        Some(fence) if unfenced && given.keep_database.is_none() => {
            twice(ctx, given, || set_aside(ctx, given, fence, &mut record))
        }
        _ => Ok(()),
    });
    if let Err(error) = outcome {
        let fault = fault_of(&error);
        if let Ok(log) = ctx.run.log("rollback") {
            log.say(&format!("failed: {fault}"));
        }
        record.problems.push(fault.to_string());
        record.remedy = fault.remedy;
    }
    record.ms = clock::ms_since(start);
    record.verified = record.problems.is_empty();
    record
}

/// Nothing was unfenced yet: open the database, start the same containers again, or the previous source
/// in new ones where the checkout that they mount has moved on.
fn undo(ctx: &Ctx<'_>, given: &Given<'_>, record: &mut Rollback) -> Result<()> {
    let target = given.target;
    let pg = ctx.pg("rollback")?;
    let mut admin = pg.session("postgres", &ctx.app("undo"))?;
    ctx.act(OPEN_BACK.0, OPEN_BACK.1, json!({ "database": target.database }), || {
        // A clone that is still being copied would come back after it was dropped.
        pg.end_backends(&mut admin, &admin_app(&target.id))?;
        fence::unfence(&mut admin, &target.database)?;
        postgres::drop_database(&mut admin, &target.clone, Duration::from_secs(600))?;
        Ok(((), json!({})))
    })?;
    let row = postgres::the_database(&mut admin, &target.database)?;
    record.database.expected_oid = given.fence.map_or(row.oid, |f| f.live_oid);
    record.database.live_oid = row.oid;
    record.database.open = row.open;
    record.database.cited = "never written to by this release".into();
    code::names_back(ctx, "rollback", target)?;
    stop::end_the_stop(ctx, target)?;
    if code::checkout_moved_on(ctx, "rollback", target)? {
        // The same containers would come back with the code that lies in the checkout now.
        previous_code(ctx, target, record)?;
        record.services = code::compare(ctx, "rollback", target)?.0;
    } else {
        code::start_again(ctx, "rollback", target)?;
    }
    // Copies of queues that were never touched: what stays of them is in nobody's way.
    if let Err(error) = freeze::forget_copies(ctx, "rollback", |id| id == target.id) {
        ctx.events.warn("rollback", format!("copies of the queues stay behind: {error:#}"));
    }
    prove::run(ctx, given, record)
}

/// Stop, fence, swap, properties, queues, previous images and source, smoke, prove.
fn swap_back(ctx: &Ctx<'_>, given: &Given<'_>, record: &mut Rollback) -> Result<()> {
    let target = given.target;
    let fence_record = given.fence.ok_or_else(|| {
        Fault::new("there is no record of the fence: the clone's OID is not known")
            .remedy(from_backup(ctx, target))
    })?;
    let pg = ctx.pg("rollback")?;
    let mut admin = pg.session("postgres", &ctx.app("rollback"))?;
    let failed = postgres::side_name(&target.database, "failed", &target.id);
    if given.keep_database.is_none() {
        // Before anything is stopped for it.
        find(ctx, given, &mut admin, fence_record, &failed)?;
    }
    std::thread::scope(|scope| {
        let summing = scope.spawn(|| sum_again(ctx, given, fence_record));
        let stopped = stop::stop_all(ctx, target);
        match summing.join().map_err(|_| crate::error::anyhow!("summing the clone died")).flatten() {
            Ok(None) => {}
            Ok(Some(differences)) => {
                record.database.sums_equal = Some(differences.is_empty());
                record.problems.extend((!differences.is_empty()).then(|| some(&differences)));
            }
            Err(error) => {
                ctx.events.warn("rollback", format!("the clone was not summed again: {error:#}"));
            }
        }
        stopped
    })?;
    let db_start = Instant::now();
    if given.keep_database.is_none() {
        swap_in(ctx, given, &mut admin, fence_record, &failed, record)?;
    } else {
        let row = postgres::the_database(&mut admin, &target.database)?;
        record.database.expected_oid = fence_record.live_oid;
        record.database.live_oid = row.oid;
        record.database.open = row.open;
    }
    record.db_ms = clock::ms_since(db_start);
    queues_back(ctx, given, fence_record, record)?;
    let files = previous_code(ctx, target, record)?;
    code::names_back(ctx, "rollback", target)?;
    record.removed = code::remove_failed_only(ctx, "rollback", target, &files.model)?;
    prove::run(ctx, given, record)?;
    if !fence_record.cluster.is_empty() {
        record.cluster_changed = cluster::differences(&fence_record.cluster, &cluster::read(&mut admin)?);
        for text in &record.cluster_changed {
            ctx.events.warn("rollback", format!("{text}: it belongs to the cluster and was left as it is"));
        }
    }
    let (services, problems) = code::compare(ctx, "rollback", target)?;
    record.services = services;
    record.problems.extend(problems);
    Ok(())
}

/// Starts the previous version from its own source; what it was started with.
fn previous_code(ctx: &Ctx<'_>, target: &Target, record: &mut Rollback) -> Result<code::Files> {
    code::lay_out(ctx, "rollback", target)?;
    let (files, valid) = code::write_override(ctx, "rollback", target)?;
    if !valid {
        record.problems.push("compose does not take the rollback override".into());
    }
    code::redeploy(ctx, "rollback", target, &files)?;
    Ok(files)
}

/// Sums the clone again while the failed version stops; none where there is nothing to compare with,
/// or where it would make the downtime longer.
fn sum_again(ctx: &Ctx<'_>, given: &Given<'_>, fence_record: &Fence) -> Result<Option<Vec<String>>> {
    match given.clone_sums {
        Some(before) if given.clone_sums_ms <= SUM_AGAIN_MS && given.keep_database.is_none() => {
            restore::sum_again(ctx, "rollback", &given.target.clone, fence_record.clone_oid, before)
        }
        _ => Ok(None),
    }
}

/// Queues belong to the database: where that stays, they stay as well.
fn queues_back(ctx: &Ctx<'_>, given: &Given<'_>, fence_record: &Fence, record: &mut Rollback) -> Result<()> {
    if given.keep_database.is_some() {
        record.broker = "left as they are, as the database is".into();
        return Ok(());
    }
    let thawed = freeze::thaw(ctx, "rollback", &given.target.id, &fence_record.frozen_keys)?;
    record.broker = thawed.note;
    if !thawed.lost.is_empty() {
        record.broker.push_str(&format!("; lost: {}", thawed.lost.join(", ")));
        record.problems.push(format!(
            "queues that were set aside are not in Redis any more, with the tasks that waited in them: {}; \
             enqueue what is missing by hand, then cargo xtask rollback settles the rest",
            thawed.lost.join(", ")
        ));
    }
    Ok(())
}

fn names<'a>(target: &'a Target, fence_record: &Fence, failed: &'a str) -> swap::Names<'a> {
    swap::Names { live: &target.database, copy: &target.clone, copy_oid: fence_record.clone_oid, failed }
}

/// Where the copy is that goes in; an error where nobody has it any more.
fn find(
    ctx: &Ctx<'_>,
    given: &Given<'_>,
    admin: &mut Psql,
    fence_record: &Fence,
    failed: &str,
) -> Result<swap::Where> {
    let target = given.target;
    match swap::find(admin, names(target, fence_record, failed))? {
        swap::Where::Lost { named } => Err(Fault::new(format!("the clone {} is gone", target.clone))
            .why(match named {
                Some(name) => format!("it was live since, and a later run has set it aside as {name}"),
                None => format!("no database has OID {}", fence_record.clone_oid),
            })
            .remedy(from_backup(ctx, target))
            .lane(Lane::C)
            .into()),
        found => Ok(found),
    }
}

fn from_backup(ctx: &Ctx<'_>, target: &Target) -> String {
    format!("go back from the backup: {}", stored::way_back(&ctx.config.repo, &target.rid))
}

fn swap_in(
    ctx: &Ctx<'_>,
    given: &Given<'_>,
    admin: &mut Psql,
    fence_record: &Fence,
    failed: &str,
    record: &mut Rollback,
) -> Result<()> {
    let target = given.target;
    let live = &target.database;
    let names = names(target, fence_record, failed);
    record.database.expected_oid = fence_record.clone_oid;
    ctx.act("rollback", "fence", json!({ "database": live }), || {
        let already = matches!(swap::find(admin, names)?, swap::Where::Swapped { .. });
        if let (false, Some(row)) = (already, postgres::database(admin, live)?) {
            fence::fence(admin, &row.name)?;
        }
        Ok(((), json!({ "already_swapped": already })))
    })?;
    ctx.act("rollback", "swap", json!({ "live": live, "clone": target.clone, "failed": failed }), || {
        if find(ctx, given, admin, fence_record, failed)? == swap::Where::Waiting {
            postgres::allow_connections(admin, &target.clone, false)?;
            postgres::end_sessions(admin, &target.clone, Duration::from_secs(30))?;
            swap::swap(admin, names)?;
        }
        Ok(((), json!({ "oid": fence_record.clone_oid })))
    })?;
    let row = postgres::the_database(admin, live)?;
    record.database.live_oid = row.oid;
    record.database.sums_taken = given.clone_sums.is_some();
    let store = Store::of(&ctx.config.repo);
    let statements: Vec<String> =
        fsx::read_json(&store.of_release(&target.rid)?.join("properties.json")).unwrap_or_default();
    if statements.is_empty() {
        record.problems.push(
            "the properties of the database are not known: owner, grants and settings were not replayed"
                .into(),
        );
    }
    ctx.act("rollback", "replay properties", json!({ "statements": statements.len() }), || {
        // The clone's own description goes; that of the database comes with its properties.
        postgres::comment(admin, live, None)?;
        properties::replay(admin, &statements)?;
        Ok(((), json!({})))
    })?;
    record.database.properties_replayed = statements.len() as u64;
    ctx.act(OPEN_BACK.0, OPEN_BACK.1, json!({ "database": live }), || {
        fence::unfence(admin, live)?;
        Ok(((), json!({})))
    })?;
    record.database.open = true;
    Ok(())
}

/// After the service is back: what was written since the fence is counted and dumped.
fn set_aside(ctx: &Ctx<'_>, given: &Given<'_>, fence_record: &Fence, record: &mut Rollback) -> Result<()> {
    let failed = &postgres::side_name(&given.target.database, "failed", &given.target.id);
    let mut admin = ctx.pg("rollback")?.session("postgres", &ctx.app("set-aside"))?;
    if postgres::database(&mut admin, failed)?.is_none() {
        record.problems.push(format!("the failed database {failed} is not there"));
        return Ok(());
    }
    record.failed_database = Some(failed.into());
    postgres::allow_connections(&mut admin, failed, false)?;
    postgres::end_sessions(&mut admin, failed, Duration::from_secs(30))?;
    ctx.events
        .note("rollback", format!("service is back; counting and dumping what was set aside in {failed}"));
    record.set_aside = ctx.act("rollback", "count rows set aside", json!({ "database": failed }), || {
        let then = aside::Then { sums: given.clone_sums, fence: fence_record };
        let rows = aside::count(ctx, "rollback", &mut admin, failed, &then)?;
        let tables = rows.len();
        Ok((rows, json!({ "tables": tables })))
    })?;
    record.failed_dump = Some(aside::dump(ctx, "rollback", &mut admin, failed)?);
    Ok(())
}
