//! Which files of the checkout are released, and which of them are other than
//! in a commit.

use super::Stand;
use super::git::{no_answer, some, split_nul};
use crate::error::Result;

/// A tracked file that is other than it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    pub path: String,
    /// What it was called then; None where it is new.
    pub before: Option<String>,
}

impl Stand {
    /// All tracked files.
    pub fn tracked(&self) -> Result<Vec<String>> {
        some(split_nul(&self.git_ok(&["ls-files", "-z"])?.text(), "ls-files")?, "ls-files")
    }

    /// Tracked files that differ between `base` and the working tree, renamed ones among them.
    pub fn changed_since(&self, base: &str) -> Result<Vec<Changed>> {
        let diff = ["diff", "--name-status", "-M", "-z", "--diff-filter=d", base];
        let text = self.git_ok(&diff)?.text();
        let changed = read(&text)?;
        // Deleted ones are left out: a name without a file is no answer.
        let gone = changed.iter().any(|c| self.repo.join(&c.path).symlink_metadata().is_err());
        if gone { Err(no_answer(DIFF)) } else { Ok(changed) }
    }
}

const DIFF: &str = "diff --name-status";

/// A state and the name of a file; of a rename the old name and the new one.
fn read(text: &str) -> Result<Vec<Changed>> {
    let parts = split_nul(text, DIFF)?;
    let mut parts = parts.into_iter();
    let mut changed = Vec::new();
    while let Some(state) = parts.next() {
        let name = parts.next().ok_or_else(|| no_answer(DIFF))?;
        changed.push(match state.as_bytes() {
            [b'R', ..] => {
                let path = parts.next().ok_or_else(|| no_answer(DIFF))?;
                Changed { path, before: Some(name) }
            }
            b"A" => Changed { path: name, before: None },
            b"M" | b"T" | b"U" => Changed { path: name.clone(), before: Some(name) },
            _ => return Err(no_answer(DIFF)),
        });
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_breaks_off_is_none() {
        let whole = "M\0a b\0R087\0old\0new\0A\0M\0T\0link\0";
        let all = read(whole).unwrap();
        let names: Vec<(&str, Option<&str>)> =
            all.iter().map(|c| (c.path.as_str(), c.before.as_deref())).collect();
        assert_eq!(names, [("a b", Some("a b")), ("new", Some("old")), ("M", None), ("link", Some("link"))]);
        assert!(read("").unwrap().is_empty());
        let ends = [
            0,
            "M\0a b\0".len(),
            "M\0a b\0R087\0old\0new\0".len(),
            whole.len() - "T\0link\0".len(),
            whole.len(),
        ];
        for end in 0..whole.len() {
            assert_eq!(read(&whole[..end]).is_ok(), ends.contains(&end), "{:?}", &whole[..end]);
        }
        assert!(read("fatal: no\0a\0").is_err() && read("C100\0a\0b\0").is_err());
    }
}
