//! What belongs to a database and not to its content: owner, grants, comment,
//! settings. A copy does not have them; they are replayed as pg_restore prints
//! them from the archive, with the name changed and nothing else of its output.

use crate::error::Result;
use crate::stand::psql::{Psql, ident};

/// The statements that give a database named `to` the properties that `from` had in the archive.
pub fn statements(script: &str, from: &str, to: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut wanted = false;
    let mut current = String::new();
    for line in script.lines() {
        if let Some(header) = line.strip_prefix("-- Name: ") {
            wanted = header_wanted(header, from);
            current.clear();
            continue;
        }
        if !wanted
            || (current.is_empty() && (line.is_empty() || line.starts_with("--") || line.starts_with('\\')))
        {
            continue;
        }
        current.push_str(line);
        current.push('\n');
        if line.trim_end().ends_with(';') && quotes_closed(&current) {
            let statement = current.trim().trim_end_matches(';').to_string();
            current.clear();
            if belongs(&statement, from) {
                found.push(renamed(&statement, from, to));
            }
        }
    }
    found
}

/// `app; Type: DATABASE; Schema: -; Owner: admin` and its siblings.
fn header_wanted(header: &str, from: &str) -> bool {
    let mut fields = header.split("; ");
    let name = fields.next().unwrap_or_default();
    let kind = fields.next().and_then(|f| f.strip_prefix("Type: ")).unwrap_or_default();
    match kind {
        "DATABASE" | "DATABASE PROPERTIES" => name == from,
        "ACL" | "COMMENT" | "SECURITY LABEL" => {
            name == format!("DATABASE {from}") || name == format!("DATABASE {}", ident(from))
        }
        _ => false,
    }
}

/// Statements about the database itself; creating, dropping and entering it are not.
fn belongs(statement: &str, from: &str) -> bool {
    let plain = names(from);
    let starts = |prefix: &str| statement.starts_with(prefix);
    let about = plain.iter().any(|n| statement.contains(&format!("DATABASE {n}")));
    about
        && (starts("ALTER DATABASE ")
            || starts("ALTER ROLE ")
            || starts("GRANT ")
            || starts("REVOKE ")
            || starts("COMMENT ON DATABASE ")
            || starts("SECURITY LABEL "))
}

/// The name as pg_dump may write it.
fn names(name: &str) -> [String; 2] {
    [ident(name), name.to_string()]
}

fn renamed(statement: &str, from: &str, to: &str) -> String {
    for name in names(from) {
        let at = format!("DATABASE {name}");
        if let Some(begin) = statement.find(&at) {
            let end = begin + at.len();
            // `DATABASE app` must not match `DATABASE app2`.
            if statement[end..].chars().next().is_none_or(|c| c.is_whitespace() || c == ';') {
                return format!("{}DATABASE {}{}", &statement[..begin], ident(to), &statement[end..]);
            }
        }
    }
    statement.into()
}

fn quotes_closed(text: &str) -> bool {
    text.matches('\'').count().is_multiple_of(2) && text.matches('"').count().is_multiple_of(2)
}

/// Replays statements; every one must hold.
pub fn replay(admin: &mut Psql, statements: &[String]) -> Result<()> {
    for statement in statements {
        // Opening the door is a step of its own, later.
        if !statement.contains("ALLOW_CONNECTIONS") {
            admin.run(statement)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = r#"--
-- Name: app; Type: DATABASE; Schema: -; Owner: owner
--

CREATE DATABASE app WITH TEMPLATE = template0 ENCODING = 'UTF8';


ALTER DATABASE app OWNER TO owner;

\connect app

--
-- Name: DATABASE app; Type: COMMENT; Schema: -; Owner: owner
--

COMMENT ON DATABASE app IS 'line one;
it''s DATABASE app, line two';


--
-- Name: app; Type: DATABASE PROPERTIES; Schema: -; Owner: owner
--

ALTER DATABASE app CONNECTION LIMIT = 50;
ALTER DATABASE app SET search_path TO 'a', 'b';
ALTER ROLE reader IN DATABASE app SET work_mem TO '8MB';


--
-- Name: TABLE app; Type: COMMENT; Schema: public; Owner: owner
--

COMMENT ON TABLE public.app IS 'no';

--
-- Name: DATABASE app; Type: ACL; Schema: -; Owner: owner
--

REVOKE CONNECT,TEMPORARY ON DATABASE app FROM PUBLIC;
GRANT CONNECT ON DATABASE app TO reader;
"#;

    #[test]
    fn only_what_is_about_the_database_comes_and_the_name_is_changed() {
        let found = statements(SCRIPT, "app", "live x");
        assert_eq!(
            found,
            [
                "ALTER DATABASE \"live x\" OWNER TO owner",
                "COMMENT ON DATABASE \"live x\" IS 'line one;\nit''s DATABASE app, line two'",
                "ALTER DATABASE \"live x\" CONNECTION LIMIT = 50",
                "ALTER DATABASE \"live x\" SET search_path TO 'a', 'b'",
                "ALTER ROLE reader IN DATABASE \"live x\" SET work_mem TO '8MB'",
                "REVOKE CONNECT,TEMPORARY ON DATABASE \"live x\" FROM PUBLIC",
                "GRANT CONNECT ON DATABASE \"live x\" TO reader",
            ]
        );
    }

    #[test]
    fn a_quoted_name_is_the_same_database() {
        let script = "-- Name: my app; Type: DATABASE PROPERTIES; Schema: -; Owner: o\n--\n\nALTER DATABASE \"my app\" SET a TO 'b';\n";
        assert_eq!(statements(script, "my app", "my app"), ["ALTER DATABASE \"my app\" SET a TO 'b'"]);
    }
}
