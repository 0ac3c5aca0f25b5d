//! The last writes, in their order: RAW closed, secret scan, journal sealed,
//! summary, digest, self-verify, last known good. Only then is anything said.

use super::{Ending, Start, request};
use crate::error::{Exit, Lane, Result};
use crate::evidence::records::*;
use crate::evidence::{self, *};
use crate::fsx;
use serde_json::json;

/// Writes the last known good release, once everything else is on disk and verifies. Gets the
/// sha256 of the run's digest.
pub type OnPass<'a> = &'a mut dyn FnMut(&str) -> Result<()>;

/// Ends a run: judges it from its files, sums it up, and verifies what was written.
pub fn finish(
    start: &Start<'_>,
    run: &RunDir,
    failure: Option<&Failure>,
    on_pass: Option<OnPass<'_>>,
) -> Ending {
    match write(start, run, failure, on_pass) {
        Ok(ending) => ending,
        Err(error) => {
            start.events.warn("evidence", format!("the evidence could not be saved: {error:#}"));
            // What has happened to the stand counts for more than what could not be written of it.
            let exit = match evidence::judge(&run.path) {
                Ok(judged) if judged.exit == Exit::NeedsPerson => Exit::NeedsPerson,
                _ => Exit::Evidence,
            };
            Ending { exit, summary: None, dir: Some(run.path.clone()) }
        }
    }
}

fn write(
    start: &Start<'_>,
    run: &RunDir,
    failure: Option<&Failure>,
    on_pass: Option<OnPass<'_>>,
) -> Result<Ending> {
    if let Some(failure) = failure {
        run.write_json("failure.json", failure)?;
    }
    run.close_logs()?;
    // A refusal is the operator's own to mend, but for a secret, which is lane D's.
    let wanted = |f: &&Failure| {
        let refused = f.exit == Some(Exit::Refused.code()) && f.lane != Some(Lane::D);
        f.stopped_by.is_none() && !refused
    };
    if let Some(failure) = failure.filter(wanted) {
        request::write(run, failure)?;
    }
    let hits = evidence::leaks(&run.path, start.stand.exec.redactor())?;
    run.journal.fact("evidence", "secret scan", json!({ "hits": hits }))?;
    if !hits.is_empty() {
        let wanted = "Find out how they came there, change them, and remove this run's directory.";
        request::write_about(run, Lane::D, "Secrets stand in the evidence", &hits, wanted)?;
    }
    let weak = run.read::<Precheck>("precheck.json").map(|p| p.weak_secrets).unwrap_or_default();
    if !weak.is_empty() {
        let wanted = "Choose values of eight characters or more that are no common words: only such can be masked everywhere.";
        request::write_about(run, Lane::D, "Weak secrets", &weak, wanted)?;
    }
    let judged = evidence::judge(&run.path)?;
    let passed = judged.exit == Exit::Pass;
    run.journal.seal(json!({
        "verdict": judged.verdict.to_string(),
        "exit_code": judged.exit.code(),
        "last_known_good": (passed && on_pass.is_some()).then_some(&run.rid),
        "files": evidence::hashes(&run.path)?,
    }))?;
    let mut summary = evidence::derive(&run.path)?;
    let mut exit = exit_of(&summary);
    let mut digest = put(start, run, &summary)?;
    let verified = evidence::verify(&run.path, Some(&start.config.repo), start.render)?;
    if !verified.ok() {
        summary.ok = false;
        summary.reason = Some(format!("the evidence does not verify: {}", verified.problems.join("; ")));
        if exit != Exit::NeedsPerson {
            exit = Exit::Evidence;
            summary.exit_code = exit.code();
            summary.verdict = Verdict::Fail;
        }
        digest = put(start, run, &summary)?;
    }
    if exit == Exit::Pass
        && let Some(on_pass) = on_pass
    {
        on_pass(&digest)?;
    }
    Ok(Ending { exit, summary: Some(summary), dir: Some(run.path.clone()) })
}

fn exit_of(summary: &Summary) -> Exit {
    use Exit::*;
    [
        Pass,
        Usage,
        Refused,
        Locked,
        FailUnchanged,
        FailRolledBack,
        NeedsPerson,
        Evidence,
        Interrupted,
        Terminated,
    ]
    .into_iter()
    .find(|e| e.code() == summary.exit_code)
    .unwrap_or(NeedsPerson)
}

/// summary.json, summary.md, report.html and, last, the digest.
fn put(start: &Start<'_>, run: &RunDir, summary: &Summary) -> Result<String> {
    // Not masked again: it is made of records that are, and must be what they give.
    fsx::write_json(&run.path.join("summary.json"), summary)?;
    for (name, text) in (start.render)(summary) {
        fsx::write_atomic(&run.path.join(&name), text.as_bytes())?;
    }
    evidence::write_digest(&run.path)
}
