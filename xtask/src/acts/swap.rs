//! The swap: in one transaction the live database gets another name and the
//! copy gets the live one. Takes the same time whatever the size.

use crate::error::{Fault, Lane, Result};
use crate::stand::postgres;
use crate::stand::psql::Psql;

/// Which database has the live name, and where the others are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Where {
    /// The live name has the copy: the swap has happened.
    Swapped { failed: Option<String> },
    /// The copy waits under its own name.
    Waiting,
    /// Neither: somebody else has been here.
    Lost,
}

/// Asks the world where the copy with `copy_oid` is: OIDs survive a rename.
pub fn find(admin: &mut Psql, live: &str, failed: &str, copy_oid: u64) -> Result<Where> {
    let all = postgres::databases(admin)?;
    let name = all.iter().find(|d| d.oid == copy_oid).map(|d| d.name.clone());
    Ok(match name {
        Some(name) if name == live => {
            Where::Swapped { failed: all.into_iter().map(|d| d.name).find(|n| n == failed) }
        }
        Some(_) => Where::Waiting,
        None => Where::Lost,
    })
}

/// Renames `live` to `failed` and `copy` to `live`, both closed and without sessions.
pub fn swap(admin: &mut Psql, live: &str, copy: &str, failed: &str, copy_oid: u64) -> Result<()> {
    if let Where::Swapped { .. } = find(admin, live, failed, copy_oid)? {
        return Ok(());
    }
    let present = postgres::database(admin, live)?.is_some();
    admin.run("BEGIN")?;
    let result = (|| {
        if present {
            postgres::rename(admin, live, failed)?;
        }
        postgres::rename(admin, copy, live)?;
        admin.run("COMMIT")
    })();
    if let Err(error) = result {
        // The rename is all or nothing; what is open must be closed before the next question.
        let _ = admin.run("ROLLBACK");
        return Err(error.context(format!("swap {copy} in for {live}")));
    }
    let row = postgres::the_database(admin, live)?;
    if row.oid != copy_oid {
        return Err(Fault::new(format!("{live} is not the copy"))
            .why(format!("it has OID {}, the copy has {copy_oid}", row.oid))
            .lane(Lane::C)
            .into());
    }
    Ok(())
}
