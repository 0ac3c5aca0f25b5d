//! The plan: everything that a second operator needs to get the same result,
//! decided before the first act. Pure: what it needs to know is handed in.
//! Release id, times and estimates stand apart in `run`.

use crate::config::Config;
use crate::evidence::Waiver;
use crate::facts::Facts;
use crate::lkg::LastKnownGood;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Flags that weaken a gate, each with its reason.
#[derive(Debug, Clone, Default)]
pub struct Waivers {
    pub skip_backup: Option<String>,
    pub skip_build: Option<String>,
    pub skip_migrate: Option<String>,
    pub no_rollback: Option<String>,
    pub allow_dirty: Option<String>,
    pub no_proof: Option<String>,
}

impl Waivers {
    /// Gate, flag and reason of each that was given.
    pub fn list(&self, config: &Config) -> Vec<Waiver> {
        let flags = [
            (&self.skip_backup, "B1", "--skip-backup"),
            (&self.skip_backup, "R0", "--skip-backup"),
            (&self.skip_backup, "E2", "--skip-backup"),
            (&self.skip_build, "B2", "--skip-build"),
            (&self.skip_migrate, "M1", "--skip-migrate"),
            (&self.no_rollback, "R0", "--no-rollback"),
            (&self.allow_dirty, "V4", "--allow-dirty"),
            (&self.no_proof, "R0", "--no-proof"),
        ];
        let mut list: Vec<Waiver> = flags
            .into_iter()
            .filter_map(|(reason, gate, flag)| {
                Some(Waiver { gate: gate.into(), flag: flag.into(), reason: reason.clone()? })
            })
            .collect();
        if !config.rollback.enabled && self.no_rollback.is_none() {
            list.push(Waiver {
                gate: "R0".into(),
                flag: "rollback.enabled = false".into(),
                reason: config.rollback.reason.clone(),
            });
        }
        if config.rollback.database != "always" {
            list.push(Waiver {
                gate: "R1".into(),
                flag: "rollback.database = if-migrated".into(),
                reason: config.rollback.reason.clone(),
            });
        }
        list
    }

    pub fn rollback_enabled(&self, config: &Config) -> bool {
        config.rollback.enabled && self.no_rollback.is_none()
    }
}

/// A file that the release applies or verifies with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SqlSource {
    pub path: String,
    pub sha256: String,
}

/// One step and what it will do, or why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    pub step: String,
    pub does: String,
    pub skipped: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    pub schema: u32,
    pub canon: String,
    pub command: String,
    pub repo: String,
    pub project: String,
    pub compose_files: Vec<String>,
    pub commit: String,
    pub branch: String,
    /// Whether edits that nobody committed go along; null where nobody looked.
    pub dirty: Option<bool>,
    pub app_services: Vec<String>,
    pub data_services: Vec<String>,
    pub database: String,
    /// Service to the image id that runs now.
    pub images: BTreeMap<String, Option<String>>,
    /// Name and id of what the Dockerfiles build on.
    pub base_images: BTreeMap<String, Option<String>>,
    pub migrations: Vec<SqlSource>,
    pub verify: Vec<SqlSource>,
    pub smoke: Vec<String>,
    pub steps: Vec<Planned>,
    /// What cannot be had back afterwards.
    pub destroys: Vec<String>,
    pub way_back: String,
    pub rollback_enabled: bool,
    pub waivers: Vec<Waiver>,
    pub versions: BTreeMap<String, String>,
    /// Every configuration value with its layer.
    pub config: BTreeMap<String, Value>,
    pub origins: BTreeMap<String, String>,
    pub warnings: Vec<String>,
    pub run: Run,
}

/// What differs from run to run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Run {
    pub rid: String,
    pub time: String,
    pub expected_downtime_ms: u64,
    pub database_bytes: u64,
    pub disk_needed_bytes: u64,
}

/// What the plan is made of besides configuration and facts.
pub struct Inputs {
    pub commit: String,
    pub branch: String,
    pub dirty: bool,
    pub migrations: Vec<SqlSource>,
    pub verify: Vec<SqlSource>,
    pub base_images: BTreeMap<String, Option<String>>,
    pub last: Option<LastKnownGood>,
    pub rid: String,
    pub time: String,
    /// None when the database does not run yet.
    pub database_bytes: Option<u64>,
    pub tables: u64,
    /// Databases that the end of a release drops, in words: replaced undo clones, dumped failed ones.
    pub drops: Vec<String>,
    /// Too little for a clone beside them: they are dropped before the proof instead.
    pub short_of_disk: bool,
    /// The repository's own backup script runs first.
    pub script: bool,
    /// What runs beside what the checkout holds, in words.
    pub warnings: Vec<String>,
}

impl Plan {
    /// The plan of a release.
    pub fn release(config: &Config, facts: &Facts, waivers: &Waivers, inputs: Inputs) -> Plan {
        let list = waivers.list(config);
        let rollback_enabled = waivers.rollback_enabled(config);
        let bytes = inputs.database_bytes.unwrap_or(0);
        let images = facts
            .app_services
            .iter()
            .map(|s| (s.clone(), facts.container(s).map(|c| c.image.clone())))
            .collect();
        let steps = steps(config, facts, waivers, &inputs, rollback_enabled);
        let way_back = way_back(facts, &inputs, rollback_enabled);
        let when = match inputs.short_of_disk {
            true => "before the proof, because the database's disk is short",
            false => "at the end",
        };
        let disk_needed_bytes = bytes * 5 / 2;
        let expected = 3_000 + 4_000 + bytes / 250_000 + inputs.tables * 3 / 2;
        Plan {
            schema: crate::evidence::SCHEMA,
            canon: crate::evidence::CANON.into(),
            command: "release".into(),
            repo: config.repo.display().to_string(),
            project: config.stand.project.clone(),
            compose_files: config.stand.compose_files.clone(),
            commit: inputs.commit,
            branch: inputs.branch,
            dirty: Some(inputs.dirty),
            app_services: facts.app_services.clone(),
            data_services: facts.data_services.clone(),
            database: facts.database.clone(),
            images,
            base_images: inputs.base_images,
            migrations: inputs.migrations,
            verify: inputs.verify,
            smoke: smoke_names(config, facts),
            steps,
            destroys: inputs.drops.iter().map(|d| format!("database {d} is dropped {when}")).collect(),
            way_back,
            rollback_enabled,
            waivers: list,
            versions: facts.versions.clone(),
            config: config_with_origins(config),
            origins: facts.origins.clone(),
            warnings: inputs.warnings,
            run: Run {
                rid: inputs.rid,
                time: inputs.time,
                expected_downtime_ms: expected,
                database_bytes: bytes,
                disk_needed_bytes,
            },
        }
    }

    /// The plan of a command that is one step.
    pub fn single(
        command: &str,
        config: &Config,
        facts: &Facts,
        rid: &str,
        time: &str,
        step: Planned,
    ) -> Plan {
        Plan {
            schema: crate::evidence::SCHEMA,
            canon: crate::evidence::CANON.into(),
            command: command.into(),
            repo: config.repo.display().to_string(),
            project: config.stand.project.clone(),
            compose_files: config.stand.compose_files.clone(),
            commit: String::new(),
            branch: String::new(),
            dirty: None,
            app_services: facts.app_services.clone(),
            data_services: facts.data_services.clone(),
            database: facts.database.clone(),
            images: BTreeMap::new(),
            base_images: BTreeMap::new(),
            migrations: Vec::new(),
            verify: Vec::new(),
            smoke: smoke_names(config, facts),
            steps: vec![step],
            destroys: Vec::new(),
            way_back: String::new(),
            rollback_enabled: true,
            waivers: Vec::new(),
            versions: facts.versions.clone(),
            config: config_with_origins(config),
            origins: facts.origins.clone(),
            warnings: Vec::new(),
            run: Run { rid: rid.into(), time: time.into(), ..Run::default() },
        }
    }
}

fn steps(config: &Config, facts: &Facts, waivers: &Waivers, inputs: &Inputs, rollback: bool) -> Vec<Planned> {
    let step =
        |step: &str, does: String, skipped: Option<String>| Planned { step: step.into(), does, skipped };
    let data = facts.data_services.join(", ");
    let apps = facts.app_services.join(", ");
    let nothing = "no migration is listed in [migrate] files".to_string();
    let migrate = match (&waivers.skip_migrate, inputs.migrations.is_empty()) {
        (Some(reason), _) => Some(reason.clone()),
        (None, true) => Some(nothing),
        (None, false) => None,
    };
    vec![
        step("precheck", format!("lock, git, services, {data} run, baseline smoke, secret scan"), None),
        step(
            "backup",
            format!(
                "{}dump {} of one snapshot into {}",
                if inputs.script { "scripts/pwsh/ff-backup.ps1; " } else { "" },
                facts.database,
                config.backup.directory
            ),
            waivers.skip_backup.clone(),
        ),
        step("build", format!("build {}", facts.built.join(", ")), waivers.skip_build.clone()),
        step(
            "proof",
            "restore the dump beside, compare every table, drop it".into(),
            waivers.no_proof.clone().or_else(|| waivers.skip_backup.clone()),
        ),
        step("ready", "images, source, override and database can go back".into(), None),
        step("change", format!("stop {apps}; fence and clone {}", facts.database), None),
        step(
            "migrate",
            format!("{} files, {} verifications", inputs.migrations.len(), inputs.verify.len()),
            migrate,
        ),
        step("deploy", format!("up {apps}, {} s soak", config.deploy.soak_s), None),
        step("smoke", format!("{} checks side by side", smoke_names(config, facts).len()), None),
        step(
            "rollback",
            "only on failure: fence, swap the clone in, previous images and source, smoke".into(),
            (!rollback)
                .then(|| waivers.no_rollback.clone().unwrap_or_else(|| config.rollback.reason.clone())),
        ),
    ]
}

fn way_back(facts: &Facts, inputs: &Inputs, rollback: bool) -> String {
    let ran = facts.app_services.iter().any(|s| facts.container(s).is_some_and(|c| c.running()));
    match (rollback, &inputs.last, ran) {
        (false, _, _) => "none: rollback is switched off".into(),
        (true, Some(last), _) => format!("{} (commit {})", last.rid, last.commit),
        (true, None, true) => "the containers as found, with the commit that is checked out".into(),
        (true, None, false) => "stopped, database as before: nothing ran".into(),
    }
}

/// The names of the checks that smoke makes.
pub fn smoke_names(config: &Config, facts: &Facts) -> Vec<String> {
    let mut names: Vec<String> = config.smoke.http.iter().map(|c| format!("GET {}", c.path)).collect();
    if facts.model.has(&config.smoke.worker_service) {
        names.push("worker ping".into());
        if !config.smoke.tasks.is_empty() {
            names.push("worker tasks".into());
        }
        if config.smoke.round_trip {
            names.push("task round trip".into());
        }
    }
    names
}

/// `section.key` to value and layer.
pub fn config_with_origins(config: &Config) -> BTreeMap<String, Value> {
    let mut flat = BTreeMap::new();
    if let Ok(Value::Object(sections)) = serde_json::to_value(&config.values) {
        for (section, keys) in sections {
            for (key, value) in keys.as_object().into_iter().flatten() {
                let name = format!("{section}.{key}");
                let origin = config.origins.get(&name).map_or("built-in", String::as_str);
                flat.insert(name.clone(), json!({ "value": value, "origin": origin }));
            }
        }
    }
    flat
}
