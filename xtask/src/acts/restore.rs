//! Restores an archive into a database of its own beside the live one, and
//! compares the two. A failed restore beside touches nothing.

use super::schema::{self, Extension, Objects, Sequence};
use super::sums::{self, Sums};
use super::{Ctx, fence, properties, send, unrestorable, watch};
use crate::error::{Context, Fault, Lane, Result};
use crate::event::Far;
use crate::fsx;
use crate::stand::dump::{Entry, Lines, entry};
use crate::stand::postgres::{self, Pg};
use crate::stand::psql::{Psql, QUESTION, ident};
use serde_json::json;
use std::fs::File;
use std::io::{BufWriter, Cursor, Read, Seek, Write};
use std::path::Path;
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
    pub ms: u64,
    /// The database-level properties, for the stand's database.
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
    /// Fill the materialized views, too: for one that is going to be used. Compared they are not, for a
    /// stale one differs from what its definition gives now, which is normal.
    pub views: bool,
}

/// Restores an archive into a new database. `read` gets the sha256 of the bytes that were read from
/// disk, before anything is restored of them: its error ends the restore.
pub fn beside(
    ctx: &Ctx<'_>,
    step: &str,
    admin: &mut Psql,
    what: &What<'_>,
    read: &mut dyn FnMut(&str) -> Result<()>,
) -> Result<Restored> {
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
        let sha256 = send::into(ctx, step, &pg, (archive, &remote), RESTORE)?;
        read(&sha256)?;
        let properties = properties::of_archive(ctx, &pg, &remote, what.from, &pg.database)?;
        let views = load(ctx, step, &pg, side, &remote, what.extensions)?;
        if what.views && !views.is_empty() {
            fill(ctx, step, &pg, side, &remote, views)?;
        }
        let data = json!({ "sha256": sha256, "properties": properties.len() });
        Ok((properties, data))
    });
    let cleaned = remove_remote(&pg, &remote);
    let properties = result?;
    cleaned?;
    Ok(Restored { database: side.into(), ms: crate::clock::ms_since(start), properties })
}

/// Where an archive lies in the database container while it is restored.
pub fn remote_archive(id: &str, side: &str) -> String {
    format!("/tmp/ffx_{id}_{}.dump", &fsx::sha256(side.as_bytes())[..6])
}

/// What an archive holds, in the order of a restore.
struct Contents {
    /// Entries that are restored before the extensions are created.
    first: String,
    /// Those that fill materialized views.
    views: String,
    /// The others: a line each, which for as many large objects is too much for memory.
    rest: File,
    entries: usize,
}

fn read_contents(ctx: &Ctx<'_>, pg: &Pg, remote: &str, schemas: &[String]) -> Result<Contents> {
    let file = tempfile::tempfile().context("make a temporary file")?;
    let mut rest = BufWriter::new(file);
    let (mut lines, mut first, mut views, mut entries) = (Lines::default(), String::new(), String::new(), 0);
    let mut sink = |bytes: &[u8]| {
        let mut written = Ok(());
        lines.push(bytes, |line| match entry(line, schemas) {
            Some(Entry::First) => first.extend([line, "\n"]),
            Some(Entry::Rest) if written.is_ok() => {
                entries += 1;
                written = writeln!(rest, "{line}");
            }
            Some(Entry::LeftOut) => views.extend([line, "\n"]),
            _ => {}
        });
        written
    };
    let call = pg.contents(&ctx.app("contents"), remote);
    let finished = pg.stand.exec.run_with(&call, None, &mut sink)?;
    finished.success("the dump's table of contents cannot be read", Lane::C)?;
    let mut rest = rest.into_inner().map_err(|e| e.into_error()).context("write a temporary file")?;
    rest.rewind().context("read a temporary file")?;
    Ok(Contents { first, views, rest, entries })
}

/// Restores everything but the content of materialized views; returns the entries that fill these.
fn load(
    ctx: &Ctx<'_>,
    step: &str,
    pg: &Pg,
    side: &str,
    remote: &str,
    extensions: &[Extension],
) -> Result<String> {
    let foreign: Vec<&Extension> = extensions.iter().filter(|e| e.name != "plpgsql").collect();
    let schemas: Vec<String> =
        foreign.iter().map(|e| e.schema.clone()).filter(|s| s != "public" && s != "pg_catalog").collect();
    let contents = read_contents(ctx, pg, remote, &schemas)?;
    if !contents.first.is_empty() {
        entries(ctx, pg, side, remote, Box::new(Cursor::new(contents.first)), 1)?;
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
    let what = format!("restoring {} entries beside", contents.entries);
    ctx.progress(step, &what, Far::default());
    // Indexes grow last and dead rows are not restored: an estimate.
    let tell = |sizes: &[u64]| {
        if let [done, total] = sizes {
            ctx.progress(step, &what, Far::about(*done, *total));
        }
    };
    watch::beside(ctx, step, &watch::sizes(side, &pg.database), &tell, || {
        entries(ctx, pg, side, remote, Box::new(contents.rest), jobs)
    })?;
    Ok(contents.views)
}

/// Fills the materialized views. One that cannot be filled, e.g. as its functions need a search path, keeps
/// no database from coming back: it is named.
fn fill(ctx: &Ctx<'_>, step: &str, pg: &Pg, side: &str, remote: &str, views: String) -> Result<()> {
    ctx.progress(step, "filling the materialized views", Far::default());
    let Err(error) = entries(ctx, pg, side, remote, Box::new(Cursor::new(views)), 1) else { return Ok(()) };
    let mut copy = pg.session(side, &ctx.app("views"))?;
    let empty = copy.ask(
        "SELECT oid::regclass FROM pg_class WHERE relkind = 'm' AND NOT relispopulated ORDER BY 1",
        QUESTION,
    )?;
    copy.close();
    let what =
        format!("these materialized views are empty until somebody refreshes them: {}", empty.join(", "));
    ctx.run.log(step)?.say(&what);
    ctx.events.warn(step, format!("{what} ({error})"));
    Ok(())
}

/// Restores the entries that `list` names.
pub fn entries(
    ctx: &Ctx<'_>,
    pg: &Pg,
    side: &str,
    remote: &str,
    list: Box<dyn Read + Send>,
    jobs: usize,
) -> Result<()> {
    let exec = &pg.stand.exec;
    let remote_list = format!("{remote}.list");
    let script = format!("umask 077; cat > {remote_list}");
    let call = pg.stand.inside(&pg.container, &[], &["sh", "-c", &script]);
    let finished = exec.run_with(&call, Some(list), &mut |_| Ok(()))?;
    finished.success("write the list of entries", Lane::A)?;
    let finished = exec.run(&pg.restore(side, &ctx.app("restore"), &remote_list, remote, jobs, RESTORE))?;
    match finished.ok() {
        true => Ok(()),
        false => Err(unrestorable::fault(&finished).into()),
    }
}

pub fn remove_remote(pg: &Pg, remote: &str) -> Result<()> {
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
            let mut sessions = sums::open(&pg, side, &app, None, sums::sessions())?;
            let tick = |done, total| ctx.progress(step, "summing the restored copy", Far::of(done, total));
            let copy = sums::take(&mut sessions, &tick)?;
            ctx.progress(step, "reading the restored schema", Far::default());
            let extensions = schema::extensions(&mut sessions[0].psql)?;
            let sequences = schema::sequences(&mut sessions[0].psql)?;
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
    let tick = |done, total| ctx.progress(step, "summing the clone", Far::of(done, total));
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
    Ok(Some(sums::changes(before, &now)))
}
