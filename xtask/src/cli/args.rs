//! What can be typed.

use crate::config::Overrides;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

const EXIT_CODES: &str = "\
Exit codes tell the state in which the stand was left:
   0  passed, proved                      20  failed; the stand is as it was
   2  usage or configuration error        30  failed; rolled back and verified
  10  refused before anything was touched 40  failed; the stand needs a person
  11  another writer holds the lock       50  evidence missing or not verifying
 130, 143  interrupted before it could finish";

/// Takes a FoxProFlow stand from one version to the next, proves every step, and brings the
/// previous version and its database back when anything fails.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Args)]
pub struct Global {
    /// The checkout to work on [default: the nearest directory upwards with a compose file or ops/xtask.toml]
    #[arg(long, global = true, env = "FF_REPO", value_name = "PATH")]
    pub repo: Option<PathBuf>,
    /// Compose project [default: stand.project, as cargo xtask config shows it]
    #[arg(long, global = true, value_name = "NAME")]
    pub project: Option<String>,
    /// Another configuration file than ops/xtask.toml
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Set any configuration value, e.g. --set deploy.soak_s=10
    #[arg(long = "set", global = true, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Print the result as JSON on stdout
    #[arg(long, global = true)]
    pub json: bool,
    /// Say only warnings, questions with what they are about, and the end
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Colour [default: on a terminal, unless NO_COLOR is set]
    #[arg(long, global = true, value_enum, default_value = "auto")]
    pub color: Color,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    Auto,
    Always,
    Never,
}

impl Global {
    pub fn color(&self) -> Option<bool> {
        match self.color {
            Color::Auto => None,
            Color::Always => Some(true),
            Color::Never => Some(false),
        }
    }

    /// What the command line says of the configuration.
    pub fn overrides(&self) -> Overrides {
        let mut values: Vec<(String, String)> = self
            .set
            .iter()
            .map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                (key.to_string(), value.to_string())
            })
            .collect();
        values.extend(self.project.iter().map(|p| ("stand.project".to_string(), p.clone())));
        Overrides { values, file: self.config.clone() }
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// The whole pipeline: back up, prove, build, migrate, deploy, smoke; back again when it fails
    Release(Release),
    /// Back the database up and prove the backup
    ///
    /// Where scripts/pwsh/ff-backup.ps1 and pwsh (PowerShell 7) are there, the script runs first and
    /// its result is verified; when it fails, so does the backup. Without the script:
    /// --set backup.engine=native
    Backup(Single),
    /// The quick check: API, worker, one task that really goes through
    Smoke(Single),
    /// Back to the state before the last release; also finishes or undoes an interrupted run
    Rollback(Rollback),
    /// Which version runs, how to go back, what is open
    Status,
    /// Is everything ready for a release? Every finding with its remedy; changes nothing
    Doctor,
    /// Read and re-verify what runs left behind, offline
    Evidence(Evidence),
    /// The resolved configuration, each value with the layer it came from
    Config,
    /// The bundled sample stand: a good release, then a broken one that rolls back
    ///
    /// It has its own stand and its own values: of the options of all commands only --quiet and --color
    /// count.
    Demo(Demo),
    /// Shell completions
    Completions { shell: clap_complete::Shell },
}

#[derive(Debug, Args)]
pub struct Release {
    /// Print what would run, on what, what it destroys; change nothing
    #[arg(long)]
    pub plan: bool,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// The release id [default: rel_<UTC time>_<short head>]
    #[arg(long, value_name = "RID")]
    pub rid: Option<String>,
    /// A DevTask that this release carries, besides those in commit subjects: [DEVTASK:N]
    #[arg(long, value_name = "N")]
    pub devtask: Vec<String>,
    /// No backup: needs --no-rollback
    #[arg(long, value_name = "REASON", value_parser = reason)]
    pub skip_backup: Option<String>,
    /// Release the images as they are
    #[arg(long, value_name = "REASON", value_parser = reason)]
    pub skip_build: Option<String>,
    /// Apply no migration
    #[arg(long, value_name = "REASON", value_parser = reason)]
    pub skip_migrate: Option<String>,
    /// Leave a failed release in place
    #[arg(long, value_name = "REASON", value_parser = reason)]
    pub no_rollback: Option<String>,
    /// Release uncommitted edits
    #[arg(long, value_name = "REASON", value_parser = reason)]
    pub allow_dirty: Option<String>,
    /// Do not restore the backup to prove it: needs --no-rollback
    #[arg(long, value_name = "REASON", value_parser = reason)]
    pub no_proof: Option<String>,
}

/// A flag that weakens a gate is worth a sentence.
fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.chars().count() < 3 {
        Err("say why, in a few words: it stands in the summary".into())
    } else {
        Ok(text.into())
    }
}

/// A command that is one step of a release.
#[derive(Debug, Args)]
pub struct Single {
    /// The id of this run, beginning with its kind [default: bak or smk, _<UTC time>_<short head>]
    #[arg(long, value_name = "RID")]
    pub rid: Option<String>,
}

#[derive(Debug, Args)]
pub struct Rollback {
    /// Go back to this release: its code, and the database as it left it
    #[arg(long, value_name = "RID", conflicts_with = "backup")]
    pub to: Option<String>,
    /// Go back to the database in this backup directory; the code stays
    #[arg(long, value_name = "DIR")]
    pub backup: Option<PathBuf>,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// The id of this run, beginning with rbk_ [default: rbk_<UTC time>_<short head>]
    #[arg(long, value_name = "RID")]
    pub rid: Option<String>,
}

#[derive(Debug, Args)]
pub struct Evidence {
    #[command(subcommand)]
    pub command: EvidenceCommand,
}

#[derive(Debug, Subcommand)]
pub enum EvidenceCommand {
    /// The runs, newest first
    List,
    /// What a run came to
    Show { rid: String },
    /// Check a run's files and derive its verdict again: exit 0 or 50, 2 where there is no such run
    Verify {
        /// A release id, or the path of a run directory
        rid: String,
    },
}

#[derive(Debug, Args)]
pub struct Demo {
    /// Leave the stand running and the copy where it is
    #[arg(long)]
    pub keep: bool,
    /// The bad version that is released second
    #[arg(long, default_value = "bad-drop-column")]
    pub bad: String,
    /// Where to make the copy [default: a temporary directory]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Only remove the copy in DIR that --keep left: its containers, volumes, images and files
    #[arg(long, value_name = "DIR", conflicts_with_all = ["keep", "bad", "dir"])]
    pub remove: Option<PathBuf>,
}
