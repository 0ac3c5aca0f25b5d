//! The last writes, in their order: RAW closed, secret scan, journal sealed,
//! summary, digest, self-verify, last known good. Only then is anything said.

use super::{Ending, Start, request};
use crate::error::{Exit, Fault, Lane, Result};
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
            let (exit, fault) = unsaved(run, failure, &error);
            Ending { exit, summary: None, unsaved: Some(fault) }
        }
    }
}

/// The end of a run whose evidence could not be saved. What has happened to the stand counts for more
/// than what could not be written of it, and it is told from what is known here: the records may be
/// the ones that are missing.
fn unsaved(run: &RunDir, failure: Option<&Failure>, error: &anyhow::Error) -> (Exit, Fault) {
    let lines = read_journal(&run.path.join("events.jsonl"));
    // Of a rollback the journal does not tell; what it was about had changed something. A journal that
    // cannot be read tells nothing at all.
    let changed = lines
        .as_ref()
        .map_or(true, |lines| reached(lines) != Reached::Unchanged || begun(lines).command == "rollback");
    let back: Option<Rollback> = run.read("rollback.json");
    let (exit, state) = match (failure, back) {
        (_, Some(back)) if !back.verified => (Exit::NeedsPerson, "the way back is not verified"),
        (_, Some(_)) => (Exit::Evidence, "it is as it was before, and that is verified"),
        (_, None) if lines.is_err() => {
            (Exit::NeedsPerson, "not known, because the run's own journal cannot be read")
        }
        (Some(failed), None) if changed && failed.step != RECORD => {
            (Exit::NeedsPerson, "whether the way back was begun or finished is not recorded")
        }
        (_, None) if changed => (
            Exit::Evidence,
            "the new version runs and is good, the undo clone is kept, and it is no last known good release",
        ),
        _ => (Exit::Evidence, "the stand is as it was"),
    };
    let failed = failure.map(|f| format!("it failed in {}: {}\n", f.step, f.what)).unwrap_or_default();
    let fault = Fault::new(format!("the evidence of {} could not be saved", run.rid))
        .why(format!("{error:#}\n{failed}the stand: {state}"))
        .remedy("mend that (free space on that disk), then `cargo xtask rollback` undoes or finishes what is open")
        .log(run.path.clone())
        .exit(exit);
    (exit, fault)
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
    run.use_room();
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
        && let Err(error) = on_pass(&digest)
    {
        // Nothing may say PASS of a run that ends otherwise; that its seal did is found by `verify`.
        summary.ok = false;
        summary.reason = Some(format!("it could not be recorded as the last known good release: {error:#}"));
        summary.exit_code = Exit::Evidence.code();
        summary.verdict = Verdict::Fail;
        put(start, run, &summary)?;
        return Err(error);
    }
    Ok(Ending { exit, summary: Some(summary), unsaved: None })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::Redactor;

    #[test]
    fn a_run_whose_journal_is_gone_does_not_say_that_nothing_was_touched() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::create(dir.path(), "rel_gone", &Redactor::new()).unwrap();
        let failure = Failure { step: "migrate".into(), what: "it failed".into(), ..Failure::default() };
        let error = crate::error::anyhow!("no such file");
        let (exit, fault) = unsaved(&run, Some(&failure), &error);
        assert_eq!(exit, Exit::Evidence, "{fault}");
        assert!(fault.to_string().contains("the stand is as it was"), "{fault}");
        std::fs::remove_dir_all(&run.path).unwrap();
        let (exit, fault) = unsaved(&run, Some(&failure), &error);
        assert_eq!(exit, Exit::NeedsPerson, "{fault}");
        assert!(fault.to_string().contains("not known"), "{fault}");
    }
}
