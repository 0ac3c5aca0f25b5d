//! A backup as it lies in its directory, read back: manifest and digest of the
//! built-in engine and of the repository's script, in each shape that was ever
//! written, into one typed value. Reads only; nothing is repaired or restored.

mod manifest;
#[cfg(test)]
mod tests;

use super::aside::Moment;
use crate::error::{Context, Fault, Lane, Result};
use crate::evidence::records::Backup;
use crate::evidence::{DIGEST, EVIDENCE, read_record};
use crate::fsx;
use manifest::Manifest;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const MANIFEST: &str = "manifest.json";
/// The name that every dump can be found under.
const DUMP: &str = "db.dump";
/// What the script lists twice when the compose file has its usual name.
const TWICE: &str = "snapshot_docker-compose.yml";
/// What the script hashes and then writes on: hash and size are those of its beginning.
const GROWS: &str = "backup.log";

/// Which engine made a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// This program.
    Native,
    /// `scripts/pwsh/ff-backup.ps1`: without privileges.
    Script,
}

/// A file of a backup: name below its directory, lower-case hex, size in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub name: String,
    pub sha256: String,
    pub bytes: u64,
}

/// A backup of which manifest, digest and files fit.
#[derive(Debug, Clone)]
pub struct Stored {
    pub dir: PathBuf,
    pub maker: Maker,
    /// The maker's own version.
    pub version: Option<String>,
    /// When it was made, as it was written.
    pub time: Option<String>,
    pub database: String,
    pub user: Option<String>,
    pub project: Option<String>,
    /// The database container that it came from.
    pub container: Option<String>,
    /// The snapshot that the dump is of.
    pub moment: Option<Moment>,
    pub dump: Listed,
    /// Roles and tablespaces as SQL, below the directory.
    pub globals: Option<String>,
    /// Table sums of the same snapshot are there: a restored copy can be compared.
    pub sums: bool,
    /// Every listed file once, but the digest.
    pub files: Vec<Listed>,
}

impl Stored {
    pub fn archive(&self) -> PathBuf {
        self.dir.join(&self.dump.name)
    }

    /// GRANTs are in the archive. The script's has lost them: it takes a database back only where they
    /// are brought back from elsewhere, or there were none.
    pub fn keeps_privileges(&self) -> bool {
        self.maker == Maker::Native
    }
}

/// What to type to go back to the backup that a run made.
pub fn way_back(repo: &Path, rid: &str) -> String {
    let made: Option<Backup> = read_record(&repo.join(EVIDENCE).join(rid), "backup.json");
    let dir = made.map(|b| repo.join(b.dir)).filter(|dir| dir.join(DIGEST).exists());
    let dir = dir.map_or("DIR".into(), |dir| format!("'{}'", dir.display()));
    format!("cargo xtask rollback --backup {dir}")
}

/// Reads a backup directory and verifies every file in it. Of the script's, exactly two
/// irregularities are accepted: [`TWICE`], and [`GROWS`].
///
/// # Errors
/// A [`Fault`] that names everything that does not fit.
pub fn read(dir: &Path) -> Result<Stored> {
    let value = fsx::read_json(&dir.join(MANIFEST)).map_err(|e| bad(dir, format!("{e:#}")))?;
    let manifest = Manifest::of(&value);
    let bytes = std::fs::read(dir.join(DIGEST)).map_err(|e| bad(dir, format!("{DIGEST}: {e}")))?;
    let mut problems = Vec::new();
    let digest = digest(&String::from_utf8_lossy(&bytes), &mut problems);
    let twice = |name: &str| manifest.maker == Maker::Script && name == TWICE;
    let listed = once("digest", digest, twice, &mut problems);
    let described = manifest.files.iter().map(|f| (f.name.clone(), (f.sha256.clone(), f.bytes))).collect();
    let described = once("manifest", described, twice, &mut problems);
    agree(&manifest, &listed, &described, &mut problems);

    let mut files = Vec::new();
    for (name, hash) in &listed {
        if !plain_name(name) {
            problems.push(format!("{name} is no name of a file in this directory"));
            continue;
        }
        let size = described.get(name).and_then(|(_, bytes)| *bytes);
        let grows = manifest.maker == Maker::Script && name == GROWS;
        match check(dir, name, hash, size, grows) {
            Ok(file) => files.push(file),
            Err(problem) => problems.push(problem),
        }
    }
    if let Some((Some(hash), size)) = described.get(DIGEST)
        && let Err(problem) = check(dir, DIGEST, hash, *size, false)
    {
        problems.push(problem);
    }
    let dump = dump_of(&files, manifest.database.as_deref()).cloned();
    if dump.is_none() {
        problems.push("it lists no dump".into());
    }
    problems.extend(strangers(dir, &listed, dump.as_ref())?);
    let database = manifest.database.clone().or_else(|| Some(named_by(&dump.as_ref()?.name)?.to_string()));
    if database.is_none() {
        problems.push("it does not say which database it is of".into());
    }
    let (Some(dump), Some(database), true) = (dump, database, problems.is_empty()) else {
        return Err(bad(dir, problems.join("; ")).into());
    };
    let there = |names: [&str; 2]| names.into_iter().find(|n| listed.contains_key(*n)).map(String::from);
    Ok(Stored {
        dir: dir.into(),
        maker: manifest.maker,
        version: manifest.version,
        time: manifest.time,
        database,
        user: manifest.user,
        project: manifest.project,
        container: manifest.container,
        moment: manifest.moment,
        dump,
        globals: there(["globals.sql", "pg_globals.sql"]),
        sums: listed.contains_key("sums.json"),
        files,
    })
}

fn bad(dir: &Path, why: String) -> Fault {
    Fault::new(format!("the backup in {} does not verify", dir.display())).why(why).lane(Lane::A)
}

/// `<hex>  <name>` in either case, LF or CRLF, with or without a byte order mark.
fn digest(text: &str, problems: &mut Vec<String>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim_end();
        match line.split_once("  ").or_else(|| line.split_once(" *")) {
            Some((hash, name)) if is_hash(hash) && !name.is_empty() => {
                found.push((name.replace('\\', "/"), hash.to_ascii_lowercase()));
            }
            _ if line.is_empty() => {}
            _ => problems.push(format!("line {} of {DIGEST} is malformed", number + 1)),
        }
    }
    found
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.chars().all(|c| c.is_ascii_hexdigit())
}

/// Every name once. What is listed twice is a problem, but where it `may` be and says the same.
fn once<T: PartialEq>(
    place: &str,
    all: Vec<(String, T)>,
    may: impl Fn(&str) -> bool,
    problems: &mut Vec<String>,
) -> BTreeMap<String, T> {
    let mut found = BTreeMap::new();
    let mut times: BTreeMap<String, u32> = BTreeMap::new();
    for (name, what) in all {
        let count = times.entry(name.clone()).or_default();
        *count += 1;
        if *count > 2 || (*count == 2 && !(may(&name) && found.get(&name) == Some(&what))) {
            problems.push(format!("{name} is listed {count} times in the {place}"));
        }
        found.insert(name, what);
    }
    found
}

type Described = BTreeMap<String, (Option<String>, Option<u64>)>;

/// Manifest and digest list the same files with the same hashes. A manifest without a list leaves
/// it to the digest; only the built-in engine's digest has the manifest, and only the script's
/// manifest has the digest.
fn agree(
    manifest: &Manifest,
    listed: &BTreeMap<String, String>,
    described: &Described,
    problems: &mut Vec<String>,
) {
    if listed.is_empty() {
        problems.push(format!("{DIGEST} lists nothing"));
    }
    for (name, (hash, _)) in described.iter().filter(|(name, _)| *name != DIGEST) {
        match (listed.get(name), hash) {
            (None, _) => problems.push(format!("{name} is in the manifest and not in the digest")),
            (Some(a), Some(b)) if a != b => {
                problems.push(format!("{name} has one hash in the manifest and another in the digest"));
            }
            _ => {}
        }
    }
    let unknown = |name: &&String| *name != MANIFEST && !described.contains_key(*name);
    if !described.is_empty() {
        problems.extend(
            listed
                .keys()
                .filter(unknown)
                .map(|name| format!("{name} is in the digest and not in the manifest")),
        );
    }
    if manifest.maker == Maker::Native && !listed.contains_key(MANIFEST) {
        problems.push(format!("{MANIFEST} is not in the digest"));
    }
}

/// One file against what is said of it.
fn check(
    dir: &Path,
    name: &str,
    hash: &str,
    size: Option<u64>,
    grows: bool,
) -> std::result::Result<Listed, String> {
    let (found, bytes) = match fsx::sha256_file(&dir.join(name)) {
        Ok(found) => found,
        Err(_) if !dir.join(name).exists() => return Err(format!("{name} is missing")),
        Err(error) => return Err(format!("{name}: {error:#}")),
    };
    // A full disk leaves files of 0 bytes whose hashes fit.
    if bytes == 0 && !name.starts_with("snapshot_") {
        return Err(format!("{name} is empty"));
    }
    let size_fits = size.is_none_or(|size| if grows { bytes >= size } else { bytes == size });
    if !size_fits {
        return Err(format!("{name} has {bytes} bytes, and {} are listed", size.unwrap_or(0)));
    }
    if found != hash && !grows {
        return Err(format!("{name} was changed: its sha256 is another one"));
    }
    Ok(Listed { name: name.into(), sha256: found, bytes })
}

/// The dump among the files: `db.dump`, `pg_<database>.dump`, or the only one that there is.
fn dump_of<'a>(files: &'a [Listed], database: Option<&str>) -> Option<&'a Listed> {
    let named = |name: &str| files.iter().find(|f| f.name == name);
    let mut dumps = files.iter().filter(|f| f.name.ends_with(".dump"));
    named(DUMP)
        .or_else(|| named(&format!("pg_{}.dump", database?)))
        .or_else(|| dumps.next().filter(|_| dumps.next().is_none()))
}

/// The database that a dump is named after.
fn named_by(dump: &str) -> Option<&str> {
    dump.strip_prefix("pg_")?.strip_suffix(".dump").filter(|d| !d.is_empty())
}

/// Files that nothing lists: a second run in the same second writes into the same directory. The
/// dump under its second name is none.
fn strangers(dir: &Path, listed: &BTreeMap<String, String>, dump: Option<&Listed>) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for name in fsx::files_below(dir)? {
        if name == MANIFEST || name == DIGEST || listed.contains_key(&name) {
            continue;
        }
        let again = name == DUMP
            && match dump {
                Some(dump) => same_file(&dir.join(DUMP), &dir.join(&dump.name), dump)?,
                None => false,
            };
        if !again {
            found.push(format!("{name} is in no list"));
        }
    }
    Ok(found)
}

fn same_file(one: &Path, other: &Path, dump: &Listed) -> Result<bool> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let (one, other) = (std::fs::metadata(one)?, std::fs::metadata(other)?);
        if (one.dev(), one.ino()) == (other.dev(), other.ino()) {
            return Ok(true);
        }
    }
    let _ = other;
    let (hash, bytes) = fsx::sha256_file(one)?;
    Ok(hash == dump.sha256 && bytes == dump.bytes)
}

/// A name below the directory: nothing that leads out of it.
fn plain_name(name: &str) -> bool {
    !name.contains(':') && name.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// Gives the dump its common name beside its own, by a hard link; by a copy where those do not
/// work. Nothing to do where it has that name already.
pub fn name_the_dump(stored: &Stored) -> Result<()> {
    name_with(stored, |from, to| std::fs::hard_link(from, to))
}

fn name_with(stored: &Stored, link: impl Fn(&Path, &Path) -> std::io::Result<()>) -> Result<()> {
    let (from, to) = (stored.archive(), stored.dir.join(DUMP));
    if stored.dump.name == DUMP || link(&from, &to).is_ok() {
        return Ok(());
    }
    std::fs::copy(&from, &to).with_context(|| format!("copy {} to {DUMP}", from.display()))?;
    let file = std::fs::File::open(&to).and_then(|f| f.sync_all());
    file.with_context(|| format!("flush {}", to.display()))?;
    match fsx::sha256_file(&to)?.0 == stored.dump.sha256 {
        true => Ok(()),
        false => Err(bad(&stored.dir, format!("{DUMP} is not what was copied")).into()),
    }
}
