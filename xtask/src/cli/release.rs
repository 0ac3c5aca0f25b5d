//! `release`

use super::args::{Global, Release};
use super::{HALF_WAY, tell, with_global};
use crate::clock::human_ms;
use crate::error::{Exit, Fault, Result};
use crate::fsx::human_bytes;
use crate::pipeline::prepare::{Options, prepare};
use crate::pipeline::release::release;
use crate::plan::{Plan, Waivers};
use crate::report::Screen;
use std::fmt::Write;

pub fn run(global: &Global, args: &Release, screen: &Screen) -> Result<Exit> {
    let options = Options {
        waivers: Waivers {
            skip_backup: args.skip_backup.clone(),
            skip_build: args.skip_build.clone(),
            skip_migrate: args.skip_migrate.clone(),
            no_rollback: args.no_rollback.clone(),
            allow_dirty: args.allow_dirty.clone(),
            no_proof: args.no_proof.clone(),
        },
        rid: args.rid.clone(),
        devtasks: args.devtask.clone(),
    };
    with_global(global, screen, HALF_WAY, |start| {
        let prepared = prepare(start, options)?;
        if args.plan {
            if global.json {
                screen.data(&(serde_json::to_string_pretty(&prepared.plan)? + "\n"));
            } else {
                screen.data(&in_full(&prepared.plan));
            }
            return Ok(Exit::Pass);
        }
        if !args.yes {
            screen.say(&in_short(&prepared.plan));
            if !screen.ask("Release?", start.interrupt) {
                return Err(Fault::refused("not released: nobody said yes")
                    .remedy("answer y on a terminal, or give --yes")
                    .into());
            }
        }
        tell(&release(start, &prepared)?, global.json, screen)
    })
}

/// What is done to what: the same for the same commit on the same stand.
fn head(plan: &Plan) -> String {
    let mut out = String::new();
    let commit = &plan.commit[..plan.commit.len().min(12)];
    let _ = writeln!(out, "release {commit} of {} on stand {}", plan.branch, plan.project);
    let _ = writeln!(out, "  replaces  {}", plan.app_services.join(", "));
    let _ = writeln!(out, "  migrates  {} files on database {}", plan.migrations.len(), plan.database);
    let _ = writeln!(out, "  way back  {}", plan.way_back);
    for line in plan.destroys.iter().chain(&plan.warnings) {
        let _ = writeln!(out, "  note      {line}");
    }
    for w in &plan.waivers {
        let _ = writeln!(out, "  waived    {} by {}: {}", w.gate, w.flag, w.reason);
    }
    out
}

/// What it costs: an estimate, other each time.
fn cost(plan: &Plan) -> String {
    format!(
        "  downtime  at most {} expected\n  disk      {} needed for dump, proof and clone of {}\n",
        human_ms(plan.run.expected_downtime_ms),
        human_bytes(plan.run.disk_needed_bytes),
        human_bytes(plan.run.database_bytes)
    )
}

/// A few lines: what will be done, and what it costs.
fn in_short(plan: &Plan) -> String {
    head(plan) + &cost(plan)
}

/// Everything that a second operator needs.
fn in_full(plan: &Plan) -> String {
    let mut out = head(plan);
    out.push_str("steps\n");
    for step in &plan.steps {
        let skip = step.skipped.as_ref().map(|s| format!("  (skipped: {s})")).unwrap_or_default();
        let _ = writeln!(out, "  {:<9} {}{skip}", step.step, step.does);
    }
    for (title, files) in [("migrations", &plan.migrations), ("verify", &plan.verify)] {
        let _ = writeln!(out, "{title}");
        for f in files {
            let _ = writeln!(out, "  {}  {}", &f.sha256[..12], f.path);
        }
    }
    out.push_str("images now\n");
    for (service, id) in &plan.images {
        let _ = writeln!(out, "  {service:<9} {}", id.as_deref().unwrap_or("none"));
    }
    out.push_str("base images\n");
    for (name, id) in &plan.base_images {
        let _ = writeln!(out, "  {name}  {}", id.as_deref().unwrap_or("not here: will be pulled"));
    }
    let _ = writeln!(out, "smoke\n  {}", plan.smoke.join("\n  "));
    out.push_str("versions\n");
    for (name, version) in &plan.versions {
        let _ = writeln!(out, "  {name:<9} {version}");
    }
    out.push_str("configuration that is not built-in\n");
    for (key, value) in plan.config.iter().filter(|(_, v)| v["origin"] != "built-in") {
        let _ = writeln!(out, "  {key} = {}  ({})", value["value"], value["origin"].as_str().unwrap_or(""));
    }
    out.push_str("this run\n");
    let _ = writeln!(out, "  {} at {}", plan.run.rid, plan.run.time);
    out + &cost(plan)
}
