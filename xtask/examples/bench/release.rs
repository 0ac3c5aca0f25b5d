//! A release beside the bare commands that it wraps, and its downtime beside
//! a bare stop and up.

use crate::copy::{Copy, Run, journal, line};
use crate::table::{Section, Verdict, median, ratio_words, ratios, row, table, time};
use crate::{Bench, say};
use serde_json::Value;
use std::collections::BTreeMap;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use xtask::error::Result;

/// The soak of the built-in configuration, in seconds.
const SOAK: &str = "5";

/// The parts in their order: as the bare script calls them, as the page does, and what is in them.
const PARTS: [(&str, &str); 14] = [
    ("start", "start: cargo, look at the stand, plan"),
    ("precheck", "lock, precheck with its smoke"),
    ("dump", "pg_dump"),
    ("backup", "table sums, roles, manifest"),
    ("build", "build; release: the proof beside it"),
    ("ready", "the way back made ready"),
    ("copy sql", "SQL files into the container; release: in the line above"),
    ("stop", "stop"),
    ("clone", "fence, clone, queues"),
    ("sql", "SQL files, verifications"),
    ("up", "up -d"),
    ("first answer", "first good answer"),
    ("proved", "every check good, soak over"),
    ("end", "portrait, housekeeping, evidence"),
];

/// One kind of run: its times by part, run by run.
#[derive(Default)]
struct Kind {
    total: Vec<f64>,
    downtime: Vec<f64>,
    parts: BTreeMap<&'static str, Vec<f64>>,
}

impl Kind {
    fn take(&mut self, parts: &[(&'static str, f64)], total: f64, downtime: f64) {
        for (name, ms) in parts {
            self.parts.entry(name).or_default().push(*ms);
        }
        self.total.push(total);
        self.downtime.push(downtime);
    }
    fn part(&self, name: &str) -> String {
        self.parts.get(name).map_or("-".into(), |values| time(median(values)))
    }
}

pub fn figures(bench: &Bench) -> Result<Section> {
    let copy = Copy::running(bench, "release")?;
    let (mut plain, mut tight, mut ours) = (Kind::default(), Kind::default(), Kind::default());
    let mut bare_downtime: Vec<f64> = Vec::new();
    let (mut beside, mut checks) = (Vec::new(), Vec::new());
    // One of each that is not counted: caches of disk and build fill.
    copy.next("good-v2")?;
    copy.bare(&["release", "plain", &copy.port(), SOAK])?;
    copy.next("1")?;
    copy.release(None, 0)?;
    for round in 0..bench.runs {
        let version = if round % 2 == 0 { "good-v2" } else { "1" };
        let order = if round % 2 == 0 {
            ["plain", "ours", "tight", "down"]
        } else {
            ["ours", "plain", "down", "tight"]
        };
        for what in order {
            copy.next(version)?;
            say(&format!("bench: release, round {} of {}, {what}", round + 1, bench.runs));
            match what {
                "ours" => {
                    let run = copy.release(Some("release of the sample"), 0)?;
                    let journal = journal(&run)?;
                    let downtime = run.summary["downtime_ms"]["measured"].as_f64().unwrap_or(f64::NAN);
                    ours.take(&parts_of(&run, &journal), run.ran.ms, downtime);
                    let step =
                        |name: &str| line(&journal, "done", name, "step").and_then(|l| l["ms"].as_f64());
                    beside.push((step("build").unwrap_or(f64::NAN), step("proof").unwrap_or(f64::NAN)));
                    checks.push(step("smoke").unwrap_or(f64::NAN));
                }
                "down" => {
                    let parts = copy.bare(&["downtime", &copy.port()])?;
                    bare_downtime.push(of(&parts, "total"));
                }
                way => {
                    let parts = copy.bare(&["release", way, &copy.port(), SOAK])?;
                    let kind = if way == "plain" { &mut plain } else { &mut tight };
                    kind.take(&bare_parts(&parts), of(&parts, "total"), of(&parts, "downtime"));
                }
            }
        }
    }
    drop(copy);
    let mut body = String::new();
    let head = ["", "min", "median", "max"];
    body.push_str(&table(
        &head,
        &[
            row("`cargo xtask release`", &ours.total),
            row("bare, plain", &plain.total),
            row("bare, tight", &tight.total),
        ],
    ));
    body.push_str(&format!(
        "\nRelease over bare: {} plain, {} tight.\n",
        ratio_words(&ours.total, &plain.total),
        ratio_words(&ours.total, &tight.total)
    ));
    body.push_str("\nWhat the difference is made of (medians):\n\n");
    let rows: Vec<Vec<String>> = PARTS
        .iter()
        .map(|(name, words)| vec![(*words).to_string(), plain.part(name), tight.part(name), ours.part(name)])
        .collect();
    body.push_str(&table(&["part", "plain", "tight", "release"], &rows));
    let (build, proof): (Vec<f64>, Vec<f64>) = beside.into_iter().unzip();
    body.push_str(&format!(
        "\nBeside each other in the release: build {} and proof {}; soak {SOAK} s and smoke {}.\n",
        time(median(&build)),
        time(median(&proof)),
        time(median(&checks)),
    ));
    body.push_str("\nDowntime, from the stop to the first good answer:\n\n");
    body.push_str(&table(
        &head,
        &[
            row("release: with fence, clone, SQL files and verifications", &ours.downtime),
            row("bare stop, up, first good answer", &bare_downtime),
            row("bare, plain, SQL files between stop and up", &plain.downtime),
            row("bare, tight, SQL files between stop and up", &tight.downtime),
        ],
    ));
    body.push_str(&format!(
        "\nDowntime over the bare one: {}.\n",
        ratio_words(&ours.downtime, &bare_downtime)
    ));
    let limits = [
        Verdict::at_most(
            "release over the bare commands (plain)",
            ratios(&ours.total, &plain.total).0,
            1.25,
            "",
        ),
        Verdict::at_most(
            "downtime over bare stop, up, first answer",
            ratios(&ours.downtime, &bare_downtime).0,
            1.3,
            "",
        ),
    ];
    Ok(Section { title: "Release and downtime".into(), verdicts: limits.into(), body, ..Section::default() })
}

fn of(parts: &[(String, f64)], name: &str) -> f64 {
    parts.iter().find(|(n, _)| n == name).map_or(f64::NAN, |(_, ms)| *ms)
}

/// The parts that the bare script names, with what follows the first answer as one.
fn bare_parts(parts: &[(String, f64)]) -> Vec<(&'static str, f64)> {
    let later = ["other answers", "worker ping", "round trip", "soak", "worker beside soak"];
    let proved: f64 = parts.iter().filter(|(n, _)| later.contains(&n.as_str())).map(|(_, ms)| ms).sum();
    let mut found: Vec<(&'static str, f64)> = PARTS
        .iter()
        .filter_map(|(name, _)| parts.iter().find(|(n, _)| n == name).map(|(_, ms)| (*name, *ms)))
        .collect();
    found.push(("proved", proved));
    found
}

/// The same parts out of a release's journal: they add up to the whole time of the process.
fn parts_of(run: &Run, journal: &[Value]) -> Vec<(&'static str, f64)> {
    let at = |l: Option<&Value>| l.and_then(|l| l["at_ms"].as_f64());
    let done = |step: &str, act: &str| at(line(journal, "done", step, act)).unwrap_or(f64::NAN);
    let began = |step: &str, act: &str| at(line(journal, "intent", step, act)).unwrap_or(f64::NAN);
    let took = |step: &str, act: &str| {
        line(journal, "done", step, act).and_then(|l| l["ms"].as_f64()).unwrap_or(f64::NAN)
    };
    // The journal's clock begins when it is opened: the wall clock says how long after the start.
    let first = journal.first();
    let opened = first
        .and_then(|l| OffsetDateTime::parse(l["time"].as_str()?, &Rfc3339).ok())
        .map_or(f64::NAN, |time| (time - run.ran.began).as_seconds_f64() * 1000.0)
        - at(first).unwrap_or(0.0);
    let dump = took("backup", "dump");
    let backup = done("backup", "step");
    let built = done("build", "step").max(done("proof", "step"));
    let stopped = done("change", "stop services");
    let open = done("change", "unfence");
    let migrated = done("migrate", "step");
    let up = done("deploy", "up");
    let answer = at(line(journal, "fact", "smoke", "first good answer")).unwrap_or(f64::NAN);
    let proved = done("deploy", "step").max(done("smoke", "step"));
    let precheck = done("precheck", "step");
    vec![
        ("start", opened + began("precheck", "step")),
        ("precheck", precheck - began("precheck", "step")),
        ("dump", dump),
        ("backup", backup - precheck - dump),
        ("build", built - backup),
        ("ready", began("change", "stop services") - built),
        ("stop", stopped - began("change", "stop services")),
        ("clone", open - stopped),
        ("sql", migrated - open),
        ("up", up - migrated),
        ("first answer", answer - up),
        ("proved", proved - answer),
        ("end", run.ran.ms - opened - proved),
    ]
}
