//! A database that is long and large: many tables, many large objects, many
//! bytes. Release and rollback pass, memory does not grow with it, and no time
//! grows faster than it. A binary of its own: no other stand takes its time.
//! With FF_TEST_ALL the real sizes: half an hour, and 60 GB of disk.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;
use support::before::Before;
use support::leftovers::Kept;
use support::{Checks, Evidence, Outcome, Stand, note};

const MB: u64 = 1_000_000;
/// Whatever the size.
const MOST_MEMORY: u64 = 64 * MB;
/// By which a run with many bytes or large objects may have more than one with few.
const MARGIN: u64 = 12 * MB;
/// What a table may cost: its sum and the definitions that belong to it, of the database and of its copy.
const A_TABLE: u64 = 5_000;
/// By which a table, a large object, a byte may take longer where there are more of them.
const SLOWER: f64 = 3.0;

const SERVER: &str = "    image: postgres:15\n";
/// Room for some six hundred locks: for a few hundred tables what the usual eight thousand are for
/// thousands. A dump finds it enough.
const FEW_LOCKS: &str =
    "    command: [\"postgres\", \"-c\", \"max_locks_per_transaction=10\", \"-c\", \"max_connections=40\"]\n";

/// What there is many of: how many at first, how many then, and what makes them. `{from}` are there
/// already, `{to}` shall be.
struct Many {
    what: &'static str,
    sizes: [u64; 2],
    sql: &'static str,
}

/// Each in a transaction of its own: one for all would need more locks than the server has.
const TABLES: &str = "DO $$ BEGIN FOR n IN {from}..{to} - 1 LOOP
  EXECUTE format('CREATE TABLE large.t%s (id int PRIMARY KEY, title text, at timestamptz)', n);
  EXECUTE format('CREATE INDEX ON large.t%s (at)', n);
  EXECUTE format('CREATE INDEX ON large.t%s (title)', n);
  EXECUTE format('INSERT INTO large.t%s SELECT g, md5(g::text), now() FROM generate_series(1, 20) g', n);
  COMMIT;
END LOOP; END $$";
const OBJECTS: &str = "SELECT count(lo_from_bytea(0, decode(md5(n::text), 'hex')))
  FROM generate_series({from}, {to} - 1) n";
/// A row has about a thousand bytes.
const BYTES: &str = "INSERT INTO large.rows SELECT n, repeat(md5(n::text), 30)
  FROM generate_series({from} / 1000, {to} / 1000 - 1) n";

fn many() -> [Many; 3] {
    let [tables, objects, bytes] = match all() {
        true => [[500, 5_000], [10_000, 100_000], [1_000 * MB, 10_000 * MB]],
        false => [[60, 300], [400, 2_000], [20 * MB, 100 * MB]],
    };
    [
        Many { what: "tables", sizes: tables, sql: TABLES },
        Many { what: "large objects", sizes: objects, sql: OBJECTS },
        Many { what: "bytes", sizes: bytes, sql: BYTES },
    ]
}

fn all() -> bool {
    std::env::var_os("FF_TEST_ALL").is_some()
}

#[test]
fn a_long_and_large_database_is_released_and_brought_back() {
    let mut stand = Stand::with(|repo| {
        if !all() {
            let path = repo.join("docker-compose.yml");
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.contains(SERVER), "the compose file was not edited");
            std::fs::write(path, text.replace(SERVER, &format!("{SERVER}{FEW_LOCKS}"))).unwrap();
        }
    });
    stand.wait_up_to(Duration::from_secs(900));
    // What takes long here is the database, and nobody shall fail for it.
    stand.set("FF_SMOKE_TIMEOUT_S", "120");
    if all() {
        let free = fs4::available_space(&stand.repo).unwrap();
        assert!(free > 60_000 * MB, "60 GB of disk are needed, {} MB are free", free / MB);
        stand.wait_up_to(Duration::from_secs(3 * 3600));
    }
    let (mut checks, mut kept) = (Checks::default(), Kept::default());
    let small = stand.run(&["release", "--yes"]).expect(0);
    let commit = stand.head();
    stand.psql("CREATE SCHEMA large; CREATE TABLE large.rows (id bigint PRIMARY KEY, text text)");

    let mut backup = stand.run(&["backup"]).expect(0);
    let mut least = backup.peak;
    let tables = many()[0].sizes[1];
    for many in many() {
        let mut taken = Vec::new();
        let mut from = 0;
        for to in many.sizes {
            note(format!("{to} {}", many.what));
            let (a, b) = (from.to_string(), to.to_string());
            stand.psql(&many.sql.replace("{from}", &a).replace("{to}", &b));
            from = to;
            backup = stand.run(&["backup"]).expect(0);
            taken.push(times(&stand.evidence(&backup)));
            let more = if many.what == "tables" { to * A_TABLE } else { 0 };
            checks.that(format!("memory, {to} {}", many.what), || memory(&backup, least + more));
        }
        if many.what == "tables" {
            // They stay, and so does what they cost.
            least = backup.peak;
        }
        checks.that(format!("time, {}", many.what), || no_faster_than_linear(&many, &taken));
    }

    stand.psql("ANALYZE");
    let before = Before::of(&stand);
    let good = stand.run(&["release", "--yes"]).expect(0);
    let evidence = stand.evidence(&good);
    kept.passed(&evidence);
    checks.that("a good release: verdict", || {
        assert_eq!(evidence.verdict(), ("PASS".into(), 0), "verdict{}", evidence.at);
        let compared = evidence.json("proof.json")["tables"].as_u64().unwrap();
        assert!(compared > tables, "{compared} tables were compared{}", evidence.at);
        stand.run(&["evidence", "verify", &evidence.rid()]).expect(0);
    });
    checks.that("a good release: memory", || memory(&good, small.peak + tables * A_TABLE));
    checks.that("a good release: screen", || screen(&good));
    checks.that("a good release: leftovers", || stand.nothing_left_over(&kept, &good));

    let undone = stand.run(&["rollback", "--yes"]).expect(0);
    let undo = stand.evidence(&undone);
    kept = Kept::default();
    kept.rolled_back(undo.json("rollback.json")["failed_database"].as_str().unwrap());
    checks.that("it is undone: verdict", || {
        assert_eq!(undo.verdict(), ("PASS".into(), 0), "verdict{}", undo.at);
        assert_eq!(undo.json("summary.json")["rollback"]["lost_rows"], 0, "lost rows{}", undo.at);
        stand.run(&["evidence", "verify", &undo.rid()]).expect(0);
    });
    checks.that("it is undone: content", || before.content_is_back(&stand, &evidence, &undo));
    checks.that("it is undone: memory", || memory(&undone, small.peak + tables * A_TABLE));
    checks.that("it is undone: leftovers", || stand.nothing_left_over(&kept, &undone));

    stand.version("bad-fixpack-partial");
    let before = Before::of(&stand);
    let bad = stand.run(&["release", "--yes"]).expect(30);
    let evidence = stand.evidence(&bad);
    let record = evidence.json("rollback.json");
    kept.rolled_back(record["failed_database"].as_str().unwrap());
    checks.that("a bad release: verdict", || {
        assert_eq!(evidence.verdict(), ("FAIL".into(), 30), "verdict{}", evidence.at);
        assert_eq!(evidence.json("summary.json")["rollback"]["lost_rows"], 0, "lost rows{}", evidence.at);
        stand.run(&["evidence", "verify", &evidence.rid()]).expect(0);
    });
    checks.that("a bad release: content", || before.content_is_back(&stand, &evidence, &evidence));
    checks.that("a bad release: code", || before.code_is_back(&stand, "1", &commit, &evidence.at));
    checks.that("a bad release: memory", || memory(&bad, small.peak + tables * A_TABLE));
    checks.that("a bad release: screen", || screen(&bad));
    checks.that("a bad release: leftovers", || stand.nothing_left_over(&kept, &bad));
    checks.all_hold();
}

/// The acts of a backup that have to do with what is in the database, in ms.
fn times(evidence: &Evidence) -> Vec<(&'static str, f64)> {
    let acts = [("backup", "dump"), ("backup", "sums"), ("proof", "restore"), ("proof", "compare")];
    let time = |step, act| {
        let at = |kind| {
            let at = evidence.at_ms(kind, step, act);
            at.unwrap_or_else(|| panic!("no `{kind}` of {step}: {act}{}", evidence.at)) as f64
        };
        at("done") - at("intent")
    };
    acts.map(|(step, act)| (act, time(step, act))).to_vec()
}

#[track_caller]
fn no_faster_than_linear(many: &Many, taken: &[Vec<(&'static str, f64)>]) {
    let [few, lots] = many.sizes.map(|n| n as f64);
    let mut slow = Vec::new();
    for ((act, before), (_, now)) in taken[0].iter().zip(&taken[1]) {
        let ratio = (now / lots) / (before / few);
        note(format!("{act}: {before} ms at {few}, {now} ms at {lots} {}: {ratio:.2} a piece", many.what));
        if ratio > SLOWER {
            slow.push(format!("{act} takes {ratio:.1} times as long for each of the {}", many.what));
        }
    }
    assert!(slow.is_empty(), "{slow:?}");
}

#[track_caller]
fn memory(outcome: &Outcome, least: u64) {
    let peak = outcome.peak;
    note(format!("{}: {} MB at most, {} MB with little", outcome.what, peak / MB, least / MB));
    assert!(peak > 5 * MB, "{peak} bytes of memory: was it looked at?");
    assert!(peak <= MOST_MEMORY, "{} MB of memory{}", peak / MB, outcome.at());
    assert!(peak <= least + MARGIN, "{} MB of memory, {} MB with little", peak / MB, least / MB);
}

/// How far long steps are is told now and then, and thousands of tables are not told one by one.
#[track_caller]
fn screen(outcome: &Outcome) {
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    // Whoever waits is told something every ten seconds, however long it takes.
    let ticks = |line: &&&str| line.contains("  still: ") || line.contains("/s") && line.contains(" of ");
    let others = lines.len() - lines.iter().filter(ticks).count();
    assert!(others < 100, "{others} lines on the screen{}", outcome.at());
    if !all() {
        // Nothing lasts long enough.
        return;
    }
    for what in
        ["dumping foxproflow: about ", "summing the tables: ", "restoring ", "cloning foxproflow: about "]
    {
        let told = lines.iter().find(|l| l.contains(what) && l.contains("/s, about ") && l.contains(" left"));
        assert!(told.is_some(), "nobody said how far `{what}` was{}", outcome.at());
    }
}
