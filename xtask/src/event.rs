//! What the steps tell while they work. Events flow down through a callback;
//! how they look on a screen is the report's business.

use std::sync::Arc;

/// One thing that happened, or that is being waited for.
#[derive(Debug, Clone)]
pub enum Event {
    /// A step begins.
    StepStarted { step: String },
    /// A step ended; `detail` is one line of facts.
    StepEnded { step: String, outcome: Outcome, ms: u64, detail: String },
    /// A step is waiting: for what, and its limit in ms. Sent once; the screen counts.
    Waiting { step: String, what: String, limit_ms: u64 },
    /// How far it is.
    Progress { step: String, what: String, far: Far },
    /// A fact worth a line.
    Note { step: String, text: String },
    /// Something the reader should look at; never changes the verdict.
    Warning { step: String, text: String },
    /// The last lines of a log, on failure.
    Tail { log: String, lines: Vec<String> },
}

/// How far something is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Far {
    pub done: u64,
    pub total: Option<u64>,
    /// Done and total are estimates.
    pub about: bool,
    /// Bytes that lie in a file by now, where that is another figure.
    pub written: Option<u64>,
}

impl Far {
    pub fn of(done: u64, total: u64) -> Far {
        Far { done, total: Some(total), ..Far::default() }
    }
    /// The same where both are estimates.
    pub fn about(done: u64, total: u64) -> Far {
        Far { about: true, ..Far::of(done.min(total), total) }
    }
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Ok,
    Failed,
    Skipped,
    Interrupted,
}

/// Where events go. Cheap to clone; called from several threads.
#[derive(Clone)]
pub struct Events(Arc<dyn Fn(Event) + Send + Sync>);

impl Events {
    pub fn new(sink: impl Fn(Event) + Send + Sync + 'static) -> Events {
        Events(Arc::new(sink))
    }
    /// For callers that show nothing.
    pub fn silent() -> Events {
        Events::new(|_| {})
    }
    pub fn send(&self, event: Event) {
        (self.0)(event);
    }
    pub fn note(&self, step: &str, text: impl Into<String>) {
        self.send(Event::Note { step: step.into(), text: text.into() });
    }
    pub fn warn(&self, step: &str, text: impl Into<String>) {
        self.send(Event::Warning { step: step.into(), text: text.into() });
    }
    pub fn waiting(&self, step: &str, what: impl Into<String>, limit_ms: u64) {
        self.send(Event::Waiting { step: step.into(), what: what.into(), limit_ms });
    }
}
