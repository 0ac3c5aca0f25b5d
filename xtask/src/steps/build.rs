//! B2: the images of the new version.

use crate::acts::Ctx;
use crate::clock;
use crate::error::{Fault, Lane, Result};
use crate::evidence::records::{Build, ImageChange};
use crate::exec::Ended;
use serde_json::json;
use std::time::{Duration, Instant};

/// Builds the application services that have a `build:`, and records image ids before and after.
pub fn run(ctx: &Ctx<'_>, skip: Option<&str>) -> Result<Build> {
    let stand = ctx.stand("build")?;
    let start = Instant::now();
    let name = |service: &String| ctx.facts.model.image_name(&stand.project, service);
    // Also when the build was given up: what it had made by then must be known.
    let asking = stand.with(&stand.exec.shielded());
    let ids = || -> Result<Vec<Option<String>>> {
        let tags = asking.image_tags()?;
        let with_tag = |n: &str| if n.contains(':') { n.to_string() } else { format!("{n}:latest") };
        Ok(ctx.facts.app_services.iter().map(|s| tags.get(&with_tag(&name(s))).cloned()).collect())
    };
    let before = ids()?;
    let mut build = Build::default();
    let limit = Duration::from_secs(ctx.config.deploy.build_timeout_s);
    let mut failure = None;
    if let Some(reason) = skip {
        ctx.run.log("build")?.say(&format!("skipped: {reason}"));
        build.skipped = Some(reason.into());
        build.ok = true;
    } else if ctx.facts.built.is_empty() {
        build.skipped = Some("no application service has a `build:`".into());
        ctx.run.log("build")?.say("nothing to build");
        build.ok = true;
    } else {
        ctx.waiting("build", format!("docker compose build {}", ctx.facts.built.join(" ")), limit);
        let result = ctx.act("build", "build images", json!({ "services": ctx.facts.built }), || {
            let finished = stand.exec.run(&stand.build(&ctx.facts.built, limit))?;
            if !finished.ok() {
                let said: Vec<&str> = finished.stderr.lines().rev().take(12).collect();
                // The line that says ERROR is the cause; what follows it is the Dockerfile again.
                let cause =
                    said.iter().rev().find(|l| l.contains("ERROR") || l.contains("failed to")).copied();
                let what = match finished.ended {
                    Ended::Exit(_) => "an image does not build",
                    _ => "the build did not come to its end",
                };
                let fault = finished.fault(what, Lane::A);
                return Err(match cause {
                    Some(cause) => fault.why(format!("{}: {}", finished.ended, cause.trim())).into(),
                    None => anyhow::Error::from(fault),
                });
            }
            Ok(((), json!({})))
        });
        build.ok = result.is_ok();
        if let Err(error) = result {
            build.reason = Some(crate::error::fault_of(&error).to_string());
            failure = Some(error);
        }
    }
    let after = ids()?;
    build.images = ctx
        .facts
        .app_services
        .iter()
        .zip(before.into_iter().zip(after))
        .map(|(service, (before, after))| ImageChange { service: service.clone(), before, after })
        .collect();
    build.ms = clock::ms_since(start);
    let missing = build.images.iter().find(|i| build.ok && build.skipped.is_none() && i.after.is_none());
    if let Some(missing) = missing {
        let what = format!("the build ended well and there is no image of {}", missing.service);
        failure = Some(Fault::new(what).lane(Lane::A).into());
    }
    ctx.run.write_json("images.json", &build)?;
    match failure {
        Some(error) => Err(error),
        None => Ok(build),
    }
}
