//! Watches the command lines of every process of this machine, those in
//! containers too, for words that may be in none.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub struct Watch {
    stop: Arc<AtomicBool>,
    looks: Arc<AtomicU64>,
    /// What was found and the program it was found in.
    found: Arc<Mutex<BTreeSet<(String, String)>>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Watch {
    /// Looks again and again, until it is dropped.
    pub fn start(words: &BTreeMap<String, String>) -> Watch {
        let (stop, looks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let found = Arc::new(Mutex::new(BTreeSet::new()));
        let words = words.clone();
        let (stopped, looked, into) = (Arc::clone(&stop), Arc::clone(&looks), Arc::clone(&found));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                let hits = look(&words);
                into.lock().unwrap().extend(hits);
                looked.fetch_add(1, Ordering::SeqCst);
                // A look takes some milliseconds: the machine has work to do besides.
                std::thread::sleep(Duration::from_millis(3));
            }
        });
        Watch { stop, looks, found, thread: Some(thread) }
    }

    pub fn looks(&self) -> u64 {
        self.looks.load(Ordering::SeqCst)
    }

    pub fn found(&self) -> BTreeSet<(String, String)> {
        self.found.lock().unwrap().clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn look(words: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let own = std::process::id().to_string();
    let mut hits = Vec::new();
    for entry in std::fs::read_dir(Path::new("/proc")).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.bytes().all(|b| b.is_ascii_digit()) || name == own {
            continue;
        }
        // One that has just ended has none.
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if line.is_empty() {
            continue;
        }
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if starts_redis(&line) {
            continue;
        }
        let program = line.split(' ').next().unwrap_or_default().to_string();
        hits.extend(
            words
                .iter()
                .filter(|(_, w)| line.contains(w.as_str()))
                .map(|(k, _)| (k.clone(), program.clone())),
        );
    }
    hits
}

/// The sample stand starts its Redis with the password in the command line: the server's own, and that
/// of the entry point which becomes it. The stand's doing, and no other process may have it.
fn starts_redis(line: &str) -> bool {
    const OWN: [&str; 5] = ["redis-server", "sh", "setpriv", "gosu", "su-exec"];
    let mut names = line.split(' ').map(|word| word.rsplit('/').next().unwrap_or_default());
    let first = names.clone().next().unwrap_or_default();
    OWN.contains(&first) && names.any(|name| name == "redis-server")
}
