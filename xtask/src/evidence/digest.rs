//! digest.sha256: lower-case hex, LF, sorted, relative paths, what
//! `sha256sum -c` reads.

use crate::error::{Context, Result};
use crate::fsx;
use std::collections::BTreeMap;
use std::path::Path;

pub const NAME: &str = "digest.sha256";

/// What does not fit between a directory and its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mismatch {
    /// Listed, and not there.
    Missing(String),
    /// There, and not listed.
    Extra(String),
    /// There with other content.
    Changed(String),
    /// A line that is not `<hex>  <path>`.
    Malformed(usize),
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Mismatch::Missing(path) => write!(f, "{path} is missing"),
            Mismatch::Extra(path) => write!(f, "{path} is not in the digest"),
            Mismatch::Changed(path) => write!(f, "{path} was changed"),
            Mismatch::Malformed(line) => write!(f, "line {line} of {NAME} is malformed"),
        }
    }
}

/// Writes the digest of every file below `dir`; returns the digest's own sha256.
pub fn write(dir: &Path) -> Result<String> {
    let mut text = String::new();
    for file in fsx::files_below(dir)? {
        if file != NAME {
            let (hash, _) = fsx::sha256_file(&dir.join(&file))?;
            text.push_str(&format!("{hash}  {file}\n"));
        }
    }
    fsx::write_atomic(&dir.join(NAME), text.as_bytes())?;
    Ok(fsx::sha256(text.as_bytes()))
}

/// Compares a directory with its digest, both ways. `pruned.json` may have come later.
pub fn check(dir: &Path) -> Result<Vec<Mismatch>> {
    let path = dir.join(NAME);
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let mut found = Vec::new();
    let mut listed = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        match line.split_once("  ") {
            Some((hash, file)) if hash.len() == 64 && !file.is_empty() => {
                listed.insert(file.to_string(), hash.to_string());
            }
            _ => found.push(Mismatch::Malformed(number + 1)),
        }
    }
    for file in fsx::files_below(dir)? {
        if file == NAME || file == "pruned.json" {
            continue;
        }
        match listed.remove(&file) {
            None => found.push(Mismatch::Extra(file)),
            Some(hash) if fsx::sha256_file(&dir.join(&file))?.0 != hash => {
                found.push(Mismatch::Changed(file));
            }
            Some(_) => {}
        }
    }
    found.extend(listed.into_keys().map(Mismatch::Missing));
    Ok(found)
}
