//! The steps of a release: each acts, proves by re-reading the world, and
//! writes its record. They do not know each other; the pipeline orders them.

pub mod backup;
pub mod build;
pub mod change;
pub mod deploy;
pub mod migrate;
pub mod precheck;
pub mod proof;
pub mod ready;
pub mod rollback;
