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
    /// Neither: somebody else has been here. The name that the copy has now, where it still is.
    Lost { named: Option<String> },
}

/// The databases of a swap.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    pub live: &'a str,
    /// What goes in.
    pub copy: &'a str,
    pub copy_oid: u64,
    /// What `live` is called afterwards.
    pub failed: &'a str,
}

/// Asks the world where the copy is: OIDs survive a rename. A later rollback may have set it aside; then
/// it is no way back any more.
pub fn find(admin: &mut Psql, names: Names<'_>) -> Result<Where> {
    let all = postgres::databases(admin)?;
    let name = all.iter().find(|d| d.oid == names.copy_oid).map(|d| d.name.clone());
    Ok(match name {
        Some(name) if name == names.live => {
            Where::Swapped { failed: all.into_iter().map(|d| d.name).find(|n| n == names.failed) }
        }
        Some(name) if name == names.copy => Where::Waiting,
        named => Where::Lost { named },
    })
}

/// Renames `live` to `failed` and `copy` to `live`, both closed and without sessions.
pub fn swap(admin: &mut Psql, names: Names<'_>) -> Result<()> {
    let Names { live, copy, copy_oid, failed } = names;
    if let Where::Swapped { .. } = find(admin, names)? {
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
