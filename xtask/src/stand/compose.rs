//! `docker compose` calls as data.

use super::Stand;
use super::model::Model;
use crate::error::{Context, Fault, Lane, Result};
use crate::exec::Invocation;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

impl Stand {
    /// `docker compose -p PROJECT -f FILE ...` on the stand's own files.
    pub fn compose<I: IntoIterator<Item = S>, S: Into<String>>(&self, args: I) -> Invocation {
        let files: Vec<&Path> = self.files.iter().map(AsRef::as_ref).collect();
        self.compose_of(&files, None, args)
    }

    /// The same on other files; relative paths in them still start where the stand's own do.
    /// `env_file`: read in place of the stand's `.env`.
    pub fn compose_of<I: IntoIterator<Item = S>, S: Into<String>>(
        &self,
        files: &[&Path],
        env_file: Option<&Path>,
        args: I,
    ) -> Invocation {
        let mut invocation = self.docker(["compose", "--ansi", "never", "-p", &self.project]);
        // What compose itself would take: the first file's directory. Another one would move
        // relative mounts, and thereby recreate the database container.
        let home = self.files.first().and_then(|f| f.parent()).unwrap_or(&self.repo);
        invocation = invocation.arg("--project-directory").arg(home.display().to_string());
        if let Some(file) = env_file {
            invocation = invocation.arg("--env-file").arg(file.display().to_string());
        }
        for file in files {
            invocation = invocation.arg("-f").arg(file.display().to_string());
        }
        invocation
            .args(args)
            // Other scripts of the repository read these two; all three are kept equal.
            .env("COMPOSE_PROJECT_NAME", &self.project)
            .env("FF_COMPOSE_PROJECT", &self.project)
            .env("FF_PROJECT", &self.project)
            .env("BUILDKIT_PROGRESS", "plain")
    }

    /// The resolved model. It holds secrets: never logged, only parsed.
    pub fn model(&self) -> Result<Model> {
        let missing = self.files.iter().find(|f| !f.exists());
        if let Some(file) = missing {
            return Err(Fault::usage(format!("no stand here: {} does not exist", file.display()))
                .remedy("run in the checkout that holds docker-compose.yml, or name it with --repo PATH (or FF_REPO)")
                .into());
        }
        let finished = self.exec.run(&self.compose(["config", "--format", "json"]).quiet())?;
        if !finished.ok() {
            return Err(finished
                .fault("docker compose config", Lane::A)
                .remedy(
                    "mend what it names: `docker compose config -q` says nothing once compose can read it",
                )
                .into());
        }
        Model::parse(&finished.stdout).context("read the output of docker compose config")
    }

    /// Compose's own hash of each service's definition, by service: safe to store. A container carries
    /// the one that it was made from.
    pub fn config_hashes(&self) -> Result<BTreeMap<String, String>> {
        let finished = self.exec.run(&self.compose(["config", "--hash", "*"]))?;
        let text = finished.success("docker compose config --hash", Lane::A)?.text();
        let pair = |line: &str| {
            let (service, hash) = line.trim().split_once(' ')?;
            let whole = hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit());
            whole.then(|| (service.to_string(), hash.to_string()))
        };
        let pairs: Option<BTreeMap<String, String>> = text.lines().map(pair).collect();
        pairs.filter(|all| !all.is_empty()).context("docker compose config --hash printed no hashes")
    }

    /// `docker compose build` of services.
    pub fn build(&self, services: &[String], limit: Duration) -> Invocation {
        self.compose(["build"]).args(services).timeout(limit)
    }

    /// `up -d` of exactly these services: nothing they depend on is started, recreated or built.
    pub fn up(&self, services: &[String], limit: Duration) -> Invocation {
        self.compose(["up", "-d", "--no-deps", "--no-build"]).args(services).timeout(limit)
    }

    /// `docker stop` of containers, each with `grace` seconds: whatever the compose file names now.
    pub fn stop_containers(&self, ids: &[String], grace: u64) -> Invocation {
        let limit = Duration::from_secs(60 + grace * ids.len() as u64);
        self.docker(["stop", "-t", &grace.to_string()]).args(ids.iter().cloned()).timeout(limit)
    }

    /// `stop` of services, each with `grace` seconds.
    pub fn stop(&self, services: &[String], grace: u64) -> Invocation {
        let limit = Duration::from_secs(60 + grace * services.len() as u64);
        self.compose(["stop", "-t", &grace.to_string()]).args(services).timeout(limit)
    }
}
