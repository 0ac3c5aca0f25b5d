//! What was learned: strong values in all their spellings, weak ones, and
//! the compiled patterns that find them.

use super::hit::{Hit, MASK};
use super::positions::Positions;
use super::{Learned, forms, keys, rows, shapes};
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

/// A shorter value would be found in ordinary text.
const SHORTEST: usize = 8;
/// The part of a line that `Lines` keeps back is longer than this: no spelling may be longer.
pub(super) const LONGEST: usize = 4096;

#[derive(Default)]
pub(super) struct Known {
    keys: Vec<String>,
    patterns: Vec<Regex>,
    spared: BTreeSet<String>,
    /// Strong values, and the names they go by.
    strong: BTreeMap<String, BTreeSet<String>>,
    weak: BTreeMap<String, BTreeSet<String>>,
    compiled: Option<Arc<Compiled>>,
}

/// The patterns of one state of what is known.
pub(super) struct Compiled {
    /// Every spelling of every strong value.
    pub values: Option<Regex>,
    /// Spelling to names; for the scanner.
    pub names: BTreeMap<String, BTreeSet<String>>,
    pub longest: usize,
    pub weak: Vec<String>,
    pub positions: Positions,
    pub patterns: Vec<Regex>,
}

impl Known {
    /// With further names of secrets, in lower case, and further patterns.
    pub(super) fn new(keys: Vec<String>, patterns: Vec<Regex>) -> Known {
        Known { keys, patterns, ..Known::default() }
    }

    pub(super) fn spare(&mut self, names: &[&str]) {
        self.spared.extend(names.iter().map(|n| (*n).to_string()));
        for name in names {
            if let Some(keys) = self.strong.remove(*name) {
                self.weak.insert((*name).into(), keys);
            }
        }
        self.compiled = None;
    }

    pub(super) fn learn(&mut self, key: &str, value: &str) -> Learned {
        let mut learned = Learned::NotSensitive;
        let mut in_url = false;
        for found in shapes::URL.captures_iter(value) {
            if let Some(pass) = found.name("pass") {
                in_url = true;
                let name = found.name("scheme").map_or_else(|| key.into(), |s| format!("{key} ({} URL)", s.as_str()));
                let plain = forms::percent_decoded(pass.as_str());
                learned = self.keep(&name, pass.as_str());
                if plain != pass.as_str() {
                    self.keep(&name, &plain);
                }
            }
        }
        if in_url || !keys::sensitive(key, &self.keys) || keys::about_files(key, value) {
            return learned;
        }
        self.keep(key, value.trim())
    }

    fn keep(&mut self, key: &str, value: &str) -> Learned {
        if keys::harmless(value) {
            return Learned::NotSensitive;
        }
        let strong = value.chars().count() >= SHORTEST && !keys::common(value) && !self.spared.contains(value);
        let map = if strong { &mut self.strong } else { &mut self.weak };
        if map.entry(value.into()).or_default().insert(key.into()) {
            self.compiled = None;
        }
        if strong { Learned::Strong } else { Learned::Weak }
    }

    pub(super) fn weak_keys(&self) -> Vec<String> {
        let names: BTreeSet<&String> = self.weak.values().flatten().collect();
        names.into_iter().cloned().collect()
    }

    pub(super) fn ready(&self) -> Option<Arc<Compiled>> {
        self.compiled.clone()
    }

    pub(super) fn compile(&mut self) -> Arc<Compiled> {
        if let Some(compiled) = &self.compiled {
            return Arc::clone(compiled);
        }
        let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (value, keys) in &self.strong {
            // A value of many lines turns up line by line.
            let lines = value.lines().map(str::trim).filter(|l| l.len() >= SHORTEST && !l.starts_with("-----"));
            for part in std::iter::once(value.as_str()).chain(lines) {
                for form in forms::all(part).into_iter().filter(|f| f.len() <= LONGEST) {
                    names.entry(form).or_default().extend(keys.iter().cloned());
                }
            }
        }
        let mut spellings: Vec<&str> = names.keys().map(String::as_str).collect();
        spellings.sort_by_key(|s| std::cmp::Reverse(s.len()));
        let any = spellings.iter().map(|s| regex::escape(s)).collect::<Vec<_>>().join("|");
        let values = (!any.is_empty()).then(|| super::hit::builtin(&any));
        let mut weak: Vec<String> = self.weak.keys().cloned().collect();
        weak.sort_by_key(|w| std::cmp::Reverse(w.len()));
        let compiled = Arc::new(Compiled {
            longest: spellings.first().map_or(0, |s| s.len()),
            values,
            weak,
            positions: Positions::new(&self.keys),
            patterns: self.patterns.clone(),
            names,
        });
        self.compiled = Some(Arc::clone(&compiled));
        compiled
    }
}

/// Anything at all that could concern a line, but for known values. One pass over the text.
static INTEREST: LazyLock<Regex> = LazyLock::new(|| {
    let cores = super::positions::CORES;
    super::hit::builtin(&format!(
        r#"://[^\s/@"]*:|(?-u:eyJ|AKIA|ASIA|gh[pousr]_|github_pat_|gl[a-z]{{2,3}}-|xox[a-z]-|xapp-|hooks\.slack|sk-|[rs]k_|AIza|ya29|npm_|pypi-|dckr_pat|hf_|:AA|SG\.|SCRAM-SHA|\$2[aby]\$|\$argon2|AGE-SECRET|-----BEGIN)|{}|(?i-u:(?:{cores})[a-z0-9_.\-]*(?:\\*["'`]\]?)?[ \t]*[:=]|authorization|bearer[ \t]|basic[ \t]|cookie|password[ \t]|identified by|redis-cli|sshpass|curl[ \t]|login[ \t]|requirepass|masterauth|--?[a-z0-9_\-]*(?:{cores})|\$\{{)"#,
        rows::INTEREST
    ))
});

impl Compiled {
    /// Where, from `at` on, the first thing stands that could concern a line.
    pub(super) fn next(&self, text: &str, at: usize) -> Option<usize> {
        let own = std::iter::once(&*INTEREST).chain(&self.values).chain(&self.patterns);
        let own = own.chain((!self.positions.plain()).then_some(&self.positions.key));
        own.filter_map(|regex| regex.find_at(text, at).map(|m| m.start())).min()
    }

    /// Every place of a line that is to be masked, but for row values.
    pub(super) fn hits(&self, line: &str) -> Vec<Hit> {
        let mut hits = Vec::new();
        if let Some(values) = &self.values {
            hits.extend(values.find_iter(line).map(|m| Hit::new(m.start(), m.start(), m.end(), MASK)));
        }
        for pattern in &self.patterns {
            for found in pattern.captures_iter(line) {
                if let (Some(whole), Some(part)) = (found.get(0), found.get(1).or(found.get(0))) {
                    let hit = Hit::new(whole.start(), part.start(), part.end(), MASK);
                    hits.push(Hit { to: whole.end(), ..hit });
                }
            }
        }
        self.positions.find(line, &self.weak, &mut hits);
        shapes::find(line, &mut hits);
        hits
    }
}
