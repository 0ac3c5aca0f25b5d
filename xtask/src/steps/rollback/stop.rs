//! The application comes to a stand before anything is put in its place.

use crate::acts::Ctx;
use crate::error::{Lane, Result};
use crate::evidence::{END_STOP, STOP_BACK};
use crate::lkg::Target;
use serde_json::json;
use std::time::Duration;

/// Containers of the application that are not stopped.
fn not_stopped(ctx: &Ctx<'_>, target: &Target) -> Result<Vec<String>> {
    // Also services that only one of the two versions has.
    let mut services = target.app_services(&ctx.facts.app_services);
    services.retain(|s| !ctx.facts.data_services.contains(s));
    let stopped = |state: &str| matches!(state, "exited" | "created" | "dead");
    let all = ctx.stand("rollback")?.containers()?.into_iter();
    Ok(all.filter(|c| services.contains(&c.service) && !stopped(&c.state)).map(|c| c.id).collect())
}

/// The engine goes on stopping when the client that asked for it is gone: a container that still has its
/// grace would be started in vain, and be killed when the grace is over. To stop it waits for that end.
pub(super) fn end_the_stop(ctx: &Ctx<'_>, target: &Target) -> Result<()> {
    let ids = not_stopped(ctx, target)?;
    if ids.is_empty() {
        return Ok(());
    }
    let stand = ctx.stand("rollback")?;
    let grace = ctx.config.stand.stop_grace_s;
    ctx.waiting("rollback", "the stop that was begun to end", Duration::from_secs(grace));
    ctx.act(END_STOP.0, END_STOP.1, json!({ "containers": ids }), || {
        stand.exec.run(&stand.stop_containers(&ids, grace))?.success("end the stop", Lane::A)?;
        Ok(((), json!({})))
    })
}

/// Stops the failed version.
pub(super) fn stop_all(ctx: &Ctx<'_>, target: &Target) -> Result<()> {
    let stand = ctx.stand("rollback")?;
    let ids = not_stopped(ctx, target)?;
    let grace = ctx.config.stand.stop_grace_s;
    ctx.waiting("rollback", "the failed version to stop", Duration::from_secs(grace));
    ctx.act(STOP_BACK.0, STOP_BACK.1, json!({ "containers": ids }), || {
        if !ids.is_empty() {
            // By id: the failed version's own compose file is not trusted with this.
            stand
                .exec
                .run(&stand.stop_containers(&ids, grace))?
                .success("stop the failed version", Lane::A)?;
        }
        Ok(((), json!({})))
    })
}
