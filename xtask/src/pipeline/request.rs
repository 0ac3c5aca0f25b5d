//! REQ: a failure is never patched over by the operator of the release; it
//! becomes a request to the lane that owns its cause.

use crate::error::{Lane, Result};
use crate::evidence::records::{Deploy, Failure, Smoke};
use crate::evidence::{LineKind, RunDir, read_journal};
use crate::stand::sqlstate::sqlstate_in;
use serde_json::Value;

/// The lane of a failure: its own, but a smoke failure whose cause is a missing relation or column
/// belongs to those who own the schema (Q2).
pub fn lane(run: &RunDir, failure: &Failure) -> Lane {
    if matches!(failure.step.as_str(), "smoke" | "deploy") && missing_relation(run).is_some() {
        return Lane::C;
    }
    failure.lane.unwrap_or(match failure.step.as_str() {
        "smoke" | "deploy" => Lane::B,
        "migrate" | "proof" => Lane::C,
        _ => Lane::A,
    })
}

/// The SQLSTATE and the line that tells of a missing relation or column: in a check's answer, else
/// in the logs of the services.
fn missing_relation(run: &RunDir) -> Option<(String, String)> {
    let smoke: Option<Smoke> = run.read("smoke.json");
    let told = smoke.iter().flat_map(|s| &s.checks).filter(|c| !c.ok).find_map(|c| {
        let state = c.sqlstate.clone().or_else(|| sqlstate_in(&c.detail))?;
        Some((state, format!("{}: {}", c.name, c.detail)))
    });
    told.or_else(|| {
        let since = deployed_at(run)?;
        let files = std::fs::read_dir(&run.path).ok()?.flatten();
        files
            .filter(|f| f.file_name().to_string_lossy().starts_with("logs_"))
            .filter_map(|f| std::fs::read_to_string(f.path()).ok())
            .find_map(|text| {
                let line = since_then(&text, &since).rfind(|l| sqlstate_in(l).is_some())?;
                Some((sqlstate_in(line)?, line.trim().to_string()))
            })
    })
}

/// When the new version was started: what the logs say of earlier moments is not its doing.
fn deployed_at(run: &RunDir) -> Option<String> {
    let lines = read_journal(&run.path.join("events.jsonl")).ok()?;
    lines
        .into_iter()
        .find(|l| l.kind == LineKind::Intent && l.step == "deploy" && l.act == "up")
        .map(|l| l.time)
}

/// The lines of a service's log from a moment on. Each begins with docker's time stamp, RFC 3339 UTC as
/// the journal's: such compare as text, as far as both go.
fn since_then<'a>(log: &'a str, since: &str) -> impl DoubleEndedIterator<Item = &'a str> {
    let since = since.trim_end_matches('Z').to_string();
    log.lines().filter(move |l| l.get(..since.len()).is_some_and(|at| at >= since.as_str()))
}

/// The last error in the log of each service that did not stay up.
fn last_words(run: &RunDir) -> Vec<String> {
    let deploy: Deploy = run.read("deploy.json").unwrap_or_default();
    let since = deployed_at(run).unwrap_or_default();
    deploy
        .services
        .iter()
        .filter(|s| deploy.problems.iter().any(|p| p.starts_with(&format!("{} ", s.service))))
        .filter_map(|s| {
            let log = std::fs::read_to_string(run.path.join(format!("logs_{}.log", s.service))).ok()?;
            let said =
                |l: &&str| ["Error", "ERROR", "error:", "Exception", "FATAL"].iter().any(|w| l.contains(w));
            let line = since_then(&log, &since).rfind(said)?;
            Some(format!("{}: {}", s.service, line.trim()))
        })
        .collect()
}

/// Writes a request that no failed step stands behind, e.g. secrets that are too weak.
pub fn write_about(run: &RunDir, lane: Lane, what: &str, causes: &[String], wanted: &str) -> Result<()> {
    let mut text = format!("# REQ {} to lane {lane}\n\n- **what**: {what}\n\n## Found\n\n", run.rid);
    for cause in causes {
        text.push_str(&format!("> {cause}\n"));
    }
    text.push_str(&format!("\n## Wanted\n\n{wanted}\n"));
    let subject = what.split(' ').next().unwrap_or_default().to_lowercase();
    run.write_text(&format!("req/REQ-{}-{lane}-{subject}.md", run.rid), &text)
}

/// Writes the request; returns its path in the run directory.
pub fn write(run: &RunDir, failure: &Failure) -> Result<String> {
    let plan: Value = run.read("plan.json").unwrap_or_default();
    let lane = lane(run, failure);
    let name = format!("req/REQ-{}-{lane}.md", run.rid);
    let mut text = format!("# REQ {} to lane {lane}\n\n", run.rid);
    let mut line = |key: &str, value: &str| text.push_str(&format!("- **{key}**: {value}\n"));
    line("release", &run.rid);
    line("stand", plan["project"].as_str().unwrap_or_default());
    line("commit", plan["commit"].as_str().unwrap_or_default());
    line("failed step", &failure.step);
    line("what", &failure.what);
    if let Some(log) = &failure.log {
        line("log", log);
    }
    text.push_str("\n## Cause, quoted\n\n");
    let mut quoted: Vec<String> = failure.why.iter().cloned().collect();
    if let Some((state, cause)) = missing_relation(run).filter(|_| lane == Lane::C) {
        quoted.push(format!("SQLSTATE {state}: {cause}"));
    }
    if let Some(smoke) = run.read::<Smoke>("smoke.json").filter(|_| failure.step == "smoke") {
        quoted.extend(smoke.checks.iter().filter(|c| !c.ok).map(|c| format!("{}: {}", c.name, c.detail)));
    }
    if failure.step == "deploy" {
        quoted.extend(last_words(run));
    }
    let mut seen: Vec<String> = Vec::new();
    quoted.retain(|q| {
        let new = !seen.iter().any(|s| s.contains(q.as_str()));
        seen.push(q.clone());
        new
    });
    if quoted.is_empty() {
        quoted.push("no cause was printed; see the log".into());
    }
    for piece in quoted.iter().flat_map(|q| q.lines()) {
        text.push_str(&format!("> {piece}\n"));
    }
    text.push_str("\n## Wanted\n\n");
    text.push_str(failure.remedy.as_deref().unwrap_or("Mend the cause, then release again."));
    text.push('\n');
    run.write_text(&name, &text)?;
    Ok(name)
}
