//! The command line: one file a command, one line a command here.

mod args;
mod backup;
mod config;
mod demo;
mod doctor;
mod evidence;
mod release;
mod rollback;
mod smoke;
mod status;

use crate::config::{Overrides, load};
use crate::error::{Exit, Fault, Result, anyhow, fault_of};
use crate::exec::{Exec, Interrupt, Kind};
use crate::facts;
use crate::pipeline::{Ending, Start};
use crate::redact::Redactor;
use crate::report::{self, Screen, words};
use crate::stand::Stand;
use args::{Cli, Command, Global};
use clap::Parser;
use std::path::{Path, PathBuf};

/// Parses, runs, says what went wrong, and tells the exit code.
pub fn main() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout with 0, everything else to stderr with 2.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Pass };
        }
    };
    let screen = Screen::new(cli.global.color(), cli.global.quiet);
    match run(&cli, &screen) {
        Ok(exit) => exit,
        Err(error) => {
            let fault = fault_of(&error);
            let exit = fault.exit.unwrap_or(Exit::FailUnchanged);
            screen.say(&words::fault(&fault, exit, screen.paint));
            exit
        }
    }
}

fn run(cli: &Cli, screen: &Screen) -> Result<Exit> {
    let global = &cli.global;
    match &cli.command {
        Command::Release(args) => release::run(global, args, screen),
        Command::Backup(args) => backup::run(global, args, screen),
        Command::Smoke(args) => smoke::run(global, args, screen),
        Command::Rollback(args) => rollback::run(global, args, screen),
        Command::Status => status::run(global, screen),
        Command::Doctor => doctor::run(global, screen),
        Command::Evidence(args) => evidence::run(global, args, screen),
        Command::Config => config::run(global, screen),
        Command::Demo(args) => demo::run(global, args, screen),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(
                *shell,
                &mut <Cli as clap::CommandFactory>::command(),
                "xtask",
                &mut text,
            );
            screen.data(&String::from_utf8_lossy(&text));
            Ok(Exit::Pass)
        }
    }
}

/// The checkout that is meant: `--repo`, else the nearest directory upwards that holds a compose file.
fn find_repo(given: Option<&Path>) -> Result<PathBuf> {
    let here = std::env::current_dir()?;
    if let Some(given) = given {
        let repo = crate::fsx::absolute(given)?;
        if !repo.is_dir() {
            return Err(
                Fault::usage(format!("--repo {}: there is no such directory", given.display())).into()
            );
        }
        return Ok(repo);
    }
    let names = ["docker-compose.yml", "docker-compose.yaml", "compose.yml", "compose.yaml"];
    let found = here
        .ancestors()
        .find(|dir| names.iter().any(|n| dir.join(n).exists()) || dir.join(crate::config::FILE).exists());
    match found {
        Some(dir) => crate::fsx::absolute(dir),
        None => Err(Fault::usage(format!(
            "no stand here: {} and what is above it hold no docker-compose.yml",
            here.display()
        ))
        .remedy("run in the checkout to be released, or name it: cargo xtask --repo PATH ... (or FF_REPO)")
        .into()),
    }
}

/// What a command of the pipeline is given, for the checkout at `repo`.
fn with_start<T>(
    repo: &Path,
    overrides: &Overrides,
    screen: &Screen,
    interrupt: &Interrupt,
    work: impl FnOnce(&Start<'_>) -> Result<T>,
) -> Result<T> {
    // `vars` panics on names that are not Unicode; they are none of ours.
    let environment: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
        .collect();
    let config = load(repo, &environment, overrides)?;
    let redactor = Redactor::with_extra(&config.redact.keys, &config.redact.patterns)
        .map_err(|e| Fault::usage("[redact] patterns do not fit").why(e))?;
    // Before the first process: what it says when it fails may quote them.
    facts::learn_own_files(&redactor, &config);
    screen.hide_with(&redactor);
    let exec = Exec::new(redactor, interrupt.clone());
    let stand = Stand::new(&config, exec);
    let events = screen.events();
    work(&Start { config: &config, stand: &stand, events: &events, interrupt, render: report::render })
}

/// Listens for Ctrl-C and SIGTERM; once in a process. `left`: what a stop at once leaves behind, and what
/// puts it right.
fn listen(screen: &Screen, left: String) -> Result<Interrupt> {
    let interrupt = Interrupt::default();
    let (first, second) = (screen.clone(), screen.clone());
    interrupt.listen(
        move |kind| {
            first.say(&format!(
                "\n{}: finishing or undoing what was begun; once more stops at once\n",
                word(kind)
            ))
        },
        move |kind| second.say(&format!("\n{} again: stopped at once. {left}\n", word(kind))),
    )?;
    Ok(interrupt)
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::CtrlC => "Ctrl-C",
        Kind::Terminate => "SIGTERM",
    }
}

fn exit_of(kind: Kind) -> Exit {
    match kind {
        Kind::CtrlC => Exit::Interrupted,
        Kind::Terminate => Exit::Terminated,
    }
}

/// What a command that changes something leaves when it is stopped at once.
const HALF_WAY: &str =
    "The stand may be half-way: `cargo xtask status` says what is open, `cargo xtask rollback` puts it right";
/// The same of one that only looks.
const ONLY_LOOKED: &str = "It only looked: nothing was changed";

/// The same for the checkout that the command line means. `left`: what a stop at once leaves.
fn with_global<T>(
    global: &Global,
    screen: &Screen,
    left: &str,
    work: impl FnOnce(&Start<'_>) -> Result<T>,
) -> Result<T> {
    let repo = find_repo(global.repo.as_deref())?;
    let interrupt = listen(screen, left.into())?;
    let result = with_start(&repo, &global.overrides(), screen, &interrupt, work);
    // What fails once a run has begun stands in its evidence, and is no error here.
    match (result, interrupt.kind()) {
        (Err(error), Some(kind)) => Err(cut_short(&error, kind).into()),
        (result, _) => result,
    }
}

/// Nothing is told of a look that was cut short: what was not asked any more would look like an answer.
fn looked_to_the_end(start: &Start<'_>) -> Result<()> {
    match start.interrupt.kind() {
        None => Ok(()),
        Some(_) => Err(anyhow!("the look at the stand was cut short")),
    }
}

/// A question that was cut short says nothing about who was asked.
fn cut_short(error: &anyhow::Error, kind: Kind) -> Fault {
    Fault::new(format!("stopped by {} before anything was begun", word(kind)))
        .why(format!("what was asked last: {}", fault_of(error).what))
        .exit(exit_of(kind))
}

/// The one screen at the end, and the summary as data where it is wanted.
fn tell(ending: &Ending, json: bool, screen: &Screen) -> Result<Exit> {
    match &ending.summary {
        Some(summary) => {
            screen.say(&words::summary(summary, screen.paint));
            if json {
                screen.data(&(serde_json::to_string_pretty(summary)? + "\n"));
            }
        }
        None => {
            let fault =
                ending.unsaved.clone().unwrap_or_else(|| Fault::new("the run ended without a summary"));
            screen.say(&words::fault(&fault, ending.exit, screen.paint));
        }
    }
    Ok(ending.exit)
}
