//! manifest.json of a backup, whichever engine and version wrote it: keys moved
//! over time, and PowerShell writes a list of one element as the element.

use super::{Maker, Moment};
use serde_json::Value;

/// What a manifest says; nothing of it is checked here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manifest {
    pub maker: Maker,
    pub version: Option<String>,
    pub time: Option<String>,
    pub database: Option<String>,
    pub user: Option<String>,
    pub project: Option<String>,
    pub container: Option<String>,
    pub moment: Option<Moment>,
    pub files: Vec<Described>,
}

/// A file that the manifest lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Described {
    pub name: String,
    pub sha256: Option<String>,
    pub bytes: Option<u64>,
}

impl Manifest {
    pub(super) fn of(value: &Value) -> Manifest {
        let text = |pointers: &[&str]| pointers.iter().find_map(|p| words(value.pointer(p)?));
        let ours = text(&["/script/name"]).is_some_and(|name| name == "cargo xtask")
            // The dump of a failed database has no script beside its run.
            || (value.get("script").is_none() && value.get("rid").is_some());
        Manifest {
            maker: if ours { Maker::Native } else { Maker::Script },
            version: text(&["/script/version"]),
            time: text(&["/ts"]),
            database: text(&["/postgres/db_name", "/db_name", "/db/name", "/database"]),
            user: text(&["/postgres/user", "/pg_user", "/db/user"]),
            project: text(&["/compose/project_name", "/project_name"]),
            container: text(&["/postgres/container_id"]),
            moment: text(&["/postgres/snapshot"])
                .zip(text(&["/postgres/identity"]))
                .map(|(snapshot, identity)| Moment { snapshot, identity }),
            files: list(value.get("files")).into_iter().filter_map(described).collect(),
        }
    }
}

fn described(file: &Value) -> Option<Described> {
    let text = |key: &str| words(file.get(key)?);
    Some(Described {
        name: text("rel").or_else(|| text("name"))?.replace('\\', "/"),
        sha256: text("sha256").map(|h| h.to_ascii_lowercase()),
        bytes: file.get("bytes").and_then(|b| b.as_u64().or_else(|| b.as_str()?.parse().ok())),
    })
}

/// A list, or its only element.
fn list(value: Option<&Value>) -> Vec<&Value> {
    match value {
        Some(Value::Array(all)) => all.iter().collect(),
        Some(Value::Null) | None => Vec::new(),
        Some(one) => vec![one],
    }
}

fn words(value: &Value) -> Option<String> {
    value.as_str().map(str::trim).filter(|t| !t.is_empty()).map(String::from)
}
