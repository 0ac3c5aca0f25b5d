//! Which engine is taken, and what the script is given.

use super::*;
use crate::config::{Overrides, load};
use crate::error::{Exit, fault_of};
use crate::exec::Interrupt;
use crate::redact::Redactor;
use crate::stand::Stand;

fn config(repo: &Path, engine: &str) -> Config {
    let given = Overrides { values: vec![("backup.engine".into(), engine.into())], ..Overrides::default() };
    load(repo, &[], &given).unwrap()
}

/// A checkout with or without the script, a PATH with or without pwsh.
fn engine(engine: &str, with_script: bool, with_pwsh: bool) -> Result<Engine> {
    let dir = tempfile::tempdir().unwrap();
    let bin = dir.path().join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::create_dir_all(dir.path().join("scripts/pwsh")).unwrap();
    if with_script {
        std::fs::write(dir.path().join(SCRIPT), "").unwrap();
    }
    if with_pwsh {
        let pwsh = bin.join(format!("pwsh{}", std::env::consts::EXE_SUFFIX));
        std::fs::write(&pwsh, "#!/bin/sh\n").unwrap();
        #[cfg(unix)]
        std::fs::set_permissions(&pwsh, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let exec = Exec::new(Redactor::new(), Interrupt::default()).searching(&bin);
    Engine::of(&config(dir.path(), engine), &exec)
}

#[test]
fn the_script_runs_where_it_and_powershell_are_there() {
    let is_native = |e: Result<Engine>| matches!(e.unwrap(), Engine::Native { .. });
    for demanded in ["auto", "pwsh"] {
        assert!(!is_native(engine(demanded, true, true)), "{demanded}");
    }
    assert!(is_native(engine("native", true, true)));
    for (script, pwsh, why) in [(false, true, "not in this checkout"), (true, false, "not on the PATH")] {
        match engine("auto", script, pwsh).unwrap() {
            Engine::Native { why: told } => assert!(told.contains(why), "{told}"),
            other => panic!("{other:?}"),
        }
        let fault = fault_of(&engine("pwsh", script, pwsh).unwrap_err());
        assert_eq!(fault.exit, Some(Exit::Refused));
        assert!(fault.why.unwrap().contains(why));
        assert!(fault.remedy.unwrap().contains("\"auto\""));
    }
}

#[test]
fn the_script_is_called_as_measured() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path(), "auto");
    let exec = Exec::new(Redactor::new(), Interrupt::default());
    let (pwsh, script, into) = (Path::new("/p/pwsh"), Path::new("/r/s.ps1"), Path::new("/r/лис b"));
    let stand = Stand::new(&config, exec.clone());
    let call = stand.ff_backup(&Call::of(&config, pwsh, script, into));
    let file = dir.path().join("docker-compose.yml").display().to_string();
    let wanted =
        "/p/pwsh|-NoLogo|-NoProfile|-NonInteractive|-File|/r/s.ps1|-BackupDir|/r/лис b|-ComposeFile|";
    assert_eq!(call.argv().join("|"), format!("{wanted}{file}|-ProjectName|foxproflow-mvp20"));
    assert!(call.stdin.is_none() && call.whole_group);
    for (key, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        assert!(call.env.contains(&(key.into(), value.into())), "{key}");
    }
    assert!(call.env.iter().all(|(key, _)| key != "DOCKER_CONTEXT"));

    // What the configuration sets is passed on; several compose files are not.
    config.values.stand.compose_files.push("more.yml".into());
    config.values.stand.context = "far".into();
    config.values.database.service = "db".into();
    config.values.database.name = "-odd".into();
    let call = Stand::new(&config, exec).ff_backup(&Call::of(&config, pwsh, script, into));
    let argv = call.argv().join("|");
    assert!(argv.ends_with("-ProjectName|foxproflow-mvp20|-PgService|db|-DbName:-odd"), "{argv}");
    assert!(!argv.contains("more.yml"));
    assert!(call.env.contains(&("DOCKER_CONTEXT".into(), "far".into())));
}

#[test]
fn the_directory_is_the_one_below_the_given_whatever_the_path_looks_like() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("лис b");
    std::fs::create_dir_all(root.join("20261123-065305")).unwrap();
    std::fs::create_dir_all(dir.path().join("elsewhere/20261123-065305")).unwrap();
    let call = Call {
        pwsh: PathBuf::new(),
        script: PathBuf::new(),
        directory: root.clone(),
        named: Vec::new(),
        limit: CLEANING,
    };
    let plain = root.join("20261123-065305").display().to_string();
    for named in [plain.as_str(), "C:\\лис b\\20261123-065305", "\\\\s\\лис b\\20261123-065305\\"] {
        assert_eq!(place(named, &call).unwrap(), root.join("20261123-065305"), "{named}");
    }
    let other = dir.path().join("elsewhere/20261123-065305").display().to_string();
    for named in [other.as_str(), "/nowhere/20261123-070000", "/", ""] {
        assert!(place(named, &call).is_err(), "{named}");
    }
}
