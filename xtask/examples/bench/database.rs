//! What grows with the database: the dump beside a bare pg_dump, the clone,
//! and the swap, which must not grow.

use crate::copy::{Copy, Run, act_ms, journal, record};
use crate::run::Job;
use crate::table::{Section, Verdict, median, ratio_words, ratios, row, table, time};
use crate::{Bench, say};
use xtask::error::{Context, Result};
use xtask::fsx;

/// A database of its own, which holds nothing but what pgbench makes.
const NAME: &str = "bench";

/// What a database is filled with.
#[derive(Clone, Copy)]
enum Content {
    /// `pgbench -i` at this scale: about 16 MB each, of which a dump keeps little.
    Pgbench(u32),
    /// This many rows of random text, about 300 bytes each, of which a dump keeps more than half.
    Text(u32),
}

impl Content {
    fn word(self) -> &'static str {
        match self {
            Content::Pgbench(_) => "pgbench",
            Content::Text(_) => "random text",
        }
    }
}

/// Under which name the memory of a command at a size is kept.
fn label(command: &str, bytes: u64) -> String {
    format!("{command}, {} of database", fsx::human_bytes(bytes))
}

/// A database of its own with this content, and its size in bytes.
fn make(copy: &Copy<'_>, content: Content) -> Result<u64> {
    copy.sql("postgres", &format!("DROP DATABASE IF EXISTS {NAME}"))?;
    copy.sql("postgres", &format!("CREATE DATABASE {NAME}"))?;
    match content {
        Content::Pgbench(scale) => copy.fill(NAME, scale),
        Content::Text(rows) => {
            say(&format!("bench: filling {NAME} with {rows} rows of random text"));
            let text: Vec<String> = (0..8).map(|n| format!("md5(g || '{n}')")).collect();
            let text = text.join(" || ");
            let sql = format!(
                "CREATE TABLE noise AS SELECT g AS id, {text} AS text FROM generate_series(1, {rows}) g"
            );
            copy.sql(NAME, &sql)?;
            copy.size(NAME)
        }
    }
}

/// The dump step of the backup beside a bare pg_dump.
pub fn dump(bench: &Bench) -> Result<Section> {
    let copy = Copy::running(bench, "dump")?;
    let mut section = Section { title: "Dump".into(), ..Section::default() };
    let [small, large] = bench.sizes();
    let rows = if bench.quick { 300_000 } else { 3_400_000 };
    for (content, limit) in
        [(Content::Pgbench(small), None), (Content::Pgbench(large), Some(1.1)), (Content::Text(rows), None)]
    {
        one_dump(&copy, content, limit, &mut section)?;
    }
    Ok(section)
}

fn one_dump(copy: &Copy<'_>, content: Content, limit: Option<f64>, section: &mut Section) -> Result<()> {
    let bench = copy.bench;
    let bytes = make(copy, content)?;
    let size = format!("{} of {}", fsx::human_bytes(bytes), content.word());
    let file = bench.scratch.join("bare.dump").display().to_string();
    // Not counted: the pages come into memory.
    copy.bare(&["dump", NAME, &file])?;
    let (mut bare, mut ours, mut sums, mut proof, mut whole) = (vec![], vec![], vec![], vec![], vec![]);
    let mut last: Option<Run> = None;
    for round in 0..bench.runs {
        say(&format!("bench: dump of {size}, round {} of {}", round + 1, bench.runs));
        for bare_now in if round % 2 == 0 { [true, false] } else { [false, true] } {
            settle(copy)?;
            if bare_now {
                let parts = copy.bare(&["dump", NAME, &file])?;
                bare.extend(parts.iter().find(|(n, _)| n == "total").map(|(_, ms)| *ms));
            } else {
                forget(copy, last.take())?;
                let run = backup(copy, bytes)?;
                let journal = journal(&run)?;
                ours.push(act_ms(&journal, "backup", "dump")?);
                sums.push(act_ms(&journal, "backup", "sums")?);
                proof.push(act_ms(&journal, "proof", "step")?);
                whole.push(run.ran.ms);
                last = Some(run);
            }
        }
    }
    section.body.push_str(&format!("{size}:\n\n"));
    section.body.push_str(&table(
        &["", "min", "median", "max"],
        &[
            row("dump step of `cargo xtask backup`: hashed on the way, flushed to disk", &ours),
            row("bare `exec -T pg_dump -Fc -Z1 > file`", &bare),
            row("apart: table sums and schema of the same snapshot", &sums),
            row("apart: proof (restored beside, compared, dropped)", &proof),
            row("`cargo xtask backup` as a whole", &whole),
        ],
    ));
    section.body.push_str(&format!("\nDump step over bare: {}.\n", ratio_words(&ours, &bare)));
    if let Some(limit) = limit {
        let what = format!("dump step over bare pg_dump, {size}");
        section.verdicts.push(Verdict::at_most(&what, ratios(&ours, &bare).0, limit, ""));
    }
    if let Some(run) = &last {
        section.body.push_str(&verify(copy, run)?);
    }
    section.body.push('\n');
    forget(copy, last)
}

/// Writes out what the filling or the proof of the round before left in memory: the next flush, ours
/// alone, would pay for it.
fn settle(copy: &Copy<'_>) -> Result<()> {
    copy.sql("postgres", "CHECKPOINT")?;
    let cwd = &copy.sample.repo;
    let job = Job { program: "sync", args: Vec::new(), cwd, env: Vec::new(), label: None, exit: 0 };
    copy.bench.run.job(&job).map(drop)
}

/// Removes a run's backup: dumps would fill the disk run by run.
fn forget(copy: &Copy<'_>, run: Option<Run>) -> Result<()> {
    let dir = run.and_then(|run| run.summary["backup"]["dir"].as_str().map(|dir| copy.sample.repo.join(dir)));
    match dir {
        Some(dir) => std::fs::remove_dir_all(&dir).with_context(|| format!("remove {}", dir.display())),
        None => Ok(()),
    }
}

fn backup(copy: &Copy<'_>, bytes: u64) -> Result<Run> {
    let label = label("backup", bytes);
    copy.xtask(&["backup", "--json"], &[("FF_DATABASE_NAME", NAME)], Some(&label), 0)
}

/// `evidence verify` of a run with a backup, beside sha256sum of that backup's dump.
fn verify(copy: &Copy<'_>, run: &Run) -> Result<String> {
    let bench = copy.bench;
    let rid = run.summary["rid"].as_str().unwrap_or_default();
    let dump =
        copy.sample.repo.join(run.summary["backup"]["dir"].as_str().unwrap_or_default()).join("db.dump");
    let (mut ours, mut theirs) = (vec![], vec![]);
    for _ in 0..bench.runs {
        let mut job = bench.run.xtask(&copy.sample.repo, &["evidence", "verify", rid]);
        job.label = Some("evidence verify".into());
        ours.push(bench.run.job(&job)?.ms);
        theirs.push(sha256sum(bench, &dump.display().to_string())?);
    }
    let bytes = run.summary["backup"]["bytes"].as_u64().unwrap_or(0);
    Ok(format!(
        "`cargo xtask evidence verify` of such a run, whose dump has {}: {}; sha256sum of the dump: {}.\n",
        fsx::human_bytes(bytes),
        time(median(&ours)),
        time(median(&theirs))
    ))
}

pub fn sha256sum(bench: &Bench, file: &str) -> Result<f64> {
    let job = Job {
        program: "sha256sum",
        args: vec![file.into()],
        cwd: &bench.scratch,
        env: Vec::new(),
        label: None,
        exit: 0,
    };
    Ok(bench.run.job(&job)?.ms)
}

/// Clone and swap, by releases that fail and go back, at both sizes.
pub fn clone(bench: &Bench) -> Result<Section> {
    let copy = Copy::running(bench, "clone")?;
    let mut section = Section { title: "Clone and swap".into(), ..Section::default() };
    for scale in bench.sizes() {
        let bytes = copy.fill("foxproflow", scale)?;
        let size = fsx::human_bytes(bytes);
        let (mut cloned, mut swapped, mut database, mut back, mut down) =
            (vec![], vec![], vec![], vec![], vec![]);
        for round in 0..bench.runs {
            say(&format!("bench: clone and swap of {size}, round {} of {}", round + 1, bench.runs));
            copy.next("bad-api-not-ready")?;
            let run = copy.release(Some(&label("release that rolls back", bytes)), 30)?;
            let rollback = record(&run, "rollback.json")?;
            let ms = |value: &serde_json::Value| value.as_f64().unwrap_or(f64::NAN);
            cloned.push(ms(&record(&run, "fence.json")?["clone_ms"]));
            swapped.push(act_ms(&journal(&run)?, "rollback", "swap")?);
            database.push(ms(&rollback["db_ms"]));
            back.push(ms(&rollback["ms"]));
            down.push(ms(&run.summary["downtime_ms"]["measured"]));
            copy.drop_failed()?;
        }
        section.body.push_str(&format!("{size} in the database:\n\n"));
        section.body.push_str(&table(
            &["", "min", "median", "max"],
            &[
                row("clone, in the downtime", &cloned),
                row("swap", &swapped),
                row("database back: fence, swap, properties, open", &database),
                row("rollback as a whole, with its proof", &back),
                row(
                    "downtime of the failed release, to the first good answer of the previous version",
                    &down,
                ),
            ],
        ));
        section.body.push('\n');
        // The limit is for each run, not for their median.
        let slowest = swapped.iter().copied().fold(0.0, f64::max) / 1000.0;
        section.verdicts.push(Verdict::at_most(&format!("slowest swap, {size}"), slowest, 0.5, " s"));
    }
    Ok(section)
}

/// One backup at each size and one release, where no figure has run them already.
pub fn for_memory(bench: &Bench) -> Result<()> {
    let copy = Copy::running(bench, "memory")?;
    copy.next("good-v2")?;
    copy.release(Some("release of the sample"), 0)?;
    for scale in bench.sizes() {
        let bytes = make(&copy, Content::Pgbench(scale))?;
        forget(&copy, Some(backup(&copy, bytes)?))?;
    }
    Ok(())
}
