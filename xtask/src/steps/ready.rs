//! R0: is there a way back, before anything is changed? The backup was
//! restored and compared equal, the previous images and source are here, the
//! override is valid, and nothing blocks the swap.

use crate::acts::{Ctx, blockers, code, properties, target};
use crate::error::{Fault, Lane, Result, fault_of};
use crate::evidence::records::{Blocker, Proof, Readiness};
use crate::fsx;
use crate::lkg::{LastKnownGood, Store, Target};
use crate::stand::git::Dirt;
use crate::stand::postgres;
use serde_json::json;

const NO_WAY_BACK: &str = "a rollback would not be possible: the release does not begin";
const NO_CLONE: &str = "the database could not be cloned after the stop: the release does not begin";

/// What the way back is made of.
pub struct Given<'a> {
    pub last: Option<&'a LastKnownGood>,
    pub head: &'a str,
    pub dirt: &'a Dirt,
    /// Why there need not be a way back, where that was said.
    pub waived: Option<&'a str>,
}

/// Prepares the way back and judges it. Without a waiver, a missing piece fails the release; with one, what
/// would stop it half-way.
pub fn run(ctx: &Ctx<'_>, given: &Given<'_>) -> Result<Target> {
    let pg = ctx.pg("ready")?;
    let mut admin = pg.session("postgres", &ctx.app("ready"))?;
    let clone = postgres::side_name(&pg.database, "pre", ctx.id);
    let mut target = target::decide(ctx, given.last, given.head, given.dirt, &clone)?;
    target.database.clone_from(&pg.database);
    let about = json!({ "kind": target.kind, "commit": target.commit, "images": target.images.len() });
    let valid = ctx.act("ready", "prepare the way back", about, || {
        code::keep_images(ctx, "ready", &mut target)?;
        code::lay_out(ctx, "ready", &target)?;
        let (_, valid) = code::write_override(ctx, "ready", &target)?;
        Store::of(&ctx.config.repo).set_target(&target)?;
        Ok((valid, json!({ "override_valid": valid })))
    })?;
    if let Err(error) = keep_properties(ctx) {
        ctx.events.warn("ready", format!("a rollback would miss the database's own settings: {error:#}"));
    }
    let mut ready = Readiness {
        waived: given.waived.map(String::from),
        blockers: blockers::find(&pg, ctx.config, !ctx.facts.mounts.is_empty(), &mut admin)?,
        images: target.images.clone(),
        source: code::source_back(&target),
        override_valid: valid,
        proof_equal: ctx.run.read::<Proof>("proof.json").is_some_and(|p| p.equal),
        missing: Vec::new(),
        ok: false,
    };
    ready.blockers.extend(queues(ctx)?);
    ready.missing = missing(&ready, &target);
    ready.ok = ready.missing.is_empty();
    ctx.run.write_json("readiness.json", &ready)?;
    let log = ctx.run.log("ready")?;
    for text in &ready.missing {
        log.say(&format!("no way back: {text}"));
    }
    match refusal(&ready) {
        Some(fault) => Err(fault.into()),
        None => Ok(target),
    }
}

/// Asked before a backup alone: may the database's user make one and prove it?
///
/// # Errors
/// When it may not, or cannot be asked.
pub fn may_back_up(ctx: &Ctx<'_>) -> Result<()> {
    let pg = ctx.pg("backup")?;
    let mut admin = pg.session("postgres", &ctx.app("may"))?;
    let Some(blocker) = blockers::for_a_backup(&mut admin, &pg.database)? else { return Ok(()) };
    Err(Fault::new("a backup could not be made and proved: it is not begun")
        .why(format!("{} (user {})", blocker.found, pg.user))
        .remedy(blocker.remedy)
        .lane(Lane::A)
        .into())
}

/// Why the release does not begin, where it does not.
fn refusal(ready: &Readiness) -> Option<Fault> {
    let waived = ready.waived.is_some();
    let counts = |b: &&Blocker| !waived || blockers::stops_the_clone(b);
    let blockers: Vec<&Blocker> = ready.blockers.iter().filter(counts).collect();
    let (what, why) = match waived {
        false => (NO_WAY_BACK, ready.missing.clone()),
        true => (NO_CLONE, blockers.iter().map(|b| b.found.clone()).collect()),
    };
    if why.is_empty() {
        return None;
    }
    let remedies: Vec<&str> = blockers.iter().map(|b| b.remedy.as_str()).collect();
    let remedy = if remedies.is_empty() { "see readiness.json".to_string() } else { remedies.join("; ") };
    let lane = if waived || ready.proof_equal { Lane::A } else { Lane::C };
    Some(Fault::new(what).why(why.join("; ")).remedy(remedy).lane(lane))
}

/// The queues are set aside once the services are stopped: whether Redis lets that be is asked before.
fn queues(ctx: &Ctx<'_>) -> Result<Option<Blocker>> {
    let Some(broker) = ctx.facts.broker(ctx.config) else { return Ok(None) };
    let refused = ctx.stand("ready")?.redis_answers(&broker).err();
    Ok(refused.map(|error| Blocker {
        id: "queues".into(),
        found: format!("the queues cannot be set aside: {}", fault_of(&error)),
        remedy: "let redis-cli in its container answer with the password that the container was started with"
            .into(),
    }))
}

/// Where no archive was restored, the properties of the database did not come out of one. A rollback
/// replays them also when nothing but a person asks for it.
fn keep_properties(ctx: &Ctx<'_>) -> Result<()> {
    let file = Store::of(&ctx.config.repo).of_release(&ctx.run.rid)?.join("properties.json");
    if file.exists() {
        return Ok(());
    }
    fsx::write_json(&file, &properties::now(ctx, "ready")?)
}

/// Asked before the backup: may the database's user do what a backup, its proof, the clone and a swap need?
///
/// # Errors
/// When it may not, or cannot be asked.
pub fn may(ctx: &Ctx<'_>, rollback_enabled: bool) -> Result<()> {
    let pg = ctx.pg("precheck")?;
    let mut admin = pg.session("postgres", &ctx.app("may"))?;
    let Some(blocker) = blockers::for_a_release(&mut admin, &pg.database)? else { return Ok(()) };
    let missing = vec![blocker.found.clone()];
    let fault = Fault::new(if rollback_enabled { NO_WAY_BACK } else { NO_CLONE })
        .why(format!("{} (user {})", blocker.found, pg.user))
        .remedy(blocker.remedy.clone())
        .lane(Lane::A);
    ctx.run.write_json(
        "readiness.json",
        &Readiness { missing, blockers: vec![blocker], ..Readiness::default() },
    )?;
    Err(fault.into())
}

fn missing(ready: &Readiness, target: &Target) -> Vec<String> {
    let mut missing = Vec::new();
    if !ready.proof_equal {
        missing.push("the backup was not proved equal to its source".to_string());
    }
    for image in ready.images.iter().filter(|i| !i.present && target.running.contains(&i.service)) {
        missing.push(format!("the previous image of {} is not here: {}", image.service, image.id));
    }
    for service in &target.running {
        if !ready.images.iter().any(|i| &i.service == service) {
            missing.push(format!("no previous image of {service} is known"));
        }
    }
    if target.tree.as_ref().is_some_and(|t| !t.join(".git").exists()) {
        missing.push(format!("the previous source {} is not laid out", target.commit));
    }
    if !ready.override_valid {
        missing.push("compose does not take the rollback override".into());
    }
    missing.extend(ready.blockers.iter().map(|b| b.found.clone()));
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiver_waives_the_way_back_and_not_what_stops_the_clone() {
        let of = |waived: bool, ids: &[&str]| {
            let blocker = |id: &&str| Blocker {
                id: (*id).into(),
                found: format!("found {id}"),
                remedy: format!("mend {id}"),
            };
            let blockers: Vec<Blocker> = ids.iter().map(blocker).collect();
            let mut missing: Vec<String> = blockers.iter().map(|b| b.found.clone()).collect();
            missing.push("the backup was not proved equal to its source".into());
            let waived = waived.then(|| "rollback is switched off".to_string());
            refusal(&Readiness { waived, blockers, missing, ..Readiness::default() })
        };
        assert!(of(true, &[]).is_none());
        assert!(of(true, &["slots", "subscriptions", "cron", "backup-disk", "remote", "queues"]).is_none());
        for id in ["prepared", "privileges", "version", "disk"] {
            let fault = of(true, &["slots", id]).unwrap();
            assert_eq!(fault.to_string(), format!("{NO_CLONE}: found {id}"));
            assert_eq!(fault.remedy, Some(format!("mend {id}")));
        }
        let fault = of(false, &["slots"]).unwrap();
        assert!(fault.to_string().starts_with(&format!("{NO_WAY_BACK}: found slots; the backup")), "{fault}");
    }
}
