//! The longest that any one call may take, whatever its own limit says. No
//! command and no variable sets it: the fault matrix does, in a binary of its
//! own, and does not wait for hours by it.

use std::sync::OnceLock;
use std::time::Duration;

static LONGEST: OnceLock<Duration> = OnceLock::new();

/// Shortens every deadline of this process to `longest`; the first word counts.
pub fn cap_calls(longest: Duration) {
    let _ = LONGEST.set(longest);
}

/// `limit`, or the longest that any call may take.
pub fn capped(limit: Duration) -> Duration {
    LONGEST.get().map_or(limit, |longest| (*longest).min(limit))
}
