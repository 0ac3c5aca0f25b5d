//! What there is to go back to. Changes nothing.

use super::Start;
use super::open_runs::{self, OpenRun, Why};
use crate::acts::{code, elsewhere, stored};
use crate::clock::{self, Clock};
use crate::error::{Exit, Fault, Result, fault_of};
use crate::evidence::{read_journal, replaced};
use crate::facts::Facts;
use crate::fsx;
use crate::lkg::{LastKnownGood, Store};
use crate::stand::postgres;
use std::path::{Path, PathBuf};

/// What to go back to.
#[derive(Debug, Clone)]
pub enum Choice {
    /// An interrupted run: undo it.
    Recover(OpenRun),
    /// The state before the last release, by its undo clone.
    Undo { rid: String },
    /// The database of a backup directory; the code stays as it runs.
    Backup { dir: PathBuf },
    /// An earlier release: its code, and the database as the backup of the release after it has it.
    To { release: LastKnownGood, dir: PathBuf },
}

/// What the operator asks for; nothing: the nearest way back.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub backup: Option<PathBuf>,
    pub to: Option<String>,
}

/// A thing to go back to, for people.
#[derive(Debug, Clone)]
pub struct Offer {
    pub choice: Choice,
    pub words: String,
    /// What will be destroyed or set aside.
    pub consequences: Vec<String>,
    /// What it was made of.
    seen: Seen,
}

/// What an offer is made of: the last known good release, and the runs that are not settled.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    last: Option<String>,
    open: Vec<(String, Why)>,
}

impl Seen {
    fn now(repo: &Path) -> Result<Seen> {
        Ok(Seen::of(&open_runs::find(repo)?, Store::of(repo).last()?.as_ref()))
    }

    fn of(open: &[OpenRun], last: Option<&LastKnownGood>) -> Seen {
        let open = open.iter().map(|run| (run.rid.clone(), run.why)).collect();
        Seen { last: last.map(|l| l.rid.clone()), open }
    }
}

impl Offer {
    /// Asked again by the one who holds the lock: a person may have taken hours to say yes.
    ///
    /// # Errors
    /// A [`Fault`] with exit 10 when another run has come and gone since.
    pub fn still_stands(&self, repo: &Path) -> Result<()> {
        if Seen::now(repo)? == self.seen {
            return Ok(());
        }
        Err(Fault::refused("another run has come between this way back and your yes")
            .why(format!("it was to go back to: {}", self.words))
            .remedy("cargo xtask status says what runs now; cargo xtask rollback shows the ways back anew")
            .into())
    }
}

/// Looks what there is to go back to. Changes nothing.
pub fn offer(start: &Start<'_>, facts: &Facts, wanted: &Wanted) -> Result<Offer> {
    let repo = &start.config.repo;
    let store = Store::of(repo);
    let aside = "what was written since is kept in a database of its own, counted and dumped".to_string();
    let open = open_runs::find(repo)?;
    let last = store.last()?;
    let seen = Seen::of(&open, last.as_ref());
    // What is asked for by name comes first: where the way back of an open run is lost, nothing else helps.
    let by_clone = |rid: &str| -> Result<bool> {
        Ok(open.is_empty()
            && is_before(&store, last.as_ref(), rid)
            && !clone_is_gone(start, facts, last.as_ref())?)
    };
    if let Some(rid) = &wanted.to
        && !by_clone(rid)?
    {
        let mut offer = to_release(start, &store, last.as_ref(), rid, aside, seen)?;
        offer.consequences.extend(open.first().map(instead));
        return Ok(offer);
    }
    if let Some(dir) = &wanted.backup {
        let dir = fsx::absolute(dir)?;
        let stored = stored::read(&dir).map_err(|e| fault_of(&e).exit(Exit::Refused))?;
        let time = stored.time.as_deref().unwrap_or("an unknown time");
        let words = format!("the database as of {time} from {}", dir.display());
        let code = match (open.first(), &last) {
            (None, _) => "the code stays as it runs, and what waits in the queues waits on".into(),
            (Some(_), Some(last)) => format!("the code is that of {}", last.rid),
            (Some(run), None) if store.target(&run.about).is_some() => {
                format!("the code is what ran before {}", run.about)
            }
            (Some(_), None) => "the code stays as it is: what ran before is not recorded".into(),
        };
        let mut consequences = vec![aside, code];
        consequences.extend(open.first().map(instead));
        return Ok(Offer { choice: Choice::Backup { dir }, words, consequences, seen });
    }
    // A backup that was being brought back took the place of everything before it.
    let replacing = match open.first() {
        Some(run) if run.why != Why::Unreadable => replaced(&read_journal(&run.dir.join("events.jsonl"))?),
        _ => false,
    };
    if !replacing {
        open_runs::refuse_unreadable(&open)?;
    }
    if let Some(run) = open.into_iter().next() {
        let words = match replacing {
            true => format!("the backup that {} was bringing back; it {}", run.rid, run.words()),
            false if run.about != run.rid => {
                format!(
                    "the state before {}, as {} {} was to; it {}",
                    run.about,
                    run.command,
                    run.rid,
                    run.words()
                )
            }
            false => format!("the state before {} {}, which {}", run.command, run.rid, run.words()),
        };
        return Ok(Offer { choice: Choice::Recover(run), words, consequences: vec![aside], seen });
    }
    if let Ok(pg) = facts.pg(start.stand, start.config) {
        elsewhere::refuse(&pg, repo)?;
    }
    let last = last.ok_or_else(|| code::nothing_to_go_back_to("no release has passed on this stand"))?;
    let target = store.target(&last.rid).ok_or_else(|| {
        code::nothing_to_go_back_to(&format!("what was before {} is not recorded", last.rid))
    })?;
    let pg = facts.pg(start.stand, start.config)?;
    let mut admin = pg.session("postgres", "ffx-offer")?;
    if postgres::database(&mut admin, &target.clone)?.is_none() {
        let hint = last.backup.as_deref().unwrap_or("none");
        return Err(code::nothing_to_go_back_to(&format!(
            "the undo clone of {} is gone; its backup: {hint}; `cargo xtask rollback --to` takes the code back as well",
            last.rid
        ))
        .into());
    }
    let before =
        target.previous.as_ref().map_or("the state before the first release".to_string(), |p| p.rid.clone());
    let age = clock::parse_rfc3339(&last.time).map_or(0, |t| (Clock::System.now() - t).whole_seconds());
    let words = format!(
        "{before}, by the undo clone made {} ago ({}, proved before the change)",
        clock::human_age(age),
        fsx::human_bytes(postgres::size(&mut admin, &target.clone)?)
    );
    Ok(Offer { choice: Choice::Undo { rid: last.rid }, words, consequences: vec![aside], seen })
}

/// What becomes of an open run in whose place the operator asks for something else.
fn instead(run: &OpenRun) -> String {
    format!(
        "this takes the place of undoing {} {}, which {}; its undo clone is kept as a failed database, and dumped",
        run.command,
        run.rid,
        run.words()
    )
}

/// Is it the state before the last release, which the undo clone brings back at once?
fn is_before(store: &Store, last: Option<&LastKnownGood>, rid: &str) -> bool {
    let target = last.and_then(|l| store.target(&l.rid));
    target.and_then(|t| t.previous).is_some_and(|p| p.rid == rid)
}

/// Then the backup that the last release made brings back what was before it.
fn clone_is_gone(start: &Start<'_>, facts: &Facts, last: Option<&LastKnownGood>) -> Result<bool> {
    let Some(target) = last.and_then(|l| Store::of(&start.config.repo).target(&l.rid)) else {
        return Ok(false);
    };
    let pg = facts.pg(start.stand, start.config)?;
    let mut admin = pg.session("postgres", "ffx-offer")?;
    Ok(postgres::database(&mut admin, &target.clone)?.is_none())
}

fn to_release(
    start: &Start<'_>,
    store: &Store,
    last: Option<&LastKnownGood>,
    rid: &str,
    aside: String,
    seen: Seen,
) -> Result<Offer> {
    let no = |why: String| -> anyhow::Error {
        Fault::refused(format!("there is no way back to {rid}"))
            .why(why)
            .remedy("cargo xtask rollback lists what there is")
            .into()
    };
    if last.is_some_and(|l| l.rid == rid) {
        return Err(no(
            "it is the last known good release: what runs now, or what a rollback goes back to".into()
        ));
    }
    let release = store.release(rid).ok_or_else(|| no("no release of this name is kept".into()))?;
    let after = store.successor(rid).ok_or_else(|| no("no release came after it".into()))?;
    let dir = after.backup.as_ref().map(|dir| start.config.repo.join(dir)).filter(|dir| dir.exists());
    let dir = dir.ok_or_else(|| no(format!("the backup that {} made of its database is gone", after.rid)))?;
    let words = format!(
        "{rid} (commit {}), with the database as of {}, from the backup that {} made",
        &release.commit[..release.commit.len().min(12)],
        after.time,
        after.rid
    );
    let consequences =
        vec![aside, "the backup is restored beside and compared first: that takes its time; what waits in the queues waits on".into()];
    Ok(Offer { choice: Choice::To { release, dir }, words, consequences, seen })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::{EVIDENCE, RunDir};
    use crate::redact::Redactor;

    #[test]
    fn an_offer_does_not_stand_when_another_run_has_come_between() {
        let repo = tempfile::tempdir().unwrap();
        let repo = repo.path();
        let seen = Seen::now(repo).unwrap();
        let choice = Choice::Undo { rid: "rel_1".into() };
        let offer =
            Offer { choice, words: "rel_0, by the undo clone".into(), consequences: Vec::new(), seen };
        offer.still_stands(repo).unwrap();
        let run = RunDir::create(&repo.join(EVIDENCE), "rel_2", &Redactor::new()).unwrap();
        run.journal.fact("pipeline", "note", serde_json::json!({})).unwrap();
        let fault = fault_of(&offer.still_stands(repo).unwrap_err());
        assert_eq!(fault.exit, Some(Exit::Refused));
        assert!(fault.why.unwrap().contains("rel_0"));
    }
}
