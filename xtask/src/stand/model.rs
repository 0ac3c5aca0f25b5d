//! The resolved compose model: what `docker compose config --format json` says.

use super::containers::Port;
use crate::error::{Context, Result, bail};
use serde_json::{Map, Value};
use std::path::Path;

#[derive(Debug, Clone)]
pub struct Model {
    pub raw: Value,
}

/// A bind mount of a service.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Bind {
    pub source: String,
    pub target: String,
    pub read_only: bool,
}

impl Model {
    pub fn parse(bytes: &[u8]) -> Result<Model> {
        let raw: Value = serde_json::from_slice(bytes).context("not JSON")?;
        if !raw["services"].is_object() {
            bail!("no services");
        }
        Ok(Model { raw })
    }

    pub fn services(&self) -> Vec<String> {
        self.map().keys().cloned().collect()
    }

    pub fn has(&self, service: &str) -> bool {
        self.map().contains_key(service)
    }

    /// Services that are built from source.
    pub fn built(&self) -> Vec<String> {
        self.map().iter().filter(|(_, s)| s["build"].is_object()).map(|(name, _)| name.clone()).collect()
    }

    /// What a service depends on, directly.
    pub fn depends_on(&self, service: &str) -> Vec<String> {
        self.service(service)["depends_on"]
            .as_object()
            .map(|m| m.keys().cloned().collect())
            .unwrap_or_default()
    }

    /// The name of the image that a service runs: its `image:`, or compose's default name.
    pub fn image_name(&self, project: &str, service: &str) -> String {
        match self.service(service)["image"].as_str() {
            Some(name) => name.into(),
            None => format!("{project}-{service}"),
        }
    }

    pub fn environment(&self, service: &str) -> Vec<(String, String)> {
        let pairs = self.service(service)["environment"].as_object();
        pairs
            .into_iter()
            .flatten()
            // `$$` is how the model writes a literal `$`.
            .map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().replace("$$", "$")))
            .collect()
    }

    /// The service's command as words; empty when the image's own is used.
    pub fn command(&self, service: &str) -> Vec<String> {
        match &self.service(service)["command"] {
            Value::Array(words) => {
                words.iter().filter_map(Value::as_str).map(|w| w.replace("$$", "$")).collect()
            }
            Value::String(text) => text.split_whitespace().map(String::from).collect(),
            _ => Vec::new(),
        }
    }

    pub fn binds(&self, service: &str) -> Vec<Bind> {
        let volumes = self.service(service)["volumes"].as_array();
        volumes
            .into_iter()
            .flatten()
            .filter(|v| v["type"] == "bind")
            .map(|v| Bind {
                source: v["source"].as_str().unwrap_or_default().into(),
                target: v["target"].as_str().unwrap_or_default().into(),
                read_only: v["read_only"].as_bool().unwrap_or(false),
            })
            .collect()
    }

    /// Where a service mounts the checkout itself.
    pub fn checkout_target(&self, service: &str, repo: &Path) -> Option<String> {
        self.binds(service).into_iter().find(|b| Path::new(&b.source) == repo).map(|b| b.target)
    }

    /// The first TCP port that a service publishes.
    pub fn published(&self, service: &str) -> Option<Port> {
        let number = |v: &Value| match v {
            Value::String(text) => text.parse().ok(),
            Value::Number(n) => n.as_u64().and_then(|n| u16::try_from(n).ok()),
            _ => None,
        };
        let ports = self.service(service)["ports"].as_array()?;
        ports.iter().filter(|p| p["protocol"].as_str().is_none_or(|p| p == "tcp")).find_map(|p| {
            let host = p["host_ip"].as_str().unwrap_or_default().to_string();
            Some(Port { inside: number(&p["target"]).unwrap_or(0), host, port: number(&p["published"])? })
        })
    }

    /// Build context directory and Dockerfile of a service.
    pub fn build_context(&self, service: &str) -> Option<String> {
        self.service(service)["build"]["context"].as_str().map(String::from)
    }

    /// Every text in the model with the key it stands under: where secrets are looked for.
    pub fn texts(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        collect("", &self.raw, &mut found);
        found
    }

    /// Files whose whole content is a secret, and variables of whoever runs compose.
    pub fn secret_files(&self) -> Vec<String> {
        self.secrets("file")
    }
    pub fn secret_variables(&self) -> Vec<String> {
        self.secrets("environment")
    }
    fn secrets(&self, from: &str) -> Vec<String> {
        let all = self.raw["secrets"].as_object().into_iter().flatten();
        all.filter_map(|(_, s)| s[from].as_str().map(String::from)).collect()
    }

    fn map(&self) -> &Map<String, Value> {
        static EMPTY: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
        self.raw["services"].as_object().unwrap_or(&EMPTY)
    }

    fn service(&self, name: &str) -> &Value {
        &self.raw["services"][name]
    }
}

/// `--requirepass VALUE`: the word before a value is its key.
pub(super) fn option(before: &str) -> Option<&str> {
    before.starts_with('-').then(|| before.trim_start_matches('-'))
}

fn collect(key: &str, value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::String(text) => found.push((key.into(), text.replace("$$", "$"))),
        Value::Array(items) => {
            let mut before = "";
            for item in items {
                collect(option(before).unwrap_or(key), item, found);
                before = item.as_str().unwrap_or_default();
            }
        }
        Value::Object(map) => map.iter().for_each(|(k, v)| collect(k, v, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Model {
        let text = r#"{"name":"p","services":{
          "api":{"build":{"context":"/r"},"depends_on":{"postgres":{},"redis":{}},
                 "environment":{"A":"x$$y","B":null},
                 "ports":[{"target":8080,"published":"18080","host_ip":"127.0.0.1"}],
                 "volumes":[{"type":"bind","source":"/r","target":"/app"},{"type":"volume","source":"v","target":"/v"}]},
          "redis":{"image":"redis:7","command":["redis-server","--requirepass","s3cret-value"]}}}"#;
        Model::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn reads_services_ports_and_mounts() {
        let model = model();
        assert_eq!(model.services(), ["api", "redis"]);
        assert_eq!(model.built(), ["api"]);
        assert_eq!(model.depends_on("api"), ["postgres", "redis"]);
        let port = Port { inside: 8080, host: "127.0.0.1".into(), port: 18080 };
        assert_eq!(model.published("api"), Some(port));
        assert_eq!(model.published("redis"), None);
        assert_eq!(model.checkout_target("api", Path::new("/r")).as_deref(), Some("/app"));
        assert_eq!(model.image_name("p", "api"), "p-api");
        assert_eq!(model.image_name("p", "redis"), "redis:7");
        assert_eq!(model.environment("api")[0], ("A".into(), "x$y".into()));
    }

    #[test]
    fn a_password_in_a_command_is_found_under_its_option() {
        assert!(model().texts().contains(&("requirepass".into(), "s3cret-value".into())));
    }

    #[test]
    fn secrets_of_compose_are_named() {
        let text = r#"{"services":{},"secrets":{"a":{"file":"/r/a"},"b":{"environment":"B"},"c":{"external":true}}}"#;
        let model = Model::parse(text.as_bytes()).unwrap();
        assert_eq!((model.secret_files(), model.secret_variables()), (vec!["/r/a".into()], vec!["B".into()]));
    }

    #[test]
    fn what_is_not_a_model_is_an_error() {
        assert!(Model::parse(b"").is_err());
        assert!(Model::parse(b"[]").is_err());
        assert!(Model::parse(b"{\"name\":1}").is_err());
    }
}
