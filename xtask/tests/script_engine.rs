//! The script engine of a backup, one run at a time, against stand-ins that do
//! what PowerShell 7 and the script were measured to do. tests/standin/mod.rs
//! says how the real ones take their place.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

mod standin;

use standin::{LONG, Scene, real, signal};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;
use xtask::acts::stored::{self, Maker};
use xtask::exec::Kind;

/// A scene that only the stand-in can play; None where the real script runs.
fn played(mode: &str) -> Option<Scene> {
    if real().is_some() {
        eprintln!("{mode}: not played, the real script runs");
        return None;
    }
    Some(Scene::new(mode))
}

// ---------------------------------------------------------------- a good run

#[test]
fn a_good_run_is_verified_and_its_dump_gets_its_common_name() {
    let scene = Scene::new("good");
    let stored = scene.run(LONG).unwrap();
    assert_eq!((stored.maker, stored.database.as_str()), (Maker::Script, "foxproflow"));
    assert_eq!(stored.dump.name, "pg_foxproflow.dump");
    assert!(stored.dir.starts_with(&scene.backups));
    let (own, common) = (stored.archive(), stored.dir.join("db.dump"));
    assert_eq!(std::fs::metadata(&own).unwrap().ino(), std::fs::metadata(&common).unwrap().ino());
    assert_eq!(std::fs::metadata(&stored.dir).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(stored::read(&stored.dir).unwrap().dump, stored.dump, "it reads back with its second name");
    // Thirteen files: what the script writes, and db.dump.
    assert_eq!(scene.left_behind().len(), 13, "{:?}", scene.left_behind());
    assert!(
        scene.read("docker.calls").unwrap().contains("pg_restore -f /dev/null"),
        "the archive was not read"
    );
    scene.nothing_left();
}

#[test]
fn nobody_else_can_read_the_backups_while_the_script_writes_them() {
    let Some(scene) = played("good") else { return };
    std::fs::set_permissions(&scene.backups, std::fs::Permissions::from_mode(0o755)).unwrap();
    let pg_dump = "stat -c %a \"$FF_HERE/../лис a b/ops/_backups\" > \"$FF_HERE/mode.seen\" 2>&1; exit 1\n";
    standin::program(&scene.bin.join("inside/pg_dump"), pg_dump);
    scene.fails(LONG);
    assert_eq!(scene.read("mode.seen").as_deref(), Some("700\n"));
}

#[test]
fn the_script_is_driven_as_measured() {
    let scene = Scene::new("good");
    scene.run(LONG).unwrap();
    let argv = scene.read("pwsh.argv").unwrap();
    let repo = scene.repo.display();
    let wanted = format!(
        "-NoLogo\n-NoProfile\n-NonInteractive\n-File\n{repo}/scripts/pwsh/ff-backup.ps1\n-BackupDir\n{}\n\
         -ComposeFile\n{repo}/docker-compose.yml\n-ProjectName\nfoxproflow-mvp20\n",
        scene.backups.display()
    );
    assert_eq!(argv, wanted);
    let env = scene.read("pwsh.env").unwrap();
    for line in ["NO_COLOR=1", "TERM=dumb"] {
        assert!(env.lines().any(|l| l == line), "{line}");
    }
    assert_eq!(scene.read("pwsh.stdin").unwrap().trim(), "/dev/null");
}

#[test]
fn a_path_of_another_system_escapes_before_it_and_older_shapes_are_taken() {
    for mode in ["windows", "terminal", "older"] {
        let Some(scene) = played(mode) else { return };
        let stored = scene.run(LONG).unwrap();
        assert!(stored.dir.join("db.dump").is_file(), "{mode}");
        assert!(stored.dir.starts_with(&scene.backups), "{mode}");
    }
}

#[test]
fn two_runs_of_one_second_do_not_share_a_directory() {
    let Some(scene) = played("same-second") else { return };
    scene.run(LONG).unwrap();
    let told = scene.fails(LONG);
    assert!(told.contains("20260101-000000 was there before it began"), "{told}");
}

#[test]
fn the_script_does_not_run_where_there_is_no_room_for_its_dump() {
    let scene = Scene::new("good");
    let fault = scene.run_on(LONG, u64::MAX).unwrap_err();
    assert!(fault.to_string().contains("too little room for a backup"), "{fault}");
    assert!(scene.read("pwsh.argv").is_none(), "it was run");
    assert_eq!(std::fs::read_dir(&scene.backups).unwrap().count(), 0);
}

// ---------------------------------------------------------------- failures that the script tells

#[test]
fn the_reason_of_a_failed_dump_is_quoted_from_its_log() {
    let scene = Scene::new("no-database");
    let told = scene.fails(LONG);
    assert!(
        told.starts_with("scripts/pwsh/ff-backup.ps1 made no backup: exit 1: pg_dump: error: "),
        "{told}"
    );
    assert!(told.ends_with("database \"foxproflow\" does not exist (pg_dump_exec.log)"), "{told}");
    assert!(scene.told().contains("pg_dump_exec.log: exit_code=1"), "the logs are kept: {}", scene.told());
    assert!(!told.contains("Exception"), "standard error is no source: {told}");
}

#[test]
fn a_database_that_does_not_run_is_told() {
    let told = Scene::new("stopped").fails(LONG);
    assert!(told.contains("no running container of the database (compose_ps_q.log)"), "{told}");
}

#[test]
fn a_compose_file_that_is_missing_leaves_nothing_and_is_told() {
    let scene = Scene::new("good");
    std::fs::remove_file(scene.repo.join("docker-compose.yml")).unwrap();
    let told = scene.fails(LONG);
    assert!(told.contains("exit 1: no log gives a reason: is the compose file there"), "{told}");
}

#[test]
fn usage_text_on_standard_output_is_quoted() {
    let Some(scene) = played("usage") else { return };
    let told = scene.fails(LONG);
    assert!(told.contains("exit 64: PowerShell did not run the script: The argument '"), "{told}");
}

#[test]
fn a_full_disk_is_guessed_from_empty_logs() {
    let Some(scene) = played("full") else { return };
    let told = scene.fails(LONG);
    assert!(told.contains("compose_ps_q.log, pg_dump_exec.log"), "{told}");
    assert!(told.ends_with("empty: is the disk full?"), "{told}");
}

// ---------------------------------------------------------------- results that are none

#[test]
fn an_exit_of_0_without_a_result_is_a_failure() {
    for mode in ["nothing", "silent"] {
        let Some(scene) = played(mode) else { return };
        let told = scene.fails(LONG);
        assert!(told.contains("exit 0: no outDir was named"), "{mode}: {told}");
    }
}

#[test]
fn a_result_with_another_exit_is_a_failure() {
    let Some(scene) = played("late") else { return };
    let told = scene.fails(LONG);
    assert!(told.contains("made no backup: exit 1"), "{told}");
}

#[test]
fn a_result_that_does_not_verify_is_a_failure() {
    for (mode, word) in [
        ("flipped", "pg_foxproflow.dump was changed"),
        ("full-and-0", "pg_foxproflow.dump is empty"),
        ("second-run", "pg_second.dump is in no list"),
        ("no-manifest", "manifest.json"),
        ("elsewhere", "which is not in"),
        ("stale", "which is not in"),
        ("other-database", "it is of database other"),
    ] {
        let Some(scene) = played(mode) else { return };
        let told = scene.fails(LONG);
        assert!(told.starts_with("the backup of the repository's script is none: "), "{mode}: {told}");
        assert!(told.contains(word), "{mode}: {told}");
    }
}

#[test]
fn an_archive_that_ends_too_early_is_found_though_all_hashes_fit() {
    let told = Scene::new("cut").fails(LONG);
    assert!(told.contains("pg_foxproflow.dump cannot be read to its end"), "{told}");
    assert!(told.contains("unexpected end of file") || told.contains("end of file"), "{told}");
}

#[test]
fn a_backup_of_another_container_is_refused() {
    let scene = Scene::new("good");
    std::fs::write(scene.bin.join("id"), "f".repeat(64)).unwrap();
    let fault = scene.run(LONG).unwrap_err();
    assert!(fault.to_string().contains("it is of container ffff"), "{fault}");
    // The container of the stand cannot be looked into here: that is told, not kept quiet.
    assert!(fault.to_string().contains("may still be in the database container"), "{fault}");
}

// ---------------------------------------------------------------- ends that are none

#[test]
fn a_run_without_an_end_is_ended_with_all_that_it_started() {
    for mode in ["hangs", "stubborn"] {
        let scene = Scene::new(mode);
        let told = scene.fails(Duration::from_secs(4));
        assert!(told.contains("no end within 4 s (backup.timeout_s)"), "{mode}: {told}");
        assert!(scene.read("pg_dump.pid").is_some(), "{mode}: pg_dump had not begun");
        assert!(scene.read("psql.asked").is_some(), "{mode}: the server was not asked to end its backend");
        let left = scene.left_behind();
        assert!(left.contains(&"backup.log".into()), "{mode}: {left:?}");
        assert!(!left.iter().any(|f| f.ends_with(".dump")), "{mode}: half a dump stays: {left:?}");
    }
}

#[test]
fn the_operators_stop_ends_it_and_what_runs_in_the_container() {
    let scene = Scene::new("hangs");
    let told = std::thread::scope(|scope| {
        scope.spawn(|| {
            scene.wait_for("pg_dump.pid");
            scene.interrupt.raise(Kind::CtrlC);
        });
        scene.fails(LONG)
    });
    assert!(told.ends_with("made no backup: interrupted"), "{told}");
}

#[test]
fn an_interrupt_of_the_script_alone_is_no_success_though_it_exits_with_0() {
    let scene = Scene::new("hangs");
    let told = std::thread::scope(|scope| {
        scope.spawn(|| {
            scene.wait_for("pg_dump.pid");
            signal("INT", &scene.wait_for("pwsh.pid"));
        });
        scene.fails(LONG)
    });
    assert!(told.contains("made no backup: exit 0: "), "{told}");
}

#[test]
fn what_the_script_leaves_running_when_a_signal_kills_it_is_ended() {
    let scene = Scene::new("hangs");
    let told = std::thread::scope(|scope| {
        scope.spawn(|| {
            scene.wait_for("pg_dump.pid");
            signal("TERM", &scene.wait_for("pwsh.pid"));
        });
        scene.fails(LONG)
    });
    assert!(told.ends_with("killed by signal 15"), "{told}");
    let Some(scene) = played("dies") else { return };
    let told = scene.fails(LONG);
    assert!(told.ends_with("killed by signal 9"), "{told}");
    assert!(scene.read("orphan.pid").is_some());
}

#[test]
fn files_of_an_earlier_run_in_the_container_go_with_a_failure() {
    let scene = Scene::new("stopped");
    std::fs::write(scene.bin.join("container/tmp/ff_backup_20200101-000000_x y.dump"), "old").unwrap();
    scene.fails(LONG);
}

#[test]
fn secrets_in_the_logs_are_masked() {
    let Some(scene) = played("no-database") else { return };
    let pg_dump = "echo 'FATAL: postgresql://admin:geheim-geheim@db/x refused, error' >&2; exit 1\n";
    standin::program(&scene.bin.join("inside/pg_dump"), pg_dump);
    let told = scene.fails(LONG);
    assert!(told.contains("refused, error") && !told.contains("geheim-geheim"), "{told}");
    assert!(
        scene.told().contains("refused, error") && !scene.told().contains("geheim-geheim"),
        "{}",
        scene.told()
    );
}

#[test]
fn rows_in_the_logs_are_cut_over_all_their_lines() {
    let Some(scene) = played("no-database") else { return };
    let pg_dump = "printf 'pg_dump: error: refused\\nDETAIL:  Key (name)=(Ivan\\nan error of Petrov) already exists.\\n' >&2; \
                   exit 1\n";
    standin::program(&scene.bin.join("inside/pg_dump"), pg_dump);
    let told = scene.fails(LONG);
    assert!(told.ends_with("pg_dump: error: refused (pg_dump_exec.log)"), "{told}");
    let kept = scene.told();
    assert!(kept.contains("DETAIL:  [row values cut]") && !kept.contains("Petrov"), "{kept}");
}
