//! A real git in a scratch directory: whatever files are called and whatever was done to them.

use super::stand;
use crate::fsx;
use crate::property::hold;
use crate::stand::Stand;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const OURS: [&str; 2] = ["ops/_local/x", "ops/_backups/y z"];

/// What happened to a file since the commit.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Done {
    Nothing,
    Changed,
    LineEnds,
    StagedLineEnds,
    Deleted,
    StagedDelete,
    Untracked,
    StagedNew,
    Renamed,
    RenamedAndChanged,
    /// `git add -N`: a rename that only the working tree has.
    RenamedUnstaged,
    StagedAndChangedBack,
}

const ALL: [Done; 12] = [
    Done::Nothing,
    Done::Changed,
    Done::LineEnds,
    Done::StagedLineEnds,
    Done::Deleted,
    Done::StagedDelete,
    Done::Untracked,
    Done::StagedNew,
    Done::Renamed,
    Done::RenamedAndChanged,
    Done::RenamedUnstaged,
    Done::StagedAndChangedBack,
];

fn name() -> impl Strategy<Value = String> {
    let strange = vec![
        "a b",
        "й и.txt",
        "q\"uote",
        "new\nline",
        "tab\tx",
        "-dash",
        "a -> b",
        "R  x",
        " lead",
        "trail ",
        "back\\slash",
        ":(exclude)x",
        ":!x",
        "*",
        "?? x",
        "'",
        "ops/x",
        "dir/sub dir/й",
        "\u{1}",
        "é",
        "#",
        "~",
    ];
    prop_oneof![proptest::sample::select(strange).prop_map(String::from), "[a-zй_ .-]{1,6}[a-z]"]
}

/// Unlike any other file's, so that git takes none for a rename of another.
fn content(name: &str) -> String {
    (0..6).map(|n| fsx::sha256(format!("{name}{n}").as_bytes()) + "\n").collect()
}

fn git(stand: &Stand, args: &[&str]) {
    let call = stand.git(["-c", "user.name=n", "-c", "user.email=e", "-c", "core.autocrlf=false"]);
    let finished = stand.exec.run(&call.args(args.iter().copied())).unwrap();
    assert!(finished.ok(), "git {args:?}: {}", finished.stderr);
}

fn write(repo: &Path, name: &str, text: &str) {
    let path = repo.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// Names that can stand beside each other: none is a directory of another one.
fn apart(files: &BTreeMap<String, Done>) -> bool {
    files.keys().all(|a| !files.keys().any(|b| b.starts_with(&format!("{a}/"))) && !a.starts_with("ops/_"))
}

struct Expected {
    content: BTreeSet<String>,
    untracked: BTreeSet<String>,
    eol_only: u64,
}

/// Does it; returns what git has to say of it.
fn act(stand: &Stand, repo: &Path, files: &BTreeMap<String, Done>) -> Expected {
    let mut expected = Expected { content: BTreeSet::new(), untracked: BTreeSet::new(), eol_only: 0 };
    for (name, done) in files {
        let text = content(name);
        let crlf = text.replace('\n', "\r\n");
        let stage = |name: &str| git(stand, &["--literal-pathspecs", "add", "--", name]);
        let new = format!("new of/{name}");
        let rename = || {
            std::fs::create_dir_all(repo.join(&new).parent().unwrap()).unwrap();
            git(stand, &["--literal-pathspecs", "mv", "--", name, &new]);
        };
        match done {
            Done::Nothing => continue,
            Done::Changed => write(repo, name, &format!("{text}x\n")),
            Done::LineEnds => write(repo, name, &crlf),
            Done::StagedLineEnds => {
                write(repo, name, &crlf);
                stage(name);
            }
            Done::Deleted => std::fs::remove_file(repo.join(name)).unwrap(),
            Done::StagedDelete => git(stand, &["--literal-pathspecs", "rm", "-q", "--", name]),
            Done::Untracked => write(repo, name, &text),
            Done::StagedNew => {
                write(repo, name, &text);
                stage(name);
            }
            Done::Renamed => rename(),
            Done::RenamedAndChanged => {
                rename();
                write(repo, &new, &format!("{text}x\n"));
            }
            Done::RenamedUnstaged => {
                write(repo, &new, &text);
                std::fs::remove_file(repo.join(name)).unwrap();
                git(stand, &["--literal-pathspecs", "add", "-N", "--", &new]);
            }
            Done::StagedAndChangedBack => {
                write(repo, name, &format!("{text}x\n"));
                stage(name);
                write(repo, name, &text);
            }
        }
        let told = match done {
            Done::Renamed | Done::RenamedAndChanged | Done::RenamedUnstaged => new,
            _ => name.clone(),
        };
        match done {
            Done::LineEnds | Done::StagedLineEnds => expected.eol_only += 1,
            Done::Untracked => expected.untracked.extend([told]),
            _ => expected.content.extend([told]),
        }
    }
    expected
}

/// Every file of the checkout with what is in it, but git's and the tool's own.
fn on_disk(repo: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fsx::files_below(repo).unwrap().into_iter();
    files
        .filter(|f| !f.starts_with(".git/") && !OURS.contains(&f.as_str()))
        .map(|f| (f.clone(), std::fs::read(repo.join(f)).unwrap()))
        .collect()
}

#[cfg(unix)]
#[test]
fn dirt_is_what_was_done_and_the_recorded_tree_is_what_lies_there() {
    let files = prop::collection::btree_map(name(), proptest::sample::select(ALL.to_vec()), 1..12);
    hold(14, files.prop_filter("a directory and a file of one name", apart), |files| {
        let dir = tempfile::tempdir().unwrap();
        let repo = dir.path();
        let stand = stand(repo);
        git(&stand, &["init", "-q", "-b", "main"]);
        for (name, done) in &files {
            if !matches!(done, Done::Untracked | Done::StagedNew) {
                write(repo, name, &content(name));
            }
        }
        git(&stand, &["add", "-A"]);
        git(&stand, &["commit", "-q", "--allow-empty", "-m", "первый"]);
        for own in OURS {
            write(repo, own, "never dirt");
        }
        let expected = act(&stand, repo, &files);
        let dirt = stand.dirt().unwrap();
        prop_assert_eq!(dirt.content.iter().cloned().collect::<BTreeSet<_>>(), expected.content);
        prop_assert_eq!(dirt.untracked.iter().cloned().collect::<BTreeSet<_>>(), expected.untracked);
        prop_assert_eq!(dirt.eol_only, expected.eol_only);

        let head = stand.head().unwrap();
        let commit = stand.commit_as_deployed(&dirt, &head, "as deployed").unwrap();
        prop_assert_eq!(stand.dirt().unwrap(), dirt, "index and working tree stay as they are");
        if commit != head {
            let recorded: BTreeMap<String, Vec<u8>> = stand
                .files_of(&commit)
                .unwrap()
                .into_iter()
                .map(|f| (f.clone(), stand.blob(&commit, &f).unwrap().unwrap_or_default()))
                .collect();
            prop_assert_eq!(recorded, on_disk(repo));
        }
        Ok(())
    });
}

/// Such a file differs from its blob from the moment it is checked out, as soon as git looks into it.
#[test]
fn a_tree_with_files_committed_with_cr_is_not_laid_out_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (repo, tree) = (dir.path().join("repo"), dir.path().join("tree"));
    let stand = stand(&repo);
    std::fs::create_dir(&repo).unwrap();
    git(&stand, &["init", "-q", "-b", "main"]);
    write(&repo, "run.ps1", "one\r\ntwo\r\n");
    git(&stand, &["-c", "core.autocrlf=false", "add", "run.ps1"]);
    git(&stand, &["commit", "-q", "-m", "with CR in the blob"]);
    write(&repo, ".gitattributes", "*.ps1 text eol=crlf\n");
    git(&stand, &["add", ".gitattributes"]);
    git(&stand, &["commit", "-q", "-m", "attributes"]);
    let commit = stand.head().unwrap();
    stand.lay_out(&commit, &tree).unwrap();
    let kept = |change: &dyn Fn()| {
        std::fs::write(tree.join("mark"), "").unwrap();
        change();
        stand.lay_out(&commit, &tree).unwrap();
        tree.join("mark").exists()
    };
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    let touch = || std::fs::File::open(tree.join("run.ps1")).unwrap().set_modified(later).unwrap();
    assert!(kept(&touch), "a tree that nobody changed was taken away");
    assert!(!kept(&|| write(&tree, "run.ps1", "three\r\n")), "a tree that was changed was left");
}
