//! The program is killed at every act of the ways back that an operator asks
//! for, and of a first release: the next release refuses and names the run,
//! `rollback` finishes or undoes it, and nothing is left over.

use crate::support::before::{Before, content_is, live_oid, no_row_is_lost, no_row_is_nowhere};
use crate::support::die::{Die, Moment, moments, some_and};
use crate::support::leftovers::Kept;
use crate::support::process::tool;
use crate::support::stand::EVIDENCE;
use crate::support::world::{APPS, DATA};
use crate::support::writer::Writer;
use crate::support::{Checks, Evidence, Outcome, Stand};
use std::path::Path;

struct Case {
    stand: Stand,
    die: Die,
    checks: Checks,
    tries: usize,
}

impl Case {
    fn new() -> Case {
        let mut stand = Stand::new();
        stand.stop_soon();
        stand.be_patient();
        let die = Die::build(&stand);
        Case { stand, die, checks: Checks::default(), tries: 0 }
    }

    /// A run that is killed, which is then open and refuses every other; its rid.
    fn killed(&mut self, kind: &str, args: &[&str], moment: &Moment) -> String {
        self.tries += 1;
        let rid = format!("{kind}_20991231-{:06}_killed", self.tries);
        self.die.killed(&self.stand, &[args, &["--rid", &rid]].concat(), moment);
        let Case { stand, checks, .. } = self;
        checks.that(format!("{}: the next release refuses", moment.name), || {
            let refused = stand.run(&["release", "--yes"]).expect(10);
            refused.says(&rid);
            refused.says("cargo xtask rollback");
        });
        rid
    }

    /// `rollback` ends well, and nothing is open any more; what it said, and its record.
    fn back(&mut self, run: &str, moment: &Moment) -> (Outcome, serde_json::Value) {
        let what = &moment.name;
        let outcome = self.stand.run(&["rollback", "--yes", "--json"]);
        let Case { stand, checks, .. } = self;
        checks.that(format!("{what}: rollback"), || {
            let evidence = stand.evidence(&outcome);
            let at = &evidence.at;
            assert_eq!((outcome.code, evidence.verdict()), (0, ("PASS".into(), 0)), "verdict{at}");
            stand.run(&["evidence", "verify", &evidence.rid()]).expect(0);
            let status = stand.run(&["status", "--json"]).expect(0).json();
            assert_eq!(status["interrupted"].as_array().map(Vec::len), Some(0), "open: {status:#}{at}");
        });
        let record = outcome.dir.as_ref().map(|d| std::fs::read(d.join("rollback.json")).unwrap_or_default());
        let record: serde_json::Value =
            serde_json::from_slice(&record.unwrap_or_default()).unwrap_or_default();
        let database = if record["failed_database"].is_null() { "as it was" } else { "exchanged" };
        checks.tried.add(run, &moment.step, &moment.act, &format!("0, database {database}"));
        (outcome, record)
    }

    fn end(mut self) {
        let Case { stand, checks, .. } = &mut self;
        checks.that("no secret", || stand.no_secret_anywhere());
        self.checks.all_hold();
    }
}

/// Those around the fence are always there: with it the way back becomes another one.
fn around_the_fence(moments: Vec<Moment>) -> Vec<Moment> {
    let [step, act] = ["rollback", "fence before the swap"];
    let all = vec![
        Moment::before("intent", step, act),
        Moment::after("intent", step, act),
        Moment::before("done", step, act),
    ];
    some_and(all, moments, 1)
}

#[test]
fn a_rollback_from_a_backup_that_is_killed_at_any_act_is_ended_by_the_next() {
    let mut case = Case::new();
    let (first, mut kept) = case.stand.first_release();
    let made = case.stand.evidence(&case.stand.run(&["backup"]).expect(0));
    let place = case.stand.repo.join(made.json("backup.json")["dir"].as_str().unwrap()).display().to_string();
    let args = ["rollback", "--yes", "--backup", &place];
    let whole = case.stand.evidence(&case.stand.run(&args).expect(0));
    kept.rolled_back(whole.json("rollback.json")["failed_database"].as_str().unwrap());
    for moment in around_the_fence(moments(&whole)) {
        let writer = Writer::start(&case.stand, "asked");
        let before = Before::of(&case.stand);
        let rid = case.killed("rbk", &args, &moment);
        let killed = Evidence { dir: case.stand.repo.join(EVIDENCE).join(&rid), at: String::new() };
        let replaced = killed.at_ms("intent", "rollback", "fence before the swap").is_some();
        let (outcome, record) = case.back("`rollback --backup`", &moment);
        writer.acked_in_newest();
        let (tag, sessions) = (writer.tag().to_string(), writer.stop());
        let Case { stand, checks, .. } = &mut case;
        let at = outcome.at();
        checks.that(format!("{}: state", moment.name), || {
            assert_eq!(replaced, live_oid(stand) != before.oid, "which database is live{at}");
            if replaced {
                content_is(stand, &made.json("sums_snapshot.json"), &at);
            }
            before.data_services_ran_on(stand, &at);
            before.checkout_untouched(stand, &at);
            stand.runs_version("1");
            stand.run(&["smoke"]).expect(0);
            let status = stand.run(&["status", "--json"]).expect(0).json();
            assert_eq!(status["last_known_good"]["rid"], first.rid(), "last known good: {status:#}{at}");
        });
        checks.that(format!("{}: rows", moment.name), || no_row_is_nowhere(stand, &tag, &sessions, &at));
        kept.failed.extend(record["failed_database"].as_str().map(String::from));
        kept.tree = stand.beside().exists();
        checks.that(format!("{}: leftovers", moment.name), || stand.nothing_left_over(&kept, &outcome));
    }
    case.end();
}

#[test]
fn an_undo_of_a_release_that_is_killed_at_any_act_is_ended_by_the_next() {
    let mut case = Case::new();
    let (first, _) = case.stand.first_release();
    case.stand.version("good-v2");
    case.stand.run(&["release", "--yes"]).expect(0);
    let whole = case.stand.evidence(&case.stand.run(&["rollback", "--yes"]).expect(0));
    // At its end everything is back and its copies are forgotten: that one is always there.
    let end = Moment::before("done", "rollback", "step");
    for moment in some_and(vec![end], moments(&whole), 1) {
        let writer = Writer::start(&case.stand, "undone");
        let before = Before::of(&case.stand);
        case.stand.a_task_is_held();
        let release = case.stand.evidence(&case.stand.run(&["release", "--yes"]).expect(0));
        // As a worker of the version that is undone would have done it.
        case.stand.the_task_is_done();
        case.killed("rbk", &["rollback", "--yes"], &moment);
        let (outcome, record) = case.back("`rollback`", &moment);
        writer.acked_in_newest();
        let (tag, sessions) = (writer.tag().to_string(), writer.stop());
        let Case { stand, checks, .. } = &mut case;
        let at = outcome.at();
        let failed = record["failed_database"].as_str().map(String::from);
        checks.that(format!("{}: state", moment.name), || {
            assert_eq!(record["recovers"], release.rid(), "the release that was undone{at}");
            stand.the_task_is_there(&at);
            before.content_is_back(stand, &release, &stand.evidence(&outcome));
            before.data_services_ran_on(stand, &at);
            stand.runs_version("1");
            stand.run(&["smoke"]).expect(0);
            let status = stand.run(&["status", "--json"]).expect(0).json();
            assert_eq!(status["last_known_good"]["rid"], first.rid(), "last known good: {status:#}{at}");
        });
        checks.that(format!("{}: rows", moment.name), || {
            no_row_is_lost(stand, &tag, &sessions, failed.as_deref(), &at);
        });
        let kept = Kept { clone: None, failed: failed.into_iter().collect(), tree: true };
        checks.that(format!("{}: leftovers", moment.name), || stand.nothing_left_over(&kept, &outcome));
    }
    case.end();
}

/// Nothing ran before it, not even the database.
#[test]
fn a_first_release_that_is_killed_at_any_act_is_undone() {
    let mut case = Case::new();
    case.stand.version("bad-api-not-ready");
    let whole = case.stand.evidence(&case.stand.run(&["release", "--yes"]).expect(30));
    let begun = Moment::before("done", "precheck", "start data services");
    let all = moments(&whole);
    assert!(all.contains(&begun), "a first release does not start the data services any more");
    for moment in some_and(vec![begun], all, 1) {
        case.stand.down();
        let rid = case.killed("rel", &["release", "--yes"], &moment);
        let (outcome, record) = case.back("a first release", &moment);
        let Case { stand, checks, .. } = &mut case;
        let at = outcome.at();
        checks.that(format!("{}: state", moment.name), || {
            assert_eq!(record["recovers"], rid, "the run that was undone{at}");
            only_data_services_run(stand, &at);
        });
        checks.that(format!("{}: leftovers", moment.name), || {
            let names = "SELECT datname FROM pg_database WHERE datname LIKE 'foxproflow%' AND datallowconn \
                         OR datname LIKE 'foxproflow\\_\\_%'";
            let mut wanted: Vec<String> = vec!["foxproflow".into()];
            wanted.extend(record["failed_database"].as_str().map(String::from));
            let mut found = stand.psql_on("postgres", names);
            found.sort();
            assert_eq!(found, wanted, "databases{at}");
            let look = ["exec", &stand.container("postgres"), "ls", "-A", "/tmp"];
            assert_eq!(tool("docker", &look, Path::new("/"), None), "", "files in /tmp{at}");
        });
    }
    case.stand.down();
    let rid = case.killed("rel", &["release", "--yes"], &Moment::before("done", "deploy", "up"));
    let Case { stand, checks, .. } = &mut case;
    checks.that("its undo clone is lost: the backup that it made", || {
        let killed = Evidence { dir: stand.repo.join(EVIDENCE).join(&rid), at: String::new() };
        let clone = killed.json("fence.json")["clone"].as_str().unwrap().to_string();
        stand.psql_on("postgres", &format!("DROP DATABASE \"{clone}\""));
        let dir = stand.repo.join(killed.json("backup.json")["dir"].as_str().unwrap());
        let named = ["rollback", "--yes", "--json", "--backup", &dir.display().to_string()];
        let outcome = stand.run(&named).expect(0);
        let tables = "SELECT count(*) FROM pg_tables WHERE schemaname !~ '^(pg_|information_schema)'";
        assert_eq!(stand.value(tables), "0", "tables of before the first release{}", outcome.at());
        only_data_services_run(stand, &outcome.at());
    });
    checks.that("a release that is good passes", || {
        stand.version("1");
        stand.run(&["release", "--yes"]).expect(0);
        stand.runs_version("1");
    });
    case.end();
}

/// As before a first release, but for the data services, which stay.
#[track_caller]
fn only_data_services_run(stand: &Stand, at: &str) {
    let containers = stand.containers();
    for service in DATA {
        assert_eq!(containers[service].state, "running", "{service}{at}");
    }
    for service in APPS {
        let state = containers.get(service).map(|c| c.state.as_str());
        assert_ne!(state, Some("running"), "{service} runs, and did not before{at}");
    }
    let status = stand.run(&["status", "--json"]).expect(0).json();
    assert!(status["last_known_good"].is_null(), "last known good: {status:#}{at}");
    assert_eq!(status["interrupted"].as_array().map(Vec::len), Some(0), "open: {status:#}{at}");
}
