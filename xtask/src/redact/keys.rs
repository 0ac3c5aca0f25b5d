//! Is the name of a key sensitive? Judged by its words, whatever the spelling:
//! `POSTGRES_PASSWORD`, `x-api-key`, `accessToken`, `spring.db.password`.

use std::collections::HashSet;
use std::sync::LazyLock;

type Words = LazyLock<HashSet<&'static str>>;

macro_rules! words {
    ($words:literal) => {
        LazyLock::new(|| $words.split_whitespace().collect())
    };
}

/// Words that make a name sensitive, alone or as part of a joined word (`dbpassword`).
const ANYWHERE: [&str; 8] =
    ["password", "passwd", "passphrase", "passwort", "secret", "credential", "пароль", "токен"];
/// Words that make a name sensitive when a word is exactly this.
static WHOLE: Words = words!(
    "pass pwd dsn jwt cookie cookies authorization bearer salt pepper private requirepass masterauth \
     pgpass dbpass"
);
/// Words that make a name sensitive when a word ends with this.
const AT_END: [&str; 9] = [
    "token",
    "apikey",
    "secretkey",
    "privatekey",
    "accesskey",
    "architectkey",
    "encryptionkey",
    "signingkey",
    "accountkey",
];
/// What stands before `key` in a secret's name; `primary key`, `foreign key` and the like do not.
static KINDS_OF_KEY: Words = words!(
    "access account admin aes api app architect auth cipher client crypto deploy encrypt encryption \
     fernet hmac jwt license master root rsa security service session shared sign signing ssh storage \
     token webhook"
);
/// A last word that says: this describes the secret, it is not the secret.
static DESCRIBES: Words = words!(
    "algorithm alg at attempts attribute audience backend callback check class column count days dir \
     directory disabled domain enabled encryption endpoint env error errors expire expired expires \
     expiration expiry failed field fields file files format generator header headers helper hint \
     host hours invalid ip issuer label len length lifetime limit manager max method min minutes mode \
     name names network path plugin policies policy port prefix prompt provider ref registry required \
     reset retries rotation rule rules samesite scheme scope scopes seconds secure service size \
     source status stdin store subnet suffix timeout ttl type uri url version versions"
);
/// A first word that turns the name into a question or its opposite.
static QUESTIONS: Words = words!("no has is use with without require max");
/// Values of `AUTH` that say how, not what.
const WAYS_TO_PROVE: [&str; 14] = [
    "on",
    "off",
    "yes",
    "no",
    "basic",
    "plain",
    "login",
    "cram-md5",
    "xoauth2",
    "trust",
    "peer",
    "ident",
    "md5",
    "scram-sha-256",
];

/// Judges names; knows the extra ones of the configuration.
#[derive(Default)]
pub(super) struct Keys {
    extra: Vec<String>,
}

impl Keys {
    pub(super) fn new(extra: &[String]) -> Self {
        Keys { extra: extra.iter().map(|k| plain(k)).filter(|k| !k.is_empty()).collect() }
    }

    pub(super) fn is_sensitive(&self, key: &str) -> bool {
        let whole = plain(key);
        let ends_with =
            |e: &String| whole == *e || whole.strip_suffix(e.as_str()).is_some_and(|r| r.ends_with('_'));
        if self.extra.iter().any(ends_with) {
            return true;
        }
        // The shell's working directory, in every environment.
        if matches!(key, "PWD" | "OLDPWD") {
            return false;
        }
        if whole.starts_with("x_") && key.starts_with(['x', 'X']) && whole.ends_with("_key") {
            // A header made to carry one, but for those that name something.
            return !["idempotency", "cache", "routing", "surrogate"].iter().any(|w| whole.contains(w));
        }
        let words = words(key.rsplit('.').next().unwrap_or_default());
        let (Some(first), Some(last)) = (words.first(), words.last()) else { return false };
        if words.len() > 1 && (DESCRIBES.contains(last.as_str()) || QUESTIONS.contains(first.as_str())) {
            return false;
        }
        // `REDISCLI_AUTH`, but not `POSTGRES_HOST_AUTH_METHOD` or `author`.
        last == "auth"
            || words.iter().any(|w| is_secret_word(w))
            || words
                .windows(2)
                .any(|w| KINDS_OF_KEY.contains(w[0].as_str()) && matches!(&*w[1], "key" | "keys"))
    }
}

/// What the finder of keys looks for: every sensitive name holds one of these.
pub(super) const FINDER: &str = "pass|pwd|dsn|jwt|cookie|auth|bearer|salt|pepper|private|secret|\
                                 credential|token|key|masterauth|(?-i:пароль|Пароль|ПАРОЛЬ|токен|Токен|ТОКЕН)";

/// Does this value of a key only name a way to prove who one is?
pub(super) fn names_a_way(key: &str, value: &[u8]) -> bool {
    let ends = key.len() >= 4
        && key.is_char_boundary(key.len() - 4)
        && key[key.len() - 4..].eq_ignore_ascii_case("auth");
    ends && WAYS_TO_PROVE.iter().any(|w| value.trim_ascii().eq_ignore_ascii_case(w.as_bytes()))
}

/// Is the value of a sensitive key of this name a login, `user:password`?
pub(super) fn holds_login(key: &str) -> bool {
    let plain = plain(key);
    ["basic_auth", "basicauth", "credential"].iter().any(|word| plain.contains(word))
}

fn is_secret_word(word: &str) -> bool {
    WHOLE.contains(word)
        || AT_END.iter().any(|e| word.ends_with(e))
        || (word.ends_with("pwd") && word != "oldpwd")
        || (ANYWHERE.iter().any(|s| word.contains(s)) && !word.contains("secretar"))
}

/// Lower case, with `_` for every separator.
fn plain(key: &str) -> String {
    key.trim().to_lowercase().replace(['-', ' '], "_")
}

/// `fooBar_BAZ-APIKey` as `foo bar baz api key`.
fn words(key: &str) -> Vec<String> {
    let chars: Vec<char> = key.chars().collect();
    let mut words = vec![String::new()];
    for (i, &c) in chars.iter().enumerate() {
        if !c.is_alphanumeric() {
            words.push(String::new());
            continue;
        }
        let hump = c.is_uppercase()
            && i > 0
            && (chars[i - 1].is_lowercase()
                || (chars[i - 1].is_uppercase() && chars.get(i + 1).is_some_and(|n| n.is_lowercase())));
        if hump {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.extend(c.to_lowercase());
        }
    }
    // PASSWORD1, API_KEY2
    words.iter_mut().for_each(|w| w.truncate(w.trim_end_matches(|c: char| c.is_ascii_digit()).len()));
    words.retain(|w| !w.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_in_any_spelling() {
        let keys = "POSTGRES_PASSWORD PGPASSWORD password db_passwd DB_PWD Pwd SMTP_PASS requirepass \
             CLIENT_SECRET clientSecret secret SECRET_KEY GITHUB_TOKEN accessToken authtoken api_key \
             API-KEY apikey x-api-key OPENAI_API_KEY2 FF_ARCHITECT_KEY X-FF-Architect-Key PRIVATE_KEY \
             GOOGLE_CREDENTIALS aws_secret_access_key SENTRY_DSN Authorization Set-Cookie \
             spring.datasource.password JWT passphrase APIKey PASSWORD_HASH AccountKey PASSWORD1 пароль \
             FERNET_KEY PII_SALT private AUTH REDISCLI_AUTH redis.auth X-FF-Key x-any-thing-key";
        for key in keys.split_whitespace() {
            assert!(Keys::default().is_sensitive(key), "{key}");
        }
    }

    #[test]
    fn names_that_only_look_like_it() {
        let keys = "PWD OLDPWD PATH POSTGRES_USER DATABASE_URL POSTGRES_PASSWORD_FILE TOKEN_URL MAX_TOKENS \
             total_tokens ACCESS_TOKEN_EXPIRE_MINUTES password_encryption PRIMARY_KEY foreign_key \
             KEYBOARD key author compass bypass secretary TOKENIZERS_PARALLELISM token.json secrets.py \
             password-stdin no-password has_password PRIVATE_IP SSH_AUTH_SOCK KeyError monkey passed \
             secret_name cookie_domain POSTGRES_HOST_AUTH_METHOD AUTHOR require_auth OAUTHLIB \
             X-Idempotency-Key auth_type x_key_y";
        for key in keys.split_whitespace() {
            assert!(!Keys::default().is_sensitive(key), "{key}");
        }
    }

    #[test]
    fn extra_names_come_from_the_configuration() {
        let keys = Keys::new(&["inn".into(), "Passport-No".into()]);
        for key in ["INN", "client_inn", "passport_no", "PASSPORT-NO"] {
            assert!(keys.is_sensitive(key), "{key}");
        }
        assert!(!keys.is_sensitive("inner") && !keys.is_sensitive("begINN"));
        assert!(!Keys::default().is_sensitive("inn"));
    }
}
