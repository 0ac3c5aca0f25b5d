//! The secrets of this stand, known by value, in every spelling in which output
//! can carry them.

use super::rules::Rules;
use super::{Learned, encode, is_blank, keys, positions, shapes, urls};
use regex::bytes::Regex;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Shorter values occur by accident.
const SHORTEST: usize = 8;
/// Longer values are data: to look for them would take longer than anything else.
const LONGEST: usize = 256 << 10;
/// What people use as passwords and logs use as words.
const COMMON: [&str; 48] = [
    "12345678",
    "123456789",
    "1234567890",
    "abcdefgh",
    "abcd1234",
    "abc12345",
    "administrator",
    "anonymous",
    "backend",
    "changeit",
    "changeme",
    "change_me",
    "change-me",
    "changethis",
    "database",
    "default",
    "developer",
    "development",
    "disabled",
    "enabled",
    "example",
    "foxproflow",
    "frontend",
    "guestguest",
    "iloveyou",
    "letmein1",
    "localhost",
    "mypassword",
    "passw0rd",
    "password",
    "password1",
    "password123",
    "placeholder",
    "postgres",
    "postgresql",
    "production",
    "qwerty12",
    "qwerty123",
    "qwertyuiop",
    "rabbitmq",
    "redacted",
    "required",
    "secretkey",
    "sunshine",
    "superuser",
    "testtest",
    "test1234",
    "undefined",
];

#[derive(Default)]
pub(super) struct Values {
    spared: BTreeSet<String>,
    weak: BTreeMap<String, BTreeSet<String>>,
    strong: BTreeMap<String, BTreeSet<String>>,
    /// Pairs learned already: containers are asked for again and again.
    seen: HashMap<(String, String), Learned>,
    matcher: Option<Arc<Matcher>>,
    /// Keys of values that were not looked at.
    too_long: BTreeSet<String>,
}

impl Values {
    pub(super) fn spare(&mut self, names: &[&str]) {
        for name in names.iter().filter(|n| !n.is_empty()) {
            self.spared.insert(name.to_lowercase());
            // Learned before it was known to be a name.
            let keys = self.strong.iter().filter(|(v, _)| v.to_lowercase() == name.to_lowercase());
            for (value, keys) in keys.map(|(v, k)| (v.clone(), k.clone())).collect::<Vec<_>>() {
                self.strong.remove(&value);
                self.matcher = None;
                self.weak.entry(value).or_default().extend(keys);
            }
        }
    }

    pub(super) fn learn(&mut self, key: &str, value: &str, rules: &Rules) -> Learned {
        let pair = (key.to_string(), value.to_string());
        if let Some(learned) = self.seen.get(&pair) {
            return *learned;
        }
        let learned = self.learn_new(key, value, rules);
        self.seen.insert(pair, learned);
        learned
    }

    fn learn_new(&mut self, key: &str, value: &str, rules: &Rules) -> Learned {
        let value = value.trim();
        let mut learned = Learned::NotSensitive;
        if is_blank(value.as_bytes()) {
            return learned;
        }
        if value.len() > LONGEST {
            self.too_long.insert(name(key));
            return learned;
        }
        // A directory is where something is, whatever the name of its variable.
        let path = std::path::Path::new(value);
        if path.is_absolute() && path.is_dir() {
            return learned;
        }
        let json = value.starts_with(['{', '[']).then(|| serde_json::from_str(value).ok()).flatten();
        let sensitive = rules.keys.is_sensitive(key) && !keys::names_a_way(key, value.as_bytes());
        if sensitive && (json.is_none() || !value.contains('\n')) {
            learned = self.keep(key, value);
        }
        if sensitive && json.is_none() && keys::holds_login(key) {
            // `user:password`, or several with commas between them.
            for login in [value].into_iter().chain(value.split(',')) {
                let password = login.split_once(':').map_or("", |(_, password)| password);
                learned = learned.max(self.keep(key, password));
            }
        }
        for (start, end) in urls::secrets(value.as_bytes()) {
            let secret = value.get(start..end).unwrap_or_default();
            learned = learned.max(self.keep(key, secret)).max(self.keep(key, &encode::unpercent(secret)));
        }
        for (start, end, _) in shapes::tokens(value.as_bytes()) {
            learned = learned.max(self.keep(key, value.get(start..end).unwrap_or_default()));
        }
        match json {
            Some(json) => learned = learned.max(self.learn_json(key, &json, rules)),
            None => {
                for (inner, secret) in positions::named(value, rules) {
                    learned = learned.max(self.keep(inner, secret));
                }
            }
        }
        learned
    }

    fn learn_json(&mut self, key: &str, json: &serde_json::Value, rules: &Rules) -> Learned {
        match json {
            serde_json::Value::String(text) if !text.starts_with(['{', '[']) => self.learn(key, text, rules),
            serde_json::Value::Array(items) => {
                items.iter().map(|v| self.learn_json(key, v, rules)).max().unwrap_or_default()
            }
            serde_json::Value::Object(map) => {
                map.iter().map(|(k, v)| self.learn_json(k, v, rules)).max().unwrap_or_default()
            }
            _ => Learned::NotSensitive,
        }
    }

    /// Keeps one secret; a value of several lines line by line, as output has it.
    fn keep(&mut self, key: &str, value: &str) -> Learned {
        if is_blank(value.as_bytes()) {
            return Learned::NotSensitive;
        }
        let key = name(key);
        if self.is_common(value) {
            self.weak.entry(value.into()).or_default().insert(key);
            return Learned::Weak;
        }
        let known = self.strong.len();
        let lines = value.lines().map(str::trim).filter(|l| !l.starts_with("-----") && !self.is_common(l));
        for line in lines.map(String::from).collect::<Vec<_>>() {
            self.strong.entry(line).or_default().insert(key.clone());
        }
        if value.contains('\n') {
            self.strong.entry(value.into()).or_default().insert(key);
        }
        if self.strong.len() > known {
            self.matcher = None;
        }
        Learned::Strong
    }

    fn is_common(&self, value: &str) -> bool {
        let lower = value.to_lowercase();
        let chars = value.chars().count();
        let digits = value.bytes().all(|b| b.is_ascii_digit());
        chars < SHORTEST
            || (digits && chars < 12)
            || value.chars().all(|c| value.starts_with(c))
            || COMMON.contains(&lower.as_str())
            || self.spared.contains(&lower)
            || (value.starts_with("__") && value.ends_with("__"))
    }

    pub(super) fn weak_keys(&self) -> Vec<String> {
        self.weak.values().flatten().cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }

    pub(super) fn too_long_keys(&self) -> Vec<String> {
        self.too_long.iter().cloned().collect()
    }

    pub(super) fn count(&self) -> usize {
        self.strong.len()
    }

    /// The finder of everything learned so far.
    pub(super) fn matcher(&mut self) -> Arc<Matcher> {
        let strong = &self.strong;
        self.matcher.get_or_insert_with(|| Arc::new(Matcher::new(strong))).clone()
    }
}

/// A key as a label: no more than a name.
fn name(key: &str) -> String {
    let name: String =
        key.chars().filter(|c| c.is_ascii_alphanumeric() || "_.-".contains(*c)).take(80).collect();
    if name.is_empty() { "value".into() } else { name }
}

/// Finds known secrets.
pub(super) struct Matcher {
    regex: Option<Regex>,
    known: HashMap<Vec<u8>, Arc<Known>>,
    /// Bytes of the longest spelling.
    pub(super) longest: usize,
}

struct Known {
    keys: Vec<String>,
    /// The core of a base64 text: its neighbours belong to it.
    core: bool,
}

impl Matcher {
    fn new(strong: &BTreeMap<String, BTreeSet<String>>) -> Matcher {
        let mut known: HashMap<Vec<u8>, Arc<Known>> = HashMap::new();
        for (value, keys) in strong {
            let keys: Vec<String> = keys.iter().cloned().collect();
            let plain = Arc::new(Known { keys: keys.clone(), core: false });
            let core = Arc::new(Known { keys, core: true });
            for spelling in spellings(value) {
                known.insert(spelling, plain.clone());
            }
            let cores = encode::base64_cores(value.as_bytes());
            for base64 in cores.into_iter().chain(encode::base64_pieces(value.as_bytes())) {
                known
                    .entry(base64.replace('+', "-").replace('/', "_").into_bytes())
                    .or_insert_with(|| core.clone());
                known.entry(base64.into_bytes()).or_insert_with(|| core.clone());
            }
        }
        // Longest first: the first alternative that fits wins.
        let mut all: Vec<&Vec<u8>> = known.keys().collect();
        all.sort_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
        let longest = all.first().map_or(0, |v| v.len());
        let regex = (!all.is_empty()).then(|| {
            let escaped: Vec<String> = all.iter().map(|v| literal(v)).collect();
            let mut builder = regex::bytes::RegexBuilder::new(&escaped.join("|"));
            builder.unicode(false).size_limit(512 << 20).dfa_size_limit(32 << 20);
            builder.build().unwrap_or_else(|why| panic!("known values: {}", without_values(&why)))
        });
        Matcher { regex, known, longest }
    }

    pub(super) fn first(&self, text: &[u8], from: usize) -> Option<usize> {
        self.regex.as_ref()?.find_at(text, from).map(|m| m.start())
    }

    /// Start, end and keys of every known secret, also of those that overlap.
    pub(super) fn find<'m>(&'m self, text: &[u8]) -> Vec<(usize, usize, &'m [String])> {
        let mut found = Vec::new();
        let mut from = 0;
        while let Some(m) = self.regex.as_ref().and_then(|r| r.find_at(text, from)) {
            from = m.start() + 1;
            let Some(known) = self.known.get(m.as_bytes()) else { continue };
            let (mut start, mut end) = (m.start(), m.end());
            if known.core {
                let base64 = |b: &u8| b.is_ascii_alphanumeric() || b"+/=_-".contains(b);
                start -= text[..start].iter().rev().take(4096).take_while(|b| base64(b)).count();
                end += text[end..].iter().take(4096).take_while(|b| base64(b)).count();
                from = end;
            }
            found.push((start, end, known.keys.as_slice()));
        }
        found
    }
}

/// Everything but base64.
fn spellings(value: &str) -> Vec<Vec<u8>> {
    let json = encode::json(value);
    let texts = [
        value.to_string(),
        encode::percent(value, true),
        encode::percent(value, false),
        encode::percent(value, true).replace("%20", "+"),
        encode::percent(value, true).replace("%2F", "/"),
        // Compose doubles the dollar, shells and SQL the quote, XML and HTML have names for it.
        value.replace('$', "$$"),
        value.replace('\'', "'\\''"),
        value.replace('\'', "''"),
        value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;"),
        encode::json(&json),
        encode::json_of_go(&json),
        encode::json_of_python(&json),
        encode::percent(&encode::percent(value, true), true),
        encode::repr(value),
        encode::repr_bytes(value),
        encode::hex(value, true),
        encode::hex(value, false),
        json,
    ];
    let mut all: Vec<Vec<u8>> = texts.into_iter().map(String::into_bytes).collect();
    all.push(encode::utf16(value));
    all.retain(|v| !v.contains(&b'\n'));
    all.sort();
    all.dedup();
    all
}

/// An expression that matches these bytes.
fn literal(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(*b).to_string() } else { format!("\\x{b:02x}") })
        .collect()
}

/// The error of the builder would quote the expression, which is made of secrets.
fn without_values(why: &regex::Error) -> &'static str {
    match why {
        regex::Error::CompiledTooBig(_) => "too many for one expression",
        _ => "no valid expression",
    }
}
