//! An archive on its way into the database container, hashed while it is read.

use super::{Ctx, bulk};
use crate::error::{Context, Fault, Lane, Result};
use crate::event::{Event, Far};
use crate::fsx;
use crate::stand::postgres::Pg;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Streams a file into the container and hashes what was read from disk: a flipped byte between
/// dump and proof shows here.
pub fn into(
    ctx: &Ctx<'_>,
    step: &str,
    pg: &Pg,
    (archive, remote): (&Path, &str),
    limit: Duration,
) -> Result<String> {
    let size = std::fs::metadata(archive).with_context(|| format!("find {}", archive.display()))?.len();
    let (events, step) = (ctx.events.clone(), step.to_string());
    let tell = move |done| {
        let what = "copying the dump into the database container".into();
        events.send(Event::Progress { step: step.clone(), what, far: Far::of(done, size) });
    };
    tell(0);
    let hashing = Hashing::open(archive, Box::new(tell))?;
    let state = Arc::clone(&hashing.state);
    let script = format!("umask 077; cat > {remote}");
    let call = pg.stand.inside(&pg.container, &[], &["sh", "-c", &script]).timeout(limit);
    let finished = pg.stand.exec.run_with(&call, Some(Box::new(hashing)), &mut |_| Ok(()))?;
    finished.success("copy the dump into the database container", Lane::A)?;
    let state = state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if state.1 != size {
        return Err(Fault::new(format!("only {} of {size} bytes of the dump were read", state.1))
            .lane(Lane::A)
            .into());
    }
    Ok(fsx::hex(&state.0.clone().finalize()))
}

/// A file that is hashed while it is read.
struct Hashing {
    file: File,
    state: Arc<Mutex<(Sha256, u64)>>,
    /// Hears now and then how many bytes were read.
    tell: Box<dyn Fn(u64) + Send>,
    told: Instant,
}

impl Hashing {
    fn open(path: &Path, tell: Box<dyn Fn(u64) + Send>) -> Result<Hashing> {
        let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
        let state = Arc::new(Mutex::new((Sha256::new(), 0)));
        Ok(Hashing { file, state, tell, told: Instant::now() })
    }
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(buffer)?;
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        state.0.update(&buffer[..read]);
        state.1 += read as u64;
        if self.told.elapsed() > bulk::TICK {
            (self.tell)(state.1);
            self.told = Instant::now();
        }
        Ok(read)
    }
}
