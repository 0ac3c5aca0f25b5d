//! What an archive without privileges has lost, and how it comes back: from the
//! newest backup of the built-in engine that knows every object of it.

use super::schema;
use super::stored::{self, Stored};
use super::{Ctx, properties, restore, send};
use crate::error::{Context, Fault, Lane, Result, some};
use crate::stand::dump::Lines;
use crate::stand::postgres::Pg;
use crate::stand::psql::{Psql, QUESTION};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::path::Path;
use std::time::Duration;

/// An archive on its way into the container.
const SENDING: Duration = Duration::from_secs(12 * 3600);
/// What can have privileges, as an archive names it.
const KINDS: [&str; 15] = [
    "AGGREGATE ",
    "BLOB ",
    "BLOB METADATA ",
    "DOMAIN ",
    "FOREIGN DATA WRAPPER ",
    "FOREIGN TABLE ",
    "FUNCTION ",
    "MATERIALIZED VIEW ",
    "PROCEDURAL LANGUAGE ",
    "PROCEDURE ",
    "SCHEMA ",
    "SEQUENCE ",
    "SERVER ",
    "TABLE ",
    "TYPE ",
];
/// What begins like one of them and is none.
const PARTS: [&str; 5] =
    ["MATERIALIZED VIEW DATA ", "SEQUENCE OWNED BY ", "SEQUENCE SET ", "TABLE ATTACH ", "TABLE DATA "];

/// The privileges that a database has now, each as pg_dump names it.
pub fn all(ctx: &Ctx<'_>, pg: &Pg, live: &mut Psql) -> Result<Vec<String>> {
    let objects = schema::read(ctx, pg, &pg.database, "privileges", None)?;
    let mut found: Vec<String> = objects
        .into_keys()
        .filter_map(|key| match key.strip_prefix("ACL ") {
            Some(of) => Some(of.to_string()),
            None => key.starts_with("DEFAULT ACL ").then_some(key),
        })
        .collect();
    // Not in a dump of the schema.
    found.extend(live.ask(
        "SELECT format('DATABASE %s', datname) FROM pg_database, \
           LATERAL (SELECT coalesce(datacl, acldefault('d', datdba)) AS has, acldefault('d', datdba) AS made) acl \
         WHERE datname = current_database() AND NOT (has @> made AND has <@ made) \
         UNION ALL SELECT format('LARGE OBJECT %s', oid) FROM pg_largeobject_metadata WHERE lomacl IS NOT NULL",
        QUESTION,
    )?);
    Ok(found)
}

/// The backup that privileges come back from, and the entries of it that grant them.
pub struct Donor {
    backup: Stored,
    list: String,
}

/// Where the privileges come from that an archive has lost; none where there is no backup of the built-in
/// engine and the live database has no privileges either.
///
/// # Errors
/// A refusal with everything that would be lost, where no backup has it all. The whole list is in the RAW
/// log.
pub fn donor(ctx: &Ctx<'_>, lost: &Stored, now: &[String]) -> Result<Option<Donor>> {
    let pg = ctx.pg("rollback")?;
    let wanted = contents(ctx, &pg, &lost.archive())?;
    let wanted: BTreeSet<&str> = wanted.objects.values().map(String::as_str).collect();
    let root = ctx.config.repo.join(&ctx.config.backup.directory);
    let mut unknown = None;
    for backup in native(&root, &lost.database) {
        let theirs = contents(ctx, &pg, &backup.archive())?;
        let known: BTreeSet<&str> = theirs.objects.values().map(String::as_str).collect();
        let missing: Vec<String> = wanted.difference(&known).map(|o| (*o).to_string()).collect();
        if missing.is_empty() {
            return Ok(Some(Donor { list: theirs.of(&wanted), backup }));
        }
        unknown.get_or_insert((backup.dir, missing));
    }
    let (why, list) = match &unknown {
        Some((dir, missing)) => {
            (format!("{} does not know what privileges these had", dir.display()), missing.as_slice())
        }
        None if now.is_empty() => return Ok(None),
        None => ("no backup of the built-in engine has them; the database has some now on".into(), now),
    };
    let log = ctx.run.log("rollback")?;
    list.iter().for_each(|object| log.say(&format!("privileges not known: {object}")));
    let rest = if list.len() > 10 { "; all of them are in step_rollback.log" } else { "" };
    Err(Fault::refused("this backup has lost every GRANT, and they cannot be brought back")
        .why(format!("{why}: {}{rest}", some(list)))
        .remedy("go back to a backup of the built-in engine: cargo xtask rollback lists them")
        .into())
}

impl Donor {
    pub fn dir(&self) -> String {
        self.backup.dir.display().to_string()
    }

    /// Gives the restored copy its privileges; returns the statements for those on the database itself.
    pub fn replay(&self, ctx: &Ctx<'_>, side: &str) -> Result<Vec<String>> {
        let pg = ctx.pg("rollback")?;
        let Donor { backup, list } = self;
        let remote = restore::remote_archive(ctx.id, "privileges");
        let data = json!({ "database": side, "from": self.dir() });
        let replayed = ctx.act("rollback", "bring privileges back", data, || {
            if send::into(ctx, "rollback", &pg, (&backup.archive(), &remote), SENDING)? != backup.dump.sha256
            {
                let what = format!("the dump in {} was changed after it was verified", self.dir());
                return Err(Fault::new(what).into());
            }
            restore::entries(ctx, &pg, side, &remote, Box::new(Cursor::new(list.clone())), 1)?;
            let mut database = properties::of_archive(ctx, &pg, &remote, &backup.database, &pg.database)?;
            database.retain(|s| s.starts_with("GRANT ") || s.starts_with("REVOKE "));
            let data = json!({ "entries": list.lines().count(), "on_database": database.len() });
            Ok((database, data))
        });
        restore::remove_remote(&pg, &remote)?;
        replayed
    }
}

/// The built-in engine's backups of a database that verify, newest first.
fn native(root: &Path, database: &str) -> impl Iterator<Item = Stored> {
    let mut dirs: Vec<_> =
        std::fs::read_dir(root).into_iter().flatten().flatten().map(|e| e.path()).collect();
    dirs.sort();
    let database = database.to_string();
    let good = move |s: &Stored| s.keeps_privileges() && s.database == database;
    dirs.into_iter().rev().filter_map(|dir| stored::read(&dir).ok()).filter(good)
}

/// What an archive's table of contents says.
#[derive(Default)]
struct Contents {
    /// What can have privileges, by its number: kind, schema, name, owner.
    objects: BTreeMap<String, String>,
    /// Entries that grant, as they stand there, each with the numbers of what they are about.
    grants: Vec<(String, Vec<String>)>,
}

impl Contents {
    fn line(&mut self, line: &str) {
        if let Some(numbers) = line.strip_prefix(";\tdepends on:") {
            if let Some((_, about)) = self.grants.last_mut().filter(|(_, about)| about.is_empty()) {
                about.extend(numbers.split_whitespace().map(String::from));
            }
            return;
        }
        // `215; 1259 16390 TABLE public t admin`
        let Some((number, entry)) = line.split_once("; ").filter(|_| !line.starts_with(';')) else { return };
        let what = entry.splitn(3, ' ').nth(2).unwrap_or_default();
        if what.starts_with("ACL ") || what.starts_with("DEFAULT ACL ") {
            self.grants.push((line.into(), Vec::new()));
        } else if KINDS.iter().any(|k| what.starts_with(k)) && !PARTS.iter().any(|p| what.starts_with(p)) {
            self.objects.insert(number.into(), what.into());
        }
    }

    /// The entries about what is there: about nothing else than what `wanted` has, or what no archive
    /// creates, e.g. schema public.
    fn of(&self, wanted: &BTreeSet<&str>) -> String {
        let there = |number: &String| self.objects.get(number).is_none_or(|o| wanted.contains(o.as_str()));
        let fits = self.grants.iter().filter(|(_, about)| about.iter().all(there));
        fits.map(|(line, _)| format!("{line}\n")).collect()
    }
}

fn contents(ctx: &Ctx<'_>, pg: &Pg, archive: &Path) -> Result<Contents> {
    let file = std::fs::File::open(archive).with_context(|| format!("open {}", archive.display()))?;
    let argv = ["pg_restore", "-l", "-v"].map(String::from);
    let call = pg.inside(&ctx.app("contents"), &[], &argv).quiet().timeout(Duration::from_secs(300));
    let (mut lines, mut found) = (Lines::default(), Contents::default());
    let mut sink = |bytes: &[u8]| {
        lines.push(bytes, |line| found.line(line));
        Ok(())
    };
    let finished = pg.stand.exec.run_with(&call, Some(Box::new(file)), &mut sink)?;
    finished.success("the dump's table of contents cannot be read", Lane::C)?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "; Archive created at x\n6; 2615 16387 SCHEMA - s o\n3373; 0 0 ACL - SCHEMA s o\n;\tdepends on: 6\n\
        3372; 0 0 ACL - SCHEMA public pg_database_owner\n;\tdepends on: 7\n\
        216; 1259 16388 TABLE s t o\n;\tdepends on: 6\n3381; 0 0 ACL s TABLE t o\n;\tdepends on: 216\n\
        3382; 0 0 ACL s COLUMN t.b o\n;\tdepends on: 216 3381\n3361; 0 16388 TABLE DATA s t o\n;\tdepends on: 216\n\
        2053; 826 16400 DEFAULT ACL s DEFAULT PRIVILEGES FOR TABLES o\n;\tdepends on: 6\n";

    #[test]
    fn grants_come_back_on_what_is_there_and_on_nothing_else() {
        let mut contents = Contents::default();
        LIST.lines().for_each(|line| contents.line(line));
        let objects: Vec<_> = contents.objects.values().map(String::as_str).collect();
        assert_eq!(objects, ["TABLE s t o", "SCHEMA - s o"]);
        let entries = |wanted: &[&str]| {
            let list = contents.of(&wanted.iter().copied().collect());
            list.lines().map(|l| l.split(';').next().unwrap_or_default().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(entries(&["SCHEMA - s o", "TABLE s t o"]), ["3373", "3372", "3381", "3382", "2053"]);
        assert_eq!(entries(&["SCHEMA - s o"]), ["3373", "3372", "2053"]);
        assert_eq!(entries(&[]), ["3372"]);
    }
}
