//! The layers, in their order, and where each value came from.

use super::{FILE, Values, envfile};
use crate::error::{Context, Fault, Result};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What the command line says of the configuration.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Dotted key and value, e.g. `stand.project`.
    pub values: Vec<(String, String)>,
    /// Another file than ops/xtask.toml; it must exist.
    pub file: Option<PathBuf>,
}

/// The resolved configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The checkout.
    pub repo: PathBuf,
    pub values: Values,
    /// Dotted key to layer, for every key that is not built-in.
    pub origins: BTreeMap<String, String>,
}

impl std::ops::Deref for Config {
    type Target = Values;
    fn deref(&self) -> &Values {
        &self.values
    }
}

/// Variables that look like configuration and belong to other scripts.
const NOT_OURS: [&str; 3] = ["FF_TEMP_DB", "FF_PG_DB", "FF_REPO"];

/// Resolves the configuration of the checkout at `repo`. `environment` is the
/// process's own, handed in so that tests can give another.
pub fn load(repo: &Path, environment: &[(String, String)], overrides: &Overrides) -> Result<Config> {
    let mut tree = to_map(&Values::default())?;
    let known = flatten(&tree);
    let mut origins = BTreeMap::new();

    // Compose itself takes the project's name from `.env`.
    if let Ok(pairs) = envfile::read(&repo.join(".env"))
        && let Some((_, name)) = pairs.iter().find(|(k, v)| k == "COMPOSE_PROJECT_NAME" && !v.is_empty())
    {
        set(&mut tree, "stand.project", Value::String(name.clone()));
        origins.insert("stand.project".into(), ".env".into());
    }
    let file = overrides.file.clone().unwrap_or_else(|| repo.join(FILE));
    if overrides.file.is_some() || file.exists() {
        let layer = read_file(&file, &known)?;
        for (key, value) in flatten(&layer) {
            set(&mut tree, &key, value);
            origins.insert(key, file.strip_prefix(repo).unwrap_or(&file).display().to_string());
        }
    }
    for (key, name, text) in from_environment(environment, &known) {
        let value = typed(&known, &key, &text, &format!("environment variable {name}"))?;
        set(&mut tree, &key, value);
        origins.insert(key, format!("environment {name}"));
    }
    for (key, text) in &overrides.values {
        let value = typed(&known, key, text, "the command line")?;
        set(&mut tree, key, value);
        origins.insert(key.clone(), "command line".into());
    }
    let values: Values = serde_json::from_value(Value::Object(tree)).map_err(|error| {
        Fault::usage(format!("{} does not fit", file.display()))
            .why(error.to_string())
            .remedy("compare it with ops/xtask.sample.toml")
    })?;
    check(&values)?;
    Ok(Config { repo: repo.into(), values, origins })
}

fn check(values: &Values) -> Result<()> {
    let one_of = |key: &str, value: &str, allowed: &[&str]| -> Result<()> {
        if allowed.contains(&value) {
            return Ok(());
        }
        let fault = Fault::usage(format!("{key} = \"{value}\" is not possible"));
        Err(fault.remedy(format!("use one of: {}", allowed.join(", "))).into())
    };
    one_of("backup.engine", &values.backup.engine, &["auto", "pwsh", "native"])?;
    one_of("rollback.database", &values.rollback.database, &["always", "if-migrated"])?;
    if values.backup.compression > 9 {
        return Err(Fault::usage("backup.compression must be 0 to 9").into());
    }
    let waives = !values.rollback.enabled || values.rollback.database != "always";
    if waives && values.rollback.reason.trim().is_empty() {
        return Err(Fault::usage(
            "rollback.enabled = false and rollback.database = \"if-migrated\" need a reason",
        )
        .remedy("add rollback.reason = \"...\" beside it: it will stand in every summary")
        .into());
    }
    Ok(())
}

fn to_map<T: serde::Serialize>(value: &T) -> Result<Map<String, Value>> {
    match serde_json::to_value(value)? {
        Value::Object(map) => Ok(map),
        _ => Err(Fault::new("the configuration is not a table").into()),
    }
}

/// `section.key` to value; lists and tables below that are values.
fn flatten(tree: &Map<String, Value>) -> BTreeMap<String, Value> {
    let mut flat = BTreeMap::new();
    for (section, keys) in tree {
        for (key, value) in keys.as_object().into_iter().flatten() {
            flat.insert(format!("{section}.{key}"), value.clone());
        }
    }
    flat
}

fn set(tree: &mut Map<String, Value>, key: &str, value: Value) {
    if let Some((section, key)) = key.split_once('.')
        && let Some(Value::Object(keys)) = tree.get_mut(section)
    {
        keys.insert(key.into(), value);
    }
}

fn read_file(file: &Path, known: &BTreeMap<String, Value>) -> Result<Map<String, Value>> {
    let text = std::fs::read_to_string(file)
        .map_err(|e| Fault::usage(format!("{} cannot be read", file.display())).why(e.to_string()))?;
    let table: toml::Table = toml::from_str(text.trim_start_matches('\u{feff}'))
        .map_err(|e| Fault::usage(format!("{} is not TOML", file.display())).why(e.to_string()))?;
    let layer = to_map(&table).with_context(|| format!("read {}", file.display()))?;
    for (section, keys) in &layer {
        let sections = || known.keys().filter_map(|k| k.split('.').next());
        if !sections().any(|s| s == section) {
            return Err(unknown(file, section, sections()).into());
        }
        let Some(keys) = keys.as_object() else {
            return Err(Fault::usage(format!("{}: {section} must be a table", file.display()))
                .remedy(format!("write [{section}] on a line of its own"))
                .into());
        };
        for key in keys.keys() {
            let dotted = format!("{section}.{key}");
            if !known.contains_key(&dotted) {
                return Err(unknown(file, &dotted, known.keys().map(String::as_str)).into());
            }
        }
    }
    Ok(layer)
}

fn unknown<'a>(file: &Path, key: &str, known: impl Iterator<Item = &'a str>) -> Fault {
    let nearest = known.min_by_key(|k| strsim::damerau_levenshtein(k, key));
    let fault = Fault::usage(format!("{}: there is no `{key}`", file.display()));
    match nearest {
        Some(nearest) => fault.remedy(format!("did you mean `{nearest}`?")),
        None => fault,
    }
}

/// `FF_SECTION_KEY` for every key, and the names that other scripts already use.
fn from_environment(
    environment: &[(String, String)],
    known: &BTreeMap<String, Value>,
) -> Vec<(String, String, String)> {
    let named = [
        ("smoke.base_url", "API_BASE"),
        ("stand.project", "COMPOSE_PROJECT_NAME"),
        ("stand.project", "FF_COMPOSE_PROJECT"),
    ];
    let mut found = Vec::new();
    let mut take = |key: &str, name: &str| {
        if let Some((_, value)) = environment.iter().find(|(n, v)| n == name && !v.is_empty()) {
            found.push((key.to_string(), name.to_string(), value.clone()));
        }
    };
    // The last one wins: FF_COMPOSE_PROJECT before COMPOSE_PROJECT_NAME.
    for (key, name) in named {
        take(key, name);
    }
    for key in known.keys() {
        let name = format!("FF_{}", key.replace('.', "_").to_uppercase());
        if !NOT_OURS.contains(&name.as_str()) {
            take(key, &name);
        }
    }
    found
}

/// A text as the type that the key has: lists are split at commas.
fn typed(known: &BTreeMap<String, Value>, key: &str, text: &str, from: &str) -> Result<Value> {
    let bad = |what: &str| Fault::usage(format!("{from}: {key} must be {what}")).why(format!("`{text}`"));
    Ok(match known.get(key) {
        Some(Value::Bool(_)) => Value::Bool(text.parse().map_err(|_| bad("true or false"))?),
        Some(Value::Number(_)) => Value::from(text.parse::<u64>().map_err(|_| bad("a whole number"))?),
        Some(Value::Array(_)) => text.split(',').map(|p| Value::String(p.trim().into())).collect(),
        Some(Value::String(_)) => Value::String(text.into()),
        _ => return Err(Fault::usage(format!("{from}: there is no `{key}`")).into()),
    })
}
