//! Credentials in URLs: `scheme://user:PASSWORD@host`, `https://TOKEN@host`.

use regex::bytes::Regex;
use std::sync::LazyLock;

static URL: LazyLock<Regex> = LazyLock::new(|| super::regex(r#"[A-Za-z0-9]://[^\s"'<>]+"#));

/// Where the secrets lie in the URLs of a text, as byte ranges.
pub(super) fn secrets(text: &[u8]) -> Vec<(usize, usize)> {
    let found = URL.find_iter(text).filter_map(|m| {
        let scheme = text[..=m.start()].rsplit(|b| !b.is_ascii_alphanumeric()).next().unwrap_or_default();
        let (start, end) = secret(&text[m.start() + 4..m.end()], has_ports(scheme))?;
        Some((m.start() + 4 + start, m.start() + 4 + end))
    });
    found.collect()
}

/// Is `//name:digits/...@` a port and a path in URLs of this scheme? Addresses of databases and brokers have no
/// `@` in their path; a password of digits and a slash is what it is there.
fn has_ports(scheme: &[u8]) -> bool {
    [&b"http"[..], b"https", b"ws", b"wss"].iter().any(|s| scheme.eq_ignore_ascii_case(s))
}

/// The secret in what follows `://`.
fn secret(rest: &[u8], has_ports: bool) -> Option<(usize, usize)> {
    let authority = rest.iter().position(|b| b"/?#".contains(b)).unwrap_or(rest.len());
    let colon = rest[..authority].iter().position(|b| *b == b':');
    let at = rest[..authority].iter().rposition(|b| *b == b'@');
    match (colon, at) {
        (Some(colon), Some(at)) if colon < at => {
            // Passwords are pasted into URLs unescaped: `u:p@ss/word@host/db`. But
            // an `@` in a query is an e-mail address.
            let query = rest.iter().position(|b| *b == b'?').filter(|q| *q > at).unwrap_or(rest.len());
            let last = rest[..query].iter().rposition(|b| *b == b'@').unwrap_or(at);
            filled(rest, colon + 1, last)
        }
        (Some(colon), None) => {
            // No `@` before the path: a port, or a password with a slash in it.
            let port = &rest[colon + 1..authority];
            let is_port = port.iter().all(u8::is_ascii_digit);
            // An `@` in a query is no end of a password that may well be a port.
            let query = rest.iter().position(|b| *b == b'?').filter(|_| is_port).unwrap_or(rest.len());
            let last = rest[..query].iter().rposition(|b| *b == b'@')?;
            (!is_port || !has_ports).then_some(())?;
            filled(rest, colon + 1, last)
        }
        // A token in the place of the user: `https://ghp_...@github.com`, Sentry's DSN.
        (_, Some(at)) => {
            let user = &rest[..at];
            let token = user.len() >= 16 && user.iter().any(u8::is_ascii_digit);
            token.then(|| filled(rest, 0, at)).flatten()
        }
        _ => None,
    }
}

/// The range, unless what stands there is no secret: empty, a variable, masked already.
fn filled(rest: &[u8], start: usize, end: usize) -> Option<(usize, usize)> {
    let value = &rest[start..end];
    (!super::is_blank(value) && !super::reference::is_reference(value)).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> String {
        let url = url.replace('¦', "");
        let mut out = url.clone();
        for (start, end) in secrets(url.as_bytes()).into_iter().rev() {
            out.replace_range(start..end, "#");
        }
        out
    }

    #[test]
    fn passwords_are_found_in_urls_as_people_write_them() {
        for (url, expected) in [
            ("postgresql:¦//app:s3cret@db:5432/x?a=b", "postgresql://app:#@db:5432/x?a=b"),
            ("redis:¦//:pw@redis/0, next", "redis://:#@redis/0, next"),
            ("\"amqp:¦//u:p@a\" 'amqp:¦//u:p@b'", "\"amqp://u:#@a\" 'amqp://u:#@b'"),
            ("postgres+psycopg2:¦//u:p@ss/w@rd@host/db", "postgres+psycopg2://u:#@host/db"),
            ("redis:¦//:pa/ss@host/1", "redis://:#@host/1"),
            (
                "https:¦//0123456789abcdef0123456789abcdef@o1.ingest.sentry.io/2",
                "https://#@o1.ingest.sentry.io/2",
            ),
            ("http:¦//u:p@h/?mail=a@b.c", "http://u:#@h/?mail=a@b.c"),
            ("http:¦//u:p:q@h", "http://u:#@h"),
            ("postgresql:¦//app:2024#Secret@db/x", "postgresql://app:#@db/x"),
            ("redis:¦//:12/34pass@redis/0", "redis://:#@redis/0"),
        ] {
            assert_eq!(shown(url), expected.replace('¦', ""));
        }
    }

    #[test]
    fn urls_without_secrets_stay() {
        for url in [
            "http://127.0.0.1:8080/health",
            "http://host:8080/users/@me",
            "postgresql://db:5432/x?owner=a@b.c",
            "redis://redis:6379/0",
            "ssh://git@github.com/x/y",
            "https://user7@host/x",
            "https://a/b:c@d",
            "http://user@host/",
            "postgresql://app@db/x",
            "://x:y@z",
            "redis://:${REDIS_PASSWORD}@redis",
            "redis://:***@redis",
            "redis://:***A_PASSWORD***@redis",
            "http://",
            "x://",
            "redis://:@redis",
        ] {
            assert_eq!(shown(url), url.replace('¦', ""));
        }
    }
}
