//! The benchmark behind `scripts/bench`: what a release, a smoke, a backup and
//! a rollback cost beside the bare commands that they wrap. What each figure
//! means and what it may cost at most is in docs/benchmarks.md. Asserts nothing.

#![allow(clippy::disallowed_methods)] // a program of its own, which prints

mod copy;
mod database;
mod machine;
mod quick;
mod release;
mod run;
mod table;

use clap::{Parser, ValueEnum};
use run::Runner;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;
use table::Section;
use xtask::clock;
use xtask::error::{Context, Exit, Fault, Result, fault_of};
use xtask::exec::{Interrupt, Kind};
use xtask::fsx;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Name {
    /// A release and its downtime beside the bare commands
    Release,
    /// `cargo xtask smoke`, warm
    Smoke,
    /// The dump step beside a bare pg_dump
    Dump,
    /// Clone and swap at two sizes
    Clone,
    /// Hashing beside sha256sum
    Hash,
    /// Peak memory
    Memory,
}

const ALL: [Name; 6] = [Name::Release, Name::Smoke, Name::Dump, Name::Clone, Name::Hash, Name::Memory];

/// Measures what the automation costs, on copies of the sample stand that it makes and removes.
#[derive(Debug, Parser)]
#[command(name = "scripts/bench", bin_name = "scripts/bench")]
struct Cli {
    /// Small databases and one run: shows that everything works, measures little
    #[arg(long)]
    quick: bool,
    /// Measure only these
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAME,...")]
    only: Vec<Name>,
    /// Runs of each figure; bare and ours take turns [default: 5, with --quick 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    runs: Option<u32>,
    /// Write the figures into docs/benchmarks.md although it is a quick run; a full run always does
    #[arg(long, conflicts_with = "only")]
    write: bool,
    /// Where copies and files are made: a disk, not memory [default: the system's temporary directory]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// What every figure is given.
pub struct Bench {
    pub run: Runner,
    pub runs: u32,
    pub quick: bool,
    /// Removed at the end.
    pub scratch: PathBuf,
    /// The checkout of the tool.
    pub home: PathBuf,
}

impl Bench {
    /// The scales of pgbench that make about 0.1 and 1 GB.
    pub fn sizes(&self) -> [u32; 2] {
        if self.quick { [1, 6] } else { [6, 64] }
    }
}

fn main() -> std::process::ExitCode {
    let cli = Cli::parse();
    let code = bench(&cli).unwrap_or_else(|error| {
        let fault = fault_of(&error);
        say(&format!("bench: {fault}"));
        if let Some(remedy) = &fault.remedy {
            say(&format!("  {remedy}"));
        }
        fault.exit.map_or(1, Exit::code)
    });
    code.into()
}

fn bench(cli: &Cli) -> Result<u8> {
    let interrupt = Interrupt::default();
    interrupt.listen(
        |_| say("\nbench: ending what runs and removing the copies; once more stops at once"),
        |_| say("bench: stopped at once; copies stay: docker compose ls, and foxproflow-bench-* in the temporary directory"),
    )?;
    let root = cli.dir.clone().unwrap_or_else(std::env::temp_dir);
    let need = if cli.quick { 2_000_000_000 } else { 12_000_000_000 };
    let free = fs4::available_space(&root).with_context(|| format!("look at {}", root.display()))?;
    let (has, wants) = (fsx::human_bytes(free), fsx::human_bytes(need));
    if free < need {
        return Err(Fault::refused(format!("{} has {has} free, {wants} are needed", root.display()))
            .remedy("free some, name another disk with --dir, or try --quick")
            .into());
    }
    say(&format!(
        "bench: needs about {wants} of disk for a while, {has} are free; everything is removed at the end"
    ));
    let scratch = tempfile::Builder::new().prefix("foxproflow-bench-").tempdir_in(&root)?;
    let home = fsx::absolute(&xtask::sample::home()?.join("../.."))?;
    let bench = Bench {
        run: Runner::new(interrupt.clone(), &home)?,
        runs: cli.runs.unwrap_or(if cli.quick { 1 } else { 5 }),
        quick: cli.quick,
        scratch: fsx::absolute(scratch.path())?,
        home,
    };
    let mut wanted = if cli.only.is_empty() { ALL.to_vec() } else { cli.only.clone() };
    wanted.sort();
    wanted.dedup();
    let mut machine = machine::describe(&bench)?;
    let before = machine::busy();
    let begun = Instant::now();
    let (mut sections, stopped) = measure(&bench, &wanted);
    let took = clock::ms_since(begun);
    drop(scratch);
    if let Some(kind) = stopped {
        say("bench: interrupted; nothing was written");
        return Ok(if kind == Kind::CtrlC { 130 } else { 143 });
    }
    machine.push(machine::quiet(before, machine::busy()));
    machine.push(format!("Measured in {}", clock::human_ms(took)));
    let failed = sections.iter().any(|s| s.failed.is_some());
    sections.sort_by_key(|s| s.order);
    let text = table::page(&machine, &sections, bench.quick);
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush())?;
    if failed {
        say("bench: not everything could be measured: docs/benchmarks.md stays as it is");
    } else if (cli.only.is_empty() && !cli.quick) || cli.write {
        write_page(&bench.home.join("docs/benchmarks.md"), &text)?;
        say("bench: figures written into docs/benchmarks.md");
    }
    Ok(u8::from(failed))
}

/// One figure after the other; one that fails does not hide the others.
fn measure(bench: &Bench, wanted: &[Name]) -> (Vec<Section>, Option<Kind>) {
    let mut sections: Vec<Section> = Vec::new();
    for name in wanted {
        let result = match name {
            Name::Release => release::figures(bench),
            Name::Smoke => quick::smoke(bench),
            Name::Dump => database::dump(bench),
            Name::Clone => database::clone(bench),
            Name::Hash => quick::hash(bench),
            Name::Memory => quick::memory(bench),
        };
        if let Some(kind) = bench.run.interrupt.kind() {
            return (sections, Some(kind));
        }
        let section = result.unwrap_or_else(|error| {
            let fault = fault_of(&error);
            say(&format!("bench: {name:?} failed: {fault}"));
            Section { title: format!("{name:?}"), failed: Some(fault.to_string()), ..Section::default() }
        });
        sections.push(Section { order: *name as usize, ..section });
    }
    (sections, None)
}

/// Puts the figures between their marks.
fn write_page(path: &Path, figures: &str) -> Result<()> {
    const BEGIN: &str = "<!-- figures: written by scripts/bench -->\n";
    const END: &str = "<!-- end of figures -->";
    let page = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let parts = page.split_once(BEGIN).and_then(|(head, rest)| Some((head, rest.split_once(END)?.1)));
    let (head, tail) =
        parts.ok_or_else(|| Fault::new(format!("{} has no marks for the figures", path.display())))?;
    fsx::write_atomic(path, format!("{head}{BEGIN}\n{figures}\n{END}{tail}").as_bytes())
}

/// A line for the person who waits.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
