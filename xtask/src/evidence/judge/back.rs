//! The verdict of a `rollback`, and what a way back has left.

use super::{
    END_STOP, Judgement, START_BACK, STOP, STOP_BACK, UP, first_open, has_begun, is_begun, is_done, join,
};
use crate::error::Exit;
use crate::evidence::records::{Failure, Rollback};
use crate::evidence::summary::{Gate, Verdict};
use crate::evidence::{Line, LineKind};

/// What a way back that ended half-way has left, as the end of a sentence.
pub(super) fn left_stopped(back: &Rollback, journal: &[Line]) -> &'static str {
    // Each try of the way back stops and starts them anew: the last one counts.
    let stops = |l: &Line| [STOP, STOP_BACK, END_STOP].iter().any(|act| is_begun(l, *act));
    let Some(at) = journal.iter().rposition(stops) else { return "" };
    let done = |l: &Line| {
        is_done(l, UP)
            || l.kind == LineKind::Done && l.step == "rollback" && START_BACK.contains(&l.act.as_str())
    };
    let since = &journal[at..];
    match (since.iter().any(done), has_begun(since, UP), back.database.open) {
        (true, ..) => "",
        (false, true, _) => "; the new version did not start as a whole, so services may be stopped",
        (false, false, true) => "; the services are stopped",
        (false, false, false) => "; the services are stopped, the database may be closed",
    }
}

/// Judges a `rollback`. `touched`: it had begun to change something.
pub(super) fn judge_rollback(
    gates: Vec<Gate>,
    failure: Option<Failure>,
    rollback: Option<Rollback>,
    touched: bool,
    journal: &[Line],
) -> Judgement {
    let all_ok = gates.iter().all(|g| g.ok);
    let reason = failure.as_ref().map(|f| join(&f.what, f.why.as_deref()));
    let (verdict, exit, state_left) = match (&rollback, touched) {
        (Some(back), _) if back.verified && all_ok && failure.is_none() => {
            (Verdict::Pass, Exit::Pass, gone_back(back))
        }
        // The stand is back and nothing is to be done to it: only the evidence is not whole.
        (Some(back), _) if back.verified && failure.is_none() && only_evidence(&gates) => {
            (Verdict::Fail, Exit::Evidence, format!("{}; the evidence is not complete", gone_back(back)))
        }
        (None, false) => {
            let by = failure.as_ref().and_then(|f| f.stopped_by.as_deref());
            let exit = match (by, failure.as_ref().and_then(|f| f.exit)) {
                (Some("terminate"), _) => Exit::Terminated,
                (Some(_), _) => Exit::Interrupted,
                (None, Some(11)) => Exit::Locked,
                (None, _) => Exit::Refused,
            };
            (Verdict::Refused, exit, "unchanged".into())
        }
        (Some(back), _) => {
            let what = match (back.problems.is_empty(), &failure) {
                (false, _) => back.problems.join("; "),
                (true, Some(failure)) => failure.what.clone(),
                (true, None) => "not verified".into(),
            };
            (
                Verdict::Fail,
                Exit::NeedsPerson,
                format!("needs a person: {what}{}", left_stopped(back, journal)),
            )
        }
        (None, _) => (Verdict::Fail, Exit::NeedsPerson, "needs a person: the rollback did not end".into()),
    };
    let reason = reason.or_else(|| {
        let problems = rollback.as_ref().map(|back| back.problems.join("; ")).filter(|p| !p.is_empty());
        problems.or_else(|| first_open(&gates, &[])).filter(|_| exit != Exit::Pass)
    });
    Judgement { verdict, exit, state_left, reason, gates }
}

/// What runs after a rollback that is verified.
fn gone_back(back: &Rollback) -> String {
    match &back.to {
        to if stopped(back) => {
            let before = to.as_ref().map_or("before the first release", |_| "then");
            format!("nothing runs, the database is as it was: as {before}")
        }
        Some(to) => format!("{to} runs, on the database as it was then"),
        None => "the version of before runs, on the database as it was then".into(),
    }
}

/// Did nothing run before, so that nothing was started?
pub(super) fn stopped(back: &Rollback) -> bool {
    back.code.as_ref().is_some_and(|code| code.kind == "stopped")
}

/// Do all gates hold but some of the evidence?
fn only_evidence(gates: &[Gate]) -> bool {
    gates.iter().all(|g| g.ok || g.id.starts_with('E'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollback_that_is_verified_needs_nobody_where_only_evidence_is_missing() {
        let gate = |id: &str, ok: bool| Gate { id: id.into(), ok, detail: String::new() };
        let back = |verified| Some(Rollback { verified, ..Rollback::default() });
        for (verified, open, exit) in [
            (true, None, Exit::Pass),
            (true, Some("E1"), Exit::Evidence),
            (true, Some("R2"), Exit::NeedsPerson),
            (false, Some("E1"), Exit::NeedsPerson),
            (false, None, Exit::NeedsPerson),
        ] {
            let gates = ["R1", "R2", "E1", "E4"].iter().map(|id| gate(id, open != Some(*id))).collect();
            let judged = judge_rollback(gates, None, back(verified), true, &[]);
            assert_eq!(judged.exit, exit, "verified {verified}, open {open:?}: {judged:?}");
            assert_eq!(judged.state_left.starts_with("needs a person"), exit == Exit::NeedsPerson);
        }
    }

    #[test]
    fn a_rollback_that_another_writer_kept_out_says_so() {
        for (exit, judged) in [(Some(11), Exit::Locked), (Some(10), Exit::Refused), (None, Exit::Refused)] {
            let failure = Failure { exit, ..Failure::default() };
            assert_eq!(judge_rollback(Vec::new(), Some(failure), None, false, &[]).exit, judged, "{exit:?}");
        }
    }
}
