//! `config`

use super::args::Global;
use super::{ONLY_LOOKED, with_global};
use crate::error::{Exit, Result};
use crate::plan::config_with_origins;
use crate::report::Screen;

pub fn run(global: &Global, screen: &Screen) -> Result<Exit> {
    with_global(global, screen, ONLY_LOOKED, |start| {
        let values = config_with_origins(start.config);
        if global.json {
            screen.data(&(serde_json::to_string_pretty(&values)? + "\n"));
            return Ok(Exit::Pass);
        }
        for (key, value) in &values {
            let origin = value["origin"].as_str().unwrap_or_default();
            screen.data(&format!("{key} = {}  # {origin}\n", value["value"]));
        }
        // What the stand itself says, where one is to be found.
        if let Ok(facts) = crate::facts::gather(start.stand, start.config) {
            screen.data(&format!("\n# from the stand\napp_services = {:?}\n", facts.app_services));
            screen.data(&format!(
                "data_services = {:?}\nbase_url = {:?}\n",
                facts.data_services, facts.base_url
            ));
            screen.data(&format!("database = {:?}\nworker_app = {:?}\n", facts.database, facts.worker_app));
            for (fact, origin) in &facts.origins {
                screen.data(&format!("# {fact}: {origin}\n"));
            }
        }
        Ok(Exit::Pass)
    })
}
