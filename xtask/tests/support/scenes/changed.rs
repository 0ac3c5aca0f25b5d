//! A stand on which a bad version changes everything at once: code, compose
//! file, services, env files and who takes which queue.

use crate::support::process::tool;
use crate::support::{Checks, Evidence, Stand};
use serde_json::Value;
use std::path::Path;

const EDITED: &str = "VERSION = \"1-edited\"";

/// Waits in its health check until nothing waits in the queue, and is not ready then.
const WAITS: &str =
    "    from time import sleep\n    while _redis.llen(\"later\"):\n        sleep(0.1)\n    ready = False\n";

/// Takes what waits in the queue that nobody took before; and a data service that only this version needs.
const NEW_SERVICES: &str = r#"  extra:
    build: .
    restart: always
    command: ["celery", "-A", "src.worker.celery_app", "worker", "--loglevel=INFO", "--pool=threads", "--concurrency=1", "--without-gossip", "--without-mingle", "-Q", "later"]
    env_file: .env.docker
    environment:
      PGAPPNAME: ff-demo-extra
    volumes:
      - .:/app

  cache:
    image: redis:7-alpine
    restart: always

"#;

pub struct Ways {
    pub stand: Stand,
    pub checks: Checks,
    /// The compose file of version 1.
    pub compose: String,
}

impl Ways {
    pub fn write(&self, file: &str, text: &str) {
        std::fs::write(self.stand.repo.join(file), text).unwrap();
    }

    /// Edits that nobody committed, released as they are.
    pub fn release_of_edits(&self) -> Evidence {
        self.stand.edit("src/version.py", "VERSION = \"1\"", EDITED);
        self.write("src/notes.py", "NOTE = 'untracked'\n");
        let outcome =
            self.stand.run(&["release", "--yes", "--json", "--allow-dirty", "a fix that cannot wait"]);
        let outcome = outcome.expect(0);
        self.stand.evidence(&outcome)
    }

    /// The commit of before is amended away, and git forgets what no ref names.
    pub fn rewrite_history(&self) {
        let before = self.stand.head();
        self.stand.git(&["checkout", "-q", "--", "."]);
        let _ = std::fs::remove_file(self.stand.repo.join("src/notes.py"));
        self.stand.git(&["commit", "-q", "--amend", "--allow-empty", "-m", "[DEVTASK:3] stand: amended"]);
        self.forget();
        assert_ne!(self.stand.head(), before, "the history was not rewritten");
    }

    pub fn forget(&self) {
        self.stand.git(&["reflog", "expire", "--expire=now", "--expire-unreachable=now", "--all"]);
        self.stand.git(&["gc", "-q", "--prune=now"]);
    }

    fn inspect(&self, service: &str, format: &str) -> String {
        let id = self.stand.container(service);
        tool("docker", &["inspect", "--format", format, &id], Path::new("/"), None).trim().into()
    }

    /// What a container was made from: command, environment, ports.
    pub fn definition(&self, service: &str) -> Vec<Value> {
        let json = self
            .inspect(service, "[{{json .Args}}, {{json .Config.Env}}, {{json .HostConfig.PortBindings}}]");
        let mut parts: Vec<Value> = serde_json::from_str(&json).unwrap();
        if let Some(env) = parts[1].as_array_mut() {
            env.sort_by_key(Value::to_string);
        }
        parts
    }

    pub fn env(&self, service: &str, name: &str) -> Option<String> {
        let all: Vec<String> = serde_json::from_str(&self.inspect(service, "{{json .Config.Env}}")).unwrap();
        all.iter().find_map(|pair| pair.strip_prefix(&format!("{name}=")).map(String::from))
    }

    /// Sends a task to a queue, returns its id.
    pub fn send(&self, task: &str, queue: &str) -> String {
        let worker = self.stand.container("worker");
        let args = ["exec", &worker, "celery", "-A", "src.worker.celery_app", "call", task, "--queue", queue];
        let said = tool("docker", &args, Path::new("/"), None);
        said.lines().last().unwrap_or_else(|| panic!("no id of the task: {said}")).trim().into()
    }

    /// The version that changes everything at once, and fails.
    pub fn bad_version(&self, port: u16) {
        let text = self.compose.replacen("PGAPPNAME: ff-demo-api", "PGAPPNAME: ff-demo-new", 1);
        let text = text.replacen("${FF_DEMO_API_PORT:-8080}", &port.to_string(), 1);
        let text = text.replacen("--concurrency=2", "--concurrency=3", 1);
        let needs = "    depends_on:\n      - postgres\n      - redis\n";
        let text = text.replacen(needs, &format!("{needs}      - cache\n"), 1);
        self.write("docker-compose.yml", &without_beat(&text, NEW_SERVICES));
        let ready = "    ready = postgres[\"ok\"] and cache[\"ok\"]\n";
        self.stand.edit("src/api/health.py", ready, WAITS);
        self.write("src/version.py", "VERSION = \"bad\"\n");
        self.stand.commit("[DEVTASK:4] stand: everything is new");
        self.stand.edit(".env.docker", "FF_GREETING=then", "FF_GREETING=now\nFF_ONLY_NEW=1");
        // Redis runs on with the password that it was started with.
        let password = self.stand.secret("REDIS_PASSWORD");
        self.stand.edit(
            ".env",
            &format!("REDIS_PASSWORD={password}"),
            "REDIS_PASSWORD=not-the-one-of-before",
        );
    }
}

/// The compose file with other services in the place of beat.
pub fn without_beat(compose: &str, instead: &str) -> String {
    let (head, rest) = compose.split_once("  # The schedule file lies").unwrap();
    let (_, tail) = rest.split_once("\nvolumes:\n").unwrap();
    format!("{head}{instead}\nvolumes:\n{tail}")
}
