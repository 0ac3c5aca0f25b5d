//! The data services run and the database answers: a server that restarts is
//! waited for, a container that was stopped is started. Never recreated.

use super::Ctx;
use crate::error::{Fault, Lane, Result};
use serde_json::json;
use std::time::{Duration, Instant};

/// Before something is undone: until every data service runs and the database answers, also while the
/// engine itself comes back.
pub fn data_services(ctx: &Ctx<'_>, step: &str) -> Result<()> {
    let stand = ctx.stand(step)?;
    let limit = Duration::from_secs(ctx.config.deploy.timeout_s);
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(50);
    loop {
        let late = Instant::now() > deadline;
        let error = match stand.containers() {
            Ok(all) => {
                let of_data = all.iter().filter(|c| ctx.facts.data_services.contains(&c.service));
                let down: Vec<_> = of_data.filter(|c| !c.running()).collect();
                if down.is_empty() {
                    break;
                }
                let stopped = down.iter().filter(|c| matches!(c.state.as_str(), "exited" | "created"));
                let stopped: Vec<String> = stopped.map(|c| c.service.clone()).collect();
                if !late && !stopped.is_empty() {
                    ctx.events.warn(step, format!("{} does not run: it is started", stopped.join(", ")));
                    start(ctx, step, &stopped).err()
                } else {
                    let words = down.iter().map(|c| format!("{} is {}", c.service, c.state));
                    let why = words.collect::<Vec<_>>().join(", ");
                    Some(Fault::new("a data service does not run").why(why).lane(Lane::A).into())
                }
            }
            Err(error) => Some(error),
        };
        if let (Some(error), true) = (error, late) {
            return Err(error);
        }
        ctx.waiting(step, "the data services to run", limit);
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_secs(1));
    }
    ctx.pg(step)?.wait_ready(limit)
}

/// Starts data services: the same containers where there are some, else as compose makes them.
pub fn start(ctx: &Ctx<'_>, step: &str, services: &[String]) -> Result<()> {
    let stand = ctx.stand(step)?;
    let limit = Duration::from_secs(ctx.config.deploy.timeout_s);
    ctx.waiting(step, format!("{} to start", services.join(", ")), limit);
    ctx.act(step, "start data services", json!({ "services": services }), || {
        // Compose would make a container anew whose definition has changed since.
        let mut there = stand.containers()?;
        there.retain(|c| services.contains(&c.service));
        let ids: Vec<String> = there.iter().filter(|c| !c.running()).map(|c| c.id.clone()).collect();
        if !ids.is_empty() {
            let call = stand.docker(["start"]).args(ids).timeout(limit);
            stand.exec.run(&call)?.success("start the data services", Lane::A)?;
        }
        let gone = services.iter().filter(|s| !there.iter().any(|c| &c.service == *s));
        let gone: Vec<String> = gone.cloned().collect();
        if !gone.is_empty() {
            stand.exec.run(&stand.up(&gone, limit))?.success("start the data services", Lane::A)?;
        }
        Ok(((), json!({})))
    })
}
