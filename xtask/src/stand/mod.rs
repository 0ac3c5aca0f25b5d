//! The running system: docker, compose, PostgreSQL, Redis, the worker, HTTP,
//! git. Functions here return an [`Invocation`] or a parsed, typed fact; what
//! to do with them is decided further down.

pub mod broker;
pub mod changes;
pub mod compose;
pub mod containers;
pub mod dump;
pub mod ffbackup;
pub mod git;
pub mod http;
pub mod images;
pub mod model;
pub mod pins;
pub mod postgres;
pub mod psql;
pub mod shell;
pub mod sqlstate;
pub mod worker;

use crate::config::Config;
use crate::exec::{Exec, Invocation};
use std::path::PathBuf;

/// A stand: a compose project on a docker engine, and how to call both.
#[derive(Clone)]
pub struct Stand {
    pub exec: Exec,
    /// The checkout that is released.
    pub repo: PathBuf,
    pub project: String,
    /// Absolute compose files.
    pub files: Vec<PathBuf>,
    context: String,
}

impl Stand {
    pub fn new(config: &Config, exec: Exec) -> Stand {
        // These would silently send verify scripts to another database.
        let exec = exec.hiding(&["FF_TEMP_DB", "FF_PG_DB"]);
        Stand {
            exec,
            repo: config.repo.clone(),
            project: config.stand.project.clone(),
            files: config.stand.compose_files.iter().map(|f| config.repo.join(f)).collect(),
            context: config.stand.context.clone(),
        }
    }

    /// The same stand, run by another executor: with another log, or shielded.
    pub fn with(&self, exec: &Exec) -> Stand {
        Stand { exec: exec.hiding(&["FF_TEMP_DB", "FF_PG_DB"]), ..self.clone() }
    }

    /// `docker ...` on the stand's context.
    pub fn docker<I: IntoIterator<Item = S>, S: Into<String>>(&self, args: I) -> Invocation {
        let mut invocation = Invocation::new("docker").cwd(&self.repo).env("DOCKER_CLI_HINTS", "false");
        if !self.context.is_empty() {
            invocation = invocation.args(["--context", &self.context]);
        }
        invocation.args(args)
    }

    /// `docker exec ...` in a container; `app` marks the process so that it can be found and ended.
    pub fn inside(&self, container: &str, env: &[(&str, &str)], argv: &[&str]) -> Invocation {
        let mut args = vec!["exec".to_string(), "-i".into()];
        for (key, value) in env {
            args.extend(["-e".to_string(), format!("{key}={value}")]);
        }
        args.push(container.into());
        args.extend(argv.iter().map(|a| (*a).to_string()));
        self.docker(args)
    }
}

#[cfg(test)]
mod tests;
