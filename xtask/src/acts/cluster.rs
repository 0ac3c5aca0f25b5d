//! What belongs to the cluster and not to the database: roles, their settings,
//! ALTER SYSTEM. A swap does not bring it back; a difference is named, never
//! repaired.

use crate::error::Result;
use crate::stand::psql::{Psql, QUESTION};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Name to a hash of everything that is visible of it.
pub type Cluster = BTreeMap<String, String>;

#[derive(Debug, Deserialize)]
struct Row {
    name: String,
    hash: String,
}

/// Reads roles, memberships, cluster-wide settings of roles and ALTER SYSTEM.
pub fn read(admin: &mut Psql) -> Result<Cluster> {
    // A changed password keeps the previous version out: those who may see that it changed look at it,
    // as a hash of the salted verifier among other fields; in pg_roles it is a row of stars.
    let may = admin.value("SELECT has_table_privilege('pg_catalog.pg_authid', 'SELECT')")?;
    let roles = if may.as_deref() == Some("t") { "pg_authid" } else { "pg_roles" };
    let rows: Vec<Row> = admin.rows(
        &format!("SELECT 'role ' || r.rolname AS name, md5(concat_ws('|', r.rolsuper, r.rolinherit, r.rolcreaterole, \
           r.rolcreatedb, r.rolcanlogin, r.rolreplication, r.rolbypassrls, r.rolconnlimit, r.rolvaliduntil, r.rolpassword, \
           (SELECT string_agg(m.roleid::regrole::text, ',' ORDER BY m.roleid::regrole::text) \
              FROM pg_auth_members m WHERE m.member = r.oid), \
           (SELECT array_to_string(s.setconfig, ',') FROM pg_db_role_setting s \
              WHERE s.setrole = r.oid AND s.setdatabase = 0))) AS hash \
         FROM {roles} r WHERE r.rolname !~ '^pg_' \
         UNION ALL SELECT 'setting ' || name, md5(setting) FROM pg_settings WHERE sourcefile LIKE '%postgresql.auto.conf'"),
        QUESTION,
    )?;
    Ok(rows.into_iter().map(|r| (r.name, r.hash)).collect())
}

/// What was added, removed or changed, in words.
pub fn differences(before: &Cluster, after: &Cluster) -> Vec<String> {
    let mut found = Vec::new();
    for (name, hash) in before {
        match after.get(name) {
            None => found.push(format!("{name} is gone")),
            Some(other) if other != hash => found.push(format!("{name} was changed")),
            Some(_) => {}
        }
    }
    found.extend(after.keys().filter(|n| !before.contains_key(*n)).map(|n| format!("{n} was added")));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_is_named() {
        let of = |pairs: &[(&str, &str)]| -> Cluster {
            pairs.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())).collect()
        };
        let before = of(&[("role a", "1"), ("role b", "2")]);
        assert!(differences(&before, &before).is_empty());
        let after = of(&[("role a", "9"), ("role c", "3")]);
        assert_eq!(
            differences(&before, &after),
            ["role a was changed", "role b is gone", "role c was added"]
        );
    }
}
