//! Row values in transcripts of a real PostgreSQL 15 with psql, its server log,
//! psycopg2, SQLAlchemy and asyncpg. `‹…›` stands around what must not survive.

use super::super::Redactor;

/// Transcript (with the marks), expected.
fn check(transcript: &str, expected: &str) {
    let redactor = Redactor::new();
    let input = transcript.replace(['‹', '›'], "");
    let output = redactor.output(&input);
    assert_eq!(output, expected, "from\n{input}");
    for secret in transcript.split('‹').skip(1).filter_map(|s| s.split('›').next()) {
        assert!(!output.contains(secret), "{secret} in\n{output}");
    }
    assert_eq!(redactor.output(&output), output, "cutting twice");
    // The marks alone are no reason to mask: text() leaves rows alone.
    assert_eq!(redactor.text(&input), input);
}

#[test]
fn psql_verbose() {
    check(
        "INSERT 0 1\n\
         psql:t.sql:4: ERROR:  23505: duplicate key value violates unique constraint \"u_email_key\"\n\
         DETAIL:  Key (email)=(‹anna@example.org›) already exists.\n\
         SCHEMA NAME:  public\n\
         LOCATION:  _bt_check_unique, nbtinsert.c:664\n\
         psql:t.sql:10: ERROR:  22P02: invalid input syntax for type integer: \"‹ab\n\
         cd \"q\" ef›\"\n\
         LINE 1: select E'‹ab\\ncd \"q\" ef›'::int;\n\
         \x20              ^\n\
         LOCATION:  pg_strtoint32, numutils.c:232\n\
         psql:t.sql:11: ERROR:  22003: value \"‹99999999999›\" is out of range for type integer\n\
         psql:t.sql:32: ERROR:  23514: bad row \"‹Anna P›\"\n\
         CREATE TABLE\n",
        "INSERT 0 1\n\
         psql:t.sql:4: ERROR:  23505: duplicate key value violates unique constraint \"[row values cut]\"\n\
         DETAIL:  [row values cut]\n\
         SCHEMA NAME:  public\n\
         LOCATION:  _bt_check_unique, nbtinsert.c:664\n\
         psql:t.sql:10: ERROR:  22P02: invalid input syntax for type integer: \"[row values cut]\n\
         LINE 1: [row values cut]\n\
         LOCATION:  pg_strtoint32, numutils.c:232\n\
         psql:t.sql:11: ERROR:  22003: value \"[row values cut]\" is out of range for type integer\n\
         psql:t.sql:32: ERROR:  23514: bad row \"[row values cut]\"\n\
         CREATE TABLE\n",
    );
}

#[test]
fn psql_rows_and_contexts_of_several_lines_end_where_they_end() {
    check(
        "ERROR:  new row for relation \"u\" violates check constraint \"u_n_check\"\n\
         DETAIL:  Failing row contains (3, ‹line one.\n\
         \n\
         line two›, -1).\n\
         INSERT 0 1\n\
         ERROR:  duplicate key value violates unique constraint \"u_pkey\"\n\
         DETAIL:  Key (email)=(‹multi\n\
         line@x›) already exists.\n\
         CONTEXT:  SQL statement \"insert into u\n\
         \x20 values (9, '‹anna@example.org›', 1)\"\n\
         PL/pgSQL function f() line 3 at SQL statement\n\
         ROLLBACK\n\
         DETAIL:  view v depends on table ‹phones›\n\
         view w depends on table ‹phones›\n\
         HINT:  Use DROP ... CASCADE to drop the dependent objects too.\n\
         QUERY:  selec '‹Ivan›'\n\
         \n\
         frm ‹phones›\n\
         CONTEXT:  PL/pgSQL function inline_code_block line 1 at EXECUTE\n\
         DO\n",
        "ERROR:  new row for relation \"[row values cut]\" violates check constraint \"[row values cut]\"\n\
         DETAIL:  [row values cut]\n\
         INSERT 0 1\n\
         ERROR:  duplicate key value violates unique constraint \"[row values cut]\"\n\
         DETAIL:  [row values cut]\n\
         CONTEXT:  [row values cut]\n\
         ROLLBACK\n\
         DETAIL:  [row values cut]\n\
         HINT:  Use DROP ... CASCADE to drop the dependent objects too.\n\
         QUERY:  [row values cut]\n\
         CONTEXT:  [row values cut]\n\
         DO\n",
    );
}

#[test]
fn open_cuts_end_as_soon_as_they_can() {
    check(
        "DETAIL:  no sentence: ‹Anna›\n\nplain\n\
         ERROR:  invalid input syntax for type integer: \"‹ab\n‹cd›\"\nplain\n\
         ERROR:  invalid input syntax for type integer: \"‹ab \"cd›\n‹ef›\"\nplain\n\
         ERROR:  value \"‹12\n3›\" is out of range for type integer\nplain\n\
         ERROR:  invalid byte sequence for encoding \"‹UTF8›\": 0xff\nplain\n\
         [SQL: select\n‹phone›]\nplain\n",
        "DETAIL:  [row values cut]\n\nplain\n\
         ERROR:  invalid input syntax for type integer: \"[row values cut]\nplain\n\
         ERROR:  invalid input syntax for type integer: \"[row values cut]\nplain\n\
         ERROR:  value \"[row values cut]\nplain\n\
         ERROR:  invalid byte sequence for encoding \"[row values cut]\": 0xff\nplain\n\
         [SQL: [row values cut]\nplain\n",
    );
}

#[test]
fn the_log_of_the_server_as_compose_shows_it() {
    let at = "2026-11-23 22:20:46.322 UTC [1594]";
    check(
        &format!(
            "postgres-1  | {at} ERROR:  invalid input syntax for type integer: \"‹ab\n\
             api-1       | GET /health 200\n\
             postgres-1  | \tcd› \"q\" ef\" at character 8\n\
             postgres-1  | {at} STATEMENT:  do $$ begin execute 'insert into ‹u\n\
             api-1       | GET /health 200\n\
             postgres-1  | \tvalues (9, ''anna@example.org›'', 1)'; end $$;\n\
             postgres-1  | {at} ERROR:  value \"‹99999999999›\" is out of range for type integer at character 8\n\
             postgres-1  | {at} DETAIL:  parameters: $1 = '‹Anna›'\n\
             postgres-1  | {at} LOG:  duration: 0.5 ms  execute <unnamed>: INSERT INTO ‹phones›\n\
             postgres-1  | {at} LOG:  checkpoint starting: time\n"
        ),
        &format!(
            "postgres-1  | {at} ERROR:  invalid input syntax for type integer: \"[row values cut]\n\
             api-1       | GET /health 200\n\
             postgres-1  | {at} STATEMENT:  [row values cut]\n\
             api-1       | GET /health 200\n\
             postgres-1  | {at} ERROR:  value \"[row values cut]\" is out of range for type integer at character 8\n\
             postgres-1  | {at} DETAIL:  [row values cut]\n\
             postgres-1  | {at} LOG:  duration: 0.5 ms  execute <unnamed>: [row values cut]\n\
             postgres-1  | {at} LOG:  checkpoint starting: time\n"
        ),
    );
}

#[test]
fn drivers_and_frameworks() {
    check(
        "sqlalchemy.exc.IntegrityError: (psycopg2.errors.UniqueViolation) duplicate key value violates unique constraint \"u\"\n\
         DETAIL:  Key (email)=(‹anna@example.org›) already exists.\n\
         \n\
         [SQL: INSERT INTO u (email) VALUES ('‹a@b›')\n\
         RETURNING phone]\n\
         [parameters: {'email': '‹anna@example.org›'}]\n\
         (Background on this error at: https://sqlalche.me/e/20/gkpj)\n\
         asyncpg.exceptions.DataError: invalid input for query argument $1: '‹Anna›' (an integer is required)\n\
         2026-11-23T06:55:19.916Z psycopg2.errors.InvalidTextRepresentation: invalid input syntax for type integer: \"‹abc›\"\n\
         UniqueViolation('duplicate key value violates unique constraint \"u\"\\nDETAIL:  Key (email)=(‹a@b.c›) already exists.\\n')\n\
         {\"error\": \"invalid input syntax for type integer: \\\"‹abc›\\\"\", \"ok\": false}\n\
         worker: Key (email)=(‹a@b.c›) already exists.\n\
         done\n",
        "sqlalchemy.exc.IntegrityError: (psycopg2.errors.UniqueViolation) duplicate key value violates unique constraint \"[row values cut]\"\n\
         DETAIL:  [row values cut]\n\
         \n\
         [SQL: [row values cut]\n\
         [parameters: [row values cut]\n\
         (Background on this error at: https://sqlalche.me/e/20/gkpj)\n\
         asyncpg.exceptions.DataError: invalid input for query argument $1: [row values cut]\n\
         2026-11-23T06:55:19.916Z psycopg2.errors.InvalidTextRepresentation: invalid input syntax for type integer: \"[row values cut]\"\n\
         UniqueViolation('duplicate key value violates unique constraint \"[row values cut]\"\\nDETAIL:  [row values cut]\n\
         {\"error\": \"invalid input syntax for type integer: \\\"[row values cut]\\\"\", \"ok\": false}\n\
         worker: Key (email)=([row values cut]\n\
         done\n",
    );
}

#[test]
fn copy_restore_and_dumps() {
    check(
        "pg_restore: error: COPY failed for table \"u\": ERROR:  invalid input syntax for type integer: \"‹x y›\"\n\
         CONTEXT:  COPY u, line 1, column n: \"‹x y›\"\n\
         pg_restore: error: could not execute query: ERROR:  relation \"t\" already exists\n\
         Command was: CREATE TABLE ‹public.t› (\n\
         \x20   ‹phone› text\n\
         \n\
         );\n\
         pg_restore: warning: errors ignored on restore: 1\n\
         COPY u, line 3, column b: \"‹kate›\"\n\
         COPY public.u (id, email) FROM stdin;\n\
         7\t‹kate@example.org›\n\
         \\N\t‹anna›\n\
         \\.\n\
         ALTER TABLE\n\
         COPY public.u (id, email) FROM stdin;\n\
         COPY 2\n\
         DONE\n",
        "pg_restore: error: COPY failed for table \"u\": ERROR:  invalid input syntax for type integer: \"[row values cut]\"\n\
         CONTEXT:  [row values cut]\n\
         pg_restore: error: could not execute query: ERROR:  relation \"t\" already exists\n\
         Command was: [row values cut]\n\
         pg_restore: warning: errors ignored on restore: 1\n\
         COPY u, line 3, column b: [row values cut]\n\
         COPY public.u (id, email) FROM stdin;[row values cut]\n\
         ALTER TABLE\n\
         COPY public.u (id, email) FROM stdin;[row values cut]\n\
         COPY 2\n\
         DONE\n",
    );
}

#[test]
fn every_message_of_class_22_and_23_that_quotes() {
    let cut = |message: &str| Redactor::new().output(&message.replace(['‹', '›'], ""));
    for message in [
        "invalid input syntax for type date: \"‹x y›\"",
        "invalid input value for enum mood: \"‹x y›\"",
        "malformed array literal: \"‹{a›\"",
        "date/time field value out of range: \"‹1-1›\"",
        "interval out of range: \"‹9›\"",
        "invalid value \"‹Ivan›\" for \"YYYY\"",
        "time zone \"‹Mars›\" not recognized",
        "\"‹2›\" is not a valid binary digit",
        "\"‹1e999›\" is out of range for type double precision",
        "value \"‹x›\" is out of range for type bigint",
        "syntax error in tsquery: \"‹a b›\"",
        "invalid cidr value: \"‹1.2.3›\"",
        "null value in column \"‹email›\" of relation \"‹u›\" violates not-null constraint",
        "update or delete on table \"‹tab_u›\" violates foreign key constraint \"‹fk_u›\" on table \"‹tab_v›\"",
        "conflicting key value violates exclusion constraint \"‹x_excl›\"",
        "could not create unique index \"‹u_idx›\"",
        "string is not a valid identifier: \"‹Иван Петров›\"",
        "datetime format is not recognized: \"‹1980-13-01›\"",
        "timestamp_tz format is not recognized: \"‹1980-13-01›\"",
        "interval time zone \"‹1 mon›\" must not include months or days",
        "numeric time zone \"‹+99:00›\" out of range",
        "hour \"‹13›\" is invalid for the 12-hour clock",
        "argument \"‹Ivan \"P›\" of jsonpath item method .double() is invalid for type double precision",
        "path element at position 2 is not an integer: \"‹Ivan›\"",
        "JSON object does not contain key \"‹Ivan›\"",
        "duplicate JSON object key value: \"‹Ivan›\"",
        "invalid size: \"‹Ivan›\"",
        "unrecognized encoding: \"‹Ivan›\"",
        "column name mismatch in header line field 1: got \"‹Ivan›\", expected \"a\"",
        "skipping row due to data type incompatibility at line 3 for column \"a\": \"‹Ivan›\"",
        "invalid datetime format separator: \"‹x y›\"",
        "unmatched format character \"‹ж›\"",
        "no operand in tsquery: \"‹Ivan & ›\"",
        "word is too long in tsquery: \"‹Ivan›\"",
        "text-search query doesn't contain lexemes: \"‹the Ivan›\"",
        "there is no escaped character: \"‹Ivan›\"",
        "wrong position info in tsvector: \"‹Ivan:0›\"",
        "invalid octet value in \"macaddr\" value: \"‹1:2›\"",
        "строка не является допустимым идентификатором: \"‹Анна›\"",
        "формат datetime не распознан: \"‹1980-13-01›\"",
        "интервал \"‹1 mon›\", задающий часовой пояс, не должен содержать дней или месяцев",
        "элемент пути в позиции 2 - не целочисленный: \"‹Анна›\"",
        "слишком длинное слово в tsquery: \"‹Анна›\"",
        "ошибка в литерале записи: \"‹(Анна›\"",
        "\"‹2›\" - не двоичная цифра",
        "час \"‹13›\" не соответствует 12-часовому формату времени",
        "JSON-объект не содержит ключ \"‹Анна›\"",
        "неверный синтаксис для типа integer: \"‹Анна›\"",
        "значение \"‹99›\" вне диапазона для типа integer",
    ] {
        for before in ["ERROR:  ", "2026-11-23 22:20:46.322 UTC [1] ERROR:  ", "psycopg2.errors.DataError: "]
        {
            let output = cut(&format!("{before}{message}"));
            for secret in message.split('‹').skip(1).filter_map(|s| s.split('›').next()) {
                assert!(!output.contains(&format!("\"{secret}")), "{output}");
            }
            assert!(output.starts_with(before) && output.contains("\"[row values cut]\""), "{output}");
        }
    }
}

#[test]
fn values_in_front_that_go_over_several_lines() {
    check(
        "ERROR:  interval time zone \"‹Ivan\nPetrov›\" must not include months or days\nHINT:  x\n\
         ERROR:  argument \"‹Ivan\nPetrov›\" of jsonpath item method .date() is invalid for type date\nHINT:  x\n\
         2026-11-23 22:20:46.322 UTC [1] LOG:  duration: 5.1 ms  plan:\n\
         \tQuery Text: INSERT INTO u VALUES ('‹Ivan›')\n\
         \t  Filter: (name = '‹Petrov›'::text)\n\
         2026-11-23 22:20:46.322 UTC [1] LOG:  checkpoint starting: time\n",
        "ERROR:  interval time zone \"[row values cut]\nHINT:  x\n\
         ERROR:  argument \"[row values cut]\nHINT:  x\n\
         2026-11-23 22:20:46.322 UTC [1] LOG:  duration: 5.1 ms  plan:[row values cut]\n\
         2026-11-23 22:20:46.322 UTC [1] LOG:  checkpoint starting: time\n",
    );
}

#[test]
fn other_errors_and_harmless_lines_stay() {
    for text in [
        "ERROR:  MISSING_DB_SCHEMAS: crm",
        "psql:t.sql:31: ERROR:  P0001: MISSING_DB_SCHEMAS: crm",
        "ERROR:  42P01: relation \"nosuch\" does not exist",
        "ERROR:  syntax error at or near \"selec\"",
        "FATAL:  database \"nosuchdb\" does not exist",
        "ERROR:  unrecognized configuration parameter \"x\"",
        "ERROR:  function f(text) is not unique, string is too long",
        "ERROR:  42601: invalid datetime format",
        "FATAL:  role \"x\" does not exist",
        "ERROR:  permission denied for table \"t\"",
        "HINT:  No function matches the given name",
        "NOTICE:  table \"t\" does not exist, skipping",
        "LOG:  checkpoint starting: time",
        "LOCATION:  ExecConstraints, execMain.c:2074",
        "SQL context: \"x\"",
        "#5 [internal] load build context",
        "detail: \"x\"",
        "INSERT 0 1\nCOPY 12\nSELECT 3",
        "\ttab indented text",
        "see LINE 5 of the file",
        "DETAILS: none",
        "MYDETAIL: x",
        "the COPY command copied",
        "COPY t TO stdout;",
        "  Key (a) is fine",
    ] {
        assert_eq!(Redactor::new().output(text), text);
    }
}

#[test]
fn a_cut_ends_where_it_ends_however_many_lines_that_are() {
    let rows = "anna@example.org\t+7 900 000\n".repeat(2000);
    let log = format!(
        "DETAIL:  Key (a)=(b\n{rows}c) already exists.\nCOPY u (a, b) FROM stdin;\n{rows}\\.\nDONE\n"
    );
    assert_eq!(
        Redactor::new().output(&log),
        "DETAIL:  [row values cut]\nCOPY u (a, b) FROM stdin;[row values cut]\nDONE\n"
    );
}

#[test]
fn the_end_of_a_log_may_begin_inside_a_statement() {
    let redactor = Redactor::new();
    let at = "2026-11-23T22:20:46.322123456Z ";
    let log = format!(
        "{at}\t('Ivan Petrov', 1),\n{at}\t\n{at}\t('Anna Orlova', 2);\n{at}2026-11-23 22:20:46 UTC [7] LOG:  ready\n\
         {at}\tindented\n"
    );
    let cut = format!("{at}[row values cut]\n{at}2026-11-23 22:20:46 UTC [7] LOG:  ready\n{at}\tindented\n");
    assert_eq!(redactor.tail(&log), cut);
    assert_eq!(redactor.tail(&cut), cut, "cutting twice");
    assert_eq!(redactor.output(&log), log, "a whole output begins with a label");
    assert_eq!(redactor.tail("\tIvan\n"), "[row values cut]\n");
    assert_eq!(redactor.tail("plain\n\tindented"), "plain\n\tindented");
    let mut stream = redactor.tail_stream();
    let mut bytes: Vec<u8> = log.as_bytes().chunks(7).flat_map(|c| stream.push(c)).collect();
    bytes.extend(stream.finish());
    assert_eq!(String::from_utf8_lossy(&bytes), cut);
}
