//! What the scan says of a checkout, against a real git in a scratch directory.

use super::*;
use crate::exec::{Exec, Interrupt};
use crate::redact::Redactor;

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

/// A checkout, and the commit of its last known good release.
struct Checkout {
    dir: tempfile::TempDir,
    stand: Stand,
    base: String,
}

/// Samples are broken by `¦`, so that no scanner takes this file for a leak.
fn whole(sample: &str) -> String {
    sample.replace('¦', "")
}

const SOFT: &str = "POSTGRES_PASS¦WORD: foxproflow\n";
const HARD: &str = "POSTGRES_PASS¦WORD: Zx81-qqTTr\n";
const OTHER: &str = "POSTGRES_PASS¦WORD: Vb55-nm66Qx\n";

impl Checkout {
    /// With files as they were then.
    fn of(files: &[(&str, &str)]) -> Checkout {
        let dir = tempfile::tempdir().unwrap();
        let config = crate::config::load(dir.path(), &[], &crate::config::Overrides::default()).unwrap();
        let stand = Stand::new(&config, Exec::new(Redactor::new(), Interrupt::default()));
        let mut checkout = Checkout { dir, stand, base: String::new() };
        checkout.git(&["init", "-q", "-b", "main"]);
        for (name, text) in files {
            checkout.write(name, text);
        }
        checkout.git(&["add", "-A"]);
        checkout.git(&["commit", "-q", "--allow-empty", "-m", "good"]);
        checkout.base = checkout.stand.head().unwrap();
        checkout
    }

    fn git(&self, args: &[&str]) {
        let call = self.stand.git(["-c", "user.name=n", "-c", "user.email=e", "-c", "core.autocrlf=false"]);
        let finished = self.stand.exec.run(&call.args(args.iter().copied())).unwrap();
        assert!(finished.ok(), "git {args:?}: {}", finished.stderr);
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.path().join(name), whole(text)).unwrap();
    }

    fn scan(&self, base: Base<'_>) -> Scan {
        look(&self.stand, base, &self.stand.dirt().unwrap(), &[]).unwrap()
    }

    /// Line, hard, new of each finding since the base.
    fn found(&self) -> Vec<(usize, bool, bool)> {
        let findings = self.scan(Base::Commit(&self.base)).findings;
        findings.iter().map(|f| (f.line, f.hard, f.new)).collect()
    }
}

/// What is found when a file that was one text is another one now.
fn changed(before: &str, now: &str) -> Vec<(usize, bool, bool)> {
    let checkout = Checkout::of(&[("f.yml", before)]);
    checkout.write("f.yml", now);
    checkout.found()
}

#[test]
fn what_the_last_known_good_release_had_is_excused_wherever_it_stands_now() {
    assert_eq!(changed(HARD, &format!("a: 1\n\n    {HARD}")), [(3, true, false)]);
    assert_eq!(changed(SOFT, &format!("{SOFT}a: 1\n")), [(1, false, false)]);
    assert_eq!(changed(HARD, &HARD.replace('\n', "\r\n")), [(1, true, false)]);
    assert_eq!(changed(HARD, &format!("{HARD}{HARD}")), [(1, true, false), (2, true, true)], "once is once");
}

#[test]
fn a_secret_is_new_where_a_placeholder_or_another_one_stood() {
    assert_eq!(changed(SOFT, HARD), [(1, true, true)], "soft to hard");
    assert_eq!(changed(HARD, OTHER), [(1, true, true)], "exchanged");
    assert_eq!(changed(SOFT, &format!("{HARD}{SOFT}")), [(1, true, true), (2, false, false)], "above");
    assert_eq!(changed(HARD, &format!("{OTHER}{HARD}")), [(1, true, true), (2, true, false)], "above");
}

#[test]
fn private_keys_are_told_apart_though_they_begin_alike() {
    let key = |letter: &str| {
        let body = letter.repeat(64);
        format!("-----BEGIN PRIVATE¦ KEY-----\n{body}\n{body}\n-----END PRIVATE¦ KEY-----\n")
    };
    assert_eq!(changed(&key("a"), &format!("# mine\n{}", key("a"))), [(2, true, false)]);
    assert_eq!(changed(&key("a"), &key("b")), [(1, true, true)]);
    let longer = key("a").replacen("-----END", "cc\n-----END", 1);
    assert_eq!(changed(&key("a"), &longer), [(1, true, true)]);
}

#[test]
fn a_renamed_file_keeps_what_it_had_and_a_deleted_one_gives_it_to_nobody() {
    let rest: String = (0..20).map(|n| format!("line{n}: {n}\n")).collect();
    let checkout = Checkout::of(&[("old.yml", &format!("{rest}{HARD}")), ("gone.yml", OTHER)]);
    checkout.git(&["mv", "old.yml", "new name.yml"]);
    checkout.git(&["rm", "-q", "gone.yml"]);
    checkout.write("new name.yml", &format!("{OTHER}{rest}{HARD}"));
    assert_eq!(checkout.found(), [(1, true, true), (22, true, false)]);
    let scan = checkout.scan(Base::Commit(&checkout.base));
    assert_eq!(scan.findings[0].file, "new name.yml");
}

#[test]
fn what_powershell_wrote_was_text_then_as_well() {
    let wide = |text: &str| -> Vec<u8> {
        format!("\u{feff}{}", whole(text)).encode_utf16().flat_map(u16::to_le_bytes).collect()
    };
    let checkout = Checkout::of(&[]);
    std::fs::write(checkout.dir.path().join("w.yml"), wide(HARD)).unwrap();
    checkout.git(&["add", "-A"]);
    checkout.git(&["commit", "-q", "-m", "wide"]);
    std::fs::write(checkout.dir.path().join("w.yml"), wide(&format!("a: 1\n{HARD}"))).unwrap();
    let base = checkout.stand.head().unwrap();
    let findings = checkout.scan(Base::Commit(&base)).findings;
    assert_eq!(findings.iter().map(|f| (f.line, f.new)).collect::<Vec<_>>(), [(2, false)]);
}

#[test]
fn a_first_release_warns_and_a_lost_commit_excuses_nothing() {
    let checkout = Checkout::of(&[("f.yml", HARD)]);
    checkout.write("untracked.yml", HARD);
    let new = |base: Base<'_>| -> Vec<(String, bool)> {
        checkout.scan(base).findings.into_iter().map(|f| (f.file, f.new)).collect()
    };
    let both = |tracked: bool| [("f.yml".to_string(), tracked), ("untracked.yml".to_string(), true)];
    assert_eq!(new(Base::First), both(false));
    let lost = "1".repeat(40);
    assert_eq!(new(Base::Gone(&lost)), both(true));
    assert!(Base::Gone(&lost).to_string().contains("not in this checkout"));
}

#[test]
fn the_base_is_what_git_has_and_a_git_that_cannot_say_is_an_error() {
    let checkout = Checkout::of(&[]);
    let of = |commit: &str| {
        let last = serde_json::json!({ "rid": "r", "time": "", "head": commit, "commit": commit, "branch": "",
            "dirty": false, "images": [], "digest_sha256": "", "backup": null, "undo": null });
        let last: LastKnownGood = serde_json::from_value(last).unwrap();
        Base::of(&checkout.stand, Some(&last)).map(|base| base.to_string())
    };
    assert_eq!(Base::of(&checkout.stand, None).unwrap(), Base::First);
    assert_eq!(of(&checkout.base).unwrap(), checkout.base);
    assert!(of(&"1".repeat(40)).unwrap().contains("not in this checkout"));
    assert!(of("no name of anything").is_err());
}
