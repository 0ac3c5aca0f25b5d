//! The stand and the checkout as they are: what runs, what belongs to the
//! database, what lies in the working tree.

use super::process::tool;
use super::sql::DATABASE;
use super::{SOON, Stand, wait_for};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use xtask::fsx::{files_below, sha256, sha256_file};

/// Services that a release never stops.
pub const DATA: [&str; 2] = ["postgres", "redis"];
/// Services that a release replaces.
pub const APPS: [&str; 3] = ["api", "beat", "worker"];

/// A container, as `docker inspect` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    pub id: String,
    pub image: String,
    pub state: String,
    pub started: String,
    pub restarts: u64,
    /// What is mounted at /app.
    pub source: Option<PathBuf>,
}

/// An answer over HTTP.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub json: Value,
}

impl Stand {
    /// Every container of the project, by service.
    #[track_caller]
    pub fn containers(&self) -> BTreeMap<String, Container> {
        let project = format!("label=com.docker.compose.project={}", self.project);
        let ids = tool("docker", &["ps", "-aq", "--no-trunc", "--filter", &project], Path::new("/"), None);
        let mut args = vec!["inspect"];
        args.extend(ids.split_whitespace());
        if args.len() == 1 {
            return BTreeMap::new();
        }
        let all: Vec<Value> = serde_json::from_str(&tool("docker", &args, Path::new("/"), None)).unwrap();
        let text = |v: &Value| v.as_str().unwrap_or_default().to_string();
        all.iter()
            .map(|c| {
                let mounts = c["Mounts"].as_array().unwrap();
                let app = mounts.iter().find(|m| m["Destination"] == "/app");
                let container = Container {
                    id: text(&c["Id"]),
                    image: text(&c["Image"]),
                    state: text(&c["State"]["Status"]),
                    started: text(&c["State"]["StartedAt"]),
                    restarts: c["RestartCount"].as_u64().unwrap(),
                    source: app.map(|m| PathBuf::from(text(&m["Source"]))),
                };
                (text(&c["Config"]["Labels"]["com.docker.compose.service"]), container)
            })
            .collect()
    }

    /// Services of which a container runs.
    pub fn running(&self) -> Vec<String> {
        let all = self.containers();
        all.into_iter().filter(|(_, c)| c.state == "running").map(|(service, _)| service).collect()
    }

    /// `GET` from the API; none when nobody answers.
    pub fn get(&self, path: &str) -> Option<Answer> {
        let url = format!("http://127.0.0.1:{}{path}", self.sample.port);
        let response = minreq::get(url).with_timeout(5).send().ok()?;
        let (status, body) = (response.status_code as u16, response.as_str().ok()?.to_string());
        Some(Answer { status, json: serde_json::from_str(&body).unwrap_or(Value::Null) })
    }

    /// The version that answers for the API, asked once.
    pub fn api_version(&self) -> Option<String> {
        let answer = self.get("/api/crm/smoke/ping").filter(|a| a.status == 200)?;
        Some(answer.json["version"].as_str()?.into())
    }

    /// Code of API and worker, image of all three: which version is at work everywhere.
    #[track_caller]
    pub fn runs_version(&self, version: &str) {
        assert_eq!(self.api_version().as_deref(), Some(version), "the API's version");
        let orders = self.get("/api/devfactory/orders/recent?limit=1&include_result=0").unwrap();
        assert_eq!((orders.status, &orders.json["ok"]), (200, &Value::Bool(true)), "orders: {orders:?}");
        let image = ["exec", &self.container("api"), "cat", "/image_version"];
        assert_eq!(
            tool("docker", &image, Path::new("/"), None).trim(),
            version,
            "the version in the API's image"
        );
        let since = self.value("SELECT clock_timestamp()");
        let beat = wait_for("a new heartbeat of the worker", SOON, || {
            let sql =
                format!("SELECT version FROM ops.heartbeat WHERE at > '{since}' ORDER BY id DESC LIMIT 1");
            self.psql(&sql).pop()
        });
        assert_eq!(beat, version, "the version that the worker's heartbeat names");
    }

    /// What belongs to the database and is not in a table: properties, grants, settings, comments,
    /// large objects, the stale view, extensions, triggers.
    #[track_caller]
    pub fn properties(&self) -> Vec<String> {
        self.psql(PROPERTIES)
    }

    /// Every object of the live database, as pg_dump writes it down.
    #[track_caller]
    pub fn schema(&self) -> Vec<String> {
        let id = self.container("postgres");
        let args = ["exec", &id, "pg_dump", "-U", super::sql::USER, "-s", "-d", DATABASE];
        let text = tool("docker", &args, Path::new("/"), None);
        // A random token on every run.
        text.lines()
            .filter(|l| !l.starts_with("\\restrict") && !l.starts_with("\\unrestrict"))
            .map(String::from)
            .collect()
    }

    /// The operator's own: every file of the working tree, the index, HEAD and the stash.
    #[track_caller]
    pub fn checkout(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for file in files_below(&self.repo).unwrap() {
            // What services write there, and the tool's own places.
            let own = ["ops/_local/", "ops/_backups/", ".git/"].iter().any(|p| file.starts_with(p));
            if !own && !file.starts_with("celerybeat-schedule") && !file.contains("__pycache__") {
                found.insert(file.clone(), sha256_file(&self.repo.join(&file)).unwrap().0);
            }
        }
        found.insert("the index".into(), sha256_file(&self.repo.join(".git/index")).unwrap().0);
        found.insert("the index's entries".into(), sha256(self.git(&["ls-files", "-s"]).as_bytes()));
        found.insert("HEAD".into(), self.git(&["rev-parse", "HEAD", "--abbrev-ref", "HEAD"]));
        found.insert("the stash".into(), self.git(&["stash", "list"]));
        found.insert("status".into(), self.git(&["status", "--porcelain"]));
        found
    }
}

impl Stand {
    /// Everything that a command could change: files of checkout and repository with their times,
    /// containers, images, volumes, networks, databases, roles, queues, locks.
    #[track_caller]
    pub fn everything(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for entry in walkdir::WalkDir::new(self.repo.parent().unwrap()) {
            let entry = entry.unwrap();
            let path = entry.path().display().to_string();
            if entry.file_type().is_file() && !path.contains("celerybeat-schedule") {
                let written = entry.metadata().unwrap().modified().unwrap();
                found.insert(path, format!("{} {written:?}", sha256_file(entry.path()).unwrap().0));
            } else if entry.file_type().is_dir() {
                found.insert(path, "directory".into());
            }
        }
        let label = format!("label=com.docker.compose.project={}", self.project);
        for kind in ["image", "volume", "network"] {
            let list = tool("docker", &[kind, "ls", "-q", "--filter", &label], Path::new("/"), None);
            let list = list.lines().collect::<std::collections::BTreeSet<_>>();
            found.insert(kind.into(), format!("{list:?}"));
        }
        let locks = std::fs::read_dir("/tmp/ff-xtask-locks").into_iter().flatten().flatten();
        let mine =
            locks.filter(|e| e.file_name().to_string_lossy().starts_with(&format!("{}-", self.project)));
        found.insert("locks".into(), format!("{:?}", mine.map(|e| e.path()).collect::<Vec<_>>()));
        let containers = self.containers();
        found.insert("containers".into(), format!("{containers:?}"));
        if !containers.is_empty() {
            let sql = "SELECT datname, oid, datallowconn FROM pg_database ORDER BY 1";
            found.insert("databases".into(), self.psql_on("postgres", sql).join(" "));
            found.insert(
                "roles".into(),
                self.psql_on("postgres", "SELECT rolname FROM pg_roles ORDER BY 1").join(" "),
            );
            found.insert("keys".into(), self.redis(&["KEYS", "ff:*"]).join(" "));
        }
        found
    }
}

/// The keys of which two maps differ: for assertion messages.
pub fn differing<V: PartialEq>(a: &BTreeMap<String, V>, b: &BTreeMap<String, V>) -> Vec<String> {
    let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    keys.into_iter().filter(|k| a.get(*k) != b.get(*k)).cloned().collect()
}

/// The lines that only one of two lists has.
pub fn only_one_has(a: &[String], b: &[String]) -> Vec<String> {
    let set = |lines: &[String]| lines.iter().cloned().collect::<std::collections::BTreeSet<String>>();
    let (one, other) = (set(a), set(b));
    let lost = one.difference(&other).map(|l| format!("before: {l}"));
    lost.chain(other.difference(&one).map(|l| format!("now: {l}"))).collect()
}

const PROPERTIES: &str = "
SELECT concat_ws(' ', 'database:', to_jsonb(d) - 'oid' - 'datfrozenxid' - 'datminmxid' - 'datacl',
  (SELECT array_agg(a ORDER BY a::text) FROM unnest(coalesce(datacl, acldefault('d', datdba))) a))
  FROM pg_database d WHERE datname = current_database()
UNION ALL SELECT concat_ws(' ', 'comment:', shobj_description(oid, 'pg_database'))
  FROM pg_database WHERE datname = current_database()
UNION ALL SELECT concat_ws(' ', 'setting:', setrole::regrole, c) FROM pg_db_role_setting s
  JOIN pg_database d ON d.oid = s.setdatabase AND d.datname = current_database(), unnest(setconfig) c
UNION ALL SELECT concat_ws(' ', 'schema:', nspname, nspowner::regrole, nspacl) FROM pg_namespace
  WHERE nspname !~ '^pg_(toast_)?temp'
UNION ALL SELECT concat_ws(' ', 'relation:', nspname, relname, relkind, relowner::regrole, relacl)
  FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
  WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
UNION ALL SELECT concat_ws(' ', 'default privileges:', defaclrole::regrole, nspname, defaclobjtype, defaclacl)
  FROM pg_default_acl LEFT JOIN pg_namespace n ON n.oid = defaclnamespace
UNION ALL SELECT concat_ws(' ', 'may read and write:', t, has_table_privilege('ff_reader', t, 'SELECT'),
  has_table_privilege('ff_reader', t, 'INSERT'))
  FROM unnest(ARRAY['app.points', 'crm.\"Заказы клиента\"', 'devfactory.orders']) t
UNION ALL SELECT concat_ws(' ', 'may connect and create:',
  has_database_privilege('ff_reader', current_database(), 'CONNECT'),
  has_database_privilege('ff_reader', current_database(), 'CREATE'))
UNION ALL SELECT concat_ws(' ', 'large object:', oid, lomowner::regrole, lomacl,
  obj_description(oid, 'pg_largeobject'), md5(lo_get(oid))) FROM pg_largeobject_metadata
UNION ALL SELECT concat_ws(' ', 'stale view:', v.*::text) FROM analytics.order_totals v
UNION ALL SELECT concat_ws(' ', 'extension:', extname, extversion) FROM pg_extension
UNION ALL SELECT concat_ws(' ', 'event trigger:', evtname, evtenabled) FROM pg_event_trigger
UNION ALL SELECT concat_ws(' ', 'index:', indexrelid::regclass, indisvalid) FROM pg_index WHERE indexrelid >= 16384
ORDER BY 1";
