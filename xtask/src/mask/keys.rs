//! Which names of settings mean a secret.

use regex::Regex;

#[derive(Default)]
pub(super) struct Keys {
    extra: Vec<String>,
    pub(super) patterns: Vec<Regex>,
}

/// A name with one of these words is sensitive.
const WORDS: &[&str] = &[
    "password",
    "passwords",
    "passwd",
    "passphrase",
    "pwd",
    "pass",
    "secret",
    "secrets",
    "token",
    "apikey",
    "credential",
    "credentials",
    "dsn",
    "requirepass",
    "masterauth",
    "auth",
    "authorization",
    "jwt",
];
/// Or with one of these words before `key`.
const BEFORE_KEY: &[&str] = &[
    "api",
    "access",
    "private",
    "architect",
    "secret",
    "encryption",
    "signing",
    "auth",
    "account",
    "master",
];
/// What stands at the end of names whose values say where or how, not what.
const PLACES: &[&str] = &[
    "file",
    "path",
    "dir",
    "sock",
    "socket",
    "host",
    "port",
    "type",
    "method",
    "expiry",
    "ttl",
    "encryption",
];

impl Keys {
    pub(super) fn with_extra(keys: &[String], patterns: &[String]) -> Result<Keys, String> {
        let patterns: Result<Vec<Regex>, _> = patterns.iter().map(|p| Regex::new(p)).collect();
        Ok(Keys {
            extra: keys.iter().map(|k| k.to_lowercase()).collect(),
            patterns: patterns.map_err(|e| e.to_string())?,
        })
    }

    pub(super) fn is_sensitive(&self, key: &str) -> bool {
        // The shell's own: directories.
        if key == "PWD" || key == "OLDPWD" {
            return false;
        }
        let words = words(key);
        if words.last().is_some_and(|w| PLACES.contains(&w.as_str())) {
            return false;
        }
        let by_word = words.iter().any(|w| WORDS.contains(&w.as_str()) || w.ends_with("password"));
        let by_pair = words.windows(2).any(|p| p[1] == "key" && BEFORE_KEY.contains(&p[0].as_str()));
        by_word || by_pair || self.extra.iter().any(|e| key.to_lowercase().contains(e))
    }
}

/// `FF_ARCHITECT_KEY`, `architect-key` and `architectKey` are `architect`, `key`.
fn words(key: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut lower_before = false;
    for c in key.chars() {
        let border = !c.is_alphanumeric() || (c.is_uppercase() && lower_before);
        if border && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        }
        lower_before = c.is_lowercase() || c.is_ascii_digit();
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_names() {
        let keys = Keys::default();
        let sensitive = "POSTGRES_PASSWORD REDIS_PASSWORD password dbPassword FF_ARCHITECT_KEY X-Architect-Key api_key \
                         apiKey APIKEY AWS_SECRET_ACCESS_KEY GITHUB_TOKEN accessToken REDISCLI_AUTH requirepass \
                         SENTRY_DSN client_secret private-key PGPASSWORD MYSQL_PWD";
        for key in sensitive.split_whitespace() {
            assert!(keys.is_sensitive(key), "{key}");
        }
        let harmless = "PWD OLDPWD SSH_AUTH_SOCK AUTHOR TOKENIZERS_PARALLELISM POSTGRES_PASSWORD_FILE PATH monkey KEY \
                        sha256 compass max_tokens AUTH_METHOD passed bypass_rls";
        for key in harmless.split_whitespace() {
            assert!(!keys.is_sensitive(key), "{key}");
        }
        assert!(Keys::with_extra(&["wialon_sid".into()], &[]).unwrap().is_sensitive("WIALON_SID"));
    }
}
