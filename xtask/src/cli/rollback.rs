//! `rollback`

use super::args::{Global, Rollback};
use super::{HALF_WAY, tell, with_global};
use crate::error::{Exit, Fault, Result, fault_of};
use crate::facts::Facts;
use crate::pipeline::offer::{self, Offer};
use crate::pipeline::{Start, lock, rollback, single, targets};
use crate::report::Screen;

pub fn run(global: &Global, args: &Rollback, screen: &Screen) -> Result<Exit> {
    with_global(global, screen, HALF_WAY, |start| {
        let ending = agreed(start, args, screen)
            .and_then(|(facts, offer)| rollback::rollback(start, &facts, &offer, args.rid.as_deref()));
        // What failed before there was any evidence failed before anything was touched.
        let ending = ending.map_err(|error| {
            let mut fault = fault_of(&error);
            fault.exit.get_or_insert(Exit::Refused);
            fault
        })?;
        tell(&ending, global.json, screen)
    })
}

/// Shows every way back and the one that is meant; the operator says yes to it.
fn agreed(start: &Start<'_>, args: &Rollback, screen: &Screen) -> Result<(Facts, Offer)> {
    let facts = single::look_back(start)?;
    let pg = facts.pg(start.stand, start.config).ok();
    lock::refuse_if_held(&facts.engine_id, &start.config.stand.project, pg.as_ref())?;
    let wanted = offer::Wanted { backup: args.backup.clone(), to: args.to.clone() };
    let offer = offer::offer(start, &facts, &wanted);
    screen.say(&format!("rollback of stand {}. There is\n", start.config.stand.project));
    for way in targets::list(start, &facts)? {
        screen.say(&format!(
            "  {:<8} {}\n           {}\n",
            way.kind,
            way.words,
            screen.paint.dim(&way.command)
        ));
    }
    let offer = offer?;
    screen.say(&format!("Goes back to\n  {}\n", offer.words));
    if let Some(why) = &facts.unread {
        screen.say(&format!("  note  not known: {}\n", single::unread(why)));
    }
    for line in &offer.consequences {
        screen.say(&format!("  note  {line}\n"));
    }
    if !args.yes && !screen.ask("Go back?", start.interrupt) {
        return Err(Fault::refused("not rolled back: nobody said yes")
            .remedy("answer y on a terminal, or give --yes")
            .into());
    }
    Ok((facts, offer))
}
