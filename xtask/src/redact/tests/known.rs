//! What is learned, and what is masked by value.

use super::super::{Learned, Redactor};
use super::whole;

#[test]
fn strong_weak_and_not_sensitive() {
    let redactor = Redactor::new();
    redactor.spare(&["foxproflow", "api", "operations"]);
    for (key, value, expected) in [
        ("POSTGRES_PASSWORD", "Zx81-qqTTr", Learned::Strong),
        ("POSTGRES_PASSWORD", "short7!", Learned::Weak),
        ("POSTGRES_PASSWORD", "password", Learned::Weak),
        ("POSTGRES_PASSWORD", "PASSWORD123", Learned::Weak),
        ("POSTGRES_PASSWORD", "FoxProFlow", Learned::Weak),
        ("ADMIN_PASSWORD", "operations", Learned::Weak),
        ("PIN_TOKEN", "20261123", Learned::Weak),
        ("A_TOKEN", "aaaaaaaaaa", Learned::Weak),
        ("A_TOKEN", "__GENERATE__", Learned::Weak),
        ("A_TOKEN", "", Learned::NotSensitive),
        ("A_TOKEN", "${OTHER}", Learned::NotSensitive),
        ("A_TOKEN", "true", Learned::NotSensitive),
        ("POSTGRES_USER", "Zx81-qqTTr", Learned::NotSensitive),
        ("PWD", "/srv/main", Learned::NotSensitive),
        ("A_TOKEN", env!("CARGO_MANIFEST_DIR"), Learned::NotSensitive),
        ("SSH_AUTH_SOCK", "/tmp/ssh-agent.17", Learned::NotSensitive),
        ("REDISCLI_AUTH", "Vb55-nm66!", Learned::Strong),
        ("SMTP_AUTH", "scram-sha-256", Learned::NotSensitive),
        ("A_PASSWORD", "$Ecret77x", Learned::Strong),
        ("DATABASE_URL", "postgres://u:¦Qw12-er34@h/d", Learned::Strong),
        ("DATABASE_URL", "postgres://u:¦pw@h/d", Learned::Weak),
        ("DATABASE_URL", "postgres://u@h/d", Learned::NotSensitive),
        ("command", "redis-server --require¦pass As98-df76", Learned::Strong),
        ("CONFIG", "{\"db\":{\"pass¦word\":\"Lk23-jh45\"}}", Learned::Strong),
        ("CONFIG", "{\"db\":{\"port\":5432}}", Learned::NotSensitive),
    ] {
        assert_eq!(redactor.learn(key, &whole(value)), expected, "{key}={value}");
    }
    assert_eq!(
        redactor.weak_keys(),
        ["ADMIN_PASSWORD", "A_TOKEN", "DATABASE_URL", "PIN_TOKEN", "POSTGRES_PASSWORD"]
    );
    for secret in ["Zx81-qqTTr", "Qw12-er34", "As98-df76", "Lk23-jh45"] {
        assert!(!redactor.text(&format!("x {secret} y")).contains(secret), "{secret}");
    }
    for word in ["foxproflow", "operations", "password", "20261123", "pw", "short7!"] {
        assert_eq!(redactor.text(&format!("x {word} y")), format!("x {word} y"));
    }
    let debug = format!("{redactor:?}");
    assert!(!debug.contains("Zx81") && debug.contains("values"), "{debug}");
}

#[test]
fn of_a_login_the_password_is_known_by_itself() {
    let redactor = Redactor::new();
    for (key, value) in [
        ("X_BASIC_AUTH", "admin:Zx81-qqTTr"),
        ("FLOWER_BASIC_AUTH", "anna:Vb55-nm66!,ivan:As98-df:76"),
        ("mqttCredentials", "api:Lk23-jh45"),
    ] {
        redactor.learn(key, &whole(value));
    }
    for secret in ["Zx81-qqTTr", "Vb55-nm66!", "As98-df:76", "Lk23-jh45"] {
        assert!(!redactor.text(&format!("x {secret} y")).contains(secret), "{secret}");
    }
    assert_eq!(redactor.text("anna and ivan"), "anna and ivan");
    let other = Redactor::new();
    other.learn("A_TOKEN", "part:Zx81-qqTTr");
    assert_eq!(other.text("Zx81-qqTTr"), "Zx81-qqTTr", "no login");
}

#[test]
fn values_that_are_too_long_to_be_looked_at_are_named() {
    let redactor = Redactor::new();
    let most = 256 << 10;
    assert_eq!(redactor.learn("A_TOKEN", &"ab".repeat(most / 2)), Learned::Strong);
    assert!(redactor.too_long_keys().is_empty());
    assert_eq!(redactor.learn("B_TOKEN", &"ab".repeat(most / 2 + 1)), Learned::NotSensitive);
    redactor.learn("CONFIG", &"ab".repeat(most));
    assert_eq!(redactor.too_long_keys(), ["B_TOKEN", "CONFIG"]);
}

#[test]
fn a_value_in_base64_is_masked_in_every_line_that_it_is_wrapped_to() {
    let redactor = Redactor::new();
    let secret: String = (0..4).map(|n: u8| crate::fsx::sha256(&[n])).collect();
    redactor.learn("A_TOKEN", &secret);
    // What `printf 'user:SECRET' | base64` prints, by Python's base64.encodebytes.
    let printed = include_str!("wrapped.txt");
    assert_eq!(printed.lines().count(), 5);
    assert_eq!(redactor.text(printed), "***A_TOKEN***\n".repeat(5));
    let mut scanner = redactor.scanner();
    scanner.push(printed.lines().nth(2).unwrap_or_default().as_bytes());
    assert_eq!(scanner.finish(), ["A_TOKEN"]);
}

#[test]
fn clones_share_what_they_learn_and_streams_take_it_up() {
    let redactor = Redactor::new();
    let mut stream = redactor.clone().stream();
    assert_eq!(stream.push(b"a Zx81-qqTTr\n"), b"a Zx81-qqTTr\n");
    redactor.learn("X_TOKEN", "Zx81-qqTTr");
    assert_eq!(stream.push(b"b Zx81-qqTTr\n"), b"b ***X_TOKEN***\n");
}

#[test]
fn a_name_that_is_spared_later_is_unlearned() {
    let redactor = Redactor::new();
    redactor.learn("DB_PASSWORD", "logistics");
    assert_eq!(redactor.text("of logistics"), "of ***DB_PASSWORD***");
    redactor.spare(&["Logistics"]);
    assert_eq!(redactor.text("of logistics"), "of logistics");
    assert_eq!(redactor.weak_keys(), ["DB_PASSWORD"]);
}

#[test]
fn a_percent_encoded_password_of_a_url_is_known_in_both_spellings() {
    let redactor = Redactor::new();
    redactor.learn("BROKER_URL", &whole("redis://:¦p%40ss%2Fword9@redis/0"));
    assert_eq!(redactor.text("p%40ss%2Fword9 p@ss/word9"), "***BROKER_URL*** ***BROKER_URL***");
}

#[test]
fn a_value_of_several_lines_is_masked_line_by_line_and_in_json() {
    let redactor = Redactor::new();
    redactor.learn("TLS_PRIVATE_KEY", "first-line-1\nsecond-line-2\n");
    assert_eq!(
        redactor.text("x first-line-1\n  second-line-2\n"),
        "x ***TLS_PRIVATE_KEY***\n  ***TLS_PRIVATE_KEY***\n"
    );
    assert_eq!(redactor.text(r#"{"k":"first-line-1\nsecond-line-2"}"#), r#"{"k":"***TLS_PRIVATE_KEY***"}"#);
}

#[test]
fn overlapping_secrets_are_masked_together() {
    let redactor = Redactor::new();
    redactor.learn("A_TOKEN", "abcdefgh1234");
    redactor.learn("B_TOKEN", "1234ijklmnop");
    assert_eq!(redactor.text("x abcdefgh1234ijklmnop y"), "x ***A_TOKEN*** y");
}

#[test]
fn the_scanner_names_keys_across_chunk_borders_and_in_other_spellings() {
    let redactor = Redactor::new();
    redactor.learn("A_TOKEN", "Zx81-qqTTr/9");
    redactor.learn("B_TOKEN", "never-there-7");
    redactor.learn("C_PASSWORD", "fox7");
    let utf16: Vec<u8> = "Zx81-qqTTr/9".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for text in [&b"fox7 Zx81-qqTTr/9"[..], b"fox7 xx Zx81-qqTTr%2F9 xx", b"dTpaeDgxLXFxVFRyLzk=", &utf16] {
        for chunk in 1..text.len() {
            let mut scanner = redactor.scanner();
            text.chunks(chunk).for_each(|c| scanner.push(c));
            assert_eq!(scanner.finish(), ["A_TOKEN"], "{chunk}");
        }
    }
    let mut scanner = redactor.scanner();
    scanner.push(b"Zx81-qqTT");
    scanner.push(b"x");
    scanner.push(b"r/9");
    assert!(scanner.finish().is_empty());
    let mut nothing = Redactor::new().scanner();
    nothing.push(b"Zx81-qqTTr/9");
    assert!(nothing.finish().is_empty());
}

#[test]
fn bad_patterns_are_refused_by_name() {
    for (pattern, why) in [("(", "unclosed"), ("a*", "empty"), ("(?P<n>a)(?P<n>b)", "duplicate")] {
        let error = Redactor::with_extra(&[], &[pattern.to_string()]).unwrap_err();
        assert!(error.contains(pattern) && error.contains(why), "{error}");
    }
    let twice = ["(?P<n>a)".to_string(), "(?P<n>b)".to_string()];
    assert!(Redactor::with_extra(&[], &twice).unwrap_err().contains("together"));
    let redactor =
        Redactor::with_extra(&["  ".into(), "клиент-имя".into()], &["договор [0-9]+".into()]).unwrap();
    assert_eq!(redactor.text("договор 17, клиент-имя=Анна\n"), "***pattern***, клиент-имя=***\n");
}
