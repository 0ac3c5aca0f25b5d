//! Where a release goes back to, decided before the change: services, images,
//! source and mounts as the previous version has them, whatever the new one
//! makes of its compose file.

use super::Ctx;
use super::code::trees_root;
use crate::error::Result;
use crate::evidence::records::ImageBack;
use crate::fsx;
use crate::lkg::{LastKnownGood, Store, Target};
use crate::stand::git::Dirt;
use crate::stand::images::kept_tag;
use crate::stand::model::Model;
use std::path::{Path, PathBuf};

/// The compose model that a release was deployed with, where it is kept.
pub fn model_of(repo: &Path, release: Option<&LastKnownGood>) -> Result<Option<Model>> {
    let path = release.map(|r| Store::of(repo).own_model(&r.rid)).filter(|p| p.exists());
    path.map(|path| Ok(Model { raw: fsx::read_json(&path)? })).transpose()
}

/// Decides where this release goes back to. Changes nothing but objects of git.
pub fn decide(
    ctx: &Ctx<'_>,
    last: Option<&LastKnownGood>,
    head: &str,
    dirt: &Dirt,
    clone: &str,
) -> Result<Target> {
    let stand = ctx.stand("ready")?;
    let facts = ctx.facts;
    let before = model_of(&ctx.config.repo, last)?;
    // Also services that the new compose file has no more; without those that only it has.
    let mut services = facts.app_services.clone();
    services.extend(gone(last, &facts.model, &facts.app_services));
    services.retain(|s| before.as_ref().is_none_or(|m| m.has(s)));
    let running: Vec<String> = services
        .iter()
        .filter(|s| facts.container(s).is_some_and(|c| c.running() || c.state == "restarting"))
        .cloned()
        .collect();
    let commit = match last {
        Some(last) => last.commit.clone(),
        None => match previous_source(ctx) {
            // What runs is not the checkout: a rollback to what the first release found was here before.
            Some(tree) => stand.commit_in(&tree)?,
            None => stand.commit_as_deployed(dirt, head, "tree as found before the first release")?,
        },
    };
    let mut images = Vec::new();
    for service in &services {
        let known = last.and_then(|l| l.images.iter().find(|(s, _)| s == service)).map(|(_, id)| id.clone());
        let found = facts.container(service).map(|c| c.image.clone());
        if let Some(id) = known.or(found) {
            let tag = kept_tag(&stand.project, service, ctx.id);
            images.push(ImageBack { service: service.clone(), id, tag, present: false });
        }
    }
    let mounts: Vec<(String, String)> = match &before {
        Some(model) => services
            .iter()
            .filter_map(|s| Some((s.clone(), model.checkout_target(s, &ctx.config.repo)?)))
            .collect(),
        None => facts.mounts.iter().map(|(s, t)| (s.clone(), t.clone())).collect(),
    };
    let mut target = Target {
        rid: ctx.run.rid.clone(),
        id: ctx.id.into(),
        database: facts.database.clone(),
        clone: clone.into(),
        kind: String::new(),
        commit,
        tree: None,
        mounts,
        images,
        running,
        replaces: facts.app_services.clone(),
        binds: facts.containers.iter().map(|c| (c.service.clone(), c.binds.clone())).collect(),
        previous: last.cloned(),
    };
    settle(ctx, &mut target);
    Ok(target)
}

/// What follows from which services are started on the way back: what kind of way it is, and whether it
/// needs the previous source.
pub fn settle(ctx: &Ctx<'_>, target: &mut Target) {
    target.kind = match (&target.previous, target.running.is_empty()) {
        (_, true) => "stopped",
        (Some(_), false) => "release",
        (None, false) => "as found",
    }
    .into();
    let commit = &target.commit[..target.commit.len().min(12)];
    let needed = !target.mounts.is_empty() && !target.running.is_empty();
    target.tree = needed.then(|| trees_root(ctx.config).join(commit));
}

/// The source beside the checkout that a container runs from, if one does.
fn previous_source(ctx: &Ctx<'_>) -> Option<PathBuf> {
    let root = trees_root(ctx.config);
    let binds = ctx.facts.containers.iter().filter(|c| c.running()).flat_map(|c| &c.binds);
    binds.map(|b| PathBuf::from(&b.source)).find(|source| source.starts_with(&root))
}

/// Application services of a release that a compose model has no more.
pub fn gone(last: Option<&LastKnownGood>, model: &Model, app_services: &[String]) -> Vec<String> {
    let deployed = last.map(|l| l.images.as_slice()).unwrap_or_default().iter().map(|(s, _)| s);
    deployed.filter(|s| !model.has(s) && !app_services.contains(s)).cloned().collect()
}
