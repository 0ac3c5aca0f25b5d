//! The directory of one real run of the script, and each way in which one may
//! and may not differ from its lists.

mod foreign;
mod made;

use super::*;
use crate::error::fault_of;
use made::{Made, list_mut, older};
use serde_json::json;

#[test]
fn the_directory_of_a_real_run_is_read() {
    let made = Made::sample();
    let stored = made.read().unwrap();
    assert_eq!((stored.maker, stored.database.as_str()), (Maker::Script, "foxproflow"));
    assert_eq!(stored.version.as_deref(), Some("2025-12-27.v2"));
    assert_eq!(stored.time.as_deref(), Some("2026-11-23T06:53:06.589+00:00"));
    assert_eq!((stored.user.as_deref(), stored.project.as_deref()), (Some("admin"), Some("ffpeer")));
    assert!(stored.container.as_ref().is_some_and(|c| c.starts_with("70abbfdb7635")));
    assert_eq!((stored.dump.name.as_str(), stored.dump.bytes), ("pg_foxproflow.dump", 14));
    assert_eq!(stored.globals.as_deref(), Some("pg_globals.sql"));
    assert_eq!(stored.files.len(), 10);
    assert!(!stored.sums && !stored.keeps_privileges());
    assert!(stored.files.iter().all(|f| f.sha256 == f.sha256.to_lowercase()));
}

#[test]
fn the_dump_gets_its_common_name_and_the_directory_stays_readable() {
    let made = Made::sample();
    let stored = made.read().unwrap();
    name_the_dump(&stored).unwrap();
    #[cfg(unix)]
    {
        let links = std::fs::metadata(stored.archive()).map(|m| std::os::unix::fs::MetadataExt::nlink(&m));
        assert_eq!(links.unwrap(), 2);
    }
    assert_eq!(made.read().unwrap().dump.name, "pg_foxproflow.dump");
    made.write(DUMP, b"the same inode");
    made.refused("pg_foxproflow.dump was changed");
}

#[test]
fn without_hard_links_the_dump_is_copied() {
    let made = Made::sample();
    let stored = made.read().unwrap();
    name_with(&stored, |_, _| Err(std::io::ErrorKind::Unsupported.into())).unwrap();
    assert_eq!(made.read().unwrap().dump, stored.dump);
    made.write(DUMP, b"something else");
    made.refused("db.dump is in no list");
}

#[test]
fn crlf_a_byte_order_mark_and_either_case_are_read() {
    let mut made = Made::sample();
    made.edit_digest(|d| format!("\u{feff}{}", d.to_lowercase()));
    made.read().unwrap();
    made.edit_digest(|d| d.replace("\r\n", "\n").replace("  ", " *"));
    made.read().unwrap();
    let text = serde_json::to_string(&made.manifest).unwrap();
    made.write(MANIFEST, format!("\u{feff}{text}\r\n").as_bytes());
    super::read(made.dir.path()).unwrap();
}

#[test]
fn only_the_compose_snapshot_may_be_listed_twice_and_only_twice() {
    let again = |d: &str, name: &str| {
        let line = d.lines().find(|l| l.trim_end().ends_with(name)).unwrap();
        format!("{line}\n{d}")
    };
    let mut made = Made::sample();
    made.edit_digest(|d| again(d, "snapshot_docker-compose.yml"));
    made.refused("snapshot_docker-compose.yml is listed 3 times in the digest");

    let mut made = Made::sample();
    made.edit_digest(|d| again(d, "pg_globals.sql"));
    made.refused("pg_globals.sql is listed 2 times in the digest");

    let mut made = Made::sample();
    let entry = made.file("snapshot_.env").clone();
    list_mut(&mut made.manifest).push(entry);
    made.refused("snapshot_.env is listed 2 times in the manifest");

    // Twice with two hashes is no repetition.
    let mut made = Made::sample();
    made.edit_digest(|d| format!("{}{}", "0".repeat(64), &d[64..]));
    made.refused("snapshot_docker-compose.yml is listed 2 times in the digest");

    let mut made = Made::sample();
    let once: String = made.digest.split_inclusive('\n').skip(1).collect();
    list_mut(&mut made.manifest).remove(0);
    made.edit_digest(|_| once);
    made.read().unwrap();
}

#[test]
fn only_backup_log_may_have_grown_and_it_may_not_shrink() {
    let made = Made::sample();
    made.write("backup.log", b"ts=1\n");
    made.refused("backup.log has 5 bytes");
    made.write("backup.log", b"");
    made.refused("backup.log is empty");
    std::fs::remove_file(made.dir.path().join("backup.log")).unwrap();
    made.refused("backup.log is missing");

    let made = Made::sample();
    let log = std::fs::read(made.dir.path().join("compose_ps_q.log")).unwrap();
    made.write("compose_ps_q.log", &[log.as_slice(), b"more\n"].concat());
    made.refused("compose_ps_q.log has");
}

#[test]
fn a_changed_a_missing_and_an_unlisted_file_are_found() {
    let made = Made::sample();
    made.write("pg_foxproflow.dump", b"PGDMP\0\x01 a dumq");
    made.refused("pg_foxproflow.dump was changed");
    std::fs::remove_file(made.dir.path().join("pg_foxproflow.dump")).unwrap();
    made.refused("pg_foxproflow.dump is missing");

    let made = Made::sample();
    made.write("pg_other.dump", b"of a second run in this second");
    made.refused("pg_other.dump is in no list");
}

#[test]
fn the_lists_must_say_the_same() {
    let mut made = Made::sample();
    made.file("pg_globals.sql")["sha256"] = "0".repeat(64).into();
    made.refused("pg_globals.sql has one hash in the manifest and another in the digest");

    let mut made = Made::sample();
    list_mut(&mut made.manifest).retain(|f| f["rel"] != "pg_globals.sql");
    made.refused("pg_globals.sql is in the digest and not in the manifest");

    let mut made = Made::sample();
    made.edit_digest(|d| {
        d.lines().filter(|l| !l.contains("pg_globals.sql")).map(|l| format!("{l}\n")).collect()
    });
    made.refused("pg_globals.sql is in the manifest and not in the digest");

    let mut made = Made::sample();
    made.digest.push('\n');
    made.refused("digest.sha256 has");
}

#[test]
fn empty_files_of_a_full_disk_are_no_backup_though_their_hashes_fit() {
    for name in ["pg_foxproflow.dump", "pg_dump_exec.log", "pg_globals.sql"] {
        let mut made = Made::sample();
        made.write(name, b"");
        let old = made.file(name)["sha256"].as_str().unwrap().to_string();
        let new = fsx::sha256(b"").to_uppercase();
        made.file(name)["sha256"] = new.clone().into();
        made.file(name)["bytes"] = 0.into();
        made.edit_digest(|d| d.replace(&old, &new));
        made.refused(&format!("{name} is empty"));
    }
}

#[test]
fn half_a_backup_is_none() {
    let made = Made::sample();
    assert!(super::read(made.dir.path()).is_err(), "no manifest");
    made.write(MANIFEST, b"{\"ts\": \"2026-11");
    assert!(super::read(made.dir.path()).is_err());
    let mut made = Made::sample();
    made.digest = "not a digest\n".into();
    made.describe_digest();
    made.refused("line 1 of digest.sha256 is malformed");
    made.digest = String::new();
    made.describe_digest();
    made.refused("lists nothing");
}

#[test]
fn names_that_lead_out_of_the_directory_are_refused() {
    for name in ["../x.dump", "/etc/passwd", "a/../../x", "C:\\x.dump", "a//b"] {
        let mut made = Made::sample();
        made.file("snapshot_.env")["rel"] = name.into();
        made.edit_digest(|d| d.replace("snapshot_.env", name));
        made.refused("is no name of a file in this directory");
    }
}

#[test]
fn older_shapes_are_read() {
    let root =
        json!({ "ts": "2025-01-02T03:04:05Z", "db_name": "fox", "pg_user": "admin", "project_name": "p" });
    let stored = older(root, &[("db.dump", "PGDMP"), ("globals.sql", "--\n")]).read().unwrap();
    assert_eq!((stored.database.as_str(), stored.dump.name.as_str()), ("fox", "db.dump"));
    assert_eq!((stored.user.as_deref(), stored.project.as_deref()), (Some("admin"), Some("p")));
    assert_eq!(stored.globals.as_deref(), Some("globals.sql"));

    let root =
        json!({ "db": { "name": "fox", "user": "me" }, "compose": { "compose_files": "/repo/a.yml" } });
    let stored = older(root, &[("pg_fox.dump", "PGDMP")]).read().unwrap();
    assert_eq!((stored.database.as_str(), stored.user.as_deref()), ("fox", Some("me")));
    assert_eq!((stored.files.len(), stored.time), (1, None), "a list of one as a bare object");

    let mut made = older(json!({}), &[("pg_fox.dump", "PGDMP")]);
    made.manifest = json!({});
    assert_eq!(made.read().unwrap().database, "fox", "named by the dump alone");
    older(json!({}), &[("db.dump", "PGDMP")]).refused("which database");
    older(json!({ "db_name": "fox" }), &[("globals.sql", "--\n")]).refused("lists no dump");
    let two = [("a.dump", "PGDMP"), ("b.dump", "PGDMP")];
    older(json!({ "db_name": "fox" }), &two).refused("lists no dump");
}

#[test]
fn the_built_in_engines_backup_is_read_and_nothing_in_it_may_differ() {
    let native = || {
        let root = json!({
            "ts": "2026-11-23T06:53:06Z", "rid": "rel_x", "script": { "name": "cargo xtask", "version": "0.1.0" },
            "compose": { "compose_files": ["a.yml"], "project_name": "p", "pg_service": "postgres" },
            "postgres": { "container_id": "c", "user": "admin", "db_name": "fox" },
        });
        let files =
            [("db.dump", "PGDMP"), ("globals.sql", "--\n"), ("sums.json", "{}"), ("backup.log", "a\n")];
        let mut made = older(root, &files);
        made.digest = made.digest.to_lowercase().replace("\r\n", "\n");
        let text = serde_json::to_string_pretty(&made.manifest).unwrap();
        made.digest.push_str(&format!("{}  manifest.json\n", fsx::sha256(text.as_bytes())));
        made
    };
    let stored = native().read().unwrap();
    assert_eq!((stored.maker, stored.sums, stored.keeps_privileges()), (Maker::Native, true, true));
    assert_eq!(stored.dump.name, "db.dump");

    let made = native();
    made.write("backup.log", b"a\nb\n");
    made.refused("backup.log has 4 bytes");
    let mut made = native();
    made.manifest["ts"] = "2027".into();
    made.refused("manifest.json was changed");
    let mut made = native();
    made.digest =
        made.digest.lines().filter(|l| !l.ends_with("manifest.json")).map(|l| format!("{l}\n")).collect();
    made.refused("manifest.json is not in the digest");
}

#[test]
fn the_dump_of_a_failed_database_is_read() {
    let mut made = older(json!({}), &[("db.dump", "PGDMP")]);
    made.manifest = json!({ "what": "x", "database": "fox__failed_1", "rid": "rel_x", "dump": "db.dump" });
    let text = serde_json::to_string_pretty(&made.manifest).unwrap();
    made.digest.push_str(&format!("{}  manifest.json\n", fsx::sha256(text.as_bytes())));
    let stored = made.read().unwrap();
    assert_eq!((stored.database.as_str(), stored.maker), ("fox__failed_1", Maker::Native));
}
