//! Evidence that somebody else has had in hands: whatever was done to a journal or to a directory
//! with a digest, it shows.

use super::*;
use crate::property::hold;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree;

// ---------------------------------------------------------------- journal

/// A journal with as many lines, in texts of more than one byte a character.
fn journal(dir: &Path, lines: usize) -> (PathBuf, Vec<u8>) {
    let path = dir.join("events.jsonl");
    let journal = Journal::create(&path, &Redactor::new()).unwrap();
    for number in 0..lines {
        journal.fact("шаг", "é \"quoted\"\n", json!({ "n": number, "why": "не вышло: \\ и \u{7}" })).unwrap();
    }
    let bytes = fs::read(&path).unwrap();
    (path, bytes)
}

fn texts(lines: &[Line]) -> Vec<String> {
    lines.iter().map(|l| serde_json::to_string(l).unwrap()).collect()
}

/// What a disk, an editor or a person does to lines.
#[derive(Debug, Clone)]
enum Edit {
    Truncate(Index),
    Flip(Index, u8),
    Remove(Index),
    Insert(Index, u8),
    Drop(Index),
    Twice(Index),
    Swap(Index, Index),
    Append(Vec<u8>),
    Crlf,
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<Index>;
    prop_oneof![
        4 => at().prop_map(Edit::Truncate),
        4 => (at(), 0..8u8).prop_map(|(at, bit)| Edit::Flip(at, bit)),
        1 => at().prop_map(Edit::Remove),
        1 => (at(), any::<u8>()).prop_map(|(at, byte)| Edit::Insert(at, byte)),
        1 => at().prop_map(Edit::Drop),
        1 => at().prop_map(Edit::Twice),
        1 => (at(), at()).prop_map(|(a, b)| Edit::Swap(a, b)),
        1 => prop::collection::vec(any::<u8>(), 1..20).prop_map(Edit::Append),
        1 => Just(Edit::Crlf),
    ]
}

/// The bytes after the edit.
fn edited(bytes: &[u8], edit: &Edit) -> Vec<u8> {
    let mut all = bytes.to_vec();
    let mut lines: Vec<Vec<u8>> = bytes.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    let count = lines.len();
    match edit {
        Edit::Truncate(at) => all.truncate(at.index(bytes.len())),
        Edit::Flip(at, bit) => all[at.index(bytes.len())] ^= 1 << bit,
        Edit::Remove(at) => drop(all.remove(at.index(bytes.len()))),
        Edit::Insert(at, byte) => all.insert(at.index(bytes.len()), *byte),
        Edit::Append(more) => all.extend(more),
        Edit::Crlf => return String::from_utf8_lossy(bytes).replace('\n', "\r\n").into_bytes(),
        Edit::Drop(at) => {
            lines.remove(at.index(count));
            return lines.concat();
        }
        Edit::Twice(at) => {
            lines.insert(at.index(count), lines[at.index(count)].clone());
            return lines.concat();
        }
        Edit::Swap(a, b) => {
            lines.swap(a.index(count), b.index(count));
            return lines.concat();
        }
    }
    all
}

/// What may be read from an edited journal: its beginning. The last line of it has no successor
/// that names its hash: in a run that ended, digest.sha256 stands for it.
#[test]
fn an_edited_journal_is_refused_or_its_own_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let (path, bytes) = journal(dir.path(), 5);
    let whole = texts(&read_journal(&path).unwrap());
    let sealed = bytes.split_inclusive(|b| *b == b'\n').take(4).map(<[u8]>::len).sum();
    let sealed: &[u8] = &bytes[..sealed];
    hold(700, edit(), |edit| {
        let changed = edited(&bytes, &edit);
        fs::write(&path, &changed).unwrap();
        if let Ok(lines) = read_journal(&path) {
            let read = texts(&lines);
            let sure = read.len().min(whole.len() - 1);
            prop_assert!(read.len() <= whole.len(), "longer: {:?}", edit);
            prop_assert_eq!(&read[..sure], &whole[..sure]);
            prop_assert!(read.len() <= sure || changed.starts_with(sealed), "{:?}", edit);
        }
        Ok(())
    });
}

/// A run can die at every byte.
#[test]
fn a_journal_torn_at_any_byte_is_read_up_to_there() {
    let dir = tempfile::tempdir().unwrap();
    let (path, bytes) = journal(dir.path(), 2);
    for end in 0..=bytes.len() {
        fs::write(&path, &bytes[..end]).unwrap();
        let whole = bytes[..end].iter().filter(|b| **b == b'\n').count();
        match read_journal(&path) {
            Ok(lines) => assert_eq!(lines.len(), whole, "torn after {end} bytes"),
            Err(error) => panic!("torn after {end} bytes: {error:#}"),
        }
    }
}

#[test]
fn what_is_no_journal_is_an_error_that_names_file_and_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    let line = prop_oneof![
        "\\PC{0,20}",
        Just(r#"{"seq":1,"time":"","at_ms":0,"kind":"fact","step":"","act":"","prev":""}"#.to_string()),
        Just(r#"{"seq":"1"}"#.to_string()),
        Just("null".to_string()),
        Just("[]".to_string()),
    ];
    hold(300, line, |line| {
        fs::write(&path, format!("{line}\n")).unwrap();
        let why = read_journal(&path).map(|l| l.len()).map_err(|error| format!("{error:#}"));
        prop_assert!(
            why.as_ref().is_err_and(|w| w.contains("line 1 of") && w.contains("events.jsonl")),
            "{:?}",
            why
        );
        Ok(())
    });
}

// ---------------------------------------------------------------- rid

/// A rid is a directory, a part of a ref and a word of a command line.
#[test]
fn a_rid_is_a_name_that_git_takes() {
    let text = prop_oneof!["[A-Za-z0-9._-]{0,12}(\\.\\.|\\.lock|\\.|-)?[a-z.]{0,2}", "\\PC{0,8}"];
    let mut texts = vec!["a.lock".to_string(), "a..b".into(), "a.".into(), "-a".into(), "x".repeat(80)];
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    texts.extend((0..120).map(|_| text.new_tree(&mut runner).unwrap().current()));
    let mut taken = 0;
    for rid in texts.iter().filter(|r| check_rid(r).is_ok()) {
        taken += 1;
        assert!(rid.bytes().all(|b| b.is_ascii_graphic() && !b"/\\:".contains(&b)), "{rid}");
        let name = format!("refs/ff-xtask/lkg/{rid}");
        #[expect(clippy::disallowed_methods, reason = "a question to git about a name, not a part of a run")]
        let asked = std::process::Command::new("git").args(["check-ref-format", &name]).status().unwrap();
        assert!(asked.success(), "git refuses {name}");
        assert!(!rid.starts_with('-'), "{rid} is an option");
    }
    assert!(taken > 20, "{taken} of {}", texts.len());
}

// ---------------------------------------------------------------- digest

/// File names as people give them.
fn name() -> impl Strategy<Value = String> {
    let part = || "[a-zA-Zй é_+$'\"#&-]{1,8}(\\.[a-z]{1,3})?";
    let strange = proptest::sample::select(vec![
        "a\\b",
        "new\nline",
        "cr\r",
        "\\",
        "a  b",
        " x",
        "x ",
        "*",
        "\u{feff}x",
    ]);
    prop_oneof![
        6 => part().boxed(),
        3 => (part(), part()).prop_map(|(a, b)| format!("{}/{b}", a.trim_end_matches('.'))).boxed(),
        // Names that only Unix has.
        1 => strange.prop_map(|s| if cfg!(unix) { s.to_string() } else { "plain".into() }).boxed(),
    ]
}

/// A directory with these files, as far as they can stand beside each other.
fn tree(names: &std::collections::BTreeSet<String>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (number, name) in names.iter().enumerate() {
        let path = dir.path().join(name);
        if fs::create_dir_all(path.parent().unwrap()).is_ok() && !path.exists() {
            let _ = fs::write(&path, format!("content {number}"));
        }
    }
    dir
}

#[test]
fn a_tree_verifies_and_every_single_change_of_it_is_found() {
    let names = prop::collection::btree_set(name(), 1..8);
    hold(80, (names, any::<Index>(), 0..6u8, any::<Index>()), |(names, at, how, byte)| {
        let dir = tree(&names);
        write_digest(dir.path()).unwrap();
        prop_assert_eq!(check_digest(dir.path()).unwrap(), []);
        let files = fsx::files_below(dir.path()).unwrap();
        let name = at.get(&files);
        let path = dir.path().join(name);
        let content = fs::read(&path).unwrap();
        match how {
            0 => fs::remove_file(&path).unwrap(),
            1 => fs::write(&path, [content.as_slice(), b"x"].concat()).unwrap(),
            2 => {
                let mut content = content;
                let at = byte.index(content.len());
                content[at] ^= 1;
                fs::write(&path, content).unwrap();
            }
            3 => fs::rename(&path, dir.path().join("renamed")).unwrap(),
            4 => fs::write(dir.path().join("added"), "").unwrap(),
            _ => {
                fs::remove_file(&path).unwrap();
                fs::create_dir(&path).unwrap();
            }
        }
        // An error is a finding, too: verify shows both.
        let found = check_digest(dir.path());
        prop_assert!(found.as_ref().map_or(true, |f| !f.is_empty()), "{} {:?}: {:?}", how, name, found);
        Ok(())
    });
}

/// Whatever sha256sum would not take, this does not take.
#[test]
fn a_line_that_is_not_as_it_was_written_is_malformed() {
    let dir = tree(&["a b.log".to_string(), "й.json".into()].into());
    write_digest(dir.path()).unwrap();
    let good = fs::read_to_string(dir.path().join(DIGEST)).unwrap();
    let hash = "0".repeat(64);
    let outside = dir.path().parent().unwrap().join("x").display().to_string();
    for line in [
        format!("{hash}  ../x\n"),
        format!("{hash}  a/../../x\n"),
        format!("{hash}  ./a\n"),
        format!("{hash}  a//b\n"),
        format!("{hash}  {outside}\n"),
        format!("{hash}  /etc/passwd\n"),
        format!("{hash}  C:/x\n"),
        format!("{hash}  \n"),
        format!("{hash} x\n"),
        format!("{}  x\n", "Z".repeat(64)),
        format!("{}  x\n", "A".repeat(64)),
        format!("\\{hash}  a\\qb\n"),
        "\n".into(),
        "no line end".into(),
    ] {
        fs::write(dir.path().join(DIGEST), format!("{good}{line}")).unwrap();
        assert_eq!(check_digest(dir.path()).unwrap(), [Mismatch::Malformed(3)], "{line:?}");
    }
    let first = good.lines().next().unwrap();
    // The last of two lines must not hide the first.
    for (text, bad) in [(format!("{hash}  a b.log\n{good}"), 2), (format!("{good}{first}\n"), 3)] {
        fs::write(dir.path().join(DIGEST), text).unwrap();
        let found = check_digest(dir.path()).unwrap();
        assert!(found.contains(&Mismatch::Malformed(bad)), "{found:?}");
    }
    // The same lines in another order are another digest of the same files.
    let turned: Vec<&str> = good.lines().rev().collect();
    fs::write(dir.path().join(DIGEST), turned.join("\n") + "\n").unwrap();
    assert_eq!(check_digest(dir.path()).unwrap(), [Mismatch::Malformed(2)]);
    fs::write(dir.path().join(DIGEST), good.replace('\n', "\r\n")).unwrap();
    assert!(!check_digest(dir.path()).unwrap().is_empty(), "sha256sum refuses CRLF");
}

#[test]
fn any_digest_file_is_judged_without_a_panic() {
    let dir = tree(&["a".to_string()].into());
    write_digest(dir.path()).unwrap();
    let good = fs::read_to_string(dir.path().join(DIGEST)).unwrap();
    hold(400, edit(), |edit| {
        let changed = edited(good.as_bytes(), &edit);
        fs::write(dir.path().join(DIGEST), &changed).unwrap();
        let found = check_digest(dir.path());
        prop_assert!(changed == good.as_bytes() || found.map_or(true, |f| !f.is_empty()), "{:?}", edit);
        Ok(())
    });
}

/// A link could lead out of the directory, and a pipe would never end.
#[cfg(unix)]
#[test]
fn a_link_is_not_followed() {
    let outside = tempfile::NamedTempFile::new().unwrap();
    fs::write(outside.path(), "content 0").unwrap();
    let dir = tree(&["a".to_string()].into());
    write_digest(dir.path()).unwrap();
    fs::remove_file(dir.path().join("a")).unwrap();
    std::os::unix::fs::symlink(outside.path(), dir.path().join("a")).unwrap();
    assert_eq!(check_digest(dir.path()).unwrap(), [Mismatch::Changed("a".into())]);
    assert!(write_digest(dir.path()).is_err());
}
