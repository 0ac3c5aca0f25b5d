//! `smoke`

use super::args::{Global, Single};
use super::{ONLY_LOOKED, tell, with_global};
use crate::clock::human_ms;
use crate::error::{Exit, Result};
use crate::evidence::EVIDENCE;
use crate::pipeline::single;
use crate::report::Screen;

pub fn run(global: &Global, args: &Single, screen: &Screen) -> Result<Exit> {
    with_global(global, screen, ONLY_LOOKED, |start| {
        let told = |check: &crate::evidence::records::Check| {
            let word = if check.ok { screen.paint.good("good") } else { screen.paint.bad("NOT ") };
            if !screen.quiet || !check.ok {
                screen.say(&format!(
                    "{word} {:<60} {:>8}  {}\n",
                    check.name,
                    human_ms(check.ms),
                    check.detail
                ));
            }
        };
        let ending = single::smoke(start, args.rid.as_deref(), &told)?;
        let Some(summary) = &ending.summary else { return tell(&ending, global.json, screen) };
        let verdict = if summary.ok { screen.paint.good("PASS") } else { screen.paint.bad("FAIL") };
        let good = summary.smoke.iter().filter(|c| c.ok).count();
        screen.say(&format!(
            "{verdict} smoke: {good} of {} good in {}; evidence {EVIDENCE}/{} (exit {})\n",
            summary.smoke.len(),
            human_ms(summary.duration_ms),
            summary.rid,
            summary.exit_code
        ));
        if !summary.ok
            && let Some(reason) = &summary.reason
        {
            screen.say(&format!("  why   {reason}\n"));
        }
        if global.json {
            screen.data(&(serde_json::to_string_pretty(summary)? + "\n"));
        }
        Ok(ending.exit)
    })
}
