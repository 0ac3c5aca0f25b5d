//! One writer for a stand, held in two places: an OS file lock, which the
//! kernel frees when its holder dies, and an advisory lock in the stand's own
//! PostgreSQL, which also holds against other machines.

use crate::acts::{Ctx, wake};
use crate::clock::{self, Clock};
use crate::error::{Context, Exit, Fault, Lane, Result};
use crate::evidence::records::LockRecord;
use crate::fsx;
use crate::stand::postgres::Pg;
use crate::stand::psql::{Psql, QUESTION, literal};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The advisory key: "FFXTASK" as ASCII. One stand, one cluster, one key.
const KEY: i64 = 0x0046_4658_5441_534b;

/// Who holds the lock, for the one who is refused.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Holder {
    pub rid: String,
    pub command: String,
    pub step: String,
    pub who: String,
    pub pid: u32,
    pub since: String,
}

/// Both halves of the lock.
pub struct Lock {
    file: File,
    path: PathBuf,
    holder: Holder,
    database: Option<Psql>,
}

/// Where lock files lie: one directory for all operators of the machine.
fn directory() -> PathBuf {
    #[cfg(unix)]
    {
        PathBuf::from("/tmp/ff-xtask-locks")
    }
    #[cfg(not(unix))]
    {
        let base = std::env::var("ProgramData").unwrap_or_else(|_| "C:\\ProgramData".into());
        PathBuf::from(base).join("ff-xtask-locks")
    }
}

/// The lock file of a stand: by engine and project.
pub fn file_of(engine_id: &str, project: &str) -> PathBuf {
    let key = fsx::sha256(format!("{engine_id}\n{project}").as_bytes());
    directory().join(format!("{project}-{}.lock", &key[..12]))
}

impl Lock {
    /// Takes the file half, or names the holder (exit 11).
    pub fn take(engine_id: &str, project: &str, rid: &str, command: &str) -> Result<Lock> {
        let path = file_of(engine_id, project);
        shared_directory(path.parent().unwrap_or(Path::new("/")))?;
        let mut file = open(&path).with_context(|| format!("open {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(refused(&read_holder(&mut file), &path.display().to_string()).into());
            }
            Err(TryLockError::Error(e)) => return Err(e).with_context(|| format!("lock {}", path.display())),
        }
        let (user, host) = crate::steps::precheck::whoami();
        let holder = Holder {
            rid: rid.into(),
            command: command.into(),
            step: "start".into(),
            who: format!("{user}@{host}"),
            pid: std::process::id(),
            since: clock::rfc3339(Clock::System.now()),
        };
        let mut lock = Lock { file, path, holder, database: None };
        lock.write()?;
        Ok(lock)
    }

    /// Takes the database half, or names its holder (exit 11).
    pub fn take_database(&mut self, pg: &Pg) -> Result<()> {
        let mut psql = pg.session("postgres", &self.name())?;
        let got = psql.value(&format!("SELECT pg_try_advisory_lock({KEY})"))?;
        if got.as_deref() == Some("t") {
            psql.run(&told(&self.holder)?)?;
            self.database = Some(psql);
            return Ok(());
        }
        let gone = Holder { who: "somebody who has just gone".into(), ..Holder::default() };
        Err(refused_from_afar(&holder_in(&mut psql)?.unwrap_or(gone)).into())
    }

    /// Is the database half still held? Its session ends when the server restarts.
    pub fn check_database(&mut self) -> Result<()> {
        match &mut self.database {
            None => Ok(()),
            Some(psql) => psql.run(&told(&self.holder)?).map_err(|error| {
                Fault::new("the lock in the database was lost: its session ended")
                    .why(format!("{error:#}"))
                    .remedy("look why PostgreSQL ended it (a restart, an operator), then run again")
                    .lane(Lane::A)
                    .into()
            }),
        }
    }

    /// Are both halves held, so that nobody else is at work on the stand? Who was refused, or has lost
    /// the lock to another one, touches nothing but what is its own.
    pub fn is_alone(&mut self) -> bool {
        self.database.is_some() && self.check_database().is_ok()
    }

    /// Makes sure that the database half is held still. Its session ends with the server or with docker's
    /// client: both are waited for, and it is taken again unless somebody else was quicker.
    pub fn hold(&mut self, ctx: &Ctx<'_>) -> Result<()> {
        if self.check_database().is_ok() {
            return Ok(());
        }
        ctx.events.warn("rollback", "the lock in the database was lost: it is taken again");
        wake::data_services(ctx, "rollback")?;
        let pg = ctx.pg("rollback")?;
        let mut admin = pg.session("postgres", &ctx.app("lock"))?;
        // The server may not have noticed yet that the client of the old session is gone.
        pg.end_backends(&mut admin, &cut(format!("ffxlock {} ", self.holder.rid)))?;
        self.take_database(&pg)
    }

    /// Says how far the holder is, in both places.
    pub fn at(&mut self, step: &str) {
        self.holder.step = step.into();
        let name = self.name();
        // A courtesy to the one who waits: the lock holds without it.
        let _ = self.write();
        if let Some(psql) = &mut self.database {
            let _ = psql.run(&format!("SET application_name = {}", literal(&name)));
            let _ = told(&self.holder).and_then(|sql| psql.run(&sql));
        }
    }

    pub fn record(&self) -> LockRecord {
        LockRecord {
            file: self.path.display().to_string(),
            database: self.database.is_some(),
            holder: format!("{} pid {}", self.holder.who, self.holder.pid),
            since: self.holder.since.clone(),
        }
    }

    fn name(&self) -> String {
        cut(format!("ffxlock {} {} {}", self.holder.rid, self.holder.step, self.holder.who))
    }

    fn write(&mut self) -> Result<()> {
        let text = serde_json::to_string(&self.holder)?;
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(text.as_bytes())?;
        self.file.flush()?;
        Ok(())
    }
}

/// 63 bytes at most: PostgreSQL cuts application names there.
fn cut(mut name: String) -> String {
    let mut at = name.len().min(63);
    while !name.is_char_boundary(at) {
        at -= 1;
    }
    name.truncate(at);
    name
}

/// Who holds the lock of a stand now, if anybody does: on this machine, or on another one, as far as
/// the stand's database answers.
///
/// # Errors
/// Where the database does not say whether somebody on another machine holds it.
pub fn holder(engine_id: &str, project: &str, pg: Option<&Pg>) -> Result<Option<Holder>> {
    match (here(engine_id, project), pg) {
        (None, Some(pg)) => there(pg),
        (here, _) => Ok(here),
    }
}

fn here(engine_id: &str, project: &str) -> Option<Holder> {
    let mut file = OpenOptions::new().read(true).write(true).open(file_of(engine_id, project)).ok()?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Some(read_holder(&mut file)),
        _ => None,
    }
}

fn there(pg: &Pg) -> Result<Option<Holder>> {
    holder_in(&mut pg.session("postgres", "ffx-lock")?)
}

/// Refuses when somebody holds the lock of a stand now (exit 11): who is at work elsewhere looks like
/// an interrupted run otherwise.
pub fn refuse_if_held(engine_id: &str, project: &str, pg: Option<&Pg>) -> Result<()> {
    if let Some(holder) = here(engine_id, project) {
        return Err(refused(&holder, &file_of(engine_id, project).display().to_string()).into());
    }
    // Asked to refuse early and in better words: the lock is taken later, or not.
    match pg.and_then(|pg| there(pg).ok().flatten()) {
        Some(holder) => Err(refused_from_afar(&holder).into()),
        None => Ok(()),
    }
}

/// The holder of the database half, as its session tells.
fn holder_in(psql: &mut Psql) -> Result<Option<Holder>> {
    let held: Vec<Told> = psql.rows(
        &format!(
            "SELECT a.query, a.application_name AS name, a.backend_start::text AS since FROM pg_locks l \
             JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.locktype = 'advisory' AND l.granted \
             AND ((l.classid::bigint << 32) | l.objid::bigint) = {KEY}"
        ),
        QUESTION,
    )?;
    Ok(held.first().map(Told::holder))
}

fn refused_from_afar(holder: &Holder) -> Fault {
    Fault::new("another writer works on this stand, from another machine")
        .why(holder.words())
        .remedy("wait until it is done; `cargo xtask status` there says how far it is")
        .exit(Exit::Locked)
}

fn read_holder(file: &mut File) -> Holder {
    let mut text = String::new();
    let _ = file.seek(SeekFrom::Start(0));
    let _ = file.read_to_string(&mut text);
    serde_json::from_str(&text).unwrap_or_default()
}

/// The statement by which the session of the lock says who it is: it is the last one that
/// pg_stat_activity shows of it. An application_name has no room for all of it.
fn told(holder: &Holder) -> Result<String> {
    Ok(format!("SELECT {}", literal(&serde_json::to_string(holder)?)))
}

/// What the server shows of the session that holds the lock.
#[derive(Deserialize)]
struct Told {
    query: String,
    name: String,
    since: String,
}

impl Told {
    fn holder(&self) -> Holder {
        let text = self.query.find('{').zip(self.query.rfind('}')).and_then(|(a, b)| self.query.get(a..=b));
        let told = text.and_then(|text| serde_json::from_str(&text.replace("''", "'")).ok());
        // Only its owner and superusers are shown what it says.
        told.unwrap_or_else(|| Holder {
            who: self.name.clone(),
            since: self.since.clone(),
            ..Holder::default()
        })
    }
}

impl Holder {
    fn words(&self) -> String {
        let Holder { rid, command, step, who, pid, since } = self;
        if rid.is_empty() {
            return format!("{who}, since {since}");
        }
        format!("{who} runs {command} {rid} (pid {pid}), at step {step}, since {since}")
    }
}

fn refused(holder: &Holder, path: &str) -> Fault {
    Fault::new("another writer works on this stand")
        .why(holder.words())
        .remedy("wait until it is done; a holder that died does not block")
        .log(path)
        .exit(Exit::Locked)
}

/// All operators of the machine must be able to lock: as /tmp itself is.
fn shared_directory(dir: &Path) -> Result<()> {
    if dir.exists() {
        return Ok(());
    }
    std::fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::Permissions::from_mode(0o1777);
        std::fs::set_permissions(dir, mode)
            .with_context(|| format!("open {} to everybody", dir.display()))?;
    }
    Ok(())
}

/// An existing file is opened without asking to create it: in a sticky directory the kernel refuses
/// that for files of others.
fn open(path: &Path) -> std::io::Result<File> {
    match OpenOptions::new().read(true).write(true).open(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt;
                file.set_permissions(std::fs::Permissions::from_mode(0o666))?;
            }
            Ok(file)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests;
