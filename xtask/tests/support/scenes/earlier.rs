//! `rollback --to` a release that is not the one before: its code, and the
//! database as it left it, from a backup.

use super::Chain;
use crate::support::before::{Before, content_is, in_the_dump};
use crate::support::writer::{Session, Writer};
use crate::support::{Evidence, Outcome, Stand};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Back to the first release by the backup that the second one made, while somebody writes.
pub fn earlier(chain: &mut Chain, first: &Evidence, second: &Evidence) {
    let Chain { stand, kept, checks } = chain;
    let writer = Writer::start(stand, "earlier");
    let before = Before::of(stand);
    checks.that("rollback says what there is", || {
        let asked = stand.run(&["rollback"]).expect(10);
        for words in
            ["undo", "cargo xtask rollback --to ", &first.rid(), "restored and equal when it was made"]
        {
            asked.says(words);
        }
        before.containers_untouched(stand, &asked.at());
        stand.run(&["rollback", "--yes", "--to", "rel_of_nobody"]).expect(10).says("no release of this name");
    });
    let outcome = stand.run(&["rollback", "--yes", "--json", "--to", &first.rid()]).expect(0);
    writer.acked_in_newest();
    let (tag, sessions) = (writer.tag().to_string(), writer.stop());
    let evidence = stand.evidence(&outcome);
    // The undo clone of the release that it left stays until the next one passes.
    kept.rolled_back(evidence.json("rollback.json")["failed_database"].as_str().unwrap());
    checks.that("an earlier release is back", || {
        let at = &evidence.at;
        assert_eq!(evidence.verdict(), ("PASS".into(), 0), "verdict{at}");
        stand.runs_version("1");
        assert_eq!(evidence.json("rollback.json")["to"], first.rid(), "the release that it went back to{at}");
        let column = "SELECT count(*) FROM pg_attribute WHERE attrelid = 'devfactory.orders'::regclass AND attname = 'priority'";
        assert_eq!(stand.value(column), "0", "the database is not the one of then{at}");
        let status = stand.run(&["status", "--json"]).expect(0).json();
        assert_eq!(status["last_known_good"]["rid"], first.rid(), "last known good: {status:#}{at}");
        before.data_services_ran_on(stand, at);
        before.checkout_untouched(stand, at);
        stand.run(&["evidence", "verify", &evidence.rid()]).expect(0);
    });
    checks.that("an earlier release is back: rows", || {
        let sums = second.json("sums_snapshot.json");
        as_backed_up(
            stand,
            &sums,
            (&evidence, &outcome),
            &tag,
            sessions.iter().partition(|s| s.oid == before.oid),
        );
    });
    checks.that("an earlier release is back: leftovers", || stand.nothing_left_over(kept, &outcome));
}

/// The database is what the backup has, no row more: later backups begin with the same rows. Those of
/// before the swap are counted, dumped and kept; those of after it are live.
fn as_backed_up(
    stand: &Stand,
    sums: &Value,
    (evidence, outcome): (&Evidence, &Outcome),
    tag: &str,
    (early, late): (Vec<&Session>, Vec<&Session>),
) {
    let (at, record) = (&evidence.at, evidence.json("rollback.json"));
    content_is(stand, sums, at);
    let others = format!("SELECT count(*) FROM devfactory.orders WHERE title NOT LIKE '{tag}-%'");
    assert_eq!(stand.value(&others), sums["devfactory.orders"]["rows"].to_string(), "orders{at}");
    let acked = |of: &[&Session]| -> BTreeSet<String> { of.iter().flat_map(|s| s.acked.clone()).collect() };
    let (early, late) = (acked(&early), acked(&late));
    let titles = format!("SELECT title FROM devfactory.orders WHERE title LIKE '{tag}-%'");
    let live: BTreeSet<String> = stand.psql(&titles).into_iter().collect();
    assert!(!late.is_empty() && live.is_superset(&late), "rows written after it are lost{at}");
    assert!(live.is_disjoint(&early), "rows of before it are live{at}");
    let failed = record["failed_database"].as_str().unwrap();
    let kept: BTreeSet<String> = stand.psql_closed(failed, &titles).into_iter().collect();
    assert!(!early.is_empty() && kept.is_superset(&early), "rows are not in the failed database{at}");
    in_the_dump(stand, &record, &early.iter().collect::<Vec<_>>(), at);
    for table in ["devfactory.orders", "ops.heartbeat"] {
        let now = stand.psql_closed(failed, &format!("SELECT count(*) FROM {table}")).remove(0);
        let now: u64 = now.parse().unwrap();
        // Another database is live since that backup, by the undo: what was written when nothing tells.
        let counted = json!({ "table": table, "at_fence": null, "in_backup": sums[table]["rows"],
            "now": now, "written_since": null, "rewritten": null });
        let found = record["set_aside"].as_array().unwrap().iter().find(|r| r["table"] == table);
        assert_eq!(found, Some(&counted), "what is counted{at}");
    }
    outcome.says("now, how many were written since is not known");
}
