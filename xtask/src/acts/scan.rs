//! P5: secrets in what is about to be released, and what the image build would
//! bake in. Findings name file, line and kind, never the value.

use super::Ctx;
use crate::config::allow::Allowed;
use crate::error::Result;
use crate::evidence::records::Finding;
use crate::lkg::LastKnownGood;
use crate::redact::{SecretFinding, scan_text};
use crate::stand::Stand;
use crate::stand::git::Dirt;
use std::collections::BTreeMap;
use std::path::Path;

/// Larger files are data, not source.
const LARGEST: u64 = 4 << 20;

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

/// Scans tracked changes since the last known good release and untracked files. What `allow` fits
/// is recorded with its reason, and is not hard.
pub fn run(
    ctx: &Ctx<'_>,
    stand: &Stand,
    last: Option<&LastKnownGood>,
    dirt: &Dirt,
    allow: &[Allowed],
) -> Result<Scan> {
    let repo = &ctx.config.repo;
    let base = match last {
        Some(l) if stand.has_object(&l.commit)? => Some(l.commit.as_str()),
        _ => None,
    };
    let mut files = stand.changed_since(base)?;
    let tracked = files.len();
    files.extend(dirt.untracked.iter().cloned());
    let mut scan = Scan {
        files: 0,
        too_large: Vec::new(),
        findings: Vec::new(),
        context: baked_in(repo),
        stale: Vec::new(),
    };
    let mut used = vec![false; allow.len()];
    for (number, file) in files.iter().enumerate() {
        let path = repo.join(file);
        if too_large(&path) {
            scan.too_large.push(file.clone());
            continue;
        }
        scan.files += 1;
        let Some(text) = read(&path) else { continue };
        let found = scan_text(&text);
        if found.is_empty() {
            continue;
        }
        let untracked = number >= tracked;
        // What the last known good release had already is its baseline, kind by kind.
        let mut known: BTreeMap<&str, usize> = BTreeMap::new();
        if let Some(base) = base
            && let Some(old) = stand.blob(base, file)?
        {
            for finding in scan_text(&String::from_utf8_lossy(&old)) {
                *known.entry(finding.kind).or_default() += 1;
            }
        }
        let lines: Vec<&str> = text.lines().collect();
        for finding in found {
            let entry = fitting(allow, file, &finding, &lines);
            entry.iter().for_each(|at| used[*at] = true);
            let allowed = entry.map(|at| allow[at].reason.clone());
            let allowance = known.entry(finding.kind).or_default();
            let before = *allowance > 0;
            *allowance = allowance.saturating_sub(1);
            scan.findings.push(Finding {
                file: file.clone(),
                line: finding.line,
                kind: finding.kind.into(),
                hard: finding.hard && allowed.is_none(),
                new: untracked || (base.is_some() && !before),
                allowed,
            });
        }
    }
    scan.stale = stale(stand, allow, &used)?;
    let log = ctx.run.log("precheck")?;
    let allowed = scan.findings.iter().filter(|f| f.allowed.is_some()).count();
    log.say(&format!(
        "secret scan: {} files, {} findings, {allowed} of them allowed",
        scan.files,
        scan.findings.len()
    ));
    Ok(scan)
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
    let all = stand.changed_since(None)?;
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
    let bytes = std::fs::read(path).ok()?;
    // What PowerShell writes by `>`.
    if let Some(wide) = bytes.strip_prefix(b"\xff\xfe") {
        let units: Vec<u16> = wide.chunks_exact(2).map(|u| u16::from_le_bytes([u[0], u[1]])).collect();
        return Some(String::from_utf16_lossy(&units));
    }
    (!bytes[..bytes.len().min(8000)].contains(&0)).then(|| String::from_utf8_lossy(&bytes).into_owned())
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
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_for_source_is_told_from_what_was_read() {
        let place = tempfile::tempdir().unwrap();
        let (small, large) = (place.path().join("small"), place.path().join("large"));
        std::fs::write(&small, "text").unwrap();
        std::fs::File::create(&large).unwrap().set_len(LARGEST + 1).unwrap();
        assert_eq!((too_large(&small), too_large(&large)), (false, true));
        assert_eq!(read(&small).as_deref(), Some("text"));
        assert_eq!(read(&large), None);
        assert_eq!(read(place.path()), None, "a directory");
    }

    #[test]
    fn dockerignore_rules_are_read_as_docker_reads_them() {
        let ignore = "# x\n.git\nops/\n**/*.dump\n.env*\n!.env.example\n";
        assert!(excluded(ignore, ".git"));
        assert!(excluded(ignore, "ops/_backups"));
        assert!(excluded(ignore, ".env.docker"));
        assert!(!excluded(ignore, ".env.example"));
        assert!(!excluded(ignore, "target"));
        assert!(excluded("ops/_local/**\n", "ops/_local"));
        assert!(!excluded("", ".git"));
    }

    #[test]
    fn binary_and_large_files_are_not_text() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("b"), b"a\0b").unwrap();
        std::fs::write(dir.path().join("t"), "text").unwrap();
        assert!(read(&dir.path().join("b")).is_none());
        assert_eq!(read(&dir.path().join("t")).as_deref(), Some("text"));
        let wide: Vec<u8> = "\u{feff}wide ö".encode_utf16().flat_map(u16::to_le_bytes).collect();
        std::fs::write(dir.path().join("w"), wide).unwrap();
        assert_eq!(read(&dir.path().join("w")).as_deref(), Some("wide ö"));
        assert!(read(&dir.path().join("none")).is_none());
    }
}
