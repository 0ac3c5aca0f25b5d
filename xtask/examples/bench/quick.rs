//! What takes a second or less: smoke and hashing; and the memory of
//! everything that was run.

use crate::copy::Copy;
use crate::database::{for_memory, sha256sum};
use crate::run::{Job, Runner};
use crate::table::{Section, Verdict, median, ratio_words, ratios, row, table, time};
use crate::{Bench, say};
use std::io::Write;
use std::path::Path;
use std::time::Instant;
use xtask::error::{Context, Result};
use xtask::fsx;

/// `cargo xtask smoke`, warm, beside its slowest check.
pub fn smoke(bench: &Bench) -> Result<Section> {
    let copy = Copy::running(bench, "smoke")?;
    let once = |label: Option<&str>| -> Result<(f64, f64)> {
        let run = copy.xtask(&["smoke", "--json"], &[], label, 0)?;
        let checks = run.summary["smoke"].as_array().into_iter().flatten();
        let slowest = checks.filter_map(|c| c["ms"].as_f64()).fold(0.0, f64::max);
        Ok((run.ran.ms, slowest))
    };
    for _ in 0..3 {
        once(None)?;
    }
    let (mut whole, mut slowest, mut over, mut alone, mut over_alone, mut cargo) =
        (vec![], vec![], vec![], vec![], vec![], vec![]);
    for round in 0..bench.runs * 4 {
        say(&format!("bench: smoke, round {} of {}", round + 1, bench.runs * 4));
        let (ms, check) = once(Some("smoke"))?;
        whole.push(ms);
        slowest.push(check);
        over.push(ms - check);
        let repo = copy.sample.repo.display().to_string();
        let (ms, out) = program(&bench.run, &["--repo", &repo, "smoke", "--json"], &bench.home)?;
        let summary: serde_json::Value = serde_json::from_str(&out).context("the summary is not JSON")?;
        let checks = summary["smoke"].as_array().into_iter().flatten();
        let check = checks.filter_map(|c| c["ms"].as_f64()).fold(0.0, f64::max);
        alone.push(ms);
        over_alone.push(ms - check);
        let with = bench.run.job(&bench.run.xtask(&copy.sample.repo, &["--version"]))?.ms;
        cargo.push(with - program(&bench.run, &["--version"], &bench.home)?.0);
    }
    let mut body = table(
        &["", "min", "median", "max"],
        &[
            row("`cargo xtask smoke`", &whole),
            row("its slowest check, from the question to the answer", &slowest),
            row("over the slowest check", &over),
            row("the built program alone, without cargo", &alone),
            row("the same over its slowest check", &over_alone),
            row("cargo's own part, by `--version` with and without it", &cargo),
        ],
    );
    body.push_str(&format!(
        "\nIn the {} over it: cargo's look at the sources, compose and docker asked for the stand, evidence.\n",
        time(median(&over))
    ));
    let limit =
        Verdict::at_most("`cargo xtask smoke` over its slowest check", median(&over) / 1000.0, 0.2, " s");
    Ok(Section { title: "Smoke, warm".into(), verdicts: vec![limit], body, ..Section::default() })
}

/// The program that `cargo xtask` starts, by itself.
fn program(run: &Runner, args: &[&str], cwd: &Path) -> Result<(f64, String)> {
    let name = run.program.display().to_string();
    let args = args.iter().map(|a| (*a).to_string()).collect();
    let ran = run.job(&Job { program: &name, args, cwd, env: Vec::new(), label: None, exit: 0 })?;
    Ok((ran.ms, ran.out))
}

/// The hashing of this workspace's dev profile beside sha256sum, on one file in memory.
pub fn hash(bench: &Bench) -> Result<Section> {
    let bytes: u64 = if bench.quick { 100_000_000 } else { 1_000_000_000 };
    let path = bench.scratch.join("to-hash");
    write_noise(&path, bytes)?;
    let name = path.display().to_string();
    sha256sum(bench, &name)?;
    let (mut ours, mut theirs) = (vec![], vec![]);
    for round in 0..bench.runs {
        say(&format!("bench: hashing {}, round {} of {}", fsx::human_bytes(bytes), round + 1, bench.runs));
        for own in if round % 2 == 0 { [true, false] } else { [false, true] } {
            if own {
                let start = Instant::now();
                fsx::sha256_file(&path)?;
                ours.push(start.elapsed().as_secs_f64() * 1000.0);
            } else {
                theirs.push(sha256sum(bench, &name)?);
            }
        }
    }
    std::fs::remove_file(&path).context("remove the file that was hashed")?;
    let speed = |ms: f64| format!("{}/s", fsx::human_bytes((bytes as f64 * 1000.0 / ms) as u64));
    let mut body = format!("{}, in the page cache:\n\n", fsx::human_bytes(bytes));
    let rows = [("as built for `cargo xtask`", &ours), ("`sha256sum`", &theirs)].map(|(name, times)| {
        let mut row = row(name, times);
        row.push(speed(median(times)));
        row
    });
    body.push_str(&table(&["", "min", "median", "max", "speed"], &rows));
    body.push_str(&format!("\nSpeed over sha256sum: {}.\n", ratio_words(&theirs, &ours)));
    let ratio = ratios(&theirs, &ours).0;
    let limit = Verdict::at_least("speed of hashing over sha256sum", ratio, 0.8, "");
    Ok(Section { title: "Hashing".into(), verdicts: vec![limit], body, ..Section::default() })
}

/// Bytes that no disk and no file system makes smaller.
fn write_noise(path: &Path, bytes: u64) -> Result<()> {
    let mut file = fsx::private_file(path)?;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut buffer = vec![0u8; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        for chunk in buffer.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            chunk.copy_from_slice(&state.to_le_bytes());
        }
        let piece = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        file.write_all(&buffer[..piece]).with_context(|| format!("write {}", path.display()))?;
        left -= piece as u64;
    }
    file.sync_all().with_context(|| format!("flush {}", path.display()))
}

/// The highest resident memory of every kind of run so far.
pub fn memory(bench: &Bench) -> Result<Section> {
    let peaks = || bench.run.peaks.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    if !peaks().keys().any(|label| label.starts_with("backup")) {
        for_memory(bench)?;
    }
    let peaks = peaks();
    let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    let rows: Vec<Vec<String>> = peaks
        .iter()
        .map(|(label, p)| {
            let child = match p.child {
                0 => "none".into(),
                bytes => format!("{} ({})", megabytes(bytes), p.child_name),
            };
            vec![label.clone(), megabytes(p.own), child]
        })
        .collect();
    let mut body = table(&["", "xtask itself", "largest single process below it"], &rows);
    body.push_str("\nResident memory at its highest, as the kernel keeps it (VmHWM). What runs in containers is not below xtask.\n");
    let highest = peaks.values().map(|p| p.own).max().unwrap_or(0);
    let limit =
        Verdict::at_most("peak memory of xtask, whatever the size", highest as f64 / 1e6, 64.0, " MB");
    Ok(Section { title: "Peak memory".into(), verdicts: vec![limit], body, ..Section::default() })
}
