//! Failures with cause and remedy, and the table of exit codes.
//!
//! A step returns `anyhow::Result`; where the reader needs more than a chain of
//! causes (what to do next, whose lane it is) the root is a [`Fault`].

use std::fmt;
use std::path::PathBuf;

pub use anyhow::{Context, Result, anyhow, bail};

/// The state in which the stand was left, as the process exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// PASS, proved, or PASS_WAIVED.
    Pass,
    /// Usage or configuration error.
    Usage,
    /// Refused before anything was touched.
    Refused,
    /// Another writer holds the lock.
    Locked,
    /// FAIL before the stand was changed, or back as it was without a restore.
    FailUnchanged,
    /// FAIL, rolled back, rollback verified.
    FailRolledBack,
    /// FAIL, the stand needs a person.
    NeedsPerson,
    /// Evidence could not be saved or does not verify.
    Evidence,
    /// Ended by Ctrl-C.
    Interrupted,
    /// Ended by SIGTERM.
    Terminated,
}

impl Exit {
    /// The number that the process exits with.
    pub fn code(self) -> u8 {
        match self {
            Exit::Pass => 0,
            Exit::Usage => 2,
            Exit::Refused => 10,
            Exit::Locked => 11,
            Exit::FailUnchanged => 20,
            Exit::FailRolledBack => 30,
            Exit::NeedsPerson => 40,
            Exit::Evidence => 50,
            Exit::Interrupted => 130,
            Exit::Terminated => 143,
        }
    }

    /// One clause for people.
    pub fn meaning(self) -> &'static str {
        match self {
            Exit::Pass => "passed",
            Exit::Usage => "usage or configuration error, nothing was touched",
            Exit::Refused => "refused before anything was touched",
            Exit::Locked => "another writer holds the lock, nothing was touched",
            Exit::FailUnchanged => "failed; the stand is as it was",
            Exit::FailRolledBack => "failed; rolled back and the rollback is verified",
            Exit::NeedsPerson => "failed; the stand needs a person",
            Exit::Evidence => "the evidence could not be saved or does not verify",
            Exit::Interrupted => "interrupted (Ctrl-C)",
            Exit::Terminated => "terminated (SIGTERM)",
        }
    }
}

/// Who owns a cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Lane {
    /// Compose, environment, scripts, docker, disk, an image that does not build.
    A,
    /// API, worker, beat.
    B,
    /// Migrations, verify, restore and schema.
    C,
    /// Secrets and personal data.
    D,
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// A failure that a person can act on.
#[derive(Debug, Clone)]
pub struct Fault {
    /// What failed, on what.
    pub what: String,
    /// Why: the quoted cause, already free of secrets and row values.
    pub why: Option<String>,
    /// What to do next.
    pub remedy: Option<String>,
    /// The log that has more.
    pub log: Option<PathBuf>,
    /// Whose it is.
    pub lane: Option<Lane>,
    /// The exit code, where the failure itself decides it.
    pub exit: Option<Exit>,
}

impl Fault {
    pub fn new(what: impl Into<String>) -> Fault {
        Fault { what: what.into(), why: None, remedy: None, log: None, lane: None, exit: None }
    }
    pub fn why(mut self, why: impl Into<String>) -> Fault {
        self.why = Some(why.into()).filter(|w: &String| !w.trim().is_empty());
        self
    }
    pub fn remedy(mut self, remedy: impl Into<String>) -> Fault {
        self.remedy = Some(remedy.into());
        self
    }
    pub fn log(mut self, log: impl Into<PathBuf>) -> Fault {
        self.log = Some(log.into());
        self
    }
    pub fn lane(mut self, lane: Lane) -> Fault {
        self.lane = Some(lane);
        self
    }
    pub fn exit(mut self, exit: Exit) -> Fault {
        self.exit = Some(exit);
        self
    }
    pub fn usage(what: impl Into<String>) -> Fault {
        Fault::new(what).exit(Exit::Usage)
    }
    pub fn refused(what: impl Into<String>) -> Fault {
        Fault::new(what).exit(Exit::Refused)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some(why) = &self.why {
            write!(f, ": {}", why.trim())?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}

/// The [`Fault`] in a chain of causes, or one made of the chain.
pub fn fault_of(error: &anyhow::Error) -> Fault {
    match error.downcast_ref::<Fault>() {
        Some(fault) => fault.clone(),
        None => {
            let mut chain = error.chain();
            let what = chain.next().map(ToString::to_string).unwrap_or_default();
            let why: Vec<String> = chain.map(ToString::to_string).collect();
            Fault::new(what).why(why.join(": "))
        }
    }
}

/// The first of many, in words.
pub fn some(all: &[String]) -> String {
    let more = all.len().saturating_sub(10);
    let first = all.iter().take(10).cloned().collect::<Vec<_>>().join(", ");
    if more == 0 { first } else { format!("{first} and {more} more") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_specification() {
        let all = [
            (Exit::Pass, 0),
            (Exit::Usage, 2),
            (Exit::Refused, 10),
            (Exit::Locked, 11),
            (Exit::FailUnchanged, 20),
            (Exit::FailRolledBack, 30),
            (Exit::NeedsPerson, 40),
            (Exit::Evidence, 50),
            (Exit::Interrupted, 130),
            (Exit::Terminated, 143),
        ];
        for (exit, code) in all {
            assert_eq!(exit.code(), code, "{exit:?}");
        }
    }

    #[test]
    fn a_fault_survives_added_context() {
        let error = anyhow::Error::from(Fault::usage("no stand").remedy("use --repo")).context("outer");
        let fault = fault_of(&error);
        assert_eq!(fault.exit, Some(Exit::Usage));
        assert_eq!(fault.remedy.as_deref(), Some("use --repo"));
    }

    #[test]
    fn a_plain_chain_becomes_what_and_why() {
        let fault = fault_of(&anyhow!("disk full").context("write plan.json"));
        assert_eq!(fault.what, "write plan.json");
        assert_eq!(fault.why.as_deref(), Some("disk full"));
    }
}
