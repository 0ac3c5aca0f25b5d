//! The commands that are played, each on a copy of the checkout as it was before
//! it, and against a tape of its own.

use crate::acts::{CLOSE, stops};
use crate::judge::Phase;
use crate::tape::Call;
use std::path::Path;

/// A command that is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Play {
    /// A release, with the way back that is within it.
    Release,
    /// `rollback` to before a release that passed, by its undo clone.
    Undo,
    /// `rollback` of a release that was killed when the new version had been started.
    Recover,
    /// `rollback --backup`: the database of a backup directory, with the code that runs.
    From,
    Backup,
    Smoke,
    /// These two only look.
    Status,
    Doctor,
}

pub const PLAYS: [Play; 8] = [
    Play::Release,
    Play::Undo,
    Play::Recover,
    Play::From,
    Play::Backup,
    Play::Smoke,
    Play::Status,
    Play::Doctor,
];

/// The backup that [`Play::From`] goes back to.
pub const BACKUP: &str = "bak_fault";

impl Play {
    pub fn name(self) -> &'static str {
        match self {
            Play::Release => "release",
            Play::Undo => "undo",
            Play::Recover => "recover",
            Play::From => "from",
            Play::Status => "status",
            Play::Doctor => "doctor",
            Play::Backup => "backup",
            Play::Smoke => "smoke",
        }
    }

    pub fn rid(self) -> &'static str {
        match self {
            Play::Release => "rel_fault_cell",
            Play::Undo | Play::Recover | Play::From => "rbk_fault_cell",
            // Of no run: they have no evidence.
            Play::Status | Play::Doctor => "looks_fault_cell",
            Play::Backup => "bak_fault_cell",
            Play::Smoke => "smk_fault_cell",
        }
    }

    /// The command line, for a checkout in `repo`.
    pub fn args(self, rid: &str, repo: &Path) -> Vec<String> {
        let words = match self {
            Play::Release => vec!["release", "--yes"],
            Play::Undo | Play::Recover | Play::From => vec!["rollback", "--yes"],
            Play::Backup => vec!["backup"],
            Play::Smoke => vec!["smoke"],
            Play::Status => vec!["status"],
            Play::Doctor => vec!["doctor"],
        };
        let mut args: Vec<String> = words.into_iter().map(String::from).collect();
        if !self.looks() {
            args.extend(["--rid".into(), rid.into()]);
        }
        if self == Play::From {
            args.extend(["--backup".into(), backup_in(repo)]);
        }
        args
    }

    /// Is it a `rollback`?
    pub fn is_way_back(self) -> bool {
        matches!(self, Play::Undo | Play::Recover | Play::From)
    }

    /// Does it change nothing, whatever it finds?
    pub fn looks(self) -> bool {
        matches!(self, Play::Status | Play::Doctor)
    }

    /// The exit code of a run in which nothing is broken; in the cells of a release's way back its smoke fails.
    pub fn undisturbed(self, phase: Phase) -> i32 {
        if self == Play::Release && phase == Phase::Back { 30 } else { 0 }
    }

    /// The exit codes with which a run may end in which a call was broken. From the stop of a
    /// `rollback` on as for the way back in a release: what only tells of it may fail.
    pub fn allowed(self, phase: Phase) -> &'static [i32] {
        match (self, phase) {
            (Play::Release, Phase::Before) => &[0, 2, 10, 11, 20],
            (Play::Release, Phase::Changed) => &[0, 20, 30, 40],
            (Play::Release, Phase::Back) => &[30, 40],
            (_, Phase::After) => &[0, 50],
            // A lock that is lost by it shows at the first act, after the stop.
            (play, Phase::Before) if play.is_way_back() => &[0, 2, 10, 11, 40],
            (play, _) if play.is_way_back() => &[0, 40],
            (Play::Status, _) => &[0, 2, 10],
            (Play::Doctor, _) => &[0, 2, 10],
            _ => &[0, 2, 10, 11, 20],
        }
    }

    /// Is this what `state_left` says of a run that ended so? `touched`: it had begun to change what serves.
    pub fn left(self, code: i32, state: &str, touched: bool) -> bool {
        match (self, code) {
            (Play::Release, 0) => state == "the new version runs",
            (play, 0) if play.is_way_back() => state.ends_with(" runs, on the database as it was then"),
            (Play::Release, 20) if touched => state.starts_with("as before"),
            (Play::Release, 20) => state == "unchanged",
            (Play::Backup | Play::Smoke, 0 | 20) | (_, 2 | 10 | 11) => state == "unchanged",
            (_, 30) => state.starts_with("the previous version runs"),
            (_, 40) => state.starts_with("needs a person"),
            (Play::Release, 50) => state.starts_with("the new version runs"),
            (play, 50) if play.is_way_back() => state.ends_with("; the evidence is not complete"),
            _ => false,
        }
    }

    /// How far the run is when it makes a call that it makes after one in `phase`.
    pub fn phase(self, phase: Phase, call: &Call) -> Phase {
        let stops = stops(&call.label);
        // The clone is summed once more while the failed version stops.
        let sums = call.label.contains("WITH ALLOW_CONNECTIONS true");
        match self {
            Play::Release if stops && phase == Phase::Before => Phase::Changed,
            Play::Release if call.label.contains("ffxlock") && call.label.contains(" rollback ") => {
                Phase::Back
            }
            Play::Release if phase == Phase::Changed && call.label.contains("rm -rf /tmp/ffx_") => {
                Phase::After
            }
            Play::Undo | Play::Recover if stops || sums => Phase::Back,
            Play::From if call.label.contains(CLOSE) => Phase::Back,
            _ => phase,
        }
    }
}

/// The directory of [`BACKUP`] in this checkout.
fn backup_in(repo: &Path) -> String {
    let mut all = std::fs::read_dir(repo.join("ops/_backups")).unwrap().map(|e| e.unwrap().path());
    let made = all.find(|dir| dir.to_string_lossy().ends_with(&format!("_{BACKUP}")));
    made.unwrap_or_else(|| panic!("{} has no backup of {BACKUP}", repo.display())).display().to_string()
}
