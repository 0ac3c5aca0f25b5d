//! Why an archive cannot be restored, and what its owner can do about it. What
//! works in the live database can fail in a restore: there the search path is
//! empty, every row meets its constraints anew, and tables come in any order.

use crate::error::{Fault, Lane};
use crate::exec::Finished;

const WHAT: &str = "this backup cannot bring the database back: the restore failed";

/// What PostgreSQL's error means in a restore: a word of it, and the remedy.
const REMEDIES: [(&str, &str); 6] = [
    (
        "violates check constraint",
        "rows of that table do not fit this CHECK as it is now (its function was changed since, or reads other tables, which are empty at that moment of a restore): mend the rows or the function, or drop the CHECK",
    ),
    (
        "violates foreign key constraint",
        "rows refer to others that are not there (they came in while triggers were off): remove or mend them, or make the constraint NOT VALID",
    ),
    (
        "could not create unique index",
        "the table has rows that this unique index forbids: remove the duplicates, and REINDEX",
    ),
    (
        "permission denied to set parameter",
        "a restore needs a superuser, or a user with SET on session_replication_role (PostgreSQL 15 and newer: GRANT SET ON PARAMETER)",
    ),
    ("No space left on device", "free space on the database's volume"),
    (
        "does not exist",
        "a restore runs with an empty search path: a function of an index, a CHECK or a generated column names this without its schema: name the schema in it, or ALTER FUNCTION ... SET search_path",
    ),
];

/// The failure of a restore: what PostgreSQL said first, and what to do about that.
pub fn fault(finished: &Finished) -> Fault {
    let fault = finished.fault(WHAT, Lane::C).remedy(remedy(&finished.stderr));
    match cause(&finished.stderr) {
        Some(cause) => fault.why(format!("{}: {cause}", finished.ended)),
        None => fault,
    }
}

/// The first error: what comes later is its consequence, such as `a worker process died unexpectedly`.
fn cause(stderr: &str) -> Option<&str> {
    stderr.lines().map(str::trim).find(|l| l.contains("ERROR") || l.contains("FATAL"))
}

fn remedy(stderr: &str) -> &'static str {
    let meant = REMEDIES.iter().find(|(word, _)| stderr.contains(word));
    meant.map_or("make the schema restorable: step_proof.log has all that PostgreSQL said", |r| r.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_is_the_cause_and_has_its_remedy() {
        let index = "pg_restore: error: could not execute query: ERROR:  relation \"codes\" does not exist\n\
                     LINE 1: [row values cut]\n\
                     pg_restore: error: a worker process died unexpectedly\n";
        assert!(cause(index).is_some_and(|c| c.contains("relation \"codes\"")));
        assert!(remedy(index).contains("search path"));
        let check = "pg_restore: error: COPY failed for table \"t\": ERROR:  new row for relation \"t\" violates check constraint \"fits\"\n";
        assert!(remedy(check).contains("do not fit this CHECK"));
        assert_eq!(cause("pg_restore: error: x"), None);
        assert!(remedy("pg_restore: error: x").contains("step_proof.log"));
    }
}
