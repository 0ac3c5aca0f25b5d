//! The moment before a release, and the questions whether it is back.

use super::process::tool;
use super::sql::{DATABASE, Sums};
use super::world::{APPS, Container, DATA, differing, only_one_has};
use super::writer::Session;
use super::{Evidence, Stand};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

pub struct Before {
    pub oid: u64,
    pub head: String,
    containers: BTreeMap<String, Container>,
    names: BTreeMap<String, String>,
    checkout: BTreeMap<String, String>,
    properties: Vec<String>,
    schema: Vec<String>,
    good: Option<Vec<u8>>,
    refs: String,
    only: Vec<(&'static str, String)>,
    sums: Sums,
}

impl Before {
    /// Takes everything down. Clients may write to orders and heartbeats meanwhile, and nowhere else.
    #[track_caller]
    pub fn of(stand: &Stand) -> Before {
        let last = stand.value("SELECT coalesce(max(id), 0) FROM devfactory.orders");
        // Two heartbeats may commit out of order: what is two seconds old is committed.
        let past = stand.value("SELECT clock_timestamp() - interval '2 seconds'");
        let only = vec![
            ("devfactory.orders", format!("id <= {last}")),
            ("ops.heartbeat", format!("at <= '{past}'")),
        ];
        Before {
            oid: live_oid(stand),
            head: stand.head(),
            containers: stand.containers(),
            names: image_names(stand),
            checkout: stand.checkout(),
            properties: stand.properties(),
            schema: stand.schema(),
            good: last_good(stand),
            refs: stand.git(&["for-each-ref"]),
            sums: stand.sums(DATABASE, &only),
            only,
        }
    }

    /// Does a service run from the checkout itself?
    pub fn runs_the_checkout(&self, stand: &Stand) -> bool {
        self.containers.values().any(|c| c.source.as_ref() == Some(&stand.repo))
    }

    /// Data services were not stopped, recreated or restarted.
    #[track_caller]
    pub fn data_services_ran_on(&self, stand: &Stand, at: &str) {
        let now = stand.containers();
        for service in DATA {
            assert_eq!(
                now[service], self.containers[service],
                "{service} is another container or was restarted{at}"
            );
        }
        let services = |all: &BTreeMap<String, Container>| all.keys().cloned().collect::<Vec<_>>();
        assert_eq!(services(&now), services(&self.containers), "services that have a container{at}");
    }

    /// Nothing at all happened to the containers.
    #[track_caller]
    pub fn containers_untouched(&self, stand: &Stand, at: &str) {
        assert_eq!(stand.containers(), self.containers, "containers{at}");
        self.names_point_back(stand, at);
    }

    /// Compose's own names of images are those of the same images: what it starts next is what ran.
    #[track_caller]
    pub fn names_point_back(&self, stand: &Stand, at: &str) {
        assert_eq!(image_names(stand), self.names, "images behind compose's names{at}");
    }

    /// The operator's working tree, index, HEAD, refs and stash are as they were.
    #[track_caller]
    pub fn checkout_untouched(&self, stand: &Stand, at: &str) {
        let differ = self.checkout_differs(stand);
        assert!(differ.is_empty(), "the operator's checkout was touched: {differ:?}{at}");
        assert_eq!(stand.git(&["for-each-ref"]), self.refs, "refs{at}");
    }

    /// What differs in working tree, index, HEAD and stash.
    #[track_caller]
    pub fn checkout_differs(&self, stand: &Stand) -> Vec<String> {
        differing(&self.checkout, &stand.checkout())
    }

    /// The last known good release is the one that it was.
    #[track_caller]
    pub fn last_good_untouched(&self, stand: &Stand, at: &str) {
        assert!(last_good(stand) == self.good, "another last known good release is recorded{at}");
    }

    /// The previous images run, from the previous source, laid out beside the checkout.
    #[track_caller]
    pub fn code_is_back(&self, stand: &Stand, version: &str, commit: &str, at: &str) {
        let now = stand.containers();
        let mut sources = BTreeSet::new();
        for service in APPS {
            let (was, is) = (&self.containers[service], &now[service]);
            assert_eq!(is.image, was.image, "the image of {service}{at}");
            assert_eq!(is.state, "running", "{service}{at}");
            let source = is.source.as_ref().unwrap_or_else(|| panic!("{service} mounts nothing{at}"));
            assert!(
                source.starts_with(stand.beside()),
                "{service} runs the source in {}{at}",
                source.display()
            );
            sources.insert(source);
        }
        for source in sources {
            let head = tool("git", &["rev-parse", "HEAD"], source, None);
            assert_eq!(head.trim(), commit, "the commit of {}{at}", source.display());
            let dirt = tool("git", &["status", "--porcelain"], source, None);
            assert_eq!(dirt, "", "the previous source is not the commit{at}");
            let file = stand.git(&["show", &format!("{commit}:src/version.py")]);
            assert_eq!(
                std::fs::read_to_string(source.join("src/version.py")).unwrap(),
                file,
                "version.py{at}"
            );
        }
        self.names_point_back(stand, at);
        stand.runs_version(version);
    }

    /// Every table, property, grant and object of the live database is as it was: own sums over what
    /// was there before, and the state at the fence as the run's sums of the clone have it.
    #[track_caller]
    pub fn content_is_back(&self, stand: &Stand, release: &Evidence, rollback: &Evidence) {
        let at = &rollback.at;
        let now = stand.sums(DATABASE, &self.only);
        let differ = differing(&self.sums, &now);
        assert!(differ.is_empty(), "other content than before: {differ:?}{at}");
        let properties = only_one_has(&self.properties, &stand.properties());
        assert!(properties.is_empty(), "properties of the database: {properties:#?}{at}");
        let schema = only_one_has(&self.schema, &stand.schema());
        assert!(schema.is_empty(), "schema: {schema:#?}{at}");
        // The clone is summed beside the release; one that was stopped early has no such sums.
        if release.has("sums_clone.json") {
            let fence = told(&release.json("sums_clone.json"));
            let first =
                |table| format!("first {}", fence.get(table).unwrap_or_else(|| panic!("no {table}{at}")).0);
            let only = ["devfactory.orders", "ops.heartbeat"].map(|table| (table, first(table)));
            let differ = differing(&fence, &stand.sums(DATABASE, &only));
            assert!(differ.is_empty(), "other content than at the fence: {differ:?}{at}");
            if rollback.has("sums_restored.json") {
                let restored = told(&rollback.json("sums_restored.json"));
                assert!(differing(&fence, &restored).is_empty(), "the run's own sums differ{at}");
            }
        }
    }

    /// Every row acknowledged before the fence is there; what came between fence and swap is in the
    /// failed database and only there, counted and dumped; what came later is there. `release` has the
    /// fence, `rollback` the way back: one run, or two.
    #[track_caller]
    pub fn rows_are_accounted_for(
        &self,
        stand: &Stand,
        (release, rollback): (&Evidence, &Evidence),
        tag: &str,
        sessions: &[Session],
    ) {
        let at = &rollback.at;
        let live = titles(&stand.psql(&of_tag(tag)));
        let restored = live_oid(stand);
        assert_ne!(restored, self.oid, "the live database is not the clone{at}");
        let (old, new): (Vec<_>, Vec<_>) = sessions.iter().partition(|s| s.oid == self.oid);
        let (before, late) = old.split_first().unwrap_or_else(|| panic!("the writer never wrote{at}"));
        let lost: Vec<_> = before.acked.iter().filter(|t| !live.contains(*t)).collect();
        assert!(lost.is_empty(), "{} rows acknowledged before the fence are lost: {lost:?}{at}", lost.len());
        let beats: BTreeSet<String> =
            stand.psql("SELECT id || ' ' || at FROM ops.heartbeat").into_iter().collect();
        let lost: Vec<_> =
            before.beats.iter().filter(|(id, t)| !beats.contains(&format!("{id} {t}"))).collect();
        assert!(!before.beats.is_empty() && lost.is_empty(), "heartbeats are lost: {lost:?}{at}");
        for session in &new {
            assert_eq!(session.oid, restored, "the writer was in a third database{at}");
            let lost: Vec<_> = session.acked.iter().filter(|t| !live.contains(*t)).collect();
            assert!(lost.is_empty(), "rows written after the rollback are lost: {lost:?}{at}");
        }
        assert!(new.iter().any(|s| !s.acked.is_empty()), "nobody could write after the rollback{at}");
        let late: Vec<&String> = late.iter().flat_map(|s| &s.acked).collect();
        assert!(!late.is_empty(), "the writer did not come back between fence and swap{at}");
        let stayed: Vec<_> = late.iter().filter(|t| live.contains(**t)).collect();
        assert!(stayed.is_empty(), "rows of after the fence are live: {stayed:?}{at}");
        set_aside(stand, (release, rollback), tag, &before.acked, &late);
    }
}

/// The failed database has them all, its count and its dump say so.
fn set_aside(
    stand: &Stand,
    (release, rollback): (&Evidence, &Evidence),
    tag: &str,
    early: &[String],
    late: &[&String],
) {
    let at = &rollback.at;
    let record = rollback.json("rollback.json");
    let failed = record["failed_database"].as_str().unwrap_or_else(|| panic!("no failed database{at}"));
    let mut kept = titles(&stand.psql_closed(
        failed,
        &format!("{} UNION ALL SELECT 'all '||count(*) FROM devfactory.orders", of_tag(tag)),
    ));
    let count = kept.iter().find_map(|t| t.strip_prefix("all ").map(String::from)).unwrap();
    kept.remove(&format!("all {count}"));
    let lost: Vec<_> = early.iter().chain(late.iter().copied()).filter(|t| !kept.contains(*t)).collect();
    assert!(lost.is_empty(), "rows are not in the failed database: {lost:?}{at}");
    let rows = record["set_aside"].as_array().unwrap();
    let orders = rows.iter().find(|r| r["table"] == "devfactory.orders");
    let orders = orders.unwrap_or_else(|| panic!("orders were not counted: {rows:?}{at}"));
    assert_eq!(orders["now"].to_string(), count, "the count of orders now{at}");
    let since = orders["written_since"].as_u64().unwrap();
    assert!(since >= late.len() as u64, "{since} rows counted, {} were written{at}", late.len());
    if release.has("sums_clone.json") {
        let fence = told(&release.json("sums_clone.json"))["devfactory.orders"].0;
        assert_eq!(orders["at_fence"].as_u64(), Some(fence), "the count of orders at the fence{at}");
    }
    in_the_dump(stand, &record, late, at);
}

/// The dump of the failed database is whole and has these orders.
#[track_caller]
pub fn in_the_dump(stand: &Stand, record: &Value, late: &[&String], at: &str) {
    let dir = stand.repo.join(record["failed_dump"].as_str().unwrap());
    tool("sha256sum", &["-c", "--quiet", "digest.sha256"], &dir, None);
    let archive = std::fs::read(dir.join("db.dump")).unwrap();
    let id = stand.container("postgres");
    let args = ["exec", "-i", &id, "pg_restore", "-a", "-n", "devfactory", "-t", "orders", "-f", "-"];
    let text = tool("docker", &args, Path::new("/"), Some(&archive));
    let lost: Vec<_> = late.iter().filter(|t| !text.contains(&format!("\t{t}\t"))).collect();
    assert!(lost.is_empty(), "rows are not in the dump of the failed database: {lost:?}{at}");
}

fn of_tag(tag: &str) -> String {
    format!("SELECT title FROM devfactory.orders WHERE title LIKE '{tag}-%'")
}

fn titles(rows: &[String]) -> BTreeSet<String> {
    rows.iter().cloned().collect()
}

/// What was acknowledged before the fence is live; what came later is live or in the failed database.
pub fn no_row_is_lost(stand: &Stand, tag: &str, sessions: &[Session], failed: Option<&str>, at: &str) {
    let sql = format!("SELECT title FROM devfactory.orders WHERE title LIKE '{tag}-%'");
    let live = stand.psql(&sql);
    let aside = failed.map(|failed| stand.psql_closed(failed, &sql)).unwrap_or_default();
    let (first, later) = sessions.split_first().unwrap_or_else(|| panic!("nobody wrote{at}"));
    let lost: Vec<_> = first.acked.iter().filter(|t| !live.contains(t)).collect();
    assert!(lost.is_empty(), "rows of before the fence are lost: {lost:?}{at}");
    let all = later.iter().flat_map(|s| &s.acked);
    let lost: Vec<_> = all.filter(|t| !live.contains(t) && !aside.contains(t)).collect();
    assert!(lost.is_empty(), "rows of after the fence are nowhere: {lost:?}{at}");
    assert!(live_oid(stand) > 0);
}

pub fn live_oid(stand: &Stand) -> u64 {
    stand.value("SELECT oid FROM pg_database WHERE datname = current_database()").parse().unwrap()
}

/// The live database holds what a backup has, by its sums; rows that came later are left out.
#[track_caller]
pub fn content_is(stand: &Stand, sums: &Value, at: &str) {
    let then = told(sums);
    let only = ["devfactory.orders", "ops.heartbeat"].map(|t| (t, format!("first {}", then[t].0)));
    let differ = differing(&then, &stand.sums(DATABASE, &only));
    assert!(differ.is_empty(), "other content than in the backup: {differ:?}{at}");
}

/// Every row that was acknowledged is in the live database or in a failed one.
#[track_caller]
pub fn no_row_is_nowhere(stand: &Stand, tag: &str, sessions: &[Session], at: &str) {
    let mut found = titles(&stand.psql(&of_tag(tag)));
    let failed = r"SELECT datname FROM pg_database WHERE datname LIKE '%\_\_failed\_%'";
    for failed in stand.psql_on("postgres", failed) {
        found.extend(stand.psql_closed(&failed, &of_tag(tag)));
    }
    let acked: Vec<_> = sessions.iter().flat_map(|s| &s.acked).collect();
    let lost: Vec<_> = acked.iter().filter(|t| !found.contains(**t)).collect();
    assert!(!acked.is_empty() && lost.is_empty(), "{} rows are nowhere: {lost:?}{at}", lost.len());
}

/// Sums as the evidence has them.
fn told(json: &Value) -> Sums {
    let line = |v: &Value| (v["rows"].as_u64().unwrap(), v["sum"].as_str().unwrap().to_string());
    json.as_object().unwrap().iter().map(|(table, v)| (table.clone(), line(v))).collect()
}

/// The image behind compose's own name of each application service.
fn image_names(stand: &Stand) -> BTreeMap<String, String> {
    let names = APPS.map(|service| format!("{}-{service}", stand.project));
    let args = ["image", "inspect", "--format", "{{.Id}}", &names[0], &names[1], &names[2]];
    let ids = tool("docker", &args, Path::new("/"), None);
    APPS.iter().map(|s| (*s).to_string()).zip(ids.lines().map(String::from)).collect()
}

fn last_good(stand: &Stand) -> Option<Vec<u8>> {
    std::fs::read(stand.repo.join("ops/_local/lkg/last_known_good.json")).ok()
}
