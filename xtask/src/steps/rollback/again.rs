//! A second try of the way back: a server, an engine or a client that died in
//! the middle of it is no reason to leave the stand half way.

use super::Given;
use crate::acts::{Ctx, admin_app, app_prefix, wake};
use crate::error::{Exit, Result, fault_of};
use crate::evidence::records::Rollback;

/// Does `work`, and once more when it was cut short. Every part of it asks the world before it acts.
pub(super) fn twice(ctx: &Ctx<'_>, given: &Given<'_>, mut work: impl FnMut() -> Result<()>) -> Result<()> {
    (given.hold)()?;
    let Err(first) = work() else { return Ok(()) };
    let fault = fault_of(&first);
    if let Ok(log) = ctx.run.log("rollback") {
        log.say(&format!("failed: {fault}"));
    }
    ctx.events.warn("rollback", format!("{fault}; once more"));
    // Where it was the disk of the evidence that was full.
    ctx.run.use_room();
    let ready =
        wake::data_services(ctx, "rollback").and_then(|()| (given.hold)()).and_then(|()| end_own(ctx, given));
    match ready {
        // Another writer: what it does must not be undone.
        Err(error) if fault_of(&error).exit == Some(Exit::Locked) => Err(error),
        Err(error) => Err(first.context(format!("a second try was not possible: {error:#}"))),
        Ok(()) => work(),
    }
}

/// Ends what the first try, and the change before it, may have left at work in the server: its clients
/// are gone, or nobody listens to them any more.
fn end_own(ctx: &Ctx<'_>, given: &Given<'_>) -> Result<()> {
    let pg = ctx.pg("rollback")?;
    let mut admin = pg.session("postgres", &ctx.app("again"))?;
    for id in [ctx.id, &given.target.id] {
        pg.end_backends(&mut admin, &format!("{}:", app_prefix(id)))?;
        pg.end_backends(&mut admin, &admin_app(id))?;
    }
    Ok(())
}

/// What the first try found of the clone: after the swap nobody finds it again.
pub(super) fn carry_over(before: Rollback, record: &mut Rollback) {
    if before.database.sums_equal == Some(false) {
        record.database.sums_equal = Some(false);
        record.problems.extend(before.problems.into_iter().take(1));
    }
}
