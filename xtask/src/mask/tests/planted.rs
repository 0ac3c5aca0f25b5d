//! Secrets of many shapes: none may be seen.

use super::*;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// What env files and the compose model teach.
pub const KNOWN: &[(&str, &str)] = &[
    ("POSTGRES_PASSWORD", "q7Vt2mLx9RwZ4kPd"),
    ("REDIS_PASSWORD", "тайный-ключ-очереди"),
    ("FF_ARCHITECT_KEY", "arch!tect$9/\"quoted\""),
    ("SMTP_PASSWORD", "with space & sign?"),
    ("DATABASE_URL", "postgresql://app:uRl-p4ssw0rd%21@db:5432/x"),
];

pub const PEM: &str = "before\n-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEAx\nsecretbody42\n-----END RSA PRIVATE KEY-----\nafter\n";

/// A line, and what of it must not be seen.
pub fn all() -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    for (_, value) in &KNOWN[..4] {
        let escaped = serde_json::to_string(value).unwrap();
        let escaped = &escaped[1..escaped.len() - 1];
        let percent: String =
            percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC).to_string();
        all.push((format!("connection failed for {value} at host"), (*value).into()));
        all.push((format!("{{\"error\":\"bad login {escaped}\"}}"), escaped.into()));
        all.push((format!("GET /login?p={percent}&x=1"), percent));
        all.push((format!("b64 {} end", STANDARD.encode(value)), STANDARD.encode(value)));
        all.push((format!("b64url {}", URL_SAFE_NO_PAD.encode(value)), URL_SAFE_NO_PAD.encode(value)));
        for before in ["u:", "us:", "user:"] {
            let inner = STANDARD.encode(format!("{before}{value}"));
            // The characters in the middle are the value's own.
            all.push((format!("blob={inner}"), inner[8..inner.len() - 4].into()));
        }
    }
    let plain = [
        ("postgres://app:S3cretPw@db:5432/x", "S3cretPw"),
        ("redis://:hunter2hunter@redis:6379/0", "hunter2hunter"),
        ("amqp://guest:gu3st-pw@mq//", "gu3st-pw"),
        ("https://ci:ghx-pass@git.example/repo.git", "ghx-pass"),
        ("url uRl-p4ssw0rd! decoded", "uRl-p4ssw0rd!"),
        ("Authorization: Bearer abcDEF123.ghi-456_x", "abcDEF123"),
        ("authorization: Basic dXNlcjpwYXNzd29yZA==", "dXNlcjpwYXNzd29yZA"),
        ("X-Architect-Key: 9f8e7d6c5b4a", "9f8e7d6c5b4a"),
        ("X-FF-Architect-Key: 9f8e7d6c5b4b", "9f8e7d6c5b4b"),
        ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl", "eyJhbGciOiJIUzI1NiJ9"),
        ("key AKIAIOSFODNN7EXAMPLE used", "AKIAIOSFODNN7EXAMPLE"),
        ("push with ghp_abcdefghijklmnopqrstuvwxyz0123456789", "ghp_abcdefghijklmnop"),
        ("glpat-abcdefghij1234567890 denied", "glpat-abcdefghij"),
        ("xoxb-123456789012-abcdefghijkl", "xoxb-123456789012"),
        ("openai sk-abcdefghijklmnopqrstuvwxyz012345", "sk-abcdefghijklmnop"),
        ("POSTGRES_PASSWORD=pl41n-value", "pl41n-value"),
        ("export MYSQL_PWD='qu0ted value'", "qu0ted value"),
        ("PGPASSWORD=abc123xyz pg_dump", "abc123xyz"),
        ("{\"password\": \"j5on-value\"}", "j5on-value"),
        ("{\"db\":{\"apiKey\":\"nest3d\"}}", "nest3d"),
        ("msg=\"{\\\"client_secret\\\":\\\"esc4ped\\\"}\"", "esc4ped"),
        ("password: y4ml-value", "y4ml-value"),
        ("  secret_key: 'y4ml quoted'", "y4ml quoted"),
        ("redis-server --requirepass opt10n-value", "opt10n-value"),
        ("[\"redis-server\",\"--requirepass\",\"4rgv-value\"]", "4rgv-value"),
        ("--password=fl4g-value --host x", "fl4g-value"),
        ("mysql --token tok3n-value", "tok3n-value"),
        ("SENTRY_DSN=https://abc@sentry/1", "abc@sentry"),
        ("connect(password=kwarg5)", "kwarg5"),
        ("secret=one;token=tw0tw0", "tw0tw0"),
    ];
    all.extend(plain.into_iter().map(|(line, secret)| (line.to_string(), secret.to_string())));
    all
}

#[test]
fn no_planted_secret_is_seen() {
    let redactor = taught();
    let planted = all();
    assert!(planted.len() >= 60, "{}", planted.len());
    for (line, secret) in planted {
        assert!(line.contains(&secret), "the test itself: {line} has no {secret}");
        let masked = redactor.text(&line);
        assert!(!masked.contains(&secret), "{line} -> {masked}");
        assert!(masked.contains("***"), "{line} -> {masked}");
        // Wherever it stands in a longer line of a service's log.
        let in_log = redactor.text(&format!("2026-11-23T10:00:00.000Z INFO api {line} done\n"));
        assert!(!in_log.contains(&secret), "{in_log}");
    }
}

#[test]
fn a_private_key_becomes_one_line() {
    assert_eq!(taught().text(PEM), "before\n***private key***\nafter\n");
    let inline = PEM.replace('\n', "\\n");
    let masked = taught().text(&inline);
    assert!(!masked.contains("secretbody42") && masked.contains("after"), "{masked}");
}
