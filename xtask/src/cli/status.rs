//! `status`: which version runs, how to go back, what is open.

use super::args::Global;
use super::{ONLY_LOOKED, looked_to_the_end, with_global};
use crate::acts::elsewhere::{self, Elsewhere};
use crate::clock::{self, Clock, human_age};
use crate::error::{Exit, Result, fault_of};
use crate::evidence::{self, EVIDENCE, Summary};
use crate::fsx::human_bytes;
use crate::lkg::Store;
use crate::pipeline::open_runs::{self, OpenRun};
use crate::pipeline::{lock, offer, single, standing};
use crate::report::Screen;
use crate::stand::postgres::{self, Pg};
use serde_json::{Value, json};
use std::path::Path;

pub fn run(global: &Global, screen: &Screen) -> Result<Exit> {
    with_global(global, screen, ONLY_LOOKED, |start| {
        let repo = &start.config.repo;
        let facts = single::look_back(start).map_err(|error| nothing_to_ask(&error, repo))?;
        let last = Store::of(repo).last()?;
        // What could not be asked is said to be not known: never left out as if it were not there.
        let mut unknown: Vec<String> = facts.unread.iter().map(|why| single::unread(why)).collect();
        let head = known(&mut unknown, "the commit of the checkout", start.stand.head());
        let pg = facts.pg(start.stand, start.config);
        let held = lock::holder(&facts.engine_id, &start.config.stand.project, pg.as_ref().ok());
        let held = known(&mut unknown, "whether somebody is at work on another machine", held);
        let open = open_runs::find(repo)?;
        let elsewhere = pg.as_ref().map_or(Ok(None), |pg| elsewhere::find(pg, repo));
        let elsewhere = known(&mut unknown, "whether a run of another checkout has not ended", elsewhere);
        let standing =
            start.stand.dirt().and_then(|dirt| standing::look(start, &facts, last.as_ref(), &dirt));
        let standing = known(&mut unknown, "what runs beside what the checkout holds", standing);
        let services: Vec<Value> = facts
            .containers
            .iter()
            .map(|c| {
                let previous = standing.previous.iter().find(|(service, _)| *service == c.service);
                let mounted = facts.mounts.get(&c.service).and_then(|at| c.source_at(at));
                let source = previous.map(|(_, source)| source.as_str()).or(mounted).unwrap_or_default();
                let stranger = standing.strangers.contains(&c.service);
                json!({ "service": c.service, "state": c.state, "health": c.health, "image": c.image,
                        "source": source, "runs_previous_source": previous.is_some(), "not_in_last_good": stranger, "restarts": c.restarts })
            })
            .collect();
        let databases = known(&mut unknown, "the databases", pg.and_then(|pg| databases(&pg)));
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
        looked_to_the_end(start)?;
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
            "last_known_good": last, "last_known_good_commit": standing.commit,
            "env_differs": standing.env, "services": services, "lock": held,
            "interrupted": if held.is_some() { Vec::new() } else { not_ended(&open, elsewhere.as_ref()) },
            "databases": databases, "way_back": way_back, "recent": recent, "not_known": unknown,
        });
        screen.data(&if global.json { serde_json::to_string_pretty(&data)? + "\n" } else { words(&data) });
        Ok(Exit::Pass)
    })
}

/// What was asked for, or nothing and a line that says that it is not known.
fn known<T: Default>(unknown: &mut Vec<String>, what: &str, asked: Result<T>) -> T {
    asked.unwrap_or_else(|error| {
        unknown.push(format!("{what}: {error:#}"));
        T::default()
    })
}

/// Without the engine there is nothing to tell of the stand; what is open is known all the same.
fn nothing_to_ask(error: &anyhow::Error, repo: &Path) -> anyhow::Error {
    let fault = fault_of(error).exit(Exit::Refused);
    let open = open_runs::find(repo).unwrap_or_default();
    let open: Vec<String> = open.iter().map(|o| format!("{} {} {}", o.command, o.rid, o.words())).collect();
    if open.is_empty() {
        return fault.into();
    }
    let why = fault.why.clone().map(|why| format!("{why}\n")).unwrap_or_default();
    fault.why(format!("{why}open: {}", open.join("; "))).into()
}

/// The databases that releases have made beside the live one.
fn databases(pg: &Pg) -> Result<Vec<Value>> {
    let mut admin = pg.session("postgres", "ffx-status")?;
    let mut all = Vec::new();
    for (purpose, row) in postgres::own_databases(&mut admin, &pg.database)? {
        let bytes = postgres::size(&mut admin, &row.name)?;
        all.push(json!({ "name": row.name, "purpose": purpose, "bytes": bytes }));
    }
    Ok(all)
}

/// Runs that have not ended, of this checkout and of another one.
fn not_ended(open: &[OpenRun], elsewhere: Option<&Elsewhere>) -> Vec<Value> {
    let here = open.iter().map(|o| {
        json!({ "rid": o.rid, "command": o.command, "last": o.last, "words": o.words(), "since": o.started,
                "remedy": o.remedy() })
    });
    let there = elsewhere.map(|e| {
        let words = format!("has not ended; it was run by {}: finish or undo it there", e.place);
        json!({ "rid": e.rid, "command": "release", "last": Value::Null, "words": words, "since": Value::Null,
                "remedy": Value::Null })
    });
    here.chain(there).collect()
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
    let texts = |v: &Value| v.as_array().into_iter().flatten().map(text).collect::<Vec<_>>();
    for words in texts(&data["last_known_good_commit"]) {
        out.push_str(&format!("           {words}\n"));
    }
    for env in texts(&data["env_differs"]) {
        out.push_str(&format!(
            "env        other than in the last good release: {env}; the next release takes what stands there now\n"
        ));
    }
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
        if s["not_in_last_good"] == true {
            out.push_str("           not a service of the last good release\n");
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
        let remedy = o["remedy"].as_str().map(|remedy| format!(": {remedy}")).unwrap_or_default();
        let (command, rid, words) = (text(&o["command"]), text(&o["rid"]), text(&o["words"]));
        out.push_str(&format!("OPEN       {command} {rid} {words}{remedy}\n"));
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
