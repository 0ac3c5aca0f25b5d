//! The longest that any one call may take, whatever its own limit says: by
//! `XTASK_LONGEST_CALL_MS`. Tests of deadlines do not wait for hours by it.

use std::sync::LazyLock;
use std::time::Duration;

static LONGEST: LazyLock<Option<Duration>> = LazyLock::new(|| {
    let text = std::env::var("XTASK_LONGEST_CALL_MS").ok()?;
    text.parse().ok().map(Duration::from_millis)
});

/// `limit`, or the longest that any call may take.
pub fn capped(limit: Duration) -> Duration {
    LONGEST.map_or(limit, |longest| longest.min(limit))
}
