//! A way back that is blocked: the verdict says that the stand needs a person,
//! and once the cause is mended `rollback` ends what was begun.

use crate::support::before::{Before, live_oid};
use crate::support::leftovers::Kept;
use crate::support::writer::Writer;
use crate::support::{Checks, Evidence, Outcome, SOON, Stand, wait_for};
use std::net::TcpListener;

/// A stand with version 1, a client at work, and the moment before the bad release.
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

    /// The run that could not go back: `gates` that are false, and what it says of why.
    fn needs_a_person(
        &mut self,
        before: &Before,
        outcome: &Outcome,
        gates: &[&str],
        words: &[&str],
    ) -> Evidence {
        let Case { stand, checks, .. } = self;
        let evidence = stand.evidence(outcome);
        checks.that("the verdict of a rollback that is not verified", || {
            let at = &evidence.at;
            assert_eq!(evidence.verdict(), ("FAIL".into(), 40), "verdict{at}");
            for gate in gates {
                assert!(!evidence.gate(gate).0, "{gate} is true: {}{at}", evidence.gate(gate).1);
            }
            let summary = evidence.json("summary.json");
            assert_eq!(summary["rollback"]["verified"], false, "rollback.verified{at}");
            assert!(summary["state_left"].as_str().unwrap().contains("person"), "state_left{at}");
            assert!(!evidence.requests().is_empty(), "no request{at}");
            words.iter().for_each(|word| outcome.says(word));
            outcome.says("cargo xtask rollback");
            stand.run(&["evidence", "verify", &evidence.rid()]).expect(0);
        });
        checks.that("a rollback that is not verified: the database is back", || {
            assert_ne!(live_oid(stand), before.oid, "the failed version's database is live{}", evidence.at);
            before.content_is_back(stand, &evidence, &evidence);
        });
        evidence
    }

    /// `rollback` ends at the last known good release, with the rows of before the fence.
    fn ends_at_the_last_known_good(
        &mut self,
        before: &Before,
        release: &Evidence,
        outcome: &Outcome,
        writer: Writer,
    ) {
        let Case { stand, kept, checks, commit, first } = self;
        let evidence = stand.evidence(outcome);
        let at = &evidence.at;
        checks.that("the second try: verdict", || {
            assert_eq!(evidence.verdict(), ("PASS".into(), 0), "verdict{at}");
            assert!(evidence.gate("R1").0 && evidence.gate("R2").0, "R1 and R2{at}");
            let record = evidence.json("rollback.json");
            assert_eq!(record["to"], first.as_str(), "the release that it went back to{at}");
            assert_eq!(record["recovers"], release.rid(), "the run that it ended{at}");
            let status = stand.run(&["status", "--json"]).expect(0).json();
            assert_eq!(status["last_known_good"]["rid"], first.as_str(), "last known good{at}");
        });
        writer.acked_in_newest();
        let (tag, sessions) = (writer.tag().to_string(), writer.stop());
        checks.that("the second try: rows", || {
            before.rows_are_accounted_for(stand, (release, &evidence), &tag, &sessions);
        });
        checks.that("the second try: content", || before.content_is_back(stand, release, &evidence));
        checks.that("the second try: code", || before.code_is_back(stand, "1", commit, at));
        checks.that("the second try: data services", || before.data_services_ran_on(stand, at));
        checks.that("the second try: leftovers", || {
            let failed = evidence.json("rollback.json")["failed_database"].as_str().map(String::from);
            kept.rolled_back(&failed.unwrap_or_else(|| panic!("no failed database{at}")));
            stand.nothing_left_over(kept, outcome);
        });
        checks.that("no secret", || stand.no_secret_anywhere());
    }
}

/// The failed version gives up the API's port, and another program takes it before the rollback.
#[test]
fn a_previous_version_that_cannot_start_is_no_rollback() {
    let mut case = Case::new();
    let stand = &case.stand;
    let (port, other) = (stand.sample.port, TcpListener::bind(("127.0.0.1", 0)).unwrap());
    let new_port = other.local_addr().unwrap().port();
    drop(other);
    stand.version("bad-api-not-ready");
    stand.edit("docker-compose.yml", "${FF_DEMO_API_PORT:-8080}", &new_port.to_string());
    stand.commit("[DEVTASK:9] api: another port");
    let writer = Writer::start(stand, "port");
    let before = Before::of(stand);
    let rids = stand.rids();
    let running = stand.start(&["release", "--yes", "--json"]);
    // Free as soon as the old API is stopped.
    let taken =
        wait_for("the API's old port to be free", SOON * 7, || TcpListener::bind(("127.0.0.1", port)).ok());
    let outcome = stand.heard(running.wait(), &rids).expect(40);
    let taken_port = format!("127.0.0.1:{port}");
    let words = ["NOT VERIFIED, by clone", &taken_port, "address already in use"];
    let release = case.needs_a_person(&before, &outcome, &["S1", "R1", "R2"], &words);
    drop(taken);
    let again = case.stand.run(&["rollback", "--yes", "--json"]);
    case.ends_at_the_last_known_good(&before, &release, &again.expect(0), writer);
    case.checks.all_hold();
}

/// A migration takes the login of the database's own role away: roles belong to the cluster, so
/// neither the clone nor the old code brings that back.
#[test]
fn a_previous_version_that_is_not_green_again_is_no_rollback() {
    let mut case = Case::new();
    let stand = &case.stand;
    stand.version("bad-api-not-ready");
    let path = "scripts/sql/fixpacks/20251222_app_login_apply.sql";
    std::fs::write(stand.repo.join(path), "ALTER ROLE foxproflow PASSWORD NULL;\n").unwrap();
    let last = "  \"scripts/sql/fixpacks/20251218_analytics_totals_apply.sql\",\n";
    stand.edit("ops/xtask.toml", last, &format!("{last}  \"{path}\",\n"));
    stand.commit("[DEVTASK:10] app: no password");
    let writer = Writer::start(stand, "login");
    let before = Before::of(stand);
    let outcome = stand.run(&["release", "--yes", "--json"]).expect(40);
    let words =
        ["not good again: GET /health/extended, GET /api/crm/smoke/ping, GET /api/devfactory/orders/recent"];
    let release = case.needs_a_person(&before, &outcome, &["S1", "R2"], &words);
    case.checks.that("the role that stays changed is named", || {
        assert!(release.gate("R1").0, "R1: {}{}", release.gate("R1").1, release.at);
        let record = release.json("rollback.json");
        assert!(
            record["cluster_changed"].to_string().contains("role foxproflow"),
            "{record:#}{}",
            release.at
        );
        outcome.says("role foxproflow");
    });
    let password = case.stand.secret("POSTGRES_PASSWORD").to_string();
    case.stand.psql(&format!("ALTER ROLE foxproflow PASSWORD '{password}'"));
    let again = case.stand.run(&["rollback", "--yes", "--json"]);
    case.ends_at_the_last_known_good(&before, &release, &again.expect(0), writer);
    case.checks.all_hold();
}
