//! The script's last line, its logs and what it leaves behind.

use super::*;

#[test]
fn the_last_line_names_the_directory() {
    let sample = "outDir: /repo/ops/_backups/20261123-065305\n";
    assert_eq!(out_dir(sample).as_deref(), Some("/repo/ops/_backups/20261123-065305"));
    for (stdout, path) in [
        ("outDir: C:\\Users Data\\лис\\20261123-065305\r\n", "C:\\Users Data\\лис\\20261123-065305"),
        ("outDir: \\\\server\\share\\20261123-065305\r\n", "\\\\server\\share\\20261123-065305"),
        ("\u{1b}[?1h\u{1b}[?1loutDir: /a b/20261123-065305", "/a b/20261123-065305"),
        ("\u{1b}]0;title\u{7}\u{1b}[32moutDir: /a/1\u{1b}[0m\r\n", "/a/1"),
        ("\u{1b}]0;t\u{1b}\\outDir: /a/1\n\n", "/a/1"),
        ("\u{feff}outDir:/a/1\n", "/a/1"),
        ("a warning\r\noutDir: /a/1\r\n\r\n", "/a/1"),
        ("outDir: /old/1\noutDir: /new/2\n", "/new/2"),
    ] {
        assert_eq!(out_dir(stdout).as_deref(), Some(path), "{stdout:?}");
    }
}

#[test]
fn anything_else_at_the_end_is_no_result() {
    for stdout in [
        "",
        "\n",
        "outDir:\n",
        "outDir: \r\n",
        "outDir: /a\nmore\n",
        "x outDir: /a\n",
        "Usage: pwsh\n",
        "\u{1b}[",
    ] {
        assert_eq!(out_dir(stdout), None, "{stdout:?}");
    }
}

#[test]
fn the_last_part_of_a_path_of_any_system() {
    for path in ["/a b/20261123-065305", "C:\\лис\\20261123-065305\\", "\\\\s\\d/20261123-065305/"] {
        assert_eq!(leaf(path), "20261123-065305", "{path}");
    }
}

fn log(files: &[(&str, &str)]) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    reason(dir.path(), &Redactor::new())
}

const PS: &str = include_str!("../../../tests/data/ff-backup/compose_ps_q.log");
const DUMPED: &str = include_str!("../../../tests/data/ff-backup/pg_dump_exec.log");
const FAILED: &str = include_str!("../../../tests/data/ff-backup/pg_dump_exec.failure");

#[test]
fn the_reason_is_read_from_the_log_of_the_call_that_failed() {
    let found = log(&[("compose_ps_q.log", PS), ("pg_dump_exec.log", FAILED)]).unwrap();
    assert!(found.starts_with("pg_dump: error: connection to server"), "{found}");
    assert!(found.ends_with("database \"nosuchdb\" does not exist (pg_dump_exec.log)"), "{found}");
    let crlf = FAILED.replace('\n', "\r\n");
    assert_eq!(log(&[("compose_ps_q.log", PS), ("pg_dump_exec.log", &crlf)]).unwrap(), found);
}

#[test]
fn the_reason_is_no_line_of_a_row() {
    let failed = "ts=x\nexit_code=1\n\npg_dump: error: query failed: ERROR:  duplicate key value violates unique constraint \"u\"\n\
                  DETAIL:  Key (name)=(Ivan\nan error of Petrov) already exists.\n";
    let found = log(&[("pg_dump_exec.log", failed)]).unwrap();
    assert_eq!(
        found,
        "pg_dump: error: query failed: ERROR:  duplicate key value violates unique constraint \"[row values cut]\" \
         (pg_dump_exec.log)"
    );
}

#[test]
fn a_database_that_does_not_run_is_named() {
    let nothing = "ts=x\nargv=docker compose ps -q postgres\nexit_code=0\n\n\n";
    assert!(log(&[("compose_ps_q.log", nothing)]).unwrap().contains("no running container"));
    let unknown = "ts=x\nargv=docker compose ps -q db\nexit_code=1\n\nno such service: db\n";
    assert_eq!(log(&[("compose_ps_q.log", unknown)]).unwrap(), "no such service: db (compose_ps_q.log)");
    assert!(log(&[("compose_ps_q.log", "exit_code=137\n")]).unwrap().starts_with("exit code 137"));
}

#[test]
fn good_logs_and_empty_ones_give_no_reason_and_empty_ones_are_named() {
    assert_eq!(log(&[("compose_ps_q.log", PS), ("pg_dump_exec.log", DUMPED)]), None);
    assert_eq!(log(&[]), None);
    assert_eq!(log(&[("compose_ps_q.log", ""), ("pg_dump_exec.log", "")]), None);
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [("compose_ps_q.log", PS), ("pg_dump_exec.log", ""), ("backup.log", "")] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    assert_eq!(empty_logs(dir.path()), ["pg_dump_exec.log"]);
}

#[test]
fn only_new_directories_without_a_manifest_are_half_filled() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["20261123-065305", "20261123-065519", "20261123-065700", "20261123-065800_rel_x", "notes"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
    }
    std::fs::write(dir.path().join("20261123-065700/manifest.json"), "{}").unwrap();
    let found = half_filled(dir.path(), &["20261123-065305".into(), "20261123-065800_rel_x".into()]);
    assert_eq!(found, [dir.path().join("20261123-065519")]);
    assert!(half_filled(&dir.path().join("none"), &[]).is_empty());
}
