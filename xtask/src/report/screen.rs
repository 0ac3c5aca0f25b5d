//! The screen while a command works: one moving line for each step on a
//! terminal, plain lines elsewhere. The only place that prints; talk goes to
//! stderr, data to stdout.

#![allow(clippy::disallowed_methods)] // the one place that prints

use super::progress::progress;
use super::words::Paint;
use crate::clock::human_ms;
use crate::event::{Event, Events, Far, Outcome};
use crate::exec::Interrupt;
use crate::redact::Redactor;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How often a plain screen says that it is still waiting.
const STILL: Duration = Duration::from_secs(10);
/// A wait shorter than this is not worth a line.
const LASTING: Duration = Duration::from_millis(900);

#[derive(Clone)]
pub struct Screen {
    inner: Arc<Mutex<Inner>>,
    pub paint: Paint,
    pub quiet: bool,
}

struct Inner {
    /// Everything that is shown goes through it: whoever says something need not think of it.
    redactor: Redactor,
    talk: Box<dyn Write + Send>,
    bars: Option<MultiProgress>,
    steps: BTreeMap<String, Active>,
}

struct Active {
    bar: Option<ProgressBar>,
    what: String,
    what_since: Instant,
    limit_ms: u64,
    /// How far it is, and how far it was when it was first told: between the two lies the rate.
    far: Option<(Far, Instant, Far)>,
    /// On a plain screen a wait is told once it lasts.
    announced: bool,
    said: Instant,
}

impl Screen {
    /// `color`: what the command line says; without a word, the terminal and NO_COLOR decide.
    pub fn new(color: Option<bool>, quiet: bool) -> Screen {
        let tty = std::io::stderr().is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let dumb = std::env::var("TERM").is_ok_and(|t| t == "dumb");
        let screen = Screen::on(Box::new(std::io::stderr()), (tty && !dumb, plain), color, quiet);
        screen.keep_talking();
        screen
    }

    /// `moves`: lines may be drawn again; `plain`: the environment wants no colour.
    fn on(
        talk: Box<dyn Write + Send>,
        (moves, plain): (bool, bool),
        color: Option<bool>,
        quiet: bool,
    ) -> Screen {
        let bars = (moves && !quiet).then(MultiProgress::new);
        let inner = Inner { redactor: Redactor::new(), talk, bars, steps: BTreeMap::new() };
        let paint = Paint { color: color.unwrap_or(moves && !plain) };
        Screen { inner: Arc::new(Mutex::new(inner)), paint, quiet }
    }

    /// Masks by this one from now on: it knows the stand's secrets.
    pub fn hide_with(&self, redactor: &Redactor) {
        self.lock().redactor = redactor.clone();
    }

    pub fn events(&self) -> Events {
        let screen = self.clone();
        Events::new(move |event| screen.take(event))
    }

    /// Data, for a program that reads it.
    pub fn data(&self, text: &str) {
        let text = self.lock().redactor.output(text);
        // A reader that went away is no failure of ours.
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(text.as_bytes());
        let _ = out.flush();
    }

    /// Talk, for a person.
    pub fn say(&self, text: &str) {
        print(&mut self.lock(), text);
    }

    /// Asks yes or no; no without a terminal, and no when the operator says stop instead.
    pub fn ask(&self, question: &str, interrupt: &Interrupt) -> bool {
        if !std::io::stdin().is_terminal() {
            return false;
        }
        self.say(&format!("{question} [y/N] "));
        // A read goes on after a signal: it is waited for beside, and left alone where nobody answers.
        let (told, answers) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut answer = String::new();
            let read = std::io::stdin().read_line(&mut answer).map(|_| answer);
            let _ = told.send(read);
        });
        loop {
            match answers.recv_timeout(Duration::from_millis(50)) {
                Ok(answer) => {
                    let yes = |text: String| matches!(text.trim(), "y" | "Y" | "yes" | "да");
                    return interrupt.kind().is_none() && answer.is_ok_and(yes);
                }
                Err(RecvTimeoutError::Timeout) if interrupt.kind().is_none() => {}
                Err(_) => return false,
            }
        }
    }

    fn take(&self, event: Event) {
        if self.quiet && !matches!(event, Event::Warning { .. }) {
            return;
        }
        let mut inner = self.lock();
        let redactor = inner.redactor.clone();
        match event {
            Event::StepStarted { step } => inner.begin(&step),
            Event::StepEnded { step, outcome, ms, detail } => {
                if let Some(active) = inner.steps.remove(&step)
                    && let Some(bar) = active.bar
                {
                    bar.finish_and_clear();
                }
                let word = match outcome {
                    Outcome::Ok => self.paint.good("ok  "),
                    Outcome::Skipped => self.paint.warn("skip"),
                    Outcome::Failed => self.paint.bad("FAIL"),
                    Outcome::Interrupted => self.paint.warn("stop"),
                };
                print(&mut inner, &format!("{word} {step:<9} {:>8}  {detail}\n", human_ms(ms)));
            }
            Event::Waiting { step, what, limit_ms } => {
                if let Some(active) = inner.steps.get_mut(&step) {
                    active.what = what.clone();
                    active.what_since = Instant::now();
                    active.limit_ms = limit_ms;
                    active.announced = false;
                    active.far = None;
                    if let Some(bar) = &active.bar {
                        let text = format!("waiting for {what} (at most {})", human_ms(limit_ms));
                        bar.set_message(redactor.output(&text));
                    }
                }
            }
            Event::Progress { step, what, far } => {
                if let Some(active) = inner.steps.get_mut(&step) {
                    let now = Instant::now();
                    if active.what != what || active.far.is_none() {
                        active.what = what;
                        active.what_since = now;
                        active.announced = true;
                        active.far = None;
                    }
                    let (first, since, _) = active.far.unwrap_or((far, now, far));
                    active.far = Some((first, since, far));
                    if let Some(bar) = &active.bar {
                        let text = progress(&active.what, first, far, since.elapsed());
                        bar.set_message(redactor.output(&text));
                    }
                }
            }
            Event::Note { step, text } => print(&mut inner, &format!("     {step:<9} {text}\n")),
            Event::Warning { step, text } => {
                print(&mut inner, &format!("{} {step:<9} {text}\n", self.paint.warn("warn")));
            }
            Event::Tail { log, lines } => {
                print(&mut inner, &format!("{}\n", self.paint.dim(&format!("     last lines of {log}:"))));
                for line in lines {
                    print(&mut inner, &format!("     {} {line}\n", self.paint.dim("|")));
                }
            }
        }
    }

    /// Without a terminal nothing moves: a line now and then says what is being waited for.
    fn keep_talking(&self) {
        if self.quiet || self.lock().bars.is_some() {
            return;
        }
        let weak = Arc::downgrade(&self.inner);
        std::thread::spawn(move || {
            while let Some(inner) = weak.upgrade() {
                {
                    let mut inner = inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    inner.tell_waits(Instant::now());
                }
                drop(inner);
                std::thread::sleep(Duration::from_millis(300));
            }
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Inner {
    /// What is being waited for at `now`, and has not been told for a while.
    fn tell_waits(&mut self, now: Instant) {
        let mut lines = Vec::new();
        for (step, active) in &mut self.steps {
            if !active.announced && now.duration_since(active.what_since) >= LASTING {
                active.announced = true;
                let (what, limit) = (&active.what, human_ms(active.limit_ms));
                lines.push(format!("     {step:<9} waiting for {what} (at most {limit})\n"));
            }
            if now.duration_since(active.said) >= STILL {
                active.said = now;
                lines.push(format!("     {step:<9} {}\n", active.text(now)));
            }
        }
        for line in lines {
            print(self, &line);
        }
    }

    fn begin(&mut self, step: &str) {
        let now = Instant::now();
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix:<9} {elapsed:>4}  {wide_msg}")
            {
                bar.set_style(style);
            }
            bar.set_prefix(step.to_string());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        if bar.is_none() {
            print(self, &format!("     {step:<9} begins\n"));
        }
        let what = String::new();
        let active =
            Active { bar, what, what_since: now, limit_ms: 0, far: None, announced: true, said: now };
        self.steps.insert(step.into(), active);
    }
}

impl Active {
    /// What it is at now, for how long, and how far.
    fn text(&self, now: Instant) -> String {
        match self.far {
            Some((first, since, far)) if far != Far::default() => {
                progress(&self.what, first, far, now.duration_since(since))
            }
            _ => {
                let what = if self.what.is_empty() { "at work" } else { &self.what };
                format!(
                    "still: {what}, for {}",
                    human_ms(crate::clock::ms(now.duration_since(self.what_since)))
                )
            }
        }
    }
}

fn print(inner: &mut Inner, text: &str) {
    let text = inner.redactor.output(text);
    let talk = &mut inner.talk;
    let mut write = || {
        // At once: what comes in pieces is torn by what others say.
        let _ = talk.write_all(text.as_bytes());
        let _ = talk.flush();
    };
    match &inner.bars {
        Some(bars) => bars.suspend(write),
        None => write(),
    }
}

#[cfg(test)]
mod tests;
