//! One function per gate of the canon: what its record must say.

mod saved;

use super::{Charge, Planned};
use crate::evidence::records::*;
use crate::evidence::summary::Gate;
use crate::evidence::{Line, read_record};
use crate::fsx;
use std::path::Path;

/// The gates that a command is judged by, in the canon's order.
pub(super) fn all(dir: &Path, journal: &[Line], charge: &Charge, rolled_back: bool) -> Vec<Gate> {
    let mut gates = Vec::new();
    let mut add = |id: &str, (ok, detail): (bool, String)| {
        gates.push(Gate { id: id.into(), ok, detail });
    };
    if matches!(charge.command.as_str(), "release" | "backup" | "rollback") {
        add("P1", charter(dir));
        add("P2", one_writer(dir));
    }
    if charge.command == "release" {
        add("P3", precheck(dir));
        add("P4", precheck_log(dir));
        add("P5", security(dir));
    }
    if matches!(charge.command.as_str(), "release" | "backup") {
        add("B1", backup(dir));
    }
    match charge.command.as_str() {
        "release" => {
            add("B2", build(dir));
            add("R0", readiness(dir));
            add("M1", migrate(dir, charge));
            add("D1", deploy(dir, charge));
            add("S1", smoke(dir, charge));
        }
        "backup" => add("R0", proof(dir)),
        "smoke" => add("S1", smoke(dir, charge)),
        _ => {}
    }
    if rolled_back || charge.command == "rollback" {
        add("R1", restored(dir));
        add("R2", verified(dir));
    }
    add("E1", saved::raw_logs(dir, journal));
    add("E2", saved::digests(dir, charge));
    add("E3", saved::facts_complete(journal));
    add("E4", saved::no_secrets(journal));
    if let Some(failure) = read_record::<Failure>(dir, "failure.json") {
        say_why(&mut gates, &failure);
    }
    gates
}

/// The gate of the step that failed was reached, also where the step left no record.
fn say_why(gates: &mut [Gate], failure: &Failure) {
    let id = match failure.step.as_str() {
        "backup" => "B1",
        "proof" | "ready" => "R0",
        "migrate" => "M1",
        _ => return,
    };
    if let Some(gate) = gates.iter_mut().find(|g| g.id == id && g.detail == NOT_REACHED) {
        gate.detail = super::join(&failure.what, failure.why.as_deref());
    }
}

const NOT_REACHED: &str = "not reached";

fn from<T: serde::de::DeserializeOwned>(
    dir: &Path,
    name: &str,
    judge: impl FnOnce(T) -> (bool, String),
) -> (bool, String) {
    match read_record::<T>(dir, name) {
        Some(record) => judge(record),
        None => (false, NOT_REACHED.into()),
    }
}

fn charter(dir: &Path) -> (bool, String) {
    from(dir, "charter.json", |c: Charter| {
        let ok = ![&c.rid, &c.git_head, &c.operator, &c.host, &c.lane].into_iter().any(String::is_empty);
        (ok, format!("{} by {}@{}, lane {}, head {}", c.rid, c.operator, c.host, c.lane, c.git_head))
    })
}

fn one_writer(dir: &Path) -> (bool, String) {
    from(dir, "charter.json", |c: Charter| {
        let ok = !c.lock.file.is_empty() && c.lock.database;
        let halves = if c.lock.database { "file and database lock" } else { "file lock only" };
        (ok, format!("{halves} held by {} since {}", c.lock.holder, c.lock.since))
    })
}

fn precheck(dir: &Path) -> (bool, String) {
    from(dir, "precheck.json", |p: Precheck| {
        let baseline = match &p.baseline {
            Some(s) => format!("baseline {} of {} green", green(s), s.checks.len()),
            None => "no baseline".into(),
        };
        let ok = !p.services.is_empty()
            && !p.versions.is_empty()
            && !p.free.is_empty()
            && p.baseline.is_some()
            && p.refusals.is_empty();
        let detail = format!("{} services, {baseline}", p.services.len());
        (ok, if p.refusals.is_empty() { detail } else { p.refusals.join("; ") })
    })
}

fn precheck_log(dir: &Path) -> (bool, String) {
    let log = dir.join("step_precheck.log");
    let size = std::fs::metadata(&log).map(|m| m.len()).unwrap_or(0);
    from(dir, "precheck.json", |p: Precheck| {
        (size > 0 && p.git_head.len() >= 7, format!("head {}, log of {size} bytes", p.git_head))
    })
}

fn security(dir: &Path) -> (bool, String) {
    from(dir, "precheck.json", |p: Precheck| {
        let hard = p.findings.iter().filter(|f| f.hard && f.new).count();
        let scanned = p.scanned_files;
        (hard == 0 && p.scan_base.is_some(), format!("{scanned} files scanned, {hard} new hard findings"))
    })
}

fn backup(dir: &Path) -> (bool, String) {
    from(dir, "backup.json", |b: Backup| match b.skipped {
        Some(reason) => (false, format!("skipped: {reason}")),
        None => {
            let copy = std::fs::read(dir.join("backup_digest.sha256")).unwrap_or_default();
            let ok = b.verified && fsx::sha256(&copy) == b.digest_sha256;
            (ok, format!("{} of {}, sha256 {}", fsx::human_bytes(b.bytes), b.database, short(&b.sha256)))
        }
    })
}

fn proof(dir: &Path) -> (bool, String) {
    from(dir, "proof.json", |p: Proof| (p.equal, proof_words(&p)))
}

fn proof_words(p: &Proof) -> String {
    if p.equal {
        format!("restored beside, {} tables equal", p.tables)
    } else if let Some(reason) = &p.skipped {
        format!("not proved: {reason}")
    } else if !p.restore_ok {
        format!("not restored: {}", p.differences.join(", "))
    } else {
        format!("not equal: {}", crate::error::some(&p.differences))
    }
}

fn build(dir: &Path) -> (bool, String) {
    from(dir, "images.json", |b: Build| match b.skipped {
        Some(reason) => (b.ok, format!("skipped: {reason}")),
        None => {
            let new = b.images.iter().filter(|i| i.before != i.after).count();
            let ok = b.ok && b.images.iter().all(|i| i.after.is_some());
            let why = b.reason.map(|r| format!(": {r}")).unwrap_or_default();
            (ok, format!("{} services, {new} new images{why}", b.images.len()))
        }
    })
}

fn readiness(dir: &Path) -> (bool, String) {
    from(dir, "readiness.json", |r: Readiness| {
        // Derived again, not believed: `ok` is what the step thought.
        let ok = r.ok
            && r.proof_equal
            && r.blockers.is_empty()
            && r.override_valid
            && r.images.iter().all(|i| i.present)
            && r.missing.is_empty()
            && read_record::<Proof>(dir, "proof.json").is_some_and(|p| p.equal)
            && same_dump(dir);
        let detail = match (ok, r.missing.is_empty()) {
            (true, _) => format!("{} images, source {}", r.images.len(), r.source.kind),
            (false, false) => r.missing.join("; "),
            (false, true) => r.waived.unwrap_or_else(|| "the records do not fit each other".into()),
        };
        (ok, detail)
    })
}

/// The dump that was proved is the dump that was made.
fn same_dump(dir: &Path) -> bool {
    let made = read_record::<Backup>(dir, "backup.json").map(|b| b.sha256);
    let proved = read_record::<Proof>(dir, "proof.json").map(|p| p.restored_sha256);
    made.is_some() && made == proved
}

/// The files of a record are those of the plan, in its order and with its content.
fn as_planned(files: &[SqlFile], planned: &[Planned]) -> bool {
    files.len() == planned.len()
        && files.iter().zip(planned).all(|(f, p)| f.path == p.path && f.sha256 == p.sha256)
}

fn migrate(dir: &Path, charge: &Charge) -> (bool, String) {
    from(dir, "migrate.json", |m: Migrate| {
        let files = m.files.iter().filter(|f| f.status == "applied").count();
        let verified = m.verify.iter().filter(|f| f.status == "passed").count();
        if let Some(reason) = &m.waived {
            return (false, format!("skipped: {reason}"));
        }
        if !as_planned(&m.files, &charge.migrations) || !as_planned(&m.verify, &charge.verify) {
            return (false, "not the files that were planned".into());
        }
        let ok = m.ok && files == m.files.len() && verified == m.verify.len();
        match (&m.skipped, m.files.is_empty()) {
            (Some(reason), _) if ok => (true, format!("nothing to apply: {reason}; {verified} verified")),
            (None, true) => (false, "nothing was applied and no reason is recorded".into()),
            _ => {
                let failed = m.files.iter().chain(&m.verify).find(|f| f.status == "failed");
                let why = failed.map(|f| format!("; {} failed", f.path)).unwrap_or_default();
                (
                    ok,
                    format!(
                        "{files} of {} applied, {verified} of {} verified{why}",
                        m.files.len(),
                        m.verify.len()
                    ),
                )
            }
        }
    })
}

fn deploy(dir: &Path, charge: &Charge) -> (bool, String) {
    from(dir, "deploy.json", |d: Deploy| {
        let planned = charge.app_services.iter().chain(&charge.data_services);
        let missing = planned.filter(|name| !d.services.iter().any(|s| s.service == **name));
        let mut problems = d.problems.clone();
        problems.extend(missing.map(|name| format!("{name} was not looked at")));
        problems.extend(other_images(dir, &d));
        if problems.is_empty() && (!d.up || d.services.is_empty()) {
            problems.push("the services are not up".into());
        }
        let good = format!("{} services up over {} ms", d.services.len(), d.soak_ms);
        (problems.is_empty(), if problems.is_empty() { good } else { problems.join("; ") })
    })
}

/// Services that run another image than the one that B2 names for them: whatever `up` said, they are not
/// the new version.
pub fn other_images(dir: &Path, deploy: &Deploy) -> Vec<String> {
    let build: Build = read_record(dir, "images.json").unwrap_or_default();
    let built = |service: &str| build.images.iter().find(|i| i.service == service)?.after.as_ref();
    let other = |s: &&ServiceUp| built(&s.service).is_some_and(|image| *image != s.image);
    let others = deploy.services.iter().filter(other);
    others.map(|s| format!("{} runs {}, not the image of this release", s.service, s.image)).collect()
}

fn smoke(dir: &Path, charge: &Charge) -> (bool, String) {
    from(dir, "smoke.json", |s: Smoke| {
        let mut bad: Vec<&str> = s.checks.iter().filter(|c| !c.ok).map(|c| c.name.as_str()).collect();
        let missing = charge.smoke.iter().filter(|name| !s.checks.iter().any(|c| c.name == **name));
        bad.extend(missing.map(String::as_str));
        let ok = s.ok && !s.checks.is_empty() && bad.is_empty();
        let detail = format!("{} of {} checks good", green(&s), s.checks.len());
        (ok, if bad.is_empty() { detail } else { format!("{detail}; not good: {}", bad.join(", ")) })
    })
}

fn restored(dir: &Path) -> (bool, String) {
    from(dir, "rollback.json", |r: Rollback| {
        let oid = r.database.expected_oid == r.database.live_oid;
        let images = r.services.iter().all(|s| s.image == s.expected_image);
        // After a swap somebody must have looked which images run, unless nothing ran before.
        let looked = r.source == "undo"
            || !r.services.is_empty()
            || r.code.as_ref().is_some_and(|code| code.kind == "stopped");
        let ok = oid && images && looked && r.up && r.database.open;
        (ok, format!("database {} ({}), {} services", r.source, r.database.cited, r.services.len()))
    })
}

fn verified(dir: &Path) -> (bool, String) {
    from(dir, "rollback.json", |r: Rollback| {
        let ok = r.verified
            && r.problems.is_empty()
            && r.not_green_again.is_empty()
            && r.smoke.is_some()
            && r.database.sums_equal != Some(false);
        let detail = match (r.problems.is_empty(), r.smoke.as_ref()) {
            (false, _) => r.problems.join("; "),
            (true, Some(s)) => format!("{} of {} checks good again", green(s), s.checks.len()),
            (true, None) => "no second smoke".into(),
        };
        (ok, detail)
    })
}

fn green(smoke: &Smoke) -> usize {
    smoke.checks.iter().filter(|c| c.ok).count()
}

fn short(hash: &str) -> &str {
    &hash[..hash.len().min(12)]
}
