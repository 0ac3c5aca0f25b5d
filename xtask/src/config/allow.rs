//! The allow list of the secret scan: which findings are no secrets, and why.
//! A file of the repository that is released, so that every entry is reviewed
//! with the change that needs it.

use crate::error::{Fault, Result};
use crate::fsx;
use serde::Deserialize;
use std::path::Path;

/// Where the optional list lies below the checkout.
pub const FILE: &str = "ops/secret-scan-allow.toml";

/// One finding, or several of a kind, that somebody looked at.
#[derive(Debug, Clone)]
pub struct Allowed {
    /// As it is written: names the entry.
    pub file: String,
    pub kind: String,
    pub reason: String,
    glob: glob::Pattern,
    /// The beginning of the sha256 of the line, lower-case hex.
    line: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    allow: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    file: String,
    kind: String,
    line: Option<String>,
    #[serde(default)]
    reason: String,
}

/// Fewer digits could fit a line that nobody looked at.
const DIGITS: usize = 12;

/// Reads the list of a checkout; none without the file. `kinds` are those that the scan knows.
///
/// # Errors
/// Names the first entry that has no reason, an unknown kind, or says too much at once.
pub fn load(repo: &Path, kinds: &[&str]) -> Result<Vec<Allowed>> {
    let path = repo.join(FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => parse(&text, kinds),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(Fault::usage(format!("{FILE} cannot be read")).why(e.to_string()).into()),
    }
}

fn parse(text: &str, kinds: &[&str]) -> Result<Vec<Allowed>> {
    let list: List = toml::from_str(text.trim_start_matches('\u{feff}')).map_err(|e| {
        // The whole error would quote the line; its message does not.
        let at = e.span().map(|s| text[..s.start.min(text.len())].lines().count().max(1));
        let place = at.map(|n| format!("line {n}: ")).unwrap_or_default();
        Fault::usage(format!("{FILE} does not fit"))
            .why(format!("{place}{}", e.message()))
            .remedy("every [[allow]] has file, kind and reason, and may have line")
    })?;
    list.allow.into_iter().enumerate().map(|(at, entry)| allowed(at + 1, entry, kinds)).collect()
}

fn allowed(number: usize, entry: Entry, kinds: &[&str]) -> Result<Allowed> {
    let bad = |what: &str| Fault::usage(format!("{FILE}: entry {number} ({}) {what}", entry.file));
    if entry.reason.trim().is_empty() {
        let fault = bad("has no reason");
        return Err(fault.remedy("say why it is no secret: reason = \"...\"").into());
    }
    if !kinds.contains(&entry.kind.as_str()) {
        let nearest = kinds.iter().min_by_key(|k| strsim::damerau_levenshtein(k, &entry.kind));
        let nearest = nearest.copied().unwrap_or_default();
        let fault = bad(&format!("has the kind `{}`, which the scan does not know", entry.kind));
        return Err(fault.remedy(format!("did you mean `{nearest}`?")).into());
    }
    if !entry.file.chars().any(char::is_alphanumeric) {
        return Err(bad("allows every file").remedy("name the files").into());
    }
    let glob = glob::Pattern::new(&entry.file).map_err(|e| bad("is no glob").why(e.to_string()))?;
    let line = match &entry.line {
        None => None,
        Some(text) => {
            let hash = text.trim_start_matches("sha256:").to_lowercase();
            let fits = (DIGITS..=64).contains(&hash.len()) && hash.bytes().all(|b| b.is_ascii_hexdigit());
            if !fits {
                let what = format!("has a `line` that is not {DIGITS} to 64 digits of a sha256");
                return Err(bad(&what).remedy("sed -n LINEp FILE | tr -d '\\r\\n' | sha256sum").into());
            }
            Some(hash)
        }
    };
    Ok(Allowed { file: entry.file, kind: entry.kind, reason: entry.reason.trim().into(), glob, line })
}

impl Allowed {
    /// May this entry concern the file? `*` stops at `/`, `**` does not.
    pub fn names(&self, file: &str) -> bool {
        let options = glob::MatchOptions { require_literal_separator: true, ..Default::default() };
        self.glob.matches_with(file, options)
    }

    /// Is the finding of this kind in this line meant?
    pub fn fits(&self, file: &str, kind: &str, line: &str) -> bool {
        self.kind == kind
            && self.names(file)
            && self.line.as_ref().is_none_or(|hash| {
                fsx::sha256(line.trim_end_matches(['\r', '\n']).as_bytes()).starts_with(hash)
            })
    }
}

impl std::fmt::Display for Allowed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.file, self.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [&str; 2] = ["private key", "password literal"];

    fn one(entry: &str) -> Result<Vec<Allowed>> {
        parse(&format!("[[allow]]\n{entry}"), &KINDS)
    }

    #[test]
    fn an_entry_fits_its_file_kind_and_line_only() {
        let text = "pw = 'made up'";
        let hash = fsx::sha256(text.as_bytes());
        let list = format!(
            "[[allow]]\nfile = \"tests/*.pem\"\nkind = \"private key\"\nreason = \"made for the test\"\n\
             [[allow]]\nfile = \"src/**/a.py\"\nkind = \"password literal\"\nline = \"sha256:{}\"\nreason = \"a sample\"\n",
            &hash[..16]
        );
        let list = parse(&list, &KINDS).unwrap();
        assert!(list[0].fits("tests/a.pem", "private key", "x"));
        assert!(!list[0].fits("tests/deep/a.pem", "private key", "x"));
        assert!(!list[0].fits("tests/a.pem", "password literal", "x"));
        assert!(list[1].fits("src/x/y/a.py", "password literal", text));
        assert!(list[1].fits("src/a.py", "password literal", &format!("{text}\r")));
        assert!(!list[1].fits("src/a.py", "password literal", "pw = 'another'"));
        assert_eq!(
            (list[1].reason.as_str(), list[1].to_string().as_str()),
            ("a sample", "src/**/a.py: password literal")
        );
    }

    #[test]
    fn what_is_not_said_in_full_is_an_error_that_names_the_entry() {
        let file = "file = \"a.py\"\nkind = \"password literal\"\n";
        for (entry, words) in [
            (file.to_string(), "entry 1 (a.py) has no reason"),
            (format!("{file}reason = \"  \"\n"), "has no reason"),
            ("file = \"a\"\nkind = \"privat key\"\nreason = \"r\"\n".into(), "does not know"),
            ("file = \"**/*\"\nkind = \"private key\"\nreason = \"r\"\n".into(), "allows every file"),
            (format!("{file}reason = \"r\"\nline = \"sha256:abc\"\n"), "12 to 64 digits"),
            (format!("{file}reason = \"r\"\nvalue = \"x\"\n"), "does not fit"),
            ("kind = \"private key\"\nreason = \"r\"\n".into(), "does not fit"),
        ] {
            let error = one(&entry).unwrap_err();
            let fault = crate::error::fault_of(&error);
            assert_eq!(fault.exit, Some(crate::error::Exit::Usage), "{entry}");
            assert!(fault.to_string().contains(words), "{entry}: {fault}");
        }
    }

    #[test]
    fn an_error_does_not_quote_the_line() {
        let text = "[[allow]]\nfile = \"a\"\nvalue = \"tell-nobody\"\n";
        let fault = crate::error::fault_of(&parse(text, &KINDS).unwrap_err());
        assert!(!format!("{fault:?}").contains("tell-nobody"), "{fault:?}");
        assert!(fault.to_string().contains("line "), "{fault}");
    }

    #[test]
    fn no_file_allows_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert!(load(dir.path(), &KINDS).unwrap().is_empty());
    }
}
