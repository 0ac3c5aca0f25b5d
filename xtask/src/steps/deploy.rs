//! D1: the new version up, and what it looked like: on success and on failure.

use crate::acts::{Ctx, up};
use crate::error::{Lane, Result};
use crate::evidence::records::{Deploy, ServiceUp};
use crate::stand::Stand;
use crate::stand::containers::Container;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// `up -d` of the application services, nothing else.
pub fn start(ctx: &Ctx<'_>) -> Result<()> {
    let stand = ctx.stand("deploy")?;
    let limit = Duration::from_secs(ctx.config.deploy.timeout_s);
    let services = &ctx.facts.app_services;
    ctx.waiting("deploy", format!("docker compose up -d {}", services.join(" ")), limit);
    ctx.act("deploy", "up", json!({ "services": services }), || {
        stand.exec.run(&stand.up(services, limit))?.success("start the new version", Lane::A)?;
        Ok(((), json!({})))
    })
}

/// Proves that it is up, over the soak window.
pub fn prove(ctx: &Ctx<'_>, cancel: &Arc<AtomicBool>) -> Result<Deploy> {
    let mut services = ctx.facts.app_services.clone();
    services.extend(ctx.facts.data_services.iter().cloned());
    let mut deploy = up::prove(ctx, "deploy", &services, cancel)?;
    if deploy.up {
        deploy.problems = crate::evidence::other_images(&ctx.run.path, &deploy);
        deploy.problems.extend(never_replaced(ctx, &deploy));
        deploy.up = deploy.problems.is_empty();
    }
    let others = ctx.stand("deploy")?.containers()?;
    deploy.warnings = others
        .iter()
        .filter(|c| !services.contains(&c.service) && !c.running())
        .map(|c| format!("{} is {}", c.service, c.state))
        .collect();
    let log = ctx.run.log("deploy")?;
    for text in &deploy.problems {
        log.say(&format!("not up: {text}"));
    }
    ctx.run.write_json("deploy.json", &deploy)?;
    Ok(deploy)
}

/// Services that run as they did before they were stopped: what stopped or started them has lied.
fn never_replaced(ctx: &Ctx<'_>, deploy: &Deploy) -> Vec<String> {
    let as_before = |s: &&ServiceUp| {
        let mut before = ctx.facts.containers.iter().filter(|c| c.running());
        ctx.facts.app_services.contains(&s.service)
            && before.any(|c| (&c.id, &c.started) == (&s.container, &s.started))
    };
    let same = deploy.services.iter().filter(as_before);
    same.map(|s| format!("{} was never started anew: it runs since {}", s.service, s.started)).collect()
}

/// The end of what a container has printed, masked.
fn logs_of(ctx: &Ctx<'_>, stand: &Stand, container: &Container) -> Result<String> {
    let exec = ctx.stand.exec.shielded();
    let finished = exec.run(&stand.logs(&container.id, 300))?;
    // docker logs keeps the two streams apart; the file has both, by their time stamps.
    // Each is masked before: what goes over several lines must not be torn apart.
    let out = exec.redactor().tail(&finished.text());
    let mut lines: Vec<&str> = out.lines().chain(finished.stderr.lines()).collect();
    lines.sort_by_key(|l| l.get(..30).unwrap_or_default().to_string());
    Ok(lines.join("\n") + "\n")
}

/// compose_ps.json and the services' own logs, masked, with row values cut. What cannot be had is
/// said in its place, and what cannot be written is lost evidence: neither may hide the failure that is
/// being looked at.
pub fn portrait(ctx: &Ctx<'_>, step: &str) -> Result<Vec<Container>> {
    let stand = ctx.stand(step)?;
    let containers = stand.containers()?;
    ctx.run.write_json("compose_ps.json", &containers)?;
    std::thread::scope(|scope| {
        for container in &containers {
            let stand = &stand;
            scope.spawn(move || {
                let name = format!("logs_{}.log", container.service);
                let text = logs_of(ctx, stand, container).unwrap_or_else(|error| {
                    ctx.events.warn(step, format!("{name} has no logs: {error:#}"));
                    format!("no logs: {error:#}\n")
                });
                if let Err(error) = ctx.run.write_text(&name, &text) {
                    ctx.run.lose(format!("{name}: {error:#}"));
                }
            });
        }
    });
    Ok(containers)
}
