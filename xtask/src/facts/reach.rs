//! How the API and the worker are reached: as their containers have it while
//! they run, which may be another version than the checkout defines.

use super::Facts;
use crate::config::Config;
use crate::stand::containers::{Container, Port};
use crate::stand::model::Model;
use crate::stand::worker;
use std::collections::BTreeMap;

impl Facts {
    /// Asks for what runs: the same facts with the model that it was started from.
    pub fn as_running(&self, config: &Config, model: Option<Model>) -> Facts {
        self.reached_by(config, model.unwrap_or_else(|| self.model.clone()), &self.containers)
    }

    /// Asks for what the checkout defines, whatever runs now.
    pub fn as_defined(&self, config: &Config) -> Facts {
        self.reached_by(config, self.model.clone(), &[])
    }

    fn reached_by(&self, config: &Config, model: Model, containers: &[Container]) -> Facts {
        let mut facts = self.clone();
        (facts.base_url, facts.worker_app) = found(config, &model, containers, &mut facts.origins);
        facts.model = model;
        facts
    }
}

/// Base URL and worker app, and where they came from.
pub(super) fn found(
    config: &Config,
    model: &Model,
    containers: &[Container],
    origins: &mut BTreeMap<String, String>,
) -> (String, Option<String>) {
    let running = |service: &str| containers.iter().find(|c| c.service == service && c.running());
    let (url, from) = base_url(config, model, running(&config.smoke.api_service));
    origins.insert("base_url".into(), from);
    let (app, from) = worker_app(config, model, running(&config.smoke.worker_service));
    origins.extend(from.map(|from| ("worker_app".into(), from)));
    (url, app)
}

fn base_url(config: &Config, model: &Model, container: Option<&Container>) -> (String, String) {
    if !config.smoke.base_url.is_empty() {
        return (config.smoke.base_url.trim_end_matches('/').into(), "config".into());
    }
    let service = &config.smoke.api_service;
    let defined = model.published(service);
    if let Some(container) = container {
        // Of several ports the one that the model names first.
        let same = |p: &&Port| defined.as_ref().is_some_and(|d| d.inside == p.inside);
        if let Some(port) = container.ports.iter().find(same).or(container.ports.first()) {
            return (url(port), format!("the container of {service}"));
        }
    }
    match defined {
        Some(port) => (url(&port), format!("compose: ports of {service}")),
        None => ("http://127.0.0.1:8080".into(), "built-in".into()),
    }
}

fn url(port: &Port) -> String {
    let host = match port.host.as_str() {
        "" | "0.0.0.0" | "::" => "127.0.0.1",
        host => host,
    };
    let port = port.port;
    if host.contains(':') { format!("http://[{host}]:{port}") } else { format!("http://{host}:{port}") }
}

fn worker_app(
    config: &Config,
    model: &Model,
    container: Option<&Container>,
) -> (Option<String>, Option<String>) {
    if !config.smoke.worker_app.is_empty() {
        return (Some(config.smoke.worker_app.clone()), Some("config".into()));
    }
    let service = &config.smoke.worker_service;
    let running = container.and_then(|c| worker::app_of(&c.argv));
    let found = running.or_else(|| worker::app_of(&model.command(service)));
    let from = found.as_ref().map(|_| format!("the command of {service}"));
    (found, from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stand::containers;

    #[test]
    fn a_container_that_runs_is_asked_where_it_publishes() {
        let dir = tempfile::tempdir().unwrap();
        let config = crate::config::load(dir.path(), &[], &crate::config::Overrides::default()).unwrap();
        let model = br#"{"services":{"api":{"ports":[{"target":8080,"published":"2"}]}}}"#;
        let model = Model::parse(model).unwrap();
        let printed = |state: &str| {
            let text = format!(
                r#"[{{"Id":"1","Image":"i","State":{{"Status":"{state}"}},
                "Config":{{"Labels":{{"com.docker.compose.service":"api"}}}},
                "NetworkSettings":{{"Ports":{{"80/tcp":[{{"HostIp":"","HostPort":"9"}}],
                "8080/tcp":[{{"HostIp":"::1","HostPort":"1"}}]}}}}}}]"#
            );
            containers::parse(text.as_bytes()).unwrap()
        };
        let url = |all: &[Container]| found(&config, &model, all, &mut BTreeMap::new()).0;
        assert_eq!(url(&printed("running")), "http://[::1]:1");
        assert_eq!(url(&printed("exited")), "http://127.0.0.1:2");
        assert_eq!(url(&[]), "http://127.0.0.1:2");
    }
}
