//! Env files: kept when a release passes, compared with what lies in the
//! checkout now. Keys are named, values never.

use crate::config::envfile;
use crate::error::{Context, Result};
use crate::fsx;
use crate::lkg::Store;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Keeps the env files of a release that passed, owner-only.
pub fn keep(repo: &Path, store: &Store, rid: &str) -> Result<()> {
    store.of_release(rid)?;
    let dir = store.env_dir(rid);
    fsx::private_dir(&dir)?;
    for name in envfile::names(repo) {
        let bytes = std::fs::read(repo.join(&name)).with_context(|| format!("read {name}"))?;
        fsx::write_atomic(&dir.join(&name), &bytes)?;
    }
    Ok(())
}

/// `.env.docker: KEY, OTHER` for each env file of the checkout that says something else than the
/// release `rid` ran with; nothing where no env files of it are kept.
pub fn differences(repo: &Path, rid: &str) -> Vec<String> {
    let kept = Store::of(repo).env_dir(rid);
    if !kept.is_dir() {
        return Vec::new();
    }
    let names: BTreeSet<String> = envfile::names(repo).into_iter().chain(envfile::names(&kept)).collect();
    let pairs = |dir: &Path, name: &str| -> Option<BTreeMap<String, String>> {
        envfile::read(&dir.join(name)).ok().map(|pairs| pairs.into_iter().collect())
    };
    let mut found = Vec::new();
    for name in names {
        let (then, now) = match (pairs(&kept, &name), pairs(repo, &name)) {
            (Some(then), Some(now)) => (then, now),
            (None, _) => {
                found.push(format!("{name}: the file is new"));
                continue;
            }
            (_, None) => {
                found.push(format!("{name}: the file is gone"));
                continue;
            }
        };
        let keys: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
        let other: Vec<&str> =
            keys.into_iter().filter(|k| then.get(*k) != now.get(*k)).map(String::as_str).collect();
        if !other.is_empty() {
            found.push(format!("{name}: {}", other.join(", ")));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_differ_are_named_and_their_values_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let repo = dir.path();
        let write = |name: &str, text: &str| std::fs::write(repo.join(name), text).unwrap();
        write(".env", "A=1\nB=2\n");
        write(".env.docker", "C=secret-of-then\nD=4\nE=5\n");
        write(".env.old", "X=1\n");
        keep(repo, &Store::of(repo), "rel_1").unwrap();
        assert!(differences(repo, "rel_1").is_empty(), "nothing was edited");
        write(".env", "# a note\nB=2\nA='1'\n");
        write(".env.docker", "C=secret-of-now\nE=5\nF=6\n");
        std::fs::remove_file(repo.join(".env.old")).unwrap();
        write(".env.new", "");
        let found = differences(repo, "rel_1");
        let wanted = [".env.docker: C, D, F", ".env.new: the file is new", ".env.old: the file is gone"];
        assert_eq!(found, wanted);
        assert!(differences(repo, "rel_2").is_empty(), "of which nothing is kept");
    }
}
