//! The proof: the dump that was made, read back from disk, restored beside the
//! live database and compared with its source. Then dropped.

use crate::acts::restore::Made;
use crate::acts::{Ctx, restore, room, schema};
use crate::clock;
use crate::error::{Fault, Lane, Result, some};
use crate::evidence::records::Proof;
use crate::fsx;
use crate::lkg::Store;
use crate::stand::postgres;
use crate::stand::psql::Psql;
use serde_json::json;
use std::time::{Duration, Instant};

/// How room for the copy is seen to: [`room::make`], or [`room::enough`] by who may drop nothing for it.
pub type Room = fn(&Ctx<'_>, &str, &mut Psql) -> Result<()>;

/// Proves the backup. The properties of the database come out of the archive on the way, for a
/// rollback to replay.
pub fn run(ctx: &Ctx<'_>, made: &Made, room: Room) -> Result<Proof> {
    let start = Instant::now();
    let pg = ctx.pg("proof")?;
    let mut admin = pg.session("postgres", &ctx.app("proof"))?;
    let side = postgres::side_name(&pg.database, "proof", ctx.id);
    let shape = postgres::shape(&mut admin, &pg.database)?;
    room(ctx, "proof", &mut admin)?;
    let mut proof = Proof { side_database: side.clone(), ..Proof::default() };
    let outcome = (|| -> Result<()> {
        let source = &made.source;
        let what = restore::What {
            archive: &made.archive,
            side: &side,
            shape: &shape,
            from: &source.database,
            views: false,
            extensions: &source.extensions,
        };
        let restored = restore::beside(ctx, "proof", &mut admin, &what, &mut |read| {
            proof.restored_sha256 = read.into();
            as_made(made, read)
        })?;
        proof.restore_ms = restored.ms;
        proof.restore_ok = true;
        let store = Store::of(&ctx.config.repo);
        fsx::write_json(&store.of_release(&ctx.run.rid)?.join("properties.json"), &restored.properties)?;
        let compared = ctx.act("proof", "compare", json!({ "database": side }), || {
            let compared = restore::compare(ctx, "proof", &side, source)?;
            let data = json!({ "tables": compared.tables, "differences": compared.all() });
            Ok((compared, data))
        })?;
        proof.tables = compared.tables;
        proof.sums_equal = compared.sums.is_empty();
        proof.schema_equal = compared.schema.is_empty();
        proof.extensions_equal = compared.extensions.is_empty();
        proof.sequences_equal = compared.sequences.is_empty();
        proof.differences.extend(compared.all());
        ctx.run.write_json("sums_proof.json", &compared.copy)?;
        let mut live = pg.session(&pg.database, &ctx.app("indexes"))?;
        proof.warnings = schema::invalid_indexes(&mut live)?
            .into_iter()
            .map(|name| format!("index {name} is invalid already"))
            .collect();
        Ok(())
    })();
    // Also after an interrupt: a side database that stays is a leftover.
    let shielded = ctx.shielded();
    let dropped = shielded.act("proof", "drop side database", json!({ "database": side }), || {
        let pg = shielded.pg("proof")?;
        let mut admin = pg.session("postgres", &shielded.app("proof-drop"))?;
        pg.end_backends(&mut admin, &shielded.app("restore"))?;
        postgres::drop_database(&mut admin, &side, Duration::from_secs(600))?;
        Ok(((), json!({})))
    });
    proof.ms = clock::ms_since(start);
    if let Err(error) = &outcome {
        proof.differences.push(crate::error::fault_of(error).to_string());
    }
    proof.equal = outcome.is_ok()
        && proof.differences.is_empty()
        && proof.sums_equal
        && proof.schema_equal
        && proof.extensions_equal
        && proof.sequences_equal;
    ctx.run.write_json("proof.json", &proof)?;
    outcome?;
    dropped?;
    if !proof.equal {
        return Err(Fault::new("the restored backup is not equal to its source")
            .why(some(&proof.differences))
            .remedy(
                "this backup cannot bring the database back. What differs came out otherwise when its rows were \
                 loaded again (a generated column, or another function that was changed since?): compute it anew \
                 or mend the function, then release again",
            )
            .log(ctx.run.path.join("step_proof.log"))
            .lane(Lane::C)
            .into());
    }
    Ok(proof)
}

/// Was the dump that was made read back? What became of it between dump and proof is no finding about
/// the database: it is told apart from one before anything is restored.
fn as_made(made: &Made, read: &str) -> Result<()> {
    let record = &made.record;
    if read == record.sha256 {
        return Ok(());
    }
    let bytes = std::fs::metadata(&made.archive).map(|m| m.len()).unwrap_or_default();
    Err(Fault::new("the dump on disk is not the dump that was made")
        .why(format!(
            "{}/{}: {} bytes with sha256 {} were written, {bytes} with {} read back",
            record.dir,
            record.dump,
            record.bytes,
            &record.sha256[..12],
            &read[..12]
        ))
        .remedy("something changed or damaged the file: look at the disk and at who writes there, then release again")
        .lane(Lane::A)
        .into())
}

/// Records that the backup was not proved, and why. The clone wants its room all the same.
pub fn skip(ctx: &Ctx<'_>, reason: &str) -> Result<()> {
    ctx.run.log("proof")?.say(&format!("skipped: {reason}"));
    let mut admin = ctx.pg("proof")?.session("postgres", &ctx.app("proof"))?;
    room::make(ctx, "proof", &mut admin)?;
    ctx.run.write_json("proof.json", &Proof { skipped: Some(reason.into()), ..Proof::default() })
}
