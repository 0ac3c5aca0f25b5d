//! What looks a little like a secret and is none: left as it is, to the byte.

use super::*;

const HARMLESS: &[&str] = &[
    "sha256:723a525565d24ea83fe755751710b8d01ab29053098589dd920db0e539960054",
    "446d910af90b156ae4b0fc28625a65ecfd978434199b20ebcbeb667df629db49  db.dump",
    r#"["sh","-c","PGPASSWORD=\"${PGPASSWORD-${POSTGRES_PASSWORD-}}\" exec \"$@\"","sh","psql"]"#,
    r#"["docker","exec","-i","-e","REDISCLI_AUTH","abc123"]"#,
    "POSTGRES_PASSWORD=__GENERATE__",
    "password: ${DB_PASSWORD}",
    r#"{"password": "${DB_PASSWORD}"}"#,
    "REDIS_PASSWORD=***",
    r#"{"tokens": 42, "key": "value", "passed": true}"#,
    "see the token bucket, basic setup and bearer of news",
    "http://127.0.0.1:8080/health",
    "https://example.org:8443/path?x=y@z",
    "postgres:15 on port 5432, redis:7-alpine",
    "FATAL:  database \"foxproflow\" is not currently accepting connections",
    "ERROR:  42P01: relation \"crm.orders\" does not exist",
    "ERROR:  42703: column \"note\" does not exist",
    "ERROR:  P0001: MISSING_DB_SCHEMAS: crm",
    "psycopg2.errors.UndefinedColumn: column \"note\" does not exist",
    "HINT:  No function matches the given name and argument types.",
    "[3] 2026-11-23T22:26:17.966Z $ [\"docker\",\"inspect\",\"--type\",\"container\"]",
    "PATH=/usr/bin:/bin PWD=/srv/checkout SSH_AUTH_SOCK=/tmp/agent",
    "the author of the compass passed the monkey test",
    "GET /api/devfactory/orders/recent?limit=1&include_result=0: good, 28 ms",
    "LOCATION:  transformCreateStmt, parse_utilcmd.c:207",
    "CREATE TABLE keys (id int, token_type text)",
    "",
    "\tindented line of a traceback",
    "    ^ caret of something else",
];

#[test]
fn harmless_lines_are_left_alone() {
    let redactor = taught();
    for line in HARMLESS {
        for text in [(*line).to_string(), format!("{line}\n"), format!("{line}\r\n")] {
            assert_eq!(redactor.text(&text), text);
        }
    }
}
