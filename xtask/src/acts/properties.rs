//! What belongs to a database and not to its content: owner, grants, comment,
//! settings. A copy does not have them; they are replayed as pg_restore prints
//! them from the archive, with the name changed and nothing else of its output.

use super::{Ctx, schema};
use crate::error::{Fault, Lane, Result};
use crate::exec::Invocation;
use crate::stand::dump::Lines;
use crate::stand::postgres::Pg;
use crate::stand::psql::{Psql, ident};
use std::time::Duration;

/// The statements that give `to` the properties that `from` had in the archive.
pub fn of_archive(ctx: &Ctx<'_>, pg: &Pg, remote: &str, from: &str, to: &str) -> Result<Vec<String>> {
    let argv = ["pg_restore", "-C", "-s", "-f", "-", remote].map(String::from);
    let call = pg.inside(&ctx.app("properties"), &[], &argv).quiet().timeout(Duration::from_secs(600));
    read(pg, &call, (from, to))
}

/// The same of the live database itself, for a release in which no archive is restored.
pub fn now(ctx: &Ctx<'_>, step: &str) -> Result<Vec<String>> {
    let pg = ctx.pg(step)?;
    let call = pg.properties(&pg.database, &ctx.app("properties"));
    read(&pg, &call, (&pg.database, &pg.database))
}

fn read(pg: &Pg, call: &Invocation, (from, to): (&str, &str)) -> Result<Vec<String>> {
    let (mut lines, mut reader) = (Lines::default(), Reader::new(from, to));
    let mut whole = false;
    let mut sink = |bytes: &[u8]| {
        lines.push(bytes, |line| {
            whole |= line == schema::DUMPED;
            reader.line(line);
        });
        Ok(())
    };
    let finished = pg.stand.exec.run_with(call, None, &mut sink)?;
    finished.success("read the database's properties", Lane::C)?;
    if !whole {
        let what = "the database's properties were read to a good end, and are not whole";
        return Err(Fault::new(what).lane(Lane::C).into());
    }
    Ok(reader.finish())
}

/// Takes the statements that give a database named `to` the properties that `from` had in the archive
/// out of pg_restore's script, line by line: with thousands of tables it is long.
pub struct Reader<'a> {
    from: &'a str,
    to: &'a str,
    found: Vec<String>,
    wanted: bool,
    current: String,
    inside: Inside,
}

impl<'a> Reader<'a> {
    pub fn new(from: &'a str, to: &'a str) -> Reader<'a> {
        Reader { from, to, found: Vec::new(), wanted: false, current: String::new(), inside: Inside::Nothing }
    }

    pub fn line(&mut self, line: &str) {
        let between = self.inside == Inside::Nothing && self.current.is_empty();
        if self.inside == Inside::Nothing
            && let Some(header) = line.strip_prefix("-- Name: ")
        {
            self.wanted = header_wanted(header, self.from);
            self.current.clear();
            return;
        }
        // A line for psql.
        if between && line.starts_with('\\') {
            return;
        }
        self.inside.advance(line);
        if !self.wanted || (between && (line.is_empty() || line.starts_with("--"))) {
            return;
        }
        self.current.push_str(line);
        self.current.push('\n');
        if line.trim_end().ends_with(';') && self.inside == Inside::Nothing {
            let statement = std::mem::take(&mut self.current);
            let statement = statement.trim().trim_end_matches(';');
            self.found.extend(renamed(statement, self.from, self.to));
        }
    }

    /// What was found.
    pub fn finish(self) -> Vec<String> {
        self.found
    }
}

/// The statements of a whole script.
#[cfg(test)]
pub fn statements(script: &str, from: &str, to: &str) -> Vec<String> {
    let mut reader = Reader::new(from, to);
    script.lines().for_each(|line| reader.line(line));
    reader.finish()
}

/// Where a script stands at the end of a line. Comments and bodies of functions may hold anything,
/// also what looks like a header or a statement of the script.
#[derive(PartialEq)]
enum Inside {
    Nothing,
    Quotes(char),
    /// `$tag$`
    Dollars(String),
}

impl Inside {
    fn advance(&mut self, line: &str) {
        let mut rest = line;
        let mut before = ' ';
        while let Some(c) = rest.chars().next() {
            let mut step = c.len_utf8();
            match self {
                Inside::Nothing if rest.starts_with("--") => return,
                Inside::Nothing if c == '\'' || c == '"' => *self = Inside::Quotes(c),
                Inside::Nothing if c == '$' && !before.is_alphanumeric() && before != '_' => {
                    let tag = rest[1..].find(|t: char| !t.is_alphanumeric() && t != '_');
                    if let Some(end) = tag.filter(|end| rest[1 + end..].starts_with('$')) {
                        step = end + 2;
                        *self = Inside::Dollars(rest[..step].into());
                    }
                }
                Inside::Quotes(quote) if c == *quote => *self = Inside::Nothing,
                Inside::Dollars(tag) if rest.starts_with(tag.as_str()) => {
                    step = tag.len();
                    *self = Inside::Nothing;
                }
                _ => {}
            }
            before = c;
            rest = &rest[step..];
        }
    }
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

/// The name as pg_dump may write it.
fn names(name: &str) -> [String; 2] {
    [ident(name), name.to_string()]
}

/// A statement about the database itself, about another one; creating, dropping and entering it are
/// none.
fn renamed(statement: &str, from: &str, to: &str) -> Option<String> {
    let kinds =
        ["ALTER DATABASE ", "ALTER ROLE ", "GRANT ", "REVOKE ", "COMMENT ON DATABASE ", "SECURITY LABEL "];
    let (begin, end) = place(statement, from).filter(|_| kinds.iter().any(|k| statement.starts_with(k)))?;
    Some(format!("{}{}{}", &statement[..begin], ident(to), &statement[end..]))
}

/// Where the name stands after the word DATABASE: not in a text, not in another name.
fn place(statement: &str, name: &str) -> Option<(usize, usize)> {
    let mut quote = None;
    for (at, c) in statement.char_indices() {
        match quote {
            Some(q) if c == q => quote = None,
            None if c == '\'' || c == '"' => quote = Some(c),
            None if statement[at..].starts_with(" DATABASE ") => {
                let begin = at + " DATABASE ".len();
                for written in names(name) {
                    let Some(after) = statement[begin..].strip_prefix(written.as_str()) else { continue };
                    // `DATABASE app` must not match `DATABASE app2`.
                    if after.chars().next().is_none_or(char::is_whitespace) {
                        return Some((begin, begin + written.len()));
                    }
                }
            }
            _ => {}
        }
    }
    None
}

/// Undoes what keeps others out of a restored copy while it is made and compared. An archive says
/// nothing of privileges that are as PostgreSQL makes them, and tells others by how they differ from that.
pub fn open_to_all(database: &str) -> String {
    format!("GRANT CONNECT ON DATABASE {} TO PUBLIC", ident(database))
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
