//! Files: atomic writes that are on disk when they return, owner-only
//! directories, hashing, and the ignore rules of the tool's own directories.

use crate::error::{Context, Result};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Writes a file that is either the old one or the new one, and on disk when this returns.
/// The mode is 0600: the temporary file is created owner-only and renamed.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".ff-")
        .tempfile_in(dir)
        .with_context(|| format!("create a temporary file in {}", dir.display()))?;
    file.write_all(bytes).with_context(|| format!("write {}", path.display()))?;
    file.as_file().sync_all().with_context(|| format!("flush {}", path.display()))?;
    file.persist(path).with_context(|| format!("rename into {}", path.display()))?;
    sync_dir(dir)
}

/// A rename is durable only when its directory is; Windows has no such call and needs none.
pub fn sync_dir(dir: &Path) -> Result<()> {
    if cfg!(unix) {
        File::open(dir).and_then(|d| d.sync_all()).with_context(|| format!("flush {}", dir.display()))?;
    }
    Ok(())
}

/// Pretty JSON with a final newline, written by [`write_atomic`].
pub fn write_json<T: serde::Serialize>(path: &Path, value: &T) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    write_atomic(path, text.as_bytes())
}

/// Is there something? Not being allowed to look is an error, and not a no.
pub fn is_there(path: &Path) -> Result<bool> {
    path.try_exists().with_context(|| format!("look at {}", path.display()))
}

/// Was something not allowed?
pub fn is_denied(error: &anyhow::Error) -> bool {
    let denied = |e: &std::io::Error| e.kind() == std::io::ErrorKind::PermissionDenied;
    error.chain().filter_map(|e| e.downcast_ref()).any(denied)
}

/// Reads JSON, with or without a byte order mark.
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_str(text.trim_start_matches('\u{feff}'))
        .with_context(|| format!("{} is not the JSON it should be", path.display()))
}

/// Creates a directory and its parents; the directory itself is 0700 on Unix.
pub fn private_dir(path: &Path) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).with_context(|| format!("create {}", path.display()))
}

/// The same for a directory of the tool's own, also when it is there with another mode.
pub fn owner_only(path: &Path) -> Result<()> {
    private_dir(path)?;
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(path, mode).with_context(|| format!("set the mode of {}", path.display()))?;
    }
    Ok(())
}

/// Takes what group and others may do with a directory that is there from them.
///
/// # Errors
/// Where they may do something and it is not ours to change.
pub fn close_to_others(path: &Path) -> Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode =
            fs::metadata(path).with_context(|| format!("look at {}", path.display()))?.permissions().mode();
        if mode & 0o077 != 0 {
            fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o700))
                .with_context(|| format!("close {} to others", path.display()))?;
        }
    }
    let _ = path;
    Ok(())
}

/// Creates a new file, owner-only on Unix; an existing one is an error.
pub fn private_file(path: &Path) -> Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).with_context(|| format!("create {}", path.display()))
}

/// Removes a directory with all that is in it, where it is there.
pub fn remove_dir(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

/// Bytes of a disk that are kept for later: a file without a name, gone when this is dropped or the
/// process dies.
pub struct Room(#[allow(dead_code)] File);

impl Room {
    /// Takes `bytes` of the disk on which `dir` lies.
    ///
    /// # Errors
    /// When they are not free.
    pub fn take(dir: &Path, bytes: usize) -> Result<Room> {
        let mut file =
            tempfile::tempfile_in(dir).with_context(|| format!("create a file in {}", dir.display()))?;
        file.write_all(&vec![0; bytes]).with_context(|| {
            format!("take {} of the disk of {}", human_bytes(bytes as u64), dir.display())
        })?;
        Ok(Room(file))
    }
}

/// Gives a directory of the tool a `.gitignore` with `*`, so that nothing in it is ever dirt.
pub fn ignored_dir(dir: &Path) -> Result<()> {
    private_dir(dir)?;
    let ignore = dir.join(".gitignore");
    if !ignore.exists() {
        write_atomic(&ignore, b"*\n")?;
    }
    Ok(())
}

/// The lower-case hex sha256 of a file, and its size in bytes.
pub fn sha256_file(path: &Path) -> Result<(String, u64)> {
    let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    sha256_reader(file).with_context(|| format!("read {}", path.display()))
}

/// Hashes a reader to its end in 128 KiB pieces: memory does not grow with the file.
pub fn sha256_reader(mut reader: impl Read) -> std::io::Result<(String, u64)> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0u8; 128 << 10];
    let mut total = 0u64;
    loop {
        let read = reader.read(&mut buffer)?;
        if read == 0 {
            return Ok((hex(&hasher.finalize()), total));
        }
        hasher.update(&buffer[..read]);
        total += read as u64;
    }
}

/// The sha256 of bytes in memory, lower-case hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&digest(bytes))
}

/// The sha256 of bytes in memory.
pub fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |b: u8| char::from(b"0123456789abcdef"[usize::from(b)]);
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}

/// The last `count` lines of a text file, whole ones; reads at most its last 64 KiB.
pub fn tail(path: &Path, count: usize) -> Vec<String> {
    use std::io::{Seek, SeekFrom};
    const TAIL: u64 = 64 << 10;
    let Ok(mut file) = File::open(path) else { return Vec::new() };
    let length = file.metadata().map(|m| m.len()).unwrap_or(0);
    let mut bytes = Vec::new();
    if file.seek(SeekFrom::Start(length.saturating_sub(TAIL + 1))).is_err()
        || file.read_to_end(&mut bytes).is_err()
    {
        return Vec::new();
    }
    // The byte before them says whether they begin with a line.
    if length > TAIL {
        let line = bytes.iter().position(|b| *b == b'\n').map_or(bytes.len(), |end| end + 1);
        bytes.drain(..line);
    }
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].iter().map(|l| (*l).to_string()).collect()
}

/// Every regular file below `dir`, relative, sorted, `/` between the parts.
pub fn files_below(dir: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for entry in walkdir::WalkDir::new(dir).sort_by_file_name() {
        let entry = entry.with_context(|| format!("list {}", dir.display()))?;
        if !entry.file_type().is_dir() {
            let relative = entry.path().strip_prefix(dir).unwrap_or(entry.path());
            files.push(slashes(relative));
        }
    }
    files.sort();
    Ok(files)
}

/// A path as text with `/` between its parts, whatever the system.
pub fn slashes(path: &Path) -> String {
    path.components().map(|c| c.as_os_str().to_string_lossy().into_owned()).collect::<Vec<_>>().join("/")
}

/// `path` made absolute without asking that it exists, and without Windows' `\\?\` prefix,
/// which docker does not understand.
pub fn absolute(path: &Path) -> Result<PathBuf> {
    let full = std::path::absolute(path).with_context(|| format!("resolve {}", path.display()))?;
    let resolved = full.canonicalize().unwrap_or(full);
    let text = resolved.to_string_lossy();
    Ok(match text.strip_prefix(r"\\?\") {
        Some(rest) if !rest.starts_with("UNC") => PathBuf::from(rest),
        _ => resolved,
    })
}

/// `12.3 MB`: sizes for people, powers of 1000.
pub fn human_bytes(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_atomic_write_replaces_and_leaves_no_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a b й.json");
        write_atomic(&path, b"one").unwrap();
        write_atomic(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(files_below(dir.path()).unwrap(), ["a b й.json"]);
    }

    #[test]
    fn a_private_file_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        private_file(&path).unwrap();
        assert!(private_file(&path).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn private_means_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        private_dir(&dir.path().join("d/e")).unwrap();
        private_file(&dir.path().join("d/e/f")).unwrap();
        let mode = |p: &str| fs::metadata(dir.path().join(p)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("d/e"), mode("d/e/f")), (0o700, 0o600));
        fs::set_permissions(dir.path().join("d"), fs::Permissions::from_mode(0o755)).unwrap();
        owner_only(&dir.path().join("d")).unwrap();
        owner_only(&dir.path().join("g")).unwrap();
        assert_eq!((mode("d"), mode("g")), (0o700, 0o700));
    }

    #[cfg(unix)]
    #[test]
    fn a_directory_is_closed_to_others_where_it_is_open_to_them() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        for (before, after) in [(0o755, 0o700), (0o711, 0o700), (0o500, 0o500), (0o700, 0o700)] {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(before)).unwrap();
            close_to_others(dir.path()).unwrap();
            assert_eq!(fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777, after, "{before:o}");
        }
        assert!(close_to_others(&dir.path().join("none")).is_err());
        // Nobody may change the mode of this one.
        let fixed = Path::new("/proc/sys");
        assert!(!fixed.exists() || close_to_others(fixed).is_err());
    }

    #[test]
    fn hashes_as_sha256sum_does() {
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(sha256_reader(&b"abc"[..]).unwrap(), (sha256(b"abc"), 3));
    }

    #[test]
    fn json_with_a_byte_order_mark_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.json");
        fs::write(&path, "\u{feff}{\"a\":1}\r\n").unwrap();
        assert_eq!(read_json::<serde_json::Value>(&path).unwrap()["a"], 1);
    }

    #[test]
    fn a_tail_is_the_last_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs::write(&path, "1\n2\n3\n").unwrap();
        assert_eq!(tail(&path, 2), ["2", "3"]);
        assert!(tail(&dir.path().join("none"), 2).is_empty());
        let long = format!("{}\nend\n", "x".repeat(70_000));
        fs::write(&path, &long).unwrap();
        assert_eq!(tail(&path, 2), ["end"], "half a line is none");
        fs::write(&path, "y".repeat(65_535) + "\n").unwrap();
        assert_eq!(tail(&path, 2)[0].len(), 65_535, "as much as is read");
        fs::write(&path, "\n".to_string() + &"y".repeat(65_535) + "\n").unwrap();
        assert_eq!(tail(&path, 2)[0].len(), 65_535, "a line behind a break is whole");
    }
}
