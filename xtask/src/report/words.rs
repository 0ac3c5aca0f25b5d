//! The one screen at the end: verdict, gates, what was done to the stand,
//! where the evidence is, what to do next.

use crate::clock::human_ms;
use crate::error::{Exit, Fault};
use crate::evidence::records::SetAside;
use crate::evidence::{EVIDENCE, Summary, Verdict};
use crate::fsx::human_bytes;
use owo_colors::{OwoColorize, Style};
use std::fmt::Write;

/// Styles, or none where colour is not wanted.
#[derive(Debug, Clone, Copy)]
pub struct Paint {
    pub color: bool,
}

impl Paint {
    fn with(self, text: &str, style: Style) -> String {
        if self.color { text.style(style).to_string() } else { text.to_string() }
    }
    pub fn good(self, text: &str) -> String {
        self.with(text, Style::new().green().bold())
    }
    pub fn bad(self, text: &str) -> String {
        self.with(text, Style::new().red().bold())
    }
    pub fn warn(self, text: &str) -> String {
        self.with(text, Style::new().yellow())
    }
    pub fn dim(self, text: &str) -> String {
        self.with(text, Style::new().dimmed())
    }
    pub fn bold(self, text: &str) -> String {
        self.with(text, Style::new().bold())
    }
}

/// What happened, on one screen.
pub fn summary(s: &Summary, paint: Paint) -> String {
    let mut out = String::new();
    let verdict = s.verdict.to_string();
    let head = match s.verdict {
        Verdict::Pass => paint.good(&verdict),
        Verdict::PassWaived => paint.warn(&verdict),
        Verdict::Fail | Verdict::Refused => paint.bad(&verdict),
    };
    let _ = writeln!(
        out,
        "\n{head}  {}  {} on {}  (exit {}, {})",
        s.command,
        s.rid,
        s.project,
        s.exit_code,
        human_ms(s.duration_ms)
    );
    for waiver in &s.waivers {
        let line = format!("waived {} by {}: {}", waiver.gate, waiver.flag, waiver.reason);
        let _ = writeln!(out, "  {}", paint.warn(&line));
    }
    if let Some(reason) = &s.reason {
        let _ = writeln!(out, "  why       {}", reason.replace('\n', " "));
    }
    let _ = writeln!(out, "  stand     {}", s.state_left);
    if let Some(ms) = s.downtime_ms.measured {
        let expected = s
            .downtime_ms
            .expected
            .map(|e| format!(" (expected at most {})", human_ms(e)))
            .unwrap_or_default();
        let _ = writeln!(out, "  downtime  {}{expected}", human_ms(ms));
    }
    let waived = |id: &str| s.waivers.iter().any(|w| w.gate == id);
    let (good, open): (Vec<_>, Vec<_>) = s.gates.iter().partition(|g| g.ok);
    let names: Vec<&str> = good.iter().map(|g| g.id.as_str()).collect();
    let _ = writeln!(out, "  gates     {} {}", paint.good("good"), names.join(" "));
    for gate in open {
        let word = if waived(&gate.id) { paint.warn("waived") } else { paint.bad("NOT") };
        let _ = writeln!(out, "            {word} {}: {}", gate.id, gate.detail);
    }
    if let Some(b) = &s.backup {
        let _ = writeln!(out, "  backup    {} ({}, {})", b.dir, human_bytes(b.bytes), b.proof);
        if b.same_device == Some(true) {
            let _ = writeln!(
                out,
                "            {}",
                paint.dim("on the same device as the database: [backup] copy_to copies it off")
            );
        }
    }
    if s.rollback.performed {
        let word = if s.rollback.verified { paint.good("verified") } else { paint.bad("NOT VERIFIED") };
        let source = s.rollback.source.as_deref().unwrap_or("?");
        let _ = writeln!(out, "  rollback  {word}, by {source}, in {}", human_ms(s.rollback.ms.unwrap_or(0)));
        for aside in s.rollback.set_aside.iter().take(SHOWN) {
            let _ = writeln!(out, "            set aside: {}", set_aside(aside, source == "archive"));
        }
        if let Some(more @ 1..) = s.rollback.set_aside.len().checked_sub(SHOWN) {
            let _ = writeln!(out, "            set aside: and {more} more tables, in rollback.json");
        }
    }
    let _ = writeln!(out, "  evidence  {}/{}", EVIDENCE, s.rid);
    for line in &s.next {
        let _ = writeln!(out, "  next      {line}");
    }
    out
}

/// Tables that a screen shows of those that have rows set aside.
const SHOWN: usize = 10;

/// What became of a table since the state that is back: that of the fence, or of a backup.
fn set_aside(aside: &SetAside, from_backup: bool) -> String {
    let then = if from_backup { "in the backup" } else { "at the fence" };
    let before = match (aside.at_fence.or(aside.in_backup), aside.rewritten) {
        (Some(n), _) => format!("{n} rows {then}"),
        (None, Some(_)) => format!("no such table {then}"),
        (None, None) => format!("not counted {then}"),
    };
    let Some(now) = aside.now else { return format!("{}: {before}, no such table now", aside.table) };
    let since = match aside.written_since {
        Some(n) => format!("{n} written since"),
        None => "how many were written since is not known".into(),
    };
    let note = if aside.rewritten == Some(true) { ", rewritten" } else { "" };
    format!("{}: {before}, {now} now, {since}{note}", aside.table)
}

/// A failure that has no evidence of its own: what, why, what to do, where.
pub fn fault(fault: &Fault, exit: Exit, paint: Paint) -> String {
    let mut out = format!("{} {}\n", paint.bad("error:"), fault.what);
    if let Some(why) = &fault.why {
        for line in why.trim().lines() {
            let _ = writeln!(out, "  why   {line}");
        }
    }
    if let Some(remedy) = &fault.remedy {
        let _ = writeln!(out, "  next  {remedy}");
    }
    if let Some(log) = &fault.log {
        let _ = writeln!(out, "  see   {}", log.display());
    }
    let _ = writeln!(out, "  {}", paint.dim(&format!("exit {}: {}", exit.code(), exit.meaning())));
    out
}
