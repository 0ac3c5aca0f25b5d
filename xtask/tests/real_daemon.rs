//! Docker's daemon is restarted while a release works. Never the machine's own:
//! the test runs once more in namespaces of its own (network, processes, mounts)
//! with an engine of its own, and whatever is started there ends with them.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::deaths::Victim::Engine;
use support::deaths::{Case, Death};
use support::die::some;
use support::process::{self, program, tool};
use support::root::{as_root, with_root};
use support::{note, poll};

/// Where the engine lives; set for the run within the namespaces.
const PLACE: &str = "FF_TEST_ENGINE";
const NAME: &str = "a_release_outlives_a_restart_of_the_engine";
const IMAGES: [&str; 3] = ["postgres:15", "redis:7-alpine", "foxproflow-demo-base:1"];
/// Starting, and loading images, on a busy machine.
const LONG: Duration = Duration::from_secs(180);

const DEATHS: [Death; 4] = [
    (Engine, "migrate", "apply", &[30]),
    (Engine, "backup", "dump", &[20]),
    (Engine, "proof", "restore", &[20]),
    (Engine, "rollback", "swap", &[30, 40]),
];

#[test]
fn a_release_outlives_a_restart_of_the_engine() {
    match std::env::var_os(PLACE) {
        None => outside(),
        Some(place) => inside(Path::new(&place)),
    }
}

/// Saves the images, and runs this test within.
fn outside() {
    for (name, args) in [("dockerd", "--version"), ("unshare", "--version"), ("ip", "-V")] {
        let found = Command::new(name).arg(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(found.is_ok(), "this test starts an engine of its own and needs {name} on the PATH");
    }
    let place = tempfile::Builder::new().prefix("ff-engine-").tempdir().unwrap();
    std::fs::write(place.path().join("daemon.json"), "{}").unwrap();
    let images = place.path().join("images.tar").display().to_string();
    let mut args = vec!["save", "-o", &images];
    args.extend(IMAGES);
    tool("docker", &args, Path::new("/"), None);
    let own = std::env::current_exe().unwrap().display().to_string();
    let script = "mount -t tmpfs tmpfs /run && ip link set lo up && exec \"$@\"";
    let here = place.path().display().to_string();
    let mut variables = vec![
        format!("{PLACE}={here}"),
        format!("TMPDIR={here}"),
        format!("DOCKER_HOST=unix://{}", socket(place.path()).display()),
    ];
    // sudo gives a new environment to what it starts.
    let kept = std::env::vars().filter(|(key, _)| key == "PATH" || key.starts_with("FF_TEST_"));
    variables.extend(kept.map(|(key, value)| format!("{key}={value}")));
    let namespaces = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child=KILL"];
    let test = ["sh", "-c", script, "sh", &own, "--exact", "--nocapture", NAME];
    let mut words = vec!["-u", "DOCKER_CONTEXT"];
    words.extend(variables.iter().map(String::as_str));
    words.extend(namespaces.into_iter().chain(test));
    let words = with_root("env", &words);
    // What is said within is said at once.
    let status = program(words[0], &words[1..]).stdin(Stdio::null()).status().unwrap();
    let log = std::fs::read_to_string(place.path().join("dockerd.log")).unwrap_or_default();
    // Root's files, which nobody else can remove.
    as_root("find", &[&here, "-mindepth", "1", "-delete"]);
    let lines: Vec<&str> = log.lines().collect();
    let tail = lines[lines.len().saturating_sub(30)..].join("\n");
    assert!(
        status.success(),
        "the test within an engine of its own failed; the end of the engine's log:\n{tail}"
    );
}

fn inside(place: &Path) {
    let engine = Arc::new(Mutex::new(Daemon::start(place)));
    let images = place.join("images.tar").display().to_string();
    note("loading the images");
    process::start(program("docker", &["load", "-q", "-i", &images]), "docker load", None, LONG)
        .wait()
        .expect(0);
    let again = Arc::clone(&engine);
    let mut case = Case::new(Some(Box::new(move || {
        note("the engine is restarted");
        again.lock().unwrap().restart();
    })));
    for death in some(DEATHS.to_vec(), 1) {
        case.one(death);
    }
    let Case { stand, checks, .. } = case;
    drop(stand);
    checks.all_hold();
}

fn socket(place: &Path) -> PathBuf {
    place.join("docker.sock")
}

/// An engine of its own, which ends when this does.
struct Daemon {
    place: PathBuf,
    child: Child,
}

impl Daemon {
    fn start(place: &Path) -> Daemon {
        let child = Daemon::spawn(place);
        let mut daemon = Daemon { place: place.into(), child };
        daemon.ready();
        daemon
    }

    fn spawn(place: &Path) -> Child {
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(place.join("dockerd.log")).unwrap();
        let path = |name: &str| place.join(name).display().to_string();
        Command::new("dockerd")
            .args(["--data-root", &path("data"), "--exec-root", &path("exec"), "--pidfile", &path("pid")])
            .args(["--host", &format!("unix://{}", socket(place).display())])
            // Not the machine's settings, which may name its places.
            .args(["--config-file", &path("daemon.json")])
            .env_remove("DOCKER_HOST")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("dockerd does not start")
    }

    fn ready(&mut self) {
        let answers = || {
            let asked =
                Command::new("docker").arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
            asked.is_ok_and(|s| s.success())
        };
        let ready = poll(LONG, || (answers() || self.ended()).then_some(()));
        assert!(
            ready.is_some() && !self.ended(),
            "the engine does not answer: see {}/dockerd.log",
            self.place.display()
        );
    }

    fn ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)) | Err(_))
    }

    fn restart(&mut self) {
        self.end();
        self.child = Daemon::spawn(&self.place);
        self.ready();
    }

    /// As an operator ends it; it stops its containers first.
    fn end(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        if poll(LONG, || self.child.try_wait().ok().flatten()).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.end();
    }
}
