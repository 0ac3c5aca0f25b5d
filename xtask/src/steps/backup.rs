//! B1: a dump of one snapshot, with the table sums of the same snapshot.

use crate::acts::restore::{Made, Source};
use crate::acts::script::{self, Engine};
use crate::acts::tables::{self, Table};
use crate::acts::{Ctx, aside, dump, room, schema, second, sums};
use crate::clock::{self, Clock};
use crate::error::{Context, Fault, Lane, Result};
use crate::event::Far;
use crate::evidence::DIGEST;
use crate::evidence::records::{Backup, Charter};
use crate::fsx;
use crate::stand::ffbackup::{Call, SCRIPT};
use crate::stand::postgres::Pg;
use crate::stand::psql::Psql;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// The name of the dump in a backup directory.
pub const DUMP: &str = "db.dump";

/// Dumps the database into `<directory>/<stamp>_<rid>/`. `proved`: whether a proof restores the dump
/// afterwards, which reads it to its end; else it is read back here.
pub fn run(ctx: &Ctx<'_>, head: &str, proved: bool) -> Result<Made> {
    let pg = ctx.pg("backup")?;
    let log = ctx.run.log("backup")?;
    let root = ctx.config.repo.join(&ctx.config.backup.directory);
    fsx::ignored_dir(&root)?;
    let script_dir = by_script(ctx, &pg, &root)?;
    let name = format!("{}_{}", clock::stamp(Clock::System.now()), ctx.run.rid);
    let dir = root.join(&name);
    if dir.exists() {
        return Err(Fault::new(format!("{} exists already", dir.display())).lane(Lane::A).into());
    }
    fsx::private_dir(&dir)?;
    let relative = format!("{}/{name}", ctx.config.backup.directory);
    log.say(&format!("backup of {} into {relative}", pg.database));

    // The snapshot lives as long as this session: it is asked again at the end.
    let mut holder = pg.session(&pg.database, &ctx.app("snapshot"))?;
    holder.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
    let snapshot = holder.value("SELECT pg_export_snapshot()")?.context("PostgreSQL exported no snapshot")?;
    let moment = aside::moment(&mut holder)?;
    let bytes = holder.number("SELECT pg_database_size(current_database())")?;

    room::for_backup(&dir, bytes)?;
    // Not transactional: read before the dump reads them, so that the dump's are the same or ahead.
    let sequences = schema::sequences(&mut holder)?;
    let tables = tables::as_dumped(&mut holder)?;
    let archive = dir.join(DUMP);
    let dumped = ctx.act("backup", "dump", json!({ "dir": relative, "snapshot": snapshot }), || {
        let dumped = dump_of(ctx, &pg, &archive, &snapshot, (bytes, &tables))?;
        let data = json!({ "sha256": dumped.sha256, "bytes": dumped.bytes });
        Ok((dumped, data))
    })?;
    let globals = globals(ctx, &pg, &dir)?;
    let start = Instant::now();
    let source = ctx.act("backup", "sums", json!({ "snapshot": snapshot }), || {
        let source = read_source(ctx, &pg, &mut holder, &snapshot, sequences)?;
        let data = json!({ "tables": source.sums.len() });
        Ok((source, data))
    })?;
    let sums_ms = clock::ms_since(start);
    holder.alive().context("the snapshot ended before the backup did")?;
    holder.close();

    fsx::write_json(&dir.join("sums.json"), &source.sums)?;
    ctx.run.write_json("sums_snapshot.json", &source.sums)?;
    let rows = source.sums.values().map(|s| s.rows).sum();
    let lines = [
        format!("ts={}", clock::rfc3339(Clock::System.now())),
        format!("rid={}", ctx.run.rid),
        format!("database={}", pg.database),
        format!("dump={DUMP} bytes={} sha256={} ms={}", dumped.bytes, dumped.sha256, dumped.ms),
        format!("tables={} rows={rows} sums_ms={sums_ms}", source.sums.len()),
    ];
    fsx::write_atomic(&dir.join("backup.log"), (lines.join("\n") + "\n").as_bytes())?;
    let files = vec![
        (DUMP.to_string(), dumped.sha256.clone(), dumped.bytes),
        ("globals.sql".to_string(), globals.0, globals.1),
        hashed(&dir, "sums.json")?,
        hashed(&dir, "backup.log")?,
    ];
    let digest_sha256 = seal(ctx, &pg, &dir, (head, &moment), files)?;
    let mut record = Backup {
        skipped: None,
        dir: relative,
        engine: "native".into(),
        database: pg.database.clone(),
        dump: DUMP.into(),
        sha256: dumped.sha256,
        bytes: dumped.bytes,
        digest_sha256,
        verified: false,
        tables: source.sums.len() as u64,
        rows,
        dump_ms: dumped.ms,
        sums_ms,
        same_device: same_device(&ctx.facts.engine_root, &dir),
        copied_to: None,
        script_dir,
    };
    record.copied_to = second::copy(ctx, &dir, &name)?;
    verify(&dir, &record, !proved)?;
    record.verified = true;
    let copy = std::fs::read(dir.join(DIGEST)).context("read the backup's digest back")?;
    fsx::write_atomic(&ctx.run.path.join("backup_digest.sha256"), &copy)?;
    ctx.run.write_json("backup.json", &record)?;
    Ok(Made { record, source, archive })
}

/// The repository's own script first, where it and PowerShell are there; its directory.
fn by_script(ctx: &Ctx<'_>, pg: &Pg, root: &Path) -> Result<Option<String>> {
    let log = ctx.run.log("backup")?;
    let (pwsh, tool) = match Engine::of(ctx.config, &pg.stand.exec)? {
        Engine::Script { pwsh, script } => (pwsh, script),
        Engine::Native { why } => {
            log.say(&format!("the built-in engine alone: {why}"));
            return Ok(None);
        }
    };
    let call = Call::of(ctx.config, &pwsh, &tool, &fsx::absolute(root)?);
    ctx.waiting("backup", SCRIPT, call.limit);
    let mut asked = pg.session(&pg.database, &ctx.app("size"))?;
    let bytes = asked.number("SELECT pg_database_size(current_database())")?;
    asked.close();
    let app = ctx.app("script");
    ctx.act("backup", "script", json!({ "script": SCRIPT, "into": ctx.config.backup.directory }), || {
        let given = script::Given { call: &call, app: &app, bytes, say: &|line| log.say(line) };
        let stored = script::run(pg, &given)?;
        let name = fsx::slashes(Path::new(stored.dir.file_name().unwrap_or_default()));
        let dir = format!("{}/{name}", ctx.config.backup.directory);
        let data = json!({ "dir": dir, "sha256": stored.dump.sha256, "bytes": stored.dump.bytes });
        Ok((Some(dir), data))
    })
}

struct Dumped {
    sha256: String,
    bytes: u64,
    ms: u64,
}

/// `size`: bytes of the database, and its tables.
fn dump_of(ctx: &Ctx<'_>, pg: &Pg, archive: &Path, snapshot: &str, size: (u64, &[Table])) -> Result<Dumped> {
    let backup = &ctx.config.backup;
    let limit = Duration::from_secs(backup.timeout_s);
    let app = ctx.app("dump");
    let call = pg.dump(&pg.database, &app, Some(snapshot), backup.compression, backup.lock_wait_s, limit);
    let (bytes, tables) = size;
    let dump = dump::Dump { step: "backup", database: &pg.database, bytes, tables, app: &app, call };
    let written = dump::into_file(ctx, &dump, archive)?;
    let ms = written.finished.ms;
    if !written.finished.ok() {
        return Err(dump::failed(&written.finished, &pg.database).into());
    }
    let (sha256, bytes) = (written.sha256, written.bytes);
    if bytes == 0 {
        return Err(Fault::new("pg_dump ended well and wrote nothing").lane(Lane::C).into());
    }
    Ok(Dumped { sha256, bytes, ms })
}

fn globals(ctx: &Ctx<'_>, pg: &Pg, dir: &Path) -> Result<(String, u64)> {
    let finished = pg.stand.exec.run(&pg.globals(&ctx.app("globals")))?;
    let finished = finished.success("dump roles and tablespaces", Lane::C)?;
    // Its last words, in every version that is supported: without them it is not whole.
    if !finished.text().contains("cluster dump complete") {
        return Err(Fault::new("pg_dumpall ended well and its output is not whole").lane(Lane::C).into());
    }
    fsx::write_atomic(&dir.join("globals.sql"), &finished.stdout)?;
    Ok((fsx::sha256(&finished.stdout), finished.stdout.len() as u64))
}

/// Everything of the snapshot that a restored copy is compared with.
fn read_source(
    ctx: &Ctx<'_>,
    pg: &Pg,
    holder: &mut Psql,
    snapshot: &str,
    sequences: Vec<schema::Sequence>,
) -> Result<Source> {
    let extensions = schema::extensions(holder)?;
    let (objects, sums) = std::thread::scope(|s| {
        let objects = s.spawn(|| schema::read(ctx, pg, &pg.database, "schema", Some(snapshot)));
        let sums = (|| {
            let app = ctx.app("sums");
            let mut sessions = sums::open(pg, &pg.database, &app, Some(snapshot), sums::sessions())?;
            let tick = |done, total| ctx.progress("backup", "summing the tables", Far::of(done, total));
            let sums = sums::take(&mut sessions, &tick);
            ctx.progress("backup", "reading the schema", Far::default());
            sums
        })();
        (objects.join(), sums)
    });
    let objects = objects.map_err(|_| crate::error::anyhow!("reading the schema died"))??;
    Ok(Source { database: pg.database.clone(), sums: sums?, objects, extensions, sequences })
}

fn hashed(dir: &Path, name: &str) -> Result<(String, String, u64)> {
    let (hash, bytes) = fsx::sha256_file(&dir.join(name))?;
    Ok((name.into(), hash, bytes))
}

/// manifest.json in the shape that the existing restore script reads, and the digest, last.
/// Returns the digest's own sha256.
fn seal(
    ctx: &Ctx<'_>,
    pg: &Pg,
    dir: &Path,
    (head, moment): (&str, &aside::Moment),
    files: Vec<(String, String, u64)>,
) -> Result<String> {
    let now = clock::rfc3339(Clock::System.now());
    let entries: Vec<Value> = files
        .iter()
        .map(|(name, hash, bytes)| json!({ "rel": name, "name": name, "bytes": bytes, "ts": now, "sha256": hash }))
        .collect();
    let manifest = json!({
        "ts": now,
        "out_dir": dir.display().to_string(),
        "rid": ctx.run.rid,
        "script": { "name": "cargo xtask", "version": env!("CARGO_PKG_VERSION") },
        "git": {
            "head": head,
            "dirty": ctx.run.read::<Charter>("charter.json").and_then(|c| c.dirty),
            "out_dir_gitignored": true,
        },
        "compose": {
            "compose_files": ctx.stand.files.iter().map(|f| f.display().to_string()).collect::<Vec<_>>(),
            "project_name": ctx.stand.project,
            "pg_service": ctx.config.database.service,
        },
        "postgres": {
            "container_id": pg.container, "user": pg.user, "db_name": pg.database,
            "snapshot": moment.snapshot, "identity": moment.identity,
        },
        "flags": { "no_owner": false, "no_privileges": false, "one_snapshot": true },
        "files": entries,
    });
    fsx::write_json(&dir.join("manifest.json"), &manifest)?;
    let mut all = files;
    all.push(hashed(dir, "manifest.json")?);
    all.sort();
    let text: String = all.iter().map(|(name, hash, _)| format!("{hash}  {name}\n")).collect();
    fsx::write_atomic(&dir.join(DIGEST), text.as_bytes())?;
    Ok(fsx::sha256(text.as_bytes()))
}

/// Reads manifest and digest back and compares them with what was made and with what lies there;
/// the dump's own bytes only where `whole`.
fn verify(dir: &Path, record: &Backup, whole: bool) -> Result<()> {
    let bad = |what: String| Fault::new("the backup does not verify").why(what).lane(Lane::A);
    let manifest: Value = fsx::read_json(&dir.join("manifest.json"))?;
    let digest = std::fs::read_to_string(dir.join(DIGEST)).context("read the digest back")?;
    for file in manifest["files"].as_array().into_iter().flatten() {
        let (name, hash) =
            (file["rel"].as_str().unwrap_or_default(), file["sha256"].as_str().unwrap_or_default());
        let there = std::fs::metadata(dir.join(name)).map_err(|e| bad(format!("{name}: {e}")))?.len();
        if Some(there) != file["bytes"].as_u64() {
            return Err(bad(format!("{name} has {there} bytes")).into());
        }
        if !digest.lines().any(|l| l == format!("{hash}  {name}")) {
            return Err(bad(format!("{name} is not in the digest")).into());
        }
        if (whole || name != DUMP) && fsx::sha256_file(&dir.join(name))?.0 != hash {
            return Err(bad(format!("{name} reads back otherwise")).into());
        }
    }
    if !digest.lines().any(|l| l == format!("{}  {DUMP}", record.sha256)) {
        return Err(bad("the dump is not in the digest".into()).into());
    }
    Ok(())
}

/// Do the backup and the engine's data lie on one device? Unknown where the engine is elsewhere.
fn same_device(engine_root: &str, dir: &Path) -> Option<bool> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let data = std::fs::metadata(engine_root).ok()?.dev();
        let ours = std::fs::metadata(dir).ok()?.dev();
        Some(data == ours)
    }
    #[cfg(not(unix))]
    {
        let _ = (engine_root, dir);
        None
    }
}

/// Records that no backup was made, and why.
pub fn skip(ctx: &Ctx<'_>, reason: &str) -> Result<()> {
    ctx.run.log("backup")?.say(&format!("skipped: {reason}"));
    ctx.run.write_json("backup.json", &Backup { skipped: Some(reason.into()), ..Backup::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_that_nothing_restores_is_read_back() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path();
        std::fs::write(dir.join(DUMP), "the rows").unwrap();
        let (_, sha256, bytes) = hashed(dir, DUMP).unwrap();
        let manifest = json!({ "files": [{ "rel": DUMP, "bytes": bytes, "sha256": sha256 }] });
        fsx::write_json(&dir.join("manifest.json"), &manifest).unwrap();
        std::fs::write(dir.join(DIGEST), format!("{sha256}  {DUMP}\n")).unwrap();
        let record = Backup { sha256, ..Backup::default() };
        verify(dir, &record, true).unwrap();
        std::fs::write(dir.join(DUMP), "the r0ws").unwrap();
        verify(dir, &record, false).unwrap();
        let said = verify(dir, &record, true).unwrap_err();
        assert!(crate::error::fault_of(&said).to_string().contains(DUMP), "{said:#}");
    }
}
