//! The Celery worker, asked by one Python process inside its container: its own
//! `celery` command would start Python once for every question.

use super::Stand;
use super::containers::Container;
use crate::exec::Invocation;
use serde::Deserialize;
use std::time::Duration;

/// Runs in the worker's container, with the worker's own modules and broker settings.
const PROBE: &str = include_str!("probe.py");

/// One line of the probe's answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ProbeLine {
    pub check: String,
    pub ok: bool,
    #[serde(default)]
    pub detail: String,
    #[serde(default)]
    pub items: Vec<String>,
}

/// The app module of `celery -A MODULE` in a command line.
pub fn app_of(argv: &[String]) -> Option<String> {
    let words: Vec<&str> = argv.iter().flat_map(|a| a.split_whitespace()).collect();
    words
        .iter()
        .enumerate()
        .find_map(|(at, word)| match *word {
            "-A" | "--app" => words.get(at + 1).map(|w| (*w).to_string()),
            other => other.strip_prefix("--app=").or_else(|| other.strip_prefix("-A")).map(String::from),
        })
        .map(|name| name.trim_matches(['"', '\'']).to_string())
        .filter(|name| !name.is_empty())
}

impl Stand {
    /// Asks the worker in its container.
    pub fn probe(&self, asked: &Asked<'_>) -> Invocation {
        let limit = asked.limit + Duration::from_secs(10);
        self.probe_ready(&asked.container.id).stdin(question(asked)).timeout(limit)
    }

    /// The same before it is known what to ask: Python and Celery load while other questions are open,
    /// which takes longer than all answers. [`question`] goes in by stdin, and its end begins the work.
    pub fn probe_ready(&self, container: &str) -> Invocation {
        let run = "exec $(command -v python3 || command -v python) -c 'import sys\n\
                   try:\n import celery.app.utils\nexcept BaseException:\n pass\n\
                   exec(sys.stdin.read())'";
        self.docker(["exec", "-i", container, "sh", "-c", run])
    }
}

/// What the probe is asked.
pub struct Asked<'a> {
    pub container: &'a Container,
    /// The module of `celery -A`.
    pub app: &'a str,
    /// Any of ping, tasks, round_trip, active.
    pub checks: &'a [&'a str],
    /// Tasks that must be registered.
    pub tasks: &'a [String],
    pub limit: Duration,
}

/// The probe's program with its question, as it goes in by stdin.
pub fn question(asked: &Asked<'_>) -> String {
    let json = serde_json::json!({
        "app": asked.app,
        "node": format!("celery@{}", asked.container.hostname),
        "checks": asked.checks,
        "tasks": asked.tasks,
        "timeout": asked.limit.as_secs_f64(),
    });
    // A JSON string is a Python literal, too.
    format!("FF_PROBE = {}\n{PROBE}", serde_json::Value::String(json.to_string()))
}

/// Reads the probe's lines; anything else on its stdout is not ours.
pub fn read_probe(stdout: &str) -> Vec<ProbeLine> {
    stdout.lines().filter_map(|l| serde_json::from_str(l.trim()).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_app_is_found_in_every_shape_of_command() {
        let of = |words: &[&str]| app_of(&words.iter().map(|w| (*w).to_string()).collect::<Vec<_>>());
        assert_eq!(
            of(&["celery", "-A", "src.worker.celery_app", "worker"]).as_deref(),
            Some("src.worker.celery_app")
        );
        assert_eq!(of(&["sh", "-c", "exec celery --app=src.w worker"]).as_deref(), Some("src.w"));
        assert_eq!(of(&["celery", "--app", "x:app", "worker"]).as_deref(), Some("x:app"));
        assert_eq!(of(&["python", "run.py"]), None);
    }

    #[test]
    fn words_around_the_answers_are_not_answers() {
        let lines = read_probe("warning: x\n{\"check\":\"ping\",\"ok\":true,\"ms\":4}\n{broken\n");
        assert_eq!(lines.len(), 1);
        assert!(lines[0].ok && lines[0].check == "ping");
    }
}
