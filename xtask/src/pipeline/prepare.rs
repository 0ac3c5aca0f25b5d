//! Looks at everything and makes the plan of a release. Changes nothing.

use super::standing::{self, Standing};
use super::{Start, lock, open_runs};
use crate::acts::script::Engine;
use crate::acts::{elsewhere, room, scan};
use crate::clock::{self, Clock};
use crate::config::allow::Allowed;
use crate::error::{Context, Fault, Result};
use crate::evidence::{self, DIGEST, EVIDENCE, free_rid, new_rid};
use crate::facts::{self, Facts};
use crate::fsx;
use crate::lkg::{LastKnownGood, Store};
use crate::plan::{Inputs, Plan, Waivers};
use crate::stand::git::Dirt;
use crate::stand::postgres;
use crate::steps::migrate;
use std::collections::BTreeMap;

/// What the command line says of a release.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub waivers: Waivers,
    pub rid: Option<String>,
    pub devtasks: Vec<String>,
}

/// Everything that is known before anything is done.
pub struct Prepared {
    pub facts: Facts,
    pub plan: Plan,
    pub dirt: Dirt,
    pub standing: Standing,
    pub head: String,
    pub last: Option<LastKnownGood>,
    pub options: Options,
    /// Findings of the secret scan that are none.
    pub allow: Vec<Allowed>,
}

/// Looks at everything and makes the plan. Changes nothing.
pub fn prepare(start: &Start<'_>, options: Options) -> Result<Prepared> {
    check_waivers(&options.waivers)?;
    let stand = start.stand;
    let allow = scan::allowed(stand, &start.config.repo)?;
    let engine = match &options.waivers.skip_backup {
        Some(reason) => Engine::Native { why: reason.clone() },
        None => Engine::of(start.config, &stand.exec)?,
    };
    let mut facts = facts::gather(stand, start.config)?;
    facts.versions.extend(facts::more_versions(stand));
    facts.versions.extend(engine.version(&stand.exec).map(|v| ("pwsh".into(), v)));
    facts::learn_secrets(stand, &facts.model);
    let pg = facts.pg(stand, start.config).ok();
    lock::refuse_if_held(&facts.engine_id, &start.config.stand.project, pg.as_ref())?;
    let unsettled =
        open_runs::refuse_release(&start.config.repo, options.waivers.rollback_enabled(start.config))?;
    if let Some(pg) = &pg {
        elsewhere::refuse(pg, &start.config.repo)?;
    }
    let head = stand.head()?;
    let dirt = stand.dirt()?;
    let store = Store::of(&start.config.repo);
    let last = store.last()?;
    let now = Clock::System;
    let rid = match &options.rid {
        Some(rid) => {
            evidence::check_rid(rid)?;
            rid.clone()
        }
        None => free_rid(&start.config.repo.join(EVIDENCE), new_rid("rel", now, Some(&head))),
    };
    let standing = standing::look(start, &facts, last.as_ref(), &dirt)?;
    let mut inputs = Inputs {
        commit: head.clone(),
        branch: stand.branch()?,
        dirty: dirt.edited(),
        migrations: migrate::resolve(stand, &head, &start.config.migrate.files)?,
        verify: migrate::resolve(stand, &head, &start.config.migrate.verify)?,
        base_images: base_images(start, &facts)?,
        last: last.clone(),
        rid,
        time: clock::rfc3339(now.now()),
        database_bytes: None,
        tables: 0,
        drops: Vec::new(),
        short_of_disk: false,
        script: matches!(engine, Engine::Script { .. }),
        warnings: standing.words(),
    };
    inputs.warnings.extend(unsettled.iter().map(|run| {
        format!(
            "{} {} {}: once this release has passed, the state before that one is gone; \
             `cargo xtask rollback` brings it back instead",
            run.command,
            run.rid,
            run.words()
        )
    }));
    if let Ok(pg) = facts.pg(stand, start.config) {
        let mut psql = pg
            .session(&pg.database, "ffx-plan")
            .with_context(|| format!("look at database {}", pg.database))?;
        inputs.database_bytes = Some(psql.number("SELECT pg_database_size(current_database())")?);
        inputs.tables = psql.number("SELECT count(*) FROM pg_class WHERE relkind IN ('r','i','t')")?;
        let version = psql.value("SELECT current_setting('server_version')")?.unwrap_or_default();
        facts.versions.insert("postgres".into(), version);
        facts.database.clone_from(&pg.database);
        let own = postgres::own_databases(&mut psql, &pg.database)?;
        let backups = start.config.repo.join(&start.config.backup.directory);
        let dumped = |name: &str| backups.join(name).join(DIGEST).exists();
        inputs.drops = own
            .into_iter()
            .filter_map(|(purpose, row)| match purpose.as_str() {
                "failed" => dumped(&row.name).then(|| format!("{}, whose dump stays,", row.name)),
                _ => Some(row.name),
            })
            .collect();
        inputs.short_of_disk = room::free_of(&pg)? < room::needed(&mut psql, &pg.database)?;
    }
    let too_large = start.config.rollback.max_proof_gb * 1_000_000_000;
    if inputs.database_bytes.is_some_and(|b| b > too_large) && options.waivers.no_proof.is_none() {
        return Err(Fault::refused("the database is too large to be proved in a release")
            .why(format!(
                "{} is more than rollback.max_proof_gb",
                fsx::human_bytes(inputs.database_bytes.unwrap_or(0))
            ))
            .remedy("raise rollback.max_proof_gb, or give --no-proof and --no-rollback with their reason")
            .into());
    }
    let plan = Plan::release(start.config, &facts, &options.waivers, inputs);
    Ok(Prepared { facts, plan, dirt, standing, head, last, options, allow })
}

/// V2: without a proved backup there is no rollback, and that must be said.
fn check_waivers(waivers: &Waivers) -> Result<()> {
    let unproved = [(&waivers.skip_backup, "--skip-backup"), (&waivers.no_proof, "--no-proof")];
    for (flag, name) in unproved {
        if flag.is_some() && waivers.no_rollback.is_none() {
            return Err(Fault::usage(format!("{name} needs --no-rollback beside it"))
                .why("a rollback that was not verified before the change is no rollback")
                .remedy("give --no-rollback with its reason too, or leave it out")
                .into());
        }
    }
    Ok(())
}

/// What the Dockerfiles build on, with the ids that are here.
fn base_images(start: &Start<'_>, facts: &Facts) -> Result<BTreeMap<String, Option<String>>> {
    let mut found = BTreeMap::new();
    for service in &facts.built {
        let Some(context) = facts.model.build_context(service) else { continue };
        let text =
            std::fs::read_to_string(std::path::Path::new(&context).join("Dockerfile")).unwrap_or_default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            if words.next().is_some_and(|w| w.eq_ignore_ascii_case("FROM"))
                && let Some(name) = words.find(|w| !w.starts_with("--"))
                && !found.contains_key(name)
            {
                found.insert(name.to_string(), start.stand.image_id(name)?);
            }
        }
    }
    Ok(found)
}
