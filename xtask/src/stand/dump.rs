//! pg_dump and pg_restore as data, and the table of contents of an archive.

use super::postgres::Pg;
use crate::exec::Invocation;
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
        let env = [("PGOPTIONS", "-c session_replication_role=replica -c statement_timeout=0")];
        let rest = ["-e", "-j", &jobs, "--no-subscriptions", "-L", list, archive];
        self.inside(app, &env, &self.argv("pg_restore", database, &rest)).timeout(limit)
    }

    /// Reads an archive from standard input to its end and restores nothing.
    pub fn read_through(&self, app: &str, limit: Duration) -> Invocation {
        let argv = ["pg_restore", "-f", "/dev/null"].map(String::from);
        self.inside(app, &[], &argv).timeout(limit)
    }

    /// The archive's table of contents.
    pub fn contents(&self, app: &str, archive: &str) -> Invocation {
        let argv = ["pg_restore", "-l", archive].map(String::from);
        self.inside(app, &[], &argv).quiet().timeout(Duration::from_secs(300))
    }
}

/// Entries of a table of contents, split for the order of a restore.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Schemas that must be there before extensions are created in them.
    pub first: String,
    /// Everything else, without the data of materialized views: a stale view
    /// differs from its definition's result, which is normal.
    pub rest: String,
    /// Entries in `first` and `rest`.
    pub entries: usize,
    pub views_left_out: usize,
}

/// Splits `pg_restore -l`. `schemas` are those of extensions.
pub fn split_contents(list: &str, schemas: &[String]) -> Contents {
    let mut contents = Contents::default();
    for line in list.lines() {
        // `3; 2615 16385 SCHEMA - name owner`
        let Some((_, entry)) = line.split_once("; ").filter(|_| !line.starts_with(';')) else { continue };
        let words: Vec<&str> = entry.splitn(3, ' ').collect();
        let what = words.get(2).copied().unwrap_or_default();
        if what.starts_with("MATERIALIZED VIEW DATA ") {
            contents.views_left_out += 1;
            continue;
        }
        contents.entries += 1;
        let early = what.strip_prefix("SCHEMA - ").is_some_and(|rest| {
            schemas
                .iter()
                .any(|s| rest == s || rest.strip_prefix(s.as_str()).is_some_and(|r| r.starts_with(' ')))
        });
        let target = if early { &mut contents.first } else { &mut contents.rest };
        target.push_str(line);
        target.push('\n');
    }
    contents
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn materialized_view_data_is_left_out_and_extension_schemas_come_first() {
        let list = ";\n; Archive created at x\n3; 2615 16385 SCHEMA - ext admin\n4; 2615 16386 SCHEMA - ext2 admin\n\
                    210; 1259 16390 TABLE public t admin\n3300; 0 16395 MATERIALIZED VIEW DATA public mv admin\n";
        let contents = split_contents(list, &["ext".into()]);
        assert_eq!(contents.first, "3; 2615 16385 SCHEMA - ext admin\n");
        assert!(contents.rest.contains("SCHEMA - ext2") && contents.rest.contains("TABLE public t"));
        assert!(!contents.rest.contains("MATERIALIZED"));
        assert_eq!((contents.entries, contents.views_left_out), (3, 1));
    }
}
