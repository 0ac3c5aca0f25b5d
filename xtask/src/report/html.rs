//! report.html: one file, no scripts, nothing fetched.

use crate::clock::human_ms;
use crate::evidence::Summary;
use html_escape::encode_text;
use std::fmt::Write;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;\
color:#1a1a1a;background:#fff}h1 b{padding:.1em .5em;border-radius:.3em;color:#fff}.PASS{background:#1a7f37}\
.PASS_WAIVED{background:#9a6700}.FAIL,.REFUSED{background:#b42318}table{border-collapse:collapse;width:100%;\
margin:.5rem 0 1.5rem}td,th{border-bottom:1px solid #ddd;padding:.3rem .5rem;text-align:left;vertical-align:top;\
overflow-wrap:anywhere}.no{color:#b42318;font-weight:600}.yes{color:#1a7f37}\
@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}td,th{border-color:#333}}";

/// The summary as one HTML page.
pub fn report(s: &Summary) -> String {
    let e = |text: &str| encode_text(text).into_owned();
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{} {}</title><style>{STYLE}</style>\
         <h1><b class=\"{}\">{}</b> {} {}</h1><table>",
        s.verdict,
        e(&s.rid),
        s.verdict,
        s.verdict,
        e(&s.command),
        e(&s.rid)
    );
    let mut facts = vec![
        ("stand", format!("{} ({})", s.state_left, s.project)),
        ("exit code", s.exit_code.to_string()),
        ("when", format!("{} to {} ({})", s.started, s.ended, human_ms(s.duration_ms))),
        ("who", format!("{}@{}", s.operator, s.host)),
        ("commit", format!("{} ({})", s.git.head, s.git.branch)),
    ];
    facts.extend(s.reason.clone().map(|r| ("why", r)));
    facts.extend(s.downtime_ms.measured.map(|ms| ("downtime", human_ms(ms))));
    facts.extend(s.backup.as_ref().map(|b| ("backup", format!("{} ({})", b.dir, b.proof))));
    facts.extend(s.waivers.iter().map(|w| ("waived", format!("{} by {}: {}", w.gate, w.flag, w.reason))));
    facts.extend(s.next.iter().map(|n| ("next", n.clone())));
    for (key, value) in facts {
        let _ = write!(out, "<tr><th>{key}<td>{}", e(&value));
    }
    out.push_str("</table><h2>Gates</h2><table><tr><th>gate<th>holds<th>detail");
    for g in &s.gates {
        let _ = write!(out, "<tr><td>{}<td class=\"{1}\">{1}<td>{2}", e(&g.id), yes(g.ok), e(&g.detail));
    }
    out.push_str("</table><h2>Steps</h2><table><tr><th>step<th>status<th>time<th>what");
    for step in &s.steps {
        let status = format!("{:?}", step.status).to_lowercase();
        let what = e(step.reason.as_deref().unwrap_or_default());
        let _ = write!(out, "<tr><td>{}<td>{status}<td>{}<td>{what}", e(&step.name), human_ms(step.ms));
    }
    out.push_str("</table><h2>Smoke</h2><table><tr><th>check<th>good<th>time<th>detail");
    for c in &s.smoke {
        let _ = write!(
            out,
            "<tr><td>{}<td class=\"{2}\">{2}<td>{1}<td>{3}",
            e(&c.name),
            human_ms(c.ms),
            yes(c.ok),
            e(&c.detail)
        );
    }
    out.push_str("</table></html>\n");
    out
}

fn yes(ok: bool) -> &'static str {
    if ok { "yes" } else { "no" }
}
