//! What more than one step does: bring services up and prove it, smoke, fence,
//! clone, swap, sums, restore beside, go back to images and source, start data
//! services.

pub mod aside;
pub mod blockers;
pub mod bulk;
pub mod cluster;
pub mod code;
pub mod dump;
pub mod elsewhere;
pub mod env;
pub mod fence;
pub mod freeze;
pub mod privileges;
pub mod properties;
pub mod restore;
pub mod room;
pub mod scan;
pub mod schema;
pub mod script;
pub mod second;
pub mod send;
pub mod smoke;
pub mod stored;
pub mod sums;
pub mod swap;
pub mod tables;
pub mod target;
pub mod unrestorable;
pub mod up;
pub mod wake;
pub mod watch;

use crate::config::Config;
use crate::error::Result;
use crate::event::{Event, Events, Far};
use crate::evidence::RunDir;
use crate::exec::Exec;
use crate::facts::Facts;
use crate::stand::Stand;
use crate::stand::postgres::Pg;
use serde_json::Value;

/// What every act and step is given.
#[derive(Clone, Copy)]
pub struct Ctx<'a> {
    pub config: &'a Config,
    pub facts: &'a Facts,
    pub run: &'a RunDir,
    pub stand: &'a Stand,
    pub events: &'a Events,
    /// Short id of the run: in names of databases, keys, tags and sessions.
    pub id: &'a str,
    /// What undoes a change runs to its end, also after a first Ctrl-C.
    pub shielded: bool,
}

impl<'a> Ctx<'a> {
    /// An executor that writes to the step's RAW log.
    pub fn exec(&self, step: &str) -> Result<Exec> {
        let exec = self.stand.exec.logging(self.run.log(step)?);
        Ok(if self.shielded { exec.shielded() } else { exec })
    }

    /// The stand, writing to the step's RAW log.
    pub fn stand(&self, step: &str) -> Result<Stand> {
        Ok(self.stand.with(&self.exec(step)?))
    }

    /// The database, writing to the step's RAW log.
    pub fn pg(&self, step: &str) -> Result<Pg> {
        self.facts.pg(&self.stand(step)?, self.config)
    }

    /// application_name of a session of this run.
    pub fn app(&self, what: &str) -> String {
        format!("{}:{what}", app_prefix(self.id))
    }

    /// The same run, deaf to the first Ctrl-C.
    pub fn shielded(&self) -> Ctx<'a> {
        Ctx { shielded: true, ..*self }
    }

    /// Journals an act around work.
    pub fn act<T>(
        &self,
        step: &str,
        act: &str,
        about: Value,
        work: impl FnOnce() -> Result<(T, Value)>,
    ) -> Result<T> {
        self.run.journal.act(step, act, about, work)
    }

    /// Tells what is being waited for.
    pub fn waiting(&self, step: &str, what: impl Into<String>, limit: std::time::Duration) {
        self.events.waiting(step, what, crate::clock::ms(limit));
    }

    /// Tells how far the step is.
    pub fn progress(&self, step: &str, what: &str, far: Far) {
        self.events.send(Event::Progress { step: step.into(), what: what.into(), far });
    }
}

/// How the sessions of a run begin their application_name.
pub fn app_prefix(id: &str) -> String {
    format!("ffx:{id}")
}

/// The application_name of a run's session that stops, fences and clones.
pub fn admin_app(id: &str) -> String {
    format!("ffxadmin:{id}")
}

/// The short id of a run: its time and four characters that tell two runs of one second apart.
pub fn short_id(rid: &str, stamp: &str) -> String {
    format!("{}_{}", stamp.replace('-', "t"), &crate::fsx::sha256(rid.as_bytes())[..4])
}

#[cfg(test)]
mod tests;
