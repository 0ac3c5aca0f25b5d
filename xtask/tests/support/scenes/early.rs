//! An operator who says stop before a run has begun, while the engine lets a
//! question hang, and while services are being stopped; and a terminal that
//! goes away.

use crate::signals::begins;
use crate::support::process::tool;
use crate::support::{Checks, SOON, Stand, wait_for};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A `docker` that says that it was asked, and never answers.
fn silent_docker(dir: &Path) -> String {
    let program = dir.join("docker");
    std::fs::write(&program, "#!/bin/sh\n: >\"$0.asked\"\nexec sleep 600\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", dir.display(), std::env::var("PATH").unwrap())
}

/// Whatever was being asked, it is the operator who ended it, and nothing was begun.
pub fn before_a_run(stand: &Stand, checks: &mut Checks) {
    for (signal, code, word) in [("INT", 130, "Ctrl-C"), ("TERM", 143, "SIGTERM")] {
        for args in [
            &["release", "--yes"][..],
            &["release", "--plan"],
            &["rollback", "--yes"],
            &["backup"],
            &["smoke"],
            &["status"],
            &["doctor"],
        ] {
            checks.that(format!("SIG{signal} before `{}` begins", args.join(" ")), || {
                let dir = tempfile::tempdir().unwrap();
                let path = silent_docker(dir.path());
                let runs = stand.rids();
                let running = stand.start_in(&stand.repo, &[("PATH", &path)], args);
                let asked = dir.path().join("docker.asked");
                wait_for("a question to the engine", SOON, || asked.exists().then_some(()));
                running.signal(signal);
                let outcome = stand.heard(running.wait(), &runs).expect(code);
                outcome.says(&format!("stopped by {word} before anything was begun"));
                assert!(!outcome.stdout.contains("ready for a release"), "{}", outcome.stdout);
                assert_eq!(stand.rids(), runs, "there is evidence of it");
            });
        }
    }
}

/// A connection that breaks off: the shell and the kernel both say so, and that is one word.
pub fn hung_up(stand: &Stand) {
    let rid = "rel_20991231-235957_hungup";
    let running = stand.start(&["release", "--yes", "--json", "--rid", rid]);
    begins(stand, rid, "backup", "step");
    running.signal("HUP");
    wait_for("an answer to it", SOON, || running.said().contains("once more").then_some(()));
    running.signal("HUP");
    let outcome = stand.heard(running.wait(), &[]).expect(143);
    let at = outcome.at();
    let status = stand.run(&["status", "--json"]).expect(0).json();
    assert_eq!(status["interrupted"].as_array().map(Vec::len), Some(0), "open: {status:#}{at}");
    stand.run(&["evidence", "verify", rid]).expect(0);
}

fn docker(args: &[&str]) -> String {
    tool("docker", args, Path::new("/"), None)
}

/// The engine goes on stopping a service after the client that asked for it was ended: a service that
/// does not hear is killed when its grace is over, and must be started after that and not before.
pub fn stop_that_goes_on(stand: &Stand) {
    let beat = stand.container("beat");
    let started = || docker(&["inspect", "--format", "{{.State.StartedAt}} {{.State.Running}}", &beat]);
    let before = started();
    // What is frozen hears no SIGTERM.
    docker(&["kill", "--signal", "STOP", &beat]);
    let rid = "rel_20991231-235958_deaf";
    let args = ["release", "--yes", "--json", "--rid", rid, "--set", "stand.stop_grace_s=15"];
    let running = stand.start(&args);
    let asked = [
        "events",
        "--since",
        "10m",
        "--until",
        "0s",
        "--filter",
        "event=kill",
        "--filter",
        &format!("container={beat}"),
        "--format",
        "{{index .Actor.Attributes \"signal\"}}",
    ];
    wait_for("the engine to be told to stop beat", SOON * 7, || {
        docker(&asked).lines().any(|signal| signal == "15").then_some(())
    });
    running.signal("INT");
    let outcome = stand.heard(running.wait(), &[]).expect(130);
    let (at, after) = (outcome.at(), started());
    assert_ne!(after, before, "beat was not started anew, and will be killed yet{at}");
    assert!(after.trim_end().ends_with("true"), "beat does not run: {after}{at}");
    stand.run(&["smoke"]).expect(0);
}
