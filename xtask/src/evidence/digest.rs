//! digest.sha256: lower-case hex, LF, sorted, relative paths, what
//! `sha256sum -c` reads. Only plain files: a link could lead out of the directory.

use crate::error::{Context, Result, bail};
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
    /// A line that is not `<hex>  <path>` as it is written here, in the order in which it is written
    /// here: other lines would give the same files another digest.
    Malformed(usize),
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Mismatch::Missing(path) => write!(f, "{path} is missing"),
            Mismatch::Extra(path) => write!(f, "{path} is not in the digest"),
            Mismatch::Changed(path) => write!(f, "{path} was changed"),
            Mismatch::Malformed(line) => write!(f, "line {line} of {NAME} is malformed or not in its place"),
        }
    }
}

/// Writes the digest of every file below `dir`; returns the digest's own sha256.
pub fn write(dir: &Path) -> Result<String> {
    let mut text = String::new();
    for file in fsx::files_below(dir)? {
        if file != NAME {
            if !is_plain(&dir.join(&file)) {
                bail!("{file} in {} is not a plain file", dir.display());
            }
            let (hash, _) = fsx::sha256_file(&dir.join(&file))?;
            let (mark, name) = escaped(&file);
            text.push_str(&format!("{mark}{hash}  {name}\n"));
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
    let mut listed: BTreeMap<String, String> = BTreeMap::new();
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let entry = entry(line);
        let last = listed.last_key_value();
        if entry.as_ref().is_none_or(|(_, file)| last.is_some_and(|(last, _)| last >= file)) {
            found.push(Mismatch::Malformed(number + 1));
        }
        // The first of two lines holds, as `sha256sum -c` fails when either does not fit.
        if let Some((hash, file)) = entry {
            listed.entry(file).or_insert(hash);
        }
    }
    for file in fsx::files_below(dir)? {
        if file == NAME || file == "pruned.json" {
            continue;
        }
        match listed.remove(&file) {
            None => found.push(Mismatch::Extra(file)),
            Some(hash) => {
                let path = dir.join(&file);
                if !is_plain(&path) || fsx::sha256_file(&path)?.0 != hash {
                    found.push(Mismatch::Changed(file));
                }
            }
        }
    }
    found.extend(listed.into_keys().map(Mismatch::Missing));
    Ok(found)
}

fn is_plain(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|m| m.is_file())
}

/// A name as `sha256sum` writes it, and the mark before the line that says so.
fn escaped(name: &str) -> (&'static str, String) {
    if !name.contains(['\\', '\n', '\r']) {
        return ("", name.into());
    }
    ("\\", name.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r"))
}

/// Hash and path of a line; none for anything that [`write`] does not write.
fn entry(line: &str) -> Option<(String, String)> {
    let line = line.strip_suffix('\n')?;
    let (mark, rest) = line.strip_prefix('\\').map_or(("", line), |rest| ("\\", rest));
    let (hash, name) = rest.split_once("  ")?;
    let hex = hash.len() == 64 && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let file = if mark.is_empty() { name.to_string() } else { unescaped(name)? };
    let inside = file.split('/').all(|part| !matches!(part, "" | "." | ".."));
    let drive = file.as_bytes().get(1) == Some(&b':');
    (hex && inside && !drive && escaped(&file) == (mark, name.to_string())).then(|| (hash.to_string(), file))
}

fn unescaped(name: &str) -> Option<String> {
    let mut text = String::new();
    let mut chars = name.chars();
    while let Some(c) = chars.next() {
        text.push(match c {
            '\\' => match chars.next()? {
                '\\' => '\\',
                'n' => '\n',
                'r' => '\r',
                _ => return None,
            },
            c => c,
        });
    }
    Some(text)
}
