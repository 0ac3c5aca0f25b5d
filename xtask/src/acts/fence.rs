//! The fence keeps everybody out of the database; the clone that is copied
//! under it is the state to go back to.

use crate::error::{Fault, Lane, Result};
use crate::stand::postgres::{self, Pg};
use crate::stand::psql::{Psql, ident};
use std::time::Duration;

/// How long sessions have to end once they are told to.
const SESSIONS: Duration = Duration::from_secs(30);
/// A clone is a file copy: hours would mean terabytes.
const CLONE: Duration = Duration::from_secs(4 * 3600);

/// What stands when the fence stands.
#[derive(Debug, Clone)]
pub struct Fenced {
    pub oid: u64,
    pub sessions_ended: u64,
    /// The first transaction id that was not yet used.
    pub xid: String,
}

/// Closes the database and ends its sessions. The fence, not the stopped services, is the
/// guarantee: it holds for psql, pgAdmin and containers that come back.
pub fn fence(admin: &mut Psql, database: &str) -> Result<Fenced> {
    postgres::allow_connections(admin, database, false)?;
    let sessions_ended = postgres::end_sessions(admin, database, SESSIONS)?;
    let row = postgres::the_database(admin, database)?;
    if row.open {
        return Err(Fault::new(format!("{database} accepts connections again"))
            .why("somebody opened it while it was being fenced")
            .lane(Lane::C)
            .into());
    }
    Ok(Fenced { oid: row.oid, sessions_ended, xid: next_xid(admin)? })
}

/// The first transaction id that is not yet used.
pub fn next_xid(admin: &mut Psql) -> Result<String> {
    Ok(admin.number("SELECT pg_snapshot_xmax(pg_current_snapshot())")?.to_string())
}

/// Copies the fenced database, file by file. Returns the clone's OID.
pub fn clone(admin: &mut Psql, pg: &Pg, database: &str, clone: &str) -> Result<u64> {
    let version = server_version(admin)?;
    let strategy = if version >= 150_000 { " STRATEGY file_copy" } else { "" };
    admin.ask(
        &format!(
            "CREATE DATABASE {} TEMPLATE {}{strategy} ALLOW_CONNECTIONS false",
            ident(clone),
            ident(database)
        ),
        CLONE,
    )?;
    let row = postgres::the_database(admin, clone)?;
    let still = postgres::the_database(admin, database)?;
    if row.open || still.open {
        let what = format!("{clone} or {database} accepts connections: the clone is no state to go back to");
        return Err(Fault::new(what).lane(Lane::C).why(pg.container.clone()).into());
    }
    Ok(row.oid)
}

/// Opens the database again, and shows that it is.
pub fn unfence(admin: &mut Psql, database: &str) -> Result<()> {
    postgres::allow_connections(admin, database, true)?;
    if !postgres::the_database(admin, database)?.open {
        return Err(Fault::new(format!("{database} does not accept connections")).lane(Lane::C).into());
    }
    Ok(())
}

/// 150018 for 15.18.
pub fn server_version(admin: &mut Psql) -> Result<u64> {
    admin.number("SELECT current_setting('server_version_num')")
}

/// Opens a closed database for sessions of our own and closes it behind them. Whoever else slipped
/// in meanwhile is ended: how many, comes back with the sessions. `open` makes them and returns when
/// they are connected; their application names must begin with `app`.
pub fn with_door_open<T>(
    admin: &mut Psql,
    database: &str,
    app: &str,
    open: impl FnOnce(&mut Psql) -> Result<T>,
) -> Result<(T, u64)> {
    postgres::allow_connections(admin, database, true)?;
    let opened = open(admin);
    postgres::allow_connections(admin, database, false)?;
    let opened = opened?;
    let strangers = admin.number(&format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = {} \
         AND backend_type = 'client backend' AND left(application_name, {}) <> {}",
        crate::stand::psql::literal(database),
        app.chars().count(),
        crate::stand::psql::literal(app)
    ))?;
    Ok((opened, strangers))
}
