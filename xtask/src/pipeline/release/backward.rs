//! What is done about a failure: a portrait of the stand, then back, as far as
//! the change went.

use super::{Flow, at, ctx, with_lock};
use crate::acts::{Ctx, code};
use crate::clock;
use crate::error::{Fault, Result};
use crate::evidence::records::*;
use crate::evidence::{self, Reached};
use crate::lkg::{Store, Target};
use crate::pipeline::lock::Lock;
use crate::pipeline::{housekeeping, step};
use crate::stand::containers::Container;
use crate::steps::{deploy, rollback};
use serde_json::json;
use std::collections::BTreeSet;

/// What is done about a failure: a portrait of the stand, then back, as far as the change went.
pub(super) fn run(flow: &mut Flow<'_>, failure: &Failure) {
    let start = flow.start;
    let reached = evidence::read_journal(&flow.run.path.join("events.jsonl"))
        .map_or(Reached::Unfenced, |j| evidence::reached(&j));
    if flow.facts.pg(start.stand, start.config).is_err() && reached == Reached::Unchanged {
        return;
    }
    at(flow, "rollback");
    let flow = &*flow;
    let ctx = ctx(flow, start.stand).shielded();
    if let Err(error) = hold(flow, &ctx) {
        start.events.warn("rollback", format!("{error:#}"));
    }
    let alone = with_lock(flow, Lock::is_alone);
    // Who was refused, or wanted out, does not ask what the stand looked like.
    let own_doing = failure.exit.is_some() || failure.stopped_by.is_some();
    let of = if reached == Reached::Unchanged { &failure.step } else { "deploy" };
    if (reached != Reached::Unchanged || !own_doing)
        && let Err(error) = deploy::portrait(&ctx, of)
    {
        start
            .events
            .warn("rollback", format!("state and logs of the services are not in the evidence: {error:#}"));
    }
    let may = flow.prepared.plan.rollback_enabled;
    let mut clone_stays = false;
    if reached == Reached::Unchanged {
        if let Err(error) = tell_of_others(flow, &ctx) {
            start
                .events
                .warn("housekeeping", format!("whether services started anew is not known: {error:#}"));
        }
        if let Err(error) = tidy_unchanged(flow, &ctx, alone) {
            start.events.warn("housekeeping", format!("{error:#}"));
        }
    } else if may && let Some(target) = &flow.target {
        let result = step(flow.run, start.events, None, "rollback", || {
            let record = go_back(flow, &ctx, target, failure, reached);
            let verified = record.verified;
            let problems = record.problems.join("; ");
            flow.run.write_json("rollback.json", &record)?;
            if !verified {
                return Err(Fault::new("the rollback is not verified").why(problems).into());
            }
            Ok((record.source, format!("verified in {}", clock::human_ms(record.ms))))
        });
        clone_stays = result.is_err();
    } else {
        clone_stays = true;
    }
    if let Err(error) = housekeeping::after_failure(&ctx, clone_stays, alone) {
        start.events.warn("housekeeping", format!("{error:#}"));
    }
}

/// An engine that was restarted, or a person, has started services anew: with the code that lies in the
/// checkout, where they mount it.
fn tell_of_others(flow: &Flow<'_>, ctx: &Ctx<'_>) -> Result<()> {
    let now = ctx.stand("rollback")?.containers()?;
    let anew: Vec<&Container> = now
        .iter()
        .filter(|c| flow.facts.app_services.contains(&c.service) && c.running())
        .filter(|c| {
            flow.facts
                .container(&c.service)
                .is_some_and(|b| b.running() && (&b.id, &b.started) != (&c.id, &c.started))
        })
        .collect();
    if anew.is_empty() {
        return Ok(());
    }
    let names = |of: &[&Container]| of.iter().map(|c| c.service.clone()).collect::<BTreeSet<_>>();
    let mut mounting = anew.clone();
    mounting.retain(|c| c.mounts(&flow.start.config.repo));
    let data = json!({ "services": names(&anew), "mounting": names(&mounting) });
    ctx.run.journal.fact("rollback", evidence::STARTED_ANEW, data)
}

fn hold(flow: &Flow<'_>, ctx: &Ctx<'_>) -> Result<()> {
    with_lock(flow, |lock| lock.hold(ctx))
}

fn go_back(flow: &Flow<'_>, ctx: &Ctx<'_>, target: &Target, failure: &Failure, reached: Reached) -> Rollback {
    let precheck: Option<Precheck> = flow.run.read("precheck.json");
    let migrated: Option<Migrate> = flow.run.read("migrate.json");
    let begun = migrated.as_ref().is_none_or(|m| m.files.iter().any(|f| f.status != "not run"));
    let keep = flow.start.config.rollback.database == "if-migrated" && !begun;
    let fence: Option<Fence> = flow.fence.clone().or_else(|| flow.run.read("fence.json"));
    let sums = flow.clone_sums.lock().ok().and_then(|s| s.clone());
    let backup: Option<Backup> = flow.run.read("backup.json");
    let given = rollback::Given {
        reason: &failure.what,
        target,
        fence: fence.as_ref(),
        reached,
        baseline: precheck.as_ref().and_then(|p| p.baseline.as_ref()),
        clone_sums: sums.as_ref().map(|(s, _)| s),
        clone_sums_ms: sums.as_ref().map_or(u64::MAX, |(_, ms)| *ms),
        keep_database: keep.then_some("no migration ran"),
        recovers: None,
        cited: format!(
            "clone {} made under the fence; backup {} restored and compared equal before",
            target.clone,
            backup.map(|b| b.dir).unwrap_or_default()
        ),
        hold: &|| hold(flow, ctx),
    };
    rollback::run(ctx, &given)
}

/// The stand was not touched: only names and leftovers of this run are put right.
fn tidy_unchanged(flow: &Flow<'_>, ctx: &Ctx<'_>, alone: bool) -> Result<()> {
    Store::of(&flow.start.config.repo).forget(&flow.run.rid)?;
    if !alone {
        // Names of images and laid out sources may be those of the one who works on the stand now.
        return Ok(());
    }
    if flow.built
        && let Some(build) = flow.run.read::<Build>("images.json")
    {
        let stand = ctx.stand("build")?;
        for image in build.images.iter().filter(|i| i.before != i.after) {
            let name = flow.facts.model.image_name(&stand.project, &image.service);
            match &image.before {
                Some(id) => stand.tag(id, &name)?,
                None => stand.untag(&name)?,
            }
        }
    }
    code::remove_unused_trees(ctx, "housekeeping", &[]).map(drop)
}
