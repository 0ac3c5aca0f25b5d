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
    /// Bytes or items done, of a total where it is known.
    Progress { step: String, what: String, done: u64, total: Option<u64> },
    /// A fact worth a line.
    Note { step: String, text: String },
    /// Something the reader should look at; never changes the verdict.
    Warning { step: String, text: String },
    /// The last lines of a log, on failure.
    Tail { log: String, lines: Vec<String> },
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
