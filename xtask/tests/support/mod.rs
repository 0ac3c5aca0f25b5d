//! What the tests on the real engine share: a copy of the sample stand, the
//! real binary, and questions to the world that the program under test does
//! not answer itself.
#![allow(dead_code)] // every test binary uses its own part of this
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

pub mod before;
pub mod evidence;
pub mod leftovers;
pub mod process;
pub mod sql;
pub mod stand;
pub mod world;
pub mod writer;

pub use evidence::Evidence;
pub use process::{Outcome, Running};
pub use stand::Stand;

use std::time::{Duration, Instant};

/// Asks until there is an answer; says what it waited for when there is none in time.
pub fn wait_for<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {} s for {what}: it did not come", limit.as_secs());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Long enough for anything that does come.
pub const SOON: Duration = Duration::from_secs(30);

/// Says how far a test is: shown by `--nocapture`, and when it fails.
pub fn note(text: impl std::fmt::Display) {
    eprintln!("-- {text}");
}
