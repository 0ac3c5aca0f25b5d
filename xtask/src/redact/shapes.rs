//! Secrets that give themselves away by their shape: well-known tokens, JWTs,
//! private keys, verifiers of passwords, authorization headers.

use super::reference::is_reference;
use regex::bytes::Regex;
use std::sync::LazyLock;

/// Kind and expression of each token that is a secret as a whole.
pub(super) const TOKENS: [(&str, &str); 31] = [
    ("jwt", r"eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}"),
    ("aws access key", r"(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    ("github token", r"gh[pousr]_[A-Za-z0-9]{30,}"),
    ("github token", r"github_pat_[A-Za-z0-9_]{40,}"),
    ("gitlab token", r"gl(?:pat|rt|dt|cbt|ptt)-[A-Za-z0-9_-]{20,}"),
    ("slack token", r"xox[abeoprs]-[A-Za-z0-9-]{10,}"),
    ("slack webhook", r"hooks\.slack\.com/services/T[A-Za-z0-9]+/B[A-Za-z0-9]+/[A-Za-z0-9]{16,}"),
    ("stripe key", r"[rs]k_live_[A-Za-z0-9]{16,}"),
    ("google api key", r"AIza[0-9A-Za-z_-]{35}"),
    ("google oauth secret", r"GOCSPX-[A-Za-z0-9_-]{20,}"),
    ("google oauth token", r"ya29\.[A-Za-z0-9_-]{20,}"),
    ("anthropic key", r"sk-ant-[A-Za-z0-9_-]{20,}"),
    ("openai key", r"sk-(?:(?:proj-|svcacct-)?[A-Za-z0-9_-]*[0-9][A-Za-z0-9_-]{24,}|[A-Za-z0-9]{20,})"),
    ("telegram token", r"[0-9]{8,10}:AA[A-Za-z0-9_-]{33}"),
    ("npm token", r"npm_[A-Za-z0-9]{36}"),
    ("pypi token", r"pypi-AgE[A-Za-z0-9_-]{40,}"),
    ("sendgrid key", r"SG\.[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{30,}"),
    ("docker token", r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{20,}"),
    ("digitalocean token", r"do[opr]_v1_[0-9a-f]{64}"),
    ("huggingface token", r"hf_[A-Za-z0-9]{30,}"),
    ("yandex key", r"AQVN[A-Za-z0-9_-]{35,}"),
    ("yandex token", r"y[0-3]_[A-Za-z0-9_-]{50,}"),
    ("twilio key", r"SK[0-9a-f]{32}\b"),
    ("age key", r"AGE-SECRET-KEY-1[0-9A-Z]{50,}"),
    ("shopify token", r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}"),
    ("grafana token", r"glsa_[A-Za-z0-9]{32}_[0-9a-f]{8}"),
    ("atlassian token", r"ATATT3[A-Za-z0-9_=-]{50,}"),
    ("linear key", r"lin_api_[A-Za-z0-9]{40}"),
    ("vault token", r"hv[sb]\.[A-Za-z0-9_-]{24,}"),
    ("password verifier", r"SCRAM-SHA-256\$[0-9]+:[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+:[A-Za-z0-9+/=]+"),
    ("password verifier", r"md5[0-9a-f]{32}\b"),
];

/// Strings of which every one of the tokens above holds at least one, for the quick look.
pub(super) const TOKEN_SIGNS: &str = r#"eyJ|AKIA|ASIA|gh[pousr]_|github_pat_|gl(?:pat|rt|dt|cbt|ptt)-|xox[abeoprs]-|hooks\.slack|[rs]k_live_|AIza|GOCSPX-|ya29\.|sk-|[0-9]:AA|npm_[A-Za-z0-9]|pypi-AgE|SG\.|dckr_[po]at|do[opr]_v1_|hf_[A-Za-z0-9]|AQVN|\by[0-3]_|SK[0-9a-f]{32}|AGE-SECRET|hv[sb]\.|shp[acps][ats]_|glsa_|ATATT3|lin_api_|SCRAM-SHA-256\$|md5[0-9a-f]{32}|[Bb]earer\s|[Bb]asic\s|auth"\s{0,4}:|_auth\s?=|PRIVATE KEY|redis-cli|sshpass|curl["\s]"#;

static ALL: LazyLock<Regex> = LazyLock::new(|| {
    let all: Vec<&str> = TOKENS.iter().map(|(_, e)| *e).collect();
    super::regex(&format!(r"\b(?:{})", all.join("|")))
});
static EACH: LazyLock<Vec<(&'static str, Regex)>> =
    LazyLock::new(|| TOKENS.iter().map(|(kind, e)| (*kind, super::regex(&format!(r"\A(?:{e})")))).collect());
static HEADER: LazyLock<Regex> = LazyLock::new(|| {
    super::regex(
        r#"\b(?:(?:[Bb]earer|[Bb]asic)\s{1,4}|_?auth"\s{0,4}:\s{0,4}"|_auth\s?=\s?)([A-Za-z0-9._~+/=-]{8,})"#,
    )
});
/// Options of tools that take a secret and do not say so.
static OPTIONS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let gap = r#"(?:\\?["'],?\s*\\?["']|\s+["']?|["'])"#;
    let word = r#"([^\s"'\\]+)"#;
    let options = [
        format!(r#"\bredis-cli\b[^|;&\r\n]*?[\s"']-a{gap}{word}"#),
        format!(r"\bsshpass{gap}-p{gap}?{word}"),
        format!(r#"\bcurl\b[^|;\r\n]*?[\s"'](?:-u|--user){gap}[^\s"':]+:{word}"#),
    ];
    options.iter().map(|o| super::regex(o)).collect()
});
static KEY_BEGIN: LazyLock<Regex> =
    LazyLock::new(|| super::regex(r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"));
static KEY_END: LazyLock<Regex> =
    LazyLock::new(|| super::regex(r"-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"));

/// Start, end and kind of each token.
pub(super) fn tokens(text: &[u8]) -> Vec<(usize, usize, &'static str)> {
    let kind = |m: &[u8]| EACH.iter().find(|(_, e)| e.is_match(m)).map_or("token", |(kind, _)| *kind);
    ALL.find_iter(text).map(|m| (m.start(), m.end(), kind(m.as_bytes()))).collect()
}

/// What follows `Bearer` or `Basic` and is not a word of prose.
pub(super) fn headers(text: &[u8]) -> Vec<(usize, usize)> {
    let secret =
        |m: &[u8]| m.iter().skip(1).any(|b| b.is_ascii_digit() || b.is_ascii_uppercase() || *b == b'=');
    HEADER
        .captures_iter(text)
        .filter_map(|c| c.get(1))
        .filter(|m| secret(m.as_bytes()))
        .map(|m| (m.start(), m.end()))
        .collect()
}

/// `redis-cli -a abc`, `sshpass -p abc`, `curl -u user:abc`.
pub(super) fn options(text: &[u8]) -> Vec<(usize, usize)> {
    let found = OPTIONS.iter().flat_map(|o| o.captures_iter(text)).filter_map(|c| c.get(1));
    let secrets = found.filter(|m| !super::is_blank(m.as_bytes()) && !is_reference(m.as_bytes()));
    secrets.map(|m| (m.start(), m.end())).collect()
}

/// A private key in one line or the first line of one: start, and end if it ends here.
pub(super) fn private_key(text: &[u8]) -> Option<(usize, Option<usize>)> {
    let begin = KEY_BEGIN.find(text)?;
    Some((begin.start(), private_key_end(&text[begin.end()..]).map(|end| begin.end() + end)))
}

/// The end of a private key.
pub(super) fn private_key_end(text: &[u8]) -> Option<usize> {
    KEY_END.find(text).map(|m| m.end())
}

/// Can this line stand inside a private key?
pub(super) fn inside_private_key(line: &[u8]) -> bool {
    static INSIDE: LazyLock<Regex> = LazyLock::new(|| {
        super::regex(r"\A\s*(?:[A-Za-z0-9+/=]{0,120}|(?:Proc-Type|DEK-Info|Version|Comment):.*)\s*\z")
    });
    INSIDE.is_match(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_sign_for_the_quick_look() {
        let signs = super::super::regex(TOKEN_SIGNS);
        for sample in super::super::tests::tokens() {
            let found = tokens(sample.as_bytes());
            assert_eq!(found.len(), 1, "{sample}");
            assert_eq!((found[0].0, found[0].1), (0, sample.len()), "{sample}");
            assert!(signs.is_match(sample.as_bytes()), "{sample}");
        }
        let kinds: std::collections::BTreeSet<_> =
            super::super::tests::tokens().iter().flat_map(|s| tokens(s.as_bytes())).map(|t| t.2).collect();
        let all: std::collections::BTreeSet<_> = TOKENS.iter().map(|t| t.0).collect();
        assert_eq!(kinds, all);
    }

    #[test]
    fn words_that_begin_like_tokens_stay() {
        for text in [
            "task-0123456789",
            "eyJ.a.b",
            "AKIA",
            "risk-assessment-of-the-whole-warehouse",
            "sk-learn",
            "md5sum",
            "sha256:0123456789abcdef0123456789abcdef",
            "SCRAM-SHA-256",
            "SK",
            "glpat-",
            "3.14159:AAA",
        ] {
            assert!(tokens(text.as_bytes()).is_empty(), "{text}");
        }
    }

    #[test]
    fn authorization_headers_but_not_prose() {
        let masked = |text: &str| {
            headers(text.as_bytes()).iter().map(|(s, e)| text[*s..*e].to_string()).collect::<Vec<_>>()
        };
        assert_eq!(masked("authorization: Bearer abcDEF123456"), ["abcDEF123456"]);
        assert_eq!(masked("-H 'Authorization: Basic dXNlcjpwYXNz'"), ["dXNlcjpwYXNz"]);
        assert!(masked("Bearer authentication and Basic Authentication are off").is_empty());
        assert!(masked("Bearer short").is_empty());
    }

    #[test]
    fn private_keys_are_seen_from_their_first_line_to_their_last() {
        assert_eq!(private_key(b"x -----BEGIN PRIVATE KEY-----"), Some((2, None)));
        let one = "k=-----BEGIN RSA PRIVATE KEY-----¦MII¦-----END RSA PRIVATE KEY-----¦".replace('¦', r"\n");
        assert_eq!(private_key(one.as_bytes()), Some((2, Some(one.len() - 2))));
        assert_eq!(private_key(b"-----BEGIN CERTIFICATE-----"), None);
        assert_eq!(private_key(b"-----BEGIN PUBLIC KEY-----"), None);
        assert!(inside_private_key(b"  MIIEvQIBADANBg+/=") && inside_private_key(b"Proc-Type: 4,ENCRYPTED"));
        assert!(!inside_private_key(b"starting the server"));
    }
}
