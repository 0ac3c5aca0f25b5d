//! Row values of PostgreSQL.

use super::*;

/// As the server writes it, through `docker logs --timestamps`.
pub const SERVER_LOG: &str = "2026-11-23 10:00:00.000 UTC [71] ERROR:  duplicate key value violates unique constraint \"people_email_key\"\n\
2026-11-23 10:00:00.000 UTC [71] DETAIL:  Key (email)=(ivan@example.org) already exists.\n\
2026-11-23 10:00:00.000 UTC [71] STATEMENT:  insert into people (email)\n\tvalues ('ivan@example.org')\n\
2026-11-23 10:00:01.000 UTC [71] LOG:  checkpoint complete\n";

#[test]
fn the_servers_own_log_keeps_its_words_and_loses_its_rows() {
    let text = taught().text(SERVER_LOG);
    assert!(!text.contains("ivan@") && !text.contains("people_email_key"), "{text}");
    assert!(text.contains("[71] DETAIL:  [row values cut]\n"), "{text}");
    assert!(
        text.contains("[71] STATEMENT:  [row values cut]\n2026-11-23 10:00:01.000 UTC [71] LOG:  checkpoint"),
        "{text}"
    );
    assert!(text.contains("duplicate key value violates unique constraint \"[cut]\""), "{text}");
    let stamped: String =
        SERVER_LOG.lines().map(|l| format!("2026-11-23T10:00:00.123456789Z {l}\n")).collect();
    let text = taught().text(&stamped);
    assert!(!text.contains("ivan@"), "{text}");
}

#[test]
fn psql_and_python_lose_their_rows_too() {
    let cases = [
        (
            "psql:scripts/a.sql:12: ERROR:  22P02: invalid input syntax for type integer: \"Ivan Petrov\"\nLINE 1: select 'Ivan Petrov'::int\n               ^\nLOCATION:  x\n",
            "psql:scripts/a.sql:12: ERROR:  22P02: invalid input syntax for type integer: \"[cut]\"\nLINE 1: [row values cut]\nLOCATION:  x\n",
        ),
        (
            "psycopg2.errors.UniqueViolation: duplicate key value violates unique constraint \"k\"\nDETAIL:  Key (phone)=(+7 900) already exists.\n\n",
            "psycopg2.errors.UniqueViolation: duplicate key value violates unique constraint \"[cut]\"\nDETAIL:  [row values cut]\n\n",
        ),
        ("CONTEXT:  COPY people, line 3, column age: \"Ivan\"\n", "CONTEXT:  [row values cut]\n"),
        (
            "pg_restore: error: COPY failed for table \"t\": COPY people, line 3, column age: \"Ivan\"\n",
            "pg_restore: error: COPY failed for table \"t\": COPY people, line 3 [row values cut]\n",
        ),
        (
            "it failed: ERROR:  23514: new row violates check; DETAIL:  Failing row contains (1, Ivan).",
            "it failed: ERROR:  23514: new row violates check; DETAIL:  [row values cut]",
        ),
        (
            "ERROR:  23503: insert on table \"a\" violates foreign key constraint \"b\"\n",
            "ERROR:  23503: insert on table \"[cut]\" violates foreign key constraint \"[cut]\"\n",
        ),
    ];
    for (before, after) in cases {
        assert_eq!(taught().text(before), after);
    }
}
