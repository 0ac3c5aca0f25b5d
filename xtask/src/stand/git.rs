//! The checkout, as git sees it. Neither index nor working tree is ever
//! touched: trees are written with an index of our own.

use super::Stand;
use crate::error::{Context, Fault, Lane, Result};
use crate::exec::{Ended, Finished, Invocation};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What `git status` says, sorted by what it means for a release.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dirt {
    /// Lines of `git status -sb`, the branch first.
    pub lines: Vec<String>,
    /// Modified files that differ only in line ends.
    pub eol_only: u64,
    /// Tracked files with other content.
    pub content: Vec<String>,
    /// Files that git neither tracks nor ignores.
    pub untracked: Vec<String>,
}

impl Dirt {
    /// Has anything other content than the commit?
    pub fn edited(&self) -> bool {
        !self.content.is_empty() || !self.untracked.is_empty()
    }
}

/// The tool's own places: never dirt, never a finding.
const OWN: [&str; 2] = ["ops/_local/", "ops/_backups/"];

impl Stand {
    pub fn git<I: IntoIterator<Item = S>, S: Into<String>>(&self, args: I) -> Invocation {
        // `quotepath=off`: names as they are, also Cyrillic ones. No hooks: this is not the operator's commit.
        Invocation::new("git")
            .args([
                "-c",
                "core.quotepath=off",
                "-c",
                "core.hooksPath=/dev/null",
                "-c",
                "core.fsmonitor=false",
            ])
            .args(args)
            .cwd(&self.repo)
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("LC_ALL", "C")
            .timeout(Duration::from_secs(300))
    }

    pub(super) fn git_ok(&self, args: &[&str]) -> Result<Finished> {
        let name = args.first().copied().unwrap_or_default();
        self.exec.run(&self.git(args.iter().copied()))?.success(&format!("git {name}"), Lane::A)
    }

    pub(super) fn git_line(&self, args: &[&str]) -> Result<String> {
        Ok(self.git_ok(args)?.text().trim().to_string())
    }

    /// The commit that is checked out.
    pub fn head(&self) -> Result<String> {
        let finished = self.exec.run(&self.git(["rev-parse", "--verify", "HEAD^{commit}"]))?;
        // 128: there is no repository, or no commit in it. Any other end: it could not be looked at.
        if finished.ended != Ended::Exit(128) {
            return object_id(&finished.success("git rev-parse HEAD", Lane::A)?.text(), "rev-parse HEAD");
        }
        Err(Fault::refused(format!("{} is not a git checkout with a commit", self.repo.display()))
            .why(finished.stderr.trim())
            .remedy("a release needs a commit to name: commit first, or name the checkout with --repo PATH")
            .lane(Lane::A)
            .into())
    }

    /// The branch, or `(detached)`.
    pub fn branch(&self) -> Result<String> {
        let name = self.git_line(&["rev-parse", "--abbrev-ref", "HEAD"])?;
        // No name of a branch has a blank or a control character.
        if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(no_answer("rev-parse --abbrev-ref HEAD"));
        }
        Ok(if name == "HEAD" { "(detached)".into() } else { name })
    }

    /// The directory that holds the checkout's `.git`.
    pub fn worktree(&self) -> Result<PathBuf> {
        let dir = PathBuf::from(self.git_line(&["rev-parse", "--show-toplevel"])?);
        if dir.is_absolute() && dir.is_dir() { Ok(dir) } else { Err(no_answer("rev-parse --show-toplevel")) }
    }

    pub fn dirt(&self) -> Result<Dirt> {
        let short = self.git_ok(&["status", "-sb", "--untracked-files=normal"])?.text();
        if !short.starts_with("## ") {
            // It names the branch even when nothing is dirty: without it nothing was looked at.
            return Err(no_answer("status"));
        }
        let text = self.git_ok(&["status", "--porcelain=v1", "-b", "-z", "--untracked-files=all"])?.text();
        let text = match text.split_once('\0') {
            Some((branch, entries)) if branch.starts_with("## ") && whole(entries) => entries.to_string(),
            _ => return Err(no_answer("status --porcelain")),
        };
        let modified = short.lines().any(|l| l.starts_with([' ', 'M', 'A', 'D', 'R', 'C', 'T', 'U']));
        if modified && text.is_empty() {
            return Err(no_answer("status --porcelain"));
        }
        // What is left when line ends do not count.
        let numbers =
            self.git_ok(&["diff", "HEAD", "--numstat", "-z", "--no-renames", "--ignore-cr-at-eol"])?;
        let changed: Vec<String> = split_nul(&numbers.text(), "diff --numstat")?
            .iter()
            .map(|entry| entry.splitn(3, '\t').nth(2).map(String::from))
            .collect::<Option<_>>()
            .ok_or_else(|| no_answer("diff --numstat"))?;
        let mut dirt = Dirt { lines: short.lines().map(String::from).collect(), ..Dirt::default() };
        dirt.lines.retain(|l| !OWN.iter().any(|own| l.contains(own)));
        let mut entries = text.split('\0');
        while let Some(entry) = entries.next() {
            let (Some(state), Some(path)) = (entry.get(..2), entry.get(3..)) else { continue };
            // In either column: `git add -N` makes a rename that only the working tree has.
            if state.contains(['R', 'C']) {
                entries.next(); // the old name
            }
            if OWN.iter().any(|own| path.starts_with(own)) {
                continue;
            }
            if state == "??" {
                dirt.untracked.push(path.into());
            } else if state.trim() == "M" && !changed.iter().any(|c| c == path) {
                dirt.eol_only += 1;
            } else {
                dirt.content.push(path.into());
            }
        }
        Ok(dirt)
    }

    /// Subjects of the commits after `base`, newest first; without a base, of the last 14 days, at most 50.
    pub fn subjects(&self, base: Option<&str>) -> Result<Vec<String>> {
        let range = base.map(|b| format!("{b}..HEAD"));
        let mut args = vec!["log", "--format=%s"];
        match &range {
            Some(range) => args.push(range),
            None => args.extend(["--since=14.days", "--max-count=50"]),
        }
        Ok(self.git_ok(&args)?.text().lines().map(String::from).collect())
    }

    /// Does the object of this whole id exist here?
    pub fn has_object(&self, id: &str) -> Result<bool> {
        let finished = self.exec.run(&self.git(["cat-file", "-e", id]))?;
        match finished.ended {
            // Any other end, as 128 of a damaged repository, is no answer.
            Ended::Exit(1) => Ok(false),
            _ => finished.success(&format!("look for {id}"), Lane::A).map(|_| true),
        }
    }

    /// Is the path ignored by git?
    pub fn ignored(&self, path: &str) -> Result<bool> {
        Ok(self.exec.run(&self.git(["check-ignore", "-q", path]))?.ok())
    }

    /// A commit of the tree as it stands: HEAD itself when clean, else one made
    /// with an index of our own, with HEAD as its parent.
    pub fn commit_as_deployed(&self, dirt: &Dirt, head: &str, message: &str) -> Result<String> {
        if !dirt.edited() {
            return Ok(head.into());
        }
        let scratch = tempfile::tempdir().context("create a temporary directory")?;
        let index = scratch.path().join("index").display().to_string();
        let own = |args: &[&str]| {
            let call = self
                .git(args.iter().copied())
                .env("GIT_INDEX_FILE", &index)
                .env("GIT_AUTHOR_NAME", "ff-xtask")
                .env("GIT_AUTHOR_EMAIL", "ff-xtask@localhost")
                .env("GIT_COMMITTER_NAME", "ff-xtask")
                .env("GIT_COMMITTER_EMAIL", "ff-xtask@localhost");
            self.exec.run(&call)?.success("record the tree as deployed", Lane::A)
        };
        own(&["read-tree", head])?;
        let exclude: Vec<String> = OWN.iter().map(|p| format!(":(exclude){p}")).collect();
        own(&["add", "-A", "--", ".", &exclude[0], &exclude[1]])?;
        let tree = object_id(&own(&["write-tree"])?.text(), "write-tree")?;
        object_id(&own(&["commit-tree", &tree, "-p", head, "-m", message])?.text(), "commit-tree")
    }

    /// Have two commits the same content?
    pub fn same_tree(&self, one: &str, other: &str) -> Result<bool> {
        let line = |commit: &str| self.git_line(&["rev-parse", "--verify", &format!("{commit}^{{tree}}")]);
        let tree = |commit: &str| object_id(&line(commit)?, "rev-parse");
        Ok(tree(one)? == tree(other)?)
    }

    /// Is a commit part of HEAD, a branch or a tag, so that git keeps it without our ref?
    pub fn on_a_branch(&self, commit: &str) -> Result<bool> {
        let of_head = self.exec.run(&self.git(["merge-base", "--is-ancestor", commit, "HEAD"]))?;
        if of_head.ok() {
            return Ok(true);
        }
        let contains = format!("--contains={commit}");
        let refs = ["refs/heads", "refs/remotes", "refs/tags"];
        let args = ["for-each-ref", "--count=1", "--format=%(refname)", &contains];
        Ok(!self.git_line(&[&args[..], &refs[..]].concat())?.is_empty())
    }

    /// Lays out a commit as a worktree outside the checkout, anew where it is there and was changed.
    pub fn lay_out(&self, commit: &str, dir: &Path) -> Result<()> {
        if dir.join(".git").exists() {
            let at = self.exec.run(&self.git(["rev-parse", "HEAD"]).cwd(dir))?;
            // The tree must be the commit's own. A file that was committed with CR line ends differs from
            // the moment it is checked out where an attribute wants them: such a tree is not changed.
            let clean = ["diff", "--quiet", "--ignore-cr-at-eol", "HEAD"];
            let clean = self.exec.run(&self.git(clean).cwd(dir))?;
            if at.text().trim() == commit && clean.ok() {
                return Ok(());
            }
            self.take_away(dir)?;
        }
        if let Some(parent) = dir.parent() {
            std::fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
        }
        self.git_ok(&["worktree", "prune"])?;
        let path = dir.display().to_string();
        self.git_ok(&["worktree", "add", "--force", "--detach", &path, commit]).map(drop)
    }

    /// The commit that is laid out in a worktree.
    pub fn commit_in(&self, dir: &Path) -> Result<String> {
        let call = self.git(["rev-parse", "--verify", "HEAD^{commit}"]).cwd(dir);
        let found = self.exec.run(&call)?.success(&format!("the commit of {}", dir.display()), Lane::A)?;
        Some(found.text().trim().to_string())
            .filter(|c| !c.is_empty())
            .ok_or_else(|| no_answer("rev-parse HEAD"))
    }

    /// Removes a worktree that [`Stand::lay_out`] made.
    pub fn take_away(&self, dir: &Path) -> Result<()> {
        let path = dir.display().to_string();
        let finished = self.exec.run(&self.git(["worktree", "remove", "--force", "--force", &path]))?;
        if !finished.ok() && dir.exists() {
            std::fs::remove_dir_all(dir).with_context(|| format!("remove {}", dir.display()))?;
        }
        self.git_ok(&["worktree", "prune"]).map(drop)
    }

    /// `git archive` of paths of a commit: a tar on stdout.
    pub fn archive(&self, commit: &str, paths: &[String]) -> Invocation {
        self.git(["archive", "--format=tar", commit, "--"]).args(paths).quiet()
    }

    /// A file of a commit.
    pub fn blob(&self, commit: &str, path: &str) -> Result<Option<Vec<u8>>> {
        let name = format!("{commit}:{path}");
        let size = self.exec.run(&self.git(["cat-file", "-s", &name]))?;
        // 128: it is not there. Any other end: it could not be looked at.
        if size.ended == Ended::Exit(128) {
            return Ok(None);
        }
        let what = format!("read {path} of {commit}");
        let size = size.success(&what, Lane::A)?.text();
        let blob = self.exec.run(&self.git(["cat-file", "blob", &name]).quiet())?.success(&what, Lane::A)?;
        // Half of a file would be a file.
        if size.trim() == blob.stdout.len().to_string() {
            Ok(Some(blob.stdout))
        } else {
            Err(no_answer(&what))
        }
    }

    /// Files of a commit below a path.
    pub fn files_of(&self, commit: &str) -> Result<Vec<String>> {
        let text = self.git_ok(&["ls-tree", "-r", "-z", "--name-only", commit])?.text();
        some(split_nul(&text, "ls-tree")?, "ls-tree")
    }
}

/// A question that git ended well and did not answer.
pub(super) fn no_answer(what: &str) -> anyhow::Error {
    Fault::new(format!("git {what} gave no answer"))
        .why("it ended with 0 and did not say what it always says")
        .lane(Lane::A)
        .into()
}

/// Every entry ends with a NUL: what does not was cut off, or is no list.
fn whole(text: &str) -> bool {
    text.is_empty() || text.ends_with('\0')
}

pub(super) fn split_nul(text: &str, what: &str) -> Result<Vec<String>> {
    if !whole(text) {
        return Err(no_answer(what));
    }
    Ok(text.split('\0').filter(|p| !p.is_empty()).map(String::from).collect())
}

/// A list that is never empty: a commit that is released holds files.
pub(super) fn some(list: Vec<String>, what: &str) -> Result<Vec<String>> {
    if list.is_empty() { Err(no_answer(what)) } else { Ok(list) }
}

/// The name of a commit or a tree, whole.
pub(super) fn object_id(text: &str, what: &str) -> Result<String> {
    let id = text.trim();
    let whole = matches!(id.len(), 40 | 64) && id.bytes().all(|b| b.is_ascii_hexdigit());
    if whole { Ok(id.into()) } else { Err(no_answer(what)) }
}
