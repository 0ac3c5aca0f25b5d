//! Known secret values, in every form in which they are written.

use super::Learned;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

#[derive(Default)]
pub(super) struct Values {
    /// Every written form of every strong value, and its key.
    forms: BTreeMap<String, String>,
    weak: BTreeSet<String>,
    spared: BTreeSet<String>,
    /// None: not built since something was learned. Some(None): nothing to match.
    matcher: Option<Option<Arc<Regex>>>,
}

/// A shorter value would be found in ordinary text.
const SHORTEST: usize = 8;

/// Values that stand in ordinary text, whatever they are used for.
const COMMON: &[&str] = &[
    "password",
    "passw0rd",
    "changeme",
    "change_me",
    "postgres",
    "postgresql",
    "foxproflow",
    "localhost",
    "redis123",
    "username",
    "administrator",
    "development",
    "production",
    "disabled",
    "required",
    "optional",
    "trust",
    "example",
    "undefined",
    "12345678",
    "123456789",
    "1234567890",
    "qwertyui",
    "letmein1",
    "secret123",
    "password1",
    "testtest",
    "scram-sha-256",
    "anonymous",
    "localdomain",
    "__generate__",
];

static URL: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"[A-Za-z][A-Za-z0-9+.\-]*://[^\s:/@]*:([^\s@]+)@").ok());

impl Values {
    pub(super) fn spare(&mut self, names: &[&str]) {
        self.spared.extend(names.iter().map(|n| (*n).to_string()));
        for name in names {
            self.forms.retain(|form, _| form != name);
        }
        self.matcher = None;
    }

    pub(super) fn learn(&mut self, key: &str, value: &str, sensitive: bool) -> Learned {
        let value = value.trim();
        let mut learned = Learned::NotSensitive;
        if let Some(found) = URL.as_ref().and_then(|u| u.captures(value)).and_then(|c| c.get(1)) {
            let decoded = percent_decode_str(found.as_str()).decode_utf8_lossy().into_owned();
            learned = self.keep(key, found.as_str());
            if decoded != found.as_str() {
                self.keep(key, &decoded);
            }
        } else if sensitive {
            learned = self.keep(key, value);
        }
        learned
    }

    fn keep(&mut self, key: &str, value: &str) -> Learned {
        if value.is_empty()
            || is_reference(value)
            || ["true", "false", "yes", "no", "null", "none"].contains(&value)
        {
            return Learned::NotSensitive;
        }
        // A path says where a secret lies.
        if value.starts_with('/') && std::path::Path::new(value).exists() {
            return Learned::NotSensitive;
        }
        let lower = value.to_lowercase();
        let one_char = value.chars().all(|c| value.starts_with(c));
        if value.chars().count() < SHORTEST
            || COMMON.contains(&lower.as_str())
            || self.spared.contains(value)
            || one_char
        {
            self.weak.insert(key.to_string());
            return Learned::Weak;
        }
        for form in forms(value) {
            self.forms.entry(form).or_insert_with(|| key.to_string());
        }
        self.matcher = None;
        Learned::Strong
    }

    pub(super) fn weak_keys(&self) -> Vec<String> {
        self.weak.iter().cloned().collect()
    }

    /// The matcher, where it is up to date.
    pub(super) fn ready(&self) -> Option<Option<Arc<Regex>>> {
        self.matcher.clone()
    }

    pub(super) fn matcher(&mut self) -> Option<Arc<Regex>> {
        let built = self.pattern().and_then(|p| Regex::new(&p).ok()).map(Arc::new);
        self.matcher = Some(built.clone());
        built
    }

    /// The longest first: a value may contain another.
    fn pattern(&self) -> Option<String> {
        let mut all: Vec<&String> = self.forms.keys().collect();
        all.sort_by_key(|f| std::cmp::Reverse(f.len()));
        let all: Vec<String> = all.into_iter().map(|f| regex::escape(f)).collect();
        (!all.is_empty()).then(|| all.join("|"))
    }

    pub(super) fn scanner(&mut self) -> Scanner {
        Scanner {
            matcher: self.pattern().and_then(|p| regex::bytes::Regex::new(&p).ok()),
            keep: self.forms.keys().map(String::len).max().unwrap_or(0),
            forms: self.forms.clone(),
            pending: Vec::new(),
            found: BTreeSet::new(),
        }
    }
}

/// `${NAME}`, `<your password>`, `%s`: stands for a value.
pub(super) fn is_reference(value: &str) -> bool {
    let value = value.trim_matches(['"', '\'', '\\']);
    value.is_empty()
        || value.starts_with(['$', '<', '{', '%', '*', '[', '`'])
        || value.starts_with("__")
        || value.to_lowercase().starts_with("xxx")
}

/// The value, and how it is written in URLs, JSON and base64.
fn forms(value: &str) -> Vec<String> {
    let mut forms = vec![value.to_string()];
    forms.push(utf8_percent_encode(value, NON_ALPHANUMERIC).to_string());
    forms.extend(serde_json::to_string(value).ok().map(|j| j[1..j.len() - 1].to_string()));
    for engine in [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD] {
        forms.push(engine.encode(value));
    }
    // Inside a longer text that was encoded as a whole: without the characters at both ends that
    // its neighbours share.
    for before in 1..3usize {
        let mut bytes = vec![0u8; before];
        bytes.extend_from_slice(value.as_bytes());
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let encoded = engine.encode(&bytes);
            let tail = usize::from(bytes.len() % 3 != 0);
            if encoded.len() > 12 {
                forms.push(encoded[before + 1..encoded.len() - tail].to_string());
            }
        }
    }
    if !value.len().is_multiple_of(3) {
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let encoded = engine.encode(value);
            forms.push(encoded[..encoded.len() - 1].to_string());
        }
    }
    forms.retain(|f| f.len() >= SHORTEST);
    forms.sort();
    forms.dedup();
    forms
}

/// Finds known values in bytes that come in pieces.
pub struct Scanner {
    matcher: Option<regex::bytes::Regex>,
    keep: usize,
    forms: BTreeMap<String, String>,
    pending: Vec<u8>,
    found: BTreeSet<String>,
}

impl Scanner {
    pub fn push(&mut self, bytes: &[u8]) {
        let Some(matcher) = &self.matcher else { return };
        self.pending.extend_from_slice(bytes);
        for hit in matcher.find_iter(&self.pending) {
            let form = String::from_utf8_lossy(hit.as_bytes());
            self.found.extend(self.forms.get(form.as_ref()).cloned());
        }
        let over = self.pending.len().saturating_sub(self.keep);
        self.pending.drain(..over);
    }

    /// The keys whose values were there, never the values.
    pub fn finish(self) -> Vec<String> {
        self.found.into_iter().collect()
    }
}
