//! Looks how far long work is, beside it: by a session of its own, which is
//! not opened for work that is done soon.

use super::Ctx;
use crate::stand::psql::{Psql, literal};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Work that is done by then is not looked at: a session costs a moment, also in a downtime.
const FIRST: Duration = Duration::from_secs(7);
/// How often it is looked at, at most.
const EVERY: Duration = Duration::from_secs(2);
/// An answer that takes longer is given up, and with it the looking.
const ANSWER: Duration = Duration::from_secs(20);

/// Does `work`, and asks `sql` in database `postgres` meanwhile; `tell` gets the columns of its one row.
/// Where nothing can be asked nothing is told: that is no failure of the work.
pub fn beside<T>(
    ctx: &Ctx<'_>,
    step: &str,
    sql: &str,
    tell: &(dyn Fn(&[u64]) + Sync),
    work: impl FnOnce() -> T,
) -> T {
    let (working, ended) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let over = |limit| !matches!(ended.recv_timeout(limit), Err(RecvTimeoutError::Timeout));
            if over(FIRST) {
                return;
            }
            let Ok(mut psql) = ctx.pg(step).and_then(|pg| pg.session("postgres", &ctx.app("watch"))) else {
                return;
            };
            loop {
                let asked = Instant::now();
                let Some(row) = row(&mut psql, sql) else { return };
                tell(&row);
                // A look at tens of thousands of files takes a moment itself: at most a tenth of the time.
                if over(EVERY.max(asked.elapsed() * 10)) {
                    return;
                }
            }
        });
        let result = work();
        drop(working);
        result
    })
}

/// Empty where there is no row at the moment; none where there will be none any more.
fn row(psql: &mut Psql, sql: &str) -> Option<Vec<u64>> {
    let lines = psql.ask(sql, ANSWER).ok()?;
    let first = lines.first().map(String::as_str).unwrap_or_default();
    Some(first.split('|').filter_map(|n| n.parse().ok()).collect())
}

/// Bytes of `copy` and of `database`.
pub fn sizes(copy: &str, database: &str) -> String {
    format!("SELECT pg_database_size({}), pg_database_size({})", literal(copy), literal(database))
}

/// Bytes of the files that a database has which is being created and is in no catalog yet, and bytes of
/// `database`. An empty directory has none; only in the default tablespace.
pub fn sizes_of_new(database: &str) -> String {
    format!(
        "SELECT coalesce(sum((pg_stat_file('base/' || d || '/' || f, true)).size), 0)::bigint, \
         pg_database_size({}) FROM (SELECT d FROM pg_ls_dir('base') d WHERE d ~ '^[0-9]+$' \
           AND NOT EXISTS (SELECT 1 FROM pg_database WHERE oid = d::oid) ORDER BY d::bigint DESC LIMIT 1) new, \
         LATERAL pg_ls_dir('base/' || d, true, false) f",
        literal(database)
    )
}

/// Table and rows of the COPY that a session is at, by its application name. The view came with 14.
pub fn copying(app: &str) -> String {
    format!(
        "SELECT c.relid::bigint, c.tuples_processed, c.bytes_processed FROM pg_stat_progress_copy c \
         JOIN pg_stat_activity a USING (pid) WHERE a.application_name = {} LIMIT 1",
        literal(app)
    )
}
