//! R0: is there a way back, before anything is changed? The backup was
//! restored and compared equal, the previous images and source are here, the
//! override is valid, and nothing blocks the swap.

use crate::acts::{Ctx, code, room};
use crate::error::{Fault, Lane, Result};
use crate::evidence::records::{Blocker, Proof, Readiness};
use crate::lkg::{LastKnownGood, Store, Target};
use crate::stand::git::Dirt;
use crate::stand::postgres;
use crate::stand::psql::{Psql, literal};
use serde::Deserialize;
use serde_json::json;

/// What the way back is made of.
pub struct Given<'a> {
    pub last: Option<&'a LastKnownGood>,
    pub head: &'a str,
    pub dirt: &'a Dirt,
    /// Why there need not be a way back, where that was said.
    pub waived: Option<&'a str>,
}

/// Prepares the way back and judges it. Without a waiver, a missing piece fails the release.
pub fn run(ctx: &Ctx<'_>, given: &Given<'_>) -> Result<Target> {
    let pg = ctx.pg("ready")?;
    let mut admin = pg.session("postgres", &ctx.app("ready"))?;
    let clone = postgres::side_name(&pg.database, "pre", ctx.id);
    let mut target = code::decide(ctx, given.last, given.head, given.dirt, &clone)?;
    target.database.clone_from(&pg.database);
    let about = json!({ "kind": target.kind, "commit": target.commit, "images": target.images.len() });
    let valid = ctx.act("ready", "prepare the way back", about, || {
        code::keep_images(ctx, "ready", &mut target)?;
        code::lay_out(ctx, "ready", &target)?;
        let (_, valid) = code::write_override(ctx, "ready", &target)?;
        Store::of(&ctx.config.repo).set_target(&target)?;
        Ok((valid, json!({ "override_valid": valid })))
    })?;
    let mut ready = Readiness {
        waived: given.waived.map(String::from),
        blockers: blockers(ctx, &mut admin, &pg.database)?,
        images: target.images.clone(),
        source: code::source_back(&target),
        override_valid: valid,
        proof_equal: ctx.run.read::<Proof>("proof.json").is_some_and(|p| p.equal),
        missing: Vec::new(),
        ok: false,
    };
    ready.missing = missing(&ready, &target);
    ready.ok = ready.missing.is_empty();
    ctx.run.write_json("readiness.json", &ready)?;
    let log = ctx.run.log("ready")?;
    for text in &ready.missing {
        log.say(&format!("no way back: {text}"));
    }
    if ready.ok || given.waived.is_some() {
        return Ok(target);
    }
    let remedies: Vec<&str> = ready.blockers.iter().map(|b| b.remedy.as_str()).collect();
    let remedy = if remedies.is_empty() { "see readiness.json".to_string() } else { remedies.join("; ") };
    Err(Fault::new("a rollback would not be possible: the release does not begin")
        .why(ready.missing.join("; "))
        .remedy(remedy)
        .lane(if ready.proof_equal { Lane::A } else { Lane::C })
        .into())
}

fn missing(ready: &Readiness, target: &Target) -> Vec<String> {
    let mut missing = Vec::new();
    if !ready.proof_equal {
        missing.push("the backup was not proved equal to its source".to_string());
    }
    for image in ready.images.iter().filter(|i| !i.present && target.running.contains(&i.service)) {
        missing.push(format!("the previous image of {} is not here: {}", image.service, image.id));
    }
    for service in &target.running {
        if !ready.images.iter().any(|i| &i.service == service) {
            missing.push(format!("no previous image of {service} is known"));
        }
    }
    if target.tree.as_ref().is_some_and(|t| !t.join(".git").exists()) {
        missing.push(format!("the previous source {} is not laid out", target.commit));
    }
    if !ready.override_valid {
        missing.push("compose does not take the rollback override".into());
    }
    missing.extend(ready.blockers.iter().map(|b| b.found.clone()));
    missing
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
fn blockers(ctx: &Ctx<'_>, admin: &mut Psql, database: &str) -> Result<Vec<Blocker>> {
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
    let free = room::of_database(ctx, "ready")?;
    let need = room::needed(admin, database)?;
    if free < need {
        add("disk", room::too_little("the database", free, need), room::MORE_ROOM);
    }
    let place = ctx.config.repo.join(&ctx.config.backup.directory);
    if let Ok(free) = fs4::available_space(&place)
        && free < c.bytes
    {
        let text = room::too_little("backups", free, c.bytes);
        add("backup-disk", text, "free space where backups lie, or set backup.directory");
    }
    if let Some(host) = remote_engine(ctx)?
        && !ctx.facts.mounts.is_empty()
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
fn remote_engine(ctx: &Ctx<'_>) -> Result<Option<String>> {
    let stand = ctx.stand("ready")?;
    let host = match std::env::var("DOCKER_HOST") {
        Ok(host) if !host.is_empty() && ctx.config.stand.context.is_empty() => host,
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
