//! Free space where a release needs it, and what is given up for it.

use super::{Ctx, aside};
use crate::error::{Context, Fault, Lane, Result};
use crate::fsx;
use crate::lkg::Store;
use crate::stand::postgres::{self, Pg};
use crate::stand::psql::{Psql, literal};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Free bytes where it matters.
pub fn free(ctx: &Ctx<'_>) -> BTreeMap<String, u64> {
    let mut free = BTreeMap::new();
    let backups = ctx.config.repo.join(&ctx.config.backup.directory);
    let place = backups.ancestors().find(|p| p.exists()).unwrap_or(Path::new("."));
    if let Ok(bytes) = fs4::available_space(place) {
        free.insert("backups".into(), bytes);
    }
    if let Ok(bytes) = of_database(ctx, "precheck") {
        free.insert("database".into(), bytes);
    }
    free
}

/// Free bytes on the volume that holds PGDATA.
pub fn of_database(ctx: &Ctx<'_>, step: &str) -> Result<u64> {
    free_of(&ctx.pg(step)?)
}

/// The same, asked outside a run.
pub fn free_of(pg: &Pg) -> Result<u64> {
    let script = "df -Pk \"${PGDATA:-/var/lib/postgresql/data}\"";
    let call = pg.stand.inside(&pg.container, &[], &["sh", "-c", script]);
    let text = pg.stand.exec.run(&call)?.success("ask for the free space of the database", Lane::A)?.text();
    let kilobytes: u64 = text
        .lines()
        .last()
        .and_then(|l| l.split_whitespace().nth(3))
        .and_then(|n| n.parse().ok())
        .context("df printed no free space")?;
    Ok(kilobytes * 1024)
}

/// Bytes that a release needs beside what is there: a clone with some room to grow, and WAL.
pub fn needed(admin: &mut Psql, database: &str) -> Result<u64> {
    let sql = format!(
        "SELECT pg_database_size({}) * 13 / 10 + pg_size_bytes(current_setting('max_wal_size'))",
        literal(database)
    );
    admin.number(&sql).context("ask for the room that a copy needs")
}

/// Where too little is free, drops what earlier releases left: undo clones of those that passed, and
/// failed databases whose dump is as it was. One by one, until there is enough; else it is an error: a
/// disk that fills up would stop the live database, too.
pub fn make(ctx: &Ctx<'_>, step: &str, admin: &mut Psql) -> Result<()> {
    let pg = ctx.pg(step)?;
    let need = needed(admin, &pg.database)?;
    let store = Store::of(&ctx.config.repo);
    for (purpose, row) in postgres::own_databases(admin, &pg.database)? {
        if free_of(&pg)? >= need {
            break;
        }
        let of_ours = row.name.ends_with(ctx.id);
        // The way back of a run that failed and is not undone: nothing else has what it holds.
        if purpose == "pre" && of_unsettled(&store, &row.name)? {
            continue;
        }
        if of_ours || !(purpose == "pre" || purpose == "failed" && aside::dumped(ctx, &row.name)) {
            continue;
        }
        let bytes = postgres::size(admin, &row.name)?;
        ctx.act(step, "make room", json!({ "database": row.name, "bytes": bytes }), || {
            postgres::drop_database(admin, &row.name, Duration::from_secs(600))?;
            Ok(((), json!({})))
        })?;
        ctx.events.warn(step, format!("the database's disk is short: {} was dropped", row.name));
    }
    enough(ctx, step, admin)
}

/// Is it the clone of a release that has not passed?
fn of_unsettled(store: &Store, clone: &str) -> Result<bool> {
    let last = store.last()?.map(|l| l.rid);
    let targets = store.releases().into_iter().filter_map(|rid| store.target(&rid));
    let mut mine = targets.filter(|target| target.clone == clone);
    Ok(mine.any(|t| Some(&t.rid) != last.as_ref() && store.release(&t.rid).is_none()))
}

/// Is there room for a copy beside the database?
pub fn enough(ctx: &Ctx<'_>, step: &str, admin: &mut Psql) -> Result<()> {
    let pg = ctx.pg(step)?;
    let (free, need) = (free_of(&pg)?, needed(admin, &pg.database)?);
    if free >= need {
        return Ok(());
    }
    Err(Fault::new("too little room for a copy beside the database")
        .why(too_little("the database", free, need))
        .remedy(MORE_ROOM)
        .lane(Lane::A)
        .into())
}

/// Is there room for a dump? At most as large as the database: text compresses, the rest does not grow.
pub fn for_backup(place: &Path, database_bytes: u64) -> Result<()> {
    let free = fs4::available_space(place).with_context(|| format!("free space of {}", place.display()))?;
    if free >= database_bytes {
        return Ok(());
    }
    Err(Fault::new("too little room for a backup")
        .why(too_little("backups", free, database_bytes))
        .remedy("free space where backups lie, or set backup.directory")
        .lane(Lane::A)
        .into())
}

/// What to do about a full volume of the database.
pub const MORE_ROOM: &str =
    "free space on the database's volume (undo clones and failed databases: `cargo xtask status`)";

/// How much is missing, in words.
pub fn too_little(what: &str, free: u64, need: u64) -> String {
    format!("{} free for {what}, {} needed", fsx::human_bytes(free), fsx::human_bytes(need))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lkg::{LastKnownGood, Target};

    #[test]
    fn the_clone_of_a_release_that_has_not_passed_makes_no_room() {
        let repo = tempfile::tempdir().unwrap();
        let store = Store::of(repo.path());
        for rid in ["rel_passed", "rel_failed", "rel_last"] {
            let target = serde_json::json!({ "rid": rid, "id": rid, "database": "d", "clone": format!("d__pre_{rid}"),
                "kind": "release", "commit": "c", "tree": null, "mounts": [], "images": [], "running": [], "binds": [],
                "previous": null });
            let target: Target = serde_json::from_value(target).unwrap();
            std::fs::create_dir_all(store.of_release(rid).unwrap()).unwrap();
            store.set_target(&target).unwrap();
        }
        let good = |rid: &str| -> LastKnownGood {
            let good = serde_json::json!({ "rid": rid, "time": "", "head": "", "commit": "", "branch": "", "dirty": false,
                "images": [], "digest_sha256": "", "backup": null, "undo": null });
            serde_json::from_value(good).unwrap()
        };
        store.set_release(&good("rel_passed")).unwrap();
        store.set_last(&good("rel_last")).unwrap();
        for (rid, unsettled) in [
            ("rel_passed", false),
            ("rel_failed", true),
            ("rel_last", false),
            ("rel_of_another_checkout", false),
        ] {
            assert_eq!(of_unsettled(&store, &format!("d__pre_{rid}")).unwrap(), unsettled, "{rid}");
        }
    }
}
