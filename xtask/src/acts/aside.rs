//! What was written after the fence: counted per table in the failed database,
//! dumped, and kept.

use super::sums::Sums;
use super::tables::{self, Table};
use super::{Ctx, dump, fence};
use crate::error::{Context, Result};
use crate::event::Far;
use crate::evidence::records::SetAside;
use crate::fsx;
use crate::stand::postgres;
use crate::stand::psql::{Psql, literal};
use serde::Deserialize;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(6 * 3600);

#[derive(Debug, Deserialize)]
struct Count {
    name: String,
    now: u64,
    since: u64,
}

/// Counts per table: at the fence, now, written since, and whether the table was rewritten; none
/// of them alone tells the truth. Tables in which nothing moved are left out.
pub fn count(
    ctx: &Ctx<'_>,
    step: &str,
    admin: &mut Psql,
    failed: &str,
    at_fence: Option<&Sums>,
    xid: &str,
) -> Result<Vec<SetAside>> {
    let pg = ctx.pg(step)?;
    let app = ctx.app("aside");
    // A stranger in it, e.g. a monitor that looks into every database, changes nothing that counts.
    let (mut psql, _) = fence::with_door_open(admin, failed, &app, |_| pg.session(failed, &app))?;
    let tables = tables::all(&mut psql)?;
    // As distances from the next transaction id: correct across a wraparound. The fence's is told in the
    // same statement: `age` counts from one and the same transaction id in all of it. Apart, the writers
    // of the live database would move it on, and the first rows after the fence would be missed. In one
    // transaction for all tables the server would run out of room for its locks.
    let fence = format!("age(({}::numeric % 4294967296)::text::xid)", literal(xid));
    let total = tables.iter().map(|t| t.bytes).sum();
    let mut done = 0;
    let mut counts = BTreeMap::new();
    for group in tables::group(tables.clone()) {
        let one = |t: &Table| {
            format!(
                "SELECT {} AS name, count(*) AS now, count(*) FILTER (WHERE age(t.xmin) <= {fence}) AS since FROM ONLY {} t",
                literal(&t.name),
                t.name
            )
        };
        let sql = group.iter().map(one).collect::<Vec<_>>().join("\nUNION ALL\n");
        let rows: Vec<Count> = psql.rows(&sql, LIMIT)?;
        tables::answered(&group, rows.iter().map(|c| c.name.as_str()), "counts")?;
        counts.extend(rows.into_iter().map(|c| (c.name.clone(), c)));
        done += group.iter().map(|t| t.bytes).sum::<u64>();
        ctx.progress(step, "counting what was set aside", Far::of(done, total));
    }
    psql.close();
    let mut found = Vec::new();
    for table in &tables {
        let count = counts.get(&table.name);
        let before = at_fence.and_then(|s| s.get(&table.name));
        let aside = SetAside {
            table: table.name.clone(),
            at_fence: before.map(|b| b.rows),
            now: count.map(|c| c.now),
            written_since: count.map(|c| c.since),
            rewritten: before.is_some_and(|b| b.filenode != table.filenode),
        };
        let moved = aside.written_since != Some(0)
            || aside.rewritten
            || (at_fence.is_some() && aside.at_fence != aside.now);
        if moved {
            found.push(aside);
        }
    }
    let there: BTreeSet<&str> = tables.iter().map(|t| t.name.as_str()).collect();
    for (name, before) in at_fence.into_iter().flatten() {
        if name != "pg_largeobject" && !there.contains(name.as_str()) {
            let at_fence = Some(before.rows);
            found.push(SetAside {
                table: name.clone(),
                at_fence,
                now: None,
                written_since: None,
                rewritten: true,
            });
        }
    }
    Ok(found)
}

/// Was this failed database dumped, and is the dump as it was?
pub fn dumped(ctx: &Ctx<'_>, failed: &str) -> bool {
    let dir = ctx.config.repo.join(&ctx.config.backup.directory).join(failed);
    crate::evidence::check_digest(&dir).is_ok_and(|found| found.is_empty())
}

/// Dumps the failed database into a directory of its own; returns it relative to the checkout.
pub fn dump(ctx: &Ctx<'_>, step: &str, admin: &mut Psql, failed: &str) -> Result<String> {
    let relative = format!("{}/{failed}", ctx.config.backup.directory);
    let dir = ctx.config.repo.join(&relative);
    ctx.act(step, "dump failed database", json!({ "database": failed, "dir": relative }), || {
        fsx::ignored_dir(&ctx.config.repo.join(&ctx.config.backup.directory))?;
        if dir.join(crate::evidence::DIGEST).exists() {
            return Ok(((), json!({ "already": true })));
        }
        if dir.exists() {
            std::fs::remove_dir_all(&dir).with_context(|| format!("begin {} anew", dir.display()))?;
        }
        fsx::private_dir(&dir)?;
        let (sha256, bytes) = stream(ctx, step, admin, failed, &dir.join("db.dump"))?;
        let manifest = json!({
            "what": "the database that a rollback replaced: everything written to it, also after the fence",
            "database": failed, "rid": ctx.run.rid, "dump": "db.dump", "sha256": sha256, "bytes": bytes,
        });
        fsx::write_json(&dir.join("manifest.json"), &manifest)?;
        crate::evidence::write_digest(&dir)?;
        Ok(((), json!({ "sha256": sha256, "bytes": bytes })))
    })?;
    Ok(relative)
}

fn stream(ctx: &Ctx<'_>, step: &str, admin: &mut Psql, failed: &str, path: &Path) -> Result<(String, u64)> {
    let pg = ctx.pg(step)?;
    let app = ctx.app("dump-failed");
    // pg_dump connects once; the door is closed behind it by a thread that sees it inside.
    let call =
        pg.dump(failed, &app, None, ctx.config.backup.compression, ctx.config.backup.lock_wait_s, LIMIT);
    let bytes = postgres::size(admin, failed)?;
    let (tables, _) = fence::with_door_open(admin, failed, &app, |_| {
        tables::as_dumped(&mut pg.session(failed, &format!("{app}-tables"))?)
    })?;
    let what = dump::Dump { step, database: failed, bytes, tables: &tables, app: &app, call };
    postgres::allow_connections(admin, failed, true)?;
    let result = std::thread::scope(|scope| {
        let dumping = scope.spawn(|| dump::into_file(ctx, &what, path));
        let inside = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = {} AND application_name = {}",
            literal(failed),
            literal(&app)
        );
        while !dumping.is_finished() {
            match admin.value(&inside) {
                Ok(Some(n)) if n != "0" => break,
                Ok(_) => std::thread::sleep(Duration::from_millis(10)),
                Err(_) => break,
            }
        }
        let closed = postgres::allow_connections(admin, failed, false);
        let finished = dumping.join().map_err(|_| crate::error::anyhow!("dumping died"))?;
        closed?;
        finished
    });
    let written = result?;
    if !written.finished.ok() {
        return Err(dump::failed(&written.finished, failed).into());
    }
    Ok((written.sha256, written.bytes))
}
