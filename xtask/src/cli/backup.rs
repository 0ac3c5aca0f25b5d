//! `backup`

use super::args::Global;
use super::{tell, with_global};
use crate::error::{Exit, Result};
use crate::pipeline::single;
use crate::report::Screen;

pub fn run(global: &Global, screen: &Screen) -> Result<Exit> {
    with_global(global, screen, |start| tell(&single::backup(start)?, global.json, screen))
}
