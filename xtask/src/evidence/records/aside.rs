//! What a rollback sets aside, and since when it counts.

use serde::{Deserialize, Serialize};

/// A backup that a database was restored from.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Archive {
    pub dir: String,
    /// `xmin:xmax:xip` of the snapshot that it is of, where it was dumped of the very database that is set
    /// aside: in any other one transaction ids mean something else.
    pub snapshot: Option<String>,
    /// The backup that its privileges are of, where it has none of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privileges_of: Option<String>,
}

/// A table of the database that was set aside.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SetAside {
    pub table: String,
    /// Rows in the clone, made under the fence.
    pub at_fence: Option<u64>,
    /// Rows in the backup, where there is no clone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_backup: Option<u64>,
    pub now: Option<u64>,
    /// Rows written since then; none where that cannot be told.
    pub written_since: Option<u64>,
    /// The table has another file than then, or is gone; none where that cannot be told.
    pub rewritten: Option<bool>,
}
