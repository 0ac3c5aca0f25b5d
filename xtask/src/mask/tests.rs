//! What must be masked, what must be left alone, and that pieces make no difference.

use super::*;

mod harmless;
mod planted;
mod rows;
mod scan;

/// A redactor that knows what a stand's files would teach it.
pub(super) fn taught() -> Redactor {
    let redactor = Redactor::new();
    redactor.spare(&["foxproflow", "postgres", "redis", "worker"]);
    for (key, value) in planted::KNOWN {
        assert_eq!(redactor.learn(key, value), Learned::Strong, "{key}");
    }
    assert_eq!(redactor.learn("PGADMIN_PASSWORD", "short"), Learned::Weak);
    assert_eq!(redactor.learn("REDIS_PASSWORD", "changeme"), Learned::Weak);
    assert_eq!(redactor.learn("POSTGRES_DB", "foxproflow-main"), Learned::NotSensitive);
    redactor
}

#[test]
fn weak_secrets_are_named_and_masked_where_they_are_values() {
    let redactor = taught();
    assert_eq!(redactor.weak_keys(), ["PGADMIN_PASSWORD", "REDIS_PASSWORD"]);
    assert_eq!(
        redactor.text("PGADMIN_PASSWORD=short and a short walk"),
        "PGADMIN_PASSWORD=*** and a short walk"
    );
    assert_eq!(redactor.text("redis://:changeme@redis:6379/0"), "redis://:***@redis:6379/0");
}

#[test]
fn names_of_users_and_services_are_spared() {
    let redactor = Redactor::new();
    redactor.learn("POSTGRES_PASSWORD", "foxproflow-user");
    assert_eq!(redactor.text("login foxproflow-user"), "login ***");
    redactor.spare(&["foxproflow-user"]);
    assert_eq!(redactor.text("login foxproflow-user"), "login foxproflow-user");
    assert_eq!(redactor.learn("POSTGRES_PASSWORD", "foxproflow-user"), Learned::Weak);
}

#[test]
fn paths_and_directories_are_no_secrets() {
    let redactor = Redactor::new();
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(redactor.learn("PWD", "/home/somebody/checkout"), Learned::NotSensitive);
    assert_eq!(redactor.learn("SOME_TOKEN", &dir.path().display().to_string()), Learned::NotSensitive);
    assert_eq!(redactor.learn("POSTGRES_PASSWORD_FILE", "/run/secrets/postgres"), Learned::NotSensitive);
}

#[test]
fn extra_keys_and_patterns_are_masked() {
    let redactor = Redactor::with_extra(&["wialon_sid".into()], &[r"TRK-\d{6}".into()]).unwrap();
    assert_eq!(redactor.learn("WIALON_SID", "a1b2c3d4e5f6"), Learned::Strong);
    assert_eq!(redactor.text("sid a1b2c3d4e5f6 of TRK-123456"), "sid *** of ***");
    assert!(Redactor::with_extra(&[], &["(".into()]).is_err());
}

#[test]
fn pieces_make_no_difference() {
    let redactor = taught();
    let mut text = String::new();
    for (line, _) in planted::all() {
        text.push_str(&line);
        text.push('\n');
    }
    text.push_str(rows::SERVER_LOG);
    text.push_str(planted::PEM);
    text.push_str("last line without an end: ключ");
    let whole = redactor.text(&text);
    for size in [1, 2, 3, 7, 64, 1000, 70_000] {
        let mut stream = redactor.stream();
        let mut out = Vec::new();
        for piece in text.as_bytes().chunks(size) {
            out.extend(stream.push(piece));
        }
        out.extend(stream.finish());
        assert_eq!(String::from_utf8(out).unwrap(), whole, "pieces of {size}");
    }
}

#[test]
fn a_secret_on_the_border_of_a_window_is_seen() {
    let redactor = taught();
    let secret = planted::KNOWN[0].1;
    for offset in (60_000..66_000).step_by(97) {
        let line = format!("{} {secret} {}", "a".repeat(offset), "b".repeat(70_000));
        let mut stream = redactor.stream();
        let mut out = stream.push(line.as_bytes());
        out.extend(stream.finish());
        assert!(!String::from_utf8(out).unwrap().contains(secret), "at {offset}");
    }
}

#[test]
fn a_masked_json_document_stays_one() {
    let redactor = taught();
    for (line, _) in planted::all() {
        let value = serde_json::json!({ "POSTGRES_PASSWORD": line, "list": [line, 1, null], "n": 3 });
        let masked = redactor.text(&value.to_string());
        let parsed: serde_json::Value =
            serde_json::from_str(&masked).unwrap_or_else(|e| panic!("{e}: {masked}"));
        assert_eq!(parsed["n"], 3);
    }
}

#[test]
fn the_scanner_finds_values_across_pieces_and_names_keys_only() {
    let redactor = taught();
    for (key, value) in planted::KNOWN {
        for cut in 1..value.len() {
            if !value.is_char_boundary(cut) {
                continue;
            }
            let mut scanner = redactor.scanner();
            scanner.push(b"some bytes \xff\x00 before ");
            scanner.push(&value.as_bytes()[..cut]);
            scanner.push(&value.as_bytes()[cut..]);
            assert_eq!(scanner.finish(), [*key], "{key} at {cut}");
        }
    }
    let mut clean = redactor.scanner();
    clean.push(b"nothing to see here");
    assert!(clean.finish().is_empty());
}
