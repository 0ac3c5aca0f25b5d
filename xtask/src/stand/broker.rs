//! Redis as the broker: queue keys are set aside before a change and put back
//! by a rollback. The password comes by environment, commands by stdin.

use super::Stand;
use super::containers::Container;
use super::model::Model;
use crate::error::{Fault, Lane, Result};
use std::time::Duration;

/// How to reach the broker.
#[derive(Debug, Clone)]
pub struct Broker {
    pub container: String,
    pub database: u32,
    password: Option<String>,
}

/// How to reach the broker: its password as its container was started with, for an env file that was
/// edited since changes nothing in it; from the model which database Celery uses.
pub fn broker(model: &Model, container: &Container, app_services: &[String]) -> Broker {
    let command = &container.argv;
    let from_command =
        command.iter().position(|w| w == "--requirepass").and_then(|at| command.get(at + 1)).cloned();
    let from_env = || container.env("REDIS_PASSWORD").map(String::from);
    let urls = app_services.iter().flat_map(|s| model.environment(s));
    let database = urls
        .filter(|(k, v)| k.contains("BROKER") || (k.contains("REDIS") && v.starts_with("redis")))
        .find_map(|(_, v)| v.rsplit('/').next().and_then(|d| d.split('?').next()?.parse().ok()))
        .unwrap_or(0);
    Broker {
        container: container.id.clone(),
        database,
        password: from_command.or_else(from_env).filter(|p| !p.is_empty()),
    }
}

impl Stand {
    /// Sends commands, one a line, and returns one answer line for each line of Redis's reply. A last
    /// PING shows that the reply is whole.
    pub fn redis(&self, broker: &Broker, commands: &[String]) -> Result<Vec<String>> {
        let mut call = self.docker(["exec", "-i"]);
        if let Some(password) = &broker.password {
            // Without a value docker takes it from its own environment: never in argv.
            call = call.args(["-e", "REDISCLI_AUTH"]).env("REDISCLI_AUTH", password);
        }
        let call = call
            .args([&broker.container, "redis-cli", "-n", &broker.database.to_string()])
            .stdin(commands.join("\n") + "\nPING\n")
            .timeout(Duration::from_secs(60));
        let finished = self.exec.run(&call.quiet())?.success("ask Redis", Lane::A)?;
        let mut lines: Vec<String> =
            finished.text().lines().map(String::from).filter(|l| !l.is_empty()).collect();
        if let Some(error) = lines.iter().find(|line| is_refusal(line)) {
            return Err(Fault::new("Redis refused a command").why(error.clone()).lane(Lane::A).into());
        }
        if lines.pop().as_deref() != Some("PONG") {
            return Err(Fault::new("the answer of Redis is not whole").lane(Lane::A).into());
        }
        Ok(lines)
    }

    /// Does it answer, and as it was started?
    pub fn redis_answers(&self, broker: &Broker) -> Result<()> {
        match self.redis(broker, &[])?.first() {
            None => Ok(()),
            Some(line) => {
                Err(Fault::new("Redis answers what was not asked").why(line.clone()).lane(Lane::A).into())
            }
        }
    }

    /// Keys that match any of the patterns.
    pub fn redis_keys(&self, broker: &Broker, patterns: &[String]) -> Result<Vec<String>> {
        let commands: Vec<String> = patterns.iter().map(|p| format!("KEYS {}", quoted(p))).collect();
        let mut keys = self.redis(broker, &commands)?;
        keys.sort();
        keys.dedup();
        Ok(keys)
    }

    /// `6.2` and later know COPY.
    pub fn redis_version(&self, broker: &Broker) -> Result<(u32, u32)> {
        let lines = self.redis(broker, &["INFO server".into()])?;
        let text = lines.iter().find_map(|l| l.trim().strip_prefix("redis_version:")).unwrap_or("0.0");
        let mut parts = text.split('.').map(|p| p.parse().unwrap_or(0));
        Ok((parts.next().unwrap_or(0), parts.next().unwrap_or(0)))
    }
}

/// Is this line an error? Without a terminal redis-cli prints one like any other answer: its code is the
/// first word. The codes are those of Redis's own source and documentation.
fn is_refusal(line: &str) -> bool {
    const CODES: [&str; 21] = [
        "(error)",
        "ASK",
        "BUSY",
        "BUSYKEY",
        "CLUSTERDOWN",
        "CROSSSLOT",
        "ERR",
        "EXECABORT",
        "LOADING",
        "MASTERDOWN",
        "MISCONF",
        "MOVED",
        "NOAUTH",
        "NOPERM",
        "NOREPLICAS",
        "NOSCRIPT",
        "OOM",
        "READONLY",
        "TRYAGAIN",
        "WRONGPASS",
        "WRONGTYPE",
    ];
    line.split_once(' ').is_some_and(|(code, _)| CODES.contains(&code))
}

/// A word as redis-cli reads it.
pub fn quoted(word: &str) -> String {
    let mut text = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => {
                text.push('\\');
                text.push(c);
            }
            c if (c as u32) < 0x20 => text.push_str(&format!("\\x{:02x}", c as u32)),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_redis_are_told_from_answers() {
        for error in [
            "OOM command not allowed when used memory > 'maxmemory'.",
            "NOPERM User default has no permissions to run the 'keys' command",
            "EXECABORT Transaction discarded because of previous errors.",
            "ERR unknown command",
        ] {
            assert!(is_refusal(error), "{error}");
        }
        for answer in ["OK", "1", "QUEUED", "celery", "ERR", "unacked_index", "orders of OOM"] {
            assert!(!is_refusal(answer), "{answer}");
        }
    }
}
