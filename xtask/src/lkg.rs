//! The last known good release, and the state that a release goes back to.
//! Both are small files below ops/_local/lkg, owner-only, never in evidence:
//! the compose model in them holds secrets.

use crate::error::{Context, Result};
use crate::evidence::records::ImageBack;
use crate::fsx;
use crate::stand::model::Bind;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Below the checkout.
pub const DIR: &str = "ops/_local/lkg";

/// What is known of the last release that passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastKnownGood {
    pub rid: String,
    pub time: String,
    pub head: String,
    /// The tree as deployed, pinned by a ref.
    pub commit: String,
    pub branch: String,
    pub dirty: bool,
    /// Service to image id.
    pub images: Vec<(String, String)>,
    /// sha256 of the run's digest.sha256.
    pub digest_sha256: String,
    /// The backup made before that release, relative to the checkout.
    pub backup: Option<String>,
    /// The clone of the database as it was before that release.
    pub undo: Option<String>,
}

/// Where a release goes back to, decided before the change and kept until it is superseded.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Target {
    /// The release that may go back to here.
    pub rid: String,
    /// The id in the names of databases, keys and tags of that release.
    pub id: String,
    pub database: String,
    pub clone: String,
    /// `release` (a last known good one), `as found` (containers ran, no record), `stopped`.
    pub kind: String,
    pub commit: String,
    /// Where the commit is laid out; none when no service mounts the checkout.
    pub tree: Option<PathBuf>,
    /// Service and path in the container at which the checkout is mounted.
    pub mounts: Vec<(String, String)>,
    pub images: Vec<ImageBack>,
    /// Application services that ran.
    pub running: Vec<String>,
    /// Application services of the release that goes back to here.
    #[serde(default)]
    pub replaces: Vec<String>,
    /// Binds of each service as its container had them.
    pub binds: Vec<(String, Vec<Bind>)>,
    /// The last known good record before that release.
    pub previous: Option<LastKnownGood>,
}

impl Target {
    /// Application services of either side of the release, and those of the checkout as it is now.
    pub fn app_services(&self, now: &[String]) -> Vec<String> {
        let mut all: Vec<String> = now.iter().chain(&self.running).chain(&self.replaces).cloned().collect();
        all.sort();
        all.dedup();
        all
    }

    /// Did this service have a container before the release?
    pub fn was_there(&self, service: &str) -> bool {
        self.binds.iter().any(|(s, _)| s == service)
    }
}

/// Paths of one checkout.
#[derive(Debug, Clone)]
pub struct Store {
    pub dir: PathBuf,
}

impl Store {
    pub fn of(repo: &Path) -> Store {
        Store { dir: repo.join(DIR) }
    }

    fn file(&self) -> PathBuf {
        self.dir.join("last_known_good.json")
    }

    /// The directory of one release, 0700.
    pub fn of_release(&self, rid: &str) -> Result<PathBuf> {
        fsx::private_dir(&self.dir)?;
        let dir = self.dir.join(rid);
        fsx::private_dir(&dir)?;
        Ok(dir)
    }

    pub fn last(&self) -> Result<Option<LastKnownGood>> {
        if !fsx::is_there(&self.file())? {
            return Ok(None);
        }
        fsx::read_json(&self.file()).map(Some).context("the record of the last known good release")
    }

    pub fn set_last(&self, last: &LastKnownGood) -> Result<()> {
        fsx::private_dir(&self.dir)?;
        fsx::write_json(&self.file(), last)
    }

    /// Keeps the record of a release that passed, for going back to it later.
    pub fn set_release(&self, release: &LastKnownGood) -> Result<()> {
        fsx::write_json(&self.of_release(&release.rid)?.join("release.json"), release)
    }

    /// A release that passed, while its record is kept.
    pub fn release(&self, rid: &str) -> Option<LastKnownGood> {
        fsx::read_json(&self.dir.join(rid).join("release.json")).ok()
    }

    /// The release that came after `rid`: its backup is the database as `rid` left it.
    pub fn successor(&self, rid: &str) -> Option<LastKnownGood> {
        let after = |s: &String| self.target(s).and_then(|t| t.previous).is_some_and(|p| p.rid == rid);
        let mut all: Vec<LastKnownGood> =
            self.releases().iter().filter(|s| after(s)).filter_map(|s| self.release(s)).collect();
        all.sort_by(|a, b| a.time.cmp(&b.time));
        all.pop()
    }

    /// After going back to a state of which no release is known.
    pub fn clear_last(&self) -> Result<()> {
        match std::fs::remove_file(self.file()) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(e).context("remove last_known_good.json")
            }
            _ => Ok(()),
        }
    }

    pub fn target(&self, rid: &str) -> Option<Target> {
        fsx::read_json(&self.dir.join(rid).join("target.json")).ok()
    }

    pub fn set_target(&self, target: &Target) -> Result<()> {
        let dir = self.of_release(&target.rid)?;
        fsx::write_json(&dir.join("target.json"), target)
    }

    /// The compose model that the target runs with; resolved, so it holds what env files said then.
    pub fn model(&self, rid: &str) -> PathBuf {
        self.dir.join(rid).join("previous-model.json")
    }

    /// The compose model that a release that passed was deployed with.
    pub fn own_model(&self, rid: &str) -> PathBuf {
        self.dir.join(rid).join("model.json")
    }

    /// Where a release's env files are kept.
    pub fn env_dir(&self, rid: &str) -> PathBuf {
        self.dir.join(rid).join("env")
    }

    /// Releases that keep something here, in no order.
    pub fn releases(&self) -> Vec<String> {
        std::fs::read_dir(&self.dir)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|e| e.path().is_dir())
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .collect()
    }

    /// Forgets what a release that passed keeps for going back to it, and not what it replaced.
    pub fn forget_own(&self, rid: &str) -> Result<()> {
        let model = self.own_model(rid);
        if model.exists() {
            std::fs::remove_file(&model).with_context(|| format!("remove {}", model.display()))?;
        }
        fsx::remove_dir(&self.env_dir(rid))
    }

    /// Forgets a release.
    pub fn forget(&self, rid: &str) -> Result<()> {
        fsx::remove_dir(&self.dir.join(rid))
    }
}
