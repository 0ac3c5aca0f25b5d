//! A database whose disk is small: what earlier releases left makes room, and
//! where that is not enough nothing is begun.

use crate::support::before::Before;
use crate::support::leftovers::Kept;
use crate::support::{Checks, Stand};

/// A volume of 300 MB in memory: a real file system that is really full.
const SMALL: &str = "  pgdata:\n    driver: local\n    driver_opts:\n      type: tmpfs\n      device: tmpfs\n      o: size=300m\n";
const SERVER: &str = "    image: postgres:15\n    command: [\"postgres\", \"-c\", \"max_wal_size=32MB\", \"-c\", \"min_wal_size=32MB\"]\n";

/// Grows the database by about this many megabytes.
fn grow(stand: &Stand, megabytes: u32) {
    stand.psql("CREATE TABLE IF NOT EXISTS app.ballast (text text)");
    stand.psql(&format!(
        "INSERT INTO app.ballast SELECT repeat(md5(n::text), 30) FROM generate_series(1, {megabytes} * 1000) n"
    ));
    stand.psql("CHECKPOINT");
}

#[test]
fn where_the_disk_is_short_older_clones_go_first_and_then_nothing_is_begun() {
    let mut checks = Checks::default();
    let stand = Stand::with(|repo| {
        let path = repo.join("docker-compose.yml");
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text.replace("    image: postgres:15\n", SERVER).replace("  pgdata:\n", SMALL);
        assert!(text.contains("tmpfs") && text.contains("max_wal_size"), "the compose file was not edited");
        std::fs::write(path, text).unwrap();
    });
    let mut kept = Kept::default();
    stand.run(&["release", "--yes"]).expect(0);
    grow(&stand, 60);
    let full = stand.run(&["release", "--yes"]).expect(0);
    let undo = stand.evidence(&full).json("fence.json")["clone"].as_str().unwrap().to_string();

    let plan = stand.run(&["release", "--plan"]).expect(0);
    checks.that("the plan says what goes, and why", || {
        plan.says(&undo);
        plan.says("because the database's disk is short");
    });
    let backup = stand.run(&["backup"]).expect(20);
    checks.that("a backup drops nothing for its proof", || {
        backup.says("free for the database");
        backup.says("cargo xtask status");
        let clones = stand.psql("SELECT datname FROM pg_database WHERE datname LIKE '%\\_\\_pre\\_%'");
        assert_eq!(clones, std::slice::from_ref(&undo), "undo clones{}", backup.at());
        let made = stand.evidence(&backup).json("backup.json")["dir"].as_str().unwrap().to_string();
        assert!(stand.repo.join(&made).join("db.dump").exists(), "{made} is gone{}", backup.at());
    });
    let short = stand.run(&["release", "--yes"]).expect(0);
    let evidence = stand.evidence(&short);
    kept.passed(&evidence);
    checks.that("the older clone made room", || {
        short.says(&undo);
        assert!(
            evidence.at_ms("done", "proof", "make room").is_some(),
            "nothing was dropped for it{}",
            evidence.at
        );
        assert_eq!(evidence.verdict(), ("PASS".into(), 0), "verdict{}", evidence.at);
    });
    checks.that("the older clone made room: leftovers", || stand.nothing_left_over(&kept, &short));

    grow(&stand, 50);
    let before = Before::of(&stand);
    let refused = stand.run(&["release", "--yes"]).expect(20);
    let evidence = stand.evidence(&refused);
    checks.that("too little all the same", || {
        let at = &evidence.at;
        assert_eq!(evidence.verdict(), ("FAIL".into(), 20), "verdict{at}");
        assert!(!evidence.gate("R0").0, "R0 is true{at}");
        refused.says("free for the database");
        let restored = evidence.at_ms("intent", "proof", "restore");
        assert_eq!(restored, None, "a restore was begun on a disk that is too small{at}");
        assert_eq!(evidence.json("summary.json")["state_left"], "unchanged", "state_left{at}");
        before.containers_untouched(&stand, at);
        before.checkout_untouched(&stand, at);
        stand.runs_version("1");
        stand.run(&["evidence", "verify", &evidence.rid()]).expect(0);
    });
    let waived = ["release", "--yes", "--skip-backup", "no time", "--no-rollback", "no time"];
    let refused = stand.run(&waived).expect(20);
    checks.that("too little for the clone, and no proof", || {
        let evidence = stand.evidence(&refused);
        assert_eq!(evidence.verdict(), ("FAIL".into(), 20), "verdict{}", evidence.at);
        refused.says("free for the database");
        before.containers_untouched(&stand, &evidence.at);
        stand.runs_version("1");
    });
    checks.that("the release before is reached without its clone", || {
        let before = stand.evidence(&full).rid();
        stand.run(&["rollback"]).expect(10).says("cargo xtask rollback --to");
        let offer = stand.run(&["rollback", "--to", &before]).expect(10);
        offer.says("--yes");
        offer.says(&format!("from the backup that {} made", stand.evidence(&short).rid()));
    });
    checks.that("too little: leftovers", || stand.nothing_left_over(&Kept::default(), &refused));
    checks.all_hold();
}
