//! One line for each table: how many rows, and a sum over the hashes of their
//! text. Equal lines mean equal content, whatever the order of rows.

use crate::error::{Context, Result, anyhow, bail};
use crate::stand::postgres::Pg;
use crate::stand::psql::{Psql, literal};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

/// A table's line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    pub rows: u64,
    /// A sum of 64-bit hashes, exact (numeric); empty for no rows.
    pub sum: String,
    /// The file that holds the table: another one means that it was rewritten.
    pub filenode: u64,
}

/// `schema.table`, quoted where needed, to its line.
pub type Sums = BTreeMap<String, Sum>;

/// Hours, not minutes: a large table is one statement.
const LIMIT: Duration = Duration::from_secs(12 * 3600);

#[derive(Debug, Clone, Deserialize)]
struct Table {
    name: String,
    filenode: u64,
    bytes: u64,
}

#[derive(Debug, Deserialize)]
struct Line {
    name: String,
    rows: u64,
    sum: Option<String>,
}

/// Every ordinary table and partition outside the system schemas, also unlogged ones; members of
/// an extension only where the extension says that they hold configuration.
const TABLES: &str = "SELECT format('%I.%I', n.nspname, c.relname) AS name, c.relfilenode::bigint AS filenode, \
     pg_relation_size(c.oid) AS bytes \
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' \
     AND n.nspname !~ '^pg_' \
     AND NOT EXISTS (SELECT 1 FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid \
       WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_extension'::regclass \
       AND d.deptype = 'e' AND NOT coalesce(c.oid = ANY (e.extconfig), false)) \
     ORDER BY 3 DESC, 1";

/// Opens the sessions that sums need: within `snapshot`, or on their own.
pub fn open(pg: &Pg, database: &str, app: &str, snapshot: Option<&str>, count: usize) -> Result<Vec<Psql>> {
    (0..count.max(1))
        .map(|number| {
            let mut psql = pg.session(database, &format!("{app}{number}"))?;
            psql.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
            if let Some(snapshot) = snapshot {
                psql.run(&format!("SET TRANSACTION SNAPSHOT {}", literal(snapshot)))?;
            }
            Ok(psql)
        })
        .collect()
}

/// Sums every table, on all sessions at once. `tick` is told the bytes done and the bytes in all.
pub fn take(sessions: &mut [Psql], tick: &(dyn Fn(u64, u64) + Sync)) -> Result<Sums> {
    let first = sessions.first_mut().context("no session to sum with")?;
    let tables: Vec<Table> = first.rows(TABLES, LIMIT)?;
    let total: u64 = tables.iter().map(|t| t.bytes).sum();
    let filenodes: BTreeMap<String, u64> = tables.iter().map(|t| (t.name.clone(), t.filenode)).collect();
    let groups = Mutex::new(group(tables).into_iter());
    let done = Mutex::new((Sums::new(), 0u64));
    let results: Vec<Result<()>> = std::thread::scope(|scope| {
        let workers: Vec<_> = sessions
            .iter_mut()
            .map(|psql| {
                scope.spawn(|| {
                    loop {
                        let next = lock(&groups).next();
                        let Some(tables) = next else { return Ok(()) };
                        let lines: Vec<Line> = psql.rows(&statement(&tables), LIMIT)?;
                        let asked: BTreeSet<&str> = tables.iter().map(|t| t.name.as_str()).collect();
                        if asked != lines.iter().map(|l| l.name.as_str()).collect() {
                            bail!("sums came for other tables than were asked for");
                        }
                        let mut state = lock(&done);
                        for line in lines {
                            let filenode = filenodes.get(&line.name).copied().unwrap_or(0);
                            let sum = line.sum.unwrap_or_default();
                            state.0.insert(line.name, Sum { rows: line.rows, sum, filenode });
                        }
                        state.1 += tables.iter().map(|t| t.bytes).sum::<u64>();
                        tick(state.1, total);
                    }
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|w| w.join().unwrap_or_else(|_| Err(anyhow!("a summing thread died"))))
            .collect()
    });
    results.into_iter().collect::<Result<()>>()?;
    let (mut sums, _) = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let psql = sessions.first_mut().context("no session to sum with")?;
    let large: Vec<Line> = psql.rows(LARGE_OBJECTS, LIMIT)?;
    if large.len() != 1 {
        bail!("{} sums came for the large objects", large.len());
    }
    for line in large {
        sums.insert(line.name, Sum { rows: line.rows, sum: line.sum.unwrap_or_default(), filenode: 0 });
    }
    // A session whose snapshot died has been answering from elsewhere.
    for psql in sessions {
        psql.alive()?;
    }
    Ok(sums)
}

const LARGE_OBJECTS: &str = "SELECT 'pg_largeobject' AS name, count(*) AS rows, \
     sum(hashtextextended((t.*)::text COLLATE \"C\", 0)::numeric)::text AS sum FROM pg_largeobject t";

fn statement(tables: &[Table]) -> String {
    let one = |t: &Table| {
        format!(
            "SELECT {} AS name, count(*) AS rows, \
             sum(hashtextextended((t.*)::text COLLATE \"C\", 0)::numeric)::text AS sum FROM ONLY {} t",
            literal(&t.name),
            t.name
        )
    };
    tables.iter().map(one).collect::<Vec<_>>().join("\nUNION ALL\n")
}

/// Large tables alone, small ones up to fifty in one statement: with thousands of tables the
/// answers, not the rows, would take the time.
fn group(tables: Vec<Table>) -> Vec<Vec<Table>> {
    let mut groups: Vec<Vec<Table>> = Vec::new();
    for table in tables {
        match groups.last_mut() {
            Some(group) if group.len() < 50 && group[0].bytes < 8 << 20 => group.push(table),
            _ => groups.push(vec![table]),
        }
    }
    groups
}

/// The names of tables whose lines differ, or that only one side has.
pub fn differences(source: &Sums, copy: &Sums) -> Vec<String> {
    let mut found = Vec::new();
    for (name, line) in source {
        match copy.get(name) {
            None => found.push(format!("table {name} is not in the copy")),
            Some(other) if other.rows != line.rows => {
                found.push(format!("table {name}: {} rows, the copy has {}", line.rows, other.rows));
            }
            Some(other) if other.sum != line.sum => found.push(format!("table {name}: other content")),
            Some(_) => {}
        }
    }
    found.extend(
        copy.keys().filter(|n| !source.contains_key(*n)).map(|n| format!("table {n} is only in the copy")),
    );
    found
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(lines: &[(&str, u64, &str)]) -> Sums {
        lines
            .iter()
            .map(|(n, rows, sum)| ((*n).to_string(), Sum { rows: *rows, sum: (*sum).into(), filenode: 1 }))
            .collect()
    }

    #[test]
    fn every_kind_of_difference_is_named() {
        let source = sums(&[("a", 1, "5"), ("b", 2, "6"), ("c", 3, "7")]);
        assert!(differences(&source, &source).is_empty());
        let copy = sums(&[("a", 2, "5"), ("b", 2, "66"), ("d", 0, "")]);
        let found = differences(&source, &copy);
        assert_eq!(found.len(), 4, "{found:?}");
    }

    #[test]
    fn a_rewritten_table_with_the_same_rows_is_equal() {
        let source = sums(&[("a", 1, "5")]);
        let mut copy = source.clone();
        copy.get_mut("a").unwrap().filenode = 9;
        assert!(differences(&source, &copy).is_empty());
    }

    #[test]
    fn small_tables_share_a_statement_and_large_ones_do_not() {
        let table = |bytes| Table { name: "x".into(), filenode: 1, bytes };
        let groups = group(vec![table(1 << 30), table(9 << 20), table(1), table(1), table(0)]);
        assert_eq!(groups.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 3]);
    }
}
