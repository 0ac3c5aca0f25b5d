//! What would stop the swap, or lose something by it: asked before a change,
//! each with its remedy. Nothing is touched.

use super::room;
use crate::config::Config;
use crate::error::{Lane, Result, bail};
use crate::evidence::records::Blocker;
use crate::stand::Stand;
use crate::stand::postgres::Pg;
use crate::stand::psql::{Psql, literal};
use serde::Deserialize;

const PREPARED: &str = "prepared";
const PRIVILEGES: &str = "privileges";
const VERSION: &str = "version";
const DISK: &str = "disk";

/// Does it keep the database from being fenced or cloned? Then a release fails after the stop, also one
/// that is to have no way back.
pub fn stops_the_clone(blocker: &Blocker) -> bool {
    [PREPARED, PRIVILEGES, VERSION, DISK].contains(&blocker.id.as_str())
}

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
    let c = catalog(admin, database)?;
    let mut found = in_catalog(&c, database);
    let mut add = |id: &str, text: String, remedy: &str| {
        found.push(Blocker { id: id.into(), found: text, remedy: remedy.into() });
    };
    let free = room::free_of(pg)?;
    let need = room::needed(admin, database)?;
    if free < need {
        add(DISK, room::too_little("the database", free, need), room::MORE_ROOM);
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

/// What makes backup, proof and clone fail with words that name no cause: asked before them.
///
/// # Errors
/// When PostgreSQL cannot be asked.
pub fn for_a_release(admin: &mut Psql, database: &str) -> Result<Option<Blocker>> {
    let found = in_catalog(&catalog(admin, database)?, database);
    Ok(found.into_iter().find(|b| b.id == PRIVILEGES || b.id == VERSION))
}

/// The same for a backup alone, which renames nothing and ends no session.
///
/// # Errors
/// When PostgreSQL cannot be asked.
pub fn for_a_backup(admin: &mut Psql, database: &str) -> Result<Option<Blocker>> {
    Ok(of_a_backup(&catalog(admin, database)?, database))
}

fn of_a_backup(c: &Catalog, database: &str) -> Option<Blocker> {
    if !(c.superuser || c.owner && c.createdb) {
        return Some(Blocker {
            id: PRIVILEGES.into(),
            found: "the database's user may not restore a copy beside it".into(),
            remedy: "use a superuser, or the owner with CREATEDB (database.user)".into(),
        });
    }
    in_catalog(c, database).into_iter().find(|b| b.id == VERSION)
}

fn catalog(admin: &mut Psql, database: &str) -> Result<Catalog> {
    let name = literal(database);
    admin.row(&format!(
        "SELECT (SELECT count(*) FROM pg_prepared_xacts WHERE database = {name}) AS prepared, \
         (SELECT count(*) FROM pg_replication_slots WHERE database = {name}) AS slots, \
         (SELECT count(*) FROM pg_subscription p JOIN pg_database d ON d.oid = p.subdbid \
           WHERE d.datname = {name}) AS subscriptions, \
         r.rolsuper AS superuser, r.rolcreatedb AS createdb, \
         pg_has_role(current_user, d.datdba, 'USAGE') AS owner, \
         pg_has_role(current_user, 'pg_signal_backend', 'USAGE') AS signals, \
         current_setting('server_version_num')::int AS version, pg_database_size(d.oid) AS bytes, \
         current_setting('cron.database_name', true) AS cron \
         FROM pg_database d, pg_roles r WHERE d.datname = {name} AND r.rolname = current_user"
    ))
}

/// What the catalog tells.
fn in_catalog(c: &Catalog, database: &str) -> Vec<Blocker> {
    let mut found = Vec::new();
    let mut add = |id: &str, text: String, remedy: &str| {
        found.push(Blocker { id: id.into(), found: text, remedy: remedy.into() });
    };
    if c.prepared > 0 {
        add(
            PREPARED,
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
    // A disabled one, too: it belongs to the database's OID, so after a swap the live database is without
    // its feed and says nothing, and nobody can drop the failed one.
    if c.subscriptions > 0 {
        add(
            "subscriptions",
            format!("{} logical replication subscriptions", c.subscriptions),
            "DROP SUBSCRIPTION each and create it again after the release; to keep the publisher's slot, first \
             ALTER SUBSCRIPTION ... DISABLE and SET (slot_name = NONE)",
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
            PRIVILEGES,
            "the database's user may not rename it".into(),
            "use a superuser, or the owner with CREATEDB and pg_signal_backend",
        );
    }
    if c.version < 130_000 {
        add(VERSION, format!("PostgreSQL {} is older than 13", c.version / 10_000), "upgrade the server");
    }
    found
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
            let host = finished.text().trim().to_string();
            if !host.contains("://") {
                bail!("docker context inspect printed no address of an engine");
            }
            host
        }
    };
    Ok(Some(host).filter(|h| !(h.starts_with("unix://") || h.starts_with("npipe://"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fine() -> Catalog {
        serde_json::from_value(serde_json::json!({
            "prepared": 0, "slots": 0, "subscriptions": 0, "superuser": false, "owner": true,
            "createdb": true, "signals": true, "version": 130_000, "bytes": 1, "cron": "postgres",
        }))
        .unwrap()
    }

    #[test]
    fn each_blocker_is_found_alone() {
        assert!(in_catalog(&fine(), "db").is_empty());
        type Case = (&'static str, fn(&mut Catalog));
        let cases: [Case; 8] = [
            ("prepared", |c| c.prepared = 1),
            ("slots", |c| c.slots = 1),
            ("subscriptions", |c| c.subscriptions = 1),
            ("cron", |c| c.cron = Some("db".into())),
            ("privileges", |c| c.owner = false),
            ("privileges", |c| c.createdb = false),
            ("privileges", |c| c.signals = false),
            ("version", |c| c.version = 120_022),
        ];
        for (id, change) in cases {
            let mut c = fine();
            change(&mut c);
            let found = in_catalog(&c, "db");
            assert_eq!(found.iter().map(|b| b.id.as_str()).collect::<Vec<_>>(), [id]);
            assert!(!found[0].remedy.is_empty());
        }
        let mut c = fine();
        (c.superuser, c.owner) = (true, false);
        assert!(in_catalog(&c, "db").is_empty(), "a superuser may");
    }

    #[test]
    fn a_backup_wants_less_than_a_release() {
        type Case = (Option<&'static str>, fn(&mut Catalog));
        let cases: [Case; 5] = [
            (None, |c| (c.signals, c.prepared) = (false, 1)),
            (None, |c| (c.superuser, c.owner, c.createdb) = (true, false, false)),
            (Some(PRIVILEGES), |c| c.owner = false),
            (Some(PRIVILEGES), |c| c.createdb = false),
            (Some(VERSION), |c| c.version = 120_022),
        ];
        for (id, change) in cases {
            let mut c = fine();
            change(&mut c);
            assert_eq!(of_a_backup(&c, "db").as_ref().map(|b| b.id.as_str()), id);
        }
    }
}
