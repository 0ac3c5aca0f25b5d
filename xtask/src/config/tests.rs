//! The layers of the configuration, and its errors.

mod dotenv;
mod properties;

use super::*;
use crate::error::{Exit, fault_of};

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect()
}

fn repo(toml: Option<&str>, dotenv: Option<&str>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("ops")).unwrap();
    if let Some(text) = toml {
        std::fs::write(dir.path().join(FILE), text).unwrap();
    }
    if let Some(text) = dotenv {
        std::fs::write(dir.path().join(".env"), text).unwrap();
    }
    dir
}

#[test]
fn without_anything_the_built_in_values_hold() {
    let config = load(repo(None, None).path(), &[], &Overrides::default()).unwrap();
    assert_eq!(config.stand.project, "foxproflow-mvp20");
    assert!(config.origins.is_empty());
}

#[test]
fn later_layers_win_and_are_named() {
    let dir = repo(
        Some("\u{feff}[stand]\nproject = \"file\"\n[deploy]\nsoak_s = 1\n"),
        Some("COMPOSE_PROJECT_NAME=dotenv\n"),
    );
    let project = |pairs: &[(&str, &str)], overrides: &Overrides| {
        let config = load(dir.path(), &env(pairs), overrides).unwrap();
        (config.stand.project.clone(), config.origins["stand.project"].clone())
    };
    let none = Overrides::default();
    assert_eq!(project(&[], &none), ("file".into(), FILE.into()));
    let both = [("FF_COMPOSE_PROJECT", "first"), ("COMPOSE_PROJECT_NAME", "second")];
    assert_eq!(project(&both, &none), ("first".into(), "environment FF_COMPOSE_PROJECT".into()));
    let flag = Overrides { values: vec![("stand.project".into(), "flag".into())], file: None };
    assert_eq!(project(&both, &flag), ("flag".into(), "command line".into()));
}

#[test]
fn the_project_of_dotenv_counts_below_the_file() {
    let dir = repo(None, Some("COMPOSE_PROJECT_NAME=dotenv\r\n"));
    let config = load(dir.path(), &[], &Overrides::default()).unwrap();
    assert_eq!(config.stand.project, "dotenv");
    assert_eq!(config.origins["stand.project"], ".env");
}

#[test]
fn an_unknown_key_names_the_nearest_one() {
    let dir = repo(Some("[migrate]\nflies = []\n"), None);
    let fault = fault_of(&load(dir.path(), &[], &Overrides::default()).unwrap_err());
    assert_eq!(fault.exit, Some(Exit::Usage));
    assert!(fault.what.contains("migrate.flies"), "{fault}");
    assert_eq!(fault.remedy.as_deref(), Some("did you mean `migrate.files`?"));
}

#[test]
fn an_unknown_section_and_a_missing_file_are_errors() {
    let dir = repo(Some("[smok]\n"), None);
    let fault = fault_of(&load(dir.path(), &[], &Overrides::default()).unwrap_err());
    assert_eq!(fault.remedy.as_deref(), Some("did you mean `smoke`?"));
    let gone = Overrides { file: Some(dir.path().join("none.toml")), ..Overrides::default() };
    assert!(load(dir.path(), &[], &gone).is_err());
}

#[test]
fn a_waiver_needs_its_reason() {
    let dir = repo(Some("[rollback]\nenabled = false\n"), None);
    let fault = fault_of(&load(dir.path(), &[], &Overrides::default()).unwrap_err());
    assert!(fault.what.contains("reason"), "{fault}");
    let dir = repo(Some("[rollback]\nenabled = false\nreason = \"drill\"\n"), None);
    assert!(!load(dir.path(), &[], &Overrides::default()).unwrap().rollback.enabled);
}

#[test]
fn environment_values_get_their_types() {
    let dir = repo(None, None);
    let pairs =
        env(&[("FF_DEPLOY_SOAK_S", "2"), ("FF_STAND_APP_SERVICES", "api, worker"), ("FF_PG_DB", "x")]);
    let config = load(dir.path(), &pairs, &Overrides::default()).unwrap();
    assert_eq!(config.deploy.soak_s, 2);
    assert_eq!(config.stand.app_services, ["api", "worker"]);
    // Another script's variable is no business of ours, a slip of the finger is.
    let theirs = env(&[("FF_BACKUP_ROOT", "/x"), ("FF_SMOKE_URL_LIST", "y"), ("FF_DEPLOYER", "anna")]);
    load(dir.path(), &theirs, &Overrides::default()).unwrap();
    let slip = load(dir.path(), &env(&[("FF_DEPLOY_SOAKS", "2")]), &Overrides::default()).unwrap_err();
    assert!(fault_of(&slip).remedy.unwrap().contains("FF_DEPLOY_SOAK_S"));
    let bad = env(&[("FF_DEPLOY_SOAK_S", "soon")]);
    let fault = fault_of(&load(dir.path(), &bad, &Overrides::default()).unwrap_err());
    assert!(fault.what.contains("FF_DEPLOY_SOAK_S"), "{fault}");
}

#[test]
fn wrong_values_are_usage_errors() {
    for text in [
        "[backup]\nengine = \"tar\"\n",
        "[backup]\ncompression = 12\n",
        "stand = 1\n",
        "[stand]\nproject = 3\n",
    ] {
        let dir = repo(Some(text), None);
        let fault = fault_of(&load(dir.path(), &[], &Overrides::default()).unwrap_err());
        assert_eq!(fault.exit, Some(Exit::Usage), "{text}: {fault}");
    }
}
