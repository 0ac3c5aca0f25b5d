//! `rollback`

use super::args::{Global, Rollback};
use super::{tell, with_global};
use crate::error::{Exit, Fault, Result};
use crate::pipeline::{offer, rollback, single};
use crate::report::Screen;

pub fn run(global: &Global, args: &Rollback, screen: &Screen) -> Result<Exit> {
    with_global(global, screen, |start| {
        let facts = single::look(start)?;
        let offer = offer::offer(start, &facts, args.backup.as_deref())?;
        screen.say(&format!("rollback of stand {} to\n  {}\n", start.config.stand.project, offer.words));
        for line in &offer.consequences {
            screen.say(&format!("  note  {line}\n"));
        }
        if !args.yes && !screen.ask("Go back?") {
            return Err(Fault::refused("not rolled back: nobody said yes")
                .remedy("answer y on a terminal, or give --yes")
                .into());
        }
        tell(&rollback::rollback(start, &facts, &offer)?, global.json, screen)
    })
}
