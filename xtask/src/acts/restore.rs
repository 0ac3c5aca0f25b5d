//! Restores an archive into a database of its own beside the live one, and
//! compares the two. A failed restore beside touches nothing.

use super::schema::{self, Extension, Objects, Sequence};
use super::sums::{self, Sums};
use super::{Ctx, fence, properties};
use crate::error::{Context, Fault, Lane, Result};
use crate::fsx;
use crate::stand::dump::split_contents;
use crate::stand::postgres::{self, Pg};
use crate::stand::psql::{Psql, ident};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A restore of terabytes takes hours.
const RESTORE: Duration = Duration::from_secs(12 * 3600);

/// What the source was when it was dumped.
#[derive(Debug, Clone)]
pub struct Source {
    pub database: String,
    pub sums: Sums,
    pub objects: Objects,
    pub extensions: Vec<Extension>,
    pub sequences: Vec<Sequence>,
}

/// A backup, and what its source was.
pub struct Made {
    pub record: crate::evidence::records::Backup,
    pub source: Source,
    pub archive: std::path::PathBuf,
}

/// A restored copy.
#[derive(Debug, Clone)]
pub struct Restored {
    pub database: String,
    /// sha256 of the bytes that were read from this machine's disk and restored.
    pub sha256: String,
    pub ms: u64,
    /// The database-level properties, for the live name.
    pub properties: Vec<String>,
}

/// What to restore, and where to.
pub struct What<'a> {
    pub archive: &'a Path,
    /// The new database.
    pub side: &'a str,
    /// How to create it.
    pub shape: &'a postgres::Shape,
    /// The database's name in the archive.
    pub from: &'a str,
    pub extensions: &'a [Extension],
}

/// Restores an archive into a new database.
pub fn beside(ctx: &Ctx<'_>, step: &str, admin: &mut Psql, what: &What<'_>) -> Result<Restored> {
    let What { archive, side, .. } = *what;
    let pg = ctx.pg(step)?;
    let start = Instant::now();
    ctx.act(step, "create side database", json!({ "database": side }), || {
        postgres::drop_database(admin, side, RESTORE)?;
        admin.ask(&postgres::create_like(side, what.shape), RESTORE)?;
        admin.run(&format!("REVOKE CONNECT ON DATABASE {} FROM PUBLIC", ident(side)))?;
        Ok(((), json!({ "oid": postgres::the_database(admin, side)?.oid })))
    })?;
    let remote = remote_archive(ctx.id, side);
    let result = ctx.act(step, "restore", json!({ "database": side, "archive": archive }), || {
        let sha256 = send(ctx, step, &pg, archive, &remote)?;
        let properties = read_properties(ctx, &pg, &remote, what.from)?;
        load(ctx, step, &pg, side, &remote, what.extensions)?;
        let data = json!({ "sha256": sha256, "properties": properties.len() });
        Ok(((sha256, properties), data))
    });
    let cleaned = remove_remote(&pg, &remote);
    let (sha256, properties) = result?;
    cleaned?;
    Ok(Restored { database: side.into(), sha256, ms: crate::clock::ms_since(start), properties })
}

/// Where an archive lies in the database container while it is restored.
fn remote_archive(id: &str, side: &str) -> String {
    format!("/tmp/ffx_{id}_{}.dump", &fsx::sha256(side.as_bytes())[..6])
}

/// Streams a file into the container and hashes what was read from disk: a flipped byte between
/// dump and proof shows here.
fn send(ctx: &Ctx<'_>, step: &str, pg: &Pg, archive: &Path, remote: &str) -> Result<String> {
    let size = std::fs::metadata(archive).with_context(|| format!("find {}", archive.display()))?.len();
    ctx.progress(step, "copying the dump into the database container", 0, Some(size));
    let hashing = Hashing::open(archive)?;
    let state = Arc::clone(&hashing.state);
    let script = format!("umask 077; cat > {remote}");
    let call = pg.stand.inside(&pg.container, &[], &["sh", "-c", &script]).timeout(RESTORE);
    let finished = pg.stand.exec.run_with(&call, Some(Box::new(hashing)), &mut |_| Ok(()))?;
    finished.success("copy the dump into the database container", Lane::A)?;
    let state = state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if state.1 != size {
        return Err(Fault::new(format!("only {} of {size} bytes of the dump were read", state.1))
            .lane(Lane::A)
            .into());
    }
    Ok(fsx::hex(&state.0.clone().finalize()))
}

fn read_properties(ctx: &Ctx<'_>, pg: &Pg, remote: &str, from: &str) -> Result<Vec<String>> {
    let argv = ["pg_restore", "-C", "-s", "-f", "-", remote].map(String::from);
    let call = pg.inside(&ctx.app("properties"), &[], &argv).quiet().timeout(Duration::from_secs(600));
    let finished = pg.stand.exec.run(&call)?;
    let finished = finished.success("read the database's properties out of the archive", Lane::C)?;
    let text = finished.text();
    if !text.lines().any(|l| l == schema::DUMPED) {
        let what = "pg_restore ended well and the database's properties are not whole";
        return Err(Fault::new(what).lane(Lane::C).into());
    }
    Ok(properties::statements(&text, from, from))
}

fn load(
    ctx: &Ctx<'_>,
    step: &str,
    pg: &Pg,
    side: &str,
    remote: &str,
    extensions: &[Extension],
) -> Result<()> {
    let exec = &pg.stand.exec;
    let list = exec.run(&pg.contents(&ctx.app("contents"), remote))?;
    let list = list.success("the dump's table of contents cannot be read", Lane::C)?.text();
    let foreign: Vec<&Extension> = extensions.iter().filter(|e| e.name != "plpgsql").collect();
    let schemas: Vec<String> =
        foreign.iter().map(|e| e.schema.clone()).filter(|s| s != "public" && s != "pg_catalog").collect();
    let contents = split_contents(&list, &schemas);
    let restore = |part: &str, jobs: usize| -> Result<()> {
        let remote_list = format!("{remote}.list");
        let script = format!("umask 077; cat > {remote_list}");
        let call = pg.stand.inside(&pg.container, &[], &["sh", "-c", &script]).stdin(part);
        exec.run(&call)?.success("write the list of entries", Lane::A)?;
        let call = pg.restore(side, &ctx.app("restore"), &remote_list, remote, jobs, RESTORE);
        let finished = exec.run(&call)?;
        if finished.ok() {
            return Ok(());
        }
        Err(finished
            .fault("this backup cannot bring the database back: the restore failed", Lane::C)
            .remedy("make the schema restorable (often: unqualified names in functions used by indexes or CHECKs), then release again")
            .into())
    };
    if !contents.first.is_empty() {
        restore(&contents.first, 1)?;
    }
    if !foreign.is_empty() {
        let mut psql = pg.session(side, &ctx.app("extensions"))?;
        for e in foreign {
            psql.run(&format!(
                "CREATE EXTENSION {} SCHEMA {} VERSION {} CASCADE",
                ident(&e.name),
                ident(&e.schema),
                crate::stand::psql::literal(&e.version)
            ))
            .with_context(|| format!("create extension {} {}", e.name, e.version))?;
        }
        psql.close();
    }
    let jobs = std::thread::available_parallelism().map_or(2, usize::from).min(4);
    ctx.progress(step, &format!("restoring {} entries beside", contents.entries), 0, None);
    restore(&contents.rest, jobs)
}

fn remove_remote(pg: &Pg, remote: &str) -> Result<()> {
    let call = pg.stand.with(&pg.stand.exec.shielded());
    let inside = call.inside(&pg.container, &[], &["rm", "-f", remote, &format!("{remote}.list")]);
    call.exec.run(&inside)?.success("remove the dump's copy from the database container", Lane::A)?;
    Ok(())
}

/// What a comparison came to.
#[derive(Debug, Clone, Default)]
pub struct Comparison {
    pub sums: Vec<String>,
    pub schema: Vec<String>,
    pub extensions: Vec<String>,
    pub sequences: Vec<String>,
    pub tables: u64,
    pub copy: Sums,
}

impl Comparison {
    pub fn equal(&self) -> bool {
        self.all().is_empty()
    }
    pub fn all(&self) -> Vec<String> {
        [&self.sums, &self.schema, &self.extensions, &self.sequences].into_iter().flatten().cloned().collect()
    }
}

/// Compares the restored database with its source.
pub fn compare(ctx: &Ctx<'_>, step: &str, side: &str, source: &Source) -> Result<Comparison> {
    let pg = ctx.pg(step)?;
    let app = ctx.app("compare");
    let (copy, objects) = std::thread::scope(|s| {
        let objects = s.spawn(|| schema::read(ctx, &pg, side, "schema-copy", None));
        let copy = (|| {
            let mut sessions = sums::open(&pg, side, &app, None, 2)?;
            let tick = |done, total| ctx.progress(step, "summing the restored copy", done, Some(total));
            let copy = sums::take(&mut sessions, &tick)?;
            let extensions = schema::extensions(&mut sessions[0])?;
            let sequences = schema::sequences(&mut sessions[0])?;
            Ok::<_, anyhow::Error>((copy, extensions, sequences))
        })();
        (copy, objects.join())
    });
    let objects = objects.map_err(|_| crate::error::anyhow!("reading the copy's schema died"))??;
    let (copy, extensions, sequences) = copy?;
    let extensions = if extensions == source.extensions {
        Vec::new()
    } else {
        vec!["the extensions or their versions".to_string()]
    };
    Ok(Comparison {
        sums: sums::differences(&source.sums, &copy),
        schema: schema::differences(&source.objects, &objects),
        extensions,
        sequences: schema::sequences_behind(&source.sequences, &sequences),
        tables: copy.len() as u64,
        copy,
    })
}

/// Sums a closed database under its own name, letting nobody else in.
pub fn sums_of_closed(ctx: &Ctx<'_>, step: &str, admin: &mut Psql, database: &str) -> Result<Sums> {
    let pg = ctx.pg(step)?;
    let app = ctx.app("sums");
    let (mut sessions, strangers) =
        fence::with_door_open(admin, database, &app, |_| sums::open(&pg, database, &app, None, 2))?;
    if strangers > 0 {
        return Err(Fault::new(format!("{strangers} foreign sessions came into {database}"))
            .why("it was open for a moment, for reading only by this run; they were ended")
            .lane(Lane::C)
            .into());
    }
    let tick = |done, total| ctx.progress(step, "summing the clone", done, Some(total));
    sums::take(&mut sessions, &tick)
}

/// Sums a clone once more under its own name, which nobody knows: under the live one clients that
/// reconnect would come in by the same door. What differs from `before`; none where the clone is not
/// there any more.
pub fn sum_again(
    ctx: &Ctx<'_>,
    step: &str,
    clone: &str,
    oid: u64,
    before: &Sums,
) -> Result<Option<Vec<String>>> {
    let mut admin = ctx.pg(step)?.session("postgres", &ctx.app("sum-again"))?;
    if postgres::database(&mut admin, clone)?.is_none_or(|c| c.oid != oid) {
        return Ok(None);
    }
    let now = sums_of_closed(ctx, step, &mut admin, clone)?;
    ctx.run.write_json("sums_restored.json", &now)?;
    Ok(Some(sums::differences(before, &now)))
}

/// A file that is hashed while it is read.
struct Hashing {
    file: std::fs::File,
    state: Arc<Mutex<(Sha256, u64)>>,
}

impl Hashing {
    fn open(path: &Path) -> Result<Hashing> {
        let file = std::fs::File::open(path).with_context(|| format!("open {}", path.display()))?;
        Ok(Hashing { file, state: Arc::new(Mutex::new((Sha256::new(), 0))) })
    }
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(buffer)?;
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        state.0.update(&buffer[..read]);
        state.1 += read as u64;
        Ok(read)
    }
}
