//! `status`: which version runs, how to go back, what is open.

use super::args::Global;
use super::with_global;
use crate::acts::code::trees_root;
use crate::clock::{self, Clock, human_age};
use crate::error::{Exit, Result, fault_of};
use crate::evidence::{self, EVIDENCE, Summary};
use crate::fsx::human_bytes;
use crate::lkg::Store;
use crate::pipeline::{lock, offer, open_runs, single};
use crate::report::Screen;
use crate::stand::postgres;
use serde_json::{Value, json};

pub fn run(global: &Global, screen: &Screen) -> Result<Exit> {
    with_global(global, screen, |start| {
        let facts = single::look(start)?;
        let repo = &start.config.repo;
        let last = Store::of(repo).last()?;
        // What could not be asked is said to be not known: never left out as if it were not there.
        let mut unknown: Vec<String> = Vec::new();
        let head = start.stand.head().unwrap_or_else(|error| {
            unknown.push(format!("the commit of the checkout: {error:#}"));
            String::new()
        });
        let held = lock::holder(&facts.engine_id, &start.config.stand.project);
        let open = open_runs::find(repo)?;
        let trees = trees_root(start.config);
        let services: Vec<Value> = facts
            .containers
            .iter()
            .map(|c| {
                let source = facts.mounts.get(&c.service).and_then(|at| c.source_at(at)).unwrap_or_default();
                let previous = c.running() && std::path::Path::new(source).starts_with(&trees);
                json!({ "service": c.service, "state": c.state, "health": c.health, "image": c.image,
                        "source": source, "runs_previous_source": previous, "restarts": c.restarts })
            })
            .collect();
        let databases: Vec<Value> = match facts.pg(start.stand, start.config) {
            Ok(pg) => {
                let mut admin = pg.session("postgres", "ffx-status")?;
                postgres::own_databases(&mut admin, &pg.database)?
                    .into_iter()
                    .map(|(purpose, row)| json!({ "name": row.name, "purpose": purpose, "bytes": row.bytes }))
                    .collect()
            }
            Err(error) => {
                unknown.push(format!("the databases: {error:#}"));
                Vec::new()
            }
        };
        // Where `rollback` would go now; none is no failure.
        let way_back = match offer::offer(start, &facts, &offer::Wanted::default()) {
            Ok(offer) => Some(offer.words),
            Err(error) => {
                let fault = fault_of(&error);
                if fault.exit != Some(Exit::Refused) {
                    unknown.push(format!("the way back: {error:#}"));
                }
                None
            }
        };
        let recent: Vec<Value> = evidence::runs(&repo.join(EVIDENCE))?
            .iter()
            .filter_map(|dir| evidence::read_record::<Summary>(dir, "summary.json"))
            .filter(|s| s.command == "release" || s.command == "rollback")
            .take(5)
            .map(
                |s| json!({ "rid": s.rid, "verdict": s.verdict, "exit_code": s.exit_code, "ended": s.ended }),
            )
            .collect();
        let data = json!({
            "project": start.config.stand.project, "repo": repo, "head": head,
            "last_known_good": last, "services": services, "lock": held,
            "interrupted": if held.is_some() { json!([]) } else {
                open.iter().map(|o| json!({ "rid": o.rid, "command": o.command, "last": o.last, "words": o.words(), "since": o.started })).collect()
            },
            "databases": databases, "way_back": way_back, "recent": recent, "not_known": unknown,
        });
        screen.data(&if global.json { serde_json::to_string_pretty(&data)? + "\n" } else { words(&data) });
        Ok(Exit::Pass)
    })
}

fn words(data: &Value) -> String {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_string();
    let mut out = format!(
        "stand      {}\ncheckout   {}, commit {}\n",
        text(&data["project"]),
        text(&data["repo"]),
        data["head"].as_str().filter(|head| !head.is_empty()).unwrap_or("not known")
    );
    let last = &data["last_known_good"];
    out.push_str(&match last["rid"].as_str() {
        Some(rid) => {
            let age = last["time"]
                .as_str()
                .and_then(clock::parse_rfc3339)
                .map_or(0, |t| (Clock::System.now() - t).whole_seconds());
            format!("last good  {rid}, {} ago, commit {}\n", human_age(age), text(&last["commit"]))
        }
        None => "last good  none: no release has passed here\n".into(),
    });
    for s in data["services"].as_array().into_iter().flatten() {
        let health = s["health"].as_str().map(|h| format!(", {h}")).unwrap_or_default();
        let image = text(&s["image"]);
        let image = image.trim_start_matches("sha256:").get(..12).unwrap_or_default().to_string();
        out.push_str(&format!(
            "service    {:<10} {}{health}, image {image}\n",
            text(&s["service"]),
            text(&s["state"])
        ));
        if s["runs_previous_source"] == true {
            out.push_str(&format!(
                "           runs {}, not this checkout; `cargo xtask release` returns to the checkout\n",
                text(&s["source"])
            ));
        }
    }
    match data["lock"]["rid"].as_str() {
        Some(rid) => out.push_str(&format!(
            "at work    {} {rid}, step {}, by {} since {}\n",
            text(&data["lock"]["command"]),
            text(&data["lock"]["step"]),
            text(&data["lock"]["who"]),
            text(&data["lock"]["since"])
        )),
        None => out.push_str("at work    nobody\n"),
    }
    for o in data["interrupted"].as_array().into_iter().flatten() {
        out.push_str(&format!(
            "OPEN       {} {} {}: cargo xtask rollback\n",
            text(&o["command"]),
            text(&o["rid"]),
            text(&o["words"])
        ));
    }
    for d in data["databases"].as_array().into_iter().flatten() {
        let what = match d["purpose"].as_str() {
            Some("pre") => "undo clone",
            Some("failed") => "failed database",
            _ => "left over",
        };
        out.push_str(&format!(
            "database   {}: {what}, {}\n",
            text(&d["name"]),
            human_bytes(d["bytes"].as_u64().unwrap_or(0))
        ));
    }
    if let Some(words) = data["way_back"].as_str() {
        out.push_str(&format!("way back   cargo xtask rollback: {words}\n"));
    }
    for why in data["not_known"].as_array().into_iter().flatten() {
        out.push_str(&format!("NOT KNOWN  {}\n", text(why)));
    }
    for r in data["recent"].as_array().into_iter().flatten() {
        out.push_str(&format!(
            "recent     {} {} (exit {})\n",
            text(&r["rid"]),
            text(&r["verdict"]),
            r["exit_code"]
        ));
    }
    out
}
