//! A backup that the operator names, when going back is not simple: a run is
//! open and its own way back is lost, or not wanted; what the backup was restored
//! into must not be left lying about; the fence before the swap fails.

use crate::support::before::{Before, content_is, live_oid, no_row_is_nowhere};
use crate::support::die::{Die, Moment};
use crate::support::leftovers::Kept;
use crate::support::stand::EVIDENCE;
use crate::support::tamper::Copy;
use crate::support::writer::Writer;
use crate::support::{Checks, Evidence, Outcome, Stand};

struct Case {
    stand: Stand,
    die: Die,
    kept: Kept,
    checks: Checks,
    first: String,
    tries: usize,
}

impl Case {
    fn new() -> Case {
        let mut stand = Stand::new();
        stand.stop_soon();
        stand.be_patient();
        let (evidence, kept) = stand.first_release();
        let die = Die::build(&stand);
        Case { first: evidence.rid(), stand, die, kept, checks: Checks::default(), tries: 0 }
    }

    /// A release that is killed; its evidence.
    fn killed(&mut self, moment: &Moment) -> Evidence {
        self.tries += 1;
        let rid = format!("rel_20991231-{:06}_killed", self.tries);
        let outcome = self.die.killed(&self.stand, &["release", "--yes", "--rid", &rid], moment);
        Evidence { dir: self.stand.repo.join(EVIDENCE).join(rid), at: outcome.at() }
    }

    /// The backup's database is live with the code of the last good release, nothing is open, and
    /// nothing that was committed is gone.
    fn came(&mut self, what: &str, release: &Evidence, outcome: &Outcome, before: &Before, writer: Writer) {
        let Case { stand, checks, first, kept, .. } = self;
        checks.that(format!("{what}: the backup is back"), || {
            let evidence = stand.evidence(outcome);
            let at = &evidence.at;
            assert_eq!((outcome.code, evidence.verdict()), (0, ("PASS".into(), 0)), "verdict{at}");
            stand.run(&["evidence", "verify", &evidence.rid()]).expect(0);
            content_is(stand, &release.json("sums_snapshot.json"), at);
            assert_eq!(evidence.json("rollback.json")["source"], "archive", "where the database is from{at}");
            stand.runs_version("1");
            stand.run(&["smoke"]).expect(0);
            before.data_services_ran_on(stand, at);
            before.checkout_untouched(stand, at);
            before.last_good_untouched(stand, at);
            let status = stand.run(&["status", "--json"]).expect(0).json();
            assert_eq!(status["last_known_good"]["rid"], first.as_str(), "{status:#}{at}");
            assert_eq!(status["interrupted"].as_array().map(Vec::len), Some(0), "open: {status:#}{at}");
        });
        writer.acked_in_newest();
        let (tag, sessions) = (writer.tag().to_string(), writer.stop());
        checks.that(format!("{what}: rows"), || no_row_is_nowhere(stand, &tag, &sessions, &outcome.at()));
        checks.that(format!("{what}: leftovers"), || {
            let record = stand.evidence(outcome).json("rollback.json");
            kept.rolled_back(record["failed_database"].as_str().unwrap());
            kept.tree = stand.beside().exists();
            stand.nothing_left_over(kept, outcome);
            for failed in &kept.failed {
                let dump = stand.repo.join("ops/_backups").join(failed).join("db.dump");
                assert!(dump.exists(), "{failed} was not dumped{}", outcome.at());
            }
        });
    }
}

/// The directory of the backup that a release made.
fn backup_of(stand: &Stand, release: &Evidence) -> String {
    let dir = release.json("backup.json")["dir"].as_str().unwrap().to_string();
    stand.repo.join(dir).display().to_string()
}

#[test]
fn a_backup_that_is_named_comes_before_a_run_that_is_open() {
    let mut case = Case::new();
    case.stand.version("good-v2");
    let deployed = Moment::before("done", "deploy", "up");

    // Somebody dropped the way back.
    let writer = Writer::start(&case.stand, "lost");
    let before = Before::of(&case.stand);
    let release = case.killed(&deployed);
    let clone = release.json("fence.json")["clone"].as_str().unwrap().to_string();
    let backup = backup_of(&case.stand, &release);
    let rename = |from: &str, to: &str| {
        case.stand.psql_on("postgres", &format!("ALTER DATABASE \"{from}\" RENAME TO \"{to}\""));
    };
    rename(&clone, "set aside");
    let containers = case.stand.containers();
    let refused = case.stand.run(&["rollback", "--yes"]);
    case.checks.that("a clone under another name is none, and nothing is closed or stopped for it", || {
        assert_eq!(case.stand.containers(), containers, "containers{}", refused.at());
        refused.clone().expect(40).says("set it aside as set aside");
        let state = "SELECT datallowconn FROM pg_database WHERE datname = 'foxproflow'";
        assert_eq!(case.stand.psql_on("postgres", state), ["t"], "it was closed{}", refused.at());
    });
    rename("set aside", &clone);
    case.stand.psql_on("postgres", &format!("DROP DATABASE \"{clone}\""));
    let refused = case.stand.run(&["rollback", "--yes"]);
    let Case { stand, checks, .. } = &mut case;
    checks.that("a lost clone: the way that is left is named", || {
        refused.clone().expect(40).says(&format!("cargo xtask rollback --backup '{backup}'"));
        let state = "SELECT datallowconn FROM pg_database WHERE datname = 'foxproflow'";
        assert_eq!(stand.psql_on("postgres", state), ["t"], "it was closed for nothing{}", refused.at());
        assert_eq!(stand.containers(), containers, "containers{}", refused.at());
        stand.run(&["release", "--yes"]).expect(10).says(&release.rid());
    });
    let plan = case.stand.run(&["rollback", "--backup", &backup]).expect(10);
    case.checks.that("a lost clone: what is asked for is shown", || {
        plan.says("takes the place of undoing");
        plan.says("the database as of");
    });
    // And its journal is damaged, too: nobody knows any more how far it came.
    Copy::flip(&release.dir.join("events.jsonl"));
    let Case { stand, checks, .. } = &mut case;
    checks.that("a damaged journal: nothing is built on it, and what takes its place is named", || {
        for command in [&["release", "--yes"][..], &["backup"], &["rollback", "--yes"]] {
            let refused = stand.run(command).expect(10);
            refused.says(&format!("{} cannot be read", release.rid()));
            refused.says("events.jsonl");
            refused.says("cargo xtask rollback --backup DIR, or --to RID, takes its place");
            refused.says(&format!("move {} away", release.dir.display()));
        }
        stand.run(&["status"]).expect(0).says(&format!("{} cannot be read", release.rid()));
        stand.run(&["doctor"]).expect(10).says(&format!("{} cannot be read", release.rid()));
    });
    let outcome = case.stand.run(&["rollback", "--yes", "--json", "--backup", &backup]);
    case.came("a lost clone", &release, &outcome, &before, writer);

    // The way back is there, and not wanted: what it holds is not lost.
    let writer = Writer::start(&case.stand, "unwanted");
    let before = Before::of(&case.stand);
    let release = case.killed(&deployed);
    let clone = release.json("fence.json")["clone"].as_str().unwrap().to_string();
    case.kept.failed.push(clone.replace("__pre_", "__failed_"));
    let backup = backup_of(&case.stand, &release);
    // Killed as well, in the middle: it is finished, not what it took the place of.
    let fence = Moment::after("intent", "rollback", "fence before the swap");
    case.die.killed(&case.stand, &["rollback", "--yes", "--backup", &backup], &fence);
    // What that one's journal says is not asked any more.
    Copy::flip(&release.dir.join("events.jsonl"));
    case.checks.that("a clone that is not wanted: what is finished is shown", || {
        case.stand.run(&["rollback"]).expect(10).says("was bringing back; it was interrupted");
    });
    let outcome = case.stand.run(&["rollback", "--yes", "--json"]);
    case.came("a clone that is not wanted", &release, &outcome, &before, writer);

    // Under the fence: the database is closed, its services are stopped, its clone holds nothing else.
    let writer = Writer::start(&case.stand, "fenced");
    let before = Before::of(&case.stand);
    let release = case.killed(&Moment::before("done", "change", "clone"));
    let backup = backup_of(&case.stand, &release);
    let outcome = case.stand.run(&["rollback", "--yes", "--json", "--backup", &backup]);
    case.came("a database that is closed", &release, &outcome, &before, writer);

    let Case { stand, checks, .. } = &mut case;
    checks.that("the next release passes", || {
        stand.run(&["release", "--yes"]).expect(0);
        stand.runs_version("2");
    });
    checks.that("no secret", || stand.no_secret_anywhere());
    case.checks.all_hold();
}

#[test]
fn a_restored_backup_is_swapped_in_or_dropped() {
    let mut case = Case::new();
    let Case { stand, die, kept, checks, .. } = &mut case;
    let made = stand.evidence(&stand.run(&["backup"]).expect(0));
    let place = backup_of(stand, &made);
    let back = ["rollback", "--yes", "--json", "--backup", &place];

    checks.that("what fails after the restore leaves nothing", || {
        let world = (stand.containers(), live_oid(stand));
        let running = die.stopped(stand, &back, &Moment::after("done", "rollback", "restore"));
        let (head, away) = (stand.repo.join(".git/HEAD"), stand.repo.join(".git/HEAD.away"));
        let beside = stand.run(&["release", "--yes"]).expect(11);
        let rid = stand.rids().pop().unwrap();
        [&rid, "тест-оператор", "rollback", "since"].iter().for_each(|word| beside.says(word));
        std::fs::rename(&head, &away).unwrap();
        running.signal("CONT");
        let outcome = running.wait();
        std::fs::rename(&away, &head).unwrap();
        let outcome = stand.heard(outcome, &[]).expect(10);
        assert_eq!((stand.containers(), live_oid(stand)), world, "something was touched{}", outcome.at());
        stand.nothing_left_over(kept, &outcome);
    });

    // The session that fences dies with the database closed.
    let writer = Writer::start(stand, "fence");
    let rids = stand.rids();
    let running = die.stopped(stand, &back, &Moment::after("intent", "rollback", "fence before the swap"));
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'ffx:%:from-backup'";
    let close = "ALTER DATABASE foxproflow ALLOW_CONNECTIONS false";
    stand.psql_on("postgres", close);
    assert_eq!(stand.psql_on("postgres", end), ["t"], "no session to end");
    running.signal("CONT");
    let outcome = stand.heard(running.wait(), &rids);
    checks.that("a fence that fails is made again", || {
        let evidence = stand.evidence(&outcome);
        assert_eq!((outcome.code, evidence.verdict()), (0, ("PASS".into(), 0)), "verdict{}", outcome.at());
        content_is(stand, &made.json("sums_snapshot.json"), &outcome.at());
        stand.runs_version("1");
        kept.rolled_back(evidence.json("rollback.json")["failed_database"].as_str().unwrap());
        kept.tree = stand.beside().exists();
    });
    writer.acked_in_newest();
    let (tag, sessions) = (writer.tag().to_string(), writer.stop());
    checks.that("a fence that fails: rows", || no_row_is_nowhere(stand, &tag, &sessions, &outcome.at()));
    checks.that("a fence that fails: leftovers", || stand.nothing_left_over(kept, &outcome));
    checks.that("no secret", || stand.no_secret_anywhere());
    case.checks.all_hold();
}
