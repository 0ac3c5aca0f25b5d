//! Backups that cannot bring the database back, and what else blocks the way
//! back: found before anything is touched, named, and the stand serves on.

use crate::support::before::{Before, live_oid};
use crate::support::die::{Die, Moment};
use crate::support::disk::Disk;
use crate::support::leftovers::Kept;
use crate::support::process::tool;
use crate::support::relay::Relay;
use crate::support::sql::USER;
use crate::support::tamper::{Copy, refused_as_a_way_back};
use crate::support::writer::Writer;
use crate::support::{Checks, Evidence, Outcome, Stand};
use std::path::{Path, PathBuf};

/// The gates that are false when the proof finds something.
const PROOF: &[&str] = &["R0", "M1", "D1", "S1"];
/// What is in the rows that cannot be restored, and nowhere else.
const ROW: &str = "530917265";

struct Case {
    stand: Stand,
    die: Die,
    kept: Kept,
    checks: Checks,
    tries: usize,
}

/// What is said of a release that must not begin to change anything.
struct Found<'a> {
    gates: &'a [&'a str],
    /// The one of them that says why.
    gate: &'a str,
    lane: &'a str,
    /// On the screen and in the request, as reason and as remedy.
    words: &'a [&'a str],
}

impl Case {
    fn new() -> Case {
        let stand = Stand::new();
        let (_, kept) = stand.first_release();
        let die = Die::build(&stand);
        Case { stand, die, kept, checks: Checks::default(), tries: 0 }
    }

    /// A release that ends with 20 while a client writes on, and nothing is touched.
    fn fails(&mut self, what: &str, found: &Found<'_>, release: impl FnOnce(&Case, &str) -> Outcome) {
        self.tries += 1;
        let rid = format!("rel_20991231-{:06}_dumps", self.tries);
        let writer = Writer::start(&self.stand, "dumps");
        let before = Before::of(&self.stand);
        let outcome = release(self, &rid);
        let sessions = writer.stop();
        let Case { stand, kept, checks, .. } = self;
        let evidence =
            Evidence { dir: stand.repo.join(crate::support::stand::EVIDENCE).join(&rid), at: outcome.at() };
        let at = &evidence.at;
        checks.that(format!("{what}: found and named"), || {
            assert_eq!(outcome.code, 20, "exit code{at}");
            assert_eq!(evidence.verdict(), ("FAIL".into(), 20), "verdict{at}");
            // The build beside it is given up, where it had not ended.
            let mut gates = evidence.gates(false);
            gates.retain(|g| g != "B2" || !evidence.gate("B2").1.contains("another part failed first"));
            assert_eq!(gates, found.gates, "gates that are false{at}");
            let requests = evidence.requests();
            assert_eq!(
                requests.iter().map(|r| r.0.as_str()).collect::<Vec<_>>(),
                [found.lane],
                "requests{at}"
            );
            for word in found.words {
                outcome.says(word);
                assert!(requests[0].1.contains(word), "the request has no `{word}`: {}{at}", requests[0].1);
            }
            assert_ne!(evidence.gate(found.gate).1, "not reached", "{} does not say why{at}", found.gate);
            stand.run(&["evidence", "verify", &rid]).expect(0);
        });
        checks.that(format!("{what}: no row is quoted"), || {
            evidence.holds_none_of(&[ROW]);
            outcome.lacks(ROW);
        });
        checks.that(format!("{what}: nothing was touched"), || {
            assert_eq!(sessions.len(), 1, "the writer was thrown out{at}");
            assert_eq!(sessions[0].oid, live_oid(stand), "another database has the live name{at}");
            before.containers_untouched(stand, at);
            before.checkout_untouched(stand, at);
            before.last_good_untouched(stand, at);
            assert_eq!(evidence.json("summary.json")["state_left"], "unchanged", "state_left{at}");
            assert_eq!(stand.api_version().as_deref(), Some("1"), "what answers{at}");
        });
        checks.that(format!("{what}: leftovers"), || stand.nothing_left_over(kept, &outcome));
    }

    /// The dump is changed when the backup is done and the proof has not begun.
    fn broken(&mut self, what: &str, change: impl FnOnce(&Stand, &Path)) {
        let found = Found {
            gates: PROOF,
            gate: "R0",
            lane: "A",
            words: &["the dump on disk is not the dump that was made", "read back", "look at the disk"],
        };
        self.fails(what, &found, |case, rid| {
            let Case { stand, die, .. } = case;
            let made = Moment::after("done", "backup", "step");
            let running = die.stopped(stand, &["release", "--yes", "--rid", rid], &made);
            change(stand, &backup_of(stand, rid).join("db.dump"));
            running.signal("CONT");
            stand.heard(running.wait(), &[])
        });
        let Case { stand, checks, tries, .. } = self;
        checks.that(format!("{what}: the dump stays, and nothing goes back to it"), || {
            let backup = backup_of(stand, &format!("rel_20991231-{tries:06}_dumps"));
            assert!(backup.join("db.dump").exists(), "the dump is gone");
            refused_as_a_way_back(stand, &backup);
        });
    }

    /// What is in the database while `sql` was run in it and `undo` was not.
    fn schema(&mut self, what: &str, sql: &str, undo: &str, words: &[&str]) {
        self.stand.psql(&format!("SET search_path = app, public; {sql}"));
        self.fails(what, &Found { gates: PROOF, gate: "R0", lane: "C", words }, plain);
        self.stand.psql(&format!("SET client_min_messages = warning; {undo}"));
    }
}

fn plain(case: &Case, rid: &str) -> Outcome {
    case.stand.run(&["release", "--yes", "--rid", rid])
}

/// The directory of the backup that a run made.
fn backup_of(stand: &Stand, rid: &str) -> PathBuf {
    let all = std::fs::read_dir(stand.repo.join("ops/_backups")).unwrap().flatten().map(|e| e.path());
    let mut own = all.filter(|p| p.to_string_lossy().ends_with(&format!("_{rid}")));
    own.next().unwrap_or_else(|| panic!("{rid} made no backup"))
}

/// A dump of a database that has other content.
fn of_another(stand: &Stand, to: &Path) {
    stand.psql_on("postgres", "CREATE DATABASE another");
    stand.psql_on(
        "another",
        "CREATE TABLE public.points (t text); INSERT INTO public.points VALUES ('other')",
    );
    let id = stand.container("postgres");
    let dump = ["exec", &id, "pg_dump", "-Fc", "-U", USER, "-d", "another", "-f", "/tmp/another"];
    tool("docker", &dump, Path::new("/"), None);
    tool("docker", &["cp", &format!("{id}:/tmp/another"), &to.display().to_string()], Path::new("/"), None);
    tool("docker", &["exec", &id, "rm", "/tmp/another"], Path::new("/"), None);
    stand.psql_on("postgres", "DROP DATABASE another");
}

#[test]
fn a_dump_that_cannot_bring_the_database_back_ends_the_release_before_it_begins() {
    let mut case = Case::new();
    case.broken("a flipped byte", |_, dump| Copy::flip(dump));
    case.broken("a truncated dump", |_, dump| {
        let file = std::fs::File::options().write(true).open(dump).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    });
    case.broken("another database's dump", of_another);

    case.schema(
        "an index over a function that needs the search path",
        "CREATE TABLE app.codes (code text); INSERT INTO app.codes VALUES ('530917265');
         CREATE FUNCTION app.known(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
           'BEGIN RETURN (SELECT max(t) FROM points WHERE t <> $1); END';
         CREATE INDEX codes_known ON app.codes (app.known(code))",
        "DROP TABLE app.codes; DROP FUNCTION app.known",
        &["relation \"points\" does not exist", "SET search_path"],
    );
    case.schema(
        "a CHECK function that was changed since",
        "CREATE FUNCTION app.fits(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 < 600000000';
         CREATE TABLE app.limits (n int CONSTRAINT fits CHECK (app.fits(n)));
         INSERT INTO app.limits VALUES (530917265);
         CREATE OR REPLACE FUNCTION app.fits(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 < 10'",
        "DROP TABLE app.limits; DROP FUNCTION app.fits",
        &["violates check constraint", "table \"limits\"", "mend the rows or the function"],
    );
    case.schema(
        "rows that refer to nothing",
        "CREATE TABLE app.parents (id int PRIMARY KEY); CREATE TABLE app.children (id int REFERENCES app.parents);
         SET session_replication_role = replica; INSERT INTO app.children VALUES (530917265)",
        "DROP TABLE app.children, app.parents",
        &["violates foreign key constraint", "NOT VALID"],
    );
    case.schema(
        "a unique index over a function that was changed since",
        "CREATE FUNCTION app.key(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1';
         CREATE TABLE app.keys (n int); CREATE UNIQUE INDEX keys_key ON app.keys (app.key(n));
         INSERT INTO app.keys VALUES (530917265), (1530917265);
         CREATE OR REPLACE FUNCTION app.key(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 % 1000000000'",
        "DROP TABLE app.keys; DROP FUNCTION app.key",
        &["could not create unique index", "remove the duplicates"],
    );
    case.schema(
        "a generated column whose function was changed since",
        "CREATE FUNCTION app.twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
         CREATE TABLE app.doubled (n int, twice int GENERATED ALWAYS AS (app.twice(n)) STORED);
         INSERT INTO app.doubled VALUES (530917265);
         CREATE OR REPLACE FUNCTION app.twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 3'",
        "DROP TABLE app.doubled; DROP FUNCTION app.twice",
        &["app.doubled", "generated column"],
    );
    let Case { stand, checks, .. } = &mut case;
    checks.that("no secret", || stand.no_secret_anywhere());
    case.checks.all_hold();
}

#[test]
fn what_blocks_the_way_back_is_named_with_its_remedy() {
    let mut case = Case::new();
    let r0 = |words| Found { gates: PROOF, gate: "R0", lane: "A", words };

    // Not enabled: it would stay with the failed database all the same.
    case.stand.psql(
        "CREATE SUBSCRIPTION feed CONNECTION 'host=127.0.0.1 port=1 dbname=nowhere' PUBLICATION all_of_it \
         WITH (connect = false)",
    );
    let words: &[&str] = &["1 logical replication subscriptions", "DROP SUBSCRIPTION", "slot_name = NONE"];
    case.fails("a subscription", &r0(words), plain);
    case.stand.psql("ALTER SUBSCRIPTION feed SET (slot_name = NONE); DROP SUBSCRIPTION feed");

    // What pg_cron asks, where it is installed: which database its jobs are in.
    case.stand.psql("ALTER DATABASE postgres SET cron.database_name = 'foxproflow'");
    case.fails(
        "pg_cron",
        &r0(&["pg_cron is bound to this database's name", "set cron.database_name"]),
        plain,
    );
    case.stand.psql("ALTER DATABASE postgres RESET cron.database_name");

    // The same engine, behind an address: it could be anywhere.
    let relay = Relay::to("/var/run/docker.sock");
    let words: &[&str] = &["the engine is remote (tcp://", "on the engine's own machine"];
    case.fails("an engine elsewhere", &r0(words), |case, rid| {
        let host = [("DOCKER_HOST", relay.address.as_str())];
        case.stand.run_with(&host, &["release", "--yes", "--rid", rid])
    });
    drop(relay);

    case.stand.psql(
        "CREATE ROLE ff_plain LOGIN; GRANT pg_read_all_data TO ff_plain; GRANT ALL ON DATABASE foxproflow TO ff_plain",
    );
    let words: &[&str] = &["the database's user may not rename it", "use a superuser, or the owner"];
    // Found before the backup, which would fail with words that name no cause.
    let early = ["B1", "B2", "R0", "M1", "D1", "S1", "E2"];
    case.fails("a user that may not", &Found { gates: &early, gate: "R0", lane: "A", words }, |case, rid| {
        case.stand.run(&["release", "--yes", "--rid", rid, "--set", "database.user=ff_plain"])
    });
    let backup = case.stand.run(&["backup", "--set", "database.user=ff_plain"]).expect(20);
    case.checks.that("a user that may not: a backup alone", || {
        backup.says("the database's user may not restore a copy beside it (user ff_plain)");
        backup.says("the owner with CREATEDB");
    });
    case.stand.psql("REVOKE ALL ON DATABASE foxproflow FROM ff_plain; DROP ROLE ff_plain");

    let disk = Disk::mount(&case.stand.repo.join("ops/_backups"), "6m");
    let words: &[&str] = &["free for backups", "set backup.directory"];
    case.fails("no room for backups", &Found { gates: &early, gate: "B1", lane: "A", words }, plain);
    drop(disk);

    let Case { stand, checks, .. } = &mut case;
    checks.that("no secret", || stand.no_secret_anywhere());
    case.checks.all_hold();
}
