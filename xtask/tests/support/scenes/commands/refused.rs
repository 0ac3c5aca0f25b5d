//! What cannot or may not be done: refused in its own words, and nothing is
//! touched.

use crate::support::before::Before;
use crate::support::process::{self, tool};
use crate::support::stand::XTASK;
use crate::support::world::differing;
use crate::support::{Checks, Evidence, SOON, Stand};
use std::path::Path;
use xtask::config::allow::FILE;

/// On a stand on which nothing was released yet.
pub fn before_any_run(stand: &Stand, checks: &mut Checks) {
    checks.that("no stand", no_stand);
    let mut refused = |env: &[(&str, &str)], args: &[&str], code: i32, word: &str| {
        checks.that(format!("refused: {} {env:?}", args.join(" ")), || {
            let world = stand.everything();
            stand.run_with(env, args).expect(code).says(word);
            let differ = differing(&world, &stand.everything());
            assert!(differ.is_empty(), "{args:?} changed {differ:?}");
        });
    };
    for (args, code, word) in [
        (&["release"] as &[&str], 10, "--yes"),
        (&["rollback", "--yes"], 10, "nothing to go back to"),
        (&["release", "--yes", "--skip-backup", "no time"], 2, "--no-rollback"),
        (&["release", "--yes", "--no-proof", "no time"], 2, "--no-rollback"),
        (&["release", "--yes", "--skip-migrate", ""], 2, "why"),
        (&["release", "--yes", "--skip-bild", "no time"], 2, "'--skip-build'"),
        (&["release", "--yes", "--set", "deploy.soak=3"], 2, "did you mean `deploy.soak_s`?"),
        (&["release", "--yes", "--set", "backup.engine=pswh"], 2, "use one of: auto, pwsh, native"),
        (&["release", "--yes", "--set", "migrate.files=scripts/sql/none.sql"], 10, "none.sql is not there"),
        (&["evidence", "show", "rel_of_nobody"], 2, "rel_of_nobody"),
        (&["evidence", "verify", "rel_of_nobody"], 2, "rel_of_nobody"),
    ] {
        refused(&[], args, code, word);
    }
    let release = ["release", "--yes"];
    refused(&[("DOCKER_HOST", "tcp://127.0.0.1:1")], &release, 10, "the docker engine does not answer");
    let place = docker_without_compose();
    let path = format!("{}:{}", place.path().display(), std::env::var("PATH").unwrap());
    refused(&[("PATH", &path)], &release, 10, "Docker Compose 2 is needed");
    // Ignored, it is no edit; and no commit has it.
    let (list, exclude) = (stand.repo.join(FILE), stand.repo.join(".git/info/exclude"));
    std::fs::write(&exclude, format!("/{FILE}\n")).unwrap();
    let entry = "[[allow]]\nfile = \"a.sql\"\nkind = \"private key\"\nreason = \"none\"\n";
    std::fs::write(&list, entry).unwrap();
    refused(&[], &release, 10, "ops/secret-scan-allow.toml is not in git");
    refused(&[], &["doctor"], 10, "ops/secret-scan-allow.toml is not in git");
    std::fs::remove_file(list).unwrap();
    std::fs::remove_file(exclude).unwrap();
    checks.that("refused: a checkout without a commit", || no_commit(stand));
}

fn no_stand() {
    let empty = tempfile::tempdir().unwrap();
    let here = empty.path().canonicalize().unwrap();
    let mut command = process::program(XTASK, &["release", "--yes"]);
    command.current_dir(&here).env_remove("FF_REPO");
    let outcome = process::start(command, "xtask release beside no stand", None, SOON).wait().expect(2);
    outcome.says(&format!("{} and what is above it hold no docker-compose.yml", here.display()));
    outcome.says("--repo");
    assert_eq!(std::fs::read_dir(&here).unwrap().count(), 0, "something was written there");
}

/// The directory of a docker that has no plugin for compose, and can do all else.
fn docker_without_compose() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    let docker = tool("sh", &["-c", "command -v docker"], Path::new("/"), None);
    let script = format!(
        "#!/bin/sh\ncase \" $* \" in *' compose '*) echo 'compose is no docker command' >&2; exit 1 ;; esac\n\
         exec '{}' \"$@\"\n",
        docker.trim()
    );
    // Written by another process: this one may be starting others, which would hold it open while it runs.
    let write = "cat > docker && chmod 755 docker";
    tool("sh", &["-c", write], place.path(), Some(script.as_bytes()));
    place
}

/// The same files as the stand's checkout, in a repository that has no commit yet.
fn no_commit(stand: &Stand) {
    let place = tempfile::tempdir().unwrap();
    let repo = place.path().join("no commit");
    tool("git", &["clone", "-q", ".", &repo.display().to_string()], &stand.repo, None);
    for file in [".env", ".env.docker"] {
        std::fs::copy(stand.repo.join(file), repo.join(file)).unwrap();
    }
    std::fs::remove_dir_all(repo.join(".git")).unwrap();
    tool("git", &["init", "-q"], &repo, None);
    let refused = stand.heard(stand.start_in(&repo, &[], &["release", "--yes"]).wait(), &stand.rids());
    refused.clone().expect(10).says("is not a git checkout with a commit");
    assert!(!repo.join("ops/_local").exists(), "something was left there{}", refused.at());
}

/// Evidence is never written over.
pub fn a_name_that_is_taken(stand: &Stand, release: &Evidence) {
    let before = Before::of(stand);
    let refused = stand.run(&["release", "--yes", "--rid", &release.rid()]).expect(10);
    refused.says(&format!("evidence of {} exists already", release.rid()));
    before.containers_untouched(stand, &refused.at());
    before.last_good_untouched(stand, &refused.at());
    stand.run(&["evidence", "verify", &release.rid()]).expect(0);
}
