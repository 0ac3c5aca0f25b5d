//! What runs beside what the checkout holds: which source, which env values,
//! which services. Told by `status`, `doctor` and the next release. Changes
//! nothing.

use super::Start;
use crate::acts::code::trees_root;
use crate::acts::{env, target};
use crate::error::Result;
use crate::facts::Facts;
use crate::lkg::LastKnownGood;
use crate::stand::git::Dirt;
use crate::stand::pins::lkg_ref;
use std::path::Path;

/// What runs, where it is not what the checkout holds.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// Services that run a previous source, and its directory.
    pub previous: Vec<(String, String)>,
    /// Services run from the checkout, which is no longer what the last known good release deployed.
    pub code_live: bool,
    /// Env files that say something else than that release ran with: file and keys.
    pub env: Vec<String>,
    /// Its services that run, and that the compose files have no more.
    pub gone: Vec<String>,
    /// Services that run, and that it did not have.
    pub strangers: Vec<String>,
    /// Services that run another image than it did: made by hand, by a release that failed and stayed, or
    /// from another checkout.
    pub images: Vec<String>,
    /// What its commit is, where no branch has it as it is.
    pub commit: Vec<String>,
}

/// Compares what runs with the checkout and with the last known good release.
pub fn look(start: &Start<'_>, facts: &Facts, last: Option<&LastKnownGood>, dirt: &Dirt) -> Result<Standing> {
    let trees = trees_root(start.config);
    let running = || facts.containers.iter().filter(|c| c.running());
    let mut previous: Vec<(String, String)> = running()
        .flat_map(|c| c.binds.iter().map(|b| (c.service.clone(), b.source.clone())))
        .filter(|(_, source)| Path::new(source).starts_with(&trees))
        .collect();
    // One line a service, however many mounts it has there.
    previous.dedup_by(|a, b| a.0 == b.0);
    let Some(last) = last else { return Ok(Standing { previous, ..Standing::default() }) };
    let repo = &start.config.repo;
    let mounted = running().any(|c| c.mounts(repo));
    let here = start.stand.has_object(&last.commit)?;
    let moved = dirt.edited() || !here || !start.stand.same_tree("HEAD", &last.commit)?;
    let runs = |s: &&String| facts.container(s).is_some_and(|c| c.running());
    let gone = target::gone(Some(last), &facts.model, &facts.app_services);
    let model = target::model_of(repo, Some(last))?;
    let strangers = running().map(|c| c.service.clone());
    let images = last
        .images
        .iter()
        .filter(|(s, image)| facts.container(s).is_some_and(|c| c.running() && c.image != *image));
    Ok(Standing {
        previous,
        code_live: mounted && moved,
        env: env::differences(repo, &last.rid),
        gone: gone.iter().filter(runs).cloned().collect(),
        strangers: strangers.filter(|s| model.as_ref().is_some_and(|m| !m.has(s))).collect(),
        images: images.map(|(service, _)| service.clone()).collect(),
        commit: commit(start, last, here)?,
    })
}

/// What the commit of a release is, where `git log` does not show it.
fn commit(start: &Start<'_>, last: &LastKnownGood, here: bool) -> Result<Vec<String>> {
    let mut words = Vec::new();
    if !here {
        words.push(format!("commit {} is not in this repository any more", last.commit));
        return Ok(words);
    }
    if last.dirty && last.commit != last.head {
        words.push(format!("made of uncommitted edits on commit {}", last.head));
    }
    if !start.stand.has_object(&last.head)? || !start.stand.on_a_branch(&last.head)? {
        words.push(format!(
            "on no branch any more (rebased or amended?): {} keeps it, a rollback finds it",
            lkg_ref(&last.rid)
        ));
    }
    Ok(words)
}

impl Standing {
    /// For the one who is about to release.
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        if let Some((_, source)) = self.previous.first() {
            let services: Vec<&str> = self.previous.iter().map(|(s, _)| s.as_str()).collect();
            words.push(format!(
                "{} run the previous source in {source}, not this checkout: this release returns to it",
                services.join(", ")
            ));
        }
        if self.code_live {
            words.push("services mount the checkout: its code is live already, before this release".into());
        }
        if !self.images.is_empty() {
            words.push(format!(
                "{} run another image than in the last known good release: if this one fails, that release's code \
                 comes back, not what runs now",
                self.images.join(", ")
            ));
        }
        words.extend(self.env.iter().map(|env| {
            format!(
                "other than in the last known good release: {env}; this release takes what stands there now"
            )
        }));
        words.extend(self.gone.iter().map(|s| {
            format!("{s} is not in the compose files any more: it is stopped, and removed once this release passed")
        }));
        words
    }
}
