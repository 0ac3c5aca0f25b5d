//! Who holds the lock, and what they are told who come after.

use super::*;

#[test]
fn who_holds_the_lock_is_read_from_its_last_statement() {
    let holder = Holder { rid: "rel_1".into(), who: "o'hara@far {x}".into(), pid: 7, ..Holder::default() };
    let told =
        |query: &str| Told { query: query.into(), name: "n".into(), since: "s".into() }.holder().words();
    assert_eq!(told(&super::told(&holder).unwrap()), holder.words());
    assert!(holder.words().contains("o'hara@far {x} runs  rel_1 (pid 7)"), "{}", holder.words());
    assert_eq!(told("<insufficient privilege>"), "n, since s");
}

#[test]
fn the_second_is_refused_and_told_who_and_a_dead_holder_does_not_block() {
    let engine = format!("test-{}", std::process::id());
    let first = Lock::take(&engine, "p", "rel_1", "release").unwrap();
    let fault = crate::error::fault_of(&Lock::take(&engine, "p", "rel_2", "release").err().unwrap());
    assert_eq!(fault.exit, Some(Exit::Locked));
    let why = fault.why.unwrap();
    assert!(why.contains("rel_1") && why.contains("step start") && why.contains("since "), "{why}");
    assert_eq!(holder(&engine, "p", None).unwrap().unwrap().rid, "rel_1");
    drop(first);
    assert!(holder(&engine, "p", None).unwrap().is_none());
    let other = Lock::take(&engine, "p", "rel_3", "release").unwrap();
    assert!(Lock::take(&engine, "other", "rel_4", "release").is_ok());
    std::fs::remove_file(&other.path).unwrap();
    std::fs::remove_file(file_of(&engine, "other")).unwrap();
}

#[test]
fn a_name_fits_into_what_the_server_keeps_of_it() {
    for (text, kept) in [("a".repeat(80), 63), ("x".repeat(62) + "é", 62), ("short ".into(), 6)] {
        assert_eq!(cut(text.clone()).len(), kept, "{text}");
        assert!(text.starts_with(&cut(text.clone())));
    }
}
