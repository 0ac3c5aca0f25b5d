//! A psql that stays open in the database container: an answer costs 3 ms, a
//! new psql 100 ms. Statements go in by stdin, so nothing of them is in argv.

use super::postgres::Pg;
use crate::error::{Context, Fault, Lane, Result, bail};
use crate::exec::Session;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// Longer than any catalog question takes; long work names its own limit.
pub const QUESTION: Duration = Duration::from_secs(60);

/// What every session that compares data pins, so that two sessions print equal
/// values equally whatever the database, the role or the client say.
pub const PINS: &str = "-c TimeZone=UTC -c DateStyle=ISO,YMD -c IntervalStyle=postgres \
    -c extra_float_digits=3 -c bytea_output=hex -c search_path=pg_catalog -c lc_monetary=C \
    -c quote_all_identifiers=off -c row_security=off -c jit=off -c statement_timeout=0 \
    -c lock_timeout=0 -c standard_conforming_strings=on -c idle_in_transaction_session_timeout=0 -c client_encoding=UTF8";

/// An open psql session.
pub struct Psql {
    session: Session,
    database: String,
    count: u64,
}

/// A statement that PostgreSQL refused.
#[derive(Debug, Clone)]
pub struct SqlError {
    pub sqlstate: String,
    pub message: String,
}

impl std::fmt::Display for SqlError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.sqlstate, self.message)
    }
}

impl std::error::Error for SqlError {}

impl Pg {
    /// Opens a session on `database`; `app` is its application_name, by which it can be ended.
    pub fn session(&self, database: &str, app: &str) -> Result<Psql> {
        self.session_with(database, app, PINS)
    }

    pub fn session_with(&self, database: &str, app: &str, options: &str) -> Result<Psql> {
        let argv = self.argv(
            "psql",
            database,
            &["-X", "-q", "-A", "-t", "-P", "pager=off", "-v", "ON_ERROR_STOP=0"],
        );
        let call = self.inside(app, &[("PGOPTIONS", options), ("PGCONNECT_TIMEOUT", "10")], &argv);
        let session = self.stand.exec.session(&call)?;
        let mut psql = Psql { session, database: database.into(), count: 0 };
        psql.alive().with_context(|| format!("open a session on database {database}"))?;
        Ok(psql)
    }
}

impl Psql {
    /// Runs one statement, without its semicolon; returns the rows as psql prints them unaligned.
    /// psql says how many there are: fewer lines, or lines where no row is, are an error. It does not for
    /// SHOW: `SELECT current_setting` asks the same.
    pub fn ask(&mut self, sql: &str, limit: Duration) -> Result<Vec<String>> {
        self.count += 1;
        let mark = format!("ff-mark-{}-{}", std::process::id(), self.count);
        self.session.send(&format!(
            "{sql}\n;\n\\echo {mark}-state :ERROR :SQLSTATE :ROW_COUNT\n\\echo {mark}-why :LAST_ERROR_MESSAGE\n\\echo {mark}\n"
        ))?;
        let mut lines =
            self.session.until(&mark, limit).with_context(|| format!("ask database {}", self.database))?;
        let at = lines.iter().position(|l| l.starts_with(&format!("{mark}-state ")));
        let talk = lines.split_off(at.context("psql lost its place")?);
        let state = talk[0].split(' ').skip(1).collect::<Vec<_>>();
        if state.first() == Some(&"false") {
            let rows: usize = state.get(2).and_then(|n| n.parse().ok()).context("psql lost its place")?;
            // A value may have line breaks: more lines than rows are whole.
            if lines.len() < rows || rows == 0 && !lines.is_empty() {
                bail!("an answer of {} is not whole: {rows} rows, {} lines", self.database, lines.len());
            }
            return Ok(lines);
        }
        let why = talk.get(1..).unwrap_or_default().join(" ");
        let message = why.trim_start_matches(&format!("{mark}-why ")).to_string();
        self.session.take_stderr();
        Err(SqlError { sqlstate: state.get(1).unwrap_or(&"").to_string(), message }.into())
    }

    /// Does the session answer? It is not to be ended for being idle while other work takes long; the
    /// setting came with PostgreSQL 14, so it cannot stand in [`PINS`].
    pub fn alive(&mut self) -> Result<()> {
        let stay = "SELECT 1 FROM (SELECT count(set_config(name, '0', false)) FROM pg_settings \
                    WHERE name = 'idle_session_timeout') q";
        match self.number(stay)? {
            1 => Ok(()),
            other => bail!("database {} says that 1 is {other}", self.database),
        }
    }

    /// Runs a statement that returns nothing.
    pub fn run(&mut self, sql: &str) -> Result<()> {
        self.ask(sql, QUESTION).map(drop)
    }

    /// The rows of a query, each as a JSON object by column name.
    pub fn rows<T: DeserializeOwned>(&mut self, sql: &str, limit: Duration) -> Result<Vec<T>> {
        let lines = self.ask(&format!("SELECT row_to_json(q) FROM (\n{sql}\n) q"), limit)?;
        // Line breaks are escaped in JSON: each line is a row.
        lines
            .iter()
            .map(|l| {
                serde_json::from_str(l).with_context(|| format!("an answer of {} is no row", self.database))
            })
            .collect()
    }

    /// The one row that a query has.
    pub fn row<T: DeserializeOwned>(&mut self, sql: &str) -> Result<T> {
        let mut rows = self.rows(sql, QUESTION)?;
        match (rows.pop(), rows.is_empty()) {
            (Some(row), true) => Ok(row),
            _ => Err(Fault::new(format!("a question to {} has not one answer", self.database))
                .lane(Lane::C)
                .into()),
        }
    }

    /// The first column of the first row, where there is one.
    pub fn value(&mut self, sql: &str) -> Result<Option<String>> {
        Ok(self.ask(sql, QUESTION)?.into_iter().next())
    }

    /// The one number that a query has: of anything else nothing may be concluded.
    pub fn number(&mut self, sql: &str) -> Result<u64> {
        let value = self.value(sql)?.unwrap_or_default();
        value.parse().with_context(|| format!("`{value}` of {} is no number", self.database))
    }

    pub fn database(&self) -> &str {
        &self.database
    }

    pub fn close(self) {
        self.session.close();
    }
}

/// `"name"`, for identifiers.
pub fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `'text'`, for literals; backslashes are literal: [`PINS`] says so, whatever the database says.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
