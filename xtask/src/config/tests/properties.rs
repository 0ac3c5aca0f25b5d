//! Configuration as people write it: whatever a layer says, it is taken as it is meant or refused
//! with key, layer and wanted type.

use super::*;
use crate::property::hold;
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeMap;

/// Every key with its built-in value.
fn known() -> BTreeMap<String, Value> {
    let tree = serde_json::to_value(Values::default()).unwrap();
    let sections = tree.as_object().unwrap().iter();
    sections
        .flat_map(|(section, keys)| {
            let keys = keys.as_object().unwrap().iter();
            keys.map(move |(key, value)| (format!("{section}.{key}"), value.clone()))
        })
        .collect()
}

fn key() -> impl Strategy<Value = String> {
    proptest::sample::select(known().into_keys().collect::<Vec<_>>())
}

fn flag(key: &str, value: &str) -> Overrides {
    Overrides { values: vec![(key.into(), value.into())], file: None }
}

fn variable(key: &str) -> String {
    format!("FF_{}", key.replace('.', "_").to_uppercase())
}

/// A key with one letter less, more or other.
fn mistyped() -> impl Strategy<Value = (String, String)> {
    (key(), any::<prop::sample::Index>(), 0..3u8).prop_map(|(right, at, how)| {
        let dot = right.find('.').unwrap() + 1;
        let at = dot + at.index(right.len() - dot);
        let wrong = match how {
            0 => format!("{}{}", &right[..at], &right[at + 1..]),
            1 => format!("{}q{}", &right[..at], &right[at..]),
            _ => format!("{}q{}", &right[..at], &right[at + 1..]),
        };
        (right, wrong)
    })
}

/// Words of a file that is nearly TOML.
fn nearly_toml() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        key().prop_map(|k| format!("[{}]\n", k.split('.').next().unwrap())),
        key().prop_map(|k| format!("{} = ", k.split('.').nth(1).unwrap())),
        key().prop_map(|k| format!("{k} = ")),
        proptest::sample::select(vec![
            "1\n",
            "-1\n",
            "\"x\"\n",
            "true\n",
            "[]\n",
            "[1, \"x\"]\n",
            "{ a = 1 }\n",
            "nan\n",
            "1e999\n",
            "1979-05-27T07:32:00Z\n",
            "'й'\n",
            "\r\n",
            "\u{feff}",
            "#",
            "[[smoke.http]]\n",
            "path = 3\n",
            "\"\"\"",
            "[smoke.http]\n",
            "expect = { \"/a\" = 1.5 }\n",
            "99999999999999999999\n",
        ])
        .prop_map(String::from),
        "\\PC{0,6}",
    ];
    prop::collection::vec(word, 0..12).prop_map(|words| words.concat())
}

#[test]
fn any_file_is_read_or_refused_as_usage() {
    hold(200, nearly_toml(), |text| {
        let dir = repo(Some(&text), None);
        if let Err(error) = load(dir.path(), &[], &Overrides::default()) {
            let fault = fault_of(&error);
            prop_assert_eq!(fault.exit, Some(Exit::Usage), "{}", fault);
        }
        Ok(())
    });
}

#[test]
fn a_mistyped_key_names_the_right_one_in_every_layer() {
    let keys = known();
    hold(100, mistyped(), |(right, wrong)| {
        if keys.contains_key(&wrong) || wrong.ends_with('.') {
            return Ok(());
        }
        let told = |dir: &tempfile::TempDir, environment: &[(String, String)], overrides: &Overrides| {
            load(dir.path(), environment, overrides).map(drop).map_err(|error| fault_of(&error))
        };
        let (section, name) = wrong.split_once('.').unwrap();
        let file = repo(Some(&format!("[{section}]\n{name} = 1\n")), None);
        let none = repo(None, None);
        let variables = env(&[(variable(&wrong).as_str(), "1")]);
        let nothing = Overrides::default();
        let (found, meant) = (variable(&wrong), variable(&right));
        for (result, found, meant) in [
            (told(&file, &[], &nothing), &wrong, &right),
            (told(&none, &[], &flag(&wrong, "1")), &wrong, &right),
            (told(&none, &variables, &nothing), &found, &meant),
        ] {
            let Err(fault) = result else { return Err(TestCaseError::fail(format!("{found} is taken"))) };
            prop_assert_eq!(fault.exit, Some(Exit::Usage));
            prop_assert!(fault.what.contains(found), "{}", fault);
            let remedy = fault.remedy.clone().unwrap_or_default();
            // Two keys may be as near as each other: a guess has to be as good as the right one.
            let guess = remedy.split('`').nth(1).unwrap_or_default();
            let far = |k: &str| strsim::damerau_levenshtein(k, found);
            prop_assert!(!guess.is_empty() && far(guess) <= far(meant), "{} for {}", fault, meant);
        }
        Ok(())
    });
}

#[test]
fn a_wrong_type_names_key_layer_and_wanted_type() {
    let wrong = |value: &Value| match value {
        Value::Number(_) => ("\"soon\"", "number"),
        Value::Bool(_) => ("\"maybe\"", "true or false"),
        Value::Array(_) => ("7", "list"),
        _ => ("7", "text"),
    };
    for (key, value) in known() {
        let (text, wanted) = wrong(&value);
        let (section, name) = key.split_once('.').unwrap();
        let dir = repo(Some(&format!("[{section}]\n{name} = {text}\n")), None);
        let fault = fault_of(&load(dir.path(), &[], &Overrides::default()).unwrap_err());
        assert!([FILE, key.as_str(), wanted].iter().all(|w| fault.what.contains(w)), "{fault}");
        if !matches!(value, Value::String(_) | Value::Array(_)) {
            let none = repo(None, None);
            let fault = fault_of(&load(none.path(), &[], &flag(&key, "soon")).unwrap_err());
            assert!(["command line", &key, wanted].iter().all(|w| fault.what.contains(w)), "{fault}");
            let name = variable(&key);
            let variables = env(&[(name.as_str(), "soon")]);
            let fault = fault_of(&load(none.path(), &variables, &Overrides::default()).unwrap_err());
            assert!([name.as_str(), &key, wanted].iter().all(|w| fault.what.contains(w)), "{fault}");
        }
    }
}

#[test]
fn a_number_that_does_not_fit_names_its_own_layer() {
    let dir = repo(None, None);
    let fault = fault_of(&load(dir.path(), &[], &flag("backup.compression", "300")).unwrap_err());
    assert!(fault.what.contains("command line") && fault.what.contains("backup.compression"), "{fault}");
    let variables = env(&[("FF_SMOKE_HTTP", "/health")]);
    let fault = fault_of(&load(dir.path(), &variables, &Overrides::default()).unwrap_err());
    assert!(fault.what.contains("FF_SMOKE_HTTP") && fault.what.contains("smoke.http"), "{fault}");
}

#[test]
fn an_unknown_key_of_a_check_names_the_nearest_one() {
    let dir = repo(Some("[[smoke.http]]\npath = \"/\"\nstats = 200\n"), None);
    let fault = fault_of(&load(dir.path(), &[], &Overrides::default()).unwrap_err());
    assert!(fault.what.contains("smoke.http"), "{fault}");
    assert_eq!(fault.remedy.as_deref(), Some("did you mean `status`?"));
}

#[test]
fn what_a_generator_writes_is_what_is_read_whatever_the_line_ends() {
    let word = "[^\"\\\\\\pC]{0,12}";
    let strategy =
        (word, prop::collection::vec(word, 0..4), any::<u32>(), any::<bool>(), any::<bool>(), any::<bool>());
    hold(100, strategy, |(text, list, number, truth, bom, crlf)| {
        let quoted: Vec<String> = list.iter().map(|w| format!("\"{w}\"")).collect();
        let mut file = format!(
            "# comment\n[stand]\nproject = \"{text}\"\napp_services = [{}]\n[deploy]\nsoak_s = {number}\n[smoke]\nround_trip = {truth}",
            quoted.join(", ")
        );
        if crlf {
            file = file.replace('\n', "\r\n");
        }
        if bom {
            file.insert(0, '\u{feff}');
        }
        let dir = repo(Some(&file), None);
        let config = load(dir.path(), &[], &Overrides::default()).unwrap();
        prop_assert_eq!(&config.stand.project, &text);
        prop_assert_eq!(&config.stand.app_services, &list);
        prop_assert_eq!(config.deploy.soak_s, u64::from(number));
        prop_assert_eq!(config.smoke.round_trip, truth);
        Ok(())
    });
}

#[test]
fn an_empty_list_on_the_command_line_is_an_empty_list() {
    let dir = repo(None, None);
    let config = load(dir.path(), &[], &flag("smoke.tasks", "")).unwrap();
    assert_eq!(config.smoke.tasks, [] as [&str; 0]);
    let config = load(dir.path(), &[], &flag("smoke.tasks", "a, ,b,")).unwrap();
    assert_eq!(config.smoke.tasks, ["a", "b"]);
}
