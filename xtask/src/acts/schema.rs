//! Schemas compared object by object: pg_dump's own text of each object,
//! hashed. Names are reported, texts are not.

use super::Ctx;
use crate::error::{Fault, Lane, Result};
use crate::fsx;
use crate::stand::dump::Lines;
use crate::stand::postgres::Pg;
use crate::stand::psql::{Psql, QUESTION};
use serde::Deserialize;
use std::collections::BTreeMap;

/// `kind schema.name` to the sha256 of its text: of thousands of tables, so as bytes.
pub type Objects = BTreeMap<String, [u8; 32]>;

/// Reads the schema of a database, of a snapshot where one is given.
pub fn read(ctx: &Ctx<'_>, pg: &Pg, database: &str, app: &str, snapshot: Option<&str>) -> Result<Objects> {
    let mut splitter = Splitter::default();
    let mut sink = |bytes: &[u8]| {
        splitter.push(bytes);
        Ok(())
    };
    let call = pg.schema(database, &ctx.app(app), snapshot);
    let finished = pg.stand.exec.run_with(&call, None, &mut sink)?;
    finished.success(&format!("read the schema of {database}"), Lane::C)?;
    if !splitter.whole {
        let what = format!("pg_dump ended well and the schema of {database} is not whole");
        return Err(Fault::new(what).lane(Lane::C).into());
    }
    Ok(splitter.finish())
}

/// The last words of pg_dump's and pg_restore's scripts.
pub const DUMPED: &str = "-- PostgreSQL database dump complete";

/// Cuts pg_dump's script at its `-- Name:` lines, in memory of one object.
#[derive(Default)]
struct Splitter {
    lines: Lines,
    key: Option<String>,
    text: String,
    objects: Objects,
    /// Its last words have come.
    whole: bool,
}

impl Splitter {
    fn push(&mut self, bytes: &[u8]) {
        let mut lines = std::mem::take(&mut self.lines);
        lines.push(bytes, |line| self.line(line.trim_end()));
        self.lines = lines;
    }

    fn line(&mut self, line: &str) {
        if let Some(header) = line.strip_prefix("-- Name: ") {
            self.close();
            self.key = Some(key(header));
        } else if line == DUMPED {
            self.whole = true;
        } else if !line.is_empty()
            && line != "--"
            && !line.starts_with('\\')
            && !line.starts_with("-- PostgreSQL database dump")
        {
            // `\restrict` carries a random word; the settings before objects are those of the session.
            self.text.push_str(line);
            self.text.push('\n');
        }
    }

    fn close(&mut self) {
        let text = std::mem::take(&mut self.text);
        if let Some(key) = self.key.take() {
            // The settings that pg_dump writes between objects depend on their order.
            let text: Vec<&str> = text.lines().filter(|l| !l.starts_with("SET default_")).collect();
            let hash = fsx::digest(text.join("\n").as_bytes());
            let place = self.objects.entry(key);
            // Overloaded names: both texts count.
            place.and_modify(|first| *first = fsx::digest(&[*first, hash].concat())).or_insert(hash);
        }
    }

    fn finish(mut self) -> Objects {
        self.close();
        self.objects
    }
}

/// `orders; Type: TABLE; Schema: crm; Owner: admin` as `TABLE crm.orders (owner admin)`.
fn key(header: &str) -> String {
    let mut parts = header.split("; ");
    let name = parts.next().unwrap_or_default();
    let mut field =
        |prefix: &str| parts.next().and_then(|p| p.strip_prefix(prefix)).unwrap_or("-").to_string();
    let (kind, schema, owner) = (field("Type: "), field("Schema: "), field("Owner: "));
    let schema = if schema == "-" { String::new() } else { format!("{schema}.") };
    let owner = if owner == "-" { String::new() } else { format!(" (owner {owner})") };
    format!("{kind} {schema}{name}{owner}")
}

/// The names of objects that differ.
pub fn differences(source: &Objects, copy: &Objects) -> Vec<String> {
    let mut found = Vec::new();
    for (name, hash) in source {
        match copy.get(name) {
            None => found.push(format!("{name} is not in the copy")),
            Some(other) if other != hash => found.push(format!("{name} is defined otherwise")),
            Some(_) => {}
        }
    }
    found
        .extend(copy.keys().filter(|n| !source.contains_key(*n)).map(|n| format!("{n} is only in the copy")));
    found
}

/// An installed extension.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Extension {
    pub name: String,
    pub version: String,
    pub schema: String,
}

pub fn extensions(psql: &mut Psql) -> Result<Vec<Extension>> {
    psql.rows(
        "SELECT e.extname AS name, e.extversion AS version, n.nspname AS schema \
         FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace ORDER BY e.extname",
        QUESTION,
    )
}

/// A sequence, how far it is, and which way it goes.
#[derive(Debug, Clone, Deserialize)]
pub struct Sequence {
    pub name: String,
    pub last: Option<i64>,
    pub step: i64,
}

pub fn sequences(psql: &mut Psql) -> Result<Vec<Sequence>> {
    psql.rows(
        "SELECT format('%I.%I', schemaname, sequencename) AS name, last_value AS last, increment_by AS step \
         FROM pg_sequences ORDER BY 1",
        QUESTION,
    )
}

/// Sequences are not transactional: the copy's may be ahead of what was read before, never behind.
pub fn sequences_behind(source: &[Sequence], copy: &[Sequence]) -> Vec<String> {
    let found: BTreeMap<&str, &Sequence> = copy.iter().map(|s| (s.name.as_str(), s)).collect();
    let behind = |s: &Sequence| match found.get(s.name.as_str()) {
        None => true,
        Some(other) => match (s.last, other.last) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(was), Some(now)) => {
                if s.step < 0 {
                    now > was
                } else {
                    now < was
                }
            }
        },
    };
    source.iter().filter(|s| behind(s)).map(|s| format!("sequence {} is behind", s.name)).collect()
}

/// Indexes that are invalid already.
pub fn invalid_indexes(psql: &mut Psql) -> Result<Vec<String>> {
    psql.ask("SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid ORDER BY 1", QUESTION)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(script: &str) -> Objects {
        let mut splitter = Splitter::default();
        for piece in script.as_bytes().chunks(7) {
            splitter.push(piece);
        }
        splitter.finish()
    }

    const ONE: &str = "\\restrict abc\n--\n-- Name: t; Type: TABLE; Schema: crm; Owner: admin\n--\n\nCREATE TABLE crm.t (\n    a integer\n);\n\nSET default_tablespace = '';\n\n--\n-- Name: f(int); Type: FUNCTION; Schema: crm; Owner: admin\n--\n\nCREATE FUNCTION x\n";

    #[test]
    fn the_same_objects_in_another_order_are_equal() {
        let a = objects(ONE);
        assert_eq!(
            a.keys().collect::<Vec<_>>(),
            ["FUNCTION crm.f(int) (owner admin)", "TABLE crm.t (owner admin)"]
        );
        let other = objects(&ONE.replace("abc", "xyz").replace("SET default_tablespace = '';\n", ""));
        assert!(differences(&a, &other).is_empty());
    }

    #[test]
    fn a_changed_column_and_another_owner_are_named() {
        let a = objects(ONE);
        let b = objects(&ONE.replace("a integer", "a bigint"));
        assert_eq!(differences(&a, &b), ["TABLE crm.t (owner admin) is defined otherwise"]);
        let c = objects(&ONE.replace(
            "Schema: crm; Owner: admin\n--\n\nCREATE TABLE",
            "Schema: crm; Owner: eve\n--\n\nCREATE TABLE",
        ));
        assert_eq!(differences(&a, &c).len(), 2);
    }

    #[test]
    fn a_sequence_may_be_ahead_and_not_behind() {
        let s = |last, step| vec![Sequence { name: "s".into(), last, step }];
        assert!(sequences_behind(&s(Some(5), 1), &s(Some(6), 1)).is_empty());
        assert!(sequences_behind(&s(None, 1), &s(None, 1)).is_empty());
        assert!(sequences_behind(&s(Some(-5), -1), &s(Some(-6), -1)).is_empty());
        assert_eq!(sequences_behind(&s(Some(5), 1), &s(Some(4), 1)).len(), 1);
        assert_eq!(sequences_behind(&s(Some(5), 1), &s(None, 1)).len(), 1);
        assert_eq!(sequences_behind(&s(Some(5), 1), &[]).len(), 1);
    }
}
