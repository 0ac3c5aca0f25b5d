//! An operator who says stop after the change began, a program that is killed,
//! and a database that comes back from a backup directory.

use crate::support::before::{Before, live_oid};
use crate::support::leftovers::Kept;
use crate::support::process::tool;
use crate::support::stand::EVIDENCE;
use crate::support::world::{APPS, differing, only_one_has};
use crate::support::writer::{Session, Writer};
use crate::support::{Checks, Evidence, Outcome, Running, SOON, Stand, wait_for};
use serde_json::json;
use std::path::Path;

struct Case {
    stand: Stand,
    kept: Kept,
    checks: Checks,
    commit: String,
    first: String,
}

impl Case {
    fn new() -> Case {
        let stand = Stand::new();
        let (evidence, kept) = stand.first_release();
        Case { commit: stand.head(), first: evidence.rid(), stand, kept, checks: Checks::default() }
    }

    /// Everything is as it was before `release`, which `rollback` (the same run or another) undid.
    fn is_back(
        &mut self,
        what: &str,
        before: &Before,
        (release, rollback): (&Evidence, &Evidence),
        (tag, sessions): (&str, &[Session]),
        outcome: &Outcome,
    ) {
        let Case { stand, kept, checks, commit, first } = self;
        let at = &rollback.at;
        kept.rolled_back(rollback.json("rollback.json")["failed_database"].as_str().unwrap());
        checks.that(format!("{what}: rows"), || {
            before.rows_are_accounted_for(stand, (release, rollback), tag, sessions);
        });
        checks.that(format!("{what}: content"), || before.content_is_back(stand, release, rollback));
        checks.that(format!("{what}: code"), || before.code_is_back(stand, "1", commit, at));
        checks.that(format!("{what}: data services"), || before.data_services_ran_on(stand, at));
        checks.that(format!("{what}: checkout"), || before.checkout_untouched(stand, at));
        checks.that(format!("{what}: status"), || {
            let status = stand.run(&["status", "--json"]).expect(0).json();
            assert_eq!(status["last_known_good"]["rid"], first.as_str(), "last known good: {status:#}{at}");
            assert_eq!(status["interrupted"].as_array().map(Vec::len), Some(0), "open: {status:#}{at}");
        });
        checks.that(format!("{what}: leftovers"), || stand.nothing_left_over(kept, outcome));
    }
}

/// Starts a release and waits until it has begun an act, or a step.
fn until(stand: &Stand, rid: &str, step: &str, act: &str) -> Running {
    let running = stand.start(&["release", "--yes", "--json", "--rid", rid]);
    let journal = stand.repo.join(EVIDENCE).join(rid).join("events.jsonl");
    let begun = format!("\"kind\":\"intent\",\"step\":\"{step}\",\"act\":\"{act}\"");
    wait_for(&format!("{step}: {act}"), SOON * 2, || {
        std::fs::read_to_string(&journal).unwrap_or_default().contains(&begun).then_some(())
    });
    running
}

/// What a killed run left: read with its name, for there is no more of it.
fn killed(stand: &Stand, rid: &str) -> Evidence {
    Evidence { dir: stand.repo.join(EVIDENCE).join(rid), at: format!("\n  {rid} was killed") }
}

#[test]
fn a_release_that_is_stopped_or_killed_is_undone() {
    let mut case = Case::new();
    case.stand.version("good-v2");

    // SIGTERM while the new version starts: it is undone before the program ends.
    let writer = Writer::start(&case.stand, "term");
    let before = Before::of(&case.stand);
    let rids = case.stand.rids();
    // What waits in the broker's queues goes back as well; what the failed version left is kept.
    case.stand.redis(&["SET", "unacked_test", "before"]);
    let running = until(&case.stand, "rel_20991231-000001_term", "deploy", "step");
    case.stand.redis(&["SET", "unacked_test", "after"]);
    running.signal("TERM");
    let outcome = case.stand.heard(running.wait(), &rids).expect(30);
    writer.acked_in_newest();
    let sessions = writer.stop();
    let evidence = case.stand.evidence(&outcome);
    case.checks.that("SIGTERM: verdict", || {
        let at = &evidence.at;
        assert_eq!(evidence.verdict(), ("FAIL".into(), 30), "verdict{at}");
        assert!(evidence.gate("R1").0 && evidence.gate("R2").0, "R1 and R2{at}");
        assert_eq!(evidence.json("failure.json")["stopped_by"], "terminate", "who stopped it{at}");
        assert!(evidence.requests().is_empty(), "a request because the operator said stop{at}");
        case.stand.run(&["evidence", "verify", &evidence.rid()]).expect(0);
    });
    case.checks.that("SIGTERM: queues", || {
        assert_eq!(case.stand.redis(&["GET", "unacked_test"]), ["before"], "the queue{}", evidence.at);
        let kept = case.stand.redis(&["KEYS", "ff:failed:*:unacked_test"]);
        assert_eq!(kept.len(), 1, "what the failed version left in the queue: {kept:?}{}", evidence.at);
        assert_eq!(case.stand.redis(&["GET", &kept[0]]), ["after"], "{}", evidence.at);
    });
    case.is_back("SIGTERM", &before, (&evidence, &evidence), ("term", &sessions), &outcome);

    killed_while_it_proves(&mut case);
    killed_while_it_deploys(&mut case);
    let Case { stand, checks, .. } = &mut case;
    checks.that("no secret", || stand.no_secret_anywhere());
    case.checks.all_hold();
}

/// Open runs are named, and refuse the next release.
fn open(stand: &Stand, rid: &str, checks: &mut Checks) {
    checks.that(format!("{rid}: status and release name it"), || {
        let status = stand.run(&["status", "--json"]).expect(0).json();
        assert_eq!(status["interrupted"][0]["rid"], rid, "{status:#}");
        stand.run(&["status"]).expect(0).says(rid);
        let refused = stand.run(&["release", "--yes"]).expect(10);
        refused.says(rid);
        refused.says("cargo xtask rollback");
        stand.run(&["backup"]).expect(10).says(rid);
    });
}

/// Killed before the change: clients write on, and only leftovers are to be removed.
fn killed_while_it_proves(case: &mut Case) {
    let Case { stand, kept, checks, first, .. } = case;
    let rid = "rel_20991231-000002_proof";
    let writer = Writer::start(stand, "proof");
    let before = Before::of(stand);
    let running = until(stand, rid, "proof", "restore");
    running.signal("KILL");
    running.wait();
    open(stand, rid, checks);
    let outcome = stand.run(&["rollback", "--yes", "--json"]).expect(0);
    let sessions = writer.stop();
    let evidence = stand.evidence(&outcome);
    checks.that("killed in the proof: nothing was touched", || {
        let at = &evidence.at;
        assert_eq!(evidence.verdict(), ("PASS".into(), 0), "verdict{at}");
        assert_eq!(evidence.json("rollback.json")["recovers"], rid, "recovers{at}");
        assert_eq!(sessions.len(), 1, "the writer was thrown out{at}");
        assert_eq!(sessions[0].oid, live_oid(stand), "another database has the live name{at}");
        before.containers_untouched(stand, at);
        before.checkout_untouched(stand, at);
        before.last_good_untouched(stand, at);
        let status = stand.run(&["status", "--json"]).expect(0).json();
        assert_eq!(status["last_known_good"]["rid"], first.as_str(), "{status:#}{at}");
        assert_eq!(status["interrupted"].as_array().map(Vec::len), Some(0), "open: {status:#}{at}");
    });
    checks.that("killed in the proof: leftovers", || stand.nothing_left_over(kept, &outcome));
}

fn killed_while_it_deploys(case: &mut Case) {
    let rid = "rel_20991231-000003_deploy";
    let writer = Writer::start(&case.stand, "deploy");
    let before = Before::of(&case.stand);
    let running = until(&case.stand, rid, "deploy", "step");
    running.signal("KILL");
    running.wait();
    open(&case.stand, rid, &mut case.checks);
    open_elsewhere(&case.stand, rid, &mut case.checks);
    let outcome = case.stand.run(&["rollback", "--yes", "--json"]).expect(0);
    writer.acked_in_newest();
    let sessions = writer.stop();
    let evidence = case.stand.evidence(&outcome);
    case.checks.that("killed in the deploy: verdict", || {
        let at = &evidence.at;
        assert_eq!(evidence.verdict(), ("PASS".into(), 0), "verdict{at}");
        assert!(evidence.gate("R1").0 && evidence.gate("R2").0, "R1 and R2{at}");
        assert_eq!(evidence.json("rollback.json")["recovers"], rid, "recovers{at}");
        // Recovery never writes into another run's directory.
        assert!(!killed(&case.stand, rid).has("summary.json"), "the killed run has a summary{at}");
        case.stand.run(&["evidence", "verify", &evidence.rid()]).expect(0);
    });
    let release = killed(&case.stand, rid);
    case.is_back("killed in the deploy", &before, (&release, &evidence), ("deploy", &sessions), &outcome);
}

/// Another clone has no evidence of the run: the stand itself tells of it, and nothing begins.
fn open_elsewhere(stand: &Stand, rid: &str, checks: &mut Checks) {
    checks.that("another clone sees that the run has not ended", || {
        let clone = stand.repo.with_file_name("another clone");
        tool("git", &["clone", "-q", ".", &clone.display().to_string()], &stand.repo, None);
        for file in [".env", ".env.docker"] {
            std::fs::copy(stand.repo.join(file), clone.join(file)).unwrap();
        }
        let run = |args: &[&str]| stand.heard(stand.start_in(&clone, &[], args).wait(), &stand.rids());
        let oid = live_oid(stand);
        for args in [&["release", "--yes"] as &[&str], &["backup"], &["rollback", "--yes"]] {
            let refused = run(args).expect(10);
            [rid, "has not ended", "тест-оператор@", &stand.repo.display().to_string()]
                .iter()
                .for_each(|word| refused.says(word));
        }
        let status = run(&["status", "--json"]).expect(0).json();
        assert_eq!(status["interrupted"][0]["rid"], rid, "{status:#}");
        assert_eq!(live_oid(stand), oid, "another database has the live name");
        std::fs::remove_dir_all(&clone).unwrap();
    });
}

/// What belongs to the database itself, and what its materialized view shows.
fn of_the_database(stand: &Stand) -> Vec<String> {
    let kinds = ["database:", "comment:", "setting:", "may connect", "stale view:"];
    stand.properties().into_iter().filter(|l| kinds.iter().any(|k| l.starts_with(k))).collect()
}

#[test]
fn a_backup_directory_brings_its_database_back_and_leaves_the_code() {
    let mut case = Case::new();
    let Case { stand, kept, checks, .. } = &mut case;
    // Privileges as PostgreSQL makes them: an archive says nothing of these.
    stand.psql("UPDATE pg_database SET datacl = NULL WHERE datname = current_database()");
    stand.psql(
        "ALTER DATABASE foxproflow CONNECTION LIMIT 90; ALTER DATABASE foxproflow SET work_mem = '9MB'",
    );
    stand.psql("REFRESH MATERIALIZED VIEW analytics.order_totals");
    let properties = of_the_database(stand);
    let made = stand.evidence(&stand.run(&["backup"]).expect(0));
    let dir = made.json("backup.json")["dir"].as_str().unwrap().to_string();
    let place = stand.repo.join(&dir).display().to_string();
    let sums = made.json("sums_snapshot.json");
    let schema = stand.schema();

    checks.that("a backup that does not verify is refused", || {
        let copy = stand.tmp.with_file_name("damaged backup");
        let to = copy.display().to_string();
        tool("cp", &["-a", &place, &to], Path::new("/"), None);
        crate::support::tamper::Copy::flip(&copy.join("db.dump"));
        let containers = stand.containers();
        let oid = live_oid(stand);
        for place in [to.as_str(), "/nonexistent"] {
            stand.run(&["rollback", "--yes", "--backup", place]).expect(10);
            assert_eq!(
                (stand.containers(), live_oid(stand)),
                (containers.clone(), oid),
                "something was touched"
            );
        }
    });

    // Both a row and an object that the backup does not know, and rows that it does.
    stand.psql("CREATE TABLE crm.later (id int); DELETE FROM devfactory.orders WHERE id <= 10");
    stand.psql(
        "ALTER DATABASE foxproflow RESET work_mem; REVOKE TEMPORARY ON DATABASE foxproflow FROM PUBLIC",
    );
    // Nobody takes these. They were not set aside when the backup was made.
    stand.redis(&["LPUSH", "unacked_test", "one", "two", "three"]);
    let last = stand.value("SELECT max(id) FROM devfactory.orders");
    let writer = Writer::start(stand, "later");
    let before = stand.containers();
    let outcome = stand.run(&["rollback", "--yes", "--json", "--backup", &place]).expect(0);
    writer.acked_in_newest();
    let sessions = writer.stop();
    let evidence = stand.evidence(&outcome);
    let at = &evidence.at;
    checks.that("from a backup: verdict", || {
        assert_eq!(evidence.verdict(), ("PASS".into(), 0), "verdict{at}");
        assert!(evidence.gate("R1").0 && evidence.gate("R2").0, "R1 and R2{at}");
        stand.run(&["evidence", "verify", &evidence.rid()]).expect(0);
    });
    checks.that("from a backup: content", || {
        let only: Vec<(&str, String)> = ["devfactory.orders", "ops.heartbeat"]
            .into_iter()
            .map(|table| (table, format!("first {}", sums[table]["rows"])))
            .collect();
        let now = stand.sums("foxproflow", &only);
        let then = now.keys().map(|t| {
            (t.clone(), (sums[t]["rows"].as_u64().unwrap(), sums[t]["sum"].as_str().unwrap().to_string()))
        });
        let then = then.collect();
        let differ = differing(&then, &now);
        assert!(differ.is_empty(), "other content than in the backup: {differ:?}{at}");
        assert_eq!(stand.schema(), schema, "schema{at}");
        let properties = only_one_has(&properties, &of_the_database(stand));
        assert!(properties.is_empty(), "properties of the database: {properties:#?}{at}");
    });
    checks.that("from a backup: what waits in the queues waits on", || {
        assert_eq!(stand.redis(&["LLEN", "unacked_test"]), ["3"], "the queue{at}");
        let told = evidence.json("rollback.json")["broker"].as_str().unwrap().to_string();
        assert!(told.contains("queues are left as they are"), "what is said of it: {told}{at}");
    });
    checks.that("from a backup: what was written since is kept", || {
        let failed = evidence.json("rollback.json")["failed_database"].as_str().unwrap().to_string();
        let titles =
            stand.psql_closed(&failed, "SELECT title FROM devfactory.orders WHERE title LIKE 'later-%'");
        let lost: Vec<_> = sessions[0].acked.iter().filter(|t| !titles.contains(t)).collect();
        assert!(lost.is_empty(), "rows are lost: {lost:?}{at}");
        let live = stand.psql("SELECT title FROM devfactory.orders WHERE title LIKE 'later-%'");
        let newest = &sessions.last().unwrap().acked;
        assert!(newest.iter().all(|t| live.contains(t)), "rows written after it are lost{at}");
        assert!(!sessions[0].acked.iter().any(|t| live.contains(t)), "rows from before it are live{at}");
    });
    checks.that("from a backup: what was written since is counted and dumped", || {
        let record = evidence.json("rollback.json");
        assert_eq!(record["source"], "archive", "the source{at}");
        let rows = record["set_aside"].as_array().unwrap();
        let of = |table: &str| rows.iter().find(|r| r["table"] == table).cloned().unwrap_or_default();
        let failed = record["failed_database"].as_str().unwrap();
        let sql = format!("SELECT count(*), count(*) FILTER (WHERE id > {last}) FROM devfactory.orders");
        let found = stand.psql_closed(failed, &sql).remove(0);
        let (now, since) = found.split_once('|').unwrap();
        let orders = json!({ "table": "devfactory.orders", "at_fence": null, "rewritten": false,
            "in_backup": sums["devfactory.orders"]["rows"], "now": now.parse::<u64>().unwrap(),
            "written_since": since.parse::<u64>().unwrap() });
        assert_eq!(of("devfactory.orders"), orders, "orders{at}");
        assert_eq!((&of("crm.later")["now"], &of("crm.later")["in_backup"]), (&json!(0), &json!(null)));
        assert_eq!(of("crm.billing_accounts"), json!(null), "in it nothing moved: {rows:#?}{at}");
        outcome.says(&format!("rows in the backup, {now} now, {since} written since"));
        let dump = stand.repo.join(record["failed_dump"].as_str().unwrap());
        tool("sha256sum", &["-c", "--quiet", "digest.sha256"], &dump, None);
    });
    checks.that("from a backup: the code is as it was", || {
        let now = stand.containers();
        for service in APPS {
            assert_eq!(now[service].image, before[service].image, "the image of {service}{at}");
        }
        stand.runs_version("1");
        assert_eq!(now["postgres"], before["postgres"], "the database container{at}");
    });
    checks.that("from a backup: leftovers", || {
        kept.rolled_back(evidence.json("rollback.json")["failed_database"].as_str().unwrap());
        kept.tree = stand.beside().exists();
        stand.nothing_left_over(kept, &outcome);
    });
    checks.that("no secret", || stand.no_secret_anywhere());
    case.checks.all_hold();
}
