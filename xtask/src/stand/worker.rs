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
    /// Asks the worker in `container`. `checks`: any of ping, tasks, round_trip, active.
    pub fn probe(
        &self,
        container: &Container,
        app: &str,
        checks: &[&str],
        tasks: &[String],
        limit: Duration,
    ) -> Invocation {
        let asked = serde_json::json!({
            "app": app,
            "node": format!("celery@{}", container.hostname),
            "checks": checks,
            "tasks": tasks,
            "timeout": limit.as_secs_f64(),
        });
        // The question goes in by the environment of this one process, the program by stdin.
        let question = format!("FF_PROBE={asked}");
        let run = "exec $(command -v python3 || command -v python) -";
        self.docker(["exec", "-i", "-e", &question, &container.id, "sh", "-c", run])
            .stdin(PROBE)
            .timeout(limit + Duration::from_secs(10))
    }
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
