//! What was written after the fence: counted per table in the failed database,
//! dumped, and kept.

use super::sums::Sums;
use super::tables::{self, Table};
use super::{Ctx, dump, fence};
use crate::error::{Context, Lane, Result};
use crate::event::Far;
use crate::evidence::records::{Fence, SetAside};
use crate::fsx;
use crate::stand::postgres;
use crate::stand::psql::{Psql, literal};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(6 * 3600);

#[derive(Debug, Deserialize)]
struct Count {
    name: String,
    now: u64,
    since: Option<u64>,
}

/// The state that the database went back to.
pub struct Then<'a> {
    /// Its tables, where they were summed. A file of 0 is one that is not known.
    pub sums: Option<&'a Sums>,
    pub fence: &'a Fence,
}

/// Counts per table: then, now, written since, and whether the table was rewritten; none of them
/// alone tells the truth, and what is not known is not said. Tables in which nothing moved are left out.
pub fn count(
    ctx: &Ctx<'_>,
    step: &str,
    admin: &mut Psql,
    failed: &str,
    then: &Then<'_>,
) -> Result<Vec<SetAside>> {
    let pg = ctx.pg(step)?;
    let app = ctx.app("aside");
    // A stranger in it, e.g. a monitor that looks into every database, changes nothing that counts.
    let (mut psql, _) = fence::with_door_open(admin, failed, &app, |_| pg.session(failed, &app))?;
    let tables = tables::all(&mut psql)?;
    let since = since(then.fence);
    let total = tables.iter().map(|t| t.bytes).sum();
    let mut done = 0;
    let mut counts = BTreeMap::new();
    // In one transaction for all tables the server would run out of room for its locks.
    for group in tables::group(tables.clone()) {
        let one = |t: &Table| {
            let name = literal(&t.name);
            format!("SELECT {name} AS name, count(*) AS now, {since} AS since FROM ONLY {} t", t.name)
        };
        let sql = group.iter().map(one).collect::<Vec<_>>().join("\nUNION ALL\n");
        let rows: Vec<Count> = psql.rows(&sql, LIMIT)?;
        tables::answered(&group, rows.iter().map(|c| c.name.as_str()), "counts")?;
        counts.extend(rows.into_iter().map(|c| (c.name.clone(), c)));
        done += group.iter().map(|t| t.bytes).sum::<u64>();
        ctx.progress(step, "counting what was set aside", Far::of(done, total));
    }
    psql.close();
    Ok(moved(then, &tables, &counts))
}

/// When a database was dumped, by its own clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// `xmin:xmax:xip`
    pub snapshot: String,
    /// Which database that was: cluster and OID.
    pub identity: String,
}

/// This moment in the session's database, or that of its snapshot.
pub fn moment(psql: &mut Psql) -> Result<Moment> {
    psql.row(
        "SELECT pg_current_snapshot()::text AS snapshot, system_identifier || '/' || oid AS identity \
         FROM pg_control_system(), pg_database WHERE datname = current_database()",
    )
}

/// The snapshot of a backup, where it is one of the database that is live now. In any other one ids of
/// transactions and files mean something else: those of the sums are forgotten.
pub fn comparable(backup: Option<&Moment>, live: &Moment, sums: &mut Sums) -> Option<String> {
    let same = backup.filter(|b| b.identity == live.identity);
    if same.is_none() {
        sums.values_mut().for_each(|s| s.filenode = 0);
    }
    same.map(|b| b.snapshot.clone())
}

/// How many rows of table `t` were written since the fence, or since the backup's snapshot, in SQL.
fn since(fence: &Fence) -> String {
    let snapshot = match &fence.archive {
        // Under the fence nobody was at work.
        None => Some(format!("{0}:{0}:", fence.xid)),
        Some(archive) => archive.snapshot.clone(),
    };
    snapshot.and_then(|s| after(&s)).unwrap_or_else(|| "NULL::bigint".into())
}

/// The same of a snapshot; none where it is none.
fn after(snapshot: &str) -> Option<String> {
    let mut parts = snapshot.splitn(3, ':');
    let (xmin, xmax, at_work) = (xid(parts.next()?)?, xid(parts.next()?)?, parts.next()?);
    let at_work: Vec<String> =
        at_work.split(',').filter(|x| !x.is_empty()).map(xid).collect::<Option<_>>()?;
    let late = format!("age(t.xmin) <= age({xmax})");
    if at_work.is_empty() {
        return Some(format!("count(*) FILTER (WHERE {late})"));
    }
    // Between the two ids are transactions that had ended by then and parts (savepoints) of those that had
    // not, which nothing tells apart: with rows of theirs the number is not known.
    let theirs = format!("t.xmin = ANY (ARRAY[{}])", at_work.join(", "));
    let unclear = format!("age(t.xmin) <= age({xmin}) AND NOT {late} AND NOT {theirs}");
    Some(format!(
        "CASE WHEN count(*) FILTER (WHERE {unclear}) = 0 THEN count(*) FILTER (WHERE {late} OR {theirs}) END"
    ))
}

/// A transaction id as rows have it. Compared by distance from the next one (`age`): correct across a
/// wraparound. `age` counts from one and the same id in all of a statement: with two statements the
/// writers of the live database would move it on, and the first rows would be missed.
fn xid(whole: &str) -> Option<String> {
    let id: u64 = whole.parse().ok()?;
    Some(format!("'{}'::xid", id % (1 << 32)))
}

fn moved(then: &Then<'_>, tables: &[Table], counts: &BTreeMap<String, Count>) -> Vec<SetAside> {
    let aside = |name: &str, rows: Option<u64>| {
        let (at_fence, in_backup) = if then.fence.archive.is_none() { (rows, None) } else { (None, rows) };
        SetAside { table: name.into(), at_fence, in_backup, ..SetAside::default() }
    };
    let mut found = Vec::new();
    for table in tables {
        let count = counts.get(&table.name);
        let before = then.sums.map(|s| s.get(&table.name));
        let aside = SetAside {
            now: count.map(|c| c.now),
            written_since: count.and_then(|c| c.since),
            rewritten: match before {
                Some(Some(before)) if before.filenode == 0 => None,
                Some(Some(before)) => Some(before.filenode != table.filenode),
                Some(None) => Some(false),
                None => None,
            },
            ..aside(&table.name, before.flatten().map(|b| b.rows))
        };
        let moved = aside.written_since != Some(0)
            || aside.rewritten == Some(true)
            || before.is_some_and(|b| b.map(|b| b.rows) != aside.now);
        if moved {
            found.push(aside);
        }
    }
    let there: BTreeSet<&str> = tables.iter().map(|t| t.name.as_str()).collect();
    for (name, before) in then.sums.into_iter().flatten() {
        if name != "pg_largeobject" && !there.contains(name.as_str()) {
            found.push(SetAside { rewritten: Some(true), ..aside(name, Some(before.rows)) });
        }
    }
    found
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
        let made = stream(ctx, step, admin, failed, &dir.join("db.dump"))
            .and_then(|made| read_back(ctx, step, failed, &dir.join("db.dump")).map(|()| made));
        if made.is_err() {
            // Half a dump is of no use, and the live database may need its room.
            let _ = std::fs::remove_dir_all(&dir);
        }
        let (sha256, bytes) = made?;
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

/// Reads the dump to its end: a database that is dumped goes with a later release.
fn read_back(ctx: &Ctx<'_>, step: &str, failed: &str, path: &Path) -> Result<()> {
    let read = ctx.pg(step)?.read_back(path, &ctx.app("read-failed"), LIMIT)?;
    read.success(&format!("read the dump of {failed} back"), Lane::A).map(drop)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acts::sums::Sum;
    use crate::evidence::records::Archive;
    use crate::property::hold;
    use proptest::prelude::*;

    fn sums(lines: &[(&str, u64, u64)]) -> Sums {
        let sum = |rows, filenode| Sum { rows, sum: String::new(), filenode, unlogged: false };
        lines.iter().map(|(name, rows, filenode)| ((*name).to_string(), sum(*rows, *filenode))).collect()
    }

    #[test]
    fn what_is_not_known_is_not_said_and_not_left_out() {
        let moment = |of: &str| Moment { snapshot: "7:7:".into(), identity: of.into() };
        let table = |name: &str| Table { name: name.into(), filenode: 5, ..Table::default() };
        let fence = |snapshot| {
            let archive = Archive { snapshot, ..Archive::default() };
            Fence { archive: Some(archive), ..Fence::default() }
        };
        let count = |since| {
            let name = "a".to_string();
            BTreeMap::from([(name.clone(), Count { name, now: 3, since })])
        };
        // Of the database that is live: file and transaction ids mean the same.
        let mut then = sums(&[("a", 3, 5), ("gone", 1, 6)]);
        let known = comparable(Some(&moment("x")), &moment("x"), &mut then);
        assert_eq!(known.as_deref(), Some("7:7:"));
        let fence_known = fence(known);
        let then_known = Then { sums: Some(&then), fence: &fence_known };
        let found = moved(&then_known, &[table("a")], &count(Some(0)));
        assert_eq!(found.iter().map(|a| a.table.as_str()).collect::<Vec<_>>(), ["gone"]);
        // Of another one: neither is told, and no table is called unmoved.
        for other in [Some(moment("y")), None] {
            let mut then = sums(&[("a", 3, 9)]);
            assert_eq!(comparable(other.as_ref(), &moment("x"), &mut then), None);
            let fence = fence(None);
            assert_eq!(since(&fence), "NULL::bigint");
            let found = moved(&Then { sums: Some(&then), fence: &fence }, &[table("a")], &count(None));
            let a = &found[0];
            assert_eq!((a.in_backup, a.at_fence, a.written_since, a.rewritten), (Some(3), None, None, None));
        }
    }

    #[test]
    fn a_snapshot_is_read_and_anything_else_is_none() {
        let fence = Fence { xid: "4294967300".into(), ..Fence::default() };
        assert_eq!(since(&fence), "count(*) FILTER (WHERE age(t.xmin) <= age('4'::xid))");
        let busy = after("5:9:5,7").unwrap_or_default();
        assert!(busy.contains("ARRAY['5'::xid, '7'::xid]") && busy.starts_with("CASE WHEN"), "{busy}");
        hold(500, "([0-9:,]|\\PC|'){0,20}", |text| {
            let fine = |c: char| c.is_ascii_digit() || c == ':' || c == ',';
            prop_assert!(after(&text).is_none() || text.chars().all(|c| fine(c) || c == '+'), "{:?}", text);
            Ok(())
        });
    }
}
