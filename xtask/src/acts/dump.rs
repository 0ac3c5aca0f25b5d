//! A dump into its file, and how far it is. What is written says little, since
//! it is compressed; the tables whose rows are written say more, by their sizes.

use super::bulk::{self, Written};
use super::tables::Table;
use super::{Ctx, watch};
use crate::error::{Fault, Lane, Result};
use crate::event::Far;
use crate::exec::{Finished, Invocation};
use std::path::Path;
use std::sync::Mutex;

/// A dump that is to be made.
pub struct Dump<'a> {
    pub step: &'a str,
    /// The database, for the screen.
    pub database: &'a str,
    /// Bytes in the database.
    pub bytes: u64,
    /// In the order in which they are dumped.
    pub tables: &'a [Table],
    /// The application name of `call`'s session.
    pub app: &'a str,
    pub call: Invocation,
}

/// How far it is.
#[derive(Default)]
struct State {
    /// Bytes of the tables that are done, by estimate.
    done: Option<u64>,
    written: u64,
}

/// Runs it. How the process ended is in the result.
pub fn into_file(ctx: &Ctx<'_>, dump: &Dump<'_>, path: &Path) -> Result<Written> {
    let pg = ctx.pg(dump.step)?;
    let total = dump.tables.iter().map(|t| t.bytes).sum();
    let state: Mutex<State> = Mutex::default();
    let tell = |change: &dyn Fn(&mut State)| {
        let mut state = state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        change(&mut state);
        match state.done {
            // Sizes that nobody has counted yet are no estimate.
            Some(done) if total > 0 => {
                let what = format!("dumping {}", dump.database);
                let far = Far { written: Some(state.written), ..Far::about(done, total) };
                ctx.progress(dump.step, &what, far);
            }
            _ => {
                let size = crate::fsx::human_bytes(dump.bytes);
                let what = format!("writing the dump of {} ({size} in the database)", dump.database);
                ctx.progress(dump.step, &what, Far { done: state.written, ..Far::default() });
            }
        }
    };
    let at = |row: &[u64]| {
        if let Some(done) = done(dump.tables, row) {
            tell(&|state| state.done = state.done.max(Some(done)));
        }
    };
    let tick = |bytes: u64| tell(&|state| state.written = bytes);
    watch::beside(ctx, dump.step, &watch::copying(dump.app), &at, || {
        bulk::into_file(path, &tick, |file| pg.stand.exec.run(&dump.call.clone().stdout(file)))
    })
}

/// Why a dump failed, and what to do where the server has too little room for its locks.
pub fn failed(finished: &Finished, database: &str) -> Fault {
    let fault = finished.fault(&format!("dump {database}"), Lane::C);
    match finished.stderr.contains("out of shared memory") {
        true => fault.remedy(
            "a dump locks every table at once: raise max_locks_per_transaction of the server, which has to be \
             restarted for it",
        ),
        false => fault,
    }
}

/// Bytes of the tables that are done when the dump is at `row`: a table, its rows that are read, and
/// how long they are as text.
fn done(tables: &[Table], row: &[u64]) -> Option<u64> {
    let [oid, rows, text] = row else { return None };
    let at = tables.iter().position(|t| t.oid == *oid)?;
    let before: u64 = tables[..at].iter().map(|t| t.bytes).sum();
    let table = &tables[at];
    let part = match u64::try_from(table.rows) {
        Ok(all @ 1..) => (table.bytes as f64 * (*rows as f64 / all as f64)) as u64,
        _ => *text,
    };
    Some(before + part.min(table.bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_is_told_by_the_table_that_the_dump_is_at() {
        let table = |oid, bytes, rows| Table { oid, bytes, rows, ..Table::default() };
        let tables = [table(7, 100, 10), table(8, 50, -1), table(9, 1000, 10)];
        assert_eq!(done(&tables, &[7, 5, 9999]), Some(50));
        assert_eq!(done(&tables, &[7, 25, 0]), Some(100), "more rows than the catalog knows of");
        assert_eq!(done(&tables, &[8, 1, 20]), Some(120), "a table that nobody has counted");
        assert_eq!(done(&tables, &[9, 1, 20]), Some(250));
        assert_eq!(done(&tables, &[10, 1, 20]), None, "not one of these");
        assert_eq!(done(&tables, &[]), None, "between two tables");
    }
}
