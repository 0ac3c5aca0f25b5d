//! REQ: a failure is never patched over by the operator of the release; it
//! becomes a request to the lane that owns its cause.

use crate::acts::smoke::sqlstate_in;
use crate::error::{Lane, Result};
use crate::evidence::RunDir;
use crate::evidence::records::{Failure, Smoke};

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
        let files = std::fs::read_dir(&run.path).ok()?.flatten();
        files
            .filter(|f| f.file_name().to_string_lossy().starts_with("logs_"))
            .filter_map(|f| std::fs::read_to_string(f.path()).ok())
            .find_map(|text| {
                let line = text.lines().rfind(|l| sqlstate_in(l).is_some())?;
                Some((sqlstate_in(line)?, line.trim().to_string()))
            })
    })
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
pub fn write(run: &RunDir, failure: &Failure, project: &str, commit: &str) -> Result<String> {
    let lane = lane(run, failure);
    let name = format!("req/REQ-{}-{lane}.md", run.rid);
    let mut text = format!("# REQ {} to lane {lane}\n\n", run.rid);
    let mut line = |key: &str, value: &str| text.push_str(&format!("- **{key}**: {value}\n"));
    line("release", &run.rid);
    line("stand", project);
    line("commit", commit);
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
