//! Which names are names of secrets, and which values are none whatever they
//! are called. Judged by words: AUTHOR is not AUTH, TOKENIZERS is not TOKEN.

/// Sensitive as a word of a name.
const WORDS: [&str; 22] = [
    "password",
    "passwd",
    "passphrase",
    "passwort",
    "pass",
    "pwd",
    "secret",
    "secrets",
    "token",
    "apikey",
    "credential",
    "credentials",
    "creds",
    "dsn",
    "auth",
    "authorization",
    "requirepass",
    "masterauth",
    "userpass",
    "salt",
    "pepper",
    "jwt",
];

/// Sensitive as the end of a word: PGPASSWORD, MYSQLPASSWD.
const ENDINGS: [&str; 7] = ["password", "passwd", "passphrase", "secret", "apikey", "token", "privatekey"];

/// What makes a secret of a word KEY after it: `API_KEY`, `accessKey`, `X-Architect-Key`.
const BEFORE_KEY: [&str; 23] = [
    "api",
    "access",
    "architect",
    "private",
    "secret",
    "encryption",
    "signing",
    "master",
    "shared",
    "account",
    "fernet",
    "hmac",
    "aes",
    "jwt",
    "session",
    "deploy",
    "service",
    "app",
    "auth",
    "storage",
    "license",
    "subscription",
    "admin",
];

/// Last words that say the value is about a secret, not one: `PASSWORD_FILE`, `TOKEN_TTL`.
const ABOUT: [&str; 55] = [
    "file",
    "path",
    "dir",
    "directory",
    "sock",
    "socket",
    "method",
    "type",
    "kind",
    "length",
    "len",
    "count",
    "ttl",
    "expire",
    "expires",
    "expiry",
    "expiration",
    "lifetime",
    "timeout",
    "name",
    "url",
    "uri",
    "host",
    "port",
    "header",
    "algorithm",
    "algo",
    "limit",
    "limits",
    "enabled",
    "disabled",
    "required",
    "policy",
    "mode",
    "size",
    "scheme",
    "backend",
    "class",
    "provider",
    "info",
    "agent",
    "version",
    "age",
    "rounds",
    "encryption",
    "status",
    "state",
    "hashers",
    "validators",
    "manager",
    "endpoint",
    "realm",
    "field",
    "rotation",
    "parallelism",
];

/// Values so common that masking them wherever they stand would blot out the text.
const COMMON: [&str; 48] = [
    "password",
    "passwort",
    "changeme",
    "change_me",
    "change-me",
    "postgres",
    "postgresql",
    "redis",
    "rabbitmq",
    "foxproflow",
    "localhost",
    "default",
    "development",
    "production",
    "staging",
    "testing",
    "disabled",
    "enabled",
    "required",
    "optional",
    "username",
    "database",
    "anonymous",
    "internal",
    "external",
    "container",
    "password1",
    "password123",
    "admin123",
    "administrator",
    "12345678",
    "qwertyui",
    "qwerty123",
    "letmein1",
    "topsecret",
    "mysecret",
    "mypassword",
    "undefined",
    "placeholder",
    "__generate__",
    "scram-sha-256",
    "host.docker.internal",
    "0.0.0.0",
    "127.0.0.1",
    "unless-stopped",
    "application",
    "celeryworker",
    "template1",
];

/// The words of a name, in lower case: `REDISCLI_AUTH`, `clientSecret`, `X-Api-Key`.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for c in name.chars() {
        let humps = before.is_ascii_lowercase() && c.is_ascii_uppercase();
        if (humps || !c.is_ascii_alphanumeric())
            && let Some(last) = words.last()
            && !last.is_empty()
        {
            words.push(String::new());
        }
        if c.is_ascii_alphanumeric()
            && let Some(last) = words.last_mut()
        {
            last.push(c.to_ascii_lowercase());
        }
        before = c;
    }
    words.retain(|w| !w.is_empty());
    words
}

/// Does a value under this name deserve masking? `extra` are further names, in lower case.
pub(super) fn sensitive(name: &str, extra: &[String]) -> bool {
    if !extra.is_empty() && extra.contains(&name.to_ascii_lowercase()) {
        return true;
    }
    // The shell's working directories, not passwords.
    if name == "PWD" || name == "OLDPWD" {
        return false;
    }
    let words = words(name);
    let Some(last) = words.last() else { return false };
    if ABOUT.contains(&last.as_str()) {
        return false;
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    words.iter().any(|w| WORDS.contains(w) || ENDINGS.iter().any(|e| w.ends_with(e)))
        || words.windows(2).any(|w| w[1] == "key" && BEFORE_KEY.contains(&w[0]))
        || (name.len() > 5 && is_key_header(name))
}

/// `X-Anything-Key`: a header made to carry a secret.
fn is_key_header(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with("x-") && name.ends_with("-key")
}

/// Is this value no secret whatever it is called: empty, a reference, a placeholder, a switch?
pub(super) fn harmless(value: &str) -> bool {
    let v = value.trim();
    let lower = v.to_ascii_lowercase();
    v.is_empty()
        || reference(v)
        || (v.len() < 4 && v.bytes().all(|b| b.is_ascii_digit()))
        || v.bytes().all(|b| b == b'x' || b == b'X' || b == b'*' || b == b'.' || b == b'-')
        || ["true", "false", "null", "none", "nil", "yes", "no", "on", "off", "undefined"]
            .contains(&lower.as_str())
        || ["md5", "trust", "peer", "ident", "scram-sha-256", "basic", "bearer", "required"]
            .contains(&lower.as_str())
}

/// Too common to be masked wherever it stands.
pub(super) fn common(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    COMMON.contains(&lower.as_str())
        || value.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b':' || b == b'-')
        || value.as_bytes().windows(2).all(|w| w[0] == w[1])
}

/// Is this value the name of one that stands elsewhere: `${X}`, `$X`, `%(x)s`, `{x}`?
pub(super) fn reference(value: &str) -> bool {
    let name = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    value.starts_with("${")
        || value.starts_with("$(")
        || value.starts_with("%(")
        || value.starts_with("{{")
        || value.starts_with("***")
        || value.strip_prefix('$').is_some_and(|v| name(v) && !v.starts_with(|c: char| c.is_ascii_digit()))
        || (value.starts_with('{') && value.ends_with('}'))
        || (value.starts_with('<') && value.ends_with('>'))
        || (value.len() > 4 && value.starts_with("__") && value.ends_with("__"))
        || (value.len() > 2 && value.starts_with('%') && value.ends_with('%') && name(&value[1..value.len() - 1]))
}

/// The part of a dotted name that counts: `spring.datasource.password`.
pub(super) fn last_segment(name: &str) -> &str {
    let name = name.trim_end_matches('.');
    match name.rfind('.') {
        Some(at) if &name[at + 1..] != "key" => &name[at + 1..],
        _ => name,
    }
}

/// Does the name say secret so clearly that prose around it makes no difference? `auth: ok` does not.
pub(super) fn says_secret(name: &str) -> bool {
    let words = words(name);
    let Some(last) = words.last() else { return false };
    words.len() > 1 || !["pass", "auth", "salt", "pepper", "jwt", "dsn", "pwd", "creds"].contains(&last.as_str())
}

/// Does this value name a file, a directory or a socket?
pub(super) fn about_files(key: &str, value: &str) -> bool {
    let path = std::path::Path::new(value);
    let upper = key.to_ascii_uppercase();
    upper.ends_with("_SOCK") || upper.starts_with("GPG_AGENT") || (path.is_absolute() && path.exists())
}
