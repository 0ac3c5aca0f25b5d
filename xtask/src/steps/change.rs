//! The change begins: stop, fence, clone, unfence. From the stop on the stand
//! counts as changed; from the unfence on the way back is the swap.

use crate::acts::{Ctx, cluster, elsewhere, fence, freeze, watch};
use crate::error::{Fault, Lane, Result};
use crate::event::Far;
use crate::evidence::records::{Fence, Readiness};
use crate::evidence::{STOP, UNFENCE};
use crate::lkg::Target;
use crate::stand::postgres;
use crate::stand::psql::Psql;
use crate::stand::worker::{Asked, read_probe};
use serde_json::json;
use std::time::{Duration, Instant};

/// What the worker is doing, asked before it is stopped; an answer is not demanded.
pub fn active_tasks(ctx: &Ctx<'_>) -> Vec<String> {
    let service = &ctx.config.smoke.worker_service;
    let (Some(worker), Some(app)) =
        (ctx.facts.container(service).filter(|c| c.running()), &ctx.facts.worker_app)
    else {
        return Vec::new();
    };
    let Ok(stand) = ctx.stand("change") else { return Vec::new() };
    let limit = Duration::from_secs(3);
    let call = stand.probe(&Asked { container: worker, app, checks: &["active"], tasks: &[], limit });
    match stand.exec.run(&call) {
        Ok(finished) => read_probe(&finished.text()).into_iter().flat_map(|l| l.items).collect(),
        Err(_) => Vec::new(),
    }
}

/// Stops the application services, also those that the new version has no more.
pub fn stop(ctx: &Ctx<'_>, services: &[String]) -> Result<()> {
    let stand = ctx.stand("change")?;
    let grace = ctx.config.stand.stop_grace_s;
    let (running, ids): (Vec<String>, Vec<String>) = stand
        .containers()?
        .into_iter()
        .filter(|c| {
            services.contains(&c.service) && !matches!(c.state.as_str(), "exited" | "created" | "dead")
        })
        .map(|c| (c.service, c.id))
        .unzip();
    // Compose stops only what its file names.
    let call = match running.iter().all(|s| ctx.facts.model.has(s)) {
        true => stand.stop(&running, grace),
        false => stand.stop_containers(&ids, grace),
    };
    ctx.waiting("change", format!("{} to stop", running.join(", ")), Duration::from_secs(grace));
    ctx.act(STOP.0, STOP.1, json!({ "services": running, "grace_s": grace }), || {
        if !running.is_empty() {
            stand.exec.run(&call)?.success("stop the services", Lane::A)?;
        }
        Ok(((), json!({})))
    })
}

/// Where rollback is off nobody puts the queues back: a Redis that refuses leaves no stopped stand then.
fn queues_aside(ctx: &Ctx<'_>) -> Result<freeze::Frozen> {
    freeze::freeze(ctx, "change").or_else(|error| {
        if ctx.run.read::<Readiness>("readiness.json").is_none_or(|r| r.waived.is_none()) {
            return Err(error);
        }
        let note = format!("queues are left as they are: {error:#}");
        ctx.events.warn("change", note.clone());
        Ok(freeze::Frozen { keys: Vec::new(), note })
    })
}

/// Fences the database and clones it under the fence; freezes the queues meanwhile.
/// `admin` is a session on database `postgres`.
pub fn fence_and_clone(
    ctx: &Ctx<'_>,
    admin: &mut Psql,
    target: &Target,
    active: Vec<String>,
    stopped_at_ms: u64,
) -> Result<Fence> {
    let database = &target.database;
    let pg = ctx.pg("change")?;
    std::thread::scope(|scope| {
        let frozen = scope.spawn(|| queues_aside(ctx));
        let start = Instant::now();
        let fenced = ctx.act("change", "fence", json!({ "database": database }), || {
            let fenced = fence::fence(admin, database)?;
            let data =
                json!({ "oid": fenced.oid, "xid": fenced.xid, "sessions_ended": fenced.sessions_ended });
            Ok((fenced, data))
        });
        let fence_ms = crate::clock::ms_since(start);
        let cloned = fenced.and_then(|fenced| {
            ctx.waiting("change", format!("{} to be cloned", database), Duration::from_secs(4 * 3600));
            let what = format!("cloning {database}");
            let tell = |sizes: &[u64]| {
                if let [done, total] = sizes
                    && *done > 0
                {
                    ctx.progress("change", &what, Far::about(*done, *total));
                }
            };
            let start = Instant::now();
            let oid =
                ctx.act("change", "clone", json!({ "database": database, "clone": target.clone }), || {
                    let sizes = watch::sizes_of_new(database);
                    let cloning = || fence::clone(admin, &pg, database, &target.clone);
                    let oid = watch::beside(ctx, "change", &sizes, &tell, cloning)?;
                    elsewhere::begun(ctx, admin, &target.clone)?;
                    Ok((oid, json!({ "oid": oid })))
                })?;
            Ok((fenced, oid, crate::clock::ms_since(start)))
        });
        let frozen = frozen.join().map_err(|_| crate::error::anyhow!("freezing the queues died"))?;
        let (fenced, clone_oid, clone_ms) = cloned?;
        let frozen = frozen?;
        let record = Fence {
            database: database.clone(),
            live_oid: fenced.oid,
            clone: target.clone.clone(),
            clone_oid,
            xid: fenced.xid,
            sessions_ended: fenced.sessions_ended,
            fence_ms,
            clone_ms,
            active_tasks: active,
            frozen_keys: frozen.keys,
            broker: frozen.note,
            stopped_at_ms,
            cluster: cluster::read(admin)?,
            archive: None,
        };
        ctx.run.write_json("fence.json", &record)?;
        Ok(record)
    })
}

/// Opens the database for the migrations and the new version.
pub fn unfence(ctx: &Ctx<'_>, admin: &mut Psql, record: &Fence) -> Result<()> {
    let clone = postgres::the_database(admin, &record.clone)?;
    if clone.oid != record.clone_oid || clone.open {
        return Err(Fault::new("the clone is not what it was a moment ago").lane(Lane::C).into());
    }
    ctx.act(UNFENCE.0, UNFENCE.1, json!({ "database": record.database }), || {
        fence::unfence(admin, &record.database)?;
        Ok(((), json!({})))
    })
}
