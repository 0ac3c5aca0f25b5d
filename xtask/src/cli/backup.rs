//! `backup`

use super::args::{Global, Single};
use super::{HALF_WAY, tell, with_global};
use crate::error::{Exit, Result};
use crate::pipeline::single;
use crate::report::Screen;

pub fn run(global: &Global, args: &Single, screen: &Screen) -> Result<Exit> {
    with_global(global, screen, HALF_WAY, |start| {
        tell(&single::backup(start, args.rid.as_deref())?, global.json, screen)
    })
}
