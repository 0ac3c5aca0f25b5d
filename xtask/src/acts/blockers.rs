//! What would stop the swap, or lose something by it: asked before a change,
//! each with its remedy. Nothing is touched.

use super::room;
use crate::config::Config;
use crate::error::{Lane, Result};
use crate::evidence::records::Blocker;
use crate::stand::Stand;
use crate::stand::postgres::Pg;
use crate::stand::psql::{Psql, literal};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Catalog {
    prepared: u64,
    slots: u64,
    subscriptions: u64,
    superuser: bool,
    owner: bool,
    createdb: bool,
    signals: bool,
    version: u64,
    bytes: u64,
    cron: Option<String>,
}

/// What would stop the swap or lose something by it.
/// `mounted`: services mount the checkout. `admin` is a session of `pg`.
///
/// # Errors
/// When PostgreSQL, `df` or docker cannot be asked.
pub fn find(pg: &Pg, config: &Config, mounted: bool, admin: &mut Psql) -> Result<Vec<Blocker>> {
    let database = pg.database.as_str();
    let name = literal(database);
    let c: Catalog = admin.row(&format!(
        "SELECT (SELECT count(*) FROM pg_prepared_xacts WHERE database = {name}) AS prepared, \
         (SELECT count(*) FROM pg_replication_slots WHERE database = {name}) AS slots, \
         (SELECT count(*) FROM pg_stat_subscription s JOIN pg_subscription p ON p.oid = s.subid \
           JOIN pg_database d ON d.oid = p.subdbid WHERE d.datname = {name} AND p.subenabled) AS subscriptions, \
         r.rolsuper AS superuser, r.rolcreatedb AS createdb, \
         pg_has_role(current_user, d.datdba, 'USAGE') AS owner, \
         pg_has_role(current_user, 'pg_signal_backend', 'USAGE') AS signals, \
         current_setting('server_version_num')::int AS version, pg_database_size(d.oid) AS bytes, \
         current_setting('cron.database_name', true) AS cron \
         FROM pg_database d, pg_roles r WHERE d.datname = {name} AND r.rolname = current_user"
    ))?;
    let mut found = Vec::new();
    let mut add = |id: &str, text: String, remedy: &str| {
        found.push(Blocker { id: id.into(), found: text, remedy: remedy.into() });
    };
    if c.prepared > 0 {
        add(
            "prepared",
            format!("{} prepared transactions", c.prepared),
            "COMMIT PREPARED or ROLLBACK PREPARED each of pg_prepared_xacts",
        );
    }
    if c.slots > 0 {
        add(
            "slots",
            format!("{} logical replication slots", c.slots),
            "drop them (pg_drop_replication_slot) or move their consumers first",
        );
    }
    if c.subscriptions > 0 {
        add(
            "subscriptions",
            format!("{} enabled subscriptions", c.subscriptions),
            "ALTER SUBSCRIPTION ... DISABLE for the time of the release",
        );
    }
    if c.cron.as_deref() == Some(database) {
        add(
            "cron",
            "pg_cron is bound to this database's name".into(),
            "set cron.database_name to another database",
        );
    }
    if !(c.superuser || c.owner && c.createdb && c.signals) {
        add(
            "privileges",
            "the database's user may not rename it".into(),
            "use a superuser, or the owner with CREATEDB and pg_signal_backend",
        );
    }
    if c.version < 130_000 {
        add("version", format!("PostgreSQL {} is older than 13", c.version / 10_000), "upgrade the server");
    }
    let free = room::free_of(pg)?;
    let need = room::needed(admin, database)?;
    if free < need {
        add("disk", room::too_little("the database", free, need), room::MORE_ROOM);
    }
    let backups = config.repo.join(&config.backup.directory);
    let place = backups.ancestors().find(|p| p.exists()).unwrap_or(&config.repo);
    if let Ok(free) = fs4::available_space(place)
        && free < c.bytes
    {
        let text = room::too_little("backups", free, c.bytes);
        add("backup-disk", text, "free space where backups lie, or set backup.directory");
    }
    if let Some(host) = remote_engine(&pg.stand, config)?
        && mounted
    {
        add(
            "remote",
            format!("the engine is remote ({host}) and services mount the checkout"),
            "run the release on the engine's own machine",
        );
    }
    Ok(found)
}

/// The engine's address where it is not this machine's.
fn remote_engine(stand: &Stand, config: &Config) -> Result<Option<String>> {
    let host = match std::env::var("DOCKER_HOST") {
        Ok(host) if !host.is_empty() && config.stand.context.is_empty() => host,
        _ => {
            let call = stand.docker(["context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]);
            let finished = stand.exec.run(&call)?;
            if !finished.ok() {
                return Err(finished.fault("ask for the docker context", Lane::A).into());
            }
            finished.text().trim().to_string()
        }
    };
    Ok(Some(host).filter(|h| !(h.starts_with("unix://") || h.starts_with("npipe://") || h.is_empty())))
}
