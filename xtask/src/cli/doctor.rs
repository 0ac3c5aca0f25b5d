//! `doctor`

use super::args::Global;
use super::{ONLY_LOOKED, looked_to_the_end, with_global};
use crate::error::{Exit, Result};
use crate::pipeline::doctor::{Level, look};
use crate::report::Screen;

pub fn run(global: &Global, screen: &Screen) -> Result<Exit> {
    with_global(global, screen, ONLY_LOOKED, |start| {
        let found = look(start);
        looked_to_the_end(start)?;
        let ready = found.iter().all(|f| f.level != Level::Bad);
        if global.json {
            let data = serde_json::json!({ "ready": ready, "findings": found });
            screen.data(&(serde_json::to_string_pretty(&data)? + "\n"));
        } else {
            for finding in &found {
                let word = match finding.level {
                    Level::Good => screen.paint.good("good"),
                    Level::Warning => screen.paint.warn("warn"),
                    Level::Bad => screen.paint.bad("BAD "),
                };
                screen.data(&format!("{word} {:<13} {}\n", finding.what, finding.found));
                if let Some(remedy) = &finding.remedy {
                    screen.data(&format!("     {:<13} {remedy}\n", "next"));
                }
            }
            let word = match ready {
                true => screen.paint.good("ready for a release"),
                false => screen.paint.bad("not ready for a release"),
            };
            screen.data(&format!("{word}: {}\n", start.config.stand.project));
        }
        Ok(if ready { Exit::Pass } else { Exit::Refused })
    })
}
