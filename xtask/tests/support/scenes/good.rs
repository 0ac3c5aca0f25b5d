//! Releases that pass, on the real engine: the first one on a stand where
//! nothing ran, one with nothing to migrate, one that migrates under load, and
//! the way back from it by the undo clone.

use crate::support::before::{Before, live_oid};
use crate::support::good::Good;
use crate::support::leftovers::Kept;
use crate::support::process::tool;
use crate::support::table::every_gate_can_be_false;
use crate::support::tamper::Copy;
use crate::support::world::differing;
use crate::support::writer::{Session, Writer};
use crate::support::{Checks, Evidence, Stand};
use earlier::earlier;
use std::path::Path;

#[path = "earlier.rs"]
mod earlier;

/// What version 1 applies, in its order.
const FILES: [&str; 7] = [
    "scripts/sql/bootstrap_min_apply.sql",
    "scripts/sql/fixpacks/20251208_ops_ddl_log_apply.sql",
    "scripts/sql/fixpacks/20251210_devfactory_orders_apply.sql",
    "scripts/sql/fixpacks/20251215_devfactory_orders_index_apply.sql",
    "scripts/sql/fixpacks/20251216_ops_heartbeat_apply.sql",
    "scripts/sql/fixpacks/20251217_planner_kpi_apply.sql",
    "scripts/sql/fixpacks/20251218_analytics_totals_apply.sql",
];
const PRIORITY: &str = "scripts/sql/fixpacks/20251219_devfactory_orders_priority_apply.sql";

struct Chain {
    stand: Stand,
    kept: Kept,
    checks: Checks,
}

impl Chain {
    /// A release that must pass, with every gate's evidence opened.
    fn release(&mut self, name: &str, previous: Option<&Evidence>, files: &[&str]) -> Evidence {
        let Chain { stand, kept, checks } = self;
        let outcome = stand.run(&["release", "--yes", "--json"]).expect(0);
        let evidence = stand.evidence(&outcome);
        checks.that(format!("{name}: data on stdout"), || {
            assert_eq!(
                outcome.json(),
                evidence.json("summary.json"),
                "stdout is the summary{}",
                outcome.at()
            );
        });
        Good { stand, evidence: &evidence, previous, files }.every_gate(name, checks);
        kept.passed(&evidence);
        checks.that(format!("{name}: leftovers"), || stand.nothing_left_over(kept, &outcome));
        evidence
    }

    /// `release --plan` changes nothing at all, and prints the same plan again.
    fn plan(&mut self, name: &str) {
        let Chain { stand, checks, .. } = self;
        checks.that(format!("{name}: --plan"), || {
            let before = stand.everything();
            let text = stand.run(&["release", "--plan"]).expect(0);
            let (first, second) = (
                stand.run(&["release", "--plan", "--json"]).expect(0),
                stand.run(&["release", "--plan", "--json"]),
            );
            let differ = differing(&before, &stand.everything());
            assert!(differ.is_empty(), "--plan changed {differ:?}{}", first.at());
            for word in ["downtime", "way back", "disk", FILES[0], &stand.head()[..12]] {
                assert!(text.stdout.contains(word), "the plan does not say `{word}`:\n{}", text.stdout);
            }
            let (mut one, mut two) = (first.json(), second.json());
            assert_eq!(one["commit"], stand.head(), "the plan's commit{}", first.at());
            for plan in [&mut one, &mut two] {
                let run = plan.as_object_mut().unwrap().remove("run").unwrap();
                assert!(run["rid"].as_str().is_some_and(|r| r.starts_with("rel_")), "rid apart: {run}");
            }
            assert_eq!(one, two, "the same commit on the same stand gives another plan");
        });
    }
}

#[test]
fn releases_pass_one_after_another_and_the_last_one_is_undone() {
    let mut chain = Chain { stand: Stand::new(), kept: Kept::default(), checks: Checks::default() };
    chain.plan("nothing runs");
    let first = chain.release("the first", None, &FILES);
    chain.stand.runs_version("1");
    chain.plan("version 1 runs");

    let nothing = "[migrate]\nfiles = []\nverify = [\"scripts/sql/verify/suites/gate.txt\"]\n";
    std::fs::write(chain.stand.repo.join("ops/xtask.toml"), nothing).unwrap();
    chain.stand.commit("[DEVTASK:2] stand: nothing to migrate");
    let second = chain.release("nothing to migrate", Some(&first), &[]);
    let commit = chain.stand.head();

    chain.stand.version("good-v2");
    // A data service that is defined anew is left alone, and that is said.
    let image = "    image: postgres:15\n";
    chain.stand.edit("docker-compose.yml", image, &format!("{image}    labels: {{ note: more }}\n"));
    chain.stand.commit("[DEVTASK:2] stand: a label");
    let writer = Writer::start(&chain.stand, "good-v2");
    let before = Before::of(&chain.stand);
    let mut files = FILES.to_vec();
    files.insert(3, PRIORITY);
    let third = chain.release("version 2", Some(&second), &files);
    writer.acked_in_newest();
    chain.checks.that("a data service that is defined anew", || {
        let warnings = third.json("precheck.json")["warnings"].to_string();
        assert!(warnings.contains("postgres is defined otherwise"), "warnings: {warnings}{}", third.at);
        before.data_services_ran_on(&chain.stand, &third.at);
    });
    chain.stand.runs_version("2");
    nothing_was_lost(&chain.stand, writer.tag(), &writer.so_far(), &third.at);
    assert_eq!(chain.stand.value("SELECT count(*) FROM devfactory.orders WHERE priority <> 5"), "0");

    let undo = undone(&mut chain, writer, &before, (&second, &third), &commit);

    // Back to the checkout: what the rollback set aside is dumped, so it goes.
    let fourth = chain.release("version 2 again", Some(&second), &files);
    chain.stand.runs_version("2");
    chain.checks.that("runs are told apart", || assert_ne!(third.rid(), fourth.rid()));
    refused(&mut chain, &first, &second);
    earlier(&mut chain, &first, &second);
    without_an_image(&mut chain, &first);
    half_a_dump(&mut chain);
    let Chain { stand, checks, .. } = &mut chain;
    every_gate_can_be_false(stand, &fourth, &undo, checks);
    checks.that("no secret", || stand.no_secret_anywhere());
    chain.checks.all_hold();
}

/// A backup that is damaged or gone: the stand serves on, and nothing of the attempt stays.
fn refused(chain: &mut Chain, first: &Evidence, second: &Evidence) {
    let Chain { stand, kept, checks } = chain;
    let before = Before::of(stand);
    let backup = stand.repo.join(second.json("backup.json")["dir"].as_str().unwrap());
    let mut no = |what: &str, args: &[&str], words: &str| {
        checks.that(format!("no way back: {what}"), || {
            let outcome = stand.run(&[&["rollback", "--yes"], args].concat()).expect(10);
            outcome.says(words);
            before.containers_untouched(stand, &outcome.at());
            before.last_good_untouched(stand, &outcome.at());
            stand.nothing_left_over(kept, &outcome);
        });
    };
    let (to, away) = (first.rid(), backup.with_extension("away"));
    std::fs::rename(&backup, &away).unwrap();
    no("its backup is gone", &["--to", &to], &format!("the backup that {} made", second.rid()));
    tool("cp", &["-r", &away.display().to_string(), &backup.display().to_string()], Path::new("/"), None);
    Copy::flip(&backup.join("db.dump"));
    no("its backup is damaged", &["--to", &to], "does not verify");
    no("a damaged backup", &["--backup", &backup.display().to_string()], "does not verify");
    std::fs::remove_dir_all(&backup).unwrap();
    std::fs::rename(&away, &backup).unwrap();
}

/// Back to a release whose image somebody has removed: by the undo clone, and when one more release has
/// come, from its backup. That release runs now.
fn without_an_image(chain: &mut Chain, first: &Evidence) {
    let Chain { stand, checks, .. } = chain;
    let image = stand.containers()["api"].image.clone();
    for (number, by) in ["by the clone", "from the backup"].into_iter().enumerate() {
        stand.run(&["release", "--yes"]).expect(0);
        if number == 0 {
            tool("docker", &["image", "rm", "-f", &image], Path::new("/"), None);
        }
        let (before, databases) = (Before::of(stand), of_the_stand(stand));
        checks.that(format!("no way back {by}: an image is gone"), || {
            let outcome = stand.run(&["rollback", "--yes", "--to", &first.rid()]).expect(10);
            outcome.says("the image of api is not here any more");
            before.containers_untouched(stand, &outcome.at());
            before.last_good_untouched(stand, &outcome.at());
            assert_eq!(of_the_stand(stand), databases, "databases{}", outcome.at());
        });
    }
}

fn of_the_stand(stand: &Stand) -> Vec<String> {
    stand.psql_on("postgres", "SELECT oid || ' ' || datname FROM pg_database ORDER BY 1")
}

/// Of the database that is set aside half a dump comes, and pg_dump says that all is well: it counts as
/// none, for the database would go with the next release.
fn half_a_dump(chain: &mut Chain) {
    let Chain { stand, checks, .. } = chain;
    let postgres = stand.container("postgres");
    let inside =
        |script: &str| tool("docker", &["exec", &postgres, "sh", "-c", script], Path::new("/"), None);
    let half = r#"p=$(command -v pg_dump) && mkdir /opt/real && mv "$p" /opt/real/ && chmod 755 /opt/real &&
cat > "$p" <<'END' && chmod 755 "$p"
#!/bin/sh
case " $* " in *__failed_*) /opt/real/pg_dump "$@" | head -c 4000 ;; *) exec /opt/real/pg_dump "$@" ;; esac
END
"#;
    inside(half);
    checks.that("half a dump counts as none", || {
        let outcome = stand.run(&["rollback", "--yes"]);
        inside(r#"mv /opt/real/pg_dump "$(command -v pg_dump)""#);
        let outcome = outcome.expect(40);
        outcome.says("read the dump of foxproflow__failed_");
        outcome.says("; once more");
        stand.run(&["smoke"]).expect(0);
        let failed = stand.evidence(&outcome).json("rollback.json")["failed_database"].clone();
        let there =
            format!("SELECT count(*) FROM pg_database WHERE datname = '{}'", failed.as_str().unwrap());
        assert_eq!(stand.value(&there), "1", "the failed database{}", outcome.at());
        let mended = stand.run(&["rollback", "--yes"]).expect(0);
        let record = stand.evidence(&mended).json("rollback.json");
        let failed = record["failed_database"].as_str().unwrap();
        let dir = stand.repo.join("ops/_backups").join(failed);
        tool("sha256sum", &["-c", "--quiet", "digest.sha256"], &dir, None);
        assert_eq!(stand.value(&format!("SELECT count(*) FROM pg_database WHERE datname = '{failed}'")), "1");
    });
}

/// Every acknowledged row is there after a release that passed, also those of before the fence.
fn nothing_was_lost(stand: &Stand, tag: &str, sessions: &[Session], at: &str) {
    let sql = format!("SELECT title FROM devfactory.orders WHERE title LIKE '{tag}-%'");
    let live = stand.psql(&sql);
    assert!(sessions.len() > 1, "the writer was never thrown out: there was no fence{at}");
    for session in sessions {
        let lost: Vec<_> = session.acked.iter().filter(|t| !live.contains(t)).collect();
        assert!(lost.is_empty(), "rows are lost in a release that passed: {lost:?}{at}");
        assert_eq!(session.oid, live_oid(stand), "another database has the live name{at}");
    }
}

/// `rollback` right after a PASS: code, images and database of before it.
fn undone(
    chain: &mut Chain,
    writer: Writer,
    before: &Before,
    (second, third): (&Evidence, &Evidence),
    commit: &str,
) -> Evidence {
    let Chain { stand, kept, checks } = chain;
    let outcome = stand.run(&["rollback", "--yes", "--json"]).expect(0);
    outcome.says(&second.rid());
    writer.acked_in_newest();
    let (tag, sessions) = (writer.tag().to_string(), writer.stop());
    let evidence = stand.evidence(&outcome);
    let at = &evidence.at;
    let failed = evidence.json("rollback.json")["failed_database"].as_str().unwrap().to_string();
    *kept = Kept::default();
    kept.rolled_back(&failed);
    checks.that("undo: verdict", || {
        assert_eq!(evidence.verdict(), ("PASS".into(), 0), "verdict{at}");
        assert!(evidence.gates(false).is_empty(), "gates that are false: {:?}{at}", evidence.gates(false));
        assert!(evidence.gate("R1").0 && evidence.gate("R2").0, "R1 and R2{at}");
        let previous = evidence.json("summary.json")["previous"].clone();
        let digest = xtask::fsx::sha256(second.text("digest.sha256").as_bytes());
        assert_eq!(previous["rid"], second.rid(), "the release that it went back to{at}");
        assert_eq!(previous["digest_sha256"], digest, "its digest{at}");
        stand.run(&["evidence", "verify", &evidence.rid()]).expect(0);
    });
    checks.that("undo: rows", || before.rows_are_accounted_for(stand, (third, &evidence), &tag, &sessions));
    checks.that("undo: content", || before.content_is_back(stand, third, &evidence));
    checks.that("undo: code", || before.code_is_back(stand, "1", commit, at));
    checks.that("undo: data services", || before.data_services_ran_on(stand, at));
    checks.that("undo: status", || {
        let status = stand.run(&["status", "--json"]).expect(0).json();
        assert_eq!(status["last_known_good"]["rid"], second.rid(), "last known good: {status:#}{at}");
        let services = status["services"].as_array().unwrap();
        let previous = services.iter().filter(|s| s["runs_previous_source"] == true).count();
        assert_eq!(previous, 3, "services that run a previous source: {status:#}{at}");
        let words = stand.run(&["status"]).expect(0);
        words.says("not this checkout");
        words.says(&failed);
    });
    checks.that("undo: leftovers", || stand.nothing_left_over(kept, &outcome));
    checks.that("undo: only once", || {
        let world = stand.everything();
        let again = stand.run(&["rollback", "--yes"]).expect(10);
        again.says("nothing to go back to");
        // What there is all the same.
        again.says("cargo xtask rollback --backup '");
        let differ = differing(&world, &stand.everything());
        assert!(differ.is_empty(), "a refused rollback changed {differ:?}{}", again.at());
    });
    evidence
}
