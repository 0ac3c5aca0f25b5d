//! summary.md.

use crate::clock::human_ms;
use crate::evidence::Summary;
use std::fmt::Write;

/// The summary as Markdown.
pub fn summary(s: &Summary) -> String {
    let mut out = format!("# {}: {} {}\n\n", s.verdict, s.command, s.rid);
    let mut row = |key: &str, value: &str| {
        let _ = writeln!(out, "- **{key}**: {}", cell(value));
    };
    row("exit code", &s.exit_code.to_string());
    row("stand", &format!("{} ({})", s.state_left, s.project));
    if let Some(reason) = &s.reason {
        row("why", reason);
    }
    row("when", &format!("{} to {} ({})", s.started, s.ended, human_ms(s.duration_ms)));
    row("who", &format!("{}@{}", s.operator, s.host));
    row(
        "commit",
        &format!(
            "{} ({}{})",
            s.git.head,
            s.git.branch,
            if s.git.dirty == Some(true) { ", dirty" } else { "" }
        ),
    );
    if let Some(ms) = s.downtime_ms.measured {
        row("downtime", &human_ms(ms));
    }
    row("canon", &s.canon);
    for w in &s.waivers {
        row("waived", &format!("{} by {}: {}", w.gate, w.flag, w.reason));
    }
    out.push_str("\n## Gates\n\n| gate | holds | detail |\n|---|---|---|\n");
    for g in &s.gates {
        let _ = writeln!(out, "| {} | {} | {} |", g.id, if g.ok { "yes" } else { "**no**" }, cell(&g.detail));
    }
    out.push_str("\n## Steps\n\n| step | status | time | what |\n|---|---|---|---|\n");
    for step in &s.steps {
        let status = format!("{:?}", step.status).to_lowercase();
        let _ = writeln!(
            out,
            "| {} | {status} | {} | {} |",
            step.name,
            human_ms(step.ms),
            cell(step.reason.as_deref().unwrap_or(""))
        );
    }
    if !s.smoke.is_empty() {
        out.push_str("\n## Smoke\n\n| check | good | time | detail |\n|---|---|---|---|\n");
        for c in &s.smoke {
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} |",
                cell(&c.name),
                if c.ok { "yes" } else { "**no**" },
                human_ms(c.ms),
                cell(&c.detail)
            );
        }
    }
    if !s.rollback.set_aside.is_empty() {
        let from_backup = s.rollback.source.as_deref() == Some("archive");
        let then = if from_backup { "in the backup" } else { "at the fence" };
        let _ = writeln!(
            out,
            "\n## Set aside\n\n| table | {then} | in the failed database | written since | rewritten |\n|---|---|---|---|---|"
        );
        let number = |n: Option<u64>| n.map_or("?".to_string(), |n| n.to_string());
        for a in s.rollback.set_aside.iter().take(SHOWN) {
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} |",
                cell(&a.table),
                number(a.at_fence.or(a.in_backup)),
                number(a.now),
                number(a.written_since),
                a.rewritten.map_or("?", |r| if r { "yes" } else { "no" })
            );
        }
        if let Some(more @ 1..) = s.rollback.set_aside.len().checked_sub(SHOWN) {
            let _ = writeln!(out, "\nAnd {more} more tables: rollback.json has them all.");
        }
    }
    if !s.next.is_empty() {
        out.push_str("\n## Next\n\n");
        for line in &s.next {
            let _ = writeln!(out, "- {line}");
        }
    }
    out
}

/// Tables that are listed of those that have rows set aside.
const SHOWN: usize = 100;

/// A text inside a table cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}
