//! The script engine of a backup on a real stand: PowerShell is the stand-in of
//! tests/standin, or the real one that the environment points to; engine,
//! database and program are real.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod standin;
mod support;

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use support::before::Before;
use support::process::{self, tool};
use support::sql::{DATABASE, psql_args};
use support::{SOON, Stand, wait_for};
use xtask::acts::stored::{self, Maker};

#[test]
fn the_script_runs_first_and_when_it_fails_nothing_of_it_is_left() {
    let bin = tempfile::tempdir().unwrap();
    let mut stand = Stand::with(|repo| standin::powershell(bin.path(), repo, "good"));
    let inherited = std::env::var("PATH").unwrap();
    stand.set("PATH", &format!("{}:{inherited}", bin.path().display()));

    let outcome = stand.run(&["release", "--yes"]).expect(0);
    let evidence = stand.evidence(&outcome);
    let backup = evidence.json("backup.json");
    let dir = stand.repo.join(backup["script_dir"].as_str().expect("backup.json names no script_dir"));
    let script = stored::read(&dir).unwrap();
    assert_eq!((script.maker, script.database.as_str()), (Maker::Script, DATABASE));
    let ids = [script.archive(), dir.join("db.dump")].map(|p| std::fs::metadata(p).unwrap().ino());
    assert_eq!(ids[0], ids[1], "db.dump is no hard link of {}", script.dump.name);
    let native = stored::read(&stand.repo.join(backup["dir"].as_str().unwrap())).unwrap();
    assert_eq!((native.maker, backup["engine"].as_str()), (Maker::Native, Some("native")));
    assert_ne!(native.dir, script.dir);
    assert!(evidence.gate("B1").0 && evidence.gate("R0").0);
    assert!(!evidence.json("summary.json")["versions"]["pwsh"].is_null(), "the version of PowerShell");
    stand.run(&["evidence", "verify", &evidence.rid()]).expect(0);
    nothing_in_the_container(&stand);

    // A table that nobody reads, locked: the script's pg_dump waits, and knows no limit of its own.
    stand.psql("CREATE TABLE public.locked_here (id int)");
    let before = Before::of(&stand);
    let lock = locked(&stand);
    let outcome = stand.run_with(&[("FF_BACKUP_TIMEOUT_S", "5")], &["backup"]).expect(20);
    assert!(outcome.stderr.contains("no end within 5 s (backup.timeout_s)"), "{}", outcome.at());
    assert!(outcome.stderr.contains("backup.engine=native"), "{}", outcome.at());
    let evidence = stand.evidence(&outcome);
    assert_eq!(evidence.json("failure.json")["lane"], "A");
    assert_eq!(evidence.json("summary.json")["state_left"], "unchanged");
    before.containers_untouched(&stand, &evidence.at);
    nothing_in_the_container(&stand);
    dumping(&stand, "0");

    // The program itself killed while the script runs: the recovery finds what it left.
    let killed = stand.start(&["backup"]);
    dumping(&stand, "1");
    killed.signal("KILL");
    killed.wait();
    stand.run(&["rollback", "--yes"]).expect(0);
    nothing_in_the_container(&stand);
    dumping(&stand, "0");
    stand.psql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ff-test-lock'",
    );
    lock.wait();

    // Demanded and not there: refused before anything is touched.
    let demanded = [("FF_BACKUP_ENGINE", "pwsh"), ("PATH", inherited.as_str())];
    if standin::real().is_none() {
        let refused = stand.run_with(&demanded, &["release", "--yes"]).expect(10);
        assert!(refused.stderr.contains("pwsh (PowerShell 7) is not on the PATH"), "{}", refused.at());
    }
}

/// Waits until so many sessions of the script's pg_dump are there: ours have other names.
fn dumping(stand: &Stand, sessions: &str) {
    wait_for(&format!("{sessions} sessions of pg_dump"), SOON, || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pg_dump'";
        (stand.value(sql) == sessions).then_some(())
    });
}

/// A session that holds a lock on the table until somebody ends it.
fn locked(stand: &Stand) -> process::Running {
    let args = psql_args(&stand.container("postgres"), DATABASE, "ff-test-lock");
    let command = process::program("docker", &args.iter().map(String::as_str).collect::<Vec<_>>());
    let sql = b"BEGIN;\nLOCK TABLE public.locked_here IN ACCESS EXCLUSIVE MODE;\nSELECT pg_sleep(600);\n";
    let running = process::start(command, "psql with a lock", Some(sql), SOON * 8);
    wait_for("the lock", SOON, || {
        let sql = "SELECT count(*) FROM pg_locks WHERE relation = 'public.locked_here'::regclass AND granted";
        (stand.value(sql) == "1").then_some(())
    });
    running
}

/// No file of the script in the database container, and none of its processes.
#[track_caller]
fn nothing_in_the_container(stand: &Stand) {
    let container = stand.container("postgres");
    let files = tool("docker", &["exec", &container, "ls", "-A", "/tmp"], Path::new("/"), None);
    assert!(!files.contains("ff_backup"), "left in the container: {files}");
    let processes = tool("docker", &["top", &container], Path::new("/"), None);
    assert!(!processes.contains("ff_backup_"), "runs in the container: {processes}");
}
