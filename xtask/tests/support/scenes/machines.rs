//! One writer for a stand over two machines, and a machine that dies.

use crate::support::before::Before;
use crate::support::stand::EVIDENCE;
use crate::support::{Checks, SOON, Stand, wait_for};

const LOCK: &str = "BEGIN; LOCK TABLE app.attachments IN ACCESS EXCLUSIVE MODE";

fn wait_in_backup(stand: &Stand, rid: &str) {
    let journal = stand.repo.join(EVIDENCE).join(rid).join("events.jsonl");
    wait_for("the release to begin its dump", SOON * 20, || {
        std::fs::read_to_string(&journal).unwrap_or_default().contains("\"act\":\"dump\"").then_some(())
    });
    let sql = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'LOCK TABLE%'";
    wait_for("pg_dump to wait for the table", SOON, || stand.psql(sql).pop());
}

#[test]
fn of_two_machines_one_writes_and_one_that_dies_does_not_block() {
    let mut checks = Checks::default();
    let mut stand = Stand::new();
    stand.set("FF_SMOKE_TIMEOUT_S", "120");
    stand.set("FF_SMOKE_SETTLE_S", "20");
    stand.set("FF_BACKUP_LOCK_WAIT_S", "200");
    let (_, kept) = stand.first_release();
    let before = Before::of(&stand);

    // Here somebody releases; there somebody wants to.
    let held = stand.hold("foxproflow", "ff-test-holder", LOCK);
    let here = stand.start(&["release", "--yes", "--rid", "rel_here"]);
    wait_in_backup(&stand, "rel_here");
    let pid = format!("pid {}", here.id());
    let host = gethostname::gethostname().to_string_lossy().into_owned();
    for args in [&["release", "--yes"] as &[&str], &["rollback", "--yes"]] {
        let rids = stand.rids();
        let refused = stand.heard(stand.start_on("boris", args).wait(), &rids);
        checks.that(format!("{args:?} on another machine"), || {
            let refused = refused.expect(11);
            for word in ["another machine", "rel_here", "тест-оператор", &host, &pid, "step backup", "since"]
            {
                refused.says(word);
            }
        });
    }
    here.signal("INT");
    stand.heard(here.wait(), &[]).expect(130);
    drop(held);

    // There somebody releases, and the power goes.
    let held = stand.hold("foxproflow", "ff-test-holder", LOCK);
    let there = stand.start_on("boris", &["release", "--yes", "--rid", "rel_there"]);
    wait_in_backup(&stand, "rel_there");
    checks.that("release here, while boris is at work", || {
        let rids = stand.rids();
        let refused = stand.run(&["release", "--yes"]).expect(11);
        ["rel_there", "boris@boris", "step backup", "pid "].iter().for_each(|word| refused.says(word));
        assert_eq!(stand.rids(), rids, "a run that did not begin left evidence{}", refused.at());
    });
    stand.power_off("boris");
    there.wait();
    drop(held);
    wait_for("the server to notice", SOON, || {
        stand
            .psql_on("postgres", "SELECT 1 FROM pg_locks WHERE locktype = 'advisory'")
            .is_empty()
            .then_some(())
    });
    checks.that("what is open is named here", || {
        let refused = stand.run(&["release", "--yes"]).expect(10);
        refused.says("rel_there was interrupted");
        refused.says("cargo xtask rollback");
    });
    let rolled = stand.run(&["rollback", "--yes", "--json"]);
    checks.that("rollback from here", || {
        let rolled = rolled.clone().expect(0);
        let evidence = stand.evidence(&rolled);
        assert_eq!(evidence.json("rollback.json")["recovers"], "rel_there", "recovers{}", rolled.at());
        before.containers_untouched(&stand, &rolled.at());
        before.checkout_untouched(&stand, &rolled.at());
        before.last_good_untouched(&stand, &rolled.at());
        stand.run(&["smoke"]).expect(0);
    });
    checks.that("leftovers", || stand.nothing_left_over(&kept, &rolled));
    checks.that("no secret", || stand.no_secret_anywhere());
    checks.all_hold();
}
