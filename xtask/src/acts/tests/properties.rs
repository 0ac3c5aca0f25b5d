//! Statements of a database's properties, taken out of scripts with foreign names and comments.

use crate::acts::properties::statements;
use crate::property::hold;
use crate::stand::psql::{ident, literal};
use proptest::prelude::*;

/// Names that PostgreSQL takes, plain and quoted.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z_][a-z0-9_]{0,6}",
        "[a-zA-Z0-9й \"'.$-]{1,8}",
        Just("app".to_string()),
        Just("app2".to_string())
    ]
}

/// What an operator may write into a comment of a database.
fn comment(from: String) -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "\\PC{0,6}",
        Just("\n".to_string()),
        Just(";\n".to_string()),
        Just(format!("DATABASE {}", ident(&from))),
        Just(format!("ALTER DATABASE {from} OWNER TO x;\n")),
        Just("\n-- Name: t; Type: TABLE; Schema: public; Owner: o\n".to_string()),
        Just("\n--\n\n".to_string()),
        Just("\n\\connect x\n".to_string()),
        Just("'".to_string()),
        Just("\"".to_string()),
    ];
    prop::collection::vec(piece, 0..5).prop_map(|p| p.concat())
}

/// As pg_dump writes a name: quoted only where it has to be.
fn written(name: &str) -> String {
    let plain = name
        .bytes()
        .enumerate()
        .all(|(at, b)| b == b'_' || b.is_ascii_lowercase() || (at > 0 && b.is_ascii_digit()));
    if plain { name.into() } else { ident(name) }
}

#[test]
fn every_statement_comes_once_with_the_new_name_and_its_texts_as_they_were() {
    let parts = (name(), name(), name(), name()).prop_flat_map(|(from, to, role, setting)| {
        (Just(from.clone()), Just(to), Just(role), Just(setting), comment(from.clone()), comment(from))
    });
    hold(500, parts, |(from, to, role, setting, comment, other)| {
        let at = written(&from);
        let body = |d: &str| {
            vec![
                format!("ALTER DATABASE {d} OWNER TO {}", written(&role)),
                format!("COMMENT ON DATABASE {d} IS {}", literal(&comment)),
                format!("ALTER DATABASE {d} CONNECTION LIMIT = 5"),
                format!("ALTER DATABASE {d} SET {} TO {}", written(&setting), literal(&comment)),
                format!("ALTER ROLE {} IN DATABASE {d} SET x TO 'y'", written(&role)),
                format!("GRANT CONNECT ON DATABASE {d} TO {}", written(&role)),
            ]
        };
        let old = body(&at);
        let script = format!(
            "--\n-- Name: {from}; Type: DATABASE; Schema: -; Owner: o\n--\n\nCREATE DATABASE {at} WITH TEMPLATE = template0;\n\n\n{};\n\n\\connect x\n\n\
             --\n-- Name: DATABASE {at}; Type: COMMENT; Schema: -; Owner: o\n--\n\n{};\n\n\n\
             --\n-- Name: {from}; Type: DATABASE PROPERTIES; Schema: -; Owner: o\n--\n\n{};\n{};\n{};\n\n\n\
             --\n-- Name: TABLE x; Type: COMMENT; Schema: public; Owner: o\n--\n\nCOMMENT ON TABLE x IS {};\n\n\n\
             --\n-- Name: DATABASE {at}; Type: ACL; Schema: -; Owner: o\n--\n\n{};\n",
            old[0],
            old[1],
            old[2],
            old[3],
            old[4],
            literal(&other),
            old[5]
        );
        prop_assert_eq!(statements(&script, &from, &to), body(&ident(&to)), "{}", script);
        Ok(())
    });
}

#[test]
fn any_script_gives_only_statements_about_the_new_database() {
    let line = prop_oneof![
        Just("-- Name: app; Type: DATABASE PROPERTIES; Schema: -; Owner: o".to_string()),
        Just("-- Name: DATABASE app; Type: ACL; Schema: -; Owner: o".to_string()),
        Just("ALTER DATABASE app SET a TO 'b';".to_string()),
        Just("ALTER DATABASE app2 SET a TO 'b';".to_string()),
        Just("DROP DATABASE app;".to_string()),
        Just("COMMENT ON DATABASE app2 IS 'DATABASE app';".to_string()),
        Just("GRANT CONNECT ON DATABASE app TO x;".to_string()),
        "[A-Z'\"; a-z\\\\-]{0,20}",
    ];
    hold(600, prop::collection::vec(line, 0..8), |lines| {
        for statement in statements(&lines.join("\n"), "app", "new") {
            prop_assert!(statement.contains("DATABASE \"new\""), "{}", statement);
            prop_assert!(!statement.starts_with("DROP"));
        }
        Ok(())
    });
}
