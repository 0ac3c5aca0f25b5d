//! The script engine of a backup: whether the repository's own script runs, one
//! run of it, and what is undone when it fails. Its exit code proves nothing: it
//! also ends with 0 when it was interrupted. The backup that is proved is the
//! built-in engine's; this one lies beside it.

use super::room;
use super::stored::{self, Stored};
use crate::config::Config;
use crate::error::{Fault, Lane, Result};
use crate::exec::{Ended, Exec, Finished};
use crate::fsx;
use crate::stand::ffbackup::{self, Call, REMOTE, SCRIPT};
use crate::stand::postgres::Pg;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How to go on without it.
const WITHOUT: &str = "mend it, or back up without it: backup.engine = \"native\" in ops/xtask.toml, \
                       or --set backup.engine=native";
/// What clean-up asks of the container takes a moment.
const CLEANING: Duration = Duration::from_secs(60);

/// Which engines make the backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Engine {
    /// The built-in one alone; why.
    Native { why: String },
    /// The script first, then the built-in one.
    Script { pwsh: PathBuf, script: PathBuf },
}

impl Engine {
    /// Decided by `backup.engine`, the checkout and the PATH.
    ///
    /// # Errors
    /// A refusal where `pwsh` is demanded and not possible.
    pub fn of(config: &Config, exec: &Exec) -> Result<Engine> {
        let engine = config.backup.engine.as_str();
        let native = |why: &str| Ok(Engine::Native { why: why.into() });
        if engine == "native" {
            return native("backup.engine = \"native\"");
        }
        let script = config.repo.join(SCRIPT);
        let why = match (script.is_file(), exec.find("pwsh")) {
            (true, Some(pwsh)) => return Ok(Engine::Script { pwsh, script }),
            (false, _) => format!("{SCRIPT} is not in this checkout"),
            (true, None) => "pwsh (PowerShell 7) is not on the PATH".into(),
        };
        if engine == "pwsh" {
            return Err(Fault::refused("the backup cannot be made through the script, as backup.engine = \"pwsh\" demands")
                .why(why)
                .remedy("install PowerShell 7, or set backup.engine to \"auto\" (the script where it can run) or \"native\"")
                .lane(Lane::A)
                .into());
        }
        native(&why)
    }

    /// The version of PowerShell, where it is used and says so.
    pub fn version(&self, exec: &Exec) -> Option<String> {
        let Engine::Script { pwsh, .. } = self else { return None };
        let call = crate::exec::Invocation::new(&pwsh.display().to_string()).arg("--version");
        let finished = exec.run(&call.timeout(Duration::from_secs(20)).whole_group()).ok()?;
        let text = finished.text();
        Some(text.trim().strip_prefix("PowerShell ")?.to_string()).filter(|_| finished.ok())
    }
}

/// Where and how long.
pub struct Given<'a> {
    pub call: &'a Call,
    /// application_name of what reads the archive.
    pub app: &'a str,
    /// Bytes of the database: no dump is larger.
    pub bytes: u64,
    /// Takes a masked line for the RAW log.
    pub say: &'a dyn Fn(&str),
}

impl Call {
    /// The call that this configuration means.
    pub fn of(config: &Config, pwsh: &Path, script: &Path, directory: &Path) -> Call {
        let database = &config.database;
        let found = crate::config::Database::default();
        let named = [
            ("PgService", &database.service, &found.service),
            ("DbName", &database.name, &found.name),
            ("PgUser", &database.user, &found.user),
        ];
        Call {
            pwsh: pwsh.into(),
            script: script.into(),
            directory: directory.into(),
            named: named.into_iter().filter(|(_, v, d)| v != d).map(|(n, v, _)| (n, v.clone())).collect(),
            limit: Duration::from_secs(config.backup.timeout_s),
        }
    }
}

/// Runs the script once and verifies what it made, to the archive's end. After a failure nothing of
/// it runs on or lies in the database container; its logs stay where they are, half a dump does not.
///
/// # Errors
/// A [`Fault`] with the reason that the script's own logs give; where there is too little room it is not run.
pub fn run(pg: &Pg, given: &Given<'_>) -> Result<Stored> {
    let directory = &given.call.directory;
    // The script leaves its files to the umask: they are nobody else's from the first byte on.
    fsx::close_to_others(directory)?;
    room::for_backup(directory, given.bytes)?;
    let before = ffbackup::entries(directory);
    let start = Instant::now();
    let made = pg
        .stand
        .exec
        .run(&pg.stand.ff_backup(given.call))
        .and_then(|finished| result(pg, given, &before, &finished));
    let Err(error) = made else { return made };
    let mut fault = crate::error::fault_of(&error);
    for dir in ffbackup::half_filled(directory, &before) {
        keep_logs(pg, given, &dir);
    }
    if let Err(error) = clean(pg, given.app, start.elapsed()) {
        let left = format!("{REMOTE}* and its pg_dump may still be in the database container: {error:#}");
        (given.say)(&pg.stand.exec.redactor().output(&left));
        fault.why = Some([fault.why.unwrap_or_default(), left].join("; ").trim_start_matches("; ").into());
    }
    Err(fault.into())
}

/// What an end of the script means.
fn result(pg: &Pg, given: &Given<'_>, before: &[String], finished: &Finished) -> Result<Stored> {
    let stdout = finished.text();
    let named = ffbackup::out_dir(&stdout).filter(|_| finished.ok());
    let Some(named) = named else { return Err(failure(pg, given, before, finished).into()) };
    let broken = |why: String| {
        let mut fault = finished.fault("the backup of the repository's script is none", Lane::A);
        fault.why = Some(why);
        fault.remedy(WITHOUT)
    };
    let dir = place(&named, given.call).map_err(&broken)?;
    if before.iter().any(|name| Path::new(name).file_name() == dir.file_name()) {
        return Err(broken(format!("{} was there before it began", dir.display())).into());
    }
    fsx::close_to_others(&dir)?;
    let stored = stored::read(&dir).map_err(|e| broken(crate::error::fault_of(&e).to_string()))?;
    of_this_stand(pg, &stored).map_err(&broken)?;
    let read = pg.read_back(&stored.archive(), given.app, given.call.limit)?;
    if !read.ok() {
        let why = read.fault("", Lane::A).why.unwrap_or_default();
        return Err(broken(format!("{} cannot be read to its end: {why}", stored.dump.name)).into());
    }
    stored::name_the_dump(&stored)?;
    fsx::sync_dir(&dir)?;
    Ok(stored)
}

/// The directory that the script named. It may write the path as another system does; what it made
/// lies directly below the directory that it was given.
fn place(named: &str, call: &Call) -> std::result::Result<PathBuf, String> {
    let dir = call.directory.join(ffbackup::leaf(named));
    let elsewhere = format!("it names {named}, which is not in {}", call.directory.display());
    if ffbackup::leaf(named).is_empty() || !dir.is_dir() {
        return Err(elsewhere);
    }
    let real = |path: &Path| path.canonicalize().ok();
    match real(Path::new(named)) {
        Some(other) if Some(&other) != real(&dir).as_ref() => Err(elsewhere),
        _ => Ok(dir),
    }
}

fn of_this_stand(pg: &Pg, stored: &Stored) -> std::result::Result<(), String> {
    if stored.database != pg.database {
        return Err(format!("it is of database {}, and the stand has {}", stored.database, pg.database));
    }
    match &stored.container {
        Some(id) if !id.starts_with(&pg.container) && !pg.container.starts_with(id) => {
            Err(format!("it is of container {id}, and the database is in {}", pg.container))
        }
        _ => Ok(()),
    }
}

/// The failure that an end without a result is.
fn failure(pg: &Pg, given: &Given<'_>, before: &[String], finished: &Finished) -> Fault {
    let left = ffbackup::half_filled(&given.call.directory, before);
    let told = left.iter().find_map(|dir| ffbackup::reason(dir, pg.stand.exec.redactor()));
    let why = match (finished.ended, told) {
        (Ended::Exit(code), None) => format!("exit {code}: {}", guess(code, &left, &finished.text())),
        (Ended::TimedOut(_), told) => {
            let limit = format!("{} (backup.timeout_s)", finished.ended);
            told.map_or(limit.clone(), |t| format!("{limit}: {t}"))
        }
        (ended, Some(told)) => format!("{ended}: {told}"),
        (ended, None) => ended.to_string(),
    };
    let mut fault = finished.fault(&format!("{SCRIPT} made no backup"), Lane::A);
    fault.why = Some(pg.stand.exec.redactor().output(&why).trim_end().to_string());
    fault.remedy(WITHOUT)
}

/// What an exit means of which no log gives a reason.
fn guess(code: i32, left: &[PathBuf], stdout: &str) -> String {
    let empty: Vec<&str> = left.iter().flat_map(|dir| ffbackup::empty_logs(dir)).collect();
    let first = stdout.lines().map(str::trim).find(|l| !l.is_empty()).unwrap_or_default();
    match code {
        _ if !empty.is_empty() => format!("{} empty: is the disk full?", empty.join(", ")),
        0 => "no outDir was named, as when the script is interrupted".into(),
        // Its usage text stands on standard output.
        64 => format!("PowerShell did not run the script: {first}"),
        _ => {
            "no log gives a reason: is the compose file there, can the backup directory be written to?".into()
        }
    }
}

/// The logs of a half-filled directory go into the RAW log. Its dump is of no use to anybody.
fn keep_logs(pg: &Pg, given: &Given<'_>, dir: &Path) {
    let redactor = pg.stand.exec.redactor();
    for name in ffbackup::entries(dir) {
        let path = dir.join(&name);
        if name.ends_with(".dump") {
            let _ = std::fs::remove_file(&path);
        } else if name.ends_with(".log") {
            // As one text: what a line belongs to stands in those above it.
            let masked = redactor.tail(&fsx::tail(&path, usize::MAX).join("\n"));
            let lines: Vec<&str> = masked.lines().collect();
            for line in &lines[lines.len().saturating_sub(40)..] {
                (given.say)(&format!("{name}: {}", line.trim_end()));
            }
        }
    }
    let _ = fsx::close_to_others(dir);
}

/// In the database container: ends what works on a file of the script, asked first and then killed,
/// and removes these files. Says how many processes there were. The name is put together in the
/// shell, so that no command line of this shell holds it.
const CLEAN: &str = r#"p=/tmp/ff_; p="${p}backup_"
ours() {
  for f in /proc/[0-9]*/cmdline; do
    a=$(tr '\000' ' ' < "$f") || continue
    case $a in *"$p"*) f=${f%/cmdline}; echo "${f#/proc/}" ;; esac
  done 2>/dev/null
}
n=0; began=$(date +%s); signal=TERM
while pids=$(ours); [ -n "$pids" ]; do
  if [ $n -eq 0 ]; then for x in $pids; do n=$((n + 1)); done; fi
  age=$(($(date +%s) - began))
  if [ $age -ge 10 ]; then echo "error: these do not end: $pids" >&2; exit 1; fi
  if [ $age -ge 2 ]; then signal=KILL; fi
  kill -s $signal $pids 2>/dev/null
  sleep 0.05
done
rm -f "$p"* || exit 1
echo $n"#;

/// Ends the script's pg_dump in the database container and removes its files there, also after a
/// first Ctrl-C. `age`: how long ago the script began.
pub fn clean(pg: &Pg, app: &str, age: Duration) -> Result<()> {
    let pg = pg.with(&pg.stand.exec.shielded());
    let call = pg.stand.inside(&pg.container, &[], &["sh", "-c", CLEAN]).timeout(CLEANING);
    let finished = pg.stand.exec.run(&call)?.success("clean up behind the script", Lane::A)?;
    if finished.text().trim() == "0" {
        return Ok(());
    }
    // The server notices that a client is gone when it next sends: one that waits for a lock does
    // not. Only what came over the container's own socket while the script ran; where no server
    // answers there is nothing to end.
    let Ok(mut admin) = pg.session("postgres", app) else { return Ok(()) };
    admin.run(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pg_dump' \
         AND client_addr IS NULL AND backend_start > clock_timestamp() - interval '{} seconds'",
        age.as_secs() + 2
    ))?;
    admin.close();
    Ok(())
}

#[cfg(test)]
mod tests;
