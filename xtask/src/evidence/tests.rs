//! The run directory: names, masking, journal, digest, verdict.

mod properties;

use super::*;
use crate::error::fault_of;
use serde_json::json;
use std::fs;

fn run(root: &Path) -> RunDir {
    RunDir::create(root, "smk_20251227-101500_0a1b2c3", &Redactor::new()).unwrap()
}

#[test]
fn a_rid_is_a_plain_name_and_a_directory_is_used_once() {
    for bad in ["", "..", "a/b", "a b", ".x", "й", &"x".repeat(81)] {
        assert_eq!(fault_of(&check_rid(bad).unwrap_err()).exit, Some(Exit::Usage), "{bad}");
    }
    check_rid("rel_2025.12-27_x").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let first = run(dir.path());
    let again = RunDir::create(dir.path(), &first.rid, &Redactor::new()).err().unwrap();
    assert_eq!(fault_of(&again).exit, Some(Exit::Refused));
    assert_eq!(free_rid(dir.path(), first.rid.clone()), format!("{}.2", first.rid));
    assert_eq!(free_rid(dir.path(), "other".into()), "other");
    assert!(rid_of(dir.path(), "smk", None, None).unwrap().starts_with("smk_"));
    assert_eq!(rid_of(dir.path(), "bak", Some("bak_mine"), None).unwrap(), "bak_mine");
    for bad in ["smk_mine", "bak", "bak_ x"] {
        let refused = rid_of(dir.path(), "bak", Some(bad), None).unwrap_err();
        assert_eq!(fault_of(&refused).exit, Some(Exit::Usage), "{bad}");
    }
}

#[test]
fn what_is_written_is_masked() {
    let dir = tempfile::tempdir().unwrap();
    let redactor = Redactor::new();
    redactor.learn("REDIS_PASSWORD", "q7Vt2mLx9RwZ");
    let run = RunDir::create(dir.path(), "smk_1", &redactor).unwrap();
    run.write_json("x.json", &json!({ "a": ["q7Vt2mLx9RwZ"] })).unwrap();
    run.journal.fact("s", "a", json!({ "why": "got q7Vt2mLx9RwZ" })).unwrap();
    for name in ["x.json", "events.jsonl"] {
        let text = fs::read_to_string(run.path.join(name)).unwrap();
        assert!(!text.contains("q7Vt2mLx9RwZ") && text.contains("***"), "{name}: {text}");
    }
}

#[test]
fn a_journal_reads_back_and_any_change_in_it_shows() {
    let dir = tempfile::tempdir().unwrap();
    let run = run(dir.path());
    run.journal.act("s", "good", json!({}), || Ok(((), json!({ "n": 1 })))).unwrap();
    let failed: Result<()> = run.journal.act("s", "bad", json!({}), || Err(crate::error::anyhow!("no")));
    assert!(failed.is_err());
    let path = run.path.join("events.jsonl");
    let lines = read_journal(&path).unwrap();
    let kinds: Vec<LineKind> = lines.iter().map(|l| l.kind).collect();
    assert_eq!(kinds, [LineKind::Intent, LineKind::Done, LineKind::Intent, LineKind::Failed]);
    assert_eq!(lines[3].data["error"], "no");

    let text = fs::read_to_string(&path).unwrap();
    let pieces: Vec<&str> = text.lines().collect();
    let changes = [
        text.replace("\"n\":1", "\"n\":2"),
        format!("{}\n{}\n{}\n", pieces[0], pieces[2], pieces[3]),
        format!("{}\n{}\n{}\n{}\n", pieces[0], pieces[2], pieces[1], pieces[3]),
        format!("{text}{}\n", pieces[0]),
        format!("not json\n{text}"),
    ];
    for changed in changes {
        fs::write(&path, &changed).unwrap();
        assert!(read_journal(&path).is_err(), "{changed}");
    }
    // The last line may be torn: the run died while it wrote it.
    fs::write(&path, &text[..text.len() - 5]).unwrap();
    assert_eq!(read_journal(&path).unwrap().len(), 3);
}

#[test]
fn an_act_whose_intent_cannot_be_written_is_not_begun() {
    let dir = tempfile::tempdir().unwrap();
    // `/dev/full` takes nothing.
    let path = dir.path().join("events.jsonl");
    if !Path::new("/dev/full").exists() {
        return;
    }
    #[cfg(unix)]
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    assert!(Journal::create(&path, &Redactor::new()).is_err(), "an existing file is never taken over");
}

#[test]
fn a_digest_finds_every_kind_of_change() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("req")).unwrap();
    for (name, text) in [("a.json", "1"), ("req/b.md", "2"), ("c й.log", "3")] {
        fs::write(dir.path().join(name), text).unwrap();
    }
    write_digest(dir.path()).unwrap();
    assert!(check_digest(dir.path()).unwrap().is_empty());
    fs::write(dir.path().join("pruned.json"), "later").unwrap();
    assert!(check_digest(dir.path()).unwrap().is_empty());
    fs::write(dir.path().join("a.json"), "9").unwrap();
    fs::rename(dir.path().join("req/b.md"), dir.path().join("req/x.md")).unwrap();
    let found = check_digest(dir.path()).unwrap();
    let expected = [
        Mismatch::Changed("a.json".into()),
        Mismatch::Extra("req/x.md".into()),
        Mismatch::Missing("req/b.md".into()),
    ];
    assert_eq!(found, expected);
    fs::write(dir.path().join(DIGEST), "garbage\n").unwrap();
    assert!(check_digest(dir.path()).unwrap().contains(&Mismatch::Malformed(1)));
}

#[test]
fn a_rollback_without_a_record_left_the_stand_alone_only_before_its_first_act() {
    for (act, exit) in [
        (("rollback", "stage"), Exit::Refused),
        (STOP_BACK, Exit::NeedsPerson),
        (OPEN_BACK, Exit::NeedsPerson),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let run = run(dir.path());
        run.write_json("plan.json", &json!({ "command": "rollback" })).unwrap();
        run.journal.act(act.0, act.1, json!({}), || Ok(((), json!({})))).unwrap();
        let failure = records::Failure { what: "the disk is full".into(), ..records::Failure::default() };
        run.write_json("failure.json", &failure).unwrap();
        let judged = judge(&run.path).unwrap();
        assert_eq!(judged.exit, exit, "{act:?}: {judged:?}");
        assert_eq!(judged.state_left == "unchanged", exit == Exit::Refused, "{act:?}: {judged:?}");
    }
}

#[test]
fn a_release_whose_way_back_failed_says_whether_the_last_try_left_services_stopped() {
    let (stop, start) = (STOP_BACK, ("rollback", "redeploy previous version"));
    let (sure, perhaps) = ("the services are stopped", "services may be stopped");
    let failing_up = (UP.0, "fails");
    for (acts, said) in [
        (&[STOP][..], Some(sure)),
        (&[STOP, UP], None),
        (&[STOP, failing_up], Some(perhaps)),
        (&[STOP, UP, stop], Some(sure)),
        (&[STOP, UP, stop, start], None),
        (&[STOP, UP, stop, start, stop], Some(sure)),
        (&[STOP, END_STOP], Some(sure)),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let run = run(dir.path());
        run.write_json("plan.json", &json!({ "command": "release" })).unwrap();
        for act in acts {
            let fails = *act == failing_up;
            let name = if fails { UP.1 } else { act.1 };
            let work = || if fails { Err(crate::error::anyhow!("no")) } else { Ok(((), json!({}))) };
            let _ = run.journal.act(act.0, name, json!({}), work);
        }
        let failure = records::Failure { what: "the API is not ready".into(), ..records::Failure::default() };
        run.write_json("failure.json", &failure).unwrap();
        run.write_json("rollback.json", &records::Rollback::default()).unwrap();
        let judged = judge(&run.path).unwrap();
        assert_eq!(judged.exit, Exit::NeedsPerson, "{acts:?}: {judged:?}");
        for words in [sure, perhaps] {
            let want = said == Some(words);
            assert_eq!(judged.state_left.contains(words), want, "{acts:?}: {judged:?}");
        }
    }
}

#[test]
fn a_good_release_that_could_not_be_recorded_is_told_from_one_whose_way_back_is_not() {
    let failure = |step: &str| records::Failure {
        step: step.into(),
        what: "the disk is full".into(),
        exit: Some(Exit::Evidence.code()),
        ..records::Failure::default()
    };
    for (step_fails, failure, exit) in [
        (false, Some(failure(RECORD)), Exit::Evidence),
        (false, None, Exit::Evidence),
        (false, Some(failure("migrate")), Exit::NeedsPerson),
        (true, Some(failure("migrate")), Exit::NeedsPerson),
        (true, None, Exit::NeedsPerson),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let run = run(dir.path());
        run.write_json("plan.json", &json!({ "command": "release", "rollback_enabled": true })).unwrap();
        run.journal.act(UNFENCE.0, UNFENCE.1, json!({}), || Ok(((), json!({})))).unwrap();
        if step_fails {
            let fails = || Err::<((), _), _>(crate::error::anyhow!("no"));
            let _ = run.journal.act("migrate", "step", json!({}), fails);
        }
        if let Some(failure) = &failure {
            run.write_json("failure.json", failure).unwrap();
        }
        let judged = judge(&run.path).unwrap();
        assert_eq!(judged.exit, exit, "{step_fails}, {failure:?}: {judged:?}");
        assert_eq!(
            judged.state_left.starts_with("the new version runs"),
            exit == Exit::Evidence,
            "{judged:?}"
        );
    }
}

#[test]
fn no_row_is_lost_only_where_the_database_of_the_fence_is_shown_to_be_there() {
    let dir = tempfile::tempdir().unwrap();
    let run = run(dir.path());
    run.write_json("plan.json", &json!({ "command": "release" })).unwrap();
    let lost = |run: &RunDir| derive(&run.path).unwrap().rollback.lost_rows;
    assert_eq!(lost(&run), None, "without a rollback");
    for (live_oid, sums_equal, want) in [
        (7, Some(true), Some(0)),
        (7, None, Some(0)),
        (7, Some(false), None),
        (8, Some(true), None),
        (0, None, None),
    ] {
        let database = records::DatabaseBack {
            expected_oid: if live_oid == 0 { 0 } else { 7 },
            live_oid,
            sums_equal,
            ..records::DatabaseBack::default()
        };
        run.write_json("rollback.json", &records::Rollback { database, ..records::Rollback::default() })
            .unwrap();
        assert_eq!(lost(&run), want, "live {live_oid}, sums {sums_equal:?}");
    }
}

/// A finished quick smoke, as small as a run can be.
fn finished(root: &Path) -> (PathBuf, RunDir) {
    let run = run(root);
    run.write_json("plan.json", &json!({ "command": "smoke" })).unwrap();
    run.log("smoke").unwrap().say("checks");
    run.journal.act("smoke", "step", json!({}), || Ok(((), json!({})))).unwrap();
    let checks = vec![records::Check { name: "GET /health".into(), ok: true, ..records::Check::default() }];
    run.write_json("smoke.json", &records::Smoke { checks, ok: true, ms: 1 }).unwrap();
    run.journal.fact("evidence", "secret scan", json!({ "hits": [] })).unwrap();
    (run.path.clone(), run)
}

#[test]
fn a_verdict_needs_every_gate() {
    let dir = tempfile::tempdir().unwrap();
    let (path, run) = finished(dir.path());
    let judged = judge(&path).unwrap();
    assert_eq!((judged.verdict, judged.exit), (Verdict::Pass, Exit::Pass), "{judged:?}");
    let breaks: [(&str, &dyn Fn()); 4] = [
        ("S1", &|| run.write_json("smoke.json", &json!({ "checks": [], "ok": true, "ms": 1 })).unwrap()),
        ("E1", &|| fs::write(path.join("step_smoke.log"), "").unwrap()),
        ("E4", &|| run.journal.fact("evidence", "secret scan", json!({ "hits": ["X in y"] })).unwrap()),
        ("E3", &|| {
            let _: Result<()> = run.journal.act("x", "open", json!({}), || {
                let judged = judge(&path).unwrap();
                assert!(judged.gates.iter().any(|g| g.id == "E3" && !g.ok), "{judged:?}");
                Ok(((), json!({})))
            });
        }),
    ];
    for (gate, change) in breaks {
        change();
        let judged = judge(&path).unwrap();
        assert!(gate == "E3" || judged.gates.iter().any(|g| g.id == gate && !g.ok), "{gate}: {judged:?}");
        assert_ne!(judged.exit, Exit::Pass, "{gate}");
    }
}

#[test]
fn a_run_that_did_not_seal_does_not_verify() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _run) = finished(dir.path());
    write_digest(&path).unwrap();
    let found = verify(&path, None, nothing).unwrap();
    assert!(found.problems.iter().any(|p| p.contains("sealed")), "{:?}", found.problems);
    assert!(found.problems.iter().any(|p| p.contains("summary.json")), "{:?}", found.problems);
}

#[test]
fn the_journal_of_another_run_is_named() {
    let root = tempfile::tempdir().unwrap();
    let [one, other] = ["smk_1", "smk_2"].map(|rid| {
        let run = RunDir::create(root.path(), rid, &Redactor::new()).unwrap();
        run.write_json("plan.json", &json!({ "command": "smoke", "run": { "rid": rid } })).unwrap();
        let begun = Begun { rid: rid.into(), ..Begun::default() };
        run.journal.fact("pipeline", "run", serde_json::to_value(begun).unwrap()).unwrap();
        run.journal.seal(json!({ "files": hashes(&run.path).unwrap() })).unwrap();
        run.path
    });
    let problems = |dir: &Path| {
        let mut summary = derive(dir).unwrap();
        summary.rid = dir.file_name().unwrap().to_string_lossy().into();
        fsx::write_json(&dir.join("summary.json"), &summary).unwrap();
        write_digest(dir).unwrap();
        verify(dir, None, nothing).unwrap().problems
    };
    let named = "events.jsonl is the journal of another run, smk_1".to_string();
    assert!(!problems(&other).contains(&named));
    fs::copy(one.join("events.jsonl"), other.join("events.jsonl")).unwrap();
    assert!(problems(&other).contains(&named), "{:?}", problems(&other));
}

#[test]
fn what_is_written_behind_a_seal_or_into_it_is_named() {
    let problems = |seal: Value, behind: &str| {
        let root = tempfile::tempdir().unwrap();
        let (path, run) = finished(root.path());
        let begun = Begun { rid: "smk_1".into(), ..Begun::default() };
        run.journal.fact("pipeline", "run", serde_json::to_value(begun).unwrap()).unwrap();
        run.journal.seal(seal).unwrap();
        let journal = fs::read_to_string(path.join("events.jsonl")).unwrap();
        fs::write(path.join("events.jsonl"), journal + behind).unwrap();
        verify(&path, None, nothing).unwrap().problems.join("; ")
    };
    let (behind, good) = ("behind its `sealed` line", "as the last known good release");
    let right = problems(json!({ "exit_code": 0, "last_known_good": "smk_1" }), "");
    assert!(!right.contains(behind) && !right.contains(good), "{right}");
    assert!(problems(json!({ "exit_code": 0 }), "{\"seq\":").contains(behind));
    assert!(problems(json!({ "exit_code": 0, "last_known_good": "smk_2" }), "").contains(good));
    assert!(problems(json!({ "exit_code": 30, "last_known_good": "smk_1" }), "").contains(good));
}

fn nothing(_: &Summary) -> Vec<(String, String)> {
    Vec::new()
}

#[test]
fn whatever_is_written_into_a_run_is_masked() {
    let root = tempfile::tempdir().unwrap();
    let redactor = Redactor::new();
    redactor.learn("A_PASSWORD", "Zx81-qqTTr-long");
    let run = RunDir::create(root.path(), "rel_1", &redactor).unwrap();
    let text = "found Zx81-qqTTr-long\nDETAIL:  Key (name)=(Somebody) already exists.\n";
    run.log("precheck").unwrap().say(&format!("git status: ?? {text}"));
    run.write_text("req/REQ.md", text).unwrap();
    run.write_json("a.json", &serde_json::json!({ "Zx81-qqTTr-long": [text] })).unwrap();
    run.journal.fact("x", "y", serde_json::json!({ "Zx81-qqTTr-long": text })).unwrap();
    assert_eq!(run.masked(&text.to_string()).unwrap(), redactor.output(text));
    let files = fsx::files_below(&run.path).unwrap();
    assert_eq!(files, ["a.json", "events.jsonl", "req/REQ.md", "step_precheck.log"]);
    for file in files {
        let text = std::fs::read_to_string(run.path.join(&file)).unwrap();
        assert!(!text.contains("Zx81") && !text.contains("Somebody"), "{file}: {text}");
        assert!(text.contains("***A_PASSWORD***") && text.contains("[row values cut]"), "{file}: {text}");
    }
    assert!(leaks(&run.path, &redactor).unwrap().is_empty());
}
