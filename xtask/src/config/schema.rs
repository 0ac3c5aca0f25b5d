//! The sections and keys of ops/xtask.toml with their built-in values. The
//! commented sample in ops/xtask.sample.toml is the schema's documentation.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Values {
    pub stand: Stand,
    pub database: Database,
    pub backup: Backup,
    pub migrate: Migrate,
    pub smoke: Smoke,
    pub deploy: Deploy,
    pub rollback: Rollback,
    pub retention: Retention,
    pub redact: Redact,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stand {
    /// Compose files, relative to the checkout.
    pub compose_files: Vec<String>,
    pub project: String,
    /// Docker context; empty: the current one.
    pub context: String,
    /// Services that a release replaces; empty: those with a `build:`.
    pub app_services: Vec<String>,
    /// Services that are never stopped; empty: what the application services depend on.
    pub data_services: Vec<String>,
    /// Seconds that a service has to stop before it is killed.
    pub stop_grace_s: u64,
}

impl Default for Stand {
    fn default() -> Self {
        Stand {
            compose_files: vec!["docker-compose.yml".into()],
            project: "foxproflow-mvp20".into(),
            context: String::new(),
            app_services: Vec::new(),
            data_services: Vec::new(),
            stop_grace_s: 30,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    pub service: String,
    /// Empty: POSTGRES_USER and POSTGRES_DB of the container.
    pub name: String,
    pub user: String,
}

impl Default for Database {
    fn default() -> Self {
        Database { service: "postgres".into(), name: String::new(), user: String::new() }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Backup {
    /// `auto`: first the repository's `scripts/pwsh/ff-backup.ps1`, where it and PowerShell 7 are
    /// there, then the built-in engine. `pwsh`: both, or a refusal. `native`: the built-in one alone.
    pub engine: String,
    pub directory: String,
    /// A second place, off the disk that holds the database; empty: none.
    pub copy_to: String,
    /// pg_dump's -Z.
    pub compression: u8,
    /// Seconds to wait for a table lock before the dump gives up.
    pub lock_wait_s: u64,
    /// Seconds that the whole dump may take.
    pub timeout_s: u64,
}

impl Default for Backup {
    fn default() -> Self {
        Backup {
            engine: "auto".into(),
            directory: "ops/_backups".into(),
            copy_to: String::new(),
            compression: 1,
            lock_wait_s: 30,
            timeout_s: 6 * 3600,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Migrate {
    /// SQL files and globs, in the order in which they are applied.
    pub files: Vec<String>,
    /// SQL files or suites (`*.txt`, one path a line) that must pass afterwards.
    pub verify: Vec<String>,
    /// Seconds that one file may take; 0: 3600.
    pub timeout_s: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Smoke {
    /// Empty: the port that compose publishes for the API service on 127.0.0.1.
    pub base_url: String,
    pub api_service: String,
    pub worker_service: String,
    pub http: Vec<HttpCheck>,
    /// Environment variable with the architect key; its value is sent as three headers.
    pub key_env: String,
    /// The module of `celery -A`; empty: read from the worker's command.
    pub worker_app: String,
    /// Tasks that must be registered; empty list: none is demanded.
    pub tasks: Vec<String>,
    /// Send a task and wait for its result.
    pub round_trip: bool,
    /// Seconds after a deploy until everything must be good.
    pub timeout_s: u64,
    /// Seconds after a deploy for which an answer may be there and wrong.
    pub settle_s: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpCheck {
    pub path: String,
    pub status: u16,
    /// JSON pointers and the values that they must have; a value `"*"` asks only that it is there.
    pub expect: BTreeMap<String, serde_json::Value>,
    /// Header names and the environment variables that hold their values.
    pub headers: BTreeMap<String, String>,
}

impl Default for Smoke {
    fn default() -> Self {
        let check = |path: &str, expect: &[(&str, serde_json::Value)]| HttpCheck {
            path: path.into(),
            status: 200,
            expect: expect.iter().map(|(k, v)| ((*k).into(), v.clone())).collect(),
            headers: BTreeMap::new(),
        };
        let yes = serde_json::Value::Bool(true);
        Smoke {
            base_url: String::new(),
            api_service: "api".into(),
            worker_service: "worker".into(),
            http: vec![
                check("/health", &[("/status", "ok".into())]),
                check("/health/extended", &[("/ready", yes.clone())]),
                check("/api/crm/smoke/ping", &[("/ok", yes.clone())]),
                check(
                    "/api/devfactory/orders/recent?limit=1&include_result=0",
                    &[("/ok", yes), ("/items", "*".into())],
                ),
            ],
            key_env: "FF_ARCHITECT_KEY".into(),
            worker_app: String::new(),
            tasks: ["planner.kpi.snapshot", "planner.kpi.daily_refresh", "analytics.devfactory.daily"]
                .map(String::from)
                .to_vec(),
            round_trip: true,
            timeout_s: 60,
            settle_s: 10,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Deploy {
    /// Seconds over which container ids and restart counts must stay as they are.
    pub soak_s: u64,
    /// Seconds until the services must run.
    pub timeout_s: u64,
    /// Seconds that a build may take.
    pub build_timeout_s: u64,
}

impl Default for Deploy {
    fn default() -> Self {
        Deploy { soak_s: 5, timeout_s: 180, build_timeout_s: 3600 }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rollback {
    pub enabled: bool,
    /// Why `enabled = false` or `database = "if-migrated"`: required beside them.
    pub reason: String,
    /// `always`: the database goes back on any failure. `if-migrated`: only when a migration ran.
    pub database: String,
    /// Hours that the undo clone is kept after a PASS.
    pub keep_clone_h: u64,
    /// Above this many GB (10^9 bytes) a release does not prove its backup by restoring it.
    pub max_proof_gb: u64,
    /// Where previous source trees are laid out; empty: `../.<checkout>-ff-xtask/trees`.
    pub trees: String,
    /// Files below the mounted tree that services write, as globs.
    pub shared_paths: Vec<String>,
    /// Broker keys that go back with the database, as Redis patterns.
    pub queue_keys: Vec<String>,
    /// The Redis service; empty or not in the stand: the broker is left as it is.
    pub broker_service: String,
}

impl Default for Rollback {
    fn default() -> Self {
        Rollback {
            enabled: true,
            reason: String::new(),
            database: "always".into(),
            keep_clone_h: 24,
            max_proof_gb: 50,
            trees: String::new(),
            shared_paths: vec!["celerybeat-schedule*".into()],
            queue_keys: vec!["celery".into(), "unacked*".into()],
            broker_service: "redis".into(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    pub backups: usize,
    pub evidence: usize,
}

impl Default for Retention {
    fn default() -> Self {
        Retention { backups: 14, evidence: 30 }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Redact {
    /// Further names of sensitive keys.
    pub keys: Vec<String>,
    /// Further regular expressions; what they match is masked.
    pub patterns: Vec<String>,
}
