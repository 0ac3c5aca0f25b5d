//! The script engine of a backup on a real stand: PowerShell is the stand-in of
//! tests/standin, or the real one that the environment points to; engine,
//! database and program are real.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod standin;
mod support;

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use support::before::{Before, live_oid};
use support::process::{self, tool};
use support::sql::{DATABASE, psql_args};
use support::world::only_one_has;
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

/// Privileges of every kind that the sample does not have.
const GRANTS: &str = "CREATE TYPE app.weight AS (kg int); REVOKE USAGE ON TYPE app.weight FROM PUBLIC;
    CREATE FOREIGN DATA WRAPPER dummy; GRANT USAGE ON FOREIGN DATA WRAPPER dummy TO ff_reader;
    CREATE SERVER far FOREIGN DATA WRAPPER dummy; GRANT USAGE ON FOREIGN SERVER far TO ff_reader;
    GRANT CREATE ON SCHEMA public TO ff_reader; GRANT UPDATE (title) ON devfactory.orders TO ff_reader;
    CREATE FUNCTION app.one() RETURNS int LANGUAGE sql AS 'SELECT 1';
    REVOKE EXECUTE ON FUNCTION app.one() FROM PUBLIC; REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC";

#[test]
fn a_backup_of_the_script_comes_back_with_its_privileges_or_not_at_all() {
    let bin = tempfile::tempdir().unwrap();
    let mut stand = Stand::with(|repo| standin::powershell(bin.path(), repo, "good"));
    stand.set("PATH", &format!("{}:{}", bin.path().display(), std::env::var("PATH").unwrap()));
    stand.run(&["release", "--yes"]).expect(0);
    stand.psql(GRANTS);
    let backup = stand.evidence(&stand.run(&["backup"]).expect(0)).json("backup.json");
    let script = stand.repo.join(backup["script_dir"].as_str().unwrap()).display().to_string();
    let native = backup["dir"].as_str().unwrap().to_string();
    let (schema, properties) = (stand.schema(), privileges(&stand));
    let orders = stand.value("SELECT count(*) FROM devfactory.orders");

    // A table that no backup has, and privileges that the newest backup of the program has otherwise.
    stand.psql("CREATE TABLE app.later (id int); REVOKE SELECT ON ALL TABLES IN SCHEMA app FROM ff_reader");
    stand.psql("DELETE FROM devfactory.orders; GRANT CONNECT ON DATABASE foxproflow TO PUBLIC");
    let outcome = stand.run(&["rollback", "--yes", "--json", "--backup", &script]).expect(0);
    let evidence = stand.evidence(&outcome);
    let at = &evidence.at;
    assert_eq!(stand.value("SELECT count(*) FROM devfactory.orders"), orders, "orders{at}");
    let differ = only_one_has(&schema, &stand.schema());
    assert!(differ.is_empty(), "schema and its privileges: {differ:#?}{at}");
    let differ = only_one_has(&properties, &privileges(&stand));
    assert!(differ.is_empty(), "privileges that are in no schema: {differ:#?}{at}");
    let record = evidence.json("rollback.json");
    let cited = record["database"]["cited"].as_str().unwrap();
    assert!(cited.ends_with(&native) && cited.contains(&script), "what is cited: {cited}{at}");
    // The script's manifest does not say of which snapshot it is: nothing is claimed.
    let rows = record["set_aside"].as_array().unwrap();
    let of = rows.iter().find(|r| r["table"] == "devfactory.orders").unwrap();
    assert_eq!(of["in_backup"].to_string(), orders, "{of}{at}");
    assert!(of["written_since"].is_null() && of["rewritten"].is_null(), "{of}{at}");
    outcome.says("0 now, how many were written since is not known");

    // Without a backup of the program there is nowhere to take them from.
    let root = stand.repo.join("ops/_backups");
    for entry in std::fs::read_dir(&root).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !script.ends_with(&name) {
            std::fs::rename(entry.path(), bin.path().join(&name)).unwrap();
        }
    }
    let before = Before::of(&stand);
    let outcome = stand.run(&["rollback", "--yes", "--backup", &script]).expect(10);
    let evidence = stand.evidence(&outcome);
    before.containers_untouched(&stand, &evidence.at);
    assert_eq!(before.oid, live_oid(&stand), "another database has the live name{}", evidence.at);
    outcome.says("lost every GRANT");
    outcome.says("all of them are in step_rollback.log");
    let log = evidence.text("step_rollback.log");
    let headers = schema.iter().filter(|l| l.starts_with("-- Name: ") && l.contains("ACL;"));
    let mut wanted: Vec<String> =
        headers.map(|l| l["-- Name: ".len()..].split(';').next().unwrap().to_string()).collect();
    wanted.extend(["DATABASE foxproflow", "LARGE OBJECT "].map(String::from));
    let kinds = ["SCHEMA public", "TYPE weight", "FOREIGN SERVER far", "FUNCTION one()", "LANGUAGE plpgsql"];
    assert!(kinds.iter().all(|k| wanted.iter().any(|w| w == k)), "the test grants less: {wanted:?}");
    let told: Vec<&str> = log.lines().filter(|l| l.contains("privileges not known: ")).collect();
    let missing: Vec<_> = wanted.iter().filter(|w| !told.iter().any(|l| l.contains(w.as_str()))).collect();
    assert!(missing.is_empty() && told.len() >= wanted.len(), "not in the list: {missing:?}\n{told:#?}");
    assert_eq!(
        stand.psql_on("postgres", "SELECT datname FROM pg_database WHERE datname ~ '__from_'").len(),
        0
    );
}

/// Privileges on the database and on large objects, as `pg_dump -s` does not have them.
fn privileges(stand: &Stand) -> Vec<String> {
    let kinds = ["database:", "may ", "large object:"];
    stand.properties().into_iter().filter(|l| kinds.iter().any(|k| l.starts_with(k))).collect()
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
