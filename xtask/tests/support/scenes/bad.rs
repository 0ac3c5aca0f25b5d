//! Every bad version of the sample stand on the real engine, with clients that
//! write until they are thrown out: the old version answers again, and nothing
//! that anybody was told is lost.
//!
//! The versions are released one after another on one stand: each rollback is
//! where the next one starts.

use crate::support::before::{self, Before};
use crate::support::leftovers::Kept;
use crate::support::process::tool;
use crate::support::tamper::every_case_is_found;
use crate::support::writer::Writer;
use crate::support::{Checks, Evidence, SOON, Stand, note, wait_for};
use std::time::Instant;

/// What a bad version must come to.
struct Bad {
    version: &'static str,
    /// The gate that has to catch it.
    gate: &'static str,
    /// Gates that are false as well, because nothing got that far.
    not_reached: &'static [&'static str],
    lane: &'static str,
    /// What the request must quote.
    quotes: &'static [&'static str],
}

const NOT_READY: Bad = Bad {
    version: "bad-api-not-ready",
    gate: "S1",
    not_reached: &[],
    lane: "B",
    quotes: &["GET /health/extended", "ready is false"],
};
const API_500: Bad = Bad {
    version: "bad-api-500",
    gate: "S1",
    not_reached: &[],
    lane: "B",
    quotes: &["GET /api/crm/smoke/ping", "status 500"],
};
const API_DIES: Bad = Bad {
    version: "bad-api-dies",
    gate: "D1",
    not_reached: &["S1"],
    lane: "B",
    quotes: &["api does not stay up: it was restarted again and again"],
};
const WORKER_IMPORT: Bad = Bad {
    version: "bad-worker-import",
    gate: "D1",
    not_reached: &["S1"],
    lane: "B",
    // Worker and beat import it: whichever dies first is quoted.
    quotes: &["does not stay up", "No module named 'src.metrics'"],
};
const WORKER_DEAF: Bad =
    Bad { version: "bad-worker-deaf", gate: "S1", not_reached: &[], lane: "B", quotes: &["task round trip"] };
const COMPOSE_DEAF: Bad = Bad {
    version: "bad-compose-deaf",
    gate: "S1",
    not_reached: &[],
    lane: "B",
    quotes: &["task round trip"],
};
const FIXPACK_PARTIAL: Bad = Bad {
    version: "bad-fixpack-partial",
    gate: "M1",
    not_reached: &["D1", "S1"],
    lane: "C",
    quotes: &["20251220_crm_contacts_apply.sql", "relation \"crm.accounts\" does not exist"],
};
const VERIFY: Bad = Bad {
    version: "bad-verify",
    gate: "M1",
    not_reached: &["D1", "S1"],
    lane: "C",
    quotes: &["50_billing.sql", "MISSING_DB_SCHEMAS: billing"],
};
const DROP_COLUMN: Bad = Bad {
    version: "bad-drop-column",
    gate: "S1",
    not_reached: &[],
    lane: "C",
    quotes: &["GET /api/devfactory/orders/recent", "42703"],
};
const FOREIGN_OBJECTS: Bad = Bad {
    version: "bad-foreign-objects",
    gate: "S1",
    not_reached: &[],
    lane: "B",
    quotes: &["GET /health/extended", "ready is false"],
};

/// A stand on which version 1 was released, and what was found on it.
struct Chain {
    stand: Stand,
    kept: Kept,
    /// The commit of version 1.
    commit: String,
    checks: Checks,
}

impl Chain {
    fn new() -> Chain {
        let stand = Stand::new();
        let first = stand.run(&["release", "--yes"]).expect(0);
        let mut kept = Kept::default();
        kept.passed(&stand.evidence(&first));
        Chain { commit: stand.head(), stand, kept, checks: Checks::default() }
    }

    /// Releases a bad version under load and looks at everything that must be as it was.
    fn release(&mut self, bad: &Bad) -> Evidence {
        let Chain { stand, kept, commit, checks } = self;
        let clock = Instant::now();
        stand.version(bad.version);
        let writer = Writer::start(stand, bad.version);
        let before = Before::of(stand);
        let outcome = stand.run(&["release", "--yes", "--json"]).expect(30);
        writer.acked_in_newest();
        let (tag, sessions) = (writer.tag().to_string(), writer.stop());
        let evidence = stand.evidence(&outcome);
        kept.rolled_back(evidence.json("rollback.json")["failed_database"].as_str().unwrap());
        let at = &evidence.at;
        let of = |what: &str| format!("{}: {what}", bad.version);
        checks.that(of("verdict and gates"), || judged(bad, &evidence, before.runs_the_checkout(stand)));
        checks.that(of("what puts it live again"), || {
            outcome.says("a plain `docker compose up` would put the checkout live as it is, unproved");
        });
        checks.that(of("request"), || requested(bad, &evidence));
        checks.that(of("downtime"), || downtime(&evidence));
        checks.that(of("evidence verifies"), || {
            stand.run(&["evidence", "verify", &evidence.rid()]).expect(0);
        });
        checks.that(of("rows"), || {
            before.rows_are_accounted_for(stand, (&evidence, &evidence), &tag, &sessions)
        });
        checks.that(of("content"), || {
            // Without them less is compared. On a stand this small they are always taken, and taken
            // again unless the machine is busy.
            let done = |l: &&serde_json::Value| l["kind"] == "done" && l["act"] == "sum the clone";
            let took = evidence.journal().iter().find(done).and_then(|l| l["ms"].as_u64());
            assert!(took.is_some() && evidence.has("sums_clone.json"), "no sums of the fence{at}");
            assert!(
                took > Some(3_000) || evidence.has("sums_restored.json"),
                "no sums after {took:?} ms{at}"
            );
            before.content_is_back(stand, &evidence, &evidence);
        });
        checks.that(of("code"), || before.code_is_back(stand, "1", commit, at));
        checks.that(of("data services"), || before.data_services_ran_on(stand, at));
        checks.that(of("checkout"), || before.checkout_untouched(stand, at));
        checks.that(of("last known good"), || before.last_good_untouched(stand, at));
        checks.that(of("leftovers"), || stand.nothing_left_over(kept, &outcome));
        note(format!("{}: {} s", bad.version, clock.elapsed().as_secs()));
        evidence
    }
}

/// The verdict, the gates and the rollback's own words.
fn judged(bad: &Bad, evidence: &Evidence, live: bool) {
    let at = &evidence.at;
    assert_eq!(evidence.verdict(), ("FAIL".into(), 30), "verdict{at}");
    let mut no = evidence.gates(false);
    assert!(no.contains(&bad.gate.to_string()), "{} is not false: {no:?}{at}", bad.gate);
    no.retain(|g| g != bad.gate && !bad.not_reached.contains(&g.as_str()));
    assert!(no.is_empty(), "other gates are false: {no:?}{at}");
    for gate in ["R0", "R1", "R2", "B1", "E1", "E2", "E3", "E4"] {
        assert!(evidence.gate(gate).0, "{gate}: {}{at}", evidence.gate(gate).1);
    }
    let summary = evidence.json("summary.json");
    assert_eq!(summary["ok"], false, "ok{at}");
    evidence.summary_is_complete();
    // After the first rollback containers run a source beside the checkout.
    assert_eq!(evidence.json("precheck.json")["code_already_live"], live, "is the checkout mounted{at}");
    let rollback = &summary["rollback"];
    for (key, want) in [("enabled", "true"), ("performed", "true"), ("verified", "true"), ("lost_rows", "0")]
    {
        assert_eq!(rollback[key].to_string(), want, "summary.rollback.{key}{at}");
    }
    assert_eq!(rollback["source"], "clone", "summary.rollback.source{at}");
    assert!(summary["rto_ms"].as_u64().is_some(), "how long it took to be back{at}");
}

/// One request, to the lane that owns the cause, with the cause.
fn requested(bad: &Bad, evidence: &Evidence) {
    let at = &evidence.at;
    let requests = evidence.requests();
    assert_eq!(requests.len(), 1, "requests: {:?}{at}", requests.iter().map(|r| &r.0).collect::<Vec<_>>());
    let (lane, text) = &requests[0];
    assert_eq!(lane, bad.lane, "the lane of the request: {text}{at}");
    for quote in bad.quotes {
        let quoted = text.lines().any(|l| l.starts_with('>') && l.contains(quote));
        assert!(quoted, "the request does not quote `{quote}`: {text}{at}");
    }
}

/// Nobody was served from the stop until the previous version came back: the first good answer of the
/// version that failed does not end the downtime.
fn downtime(evidence: &Evidence) {
    let at = &evidence.at;
    let (step, act) = xtask::evidence::STOP;
    let stop = evidence.at_ms("intent", step, act).unwrap_or_else(|| panic!("no stop in the journal{at}"));
    let back = evidence.at_ms("intent", "rollback", "step").unwrap_or_else(|| panic!("no rollback{at}"));
    let measured = evidence.json("summary.json")["downtime_ms"]["measured"].as_u64();
    let measured = measured.unwrap_or_else(|| panic!("no downtime was measured{at}"));
    assert!(
        measured > back - stop,
        "downtime {measured} ms; the rollback began after {} ms{at}",
        back - stop
    );
}

/// Nothing is touched: clients write on through the whole run.
fn an_image_that_does_not_build(chain: &mut Chain) {
    let Chain { stand, kept, checks, .. } = chain;
    stand.version("bad-image");
    let writer = Writer::start(stand, "bad-image");
    let before = Before::of(stand);
    let outcome = stand.run(&["release", "--yes", "--json"]).expect(20);
    let sessions = writer.stop();
    let evidence = stand.evidence(&outcome);
    let at = &evidence.at;
    checks.that("bad-image: verdict and gates", || {
        assert_eq!(evidence.verdict(), ("FAIL".into(), 20), "verdict{at}");
        assert_eq!(evidence.gates(false), ["B2", "R0", "M1", "D1", "S1"], "gates that are false{at}");
        let summary = evidence.json("summary.json");
        assert_eq!(summary["rollback"]["performed"], false, "a rollback of nothing{at}");
        assert_eq!(summary["state_left"], "unchanged", "state_left{at}");
    });
    checks.that("bad-image: request", || {
        let requests = evidence.requests();
        assert!(requests.len() == 1 && requests[0].0 == "A", "requests: {requests:?}{at}");
        let text = &requests[0].1;
        assert!(text.contains("test -f requirements.txt"), "the cause is not quoted: {text}{at}");
    });
    checks.that("bad-image: nothing was touched", || {
        assert_eq!(sessions.len(), 1, "the writer was thrown out{at}");
        assert_eq!(sessions[0].oid, before::live_oid(stand), "another database has the live name{at}");
        before.containers_untouched(stand, at);
        before.checkout_untouched(stand, at);
        before.last_good_untouched(stand, at);
        stand.runs_version("1");
    });
    checks.that("bad-image: leftovers", || stand.nothing_left_over(kept, &outcome));
}

#[test]
fn code_that_fails_is_replaced_by_the_code_of_before() {
    let mut chain = Chain::new();
    let [one, other] = [&NOT_READY, &API_500].map(|bad| chain.release(bad));
    every_case_is_found(&chain.stand, &one, &other, &mut chain.checks);
    // They live for some seconds before they die, longer where the machine has much to do.
    chain.stand.set("FF_DEPLOY_SOAK_S", "9");
    chain.release(&WORKER_IMPORT);
    chain.release(&API_DIES);
    chain.stand.set("FF_DEPLOY_SOAK_S", "2");
    // A task that nobody takes is waited for to the end of this.
    chain.stand.set("FF_SMOKE_TIMEOUT_S", "12");
    chain.release(&WORKER_DEAF);
    chain.release(&COMPOSE_DEAF);
    let Chain { stand, checks, .. } = &mut chain;
    checks.that("the previous compose file's command", || {
        let worker = stand.container("worker");
        let argv = tool("docker", &["inspect", "--format", "{{json .Args}}", &worker], &stand.repo, None);
        assert!(
            !argv.contains("nobody_sends_here"),
            "the worker runs the failed compose file's command: {argv}"
        );
    });
    checks.that("`docker compose up` puts the failed version live again", || {
        let up = ["compose", "-p", &stand.project, "up", "-d", "--no-deps", "api"];
        tool("docker", &up, &stand.repo, None);
        let version = Some(COMPOSE_DEAF.version);
        wait_for("the failed version", SOON, || (stand.api_version().as_deref() == version).then_some(()));
    });
    checks.that("no secret", || stand.no_secret_anywhere());
    chain.checks.all_hold();
}

#[test]
fn databases_that_were_changed_are_replaced_by_the_clone() {
    let mut chain = Chain::new();
    let partial = chain.release(&FIXPACK_PARTIAL);
    let Chain { stand, checks, .. } = &mut chain;
    checks.that("what the migration had done is in the failed database", || {
        let columns = "SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute \
                       WHERE attrelid = to_regclass('crm.contacts') AND attnum > 0";
        let failed = partial.json("rollback.json")["failed_database"].as_str().unwrap().to_string();
        assert_eq!(stand.psql_closed(&failed, columns), ["id name"], "its first half{}", partial.at);
        assert_eq!(stand.value(columns), "", "it is in the live database{}", partial.at);
    });
    for bad in [&VERIFY, &DROP_COLUMN] {
        chain.release(bad);
    }
    an_image_that_does_not_build(&mut chain);
    let evidence = chain.release(&FOREIGN_OBJECTS);
    let Chain { stand, checks, .. } = &mut chain;
    // The role belongs to the cluster: it stays, and that is said.
    checks.that("the role of the failed version is named", || {
        assert_eq!(stand.value("SELECT count(*) FROM pg_roles WHERE rolname = 'billing_bot'"), "1");
        let record = evidence.text("rollback.json");
        assert!(record.contains("billing_bot"), "the role that stays is not named{}", evidence.at);
    });
    checks.that("no secret", || stand.no_secret_anywhere());
    chain.checks.all_hold();
}
