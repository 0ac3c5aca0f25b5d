//! On what it was measured.

use crate::{Bench, say};
use std::time::Duration;
use xtask::clock::{self, Clock};
use xtask::error::Result;
use xtask::exec::Invocation;
use xtask::fsx;

/// The share of the processors' time above which others are at work.
const QUIET: f64 = 0.1;

pub fn describe(bench: &Bench) -> Result<Vec<String>> {
    let ask = |program: &str, args: &[&str]| -> Result<String> {
        let call = Invocation::new(program).args(args.iter().copied()).cwd(&bench.home);
        Ok(bench.run.exec.run(&call)?.text().trim().to_string())
    };
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu_info = read("/proc/cpuinfo");
    let field = |text: &str, name: &str| -> Option<String> {
        let line = text.lines().find(|l| l.starts_with(name))?;
        line.split_once([':', '=']).map(|(_, v)| v.trim().trim_matches('"').to_string())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = field(&cpu_info, "model name").unwrap_or_else(|| std::env::consts::ARCH.into());
    let instructions =
        if cpu_info.contains(" sha_ni") { "with" } else { "without" }.to_string() + " SHA instructions";
    let memory = field(&read("/proc/meminfo"), "MemTotal")
        .and_then(|kb| kb.split_whitespace().next()?.parse::<u64>().ok())
        .map_or("unknown".into(), |kib| fsx::human_bytes(kib * 1024));
    let system =
        field(&read("/etc/os-release"), "PRETTY_NAME").unwrap_or_else(|| std::env::consts::OS.into());
    let kernel = read("/proc/sys/kernel/osrelease");
    let engine = ask("docker", &["info", "--format", "{{.ServerVersion}}, storage driver {{.Driver}}"])?;
    let compose = ask("docker", &["compose", "version", "--short"])?;
    let postgres = ask("docker", &["run", "--rm", "--entrypoint", "postgres", "postgres:15", "--version"])?;
    let commit = ask("git", &["describe", "--always", "--dirty"])?;
    let s = if bench.runs == 1 { "" } else { "s" };
    let when = clock::rfc3339(Clock::System.now());
    Ok(vec![
        format!("{when}, commit {commit}, dev profile, {} run{s} of each", bench.runs),
        format!(
            "{cores} cores of {model} {instructions}, {memory} of memory, {system}, kernel {}",
            kernel.trim()
        ),
        format!("Docker Engine {engine}; Compose {compose}; {postgres}"),
    ])
}

/// The share of the processors' time that is used while this program does nothing, what the host
/// of a virtual machine takes included; 0 where the system does not tell.
pub fn busy() -> f64 {
    let look = || -> Option<(f64, f64)> {
        let text = std::fs::read_to_string("/proc/stat").ok()?;
        let line = text.lines().next()?;
        let ticks: Vec<f64> =
            line.split_whitespace().skip(1).take(8).filter_map(|t| t.parse().ok()).collect();
        Some((ticks.iter().sum(), ticks.get(3)? + ticks.get(4)?))
    };
    let before = look();
    std::thread::sleep(Duration::from_secs(3));
    match (before, look()) {
        (Some((all, idle)), Some((all_now, idle_now))) if all_now > all => {
            1.0 - (idle_now - idle) / (all_now - all)
        }
        _ => 0.0,
    }
}

/// The line that says whether others were at work, before and after.
pub fn quiet(before: f64, after: f64) -> String {
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let words = format!("{} of the processors' time before and {} after", percent(before), percent(after));
    if before.max(after) > QUIET {
        say("bench: the machine was not quiet: these are preliminary figures");
        format!("**Preliminary**: others used {words} the measuring")
    } else {
        format!("Quiet: others used {words} the measuring")
    }
}
