//! A second copy of a backup, in the place that `backup.copy_to` names.

use super::Ctx;
use crate::error::{Context, Fault, Lane, Result};
use crate::evidence::check_digest;
use crate::fsx;
use fs_extra::dir::CopyOptions;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Step and act, as the journal has them.
pub const COPY: (&str, &str) = ("backup", "copy elsewhere");

/// Copies the backup in `dir` to where it is called `name`, if anywhere, and reads it back. It has that
/// name once it is whole.
///
/// # Errors
/// When it cannot be written, or is another one when it is read back; nothing of it stays.
pub fn copy(ctx: &Ctx<'_>, dir: &Path, name: &str) -> Result<Option<String>> {
    let to = &ctx.config.backup.copy_to;
    if to.is_empty() {
        return Ok(None);
    }
    let target = ctx.config.repo.join(to).join(name);
    ctx.act(COPY.0, COPY.1, json!({ "to": target }), || match whole(dir, &target) {
        Ok(()) => Ok(((), json!({}))),
        Err(error) => {
            // The error that counts is the first one.
            let _ = remove_half(&target);
            Err(error)
        }
    })?;
    Ok(Some(target.display().to_string()))
}

fn whole(dir: &Path, target: &Path) -> Result<()> {
    let half = half(target);
    fsx::private_dir(&half)?;
    let mut options = CopyOptions::new();
    options.content_only = true;
    fs_extra::dir::copy(dir, &half, &options).map_err(|e| {
        Fault::new(format!("copy the backup to {}", target.display())).why(e.to_string()).lane(Lane::A)
    })?;
    if let Some(mismatch) = check_digest(&half)?.first() {
        let fault = Fault::new("the backup's copy does not verify").why(mismatch.to_string());
        return Err(fault.lane(Lane::A).into());
    }
    std::fs::rename(&half, target).with_context(|| format!("rename {} to its name", half.display()))
}

/// Removes what a copy that was cut short has left, if anything.
pub fn remove_half(target: &Path) -> Result<()> {
    fsx::remove_dir(&half(target))
}

/// What it is called until it is whole.
fn half(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!(".ff-{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_its_name_once_it_is_whole_and_a_bad_one_never() {
        let place = tempfile::tempdir().unwrap();
        let (dir, target) = (place.path().join("backup"), place.path().join("other/20260101_bak"));
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("db.dump"), "rows").unwrap();
        let sums = format!("{}  db.dump\n", fsx::sha256(b"rows"));
        std::fs::write(dir.join(crate::evidence::DIGEST), &sums).unwrap();
        whole(&dir, &target).unwrap();
        assert_eq!(std::fs::read(target.join("db.dump")).unwrap(), b"rows");
        assert!(!half(&target).exists());

        std::fs::write(dir.join("db.dump"), "other rows").unwrap();
        let target = target.with_file_name("20260102_bak");
        let error = whole(&dir, &target).unwrap_err().to_string();
        assert!(error.starts_with("the backup's copy does not verify"), "{error}");
        assert!(!target.exists() && half(&target).exists());
        remove_half(&target).unwrap();
        assert!(!half(&target).exists());
        remove_half(&target).unwrap();
    }
}
