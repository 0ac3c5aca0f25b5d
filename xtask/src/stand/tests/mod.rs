//! Tests of what only generated inputs and the real other side show: what other programs print
//! and read.

mod git;
mod printed;
mod quoted;

use super::Stand;
use crate::config::{Config, Values};
use crate::exec::{Exec, Interrupt};
use crate::redact::Redactor;
use std::path::Path;

/// A checkout without a stand.
fn stand(repo: &Path) -> Stand {
    let config = Config { repo: repo.into(), values: Values::default(), origins: Default::default() };
    Stand::new(&config, Exec::new(Redactor::new(), Interrupt::default()))
}
