//! A small disk of its own below a stand, which a test can fill to the last byte.

use super::process::tool;
use super::root::as_root;
use std::io::Write;
use std::path::{Path, PathBuf};

/// A file system in memory, mounted over a directory until this is dropped.
pub struct Disk {
    at: PathBuf,
}

impl Disk {
    /// Mounts one of `size` (as `mount` has it: `24m`). Needs root, or sudo without a password.
    #[track_caller]
    pub fn mount(at: &Path, size: &str) -> Disk {
        std::fs::create_dir_all(at).unwrap();
        let owner = tool("id", &["-u"], Path::new("/"), None);
        let options = format!("size={size},mode=0700,uid={}", owner.trim());
        as_root("mount", &["-t", "tmpfs", "-o", &options, "tmpfs", &at.display().to_string()]);
        Disk { at: at.into() }
    }

    fn filler(&self) -> PathBuf {
        self.at.join("filler")
    }

    /// Takes every byte that is free.
    #[track_caller]
    pub fn fill(&self) {
        fill(&self.filler());
        assert_eq!(fs4::available_space(&self.at).unwrap(), 0, "{} is not full", self.at.display());
    }

    /// Takes every byte that becomes free, again and again while `until` is false.
    pub fn keep_full(&self, mut until: impl FnMut() -> bool) {
        while !until() {
            fill(&self.filler());
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    /// Gives back what was taken.
    pub fn free(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        as_root("umount", &["-l", &self.at.display().to_string()]);
    }
}

fn fill(path: &Path) {
    let mut file = std::fs::File::options().append(true).create(true).open(path).unwrap();
    let mut piece = vec![b'x'; 1 << 20];
    // In ever smaller pieces: the last page, too.
    while !piece.is_empty() {
        if file.write_all(&piece).is_err() {
            piece.truncate(piece.len() / 2);
        }
    }
}
