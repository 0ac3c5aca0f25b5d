//! The tables of a database, with their sizes: what sums, counts and estimates
//! are made of.

use crate::error::{Result, bail};
use crate::stand::psql::{Psql, QUESTION};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::time::Duration;

/// Sizes of a hundred thousand tables: each is a look at its files.
const LIMIT: Duration = Duration::from_secs(1800);
/// Tables below this size share statements.
const SMALL: u64 = 8 << 20;
/// That many share one: with thousands of tables the answers, not the rows, would take the time.
const TOGETHER: usize = 50;

/// A table as the catalog has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Table {
    /// `schema.table`, quoted where needed.
    pub name: String,
    pub oid: u64,
    /// The file that holds it.
    pub filenode: u64,
    /// With what is stored apart (TOAST), without indexes.
    pub bytes: u64,
    /// Pages of the table itself, where a part of them can be read without the rest; else 0.
    pub blocks: u64,
    /// About; below 0 where nobody has looked yet.
    pub rows: i64,
    /// Not in the write-ahead log.
    #[serde(default)]
    pub unlogged: bool,
}

/// Every ordinary table and partition outside the system schemas, also unlogged ones; members of
/// an extension only where the extension says that they hold configuration.
const WHERE: &str = "WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' \
     AND n.nspname !~ '^pg_' \
     AND NOT EXISTS (SELECT 1 FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid \
       WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_extension'::regclass \
       AND d.deptype = 'e' AND NOT coalesce(c.oid = ANY (e.extconfig), false))";

/// Reads them, the largest first. Reading by pages came with 14.
pub fn all(psql: &mut Psql) -> Result<Vec<Table>> {
    let sql = format!(
        "SELECT format('%I.%I', n.nspname, c.relname) AS name, c.oid::bigint AS oid, \
         c.relfilenode::bigint AS filenode, coalesce(pg_table_size(c.oid), 0) AS bytes, \
         CASE WHEN a.amname = 'heap' AND current_setting('server_version_num')::int >= 140000 \
           THEN coalesce(pg_relation_size(c.oid), 0) / current_setting('block_size')::int ELSE 0 END AS blocks, \
         c.reltuples::bigint AS rows, c.relpersistence = 'u' AS unlogged \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_am a ON a.oid = c.relam \
         {WHERE} ORDER BY 4 DESC, 1"
    );
    psql.rows(&sql, LIMIT)
}

/// The same in the order in which pg_dump writes their rows, by schema and name, with the sizes that the
/// catalog remembers: to ask for the real ones would wait for every table that somebody has locked, which
/// is for pg_dump to do, with its own patience.
pub fn as_dumped(psql: &mut Psql) -> Result<Vec<Table>> {
    let sql = format!(
        "SELECT format('%I.%I', n.nspname, c.relname) AS name, c.oid::bigint AS oid, \
         c.relfilenode::bigint AS filenode, (c.relpages + coalesce(t.relpages, 0))::bigint \
           * current_setting('block_size')::int AS bytes, 0 AS blocks, c.reltuples::bigint AS rows \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         LEFT JOIN pg_class t ON t.oid = c.reltoastrelid \
         {WHERE} ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\""
    );
    psql.rows(&sql, QUESTION)
}

/// Fails unless what was answered is about these tables, each of them.
pub fn answered<'a>(asked: &[Table], names: impl Iterator<Item = &'a str>, what: &str) -> Result<()> {
    let asked: BTreeSet<&str> = asked.iter().map(|t| t.name.as_str()).collect();
    if asked != names.collect() {
        bail!("{what} came for other tables than were asked for");
    }
    Ok(())
}

/// Where the large objects are: a table as every other.
pub fn large_objects(psql: &mut Psql) -> Result<Table> {
    psql.row(
        "SELECT 'pg_largeobject' AS name, 2613 AS oid, 0 AS filenode, pg_table_size('pg_largeobject') AS bytes, \
         CASE WHEN current_setting('server_version_num')::int >= 140000 THEN pg_relation_size('pg_largeobject') \
           / current_setting('block_size')::int ELSE 0 END AS blocks, -1 AS rows",
    )
}

/// Large tables alone, small ones together.
pub fn group(tables: Vec<Table>) -> Vec<Vec<Table>> {
    let mut groups: Vec<Vec<Table>> = Vec::new();
    for table in tables {
        match groups.last_mut() {
            Some(group) if group.len() < TOGETHER && group[0].bytes < SMALL => group.push(table),
            _ => groups.push(vec![table]),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_tables_share_a_statement_and_large_ones_do_not() {
        let table = |bytes| Table { bytes, ..Table::default() };
        let groups = group(vec![table(1 << 30), table(9 << 20), table(1), table(1), table(0)]);
        assert_eq!(groups.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 3]);
        assert_eq!(group((0..120).map(table).collect()).len(), 3);
    }
}
