//! What only the stand can tell, each with its origin: services, mounts,
//! ports, the database, the worker's app, versions.

use crate::config::Config;
use crate::error::{Fault, Lane, Result, anyhow, bail};
use crate::exec::Finished;
use crate::stand::Stand;
use crate::stand::broker::{self, Broker};
use crate::stand::containers::Container;
use crate::stand::model::Model;
use crate::stand::postgres::Pg;
use std::collections::{BTreeMap, BTreeSet};

mod learn;
mod reach;

pub use learn::{learn_own_files, learn_secrets};

#[derive(Clone)]
pub struct Facts {
    pub model: Model,
    pub containers: Vec<Container>,
    /// Services that a release replaces.
    pub app_services: Vec<String>,
    /// Of those, the ones with a `build:`.
    pub built: Vec<String>,
    /// Services that are never stopped.
    pub data_services: Vec<String>,
    /// Application services that mount the checkout, and where.
    pub mounts: BTreeMap<String, String>,
    /// Where the API is asked: where its container publishes it while it runs, else as the model has it.
    pub base_url: String,
    pub worker_app: Option<String>,
    pub database: String,
    pub database_user: String,
    pub engine_id: String,
    /// Where the engine keeps its data, on the engine's machine.
    pub engine_root: String,
    pub versions: BTreeMap<String, String>,
    /// Fact to where it came from.
    pub origins: BTreeMap<String, String>,
    /// Why compose cannot read the checkout's files, where `model` is a kept one instead.
    pub unread: Option<String>,
}

/// Asks the stand. Changes nothing, needs no running container.
pub fn gather(stand: &Stand, config: &Config) -> Result<Facts> {
    gather_with(stand, config, engine, None, None::<fn(&Listed<'_>)>)
}

/// The same by `kept`, a model of before, where compose cannot read the checkout's files.
pub fn gather_or(stand: &Stand, config: &Config, kept: Option<Model>) -> Result<Facts> {
    gather_with(stand, config, engine, kept, None::<fn(&Listed<'_>)>)
}

/// The same without the engine's id and data directory, which only those need who lock or back up:
/// `docker info` starts every plugin to name it, and that takes longer than all other questions.
/// `seen` gets the containers as soon as they are listed, and all else is asked after that: what it
/// starts takes longer than all other questions, so they do not keep it from the processor.
pub fn gather_quickly(
    stand: &Stand,
    config: &Config,
    seen: impl FnOnce(&Listed<'_>) + Send,
) -> Result<Facts> {
    gather_with(stand, config, engine_version, None, Some(seen))
}

/// Ids and services of containers.
type Listed<'a> = [(&'a str, &'a str)];

/// Id, version and data directory of an engine.
type Engine = (String, String, String);

fn gather_with(
    stand: &Stand,
    config: &Config,
    engine: fn(&Stand) -> Result<Engine>,
    kept: Option<Model>,
    seen: Option<impl FnOnce(&Listed<'_>) + Send>,
) -> Result<Facts> {
    let (first, asked_first) = std::sync::mpsc::channel::<()>();
    let first = seen.is_some().then_some(first);
    let (model, containers, engine) = std::thread::scope(|s| {
        let containers = s.spawn(move || {
            stand.containers_listed(move |listed| {
                seen.into_iter().for_each(|seen| seen(listed));
                drop(first);
            })
        });
        // Ends when the other side is dropped, whatever became of it.
        let _ = asked_first.recv();
        let model = s.spawn(|| stand.model());
        let engine = s.spawn(|| engine(stand));
        (model.join(), containers.join(), engine.join())
    });
    let ended = |_| anyhow!("a question to the stand was not answered");
    let engine = engine.map_err(ended)??;
    let model = model.map_err(ended)?;
    if model.is_err() {
        // Without Compose 2 the failure has less clear words.
        compose_version(stand)?;
    }
    let (model, unread) = match (model, kept) {
        (Err(error), Some(kept)) => (kept, Some(format!("{error:#}"))),
        (model, _) => (model?, None),
    };
    let containers = containers.map_err(ended)??;

    let mut origins = BTreeMap::new();
    let mut versions = BTreeMap::new();
    versions.insert("xtask".into(), env!("CARGO_PKG_VERSION").into());
    versions.insert("docker".into(), engine.1);

    let built = model.built();
    let app_services = chosen(&config.stand.app_services, built.clone(), "app_services", &mut origins);
    let needed: Vec<String> = {
        let mut all: Vec<String> = app_services.iter().flat_map(|s| model.depends_on(s)).collect();
        all.push(config.database.service.clone());
        all.sort();
        all.dedup();
        all.retain(|s| model.has(s) && !app_services.contains(s));
        all
    };
    let data_services = chosen(&config.stand.data_services, needed, "data_services", &mut origins);
    for service in app_services.iter().chain(&data_services).chain([&config.database.service]) {
        if !model.has(service) {
            return Err(Fault::usage(format!("the stand has no service `{service}`"))
                .why(format!("it has: {}", model.services().join(", ")))
                .remedy("name the services in [stand] and [database] of ops/xtask.toml")
                .into());
        }
    }
    if app_services.is_empty() {
        return Err(Fault::usage("no application service found: none has a `build:`")
            .remedy("name them with [stand] app_services in ops/xtask.toml")
            .into());
    }
    let mounts = app_services
        .iter()
        .filter_map(|s| Some((s.clone(), model.checkout_target(s, &stand.repo)?)))
        .collect();
    let (base_url, worker_app) = reach::found(config, &model, &containers, &mut origins);
    let (database, database_user) = database(config, &model, &mut origins);
    Ok(Facts {
        built: built.into_iter().filter(|s| app_services.contains(s)).collect(),
        model,
        containers,
        app_services,
        data_services,
        mounts,
        base_url,
        worker_app,
        database,
        database_user,
        engine_id: engine.0,
        engine_root: engine.2,
        versions,
        origins,
        unread,
    })
}

impl Facts {
    /// The container of a service, if there is one.
    pub fn container(&self, service: &str) -> Option<&Container> {
        self.containers.iter().find(|c| c.service == service)
    }

    /// Asks for the containers again.
    pub fn refresh(&mut self, stand: &Stand) -> Result<()> {
        self.containers = stand.containers()?;
        Ok(())
    }

    /// Which services have other containers than `then`, in words; none where they are the same ones.
    pub fn made_anew(&self, then: &[Container]) -> Option<String> {
        let made = |of: &[Container]| -> BTreeSet<(String, String)> {
            of.iter().map(|c| (c.service.clone(), c.id.clone())).collect()
        };
        let (then, now) = (made(then), made(&self.containers));
        let other: BTreeSet<&str> =
            then.symmetric_difference(&now).map(|(service, _)| service.as_str()).collect();
        let names: Vec<&str> = other.into_iter().collect();
        (!names.is_empty())
            .then(|| format!("made anew or removed meanwhile: the container of {}", names.join(", ")))
    }

    /// The database, once its container is there.
    pub fn pg(&self, stand: &Stand, config: &Config) -> Result<Pg> {
        let service = &config.database.service;
        let container = self.container(service).filter(|c| c.running()).ok_or_else(|| {
            Fault::new(format!("the database service `{service}` does not run"))
                .remedy(format!("start it: docker compose -p {} up -d {service}", stand.project))
                .lane(Lane::A)
        })?;
        // The running container knows better than a model that was edited since it started.
        let env = |name: &str| container.env(name).map(String::from);
        let user = match config.database.user.as_str() {
            "" => env("POSTGRES_USER").unwrap_or_else(|| self.database_user.clone()),
            user => user.into(),
        };
        let database = match config.database.name.as_str() {
            "" => env("POSTGRES_DB").unwrap_or_else(|| self.database.clone()),
            name => name.into(),
        };
        Ok(Pg { stand: stand.clone(), container: container.id.clone(), user, database })
    }

    /// The broker, where the stand has one that runs.
    pub fn broker(&self, config: &Config) -> Option<Broker> {
        let service = &config.rollback.broker_service;
        let container = self.container(service).filter(|c| c.running())?;
        Some(broker::broker(&self.model, container, &self.app_services))
    }
}

fn chosen(
    configured: &[String],
    found: Vec<String>,
    name: &str,
    origins: &mut BTreeMap<String, String>,
) -> Vec<String> {
    let (list, origin) =
        if configured.is_empty() { (found, "compose") } else { (configured.to_vec(), "config") };
    origins.insert(name.into(), origin.into());
    list
}

fn database(config: &Config, model: &Model, origins: &mut BTreeMap<String, String>) -> (String, String) {
    let env = model.environment(&config.database.service);
    let of =
        |name: &str| env.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone()).filter(|v| !v.is_empty());
    let user = of("POSTGRES_USER").unwrap_or_else(|| "postgres".into());
    // The public image falls back to the user's name.
    let name = of("POSTGRES_DB").unwrap_or_else(|| user.clone());
    origins.insert("database".into(), format!("environment of {}", config.database.service));
    (name, user)
}

/// Versions that no fact depends on; a program that does not answer is left out.
pub fn more_versions(stand: &Stand) -> BTreeMap<String, String> {
    let (compose, git) = std::thread::scope(|s| {
        let compose = s.spawn(|| compose_version(stand));
        let git = stand.exec.run(&stand.git(["--version"]));
        (compose.join(), git)
    });
    let mut versions = BTreeMap::new();
    if let Ok(Ok(compose)) = compose {
        versions.insert("compose".into(), compose);
    }
    if let Ok(git) = git {
        let text = git.text();
        versions.extend(text.trim().strip_prefix("git version ").map(|v| ("git".into(), v.into())));
    }
    versions
}

/// The engine's id, version and data directory.
fn engine(stand: &Stand) -> Result<Engine> {
    let format = "{{.ID}}|{{.ServerVersion}}|{{.DockerRootDir}}";
    let finished = stand.exec.run(&stand.docker(["info", "--format", format]))?;
    let text = finished.text();
    let mut parts = text.trim().splitn(3, '|');
    let mut part = || parts.next().unwrap_or_default().to_string();
    let (id, version, root) = (part(), part(), part());
    // The client exits with 0 also when no engine answers.
    if !finished.ok() || !is_version(&version) {
        return Err(no_engine(&finished).into());
    }
    // Half an id would be another lock.
    let named = !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || "-:".contains(c));
    if !named || root.is_empty() {
        bail!("docker info told neither id nor data directory of the engine");
    }
    Ok((id, version, root))
}

fn engine_version(stand: &Stand) -> Result<Engine> {
    let finished = stand.exec.run(&stand.docker(["version", "--format", "{{.Server.Version}}"]))?;
    let version = finished.text().trim().to_string();
    if !finished.ok() || !is_version(&version) {
        return Err(no_engine(&finished).into());
    }
    Ok((String::new(), version, String::new()))
}

fn is_version(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit()) && !text.contains(char::is_whitespace)
}

fn no_engine(finished: &Finished) -> Fault {
    Fault::refused("the docker engine does not answer")
        .why(finished.stderr.trim())
        .remedy("start it, and check that you may use it: docker info")
        .lane(Lane::A)
}

fn compose_version(stand: &Stand) -> Result<String> {
    let finished = stand.exec.run(&stand.docker(["compose", "version", "--short"]))?;
    let version = finished.text().trim().trim_start_matches('v').to_string();
    let major = version.split('.').next().and_then(|m| m.parse::<u32>().ok());
    match major {
        Some(major) if finished.ok() && major >= 2 => Ok(version),
        _ => Err(Fault::refused("Docker Compose 2 is needed: `docker compose version` does not answer")
            .why(finished.stderr.lines().next().unwrap_or_default())
            .remedy("install the compose plugin (scripts/setup does it on Debian and Ubuntu); docker-compose 1.x is not supported")
            .lane(Lane::A)
            .into()),
    }
}
