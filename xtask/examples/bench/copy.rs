//! A copy of the sample stand that is measured on, and its removal.

use crate::run::{Job, Ran};
use crate::{Bench, say};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;
use xtask::error::{Context, Fault, Lane, Result};
use xtask::evidence::EVIDENCE;
use xtask::exec::Invocation;
use xtask::fsx;
use xtask::sample::Sample;

/// Removed when it goes out of scope.
pub struct Copy<'a> {
    pub bench: &'a Bench,
    pub sample: Sample,
}

/// A run of our own: the process, its summary and its journal.
pub struct Run {
    pub ran: Ran,
    pub summary: Value,
    pub dir: PathBuf,
}

impl<'a> Copy<'a> {
    /// A copy with version 1 running on it, released by a first release.
    pub fn running(bench: &'a Bench, name: &str) -> Result<Copy<'a>> {
        say(&format!("bench: a copy of the sample stand, for {name}"));
        let sample = Sample::make(&bench.run.exec, &bench.scratch.join(name))?;
        let copy = Copy { bench, sample };
        copy.release(None, 0)?;
        Ok(copy)
    }

    /// Makes the checkout the next version: `1`, or a patch. Each holds the moment at which it was
    /// made, so that each release really builds its images: no builder has seen it before.
    pub fn next(&self, version: &str) -> Result<()> {
        let exec = &self.bench.run.exec;
        match version {
            "1" => self.sample.version_one(exec)?,
            patch => self.sample.version(exec, patch)?,
        }
        let text = format!("{}\n", time::OffsetDateTime::now_utc().unix_timestamp_nanos());
        fsx::write_atomic(&self.sample.repo.join("src/made.txt"), text.as_bytes())?;
        self.sample.git(exec, &["add", "-A"])?;
        self.sample.git(exec, &["commit", "-q", "-m", "[DEVTASK:3] stand: the moment it was made"])?;
        Ok(())
    }

    /// A whole release, as users run it.
    pub fn release(&self, label: Option<&str>, exit: i32) -> Result<Run> {
        self.xtask(&["release", "--yes", "--json"], &[], label, exit)
    }

    /// `cargo xtask ... --json` on this copy.
    pub fn xtask(
        &self,
        args: &[&str],
        env: &[(&'a str, &str)],
        label: Option<&str>,
        exit: i32,
    ) -> Result<Run> {
        let run = &self.bench.run;
        let mut job = run.xtask(&self.sample.repo, args);
        job.env = env.iter().map(|(k, v)| (*k, (*v).to_string())).collect();
        job.label = label.map(String::from);
        job.exit = exit;
        let ran = run.job(&job)?;
        let summary: Value = serde_json::from_str(&ran.out).context("the summary is not JSON")?;
        let rid = summary["rid"].as_str().unwrap_or_default();
        let dir = self.sample.repo.join(EVIDENCE).join(rid);
        Ok(Run { ran, summary, dir })
    }

    /// The bare commands; each line that they print is a part and its milliseconds.
    pub fn bare(&self, args: &[&str]) -> Result<Vec<(String, f64)>> {
        let script = self.bench.home.join("scripts/lib/bench-bare.sh").display().to_string();
        let mut all = vec![script];
        all.extend(args.iter().map(|a| (*a).to_string()));
        let repo = &self.sample.repo;
        let job = Job { program: "bash", args: all, cwd: repo, env: Vec::new(), label: None, exit: 0 };
        let ran = self.bench.run.job(&job)?;
        let part = |line: &str| {
            let (name, ms) = line.rsplit_once(' ')?;
            Some((name.to_string(), ms.parse().ok()?))
        };
        Ok(ran.out.lines().filter_map(part).collect())
    }

    pub fn port(&self) -> String {
        self.sample.port.to_string()
    }

    /// A tool of PostgreSQL in the database container.
    pub fn in_postgres(&self, words: &[&str]) -> Result<String> {
        let call = Invocation::new("docker")
            .args(["compose", "exec", "-T", "-e", "PGOPTIONS=-c search_path=public", "postgres"])
            .args(words.iter().copied())
            .cwd(&self.sample.repo)
            .timeout(Duration::from_secs(1800));
        let what = format!("{} in the database container", words.first().copied().unwrap_or_default());
        Ok(self.bench.run.exec.run(&call)?.success(&what, Lane::A)?.text().trim().to_string())
    }

    pub fn sql(&self, database: &str, sql: &str) -> Result<String> {
        self.in_postgres(&[
            "psql",
            "-U",
            "foxproflow",
            "-d",
            database,
            "-XqAt",
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            sql,
        ])
    }

    /// Fills a database by pgbench; returns its size in bytes.
    pub fn fill(&self, database: &str, scale: u32) -> Result<u64> {
        say(&format!("bench: filling {database} by pgbench -i -s {scale}"));
        let scale = scale.to_string();
        self.in_postgres(&["pgbench", "-U", "foxproflow", "-i", "-q", "-s", &scale, database])?;
        self.size(database)
    }

    /// A database's size in bytes, once everything of it is on disk.
    pub fn size(&self, database: &str) -> Result<u64> {
        self.sql(database, "CHECKPOINT")?;
        let size = self.sql(database, "SELECT pg_database_size(current_database())")?;
        size.parse().with_context(|| format!("the size of {database} is {size}"))
    }

    /// Drops what failed releases left for inspection: it would fill the disk run by run.
    pub fn drop_failed(&self) -> Result<()> {
        let find = "SELECT datname FROM pg_database WHERE datname LIKE '%\\_\\_failed\\_%'";
        for name in self.sql("postgres", find)?.lines() {
            self.sql("postgres", &format!("DROP DATABASE \"{name}\" WITH (FORCE)"))?;
        }
        Ok(())
    }

    fn remove(&self) -> Result<()> {
        let exec = &self.bench.run.shielded;
        let removed = self.sample.remove(exec);
        // Earlier builds have lost their names, not the label of the project.
        let label = format!("label=com.docker.compose.project={}", self.sample.project);
        let list =
            exec.run(&Invocation::new("docker").args(["image", "ls", "-aq", "--filter", &label]))?.text();
        let mut ids: Vec<&str> = list.split_whitespace().collect();
        ids.dedup();
        if !ids.is_empty() {
            exec.run(&Invocation::new("docker").args(["image", "rm", "-f"]).args(ids))?;
        }
        removed
    }
}

impl Drop for Copy<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            say(&format!(
                "bench: the copy was not removed ({error:#}): docker compose -p {} down -v --rmi local",
                self.sample.project
            ));
        }
    }
}

/// A run's journal, line by line.
pub fn journal(run: &Run) -> Result<Vec<Value>> {
    let path = run.dir.join("events.jsonl");
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    text.lines().map(|l| serde_json::from_str(l).context("a line of the journal")).collect()
}

/// The journal's line of an act, by its kind: intent, done, failed or fact.
pub fn line<'j>(journal: &'j [Value], kind: &str, step: &str, act: &str) -> Option<&'j Value> {
    journal.iter().rfind(|l| l["kind"] == kind && l["step"] == step && l["act"] == act)
}

/// How long an act took.
pub fn act_ms(journal: &[Value], step: &str, act: &str) -> Result<f64> {
    line(journal, "done", step, act)
        .and_then(|l| l["ms"].as_f64())
        .ok_or_else(|| Fault::new(format!("the journal knows no act `{act}` of step {step}")).into())
}

/// A record of a run.
pub fn record(run: &Run, name: &str) -> Result<Value> {
    fsx::read_json(&run.dir.join(name))
}
