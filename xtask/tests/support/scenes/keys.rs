//! What the configuration can ask for and no other scene does: a second place
//! for backups, a database that stays when no migration ran, a proof that is too
//! large, checks with a header of their own.

use crate::support::before::{Before, live_oid};
use crate::support::process::tool;
use crate::support::writer::Writer;
use crate::support::{Checks, Stand};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const KEY: &str = "vT3qN8wR6kB2xJ9mL5hC7dF4";
const CHECKS: &str = r#"
[[smoke.http]]
path = "/api/crm/smoke/ping"
status = 200
expect = { "/ok" = true }

[[smoke.http]]
path = "/api/devfactory/orders/recent?limit=1&include_result=0"
status = 200
expect = { "/ok" = true }
headers = { "X-Architect-Key" = "ORDERS_KEY" }
"#;

#[test]
fn what_the_configuration_asks_for_is_done() {
    let mut checks = Checks::default();
    // Orders ask for a key, which a header of the check carries under another variable's name.
    let mut stand = Stand::with(|repo| {
        let append = |file: &str, text: &str| {
            let mut file = std::fs::File::options().append(true).open(repo.join(file)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        append(".env.docker", &format!("FF_ARCHITECT_KEY={KEY}\n"));
        append("ops/xtask.toml", CHECKS);
    });
    stand.set("ORDERS_KEY", KEY);
    let place = tempfile::tempdir().unwrap();
    let second = place.path().join("second place");
    let copy_to = format!("backup.copy_to={}", second.display());
    let first = stand.run(&["release", "--yes", "--json", "--set", &copy_to]).expect(0);
    let first = stand.evidence(&first);
    checks.that("a second place has the whole backup", || {
        let backup = first.json("summary.json")["backup"]["dir"].as_str().unwrap().to_string();
        let copy = second.join(Path::new(&backup).file_name().unwrap());
        tool("sha256sum", &["-c", "--quiet", "digest.sha256"], &copy, None);
        let hash = |dir: &Path| tool("sha256sum", &["db.dump"], dir, None);
        assert_eq!(hash(&copy), hash(&stand.repo.join(&backup)), "the dumps{}", first.at);
        // What nobody else reads at the first place nobody else reads there.
        let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&copy), 0o700, "mode of {}{}", copy.display(), first.at);
        for entry in std::fs::read_dir(&copy).unwrap().flatten() {
            assert_eq!(mode(&entry.path()), 0o600, "mode of {}{}", entry.path().display(), first.at);
        }
    });
    checks.that("a second place that takes nothing is no backup", || {
        let file = place.path().join("a file");
        std::fs::write(&file, "").unwrap();
        let before = Before::of(&stand);
        let copy_to = format!("backup.copy_to={}", file.display());
        let outcome = stand.run(&["release", "--yes", "--json", "--set", &copy_to]).expect(20);
        let evidence = stand.evidence(&outcome);
        assert!(!evidence.gate("B1").0, "B1: {}{}", evidence.gate("B1").1, evidence.at);
        outcome.says("a file");
        before.containers_untouched(&stand, &evidence.at);
    });
    checks.that("a header of a check", || {
        let good = stand.run(&["smoke", "--json"]).expect(0);
        assert_eq!(good.json()["smoke"].as_array().map(Vec::len), Some(5), "checks{}", good.at());
        let bad = stand.run_with(&[("ORDERS_KEY", "")], &["smoke"]).expect(20);
        bad.says("403");
    });
    checks.that("a proof that is too large", || {
        let refused = stand.run(&["release", "--yes", "--set", "rollback.max_proof_gb=0"]).expect(10);
        refused.says("is more than rollback.max_proof_gb");
        refused.says("--no-proof");
    });
    stand.version("bad-api-500");
    checks.that("no migration ran: the database stays", || kept(&stand));
    checks.that("no secret", || stand.no_secret_anywhere());
    checks.all_hold();
}

/// The code goes back, and what was written since the fence is where it was written.
fn kept(stand: &Stand) {
    let keep = ["--set", "rollback.database=if-migrated", "--set", "rollback.reason=writers do not wait"];
    let oid = live_oid(stand);
    let writer = Writer::start(stand, "kept");
    let args = [&["release", "--yes", "--json", "--skip-migrate", "only code"], &keep[..]].concat();
    let outcome = stand.run(&args).expect(30);
    let (tag, sessions) = (writer.tag().to_string(), writer.stop());
    let evidence = stand.evidence(&outcome);
    let record = evidence.json("rollback.json");
    let at = &evidence.at;
    assert_eq!(record["source"], "containers", "where the way back came from{at}");
    assert_eq!(record["failed_database"], serde_json::Value::Null, "a failed database{at}");
    assert_eq!(live_oid(stand), oid, "another database has the live name{at}");
    crate::support::before::no_row_is_lost(stand, &tag, &sessions, None, at);
    assert_eq!(stand.api_version().as_deref(), Some("1"), "the version that answers{at}");
    stand.run(&["evidence", "verify", &evidence.rid()]).expect(0);

    stand.version("bad-drop-column");
    let oid = live_oid(stand);
    let outcome = stand.run(&[&["release", "--yes", "--json"], &keep[..]].concat()).expect(30);
    let evidence = stand.evidence(&outcome);
    assert_eq!(evidence.json("rollback.json")["source"], "clone", "a migration ran{}", evidence.at);
    assert_ne!(live_oid(stand), oid, "the database of the failed version has the live name{}", evidence.at);
}
