//! `evidence list | show | verify`: offline, from the files alone.

use super::args::{Evidence, EvidenceCommand, Global};
use super::find_repo;
use crate::error::{Exit, Fault, Result};
use crate::evidence::{self, EVIDENCE, Summary};
use crate::fsx;
use crate::report::{Screen, words};
use std::path::{Path, PathBuf};

pub fn run(global: &Global, args: &Evidence, screen: &Screen) -> Result<Exit> {
    match &args.command {
        EvidenceCommand::List => list(&find_repo(global.repo.as_deref())?, global.json, screen),
        EvidenceCommand::Show { rid } => {
            let (dir, _) = locate(global, rid)?;
            let summary: Summary = fsx::read_json(&dir.join("summary.json")).map_err(|error| {
                Fault::new(format!("{rid} has no readable summary.json"))
                    .why(format!("{error:#}"))
                    .remedy("a run that did not end has none: cargo xtask status; cargo xtask evidence verify RID")
                    .exit(Exit::Evidence)
            })?;
            if global.json {
                screen.data(&(serde_json::to_string_pretty(&summary)? + "\n"));
            } else {
                screen.data(&words::summary(&summary, screen.paint));
            }
            Ok(Exit::Pass)
        }
        EvidenceCommand::Verify { rid } => verify(global, rid, screen),
    }
}

/// The run directory that is meant, and the checkout that it belongs to, where there is one.
fn locate(global: &Global, rid: &str) -> Result<(PathBuf, Option<PathBuf>)> {
    let path = Path::new(rid);
    if path.join("events.jsonl").exists() || path.join("digest.sha256").exists() {
        let dir = fsx::absolute(path)?;
        let repo = dir.ancestors().nth(4).filter(|_| dir.parent().is_some_and(|p| p.ends_with(EVIDENCE)));
        let repo = repo.map(Path::to_path_buf);
        return Ok((dir, repo));
    }
    let repo = find_repo(global.repo.as_deref())?;
    let dir = repo.join(EVIDENCE).join(rid);
    if evidence::check_rid(rid).is_err() || !fsx::is_there(&dir)? {
        let known = evidence::runs(&repo.join(EVIDENCE))?;
        let names: Vec<String> = known
            .iter()
            .take(5)
            .filter_map(|d| Some(d.file_name()?.to_string_lossy().into_owned()))
            .collect();
        return Err(Fault::usage(format!("there is no run {rid}"))
            .why(if names.is_empty() {
                "no run has left evidence here".into()
            } else {
                format!("the newest are: {}", names.join(", "))
            })
            .remedy("cargo xtask evidence list")
            .into());
    }
    Ok((dir, Some(repo)))
}

fn list(repo: &Path, json: bool, screen: &Screen) -> Result<Exit> {
    let mut rows = Vec::new();
    for dir in evidence::runs(&repo.join(EVIDENCE))? {
        let rid = dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let summary = fsx::read_json::<Summary>(&dir.join("summary.json"));
        let denied = summary.as_ref().is_err_and(fsx::is_denied);
        rows.push((rid, evidence::started(&dir), summary.ok(), denied));
    }
    if json {
        let list: Vec<_> = rows
            .iter()
            .map(|(rid, started, s, denied)| {
                serde_json::json!({
                    "rid": rid, "started": started,
                    "verdict": s.as_ref().map(|s| s.verdict), "exit_code": s.as_ref().map(|s| s.exit_code),
                    "readable": !denied,
                })
            })
            .collect();
        screen.data(&(serde_json::to_string_pretty(&list)? + "\n"));
        return Ok(Exit::Pass);
    }
    if rows.is_empty() {
        screen.say("no run has left evidence here yet\n");
    }
    for (rid, started, summary, denied) in rows {
        let none = if denied { "(not readable)" } else { "(not ended)" };
        let verdict =
            summary.as_ref().map_or(none.to_string(), |s| format!("{} ({})", s.verdict, s.exit_code));
        let state = summary.map(|s| s.state_left).unwrap_or_default();
        screen.data(&format!("{rid:<34} {started}  {verdict:<16} {state}\n"));
    }
    Ok(Exit::Pass)
}

fn verify(global: &Global, rid: &str, screen: &Screen) -> Result<Exit> {
    let (dir, repo) = locate(global, rid)?;
    let found = evidence::verify(&dir, repo.as_deref(), crate::report::render)?;
    if global.json {
        let data = serde_json::json!({ "dir": dir, "ok": found.ok(), "problems": found.problems, "held": found.held });
        screen.data(&(serde_json::to_string_pretty(&data)? + "\n"));
    } else {
        for text in &found.held {
            screen.data(&format!("{} {text}\n", screen.paint.good("holds ")));
        }
        for text in &found.problems {
            screen.data(&format!("{} {text}\n", screen.paint.bad("BROKEN")));
        }
        let word = if found.ok() {
            screen.paint.good("the evidence holds")
        } else {
            screen.paint.bad("the evidence does not hold")
        };
        screen.data(&format!("{word}: {}\n", dir.display()));
    }
    Ok(if found.ok() { Exit::Pass } else { Exit::Evidence })
}
