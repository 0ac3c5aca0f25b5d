//! Ctrl-C, SIGTERM and a terminal that goes away. The first asks the run to
//! finish or undo; the second ends the process at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

/// Which signal came first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    CtrlC,
    Terminate,
}

/// Whether the operator has said stop. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    first: Arc<AtomicU8>,
}

impl Interrupt {
    /// The signal that came first, if any came.
    pub fn kind(&self) -> Option<Kind> {
        match self.first.load(Ordering::SeqCst) {
            1 => Some(Kind::CtrlC),
            2 => Some(Kind::Terminate),
            _ => None,
        }
    }

    /// Says stop, as a signal would.
    pub fn raise(&self, kind: Kind) {
        let value = if kind == Kind::CtrlC { 1 } else { 2 };
        let _ = self.first.compare_exchange(0, value, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// Listens for the signals. `on_first` and `on_second` are told; after
    /// `on_second` the process exits with 130 or 143. A hang-up counts as SIGTERM, but never as the
    /// second one: a shell and the kernel both send it when a connection breaks off.
    pub fn listen(
        &self,
        on_first: impl Fn(Kind) + Send + 'static,
        on_second: impl Fn(Kind) + Send + 'static,
    ) -> std::io::Result<()> {
        let ctrl_c = Arc::new(AtomicBool::new(false));
        let term = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&ctrl_c))?;
        signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::clone(&term))?;
        let hung_up = Arc::new(AtomicBool::new(false));
        #[cfg(unix)]
        if !ignores_hang_up() {
            signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::clone(&hung_up))?;
        }
        let this = self.clone();
        // A watching thread rather than work in the handler: the same on Windows, and it may print.
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(Duration::from_millis(10));
                if hung_up.swap(false, Ordering::SeqCst) && this.kind().is_none() {
                    this.raise(Kind::Terminate);
                    on_first(Kind::Terminate);
                }
                for (flag, kind) in [(&ctrl_c, Kind::CtrlC), (&term, Kind::Terminate)] {
                    if !flag.swap(false, Ordering::SeqCst) {
                        continue;
                    }
                    if this.kind().is_none() {
                        this.raise(kind);
                        on_first(kind);
                    } else {
                        on_second(kind);
                        std::process::exit(if kind == Kind::CtrlC { 130 } else { 143 });
                    }
                }
            }
        });
        Ok(())
    }
}

/// Was it started to outlive its terminal, as by nohup(1)? The signals that a process ignores stand in
/// /proc/self/status as a mask, signal 1 lowest (proc(5)).
#[cfg(unix)]
fn ignores_hang_up() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
