//! `demo`: the bundled sample stand; a good release, then a broken one that
//! rolls back.

use super::args::{Demo, Global};
use super::{exit_of, listen, with_start};
use crate::config::Overrides;
use crate::error::{Context, Exit, Fault, Result};
use crate::evidence::Verdict;
use crate::exec::{Exec, Interrupt};
use crate::pipeline::Ending;
use crate::pipeline::prepare::{Options, prepare};
use crate::pipeline::release::release;
use crate::redact::Redactor;
use crate::report::{Screen, words};
use crate::sample::Sample;

pub fn run(global: &Global, args: &Demo, screen: &Screen) -> Result<Exit> {
    let exec = Exec::new(Redactor::new(), Interrupt::default()).shielded();
    if let Some(dir) = &args.remove {
        Sample::kept(dir)?.remove(&exec)?;
        screen.say(&format!("{} {} is removed\n", screen.paint.bold("demo:"), dir.display()));
        return Ok(Exit::Pass);
    }
    let scratch = tempfile::Builder::new()
        .prefix("foxproflow-demo-")
        .tempdir()
        .context("create a temporary directory")?;
    // A space and Cyrillic letters: paths as operators have them.
    let dir = args.dir.clone().unwrap_or_else(|| scratch.path().join("лис demo"));
    screen.say(&format!("{} a copy of the sample stand in {}\n", screen.paint.bold("demo:"), dir.display()));
    let sample = Sample::make(&exec, &dir)?;
    screen.say(&format!("      project {}, API on http://127.0.0.1:{}\n", sample.project, sample.port));
    let left = format!(
        "The stand is still there: cargo xtask demo --remove '{}' takes it away",
        sample.repo.display()
    );
    let interrupt = listen(screen, left)?;
    let result = acts(&exec, &sample, args, screen, &interrupt);
    if args.keep {
        let kept = if args.dir.is_none() { scratch.keep() } else { dir.clone() };
        screen.say(&format!(
            "\nkept: {}\n  look:   cargo xtask --repo '{repo}' status\n  remove: cargo xtask demo --remove '{repo}'\n",
            kept.display(),
            repo = sample.repo.display(),
        ));
    } else {
        sample.remove(&exec)?;
        screen.say("      the stand and its copy are removed (--keep leaves them)\n");
    }
    let _ = global;
    result
}

fn acts(exec: &Exec, sample: &Sample, args: &Demo, screen: &Screen, interrupt: &Interrupt) -> Result<Exit> {
    let act = |title: &str| screen.say(&format!("\n{} {title}\n", screen.paint.bold("demo:")));
    act("1 of 2: a good release, the first one on this stand");
    let good = one(sample, screen, interrupt)?;
    heeded(interrupt)?;
    if good.exit != Exit::Pass {
        return Err(Fault::new("the good release did not pass")
            .why(format!("exit {}", good.exit.code()))
            .into());
    }
    act(&format!("2 of 2: version `{}` is broken; it must roll back, code and database", args.bad));
    sample.version(exec, &args.bad)?;
    let bad = one(sample, screen, interrupt)?;
    heeded(interrupt)?;
    // An image that does not build fails before the stand is touched.
    let wanted = if args.bad == "bad-image" { Exit::FailUnchanged } else { Exit::FailRolledBack };
    let failed = bad.summary.as_ref().is_some_and(|s| s.verdict == Verdict::Fail);
    if !failed || bad.exit != wanted {
        return Err(Fault::new("the broken release did not roll back as it should")
            .why(format!("exit {}", bad.exit.code()))
            .exit(if bad.exit == Exit::Pass { Exit::NeedsPerson } else { bad.exit })
            .into());
    }
    let word = screen.paint.good("demo: good");
    screen.say(&format!(
        "\n{word}: the good release passed every gate, the broken one was rolled back and verified\n"
    ));
    Ok(Exit::Pass)
}

/// Who says stop gets no second release.
fn heeded(interrupt: &Interrupt) -> Result<()> {
    match interrupt.kind() {
        None => Ok(()),
        Some(kind) => Err(Fault::new("the demo was told to stop").exit(exit_of(kind)).into()),
    }
}

fn one(sample: &Sample, screen: &Screen, interrupt: &Interrupt) -> Result<Ending> {
    with_start(&sample.repo, &Overrides::default(), screen, interrupt, |start| {
        let prepared = prepare(start, Options::default())?;
        let ending = release(start, &prepared)?;
        if let Some(summary) = &ending.summary {
            screen.say(&words::summary(summary, screen.paint));
        }
        Ok(ending)
    })
}
