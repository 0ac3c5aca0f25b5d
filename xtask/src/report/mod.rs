//! How things look: the screen while a command works, the one screen at its
//! end, Markdown and HTML. Renders events and summaries; decides nothing.

pub mod html;
pub mod markdown;
mod progress;
pub mod screen;
pub mod words;

pub use screen::Screen;

use crate::evidence::Summary;

/// summary.md and report.html of a summary.
pub fn render(summary: &Summary) -> Vec<(String, String)> {
    vec![("summary.md".into(), markdown::summary(summary)), ("report.html".into(), html::report(summary))]
}
