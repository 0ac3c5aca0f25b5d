//! Another machine, as far as the program can tell: a container with a host
//! name, processes and a /tmp of its own, in which the host's programs run on
//! the same engine and the same checkout.

use super::process::{self, Running, program, tool};
use super::stand::XTASK;
use super::{Stand, note};
use std::path::Path;
use std::time::Duration;

impl Stand {
    /// Starts the program on the stand from another machine, whose operator is called as it is.
    pub fn start_on(&self, machine: &str, args: &[&str]) -> Running {
        let place = self.repo.parent().unwrap().display().to_string();
        let built = Path::new(XTASK).parent().unwrap().display().to_string();
        let mut command = program("docker", &["run", "--rm", "--network", "host", "--hostname", machine]);
        command.args(["--name", &self.machine(machine), "--workdir", "/"]);
        // The engine resolves mounts on the host: the checkout lies at the same path in both.
        for mount in [format!("{place}:{place}"), format!("{built}:{built}:ro"), "/usr:/usr:ro".into()] {
            command.args(["-v", &mount]);
        }
        command.args(["-v", "/var/run/docker.sock:/var/run/docker.sock"]);
        for (key, value) in self.variables() {
            command.args(["-e", &format!("{key}={value}")]);
        }
        // In there it is root, who does not own the checkout of everybody.
        for pair in ["GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"] {
            command.args(["-e", pair]);
        }
        command.args(["-e", &format!("USER={machine}"), "foxproflow-demo-base:1", XTASK, "--repo"]);
        command.arg(&self.repo).args(args);
        let what = format!("xtask {} on {machine}", args.join(" "));
        note(&what);
        process::start(command, &what, None, Duration::from_secs(600))
    }

    /// The power of that machine goes.
    pub fn power_off(&self, machine: &str) {
        tool("docker", &["kill", "-s", "KILL", &self.machine(machine)], Path::new("/"), None);
    }

    fn machine(&self, name: &str) -> String {
        format!("{}-machine-{name}", self.project)
    }
}
