//! P5: secrets in what is about to be released, and what the image build would
//! bake in. Findings name file, line and kind, never the value.

use super::Ctx;
use crate::config::allow::{self, Allowed};
use crate::error::{Fault, Result};
use crate::evidence::records::Finding;
use crate::lkg::LastKnownGood;
use crate::redact::{SecretFinding, finding_kinds, scan_text};
use crate::stand::Stand;
use crate::stand::changes::Changed;
use crate::stand::git::Dirt;
use std::collections::BTreeMap;
use std::path::Path;

/// Larger files are data, not source.
const LARGEST: u64 = 4 << 20;

/// The allow list of the secret scan. It is reviewed as part of a commit: one that git ignores would be no
/// edit, and nobody would have seen it.
///
/// # Errors
/// A list that does not fit, or is not tracked.
pub fn allowed(stand: &Stand, repo: &Path) -> Result<Vec<Allowed>> {
    let allow = allow::load(repo, &finding_kinds())?;
    if !allow.is_empty() && !stand.tracked()?.iter().any(|file| file == allow::FILE) {
        return Err(Fault::refused(format!("{} is not in git", allow::FILE))
            .why("what the secret scan passes over is reviewed as part of a commit")
            .remedy("commit it, or move it away")
            .into());
    }
    Ok(allow)
}

pub struct Scan {
    /// How many were looked at; binary ones count, there is no text in them.
    pub files: u64,
    /// Those that were not read, because they are larger than any source.
    pub too_large: Vec<String>,
    pub findings: Vec<Finding>,
    pub context: Vec<String>,
    /// Entries of the allow list that fit nothing any more.
    pub stale: Vec<String>,
}

/// What findings are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base<'a> {
    /// No release was good yet: what tracked files hold becomes the baseline.
    First,
    /// The commit of the last known good release, which is not in this checkout: it excuses nothing.
    Gone(&'a str),
    Commit(&'a str),
}

impl<'a> Base<'a> {
    pub fn of(stand: &Stand, last: Option<&'a LastKnownGood>) -> Result<Base<'a>> {
        let Some(last) = last else { return Ok(Base::First) };
        Ok(if stand.has_object(&last.commit)? {
            Base::Commit(&last.commit)
        } else {
            Base::Gone(&last.commit)
        })
    }

    /// The commit, where there is one to compare with.
    pub fn commit(self) -> Option<&'a str> {
        match self {
            Base::Commit(commit) => Some(commit),
            Base::First | Base::Gone(_) => None,
        }
    }
}

impl std::fmt::Display for Base<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Base::First => f.write_str("first release: findings in tracked files are the baseline"),
            Base::Gone(commit) => write!(
                f,
                "commit {commit} of the last known good release is not in this checkout: every finding of the \
                 secret scan counts as new"
            ),
            Base::Commit(commit) => f.write_str(commit),
        }
    }
}

/// Scans tracked changes since the base and untracked files. What `allow` fits is recorded with its
/// reason, and is not hard.
pub fn run(ctx: &Ctx<'_>, stand: &Stand, base: Base<'_>, dirt: &Dirt, allow: &[Allowed]) -> Result<Scan> {
    let scan = look(stand, base, dirt, allow)?;
    let log = ctx.run.log("precheck")?;
    let allowed = scan.findings.iter().filter(|f| f.allowed.is_some()).count();
    log.say(&format!(
        "secret scan: {} files, {} findings, {allowed} of them allowed",
        scan.files,
        scan.findings.len()
    ));
    Ok(scan)
}

fn look(stand: &Stand, base: Base<'_>, dirt: &Dirt, allow: &[Allowed]) -> Result<Scan> {
    let as_new = |path: String| Changed { path, before: None };
    let mut files = match base.commit() {
        Some(commit) => stand.changed_since(commit)?,
        None => stand.tracked()?.into_iter().map(as_new).collect(),
    };
    let tracked = files.len();
    files.extend(dirt.untracked.iter().cloned().map(as_new));
    let mut scan = Scan {
        files: 0,
        too_large: Vec::new(),
        findings: Vec::new(),
        context: baked_in(&stand.repo),
        stale: Vec::new(),
    };
    let mut used = vec![false; allow.len()];
    for (number, file) in files.iter().enumerate() {
        let path = stand.repo.join(&file.path);
        if too_large(&path) {
            scan.too_large.push(file.path.clone());
            continue;
        }
        scan.files += 1;
        let Some(text) = read(&path) else { continue };
        let found = scan_text(&text);
        if found.is_empty() {
            continue;
        }
        let untracked = number >= tracked;
        let mut known = known(stand, base, file)?;
        let lines: Vec<&str> = text.lines().collect();
        for finding in found {
            let entry = fitting(allow, &file.path, &finding, &lines);
            entry.iter().for_each(|at| used[*at] = true);
            let allowed = entry.map(|at| allow[at].reason.clone());
            let equal = known.get_mut(&identity(&finding, &lines)).filter(|left| **left > 0);
            let was_there = equal.map(|left| *left -= 1).is_some();
            scan.findings.push(Finding {
                file: file.path.clone(),
                line: finding.line,
                kind: finding.kind.into(),
                hard: finding.hard && allowed.is_none(),
                new: untracked || (base != Base::First && !was_there),
                allowed,
            });
        }
    }
    scan.stale = stale(stand, allow, &used)?;
    Ok(scan)
}

/// Kind and text of a finding.
type Identity = (&'static str, String);

/// The findings that a file had at the base, and how often each: they are excused, and only they. A
/// secret in the place of another one, or of a placeholder, is new.
fn known(stand: &Stand, base: Base<'_>, file: &Changed) -> Result<BTreeMap<Identity, usize>> {
    let mut known = BTreeMap::new();
    if let (Some(commit), Some(before)) = (base.commit(), &file.before)
        && let Some(text) = stand.blob(commit, before)?.as_deref().and_then(text_of)
    {
        let lines: Vec<&str> = text.lines().collect();
        for finding in scan_text(&text) {
            *known.entry(identity(&finding, &lines)).or_default() += 1;
        }
    }
    Ok(known)
}

/// What tells a finding from another one of its kind: its line, and of a private key, whose first line
/// is that of all keys, the lines up to its last.
fn identity(finding: &SecretFinding, lines: &[&str]) -> Identity {
    let rest = lines.get(finding.line.saturating_sub(1)..).unwrap_or_default();
    let last = match finding.kind {
        // Without an end, as far as a key has to look like one.
        "private key" => rest.iter().take(200).position(|l| l.contains("-----END")).unwrap_or(4),
        _ => 0,
    };
    let text: Vec<&str> = rest.iter().take(last + 1).map(|l| l.trim()).collect();
    (finding.kind, text.join("\n"))
}

/// The entry that a finding fits.
fn fitting(allow: &[Allowed], file: &str, finding: &SecretFinding, lines: &[&str]) -> Option<usize> {
    let line = lines.get(finding.line.checked_sub(1)?)?;
    allow.iter().position(|entry| entry.fits(file, finding.kind, line))
}

/// Entries without a finding: neither among those of this scan nor in a file that did not change.
fn stale(stand: &Stand, allow: &[Allowed], used: &[bool]) -> Result<Vec<String>> {
    if used.iter().all(|u| *u) {
        return Ok(Vec::new());
    }
    let all = stand.tracked()?;
    let unused = allow.iter().zip(used).filter(|(_, used)| !**used).map(|(entry, _)| entry);
    let fits_nothing = |entry: &&Allowed| {
        !all.iter().filter(|file| entry.names(file)).any(|file| {
            read(&stand.repo.join(file)).is_some_and(|text| {
                let lines: Vec<&str> = text.lines().collect();
                let one = std::slice::from_ref(*entry);
                scan_text(&text).iter().any(|finding| fitting(one, file, finding, &lines).is_some())
            })
        })
    };
    Ok(unused.filter(fits_nothing).map(ToString::to_string).collect())
}

fn too_large(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() > LARGEST)
}

/// The text of a source file; none for binary, large or vanished ones.
fn read(path: &Path) -> Option<String> {
    if too_large(path) || !std::fs::symlink_metadata(path).ok()?.is_file() {
        return None;
    }
    text_of(&std::fs::read(path).ok()?)
}

/// The text that these bytes are; none of binary ones.
fn text_of(bytes: &[u8]) -> Option<String> {
    // What PowerShell writes by `>`.
    if let Some(wide) = bytes.strip_prefix(b"\xff\xfe") {
        let units: Vec<u16> = wide.chunks_exact(2).map(|u| u16::from_le_bytes([u[0], u[1]])).collect();
        return Some(String::from_utf16_lossy(&units));
    }
    (!bytes[..bytes.len().min(8000)].contains(&0)).then(|| String::from_utf8_lossy(bytes).into_owned())
}

/// What lies in the build context and has no business in an image, as lines for `.dockerignore`.
pub fn baked_in(repo: &Path) -> Vec<String> {
    let ignore = std::fs::read_to_string(repo.join(".dockerignore")).unwrap_or_default();
    let mut suspects = vec![".git", "ops/_local", "ops/_backups", "target"]
        .into_iter()
        .map(String::from)
        .collect::<Vec<_>>();
    suspects.extend(crate::config::envfile::names(repo));
    suspects.retain(|s| repo.join(s).exists() && !excluded(&ignore, s));
    suspects
}

/// Does a `.dockerignore` keep this path out? The last rule that matches decides.
fn excluded(ignore: &str, path: &str) -> bool {
    let mut out = false;
    for rule in ignore.trim_start_matches('\u{feff}').lines() {
        let rule = rule.trim();
        if rule.is_empty() || rule.starts_with('#') {
            continue;
        }
        let (rule, hides) = rule.strip_prefix('!').map_or((rule, true), |r| (r, false));
        let rule = rule.trim_start_matches('/').trim_end_matches('/').trim_end_matches("/**");
        let parents = Path::new(path).ancestors().filter(|p| !p.as_os_str().is_empty());
        let matches = |p: &Path| {
            let text = p.to_string_lossy();
            glob::Pattern::new(rule).is_ok_and(|g| g.matches(&text))
                || rule.strip_prefix("**/").is_some_and(|r| {
                    glob::Pattern::new(r)
                        .is_ok_and(|g| p.file_name().is_some_and(|n| g.matches(&n.to_string_lossy())))
                })
        };
        if parents.into_iter().any(matches) {
            out = hides;
        }
    }
    out
}

#[cfg(test)]
mod tests;
