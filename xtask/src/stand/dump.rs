//! pg_dump and pg_restore as data, and the table of contents of an archive.

use super::postgres::Pg;
use crate::error::{Context, Result};
use crate::exec::{Finished, Invocation};
use std::path::Path;
use std::time::Duration;

impl Pg {
    /// `pg_dump -Fc` to stdout, of one snapshot. Neither -x nor -O: they lose grants for good.
    pub fn dump(
        &self,
        database: &str,
        app: &str,
        snapshot: Option<&str>,
        compression: u8,
        lock_wait_s: u64,
        limit: Duration,
    ) -> Invocation {
        let level = format!("-Z{compression}");
        let wait = format!("--lock-wait-timeout={}s", lock_wait_s);
        let mut rest = vec!["-Fc".to_string(), level, wait];
        rest.extend(snapshot.map(|s| format!("--snapshot={s}")));
        let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
        self.inside(app, &[], &self.argv("pg_dump", database, &rest)).quiet().timeout(limit)
    }

    /// The schema as SQL: for comparing, never for evidence.
    pub fn schema(&self, database: &str, app: &str, snapshot: Option<&str>) -> Invocation {
        let mut rest = vec!["-s".to_string(), "--no-subscriptions".into(), "--lock-wait-timeout=30s".into()];
        rest.extend(snapshot.map(|s| format!("--snapshot={s}")));
        let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
        self.inside(app, &[], &self.argv("pg_dump", database, &rest))
            .quiet()
            .timeout(Duration::from_secs(900))
    }

    /// What belongs to the database itself, as SQL, with as little of its schema as can be had.
    pub fn properties(&self, database: &str, app: &str) -> Invocation {
        let argv = self.argv("pg_dump", database, &["-C", "-s", "-N", "*", "--no-subscriptions"]);
        self.inside(app, &[], &argv).quiet().timeout(Duration::from_secs(600))
    }

    /// Roles and tablespaces, without password hashes.
    pub fn globals(&self, app: &str) -> Invocation {
        let argv = ["pg_dumpall", "-U", &self.user, "-l", "postgres", "-g", "--no-role-passwords"];
        self.inside(app, &[], &argv.map(String::from)).quiet().timeout(Duration::from_secs(120))
    }

    /// Restores an archive that lies in the container, the entries that `list` names.
    pub fn restore(
        &self,
        database: &str,
        app: &str,
        list: &str,
        archive: &str,
        jobs: usize,
        limit: Duration,
    ) -> Invocation {
        let jobs = jobs.to_string();
        // DDL event triggers of the database would fire on every statement of the restore.
        // Thousands of tables or large objects are as many commits, and none of them has to be on disk by
        // itself: the commit of the swap, the first that counts, flushes all that came before it.
        let options = "-c session_replication_role=replica -c statement_timeout=0 -c synchronous_commit=off";
        let env = [("PGOPTIONS", options)];
        let rest = ["-e", "-j", &jobs, "--no-subscriptions", "-L", list, archive];
        self.inside(app, &env, &self.argv("pg_restore", database, &rest)).timeout(limit)
    }

    /// Reads an archive on this machine to its end and restores nothing. That the client of a dump ended
    /// well does not say that all of it came through.
    pub fn read_back(&self, archive: &Path, app: &str, limit: Duration) -> Result<Finished> {
        let file = std::fs::File::open(archive).with_context(|| format!("open {}", archive.display()))?;
        let argv = ["pg_restore", "-f", "/dev/null"].map(String::from);
        let call = self.inside(app, &[], &argv).timeout(limit);
        self.stand.exec.run_with(&call, Some(Box::new(file)), &mut |_| Ok(()))
    }

    /// The archive's table of contents.
    pub fn contents(&self, app: &str, archive: &str) -> Invocation {
        let argv = ["pg_restore", "-l", archive].map(String::from);
        self.inside(app, &[], &argv).quiet().timeout(Duration::from_secs(300))
    }
}

/// Cuts what comes in pieces into lines, in memory of one line.
#[derive(Default)]
pub struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// Hands over every line that is whole by now, without its end.
    pub fn push(&mut self, bytes: &[u8], mut line: impl FnMut(&str)) {
        self.rest.extend_from_slice(bytes);
        let rest = std::mem::take(&mut self.rest);
        let mut whole = 0;
        for piece in rest.split_inclusive(|b| *b == b'\n').filter(|p| p.ends_with(b"\n")) {
            whole += piece.len();
            line(String::from_utf8_lossy(piece).trim_end_matches(['\n', '\r']));
        }
        self.rest = rest[whole..].to_vec();
    }
}

/// When an entry of a table of contents is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// A schema that must be there before extensions are created in it.
    First,
    /// Everything else.
    Rest,
    /// The data of a materialized view: a stale view differs from its definition's result, which is
    /// normal.
    LeftOut,
}

/// What a line of `pg_restore -l` is; none where it is no entry. `schemas` are those of extensions.
pub fn entry(line: &str, schemas: &[String]) -> Option<Entry> {
    // `3; 2615 16385 SCHEMA - name owner`
    let (_, entry) = line.split_once("; ").filter(|_| !line.starts_with(';'))?;
    let what = entry.splitn(3, ' ').nth(2).unwrap_or_default();
    if what.starts_with("MATERIALIZED VIEW DATA ") {
        return Some(Entry::LeftOut);
    }
    let early = what.strip_prefix("SCHEMA - ").is_some_and(|rest| {
        schemas.iter().any(|s| rest == s || rest.strip_prefix(s.as_str()).is_some_and(|r| r.starts_with(' ')))
    });
    Some(if early { Entry::First } else { Entry::Rest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn materialized_view_data_is_left_out_and_extension_schemas_come_first() {
        let of = |line: &str| entry(line, &["ext".into()]);
        assert_eq!(of(";"), None);
        assert_eq!(of("; Archive created at x"), None);
        assert_eq!(of("3; 2615 16385 SCHEMA - ext admin"), Some(Entry::First));
        assert_eq!(of("4; 2615 16386 SCHEMA - ext2 admin"), Some(Entry::Rest));
        assert_eq!(of("210; 1259 16390 TABLE public t admin"), Some(Entry::Rest));
        assert_eq!(of("3300; 0 16395 MATERIALIZED VIEW DATA public mv admin"), Some(Entry::LeftOut));
    }

    #[test]
    fn lines_are_whole_however_their_bytes_come() {
        for size in [1, 2, 3, 7, 100] {
            let (mut lines, mut found) = (Lines::default(), Vec::new());
            for piece in "один\r\n\ntwo\nrest".as_bytes().chunks(size) {
                lines.push(piece, |line| found.push(line.to_string()));
            }
            assert_eq!(found, ["один", "", "two"], "in pieces of {size}");
        }
    }
}
