//! Which runs are open, and which refuse what.

use super::*;
use crate::clock::{self, Clock};
use crate::evidence::RunDir;
use crate::redact::Redactor;
use serde_json::json;

/// A release that has begun to migrate; with `exit` it has told its end, too.
fn release(repo: &Path, rid: &str, exit: Option<u8>) -> PathBuf {
    let run = RunDir::create(&repo.join(EVIDENCE), rid, &Redactor::new()).unwrap();
    let begun = evidence::Begun { rid: rid.into(), command: "release".into(), ..Default::default() };
    run.journal.fact("pipeline", "run", serde_json::to_value(begun).unwrap()).unwrap();
    run.journal.act("change", "unfence", json!({}), || Ok(((), json!({})))).unwrap();
    if let Some(exit) = exit {
        run.journal.seal(json!({ "exit_code": exit })).unwrap();
        run.write_json("summary.json", &json!({ "command": "release", "exit_code": exit })).unwrap();
        std::fs::write(run.path.join(DIGEST), "").unwrap();
    }
    run.path.clone()
}

/// Changes one letter of the journal's second line: the third one does not follow it any more.
fn damage(dir: &Path) {
    let path = dir.join("events.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("\"act\":\"unfence\"", "\"act\":\"unfencf\"", 1)).unwrap();
    assert!(read_journal(&path).is_err(), "it was not damaged");
}

/// Which of two runs is the newer one is told by the millisecond in which they began.
fn later() {
    let before = clock::rfc3339(Clock::System.now());
    while clock::rfc3339(Clock::System.now()) == before {
        std::thread::yield_now();
    }
}

fn found(repo: &Path) -> Vec<(String, Why)> {
    find(repo).unwrap().into_iter().map(|run| (run.rid, run.why)).collect()
}

#[test]
fn a_run_with_a_damaged_journal_is_open_until_something_tells_its_end() {
    let repo = tempfile::tempdir().unwrap();
    let repo = repo.path();
    for exit in [10, 20, 30, 0] {
        damage(&release(repo, &format!("rel_{exit}"), Some(exit)));
    }
    assert_eq!(found(repo), [], "each has told its end");
    for (rid, exit) in [("rel_40", Some(40)), ("rel_none", None)] {
        let dir = release(repo, rid, exit);
        damage(&dir);
        assert_eq!(found(repo), [(rid.to_string(), Why::Unreadable)]);
        let refused = refuse(repo).unwrap_err();
        let fault = crate::error::fault_of(&refused);
        assert_eq!(fault.exit, Some(crate::error::Exit::Refused));
        assert!(fault.why.unwrap().contains("line 3"), "the damage is not named");
        assert!(fault.remedy.unwrap().contains(&dir.display().to_string()));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}

#[test]
fn a_release_with_a_way_back_refuses_while_another_is_not_back() {
    let repo = tempfile::tempdir().unwrap();
    let repo = repo.path();
    let first = release(repo, "rel_first", Some(40));
    assert_eq!(found(repo), [("rel_first".to_string(), Why::LeftInPlace)]);
    assert_eq!(refuse_release(repo, true).unwrap().len(), 1, "a better version is a way out");
    let back = Rollback { source: "clone".into(), ..Default::default() };
    std::fs::write(first.join("rollback.json"), serde_json::to_string(&back).unwrap()).unwrap();
    assert_eq!(found(repo), [("rel_first".to_string(), Why::NotBack)]);
    let fault = crate::error::fault_of(&refuse_release(repo, true).unwrap_err());
    assert_eq!(fault.exit, Some(crate::error::Exit::Refused));
    assert!(fault.to_string().contains("rel_first"), "{fault}");
    assert_eq!(refuse_release(repo, false).unwrap().len(), 1, "it promises no way back");
}

#[test]
fn a_smoke_that_could_not_write_its_first_line_is_in_nobodys_way() {
    let repo = tempfile::tempdir().unwrap();
    let repo = repo.path();
    RunDir::create(&repo.join(EVIDENCE), "smk_1", &Redactor::new()).unwrap();
    assert_eq!(found(repo), []);
    RunDir::create(&repo.join(EVIDENCE), "bak_1", &Redactor::new()).unwrap();
    assert_eq!(find(repo).unwrap()[0].command, "backup");
}

#[test]
fn a_release_that_passed_later_settles_a_damaged_run() {
    let repo = tempfile::tempdir().unwrap();
    let repo = repo.path();
    damage(&release(repo, "rel_damaged", None));
    later();
    let good = release(repo, "rel_good", Some(0));
    assert_eq!(found(repo), []);
    damage(&good);
    assert_eq!(found(repo), [], "it has told its end");
}

#[test]
fn a_run_of_which_nobody_knows_when_it_began_is_settled_by_no_other() {
    let repo = tempfile::tempdir().unwrap();
    let repo = repo.path();
    let cut = |dir: &Path| {
        let path = dir.join("events.jsonl");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replacen('{', " ", 1)).unwrap();
    };
    cut(&release(repo, "rel_19991231-235959_0000000", None));
    let unknown = release(repo, "rel_mine", None);
    cut(&unknown);
    later();
    let good = release(repo, "rel_good", Some(0));
    let mine = [("rel_mine".to_string(), Why::Unreadable)];
    assert_eq!(found(repo), mine, "the name tells of the other");
    // Nor does it settle another.
    cut(&good);
    later();
    release(repo, "rel_left", Some(40));
    let both = [mine[0].clone(), ("rel_left".to_string(), Why::LeftInPlace)];
    assert_eq!(
        found(repo).into_iter().filter(|(rid, _)| !rid.starts_with("rel_1999")).collect::<Vec<_>>(),
        both
    );
}
