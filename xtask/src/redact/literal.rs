//! Is a literal a secret, a placeholder, a word or code? For the finder in source files.

use regex::bytes::Regex;
use std::sync::LazyLock;

/// Parts of values that stand for a value.
const PLACEHOLDERS: [&str; 33] = [
    "changeme",
    "change_me",
    "change-me",
    "changeit",
    "change_this",
    "change-this",
    "replace",
    "example",
    "sample",
    "dummy",
    "placeholder",
    "your_",
    "your-",
    "yourpass",
    "yoursecret",
    "todo",
    "fixme",
    "redacted",
    "masked",
    "generate",
    "insert",
    "xxx",
    "...",
    "…",
    "***",
    "not-a-",
    "not_a_",
    "fake",
    "mock",
    "environ",
    "secrets.",
    "process.env",
    "getenv",
];
/// Passwords that everybody knows: not secret, but worth a warning.
const KNOWN: [&str; 22] = [
    "admin",
    "admin123",
    "root",
    "postgres",
    "password",
    "password1",
    "password123",
    "passw0rd",
    "secret",
    "test",
    "test1234",
    "test123",
    "testing",
    "guest",
    "user",
    "foxproflow",
    "redis",
    "12345678",
    "123456",
    "1234",
    "qwerty",
    "p@ssw0rd",
];

/// Known examples of documents, by the word or the run of letters in them.
pub(super) fn is_example(value: &str) -> bool {
    let lower = value.to_lowercase();
    ["example", "xxxx", "0000000000", "1234567890abcdef", "abcdefghij"].iter().any(|p| lower.contains(p))
}

/// `user:password@`, as documentation has it.
pub(super) fn is_sample_login(before: &str, value: &str) -> bool {
    let user = before.rsplit(['/', ':']).find(|p| !p.is_empty()).unwrap_or_default().to_lowercase();
    ["user", "username", "usr", "login", "u", "name"].contains(&&*user)
        && ["password", "pass", "pwd", "pw", "passwd", "p"].contains(&value)
}

/// None: no secret. `true`: sure enough to refuse a release.
pub(super) fn judge(name: &str, value: &str) -> Option<bool> {
    if value.contains(char::is_whitespace) {
        return None;
    }
    let value = value.trim_end_matches([',', ';']);
    let lower = value.to_lowercase();
    let name = name.to_lowercase();
    if value.chars().count() < 4 || super::is_blank(value.as_bytes()) || is_placeholder(value, &lower) {
        return None;
    }
    let password = name.contains("pass") || name.ends_with("pwd");
    // The name again, another language, a path: a label.
    let same = |a: &str, b: &str| a.replace(['_', '-'], "") == b.replace(['_', '-'], "");
    if same(&lower, &name) || !value.is_ascii() || is_path(value) {
        return None;
    }
    if KNOWN.contains(&lower.as_str()) {
        return password.then_some(false);
    }
    if is_word(value) {
        return (password && is_lower(value) && !lower.contains("pass")).then_some(false);
    }
    let has = |class: fn(&u8) -> bool| usize::from(value.as_bytes().iter().any(class));
    let classes = has(u8::is_ascii_lowercase)
        + has(u8::is_ascii_uppercase)
        + has(u8::is_ascii_digit)
        + has(|b| b.is_ascii_punctuation() && !b"-_.".contains(b));
    let names_itself = ["password", "passwd", "secret", "s3cret", "token", "apikey", "api_key", "api-key"]
        .iter()
        .any(|w| lower.contains(w));
    // `auth: oauth2` says how, not what.
    if name.ends_with("auth") && (value.len() < 8 || value.bytes().filter(u8::is_ascii_digit).count() < 2) {
        return None;
    }
    let hard = value.len() >= 6 && classes >= 2 + usize::from(names_itself);
    (hard || password).then_some(hard)
}

fn is_placeholder(value: &str, lower: &str) -> bool {
    static SHAPES: LazyLock<Regex> = LazyLock::new(|| {
        super::regex(
            r"\A(?:<.*>|\[.*\]|\{.*\}|__.*__|%.*%|\$.*|@.*@|/.*|\.{1,2}/.*|~.*|[A-Za-z]:\\.*|sha(?:1|256|512)[:-].*|md5:.*|#[0-9A-Fa-f]{3,8}|[0-9]{1,5})\z|\{\{|\$\{|\$\(|\{[A-Za-z_][A-Za-z0-9_.]*\}|%[sd(]|\)s|<[A-Za-z_ -]+>|[A-Za-z_]!?\(|\\[bdswnru]",
        )
    });
    let same = value.chars().all(|c| value.starts_with(c));
    same || PLACEHOLDERS.iter().any(|p| lower.contains(p)) || SHAPES.is_match(value.as_bytes())
}

/// Words, also joined: `access-token`, `ACCESS_TOKEN`, `BearerAuth`, `app.settings.key`.
fn is_word(value: &str) -> bool {
    let letters = value.bytes().all(|b| b.is_ascii_alphabetic() || b"_-./:".contains(&b));
    let capitals = value.bytes().filter(u8::is_ascii_uppercase).count();
    let lowers = value.bytes().filter(u8::is_ascii_lowercase).count();
    // `_RSAPrivateKey` is a type's name in quotes.
    let mostly_small = capitals == 0 || lowers == 0 || capitals * 3 <= capitals + lowers;
    letters && (mostly_small || value.starts_with('_'))
}

/// `projects/x/secrets/y/versions/1`
fn is_path(value: &str) -> bool {
    let parts: Vec<&str> = value.split('/').collect();
    let named = |p: &&str| p.len() >= 2 && p.bytes().all(|b| b.is_ascii_lowercase() || b"-_.".contains(&b));
    parts.len() > 2 && parts.iter().filter(|p| named(p)).count() * 2 > parts.len()
}

pub(super) fn is_lower(value: &str) -> bool {
    value.bytes().all(|b| b.is_ascii_lowercase())
}

/// What an unquoted value is made of when it is an expression, a type or a call.
pub(super) fn is_code(value: &str) -> bool {
    static DOTTED: LazyLock<Regex> = LazyLock::new(|| {
        super::regex(r"\A&?\*?[A-Za-z_][A-Za-z0-9_]*(?:(?:\.|::|->)[A-Za-z_][A-Za-z0-9_]*)+\z")
    });
    value.ends_with([',', ';'])
        || value.starts_with(['&', '*'])
        || value.contains(['(', ')', '[', ']', '{', '}', '<', '>', '|', '`'])
        || DOTTED.is_match(value.as_bytes())
}

/// A name of a variable or a type in most languages.
pub(super) fn is_identifier(value: &str) -> bool {
    let lower = value.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    let capitalised = value.starts_with(|c: char| c.is_ascii_uppercase())
        && value.bytes().all(|b| b.is_ascii_alphanumeric());
    (lower || capitalised) && !value.starts_with(|c: char| c.is_ascii_digit())
}
