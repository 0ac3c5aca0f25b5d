//! One record of a run changed at a time: which gate that makes false.

use super::tamper::Copy;
use super::{Checks, Evidence, Stand};
use serde_json::json;
use xtask::evidence::{Verdict, judge, verify};

/// The gates that must be false, what is wrong, and how it is made so.
type Row = (&'static [&'static str], &'static str, fn(&Copy));

fn push(copy: &Copy, name: &str, list: &str, value: serde_json::Value) {
    let mut all = copy.json(name)[list].clone();
    all.as_array_mut().unwrap().push(value);
    copy.set(name, &format!("/{list}"), all);
}

fn pop(copy: &Copy, name: &str, list: &str) {
    let mut all = copy.json(name)[list].clone();
    all.as_array_mut().unwrap().pop().unwrap();
    copy.set(name, &format!("/{list}"), all);
}

/// For a release that passed.
const RELEASE: [Row; 44] = [
    (&["P1"], "no operator", |c| c.set("charter.json", "/operator", json!(""))),
    (&["P1"], "no host", |c| c.set("charter.json", "/host", json!(""))),
    (&["P1"], "no lane", |c| c.set("charter.json", "/lane", json!(""))),
    (&["P1"], "no git head", |c| c.set("charter.json", "/git_head", json!(""))),
    (&["P1", "P2"], "no charter", |c| c.remove("charter.json")),
    (&["P2"], "half a lock", |c| c.set("charter.json", "/lock/database", json!(false))),
    (&["P2"], "the other half", |c| c.set("charter.json", "/lock/file", json!(""))),
    (&["P3"], "no baseline", |c| c.set("precheck.json", "/baseline", json!(null))),
    (&["P3"], "no services", |c| c.set("precheck.json", "/services", json!([]))),
    (&["P3"], "no versions", |c| c.set("precheck.json", "/versions", json!({}))),
    (&["P3"], "free space not looked for", |c| c.set("precheck.json", "/free", json!({}))),
    (&["P4"], "no git head", |c| c.set("precheck.json", "/git_head", json!(""))),
    (&["P4", "E1"], "no log of the precheck", |c| c.remove("step_precheck.log")),
    (&["P5"], "not scanned", |c| c.set("precheck.json", "/scan_base", json!(null))),
    (&["P5"], "a new secret", |c| {
        let found = json!({ "file": "a", "line": 1, "kind": "token", "hard": true, "new": true });
        push(c, "precheck.json", "findings", found);
    }),
    (&["B1"], "not read back", |c| c.set("backup.json", "/verified", json!(false))),
    (&["B1"], "another digest", |c| c.set("backup.json", "/digest_sha256", json!("00"))),
    (&["B1", "E2"], "the digest's copy is not it", |c| {
        std::fs::write(c.dir.join("backup_digest.sha256"), "00  db.dump\n").unwrap();
    }),
    (&["B2"], "the build failed", |c| c.set("images.json", "/ok", json!(false))),
    (&["B2"], "no image", |c| c.set("images.json", "/images/0/after", json!(null))),
    (&["R0"], "the copy differs", |c| c.set("proof.json", "/equal", json!(false))),
    (&["R0"], "another dump was restored", |c| c.set("proof.json", "/restored_sha256", json!("00"))),
    (&["R0"], "an image is gone", |c| c.set("readiness.json", "/images/0/present", json!(false))),
    (&["R0"], "no override", |c| c.set("readiness.json", "/override_valid", json!(false))),
    (&["R0"], "a blocker", |c| {
        push(c, "readiness.json", "blockers", json!({ "id": "slots", "found": "1", "remedy": "drop it" }));
    }),
    (&["M1"], "a file failed", |c| c.set("migrate.json", "/files/1/status", json!("failed"))),
    (&["M1"], "a file was not run", |c| c.set("migrate.json", "/files/1/status", json!("not run"))),
    (&["M1"], "a verification failed", |c| c.set("migrate.json", "/verify/0/status", json!("failed"))),
    (&["M1"], "nothing applied, and silence", |c| c.set("migrate.json", "/files", json!([]))),
    (&["M1"], "a planned file is missing", |c| pop(c, "migrate.json", "files")),
    (&["D1"], "not up", |c| c.set("deploy.json", "/up", json!(false))),
    (&["D1"], "a problem", |c| push(c, "deploy.json", "problems", json!("api was restarted"))),
    (&["D1"], "nothing watched", |c| c.set("deploy.json", "/services", json!([]))),
    (&["D1"], "another image runs", |c| c.set("images.json", "/images/0/after", json!("sha256:00"))),
    (&["D1"], "a service is missing", |c| pop(c, "deploy.json", "services")),
    (&["S1"], "a check is red", |c| c.set("smoke.json", "/checks/2/ok", json!(false))),
    (&["S1"], "no checks", |c| c.set("smoke.json", "/checks", json!([]))),
    (&["S1"], "a planned check is missing", |c| pop(c, "smoke.json", "checks")),
    (&["E1"], "a log is missing", |c| c.remove("step_deploy.log")),
    (&["E1"], "a log is empty", |c| std::fs::write(c.dir.join("step_smoke.log"), "").unwrap()),
    (&["E2"], "the dump is not in the digest", |c| c.set("backup.json", "/dump", json!("other.dump"))),
    (&["E3"], "an act without an end", |c| {
        c.journal(|lines| lines.retain(|l| !(l["kind"] == "done" && l["act"] == "clone")));
    }),
    (&["E4"], "not scanned for secrets", |c| c.journal(|lines| lines.retain(|l| l["act"] != "secret scan"))),
    (&["E4"], "a secret was found", |c| {
        c.journal(|lines| {
            let scan = lines.iter_mut().find(|l| l["act"] == "secret scan").unwrap();
            scan["data"]["hits"] = json!(["REDIS_PASSWORD in step_build.log"]);
        });
    }),
];

/// For a rollback that was verified.
const ROLLBACK: [Row; 10] = [
    (&["R1"], "another database is live", |c| c.set("rollback.json", "/database/live_oid", json!(1))),
    (&["R1"], "the database is closed", |c| c.set("rollback.json", "/database/open", json!(false))),
    (&["R1"], "another image runs", |c| c.set("rollback.json", "/services/0/image", json!("sha256:00"))),
    (&["R1"], "not up", |c| c.set("rollback.json", "/up", json!(false))),
    (&["R2"], "not verified", |c| c.set("rollback.json", "/verified", json!(false))),
    (&["R2"], "no second smoke", |c| c.set("rollback.json", "/smoke", json!(null))),
    (&["R2"], "not green again", |c| c.set("rollback.json", "/not_green_again", json!(["worker ping"]))),
    (&["R2"], "other sums", |c| c.set("rollback.json", "/database/sums_equal", json!(false))),
    (&["R2"], "a problem", |c| push(c, "rollback.json", "problems", json!("beat has no container"))),
    (&["R1", "R2"], "no record", |c| c.remove("rollback.json")),
];

/// Judges a copy with each change: exactly the named gates are false, and the verdict says so.
pub fn every_gate_can_be_false(stand: &Stand, release: &Evidence, rollback: &Evidence, checks: &mut Checks) {
    for (evidence, rows) in [(release, &RELEASE[..]), (rollback, &ROLLBACK[..])] {
        let untouched = judge(&evidence.dir).unwrap();
        assert_eq!(untouched.verdict, Verdict::Pass, "the run to be changed did not pass{}", evidence.at);
        for (gates, what, change) in rows {
            checks.that(format!("{} is false: {what}", gates.join(" and ")), || {
                let copy = Copy::of(stand, evidence);
                change(&copy);
                copy.digest_again();
                let judged = judge(&copy.dir).unwrap();
                let no: Vec<&str> = judged.gates.iter().filter(|g| !g.ok).map(|g| g.id.as_str()).collect();
                assert_eq!(no, *gates, "gates that are false when {what}");
                assert!(!matches!(judged.verdict, Verdict::Pass | Verdict::PassWaived), "a PASS: {what}");
                assert_ne!(judged.exit.code(), 0, "exit 0: {what}");
                assert!(judged.reason.is_some(), "no reason: {what}");
                assert!(!verify(&copy.dir, None, xtask::report::render).unwrap().ok(), "it verifies: {what}");
            });
        }
    }
}
