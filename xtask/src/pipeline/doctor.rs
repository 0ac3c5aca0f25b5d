//! `doctor`: are this machine, this checkout and this stand ready for a
//! release? Looks at everything that a release would look at before it begins,
//! and goes on after a finding. Changes nothing.

use super::open_runs::{self, Why};
use super::{Start, lock, standing};
use crate::acts::{blockers, scan};
use crate::clock::{self, Clock};
use crate::error::{Fault, fault_of};
use crate::facts::{self, Facts};
use crate::lkg::Store;
use crate::steps::migrate;
use serde::Serialize;
use std::path::Path;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Good,
    /// A release would go on, and say it.
    Warning,
    /// A release would be refused or fail.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    pub level: Level,
    pub what: String,
    pub found: String,
    pub remedy: Option<String>,
}

/// What was found, in the order in which it was looked at.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, level: Level, what: &str, found: impl Into<String>, remedy: Option<&str>) {
        let remedy = remedy.map(String::from);
        self.0.push(Finding { level, what: what.into(), found: found.into(), remedy });
    }
    fn good(&mut self, what: &str, found: impl Into<String>) {
        self.add(Level::Good, what, found, None);
    }
    fn warn(&mut self, what: &str, found: impl Into<String>, remedy: &str) {
        self.add(Level::Warning, what, found, Some(remedy));
    }
    fn bad(&mut self, what: &str, found: impl Into<String>, remedy: &str) {
        self.add(Level::Bad, what, found, Some(remedy));
    }
    fn fault(&mut self, what: &str, error: &anyhow::Error) {
        let Fault { what: text, why, remedy, .. } = fault_of(error);
        let found = why.map_or(text.clone(), |why| format!("{text}: {}", why.trim()));
        self.add(Level::Bad, what, found, remedy.as_deref());
    }
}

/// Looks at everything.
pub fn look(start: &Start<'_>) -> Vec<Finding> {
    let mut found = Findings::default();
    checkout(start, &mut found);
    let facts = match facts::gather(start.stand, start.config) {
        Ok(facts) => facts,
        Err(error) => {
            found.fault("stand", &error);
            return found.0;
        }
    };
    facts::learn_secrets(start.stand, &facts.model);
    stand(start, &facts, &mut found);
    database(start, &facts, &mut found);
    runs(start, &facts, &mut found);
    code_that_runs(start, &facts, &mut found);
    found.0
}

fn checkout(start: &Start<'_>, found: &mut Findings) {
    let (stand, config) = (start.stand, start.config);
    let head = match stand.head() {
        Ok(head) => head,
        Err(error) => return found.fault("checkout", &error),
    };
    match stand.dirt() {
        Ok(dirt) if dirt.content.is_empty() && dirt.untracked.is_empty() => {
            found.good("checkout", format!("commit {}, nothing edited", &head[..head.len().min(12)]));
        }
        Ok(dirt) => {
            let edits: Vec<String> = dirt.content.iter().chain(&dirt.untracked).take(5).cloned().collect();
            found.bad(
                "checkout",
                format!("edited: {}", edits.join(", ")),
                "commit, or --allow-dirty with a reason",
            );
        }
        Err(error) => found.fault("checkout", &error),
    }
    let named = config.migrate.files.len();
    match migrate::resolve(stand, &head, &config.migrate.files)
        .and_then(|files| Ok((files.len(), migrate::resolve(stand, &head, &config.migrate.verify)?.len())))
    {
        Err(error) => found.fault("migrations", &error),
        Ok((0, _)) if named == 0 => found.warn(
            "migrations",
            "none is listed: a release applies no SQL",
            "list them in [migrate] files of ops/xtask.toml, or leave it so",
        ),
        Ok((files, verify)) => found.good("migrations", format!("{files} files, {verify} verifications")),
    }
    if let Err(error) = scan::allowed(stand, &config.repo) {
        found.fault("secret scan", &error);
    }
    let baked = scan::baked_in(&config.repo);
    if baked.is_empty() {
        found.good("build context", "keeps env files, dumps and .git out");
    } else {
        found.warn(
            "build context",
            format!("images take in {}", baked.join(" ")),
            "add these lines to .dockerignore",
        );
    }
    let place = config.repo.join(&config.backup.directory);
    if !writable(&place) {
        found.bad(
            "backups",
            format!("{} cannot be written", place.display()),
            "give yourself the right, or set backup.directory",
        );
    }
    if !writable(&config.repo.join("ops/_local")) {
        found.bad("evidence", "ops/_local cannot be written", "give yourself the right: evidence lies there");
    }
}

/// May a file be made in this directory, or in the nearest one above it that is there?
fn writable(dir: &Path) -> bool {
    let there = dir.ancestors().find(|d| d.exists());
    there.is_some_and(|d| tempfile::Builder::new().prefix(".ff-").tempfile_in(d).is_ok())
}

fn stand(start: &Start<'_>, facts: &Facts, found: &mut Findings) {
    let mut versions = facts.versions.clone();
    versions.extend(facts::more_versions(start.stand));
    let list: Vec<String> = versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    found.good("tools", list.join(", "));
    for service in facts.app_services.iter().chain(&facts.data_services) {
        match facts.container(service) {
            Some(c) if c.running() && c.health.as_deref() != Some("unhealthy") => {}
            Some(c) => found.warn(
                "service",
                format!("{service} is {}", c.health.as_deref().unwrap_or(&c.state)),
                "a release starts it; look at its log if it should run",
            ),
            None => {
                found.warn("service", format!("{service} has no container"), "the first release makes it")
            }
        }
    }
    let weak = start.stand.exec.redactor().weak_keys();
    if !weak.is_empty() {
        found.warn(
            "secrets",
            format!("short or common: {}", weak.join(", ")),
            "choose values of eight characters or more that are no common words",
        );
    }
    let too_long = start.stand.exec.redactor().too_long_keys();
    if !too_long.is_empty() {
        found.warn(
            "secrets",
            format!(
                "too long to be looked for, so what is secret in them is not masked: {}",
                too_long.join(", ")
            ),
            "keep what is that long in a file",
        );
    }
}

fn database(start: &Start<'_>, facts: &Facts, found: &mut Findings) {
    let Ok(pg) = facts.pg(start.stand, start.config) else { return };
    let asked = pg.session("postgres", "ffx-doctor").and_then(|mut admin| {
        let row = crate::stand::postgres::the_database(&mut admin, &pg.database)?;
        Ok((row, blockers::find(&pg, start.config, !facts.mounts.is_empty(), &mut admin)?))
    });
    match asked {
        Err(error) => found.fault("database", &error),
        Ok((row, _)) if !row.open => found.bad(
            "database",
            format!("{} accepts no connections", row.name),
            "a run was cut short: cargo xtask rollback",
        ),
        Ok((row, blockers)) => {
            if blockers.is_empty() {
                found.good("way back", format!("nothing blocks a swap of {}", row.name));
            }
            for blocker in blockers {
                found.bad("way back", blocker.found, &blocker.remedy);
            }
        }
    }
}

fn runs(start: &Start<'_>, facts: &Facts, found: &mut Findings) {
    let repo = &start.config.repo;
    let pg = facts.pg(start.stand, start.config).ok();
    match lock::holder(&facts.engine_id, &start.config.stand.project, pg.as_ref()) {
        Ok(Some(holder)) => {
            let words =
                format!("{} {} at step {} since {}", holder.command, holder.rid, holder.step, holder.since);
            return found.bad("at work", format!("{words}, by {}", holder.who), "wait until it is done");
        }
        Ok(None) => {}
        Err(error) => found.fault("at work", &error),
    }
    let open = open_runs::find(repo).unwrap_or_else(|error| {
        found.fault("open", &error);
        Vec::new()
    });
    for run in open {
        let words = format!("{} {} {}", run.command, run.rid, run.words());
        match run.why {
            Why::LeftInPlace => found.warn("open", words, &run.remedy()),
            Why::Interrupted | Why::NotBack | Why::Unreadable => found.bad("open", words, &run.remedy()),
        }
    }
    match Store::of(repo).last() {
        Ok(Some(last)) => {
            let age =
                clock::parse_rfc3339(&last.time).map_or(0, |t| (Clock::System.now() - t).whole_seconds());
            found.good("last good", format!("{}, {} ago", last.rid, clock::human_age(age)));
            for (service, image) in &last.images {
                match start.stand.image_id(image) {
                    Ok(Some(_)) => {}
                    Ok(None) => found.bad(
                        "way back",
                        format!("the image of {service} in {} is gone", last.rid),
                        "release once with --no-rollback and its reason, to have a new last known good",
                    ),
                    Err(error) => found.fault("way back", &error),
                }
            }
        }
        Ok(None) => found.good("last good", "none: the first release goes back to the containers as found"),
        Err(error) => found.fault("last good", &error),
    }
}

fn code_that_runs(start: &Start<'_>, facts: &Facts, found: &mut Findings) {
    let looked = Store::of(&start.config.repo)
        .last()
        .and_then(|last| standing::look(start, facts, last.as_ref(), &start.stand.dirt()?));
    let standing = match looked {
        Ok(standing) => standing,
        Err(error) => return found.fault("code", &error),
    };
    for (service, source) in &standing.previous {
        found.warn(
            "code",
            format!("{service} runs {source}, not this checkout"),
            "`docker compose up` would put this checkout live unproved: cargo xtask release returns to it",
        );
    }
    for words in standing.commit {
        found.good("last good", words);
    }
    for env in standing.env {
        found.warn(
            "env files",
            format!("other than in the last good release: {env}"),
            "a release takes what stands there now: look that it is what you want",
        );
    }
    for service in standing.gone {
        found.warn(
            "service",
            format!("{service} runs, and is not in the compose files any more"),
            "a release stops it, and removes its container once it has passed",
        );
    }
    for service in standing.images {
        found.warn(
            "image",
            format!("{service} runs another image than the last good release"),
            "a release that fails brings that release's code back, not what runs now",
        );
    }
    for service in standing.strangers {
        found.warn(
            "service",
            format!("{service} runs, and is no service of the last good release"),
            "if nothing needs it: docker compose stop, else leave it",
        );
    }
}
