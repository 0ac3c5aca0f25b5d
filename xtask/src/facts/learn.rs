//! Which secrets this stand has: told to the redactor before anything that may
//! quote them is run.

use crate::config::{Config, envfile};
use crate::lkg::Store;
use crate::redact::Redactor;
use crate::stand::Stand;
use crate::stand::model::Model;
use std::path::Path;

/// Feeds the redactor with the secrets of the checkout's own files and of this process's
/// environment. Asks no program.
pub fn learn_own_files(redactor: &Redactor, config: &Config) {
    let learn_env_files = |dir: &Path| {
        for name in envfile::names(dir) {
            for (key, value) in envfile::read(&dir.join(name)).unwrap_or_default() {
                redactor.learn(&key, &value);
            }
        }
    };
    learn_env_files(&config.repo);
    // Secrets written into a compose file that compose itself cannot read.
    for file in &config.stand.compose_files {
        let text = std::fs::read_to_string(config.repo.join(file)).unwrap_or_default();
        for line in text.lines() {
            redactor.learn("compose_file", line);
        }
    }
    for (key, value) in std::env::vars_os() {
        redactor.learn(&key.to_string_lossy(), &value.to_string_lossy());
    }
    // What is sent as a key is one, whatever its variable is called.
    let headers = config.smoke.http.iter().flat_map(|check| check.headers.values());
    for variable in headers.chain([&config.smoke.key_env]) {
        if let Ok(value) = std::env::var(variable) {
            redactor.learn("smoke_header_secret", &value);
        }
    }
    // A rollback starts containers with what was valid then.
    let store = Store::of(&config.repo);
    for rid in store.releases() {
        learn_env_files(&store.env_dir(&rid));
        for path in [store.own_model(&rid), store.model(&rid)] {
            if let Ok(raw) = crate::fsx::read_json(&path) {
                learn_model(redactor, &Model { raw });
            }
        }
    }
}

/// Feeds the redactor with every secret that the resolved model holds; its names are none.
pub fn learn_secrets(stand: &Stand, model: &Model) {
    let redactor = stand.exec.redactor();
    learn_model(redactor, model);
    for value in model.secret_files().iter().filter_map(|f| std::fs::read_to_string(f).ok()) {
        redactor.learn("compose_secret", &value);
    }
    for value in model.secret_variables().iter().filter_map(|v| std::env::var(v).ok()) {
        redactor.learn("compose_secret", &value);
    }
}

fn learn_model(redactor: &Redactor, model: &Model) {
    let services = model.services();
    let names: Vec<&str> = services.iter().map(String::as_str).collect();
    redactor.spare(&names);
    let env: Vec<(String, String)> = services.iter().flat_map(|s| model.environment(s)).collect();
    for (key, value) in &env {
        if ["POSTGRES_USER", "POSTGRES_DB"].contains(&key.as_str()) {
            redactor.spare(&[value.as_str()]);
        }
    }
    for (key, value) in env.iter().chain(&model.texts()) {
        redactor.learn(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "Zx81-qqTTr";

    #[test]
    fn secrets_of_the_checkouts_files_are_known_before_a_program_runs() {
        let dir = tempfile::tempdir().unwrap();
        let repo = dir.path();
        let config = crate::config::load(repo, &[], &crate::config::Overrides::default()).unwrap();
        std::fs::write(repo.join(".env"), format!("A_PASSWORD={VALUE}-one\n")).unwrap();
        std::fs::write(repo.join("docker-compose.yml"), format!("  broken: [\n    B_TOKEN: {VALUE}-two\n"))
            .unwrap();
        let store = Store::of(repo);
        std::fs::create_dir_all(store.env_dir("rel_1")).unwrap();
        std::fs::write(store.env_dir("rel_1").join(".env.docker"), format!("C_SECRET={VALUE}-three\n"))
            .unwrap();
        let model = serde_json::json!({ "services": { "api": { "environment": { "D_KEY_TOKEN": format!("{VALUE}-four") },
                                                               "command": ["x", "--api-key", format!("{VALUE}-five")] } } });
        crate::fsx::write_json(&store.own_model("rel_1"), &model).unwrap();
        let redactor = Redactor::new();
        learn_own_files(&redactor, &config);
        for (key, value) in [
            ("A_PASSWORD", "one"),
            ("B_TOKEN", "two"),
            ("C_SECRET", "three"),
            ("D_KEY_TOKEN", "four"),
            ("api-key", "five"),
        ] {
            assert_eq!(redactor.text(&format!("x {VALUE}-{value} y")), format!("x ***{key}*** y"));
        }
    }
}
