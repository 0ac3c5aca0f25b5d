//! A second trouble on a stand that is not over the first one: queues that Redis
//! does not take back, releases while that is open, and releases onto services
//! that are stopped.

use crate::support::before::live_oid;
use crate::support::die::{Die, Moment};
use crate::support::leftovers::Kept;
use crate::support::process::tool;
use crate::support::stand::EVIDENCE;
use crate::support::{Checks, Evidence, Stand};
use std::path::Path;
use xtask::clock::Clock;
use xtask::evidence::new_rid;

/// One of the keys that go back with the database, which no worker of the sample takes from.
const QUEUE: &str = "unacked_later";
const NOTHING_RUNS: &str = "nothing runs, as before; the database is as it was at the fence";

struct Case {
    stand: Stand,
    die: Die,
    kept: Kept,
    checks: Checks,
    /// The first release.
    first: String,
}

impl Case {
    fn new() -> Case {
        let mut stand = Stand::new();
        stand.stop_soon();
        let (first, kept) = stand.first_release();
        Case { die: Die::build(&stand), stand, kept, checks: Checks::default(), first: first.rid() }
    }

    /// A bad release whose database is back, and whose queues Redis refuses: it has no memory left.
    fn queues_refused(&mut self) -> Evidence {
        let Case { stand, die, checks, .. } = self;
        stand.version("bad-api-not-ready");
        let rids = stand.rids();
        let swapped = Moment::after("done", "rollback", "replay properties");
        let running = die.stopped(stand, &["release", "--yes", "--json"], &swapped);
        // The failed version has done what waited.
        stand.redis(&["DEL", QUEUE]);
        stand.redis(&["CONFIG", "SET", "maxmemory", "1"]);
        running.signal("CONT");
        let outcome = stand.heard(running.wait(), &rids);
        let evidence = stand.evidence(&outcome);
        checks.that("queues that Redis does not take back are not said to be back", || {
            let at = &evidence.at;
            assert_eq!((outcome.code, evidence.verdict()), (40, ("FAIL".into(), 40)), "verdict{at}");
            outcome.says("OOM");
            let record = evidence.json("rollback.json");
            assert!(!record["broker"].to_string().contains("put back"), "{record:#}{at}");
            let state = evidence.json("summary.json")["state_left"].as_str().unwrap().to_string();
            assert!(state.ends_with("; the services are stopped"), "state_left: {state}{at}");
            stand.run(&["evidence", "verify", &evidence.rid()]).expect(0);
        });
        evidence
    }
}

/// The short id of a run, by its clone.
fn id_of(release: &Evidence) -> String {
    let clone = release.json("fence.json")["clone"].as_str().unwrap().to_string();
    clone.rsplit_once("__pre_").unwrap().1.into()
}

/// The names of images that are kept for going back to before a run.
fn kept_images(stand: &Stand, id: &str) -> usize {
    let all = tool("docker", &["image", "ls", "--format", "{{.Tag}} {{.Repository}}"], Path::new("/"), None);
    all.lines().filter(|l| l.contains(&stand.project) && l.contains(id)).count()
}

fn stop_services(stand: &Stand) {
    let apps = ["api", "worker", "beat"].map(|service| stand.container(service));
    let stop: Vec<&str> = ["stop", "-t", "5"].into_iter().chain(apps.iter().map(String::as_str)).collect();
    tool("docker", &stop, Path::new("/"), None);
}

/// A queue that is lost is told once; nothing brings it back, so who goes back again has heard of it.
fn lost_in_redis(case: &mut Case) {
    let release = case.queues_refused();
    let Case { stand, checks, .. } = case;
    stand.redis(&["CONFIG", "SET", "maxmemory", "0"]);
    stand.redis(&["DEL", &format!("ff:freeze:{}:{QUEUE}", id_of(&release))]);
    let told = stand.run(&["rollback", "--yes", "--json"]);
    let settled = stand.run(&["rollback", "--yes", "--json"]);
    checks.that("queues that Redis has lost are not said to be back", || {
        let back = stand.evidence(&told);
        let at = &back.at;
        assert_eq!((told.code, back.verdict()), (40, ("FAIL".into(), 40)), "verdict{at}");
        told.says(&format!("not in Redis any more, with the tasks that waited in them: {QUEUE}"));
        let record = back.json("rollback.json");
        assert_eq!(record["database"]["open"], true, "the database{at}");
        let state = back.json("summary.json")["state_left"].as_str().unwrap().to_string();
        assert!(!state.contains("stopped"), "state_left: {state}{at}");
    });
    checks.that("once that was told the rest is settled", || {
        let back = stand.evidence(&settled);
        assert_eq!((settled.code, back.verdict()), (0, ("PASS".into(), 0)), "verdict{}", back.at);
        stand.runs_version("1");
        stand.run(&["smoke"]).expect(0);
    });
    stand.redis(&["RPUSH", QUEUE, "a task"]);
}

#[test]
fn a_second_trouble_takes_nothing_that_the_first_one_needs() {
    let mut case = Case::new();
    case.stand.redis(&["RPUSH", QUEUE, "a task"]);
    let release = case.queues_refused();
    let id = id_of(&release);
    let images = kept_images(&case.stand, &id);
    assert!(images > 0, "no image is kept{}", release.at);

    // A release fails before its change, and tidies up.
    case.stand.version("bad-image");
    let second = case.stand.run(&["release", "--yes", "--no-rollback", "the first one is to be ended later"]);
    let Case { stand, kept, checks, .. } = &mut case;
    checks.that("a failed release leaves what an open one needs", || {
        let at = second.clone().expect(20).at();
        let kept = stand.redis(&["KEYS", "ff:*"]);
        assert!(kept.contains(&format!("ff:freeze:{id}:{QUEUE}")), "the queue: {kept:?}{at}");
        assert_eq!(kept_images(stand, &id), images, "images{at}");
        stand.run(&["status"]).expect(0).says(&release.rid());
    });
    stand.redis(&["CONFIG", "SET", "maxmemory", "0"]);
    let outcome = stand.run(&["rollback", "--yes", "--json"]);
    checks.that("once Redis takes them the queues are back", || {
        let back = stand.evidence(&outcome);
        let at = &back.at;
        assert_eq!((outcome.code, back.verdict()), (0, ("PASS".into(), 0)), "verdict{at}");
        assert_eq!(stand.redis(&["LRANGE", QUEUE, "0", "-1"]), ["a task"], "the queue{at}");
        stand.runs_version("1");
        kept.rolled_back(back.json("rollback.json")["failed_database"].as_str().unwrap());
        stand.nothing_left_over(kept, &outcome);
    });

    // The same again, and Redis has lost what was set aside.
    lost_in_redis(&mut case);

    // The same again, and a better version over it.
    let first = case.queues_refused();
    case.stand.redis(&["CONFIG", "SET", "maxmemory", "0"]);
    case.stand.version("good-v2");
    let world = (case.stand.containers(), live_oid(&case.stand));
    let refused = case.stand.run(&["release", "--yes"]);
    let running = case.stand.running();
    let now = (case.stand.containers(), live_oid(&case.stand));
    let backup = case.stand.repo.join(first.json("backup.json")["dir"].as_str().unwrap());
    let asked = case.stand.run(&["rollback", "--backup", &backup.display().to_string()]);
    let better = ["release", "--yes", "--json", "--no-rollback", "version 1 is to be replaced anyway"];
    let waived = case.stand.run(&better);
    let Case { stand, checks, .. } = &mut case;
    checks.that("over a run that is not back no release promises a way back", || {
        let at = refused.clone().expect(10).at();
        refused.says(&first.rid());
        refused.says("cargo xtask rollback, or with --backup DIR or --to RID");
        refused.says("--no-rollback");
        assert_eq!(now, world, "what is there{at}");
        let instead = format!("this takes the place of undoing release {}", first.rid());
        asked.clone().expect(10).says(&instead);
        assert_eq!(running, ["postgres", "redis"], "what runs{at}");
    });
    checks.that("a better version that promises none is the way out", || {
        let evidence = stand.evidence(&waived);
        let at = &evidence.at;
        assert_eq!((waived.code, evidence.verdict()), (0, ("PASS_WAIVED".into(), 0)), "verdict{at}");
        stand.runs_version("2");
        let open = stand.run(&["status", "--json"]).expect(0).json()["interrupted"].to_string();
        assert!(!open.contains(&first.rid()), "{open}{at}");
    });

    // Somebody has stopped the services, and releases onto that.
    stand.version("bad-drop-column");
    stop_services(stand);
    let outcome = stand.run(&["release", "--yes", "--json"]);
    let running = case.stand.running();
    let Case { stand, checks, .. } = &mut case;
    checks.that("back to stopped services is said to be that", || {
        let second = stand.evidence(&outcome);
        let at = &second.at;
        assert_eq!((outcome.code, second.verdict()), (30, ("FAIL".into(), 30)), "verdict{at}");
        assert_eq!(second.json("summary.json")["state_left"], NOTHING_RUNS, "state_left{at}");
        assert!(second.gate("R1").0, "R1: {}{at}", second.gate("R1").1);
        assert_eq!(running, ["postgres", "redis"], "what runs{at}");
    });
    // A good release onto stopped services, and its undo.
    stand.version("good-v2");
    let good = stand.run(&["release", "--yes"]).expect(0);
    stand.runs_version("2");
    let outcome = case.stand.run(&["rollback", "--yes", "--json"]);
    let running = case.stand.running();
    let Case { stand, checks, first: first_good, .. } = &mut case;
    checks.that("an undo goes back to stopped services, verified", || {
        let back = stand.evidence(&outcome);
        let at = &back.at;
        assert_eq!((outcome.code, back.verdict()), (0, ("PASS".into(), 0)), "verdict{at}{}", good.at());
        assert!(back.gate("R1").0, "R1: {}{at}", back.gate("R1").1);
        let state = back.json("summary.json")["state_left"].as_str().unwrap().to_string();
        assert!(state.starts_with("nothing runs"), "state_left: {state}{at}");
        assert_eq!(running, ["postgres", "redis"], "what runs{at}");
        stand.run(&["evidence", "verify", &back.rid()]).expect(0);
    });

    // An earlier release that is asked for by name runs, also where nothing did: its own code, from its
    // backup, while the checkout holds another.
    let good = stand.evidence(&stand.run(&["release", "--yes"]).expect(0));
    stop_services(stand);
    let clone = good.json("fence.json")["clone"].as_str().unwrap().to_string();
    stand.psql_on("postgres", &format!("DROP DATABASE \"{clone}\""));
    // And it takes the place of a run of which nobody knows how far it came.
    let damaged = stand.repo.join(EVIDENCE).join(new_rid("rel", Clock::System, None));
    std::fs::create_dir(&damaged).unwrap();
    std::fs::write(damaged.join("events.jsonl"), "damaged\n").unwrap();
    let refused = stand.run(&["rollback", "--yes"]);
    let outcome = stand.run(&["rollback", "--yes", "--json", "--to", first_good]);
    checks.that("a release that is asked for runs where nothing did", || {
        refused.clone().expect(10).says("--to RID, takes its place");
        let back = stand.evidence(&outcome);
        let at = &back.at;
        assert_eq!((outcome.code, back.verdict()), (0, ("PASS".into(), 0)), "verdict{at}");
        assert_eq!(back.json("rollback.json")["source"], "archive", "{at}");
        stand.runs_version("1");
        stand.run(&["smoke"]).expect(0);
        let status = stand.run(&["status", "--json"]).expect(0).json();
        assert_eq!(status["interrupted"].as_array().map(Vec::len), Some(0), "open: {status:#}{at}");
    });
    checks.that("no secret", || stand.no_secret_anywhere());
    case.checks.all_hold();
}
