//! The proof of a rollback: the previous services stay up, and what was good
//! before is good again.

use super::Given;
use crate::acts::smoke::{self, Patience};
use crate::acts::{Ctx, up};
use crate::error::Result;
use crate::evidence::records::{Rollback, Smoke};
use crate::fsx;
use crate::lkg::Store;
use crate::stand::model::Model;

/// Up and smoke side by side, against the baseline.
pub(super) fn run(ctx: &Ctx<'_>, given: &Given<'_>, record: &mut Rollback) -> Result<()> {
    let target = given.target;
    if target.running.is_empty() {
        // Nothing ran before: back is "stopped, database as before".
        let still: Vec<String> = ctx
            .stand("rollback")?
            .containers()?
            .into_iter()
            .filter(|c| ctx.facts.app_services.contains(&c.service) && c.running())
            .map(|c| c.service)
            .collect();
        record.up = still.is_empty();
        record.smoke = Some(Smoke { ok: true, ..Smoke::default() });
        record.problems.extend(still.into_iter().map(|s| format!("{s} runs, and did not before")));
        return Ok(());
    }
    // Not kept where nothing was prepared for going back.
    let kept = fsx::read_json(&Store::of(&ctx.config.repo).model(&target.rid)).ok();
    let model = kept.map_or_else(|| ctx.facts.model.clone(), |raw| Model { raw });
    // Data services that only the failed version depends on are started and stay, good or not.
    let (known, others): (Vec<String>, Vec<String>) =
        ctx.facts.data_services.iter().cloned().partition(|s| model.has(s));
    record.left_running = others;
    let mut services = target.running.clone();
    services.extend(known);
    // Asked where the previous version listens, by what it is.
    let mut facts = ctx.facts.clone();
    facts.refresh(&ctx.stand("rollback")?)?;
    let facts = facts.as_running(ctx.config, Some(model));
    let ctx = &Ctx { facts: &facts, ..*ctx };
    let cancel = smoke::never();
    let (deploy, smoked) = std::thread::scope(|scope| {
        let smoked = scope.spawn(|| {
            let told = smoke::first_answer(ctx, "rollback", || {});
            smoke::run(ctx, "rollback", Patience::back(ctx.config, given.baseline), &cancel, &told)
        });
        let deploy = up::prove(ctx, "rollback", &services, &cancel);
        if !deploy.as_ref().is_ok_and(|d| d.up) {
            smoke::raise(&cancel);
        }
        (deploy, smoked.join())
    });
    let deploy = deploy?;
    record.up = deploy.up;
    record.problems.extend(deploy.problems);
    let smoked = smoked.map_err(|_| crate::error::anyhow!("the second smoke died"))??;
    if let Some(baseline) = given.baseline {
        record.not_green_again = smoke::lost(baseline, &smoked);
    } else {
        record.not_green_again = smoked.checks.iter().filter(|c| !c.ok).map(|c| c.name.clone()).collect();
    }
    if !record.not_green_again.is_empty() {
        record.problems.push(format!("not good again: {}", record.not_green_again.join(", ")));
    }
    record.smoke = Some(smoked);
    Ok(())
}
