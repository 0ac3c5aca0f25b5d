//! A run that has not ended and whose evidence lies in another checkout: its
//! undo clone says so. Whoever released over it would drop that clone, and with
//! it the way back.

use super::Ctx;
use crate::error::{Fault, Result};
use crate::evidence::EVIDENCE;
use crate::evidence::records::Charter;
use crate::stand::postgres::{self, Pg};
use crate::stand::psql::Psql;
use std::path::Path;

/// What stands between the run's id and the place of its checkout.
const OPEN: &str = ", which has not ended: ";
const CLONE: &str = "undo clone of ";

/// Marks the clone of a run that has begun to change the stand.
pub fn begun(ctx: &Ctx<'_>, admin: &mut Psql, clone: &str) -> Result<()> {
    let charter: Charter = ctx.run.read("charter.json").unwrap_or_default();
    let place = format!("{}@{}, {}", charter.operator, charter.host, ctx.config.repo.display());
    postgres::comment(admin, clone, Some(&format!("{CLONE}{}{OPEN}{place}", ctx.run.rid)))
}

/// Marks the clone of a run that has ended: nobody waits for it any more.
pub fn ended(pg: &Pg, rid: &str, clone: &str) -> Result<()> {
    let mut admin = pg.session("postgres", "ffx-elsewhere")?;
    postgres::comment(&mut admin, clone, Some(&format!("{CLONE}{rid}")))
}

/// A run that has not ended, as its clone says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elsewhere {
    pub rid: String,
    /// `user@host, /path/of/its/checkout`
    pub place: String,
    pub clone: String,
}

impl Elsewhere {
    /// Has this checkout its evidence?
    fn is_of(&self, repo: &Path) -> bool {
        repo.join(EVIDENCE).join(&self.rid).exists()
    }
}

/// Looks for one that is none of this checkout.
pub fn find(pg: &Pg, repo: &Path) -> Result<Option<Elsewhere>> {
    Ok(marked(pg)?.into_iter().find(|run| !run.is_of(repo)))
}

/// Those of this checkout.
pub fn here(pg: &Pg, repo: &Path) -> Result<Vec<Elsewhere>> {
    let mut all = marked(pg)?;
    all.retain(|run| run.is_of(repo));
    Ok(all)
}

fn marked(pg: &Pg) -> Result<Vec<Elsewhere>> {
    let mut admin = pg.session("postgres", "ffx-elsewhere")?;
    let mut found = Vec::new();
    for (purpose, row) in postgres::own_databases(&mut admin, &pg.database)? {
        if let (true, Some((rid, place))) = (purpose == "pre", row.comment.as_deref().and_then(read)) {
            found.push(Elsewhere { rid: rid.into(), place: place.into(), clone: row.name.clone() });
        }
    }
    Ok(found)
}

/// The run that has not ended and its place, in the description of a clone.
fn read(comment: &str) -> Option<(&str, &str)> {
    comment.strip_prefix(CLONE)?.split_once(OPEN)
}

/// Refuses while there is one.
///
/// # Errors
/// A [`Fault`] with exit 10 that names the run and where its evidence is.
pub fn refuse(pg: &Pg, repo: &Path) -> Result<()> {
    let Some(Elsewhere { rid, place, clone }) = find(pg, repo)? else { return Ok(()) };
    Err(Fault::refused(format!("{rid}, begun in another checkout, has not ended"))
        .why(format!("it was run by {place}; its undo clone {clone} is the way back"))
        .remedy(
            "finish or undo it there: cargo xtask rollback. Where that checkout is lost for good: \
             cargo xtask rollback --backup DIR, then drop that clone",
        )
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clone_whose_run_has_not_ended_tells_of_it() {
        let open = format!("{CLONE}rel_1{OPEN}anna@host, /srv/a, b");
        assert_eq!(read(&open), Some(("rel_1", "anna@host, /srv/a, b")));
        assert_eq!(read("undo clone of rel_1"), None);
        assert_eq!(read("a database of ours, which has not ended: yet"), None);
    }
}
