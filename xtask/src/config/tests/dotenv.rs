//! Env files as the real Docker Compose reads them: many generated files, one call.

use crate::config::envfile::parse;
use crate::property::hold;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::collections::BTreeMap;
use std::path::Path;

/// How a value is written down.
fn written() -> impl Strategy<Value = String> {
    let plain = "[a-zA-Z0-9=:/@.,+%&?~^й\\[\\]{}<>|!*;_-]{0,12}";
    // Without a quote at its beginning.
    let loose = "[a-z0-9=#й:][a-z0-9=#' \"й\t:]{0,10}";
    let inner = "[a-zA-Z0-9=:/@ #й%_-]{0,12}";
    let comment = || proptest::sample::select(vec!["", " # note", " # it's \"one\"", "   ", "\t# x='y'"]);
    prop_oneof![
        3 => plain.boxed(),
        2 => loose.boxed(),
        2 => (inner, comment()).prop_map(|(v, c)| format!("\"{v}\"{c}")).boxed(),
        2 => (inner, comment()).prop_map(|(v, c)| format!("'{v}'{c}")).boxed(),
        1 => (inner, inner).prop_map(|(a, b)| format!("\"{a}\\\"{b}\"")).boxed(),
        1 => (inner, inner).prop_map(|(a, b)| format!("'{a}\\x{b}'")).boxed(),
        1 => (inner, inner).prop_map(|(a, b)| format!("\"{a}\\n{b}\\\\x\\t\"")).boxed(),
        1 => (inner, inner).prop_map(|(a, b)| format!("\"{a}\n{b}\"")).boxed(),
        1 => (inner, inner).prop_map(|(a, b)| format!("'{a}\n{b}'")).boxed(),
        1 => (plain, comment()).prop_map(|(v, c)| format!("{v}{c}")).boxed(),
        1 => proptest::sample::select(vec!["a#b", "a #b", "#a", " #a", "a\\nb", "a'b", "a\"b\"", "''", "a\\", "# b # c", "a #"])
            .prop_map(String::from)
            .boxed(),
    ]
}

fn file() -> impl Strategy<Value = String> {
    let key = proptest::sample::select(vec!["A", "B_PASSWORD", "c1", "D.E", "COMPOSE_X"]);
    let lead = proptest::sample::select(vec!["", "", "", "export ", "  ", "export\t"]);
    let equals = proptest::sample::select(vec!["=", "=", "=", " = ", "= ", " =", ": "]);
    let pair = (lead, key, equals, written()).prop_map(|(l, k, e, v)| format!("{l}{k}{e}{v}"));
    let line = prop_oneof![
        6 => pair.boxed(),
        1 => proptest::sample::select(vec!["", "   ", "# comment = x", " # c", "#A='"]).prop_map(String::from).boxed(),
    ];
    (prop::collection::vec(line, 1..5), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(lines, bom, crlf, end)| {
            let mut text = lines.join("\n");
            if end {
                text.push('\n');
            }
            if crlf {
                text = text.replace('\n', "\r\n");
            }
            if bom {
                text.insert(0, '\u{feff}');
            }
            text
        },
    )
}

/// The last of equal keys wins, as in a map.
fn ours(text: &str) -> BTreeMap<String, String> {
    parse(text).into_iter().collect()
}

/// What compose makes of the files; none where there is no compose.
fn compose(dir: &Path, yaml: &str) -> Option<serde_json::Value> {
    std::fs::write(dir.join("docker-compose.yml"), yaml).unwrap();
    #[expect(clippy::disallowed_methods, reason = "compose is asked, no stand is touched")]
    let docker = || std::process::Command::new("docker");
    docker().args(["compose", "version"]).output().ok().filter(|o| o.status.success())?;
    let mut asked = docker();
    asked.args(["compose", "--project-name", "p", "config", "--format", "json"]).current_dir(dir);
    let output = asked.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

fn services(count: usize) -> String {
    let one = |n| format!("  s{n}:\n    image: x\n    env_file: [e{n}]\n");
    format!("services:\n{}", (0..count).map(one).collect::<String>())
}

#[test]
fn what_is_read_is_what_compose_reads() {
    let dir = tempfile::tempdir().unwrap();
    let mut runner = TestRunner::deterministic();
    let files: Vec<String> = (0..300).map(|_| file().new_tree(&mut runner).unwrap().current()).collect();
    for (number, text) in files.iter().enumerate() {
        std::fs::write(dir.path().join(format!("e{number}")), text).unwrap();
    }
    let Some(model) = compose(dir.path(), &services(files.len())) else { return };
    let mut pairs = 0;
    for (number, text) in files.iter().enumerate() {
        let theirs = &model["services"][format!("s{number}")]["environment"];
        let theirs: BTreeMap<String, String> = theirs
            .as_object()
            .into_iter()
            .flatten()
            .map(|(k, v)| (k.clone(), v.as_str().unwrap().replace("$$", "$")))
            .collect();
        pairs += theirs.len();
        assert_eq!(ours(text), theirs, "{text:?}");
    }
    assert!(pairs > 500, "{pairs}");
}

/// What a generator writes, with the value that it means.
#[test]
fn a_quoted_value_comes_back_whatever_is_in_it() {
    hold(500, ("\\PC{0,20}", "[\n\r\t\\\\\"'#=$ ]{0,6}", any::<bool>()), |(text, special, single)| {
        let value = if single { text.replace(['\'', '\\'], "") } else { format!("{text}{special}") };
        let escaped =
            value.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$").replace('\r', "\\r");
        let written = if single { format!("'{value}'") } else { format!("\"{escaped}\"") };
        let file = format!("# x\nOLD=1\nKEY={written} # \"it's\"\nNEXT=2");
        let read = parse(&file);
        prop_assert_eq!(crate::config::envfile::last(&read, "KEY"), Some(value.as_str()));
        prop_assert_eq!(read.last(), Some(&("NEXT".to_string(), "2".to_string())));
        Ok(())
    });
}

#[test]
fn any_text_is_read_without_a_panic_and_without_an_empty_key() {
    hold(600, "(\\PC|[='\"\\\\\n\r :#]){0,40}", |text| {
        for (key, value) in parse(&text) {
            prop_assert!(!key.is_empty() && !key.contains(char::is_whitespace), "{:?}", key);
            prop_assert!(value.len() <= text.len());
        }
        Ok(())
    });
}

#[test]
fn of_two_project_names_the_last_one_holds() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(".env"), "COMPOSE_PROJECT_NAME=first\nCOMPOSE_PROJECT_NAME=last\n")
        .unwrap();
    let config = crate::config::load(dir.path(), &[], &crate::config::Overrides::default()).unwrap();
    assert_eq!(config.stand.project, "last");
}
