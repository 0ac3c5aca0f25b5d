//! One writer on a stand, whoever the second one is; and an operator who says
//! stop while nothing was changed yet.

use crate::support::before::Before;
use crate::support::die::{Die, Moment};
use crate::support::held::Held;
use crate::support::leftovers::Kept;
use crate::support::process::tool;
use crate::support::stand::EVIDENCE;
use crate::support::{Checks, Running, SOON, Stand, wait_for};
use std::path::Path;
use xtask::stand::images::kept_tag;

/// A run that waits in its backup, because somebody holds a table. Its id is the last argument.
fn waiting_in_backup(stand: &Stand, args: &[&str]) -> (Held, Running) {
    let held = stand.hold(
        "foxproflow",
        "ff-test-holder",
        "BEGIN; LOCK TABLE app.attachments IN ACCESS EXCLUSIVE MODE",
    );
    let running = stand.start(args);
    let journal = stand.repo.join(EVIDENCE).join(args.last().unwrap()).join("events.jsonl");
    wait_for("the run to begin its dump", SOON, || {
        let text = std::fs::read_to_string(&journal).unwrap_or_default();
        text.contains("\"act\":\"dump\"").then_some(())
    });
    let waiting =
        "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'LOCK TABLE%'";
    wait_for("pg_dump to wait for the table", SOON, || stand.psql(waiting).pop());
    (held, running)
}

#[test]
fn a_second_writer_is_refused_and_told_who_holds_the_lock() {
    let mut checks = Checks::default();
    let mut stand = Stand::new();
    stand.set("FF_BACKUP_LOCK_WAIT_S", "200");
    let (_, kept) = stand.first_release();
    let before = Before::of(&stand);

    let (held, running) = waiting_in_backup(&stand, &["release", "--yes", "--rid", "rel_that_waits"]);
    let who = ["rel_that_waits", "тест-оператор", "release", "backup", "since"];
    for args in [&["release", "--yes"] as &[&str], &["rollback", "--yes"], &["backup"]] {
        checks.that(format!("{args:?} beside a release"), || {
            let rids = stand.rids();
            let refused = stand.run(args).expect(11);
            who.iter().for_each(|word| refused.says(word));
            assert_eq!(stand.rids(), rids, "a run that did not begin left evidence{}", refused.at());
        });
    }
    checks.that("from another clone and another worktree", || {
        let clone = stand.repo.with_file_name("another clone");
        tool("git", &["clone", "-q", ".", &clone.display().to_string()], &stand.repo, None);
        let tree = stand.repo.with_file_name("B-dev");
        stand.git(&["worktree", "add", "-q", "--detach", &tree.display().to_string()]);
        for place in [&clone, &tree] {
            for file in [".env", ".env.docker"] {
                std::fs::copy(stand.repo.join(file), place.join(file)).unwrap();
            }
            let refused =
                stand.heard(stand.start_in(place, &[], &["release", "--yes"]).wait(), &stand.rids());
            let refused = refused.expect(11);
            who.iter().for_each(|word| refused.says(word));
            let left = place.join("ops/_local").exists();
            assert!(!left, "something was left in {}{}", place.display(), refused.at());
        }
        stand.git(&["worktree", "remove", "--force", &tree.display().to_string()]);
        std::fs::remove_dir_all(&clone).unwrap();
    });
    checks.that("status names the writer", || {
        let status = stand.run(&["status", "--json"]).expect(0).json();
        assert_eq!(status["lock"]["rid"], "rel_that_waits", "{status:#}");
        assert_eq!(status["lock"]["step"], "backup", "{status:#}");
        assert_eq!(status["interrupted"].as_array().map(Vec::len), Some(0), "{status:#}");
    });
    checks.that("smoke needs no lock", || {
        stand.run(&["smoke"]).expect(0);
    });

    running.signal("INT");
    let rids: Vec<String> = stand.rids().into_iter().filter(|r| r != "rel_that_waits").collect();
    let stopped = stand.heard(running.wait(), &rids);
    drop(held);
    checks.that("Ctrl-C in the backup", || {
        let stopped = stopped.clone().expect(130);
        let evidence = stand.evidence(&stopped);
        let at = &evidence.at;
        assert_eq!(evidence.verdict(), ("FAIL".into(), 130), "verdict{at}");
        assert!(evidence.gates(false).contains(&"B1".to_string()), "B1 is true{at}");
        assert_eq!(evidence.json("summary.json")["state_left"], "unchanged", "state_left{at}");
        assert!(evidence.requests().is_empty(), "a request because the operator said stop{at}");
        before.containers_untouched(&stand, at);
        before.checkout_untouched(&stand, at);
        before.last_good_untouched(&stand, at);
        stand.runs_version("1");
        stand.run(&["evidence", "verify", &evidence.rid()]).expect(0);
        let status = stand.run(&["status", "--json"]).expect(0).json();
        assert_eq!(
            status["interrupted"].as_array().map(Vec::len),
            Some(0),
            "something is open: {status:#}{at}"
        );
        assert_eq!(status["lock"], serde_json::Value::Null, "the lock is held: {status:#}{at}");
    });
    checks.that("Ctrl-C: leftovers", || stand.nothing_left_over(&kept, &stopped));
    a_backup_that_is_told_to_stop(&stand, &kept, &mut checks);
    from_another_machine(&stand, &kept, &mut checks);
    refused_when_it_has_begun(&stand, &kept, &mut checks);
    a_checkout_that_moves_on(&stand, &kept, &mut checks);
    a_table_that_stays_locked(&stand, &kept, &before, &mut checks);
    a_stand_that_moves_on(&stand, &kept, &mut checks);
    checks.that("two that begin at the same time", || two_at_once(&stand));
    checks.that("no secret", || stand.no_secret_anywhere());
    checks.all_hold();
}

/// It ends what it had begun, and nothing of it stays.
fn a_backup_that_is_told_to_stop(stand: &Stand, kept: &Kept, checks: &mut Checks) {
    let (held, running) = waiting_in_backup(stand, &["backup", "--rid", "bak_that_waits"]);
    running.signal("TERM");
    let rids: Vec<String> = stand.rids().into_iter().filter(|r| r != "bak_that_waits").collect();
    let stopped = stand.heard(running.wait(), &rids);
    drop(held);
    checks.that("SIGTERM in a backup", || {
        let evidence = stand.evidence(&stopped.clone().expect(143));
        let at = &evidence.at;
        assert_eq!(evidence.verdict(), ("FAIL".into(), 143), "verdict{at}");
        assert_eq!(evidence.json("summary.json")["state_left"], "unchanged", "state_left{at}");
        let made = std::fs::read_dir(stand.repo.join("ops/_backups")).unwrap().flatten();
        let half = made.filter(|e| e.file_name().to_string_lossy().ends_with("_bak_that_waits"));
        assert_eq!(half.count(), 0, "half a backup stays{at}");
        stand.run(&["evidence", "verify", "bak_that_waits"]).expect(0);
    });
    checks.that("SIGTERM in a backup: leftovers", || stand.nothing_left_over(kept, &stopped));
}

/// Whoever comes first: one runs to its end, the other is told of it and leaves nothing.
fn two_at_once(stand: &Stand) {
    let rids = ["rel_one_of_two", "rel_other_of_two"];
    let running = rids.map(|rid| stand.start(&["release", "--yes", "--rid", rid]));
    let [one, other] = running.map(Running::wait);
    let (passed, refused, winner) = match one.code {
        0 => (one, other, rids[0]),
        _ => (other, one, rids[1]),
    };
    stand.heard(passed, &[]).expect(0);
    refused.expect(11).says(winner);
    let both: Vec<_> = stand.rids().into_iter().filter(|rid| rids.contains(&rid.as_str())).collect();
    assert_eq!(both, [winner], "runs that left evidence");
}

/// Another machine's half of the lock, at this step of a release.
fn held_from_afar(stand: &Stand, step: &str) -> Held {
    // The key is part of the protocol between machines: "FFXTASK" as ASCII.
    let lock = format!("SELECT pg_advisory_lock({})", 0x0046_4658_5441_534b_i64);
    stand.hold("postgres", &format!("ffxlock rel_far {step} anna@elsewhere"), &lock)
}

/// The database half of the lock holds where the file half cannot: its holder is somewhere else.
fn from_another_machine(stand: &Stand, kept: &Kept, checks: &mut Checks) {
    let locks = stand.repo.join(EVIDENCE).join("rel_that_waits/charter.json");
    let charter: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(locks).unwrap()).unwrap();
    assert!(Path::new(charter["lock"]["file"].as_str().unwrap()).exists(), "{charter}");
    let held = held_from_afar(stand, "smoke");
    let refused = stand.run(&["release", "--yes"]);
    checks.that("a writer on another machine", || {
        let refused = refused.clone().expect(11);
        refused.says("anna@elsewhere");
        refused.says("rel_far");
    });
    drop(held);
    checks.that("a writer on another machine: leftovers", || stand.nothing_left_over(kept, &refused));
}

/// Another machine was quicker while the plan was read: what it is making has no clone yet, and stays.
fn refused_when_it_has_begun(stand: &Stand, kept: &Kept, checks: &mut Checks) {
    let rids = stand.rids();
    let begun = Moment::after("intent", "precheck", "step");
    let running = Die::build(stand).stopped(stand, &["release", "--yes"], &begun);
    let held = held_from_afar(stand, "change");
    let id = "99990101t000000_abcd";
    let queue = format!("ff:freeze:{id}:celery");
    stand.redis(&["SET", &queue, "a task"]);
    let tag = kept_tag(&stand.project, "api", id);
    let image =
        tool("docker", &["inspect", "-f", "{{.Image}}", &stand.container("api")], Path::new("/"), None);
    tool("docker", &["tag", image.trim(), &tag], Path::new("/"), None);
    running.signal("CONT");
    let refused = stand.heard(running.wait(), &rids);
    drop(held);
    checks.that("refused when it has begun: what the other one makes stays", || {
        let at = refused.at();
        let refused = refused.clone().expect(11);
        refused.says("anna@elsewhere");
        assert_eq!(stand.redis(&["GET", &queue]), ["a task"], "its queues{at}");
        tool("docker", &["image", "inspect", "-f", "{{.Id}}", &tag], Path::new("/"), None);
    });
    stand.redis(&["DEL", &queue]);
    tool("docker", &["image", "rm", &tag], Path::new("/"), None);
    checks.that("refused when it has begun: leftovers", || stand.nothing_left_over(kept, &refused));
}

/// What is released is what the plan was made of: neither a commit nor an edit slips in.
fn a_checkout_that_moves_on(stand: &Stand, kept: &Kept, checks: &mut Checks) {
    let head = stand.head();
    let die = Die::build(stand);
    let other_plan = "the checkout is not what the plan was made of";
    for (step, committed, code, word) in [
        ("precheck", true, 10, other_plan),
        ("precheck", false, 10, other_plan),
        ("ready", false, 20, "the checkout was changed while it was built and proved"),
    ] {
        let rids = stand.rids();
        let begun = Moment::after("intent", step, "step");
        let running = die.stopped(stand, &["release", "--yes"], &begun);
        stand.edit("src/version.py", "VERSION = ", "VERSION  = ");
        if committed {
            stand.commit("[DEVTASK:12] api: meanwhile");
        }
        running.signal("CONT");
        let outcome = stand.heard(running.wait(), &rids);
        stand.git(&["reset", "-q", "--hard", &head]);
        checks.that(format!("a checkout that moves on before {step}, committed: {committed}"), || {
            let told = outcome.clone().expect(code);
            told.says(word);
            told.says(if committed { &head } else { "src/version.py" });
            stand.runs_version("1");
        });
        checks.that(format!("{step}: leftovers"), || stand.nothing_left_over(kept, &outcome));
    }
}

/// Nor is the way back made of a stand that is there no more, nor gone on one that was not shown.
fn a_stand_that_moves_on(stand: &Stand, kept: &Kept, checks: &mut Checks) {
    let begun = Moment::after("intent", "precheck", "step");
    let shown = Moment::said("Goes back to");
    let anew = || {
        let up = ["compose", "-p", &stand.project, "up", "-d", "--no-deps", "--force-recreate", "beat"];
        tool("docker", &up, &stand.repo, None);
    };
    // What a release writes last when it has passed.
    let last = stand.repo.join("ops/_local/lkg/last_known_good.json");
    let good = std::fs::read_to_string(&last).unwrap();
    let rid = serde_json::from_str::<serde_json::Value>(&good).unwrap()["rid"].as_str().unwrap().to_string();
    let passed = || std::fs::write(&last, good.replace(&rid, "rel_of_another")).unwrap();
    let other_plan = "the stand is not what the plan was made of";
    let other_stand = "the stand is not the one that you were asked about";
    let another = format!("the last known good release was {rid} and is rel_of_another now");
    type Case<'a> = (&'a str, &'a Moment, &'a dyn Fn(), &'a str, &'a str);
    let cases: [Case<'_>; 3] = [
        ("release", &begun, &anew, other_plan, "the container of beat"),
        ("release", &begun, &passed, other_plan, &another),
        ("rollback", &shown, &anew, other_stand, "the container of beat"),
    ];
    for (command, moment, moves_on, what, why) in cases {
        let rids = stand.rids();
        let running = Die::build(stand).stopped(stand, &[command, "--yes"], moment);
        moves_on();
        running.signal("CONT");
        let outcome = stand.heard(running.wait(), &rids);
        std::fs::write(&last, &good).unwrap();
        checks.that(format!("{command}, a stand that moves on: {why}"), || {
            let told = outcome.clone().expect(10);
            told.says(what);
            told.says(why);
        });
        checks.that(format!("{command}, a stand that moves on: leftovers"), || {
            stand.nothing_left_over(kept, &outcome);
        });
    }
}

/// B1 is false when the dump cannot be made: the stand is untouched.
fn a_table_that_stays_locked(stand: &Stand, kept: &Kept, before: &Before, checks: &mut Checks) {
    let held = stand.hold(
        "foxproflow",
        "ff-test-holder",
        "BEGIN; LOCK TABLE app.attachments IN ACCESS EXCLUSIVE MODE",
    );
    let outcome = stand.run_with(&[("FF_BACKUP_LOCK_WAIT_S", "1")], &["release", "--yes"]);
    drop(held);
    checks.that("a dump that cannot be made", || {
        let evidence = stand.evidence(&outcome.clone().expect(20));
        let at = &evidence.at;
        assert_eq!(evidence.verdict(), ("FAIL".into(), 20), "verdict{at}");
        let no = evidence.gates(false);
        assert_eq!(no, ["B1", "B2", "R0", "M1", "D1", "S1", "E2"], "gates that are false{at}");
        let requests = evidence.requests();
        assert!(requests.len() == 1, "requests: {requests:?}{at}");
        assert!(requests[0].1.contains("timeout"), "the cause: {}{at}", requests[0].1);
        before.containers_untouched(stand, at);
        before.last_good_untouched(stand, at);
    });
    checks.that("a dump that cannot be made: leftovers", || stand.nothing_left_over(kept, &outcome));
}
