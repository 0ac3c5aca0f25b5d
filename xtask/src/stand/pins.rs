//! Refs of our own: what they name git does not clean away, and no rebase moves it.

use super::Stand;
use super::git::object_id;
use crate::error::{Fault, Lane, Result};

impl Stand {
    /// Pins the commit of a release that passed.
    pub fn pin(&self, rid: &str, commit: &str) -> Result<()> {
        self.point(&lkg_ref(rid), commit)
    }

    /// Pins the commit that the first release found: no release has, and its undo clone needs it.
    pub fn pin_found(&self, rid: &str, commit: &str) -> Result<()> {
        self.point(&found_ref(rid), commit)
    }

    /// Points a ref at a commit, and looks whether it does: what would be lost by a ref that is not there
    /// shows when somebody wants to go back.
    fn point(&self, name: &str, commit: &str) -> Result<()> {
        self.git_ok(&["update-ref", name, commit])?;
        let named = object_id(&self.git_line(&["rev-parse", "--verify", name])?, "rev-parse --verify")?;
        if named != commit {
            let fault = Fault::new(format!("git update-ref ended well, and {name} names {named}"));
            return Err(fault.lane(Lane::A).into());
        }
        Ok(())
    }

    /// Lets go of the commits that were pinned for a release.
    pub fn unpin(&self, rid: &str) -> Result<()> {
        for name in [lkg_ref(rid), found_ref(rid)] {
            self.git_ok(&["update-ref", "-d", &name])?;
        }
        Ok(())
    }
}

/// The ref that pins a last known good commit.
pub fn lkg_ref(rid: &str) -> String {
    format!("refs/ff-xtask/lkg/{rid}")
}

/// The ref that pins what the first release found.
fn found_ref(rid: &str) -> String {
    format!("refs/ff-xtask/found/{rid}")
}
