//! Bulk goes from a client straight into its file, and is hashed while it
//! grows: led through this process it would take a fifth longer on two cores.

use crate::error::{Context, Result};
use crate::exec::Finished;
use crate::fsx;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A file as it was written.
pub struct Written {
    pub finished: Finished,
    /// Of all bytes that lie in the file, lower-case hex.
    pub sha256: String,
    pub bytes: u64,
}

/// How often the screen hears of progress.
pub const TICK: Duration = Duration::from_millis(250);

/// Creates `path` (owner-only), lets `run` have a process write into it, and returns when it is on disk.
/// `tick` gets the bytes that were hashed so far.
pub fn into_file(
    path: &Path,
    tick: &(dyn Fn(u64) + Sync),
    run: impl FnOnce(&Arc<File>) -> Result<Finished>,
) -> Result<Written> {
    let file = Arc::new(fsx::private_file(path)?);
    let ended = AtomicBool::new(false);
    let (finished, hashed) = std::thread::scope(|scope| {
        let hashing = scope.spawn(|| hash_growing(path, &ended, tick));
        let finished = run(&file);
        ended.store(true, Ordering::SeqCst);
        (finished, hashing.join())
    });
    let finished = finished?;
    let (sha256, bytes) = hashed.map_err(|_| crate::error::anyhow!("hashing died"))??;
    file.sync_all().with_context(|| format!("flush {}", path.display()))?;
    Ok(Written { finished, sha256, bytes })
}

/// Follows the file to its end, which is there once its writer has `ended`.
fn hash_growing(path: &Path, ended: &AtomicBool, tick: &(dyn Fn(u64) + Sync)) -> Result<(String, u64)> {
    let mut file = File::open(path).with_context(|| format!("read {}", path.display()))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0u8; 256 << 10];
    let (mut bytes, mut told) = (0, Instant::now());
    loop {
        // Asked before the reading: what was written until then is read by it.
        let last = ended.load(Ordering::SeqCst);
        let read = file.read(&mut buffer).with_context(|| format!("read {}", path.display()))?;
        hasher.update(&buffer[..read]);
        bytes += read as u64;
        if told.elapsed() > TICK {
            tick(bytes);
            told = Instant::now();
        }
        if read == 0 && last {
            return Ok((fsx::hex(&hasher.finalize()), bytes));
        }
        if read == 0 {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::{Exec, Interrupt, Invocation};
    use crate::redact::Redactor;

    #[test]
    #[cfg(unix)]
    fn what_a_process_writes_is_hashed_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let exec = Exec::new(Redactor::new(), Interrupt::default());
        let script = "for n in 1 2 3 4 5 6 7 8; do head -c 300000 /dev/zero; echo $n; done";
        let call = Invocation::new("sh").args(["-c", script]);
        let written = into_file(&path, &|_| {}, |file| exec.run(&call.stdout(file))).unwrap();
        assert!(written.finished.ok() && written.finished.stdout.is_empty());
        assert_eq!((written.sha256, written.bytes), fsx::sha256_file(&path).unwrap());
        assert_eq!(written.bytes, 8 * 300_002);
    }

    #[test]
    #[cfg(unix)]
    fn a_writer_that_cannot_start_is_the_error() {
        let dir = tempfile::tempdir().unwrap();
        let exec = Exec::new(Redactor::new(), Interrupt::default());
        let call = Invocation::new("no-such-program-of-ours");
        assert!(into_file(&dir.path().join("x"), &|_| {}, |file| exec.run(&call.stdout(file))).is_err());
    }
}
