//! Images and source: deciding what a release goes back to, and going back.
//! Data services are never named here.

use super::Ctx;
use crate::config::envfile;
use crate::error::{Context, Fault, Lane, Result};
use crate::evidence::records::{ServiceBack, SourceBack};
use crate::exec::Invocation;
use crate::fsx;
use crate::lkg::{Store, Target};
use crate::stand::Stand;
use crate::stand::containers::Container;
use crate::stand::model::Model;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where previous source trees are laid out: beside the checkout, because inside it they would be
/// dirt, lie in the build context and be watched by a reloading server.
pub fn trees_root(config: &crate::config::Config) -> PathBuf {
    if !config.rollback.trees.is_empty() {
        return config.repo.join(&config.rollback.trees);
    }
    let name = config.repo.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let parent = config.repo.parent().unwrap_or(&config.repo);
    parent.join(format!(".{name}-ff-xtask")).join("trees")
}

/// Tags the images of the target, so that nothing cleans them away. Images that are not here stay
/// `present: false`.
pub fn keep_images(ctx: &Ctx<'_>, step: &str, target: &mut Target) -> Result<()> {
    let stand = ctx.stand(step)?;
    for image in &mut target.images {
        image.present = stand.image_id(&image.id)?.as_deref() == Some(image.id.as_str());
        if image.present {
            stand.tag(&image.id, &image.tag)?;
        }
    }
    Ok(())
}

/// Lays out the target's source, with the env files of then and the files that services write.
pub fn lay_out(ctx: &Ctx<'_>, step: &str, target: &Target) -> Result<()> {
    let Some(tree) = &target.tree else { return Ok(()) };
    let stand = ctx.stand(step)?;
    let root = trees_root(ctx.config);
    if ctx.config.rollback.trees.is_empty() {
        // Env files lie in the trees with the modes that services need: nobody else gets there.
        root.parent().map_or(Ok(()), fsx::owner_only)?;
    }
    fsx::private_dir(&root)?;
    if tree.join(".git").exists() && runs_from(&stand, tree)? {
        // Nothing is taken away below a running service, or changed there: the way back lays it out anew
        // where it must, once they are stopped.
        return Ok(());
    }
    stand.lay_out(&target.commit, tree)?;
    let store = Store::of(&ctx.config.repo);
    let kept = target.previous.as_ref().map(|p| store.env_dir(&p.rid)).filter(|d| d.exists());
    let from = kept.unwrap_or_else(|| ctx.config.repo.clone());
    for name in envfile::names(&from) {
        copy_file(&from.join(&name), &tree.join(&name))?;
        // Kept copies are owner-only; a service that runs as another user reads what it read before.
        if let Ok(meta) = std::fs::metadata(ctx.config.repo.join(&name)) {
            let copy = tree.join(&name);
            std::fs::set_permissions(&copy, meta.permissions())
                .with_context(|| format!("set the mode of {}", copy.display()))?;
        }
    }
    share(&ctx.config.repo, tree, &ctx.config.rollback.shared_paths)
}

/// Does a running container mount the tree, or something in it?
fn runs_from(stand: &Stand, tree: &Path) -> Result<bool> {
    let running = stand.containers()?.into_iter().filter(Container::running);
    Ok(running.flat_map(|c| c.binds).any(|bind| Path::new(&bind.source).starts_with(tree)))
}

fn copy_file(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        std::fs::remove_file(to).with_context(|| format!("replace {}", to.display()))?;
    }
    // fs_extra keeps the mode: a service that runs as another user must read what it read before.
    fs_extra::file::copy(from, to, &fs_extra::file::CopyOptions::new().overwrite(true))
        .map(drop)
        .with_context(|| format!("copy {} to {}", from.display(), to.display()))
}

/// Copies files that services write under the mounted tree: a single mounted file cannot be
/// renamed onto, so they are copied and not mounted.
fn share(repo: &Path, tree: &Path, patterns: &[String]) -> Result<()> {
    for pattern in patterns {
        let full = format!("{}/{pattern}", glob::Pattern::escape(&repo.display().to_string()));
        for path in glob::glob(&full).with_context(|| format!("the pattern {pattern}"))?.flatten() {
            if path.is_file()
                && let Ok(relative) = path.strip_prefix(repo)
            {
                let to = tree.join(relative);
                if let Some(parent) = to.parent() {
                    std::fs::create_dir_all(parent)
                        .with_context(|| format!("create {}", parent.display()))?;
                }
                copy_file(&path, &to)?;
            }
        }
    }
    Ok(())
}

/// The two files that say how the previous version ran: the model of then, and an override that
/// pins images and mounts. Both 0600.
pub struct Files {
    pub model: PathBuf,
    pin: PathBuf,
    /// An empty file in place of the checkout's `.env`, where compose cannot read the checkout's files:
    /// it reads `.env` before all else, and both of these are resolved and need none of it.
    env_file: Option<PathBuf>,
}

impl Files {
    fn compose(&self, stand: &Stand, args: &[&str]) -> Invocation {
        stand.compose_of(&[&self.model, &self.pin], self.env_file.as_deref(), args.iter().copied())
    }
}

/// Writes them, and lets compose say whether they are valid.
pub fn write_override(ctx: &Ctx<'_>, step: &str, target: &Target) -> Result<(Files, bool)> {
    let store = Store::of(&ctx.config.repo);
    let dir = store.of_release(&target.rid)?;
    let model = store.model(&target.rid);
    if !model.exists() {
        let own = target.previous.as_ref().map(|p| store.own_model(&p.rid)).filter(|p| p.exists());
        let raw: Value = match own {
            Some(own) => fsx::read_json(&own)?,
            None => ctx.facts.model.raw.clone(),
        };
        fsx::write_json(&model, &raw)?;
    }
    let pin = dir.join("override.json");
    fsx::write_json(&pin, &pins(target))?;
    let env_file = ctx.facts.unread.as_ref().map(|_| dir.join("empty.env"));
    if let Some(file) = &env_file {
        fsx::write_atomic(file, b"")?;
    }
    let files = Files { model, pin, env_file };
    let stand = ctx.stand(step)?;
    let valid = stand.exec.run(&files.compose(&stand, &["config", "-q"]).quiet())?.ok();
    Ok((files, valid))
}

/// One entry for each application service, none for data services.
fn pins(target: &Target) -> Value {
    let mut services = serde_json::Map::new();
    for image in &target.images {
        let mut entry = json!({ "image": image.id, "pull_policy": "never" });
        let mount = target.mounts.iter().find(|(s, _)| *s == image.service);
        if let (Some(tree), Some((_, at))) = (&target.tree, mount) {
            entry["volumes"] = json!([{ "type": "bind", "source": tree, "target": at }]);
        }
        services.insert(image.service.clone(), entry);
    }
    json!({ "services": services })
}

/// Points compose's own image names back at the previous images, so that a plain `up -d` does not
/// take the failed ones.
pub fn names_back(ctx: &Ctx<'_>, step: &str, target: &Target) -> Result<()> {
    let stand = ctx.stand(step)?;
    for image in target.images.iter().filter(|i| ctx.facts.built.contains(&i.service)) {
        let name = ctx.facts.model.image_name(&stand.project, &image.service);
        if stand.image_id(&name)?.as_deref() != Some(image.id.as_str()) {
            stand.tag(&image.id, &name)?;
        }
    }
    Ok(())
}

/// Starts the previous version: previous images, previous source, the model of then.
pub fn redeploy(ctx: &Ctx<'_>, step: &str, target: &Target, files: &Files) -> Result<()> {
    if target.running.is_empty() {
        return Ok(());
    }
    let stand = ctx.stand(step)?;
    let limit = Duration::from_secs(ctx.config.deploy.timeout_s);
    let half_made = stand.half_made(&target.app_services(&ctx.facts.app_services))?;
    if !half_made.is_empty() {
        ctx.act(step, "remove half-made containers", json!({ "containers": half_made }), || {
            let call = stand.docker(["rm", "-f"]).args(half_made.clone());
            stand.exec.run(&call)?.success("remove half-made containers", Lane::A)?;
            Ok(((), json!({})))
        })?;
    }
    ctx.act(step, "redeploy previous version", json!({ "commit": target.commit }), || {
        let model: Model = Model { raw: fsx::read_json(&files.model)? };
        let services: Vec<String> = target.running.iter().filter(|s| model.has(s)).cloned().collect();
        let call = files.compose(&stand, &["up", "-d", "--no-build", "--no-deps"]);
        let call = call.args(services.clone()).timeout(limit);
        stand.exec.run(&call)?.success("start the previous version", Lane::A)?;
        Ok(((), json!({ "services": services })))
    })
}

/// Removes the containers of services that the new version has no more, once it has passed: stopped
/// ones would come back with the engine. The model of then makes them again.
pub fn remove_gone(ctx: &Ctx<'_>, step: &str, target: &Target) -> Result<Vec<String>> {
    remove(ctx, step, |s| target.running.iter().any(|r| r == s) && !ctx.facts.model.has(s))
}

/// Removes the containers of services that only the failed version has, for the same reason. Their logs
/// are in the evidence.
pub fn remove_failed_only(ctx: &Ctx<'_>, step: &str, target: &Target, model: &Path) -> Result<Vec<String>> {
    let before = Model { raw: fsx::read_json(model)? };
    let either = target.app_services(&ctx.facts.app_services);
    // Without a release before, the model is the failed version's own.
    let unknown = |s: &str| target.previous.is_some() && !before.has(s);
    remove(ctx, step, |s| {
        either.iter().any(|e| e == s)
            && !target.running.iter().any(|r| r == s)
            && (unknown(s) || !target.was_there(s))
    })
}

fn remove(ctx: &Ctx<'_>, step: &str, which: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    let stand = ctx.stand(step)?;
    let found: Vec<Container> = stand.containers()?.into_iter().filter(|c| which(&c.service)).collect();
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let services: Vec<String> = found.iter().map(|c| c.service.clone()).collect();
    ctx.act(step, "remove containers", json!({ "services": services }), || {
        let call = stand.docker(["rm", "-f"]).args(found.iter().map(|c| c.id.clone()));
        stand.exec.run(&call)?.success("remove containers that nothing needs", Lane::A)?;
        Ok(((), json!({})))
    })?;
    Ok(services)
}

/// Starts the containers that ran, as they are.
pub fn start_again(ctx: &Ctx<'_>, step: &str, target: &Target) -> Result<()> {
    let stand = ctx.stand(step)?;
    let containers = stand.containers()?.into_iter().filter(|c| target.running.contains(&c.service));
    let ids: Vec<String> = containers.map(|c| c.id).collect();
    ctx.act(step, "start the same containers", json!({ "containers": ids }), || {
        if !ids.is_empty() {
            let call = stand.docker(["start"]).args(ids.clone()).timeout(Duration::from_secs(120));
            stand.exec.run(&call)?.success("start the containers again", Lane::A)?;
        }
        Ok(((), json!({})))
    })
}

/// Do services run from the checkout, and is it no longer what the last known good release deployed?
pub fn checkout_moved_on(ctx: &Ctx<'_>, step: &str, target: &Target) -> Result<bool> {
    if target.kind != "release" || target.tree.is_none() {
        return Ok(false);
    }
    let stand = ctx.stand(step)?;
    let from_checkout = stand.containers()?.iter().any(|c| {
        let at = target.mounts.iter().find(|(service, _)| *service == c.service);
        at.and_then(|(_, at)| c.source_at(at)).is_some_and(|source| Path::new(source) == stand.repo)
    });
    if !from_checkout {
        return Ok(false);
    }
    // Edits cannot be the same ones with certainty: the source laid out is.
    let dirt = stand.dirt()?;
    Ok(dirt.edited() || !stand.same_tree("HEAD", &target.commit)?)
}

/// What runs now, beside what should: images and mounted source.
pub fn compare(ctx: &Ctx<'_>, step: &str, target: &Target) -> Result<(Vec<ServiceBack>, Vec<String>)> {
    let stand = ctx.stand(step)?;
    let now = stand.containers()?;
    let mut services = Vec::new();
    let mut problems = Vec::new();
    for service in &target.running {
        let Some(image) = target.images.iter().find(|i| &i.service == service) else {
            problems.push(format!("no previous image of {service} is known"));
            continue;
        };
        let Some(container) = now.iter().find(|c| &c.service == service) else {
            problems.push(format!("{service} has no container"));
            continue;
        };
        let mount = target.mounts.iter().find(|(s, _)| s == service).map(|(_, at)| at.as_str());
        let source = mount.and_then(|at| container.source_at(at)).unwrap_or_default().to_string();
        if container.image != image.id {
            problems.push(format!("{service} runs image {} and not {}", container.image, image.id));
        }
        if let (Some(tree), Some(_)) = (&target.tree, mount)
            && Path::new(&source) != tree
        {
            problems.push(format!("{service} runs the source in {source}"));
        }
        services.push(ServiceBack {
            service: service.clone(),
            expected_image: image.id.clone(),
            image: container.image.clone(),
            source,
        });
    }
    Ok((services, problems))
}

/// The source of the target for the records.
pub fn source_back(target: &Target) -> SourceBack {
    SourceBack {
        commit: target.commit.clone(),
        tree: target.tree.as_ref().map(|t| t.display().to_string()).unwrap_or_default(),
        kind: target.kind.clone(),
    }
}

/// Trees that no container runs from and that nothing goes back to any more.
pub fn remove_unused_trees(ctx: &Ctx<'_>, step: &str, keep: &[PathBuf]) -> Result<Vec<String>> {
    let root = trees_root(ctx.config);
    if !root.exists() {
        return Ok(Vec::new());
    }
    let stand = ctx.stand(step)?;
    let used: Vec<String> =
        stand.containers()?.iter().flat_map(|c| c.binds.clone()).map(|b| b.source).collect();
    let mut removed = Vec::new();
    for entry in std::fs::read_dir(&root).with_context(|| format!("list {}", root.display()))?.flatten() {
        let path = entry.path();
        let busy = used.iter().any(|u| Path::new(u).starts_with(&path)) || keep.contains(&path);
        if !busy {
            stand.take_away(&path)?;
            removed.push(path.display().to_string());
        }
    }
    // Only when empty: what is not ours is not removed.
    let _ = std::fs::remove_dir(&root);
    let _ = root.parent().map(std::fs::remove_dir);
    Ok(removed)
}

/// The fault for a target that cannot be gone back to.
pub fn nothing_to_go_back_to(why: &str) -> Fault {
    Fault::refused("there is nothing to go back to")
        .why(why)
        .remedy("`cargo xtask status` names what there is; `cargo xtask rollback --backup DIR` takes a backup directory")
}
