//! Containers as they are: asked by `docker inspect`, because exit codes of
//! `up` prove nothing and compose's own list lacks image ids and start times.

use super::Stand;
use super::model::{Bind, option};
use crate::error::{Context, Lane, Result, bail};
use serde::Serialize;
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Container {
    pub id: String,
    pub service: String,
    /// `sha256:...`
    pub image: String,
    /// created, running, restarting, exited, paused, dead
    pub state: String,
    pub exit_code: i64,
    /// starting, healthy, unhealthy; none without a healthcheck
    pub health: Option<String>,
    pub started: String,
    pub restarts: u64,
    pub hostname: String,
    /// Compose's hash of the definition that it was made from.
    #[serde(default)]
    pub config_hash: String,
    pub binds: Vec<Bind>,
    /// TCP ports that are published while it runs.
    #[serde(default)]
    pub ports: Vec<Port>,
    #[serde(skip)]
    pub env: Vec<(String, String)>,
    #[serde(skip)]
    pub argv: Vec<String>,
}

/// A TCP port of a container and where the host publishes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Port {
    pub inside: u16,
    /// The host's address, as docker has it.
    pub host: String,
    pub port: u16,
}

impl Container {
    pub fn running(&self) -> bool {
        self.state == "running"
    }
    pub fn env(&self, name: &str) -> Option<&str> {
        self.env.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }
    /// The host directory that is mounted at `target`.
    pub fn source_at(&self, target: &str) -> Option<&str> {
        self.binds.iter().find(|b| b.target == target).map(|b| b.source.as_str())
    }
    /// Is this host directory mounted, wherever?
    pub fn mounts(&self, dir: &Path) -> bool {
        self.binds.iter().any(|b| Path::new(&b.source) == dir)
    }
}

impl Stand {
    /// Every container of the project, also stopped ones; one-off runs left out.
    pub fn containers(&self) -> Result<Vec<Container>> {
        self.containers_listed(|_| ())
    }

    /// The same. `listed` gets their ids and services before anything else is known of them.
    pub fn containers_listed(&self, listed: impl FnOnce(&[(&str, &str)])) -> Result<Vec<Container>> {
        let filter = format!("label=com.docker.compose.project={}", self.project);
        let list = self.docker(["ps", "-a", "--no-trunc", "--filter", &filter]);
        let format = "{{.ID}} {{.Label \"com.docker.compose.service\"}}";
        let list = list.args(["--filter", "label=com.docker.compose.oneoff=False", "--format", format]);
        let text = self.exec.run(&list)?.success("list the containers of the project", Lane::A)?.text();
        let lines = text.lines().map(str::trim).filter(|l| !l.is_empty());
        let known: Vec<(&str, &str)> = lines.map(|l| l.split_once(' ').unwrap_or((l, ""))).collect();
        if let Some((other, _)) = known.iter().find(|(id, _)| !is_id(id)) {
            bail!("docker ps printed `{}`, which is no container id", other.escape_debug());
        }
        listed(&known);
        let ids: Vec<&str> = known.iter().map(|(id, _)| *id).collect();
        self.inspect(&ids)
    }

    /// Containers that an `up` was making when it was cut short: until it has removed the one that they
    /// replace they are named after its id, and the next `up` trips over that name.
    pub fn half_made(&self, services: &[String]) -> Result<Vec<String>> {
        let filter = format!("label=com.docker.compose.project={}", self.project);
        let format = "{{.ID}} {{.Names}} {{.Label \"com.docker.compose.service\"}}";
        let list = self.docker(["ps", "-a", "--no-trunc", "--filter", &filter, "--format", format]);
        let text = self.exec.run(&list)?.success("list the containers of the project", Lane::A)?.text();
        half_made_of(&text, services)
    }

    /// These containers as they are now. One that is gone is left out.
    pub fn inspect(&self, ids: &[&str]) -> Result<Vec<Container>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let call = self.docker(["inspect", "--type", "container"]).args(ids.iter().copied());
        // The environment of a container holds secrets.
        let finished = self.exec.run(&call.quiet().timeout(Duration::from_secs(60)))?;
        if !finished.ok() && !finished.stderr.contains("No such container") {
            return Err(finished.fault("inspect containers", Lane::A).into());
        }
        let containers = parse(&finished.stdout)?;
        if finished.ok() && containers.len() != ids.len() {
            bail!("docker inspect was asked for {} containers and told of {}", ids.len(), containers.len());
        }
        containers.iter().for_each(|c| self.learn(c));
        Ok(containers)
    }

    /// A container can hold secrets that no file of the checkout names (any more): those of its
    /// image, and those that it was started with.
    fn learn(&self, container: &Container) {
        let redactor = self.exec.redactor();
        for (key, value) in &container.env {
            redactor.learn(key, value);
        }
        let mut before = "";
        for word in &container.argv {
            redactor.learn(option(before).unwrap_or("command"), word);
            before = word;
        }
    }

    /// The last lines of a service's log, as docker keeps it: both streams.
    pub fn logs(&self, container: &str, lines: u32) -> crate::exec::Invocation {
        self.docker(["logs", "--timestamps", "--tail", &lines.to_string(), container]).tail()
    }
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn half_made_of(listed: &str, services: &[String]) -> Result<Vec<String>> {
    let half = |name: &str| {
        name.split_once('_')
            .is_some_and(|(id, _)| id.len() == 12 && id.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    let mut found = Vec::new();
    for line in listed.lines() {
        let mut words = line.split_whitespace();
        let id = words.next().unwrap_or_default();
        if !is_id(id) {
            bail!("docker ps printed `{}`, which is no container", line.escape_debug());
        }
        // One that somebody made by hand may be of no service.
        let (name, service) = (words.next().unwrap_or_default(), words.next());
        if half(name) && services.iter().any(|s| Some(s.as_str()) == service) {
            found.push(id.to_string());
        }
    }
    Ok(found)
}

/// What `docker inspect` printed.
pub fn parse(bytes: &[u8]) -> Result<Vec<Container>> {
    let list: Vec<Value> = serde_json::from_slice(bytes).context("docker inspect printed no JSON list")?;
    list.iter().map(container).collect()
}

/// Without an id, an image or a state it would look like a container that does not run.
fn container(value: &Value) -> Result<Container> {
    for (what, found) in
        [("Id", &value["Id"]), ("Image", &value["Image"]), ("State.Status", &value["State"]["Status"])]
    {
        if !found.is_string() {
            bail!("docker inspect printed a container without {what}");
        }
    }
    let text = |v: &Value| v.as_str().unwrap_or_default().to_string();
    let strings = |v: &Value| -> Vec<String> { v.as_array().into_iter().flatten().map(text).collect() };
    let config = &value["Config"];
    let mut argv = strings(&config["Entrypoint"]);
    argv.extend(strings(&config["Cmd"]));
    Ok(Container {
        id: text(&value["Id"]),
        service: text(&config["Labels"]["com.docker.compose.service"]),
        image: text(&value["Image"]),
        state: text(&value["State"]["Status"]),
        exit_code: value["State"]["ExitCode"].as_i64().unwrap_or(-1),
        health: value["State"]["Health"]["Status"].as_str().map(String::from),
        started: text(&value["State"]["StartedAt"]),
        restarts: value["RestartCount"].as_u64().unwrap_or(0),
        hostname: text(&config["Hostname"]),
        config_hash: text(&config["Labels"]["com.docker.compose.config-hash"]),
        binds: value["Mounts"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|m| m["Type"] == "bind")
            .map(|m| Bind {
                source: text(&m["Source"]),
                target: text(&m["Destination"]),
                read_only: !m["RW"].as_bool().unwrap_or(true),
            })
            .collect(),
        ports: ports(&value["NetworkSettings"]["Ports"]),
        env: strings(&config["Env"])
            .iter()
            .filter_map(|pair| pair.split_once('='))
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect(),
        argv,
    })
}

/// `{"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18080"}]}`
fn ports(published: &Value) -> Vec<Port> {
    let pairs = published.as_object().into_iter().flatten();
    let port = |(name, at): (&String, &Value)| {
        let inside = name.strip_suffix("/tcp")?.parse().ok()?;
        let first = at.as_array()?.first()?;
        let host = first["HostIp"].as_str().unwrap_or_default().to_string();
        Some(Port { inside, host, port: first["HostPort"].as_str()?.parse().ok()? })
    };
    pairs.filter_map(port).collect()
}

#[cfg(test)]
mod half_made {
    use super::*;

    #[test]
    fn published_ports_are_read() {
        let published = serde_json::json!({ "53/udp": [{ "HostIp": "", "HostPort": "53" }], "9000/tcp": null,
            "8080/tcp": [{ "HostIp": "127.0.0.1", "HostPort": "18080" }, { "HostIp": "::", "HostPort": "1" }] });
        assert_eq!(ports(&published), [Port { inside: 8080, host: "127.0.0.1".into(), port: 18080 }]);
        assert!(ports(&Value::Null).is_empty());
    }

    #[test]
    fn only_those_named_after_another_containers_id() {
        let id = |c: &str| c.repeat(64);
        let listed = format!(
            "{} p-api-1 api\n{} b3899e79089d_p-worker-1 worker\n{} b3899e79089d_p-db-1 db\n{} my_own\n",
            id("a"),
            id("b"),
            id("c"),
            id("d")
        );
        let services = ["api".to_string(), "worker".to_string()];
        assert_eq!(half_made_of(&listed, &services).unwrap(), [id("b")]);
        assert!(half_made_of("noise\n", &services).is_err());
    }
}
