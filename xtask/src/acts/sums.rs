//! One line for each table: how many rows, and a sum over the hashes of their
//! text. Equal lines mean equal content, whatever the order of rows.

use super::tables::{self, Table};
use crate::error::{Context, Result, anyhow};
use crate::stand::postgres::Pg;
use crate::stand::psql::{Psql, literal};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

/// A table's line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    pub rows: u64,
    /// A sum of 64-bit hashes, exact (numeric); empty for no rows.
    pub sum: String,
    /// The file that holds the table: another one means that it was rewritten.
    pub filenode: u64,
    /// An unlogged table.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unlogged: bool,
}

/// `schema.table`, quoted where needed, to its line.
pub type Sums = BTreeMap<String, Sum>;

/// Hours, not minutes: a large table is one statement.
const LIMIT: Duration = Duration::from_secs(12 * 3600);
/// A larger table is summed in parts of this many pages (64 MB): several sessions share it, and
/// it shows how far they are.
const PART: u64 = 8_192;

#[derive(Debug, Deserialize)]
struct Line {
    name: String,
    rows: u64,
    sum: Option<String>,
}

/// A session that sums. In one transaction it would hold a lock on every table and index that it has
/// read, and the server has room for some thousands: it begins a new one now and then, of the same
/// snapshot.
pub struct Reader {
    pub psql: Psql,
    begin: String,
}

impl Reader {
    fn renew(&mut self) -> Result<()> {
        self.psql.run(&format!("COMMIT;\n{}", self.begin))
    }
}

/// Opens the sessions that sums need: within `snapshot`, or on their own.
pub fn open(pg: &Pg, database: &str, app: &str, snapshot: Option<&str>, count: usize) -> Result<Vec<Reader>> {
    let mut begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY".to_string();
    if let Some(snapshot) = snapshot {
        begin.push_str(&format!(";\nSET TRANSACTION SNAPSHOT {}", literal(snapshot)));
    }
    (0..count.max(1))
        .map(|number| {
            let mut psql = pg.session(database, &format!("{app}{number}"))?;
            psql.run(&begin)?;
            Ok(Reader { psql, begin: begin.clone() })
        })
        .collect()
}

/// One statement: some tables, or a part of one.
struct Work {
    tables: Vec<Table>,
    /// From this page, up to without that one; the last part is open: a table may have grown since.
    pages: Option<(u64, Option<u64>)>,
    bytes: u64,
}

/// Sums every table and the large objects, on all sessions at once. `tick` is told the bytes done and
/// the bytes in all.
pub fn take(sessions: &mut [Reader], tick: &(dyn Fn(u64, u64) + Sync)) -> Result<Sums> {
    let first = &mut sessions.first_mut().context("no session to sum with")?.psql;
    let mut tables = tables::all(first)?;
    tables.push(tables::large_objects(first)?);
    tables.sort_by_key(|t| std::cmp::Reverse(t.bytes));
    let taken = Taken {
        total: tables.iter().map(|t| t.bytes).sum(),
        tables: tables.iter().map(|t| (t.name.clone(), (t.filenode, t.unlogged))).collect(),
        state: Mutex::default(),
        tick,
    };
    let (whole, parted): (Vec<_>, Vec<_>) = tables.into_iter().partition(|t| t.blocks <= PART);
    tick(0, taken.total);
    // Parts of a table belong together: whoever has begun one keeps its lock until all are done, so
    // that nothing is written anew between them.
    taken.on(sessions, parted.iter().flat_map(parts).collect(), false)?;
    let whole = tables::group(whole).into_iter().map(|tables| {
        let bytes = tables.iter().map(|t| t.bytes).sum();
        Work { tables, pages: None, bytes }
    });
    taken.on(sessions, whole.collect(), true)?;
    // A session whose snapshot died has been answering from elsewhere.
    for reader in sessions {
        reader.psql.alive()?;
    }
    Ok(taken.state.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).0)
}

/// What was summed so far.
struct Taken<'a> {
    total: u64,
    /// File and persistence by name.
    tables: BTreeMap<String, (u64, bool)>,
    /// The lines, and the bytes that they stand for.
    state: Mutex<(Sums, u64)>,
    tick: &'a (dyn Fn(u64, u64) + Sync),
}

impl Taken<'_> {
    fn on(&self, sessions: &mut [Reader], work: Vec<Work>, renew: bool) -> Result<()> {
        let queue = Mutex::new(work.into_iter());
        let one = |reader: &mut Reader| {
            loop {
                let next = lock(&queue).next();
                let Some(work) = next else { return Ok(()) };
                if renew {
                    reader.renew()?;
                }
                let lines: Vec<Line> = reader.psql.rows(&statement(&work), LIMIT)?;
                tables::answered(&work.tables, lines.iter().map(|l| l.name.as_str()), "sums")?;
                self.add(lines, work.bytes)?;
            }
        };
        let one = &one;
        let results: Vec<Result<()>> = std::thread::scope(|scope| {
            let workers: Vec<_> =
                sessions.iter_mut().map(|reader| scope.spawn(move || one(reader))).collect();
            workers
                .into_iter()
                .map(|w| w.join().unwrap_or_else(|_| Err(anyhow!("a summing thread died"))))
                .collect()
        });
        results.into_iter().collect()
    }

    fn add(&self, lines: Vec<Line>, bytes: u64) -> Result<()> {
        let mut state = lock(&self.state);
        for line in lines {
            let (filenode, unlogged) = self.tables.get(&line.name).copied().unwrap_or_default();
            let none = || Sum { rows: 0, sum: String::new(), filenode, unlogged };
            let place = state.0.entry(line.name).or_insert_with(none);
            place.rows += line.rows;
            if let Some(sum) = line.sum {
                place.sum = added(&place.sum, &sum)?;
            }
        }
        state.1 += bytes;
        (self.tick)(state.1, self.total);
        Ok(())
    }
}

/// The sum of two parts; 2^63 rows of 64 bits fit into 127.
fn added(one: &str, other: &str) -> Result<String> {
    if one.is_empty() {
        return Ok(other.into());
    }
    let number = |text: &str| text.parse::<i128>().with_context(|| format!("`{text}` is no sum"));
    Ok((number(one)? + number(other)?).to_string())
}

fn parts(table: &Table) -> impl Iterator<Item = Work> {
    let count = table.blocks.div_ceil(PART);
    (0..count).map(move |n| Work {
        tables: vec![table.clone()],
        pages: Some((n * PART, (n + 1 < count).then_some((n + 1) * PART))),
        bytes: table.bytes / count,
    })
}

fn statement(work: &Work) -> String {
    let part = match work.pages {
        None => String::new(),
        Some((from, None)) => format!(" WHERE ctid >= '({from},0)'::tid"),
        Some((from, Some(to))) => format!(" WHERE ctid >= '({from},0)'::tid AND ctid < '({to},0)'::tid"),
    };
    let one = |t: &Table| {
        format!(
            "SELECT {} AS name, count(*) AS rows, \
             sum(hashtextextended((t.*)::text COLLATE \"C\", 0)::numeric)::text AS sum FROM ONLY {} t{part}",
            literal(&t.name),
            t.name
        )
    };
    work.tables.iter().map(one).collect::<Vec<_>>().join("\nUNION ALL\n")
}

/// How many sessions sum at once where nothing else is waited for.
pub fn sessions() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 4)
}

/// The names of tables whose lines differ, or that only one side has.
pub fn differences(source: &Sums, copy: &Sums) -> Vec<String> {
    compare(source, copy, |_, _| "")
}

/// The same of one database at two times, in which its server may have crashed.
pub fn changes(before: &Sums, now: &Sums) -> Vec<String> {
    compare(before, now, |before, now| match before.unlogged && now.rows == 0 {
        true => " (it is unlogged: PostgreSQL empties such a table when the server crashes)",
        false => "",
    })
}

/// `why`: what is known of two lines with other numbers of rows.
fn compare(source: &Sums, copy: &Sums, why: fn(&Sum, &Sum) -> &'static str) -> Vec<String> {
    let mut found = Vec::new();
    for (name, line) in source {
        match copy.get(name) {
            None => found.push(format!("table {name} is not in the copy")),
            Some(other) if other.rows != line.rows => {
                let why = why(line, other);
                found.push(format!("table {name}: {} rows, the copy has {}{why}", line.rows, other.rows));
            }
            Some(other) if other.sum != line.sum => found.push(format!("table {name}: other content")),
            Some(_) => {}
        }
    }
    found.extend(
        copy.keys().filter(|n| !source.contains_key(*n)).map(|n| format!("table {n} is only in the copy")),
    );
    found
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(lines: &[(&str, u64, &str)]) -> Sums {
        lines
            .iter()
            .map(|(n, rows, sum)| {
                ((*n).to_string(), Sum { rows: *rows, sum: (*sum).into(), filenode: 1, unlogged: false })
            })
            .collect()
    }

    #[test]
    fn every_kind_of_difference_is_named() {
        let source = sums(&[("a", 1, "5"), ("b", 2, "6"), ("c", 3, "7")]);
        assert!(differences(&source, &source).is_empty());
        let copy = sums(&[("a", 2, "5"), ("b", 2, "66"), ("d", 0, "")]);
        let found = differences(&source, &copy);
        assert_eq!(found.len(), 4, "{found:?}");
    }

    #[test]
    fn a_table_that_a_crash_has_emptied_is_told_from_one_that_lost_its_rows() {
        let mut before = sums(&[("a.cache", 5, "5"), ("a.rows", 5, "5")]);
        before.get_mut("a.cache").unwrap().unlogged = true;
        let found = changes(&before, &sums(&[("a.cache", 0, ""), ("a.rows", 0, "")]));
        assert_eq!(
            found.iter().map(|f| f.contains("unlogged")).collect::<Vec<_>>(),
            [true, false],
            "{found:?}"
        );
        let some_left = sums(&[("a.cache", 4, "4"), ("a.rows", 5, "5")]);
        assert!(!changes(&before, &some_left)[0].contains("unlogged"));
    }

    #[test]
    fn a_rewritten_table_with_the_same_rows_is_equal() {
        let source = sums(&[("a", 1, "5")]);
        let mut copy = source.clone();
        copy.get_mut("a").unwrap().filenode = 9;
        assert!(differences(&source, &copy).is_empty());
    }

    #[test]
    fn a_large_table_is_summed_in_parts_that_leave_no_page_out() {
        let table = Table { name: "a.b".into(), blocks: 3 * PART + 1, bytes: 400, ..Table::default() };
        let parts: Vec<Work> = parts(&table).collect();
        let pages: Vec<_> = parts.iter().map(|w| w.pages.unwrap()).collect();
        let whole = [(0, Some(PART)), (PART, Some(2 * PART)), (2 * PART, Some(3 * PART)), (3 * PART, None)];
        assert_eq!(pages, whole);
        assert_eq!(parts.iter().map(|w| w.bytes).sum::<u64>(), 400);
        assert!(statement(&parts[1]).ends_with("ctid >= '(8192,0)'::tid AND ctid < '(16384,0)'::tid"));
        assert!(statement(&parts[3]).ends_with("FROM ONLY a.b t WHERE ctid >= '(24576,0)'::tid"));
    }

    #[test]
    fn parts_are_added_as_numbers_of_any_size() {
        assert_eq!(added("", "-5").unwrap(), "-5");
        let large = "9".repeat(30);
        assert_eq!(added(&large, "1").unwrap(), format!("1{}", "0".repeat(30)));
        assert_eq!(added("7", "-7").unwrap(), "0");
        assert!(added("7", "x").is_err());
    }
}
