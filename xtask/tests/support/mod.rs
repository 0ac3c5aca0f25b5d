//! What the tests on the real engine share: a copy of the sample stand, the
//! real binary, and questions to the world that the program under test does
//! not answer itself.
#![allow(dead_code)] // every test binary uses its own part of this
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

pub mod before;
pub mod cmdlines;
pub mod deaths;
pub mod die;
pub mod disk;
pub mod elsewhere;
pub mod evidence;
pub mod good;
pub mod held;
pub mod leftovers;
pub mod planted;
pub mod process;
pub mod relay;
pub mod root;
pub mod sql;
pub mod stand;
pub mod table;
pub mod tamper;
pub mod tried;
pub mod world;
pub mod writer;

pub use evidence::Evidence;
#[allow(unused_imports)] // as above
pub use process::{Outcome, Running};
pub use stand::Stand;
use tried::Tried;

use std::time::{Duration, Instant};

/// Asks until there is an answer; says what it waited for when there is none in time.
#[track_caller]
pub fn wait_for<T>(what: &str, limit: Duration, ask: impl FnMut() -> Option<T>) -> T {
    poll(limit, ask).unwrap_or_else(|| panic!("waited {} s for {what}: it did not come", limit.as_secs()))
}

/// Asks until there is an answer or no time is left.
pub fn poll<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        let found = ask();
        if found.is_some() || Instant::now() > deadline {
            return found;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Checks of which one that fails does not hide the others: a chain on one stand goes on.
#[derive(Default)]
pub struct Checks {
    made: usize,
    failed: Vec<String>,
    pub tried: Tried,
}

impl Checks {
    /// Makes a check; what it says when it fails is printed at once.
    pub fn that(&mut self, what: impl std::fmt::Display, check: impl FnOnce()) {
        self.made += 1;
        note(format!("check {what}"));
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(check)).is_err() {
            note(format!("DOES NOT HOLD: {what}"));
            self.failed.push(what.to_string());
        }
    }

    /// Fails the test with the names of all checks that did not hold.
    #[track_caller]
    pub fn all_hold(self) {
        let failed = self.failed.join("\n  ");
        assert!(failed.is_empty(), "{} of {} checks do not hold:\n  {failed}", self.failed.len(), self.made);
        self.tried.write();
    }
}

/// Long enough for anything that does come.
pub const SOON: Duration = Duration::from_secs(30);

/// Says how far a test is: shown by `--nocapture`, and when it fails.
pub fn note(text: impl std::fmt::Display) {
    static BEGUN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    eprintln!("-- {:>5.1} s  {text}", BEGUN.elapsed().as_secs_f64());
}
