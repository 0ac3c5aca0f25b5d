//! What the documents say is checked here as far as it needs no engine: the
//! sample configuration, the exit codes, the commands, the links.
//! real_docs.rs runs the commands of the README on a real stand.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;
use xtask::config::{FILE, Overrides, Values, allow, load};
use xtask::error::Exit;
use xtask::exec::{Exec, Finished, Interrupt, Invocation};
use xtask::redact::Redactor;

// ---------------------------------------------------------------- ops/xtask.sample.toml

#[test]
fn the_sample_configuration_says_the_built_in_values() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("ops")).unwrap();
    std::fs::copy(root().join("ops/xtask.sample.toml"), dir.path().join(FILE)).unwrap();
    let config = load(dir.path(), &[], &Overrides::default()).unwrap();
    assert_eq!(config.values, Values::default());

    let missing: Vec<String> = keys().into_iter().filter(|key| !config.origins.contains_key(key)).collect();
    assert!(missing.is_empty(), "ops/xtask.sample.toml lacks {}", missing.join(", "));
}

#[test]
fn the_allow_list_in_the_documents_is_one() {
    let text = read("docs/secrets.md");
    let list = text.split("```toml\n").nth(1).and_then(|t| t.split("```").next()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("ops")).unwrap();
    std::fs::write(dir.path().join(allow::FILE), list).unwrap();
    let entries = allow::load(dir.path(), &xtask::redact::finding_kinds()).unwrap();
    assert!(entries.len() == 2 && entries[0].fits("tests/data/a.pem", "private key", "x"), "{entries:?}");
}

#[test]
fn this_repository_needs_no_allow_list() {
    let mut hard = Vec::new();
    for place in ["xtask", "docs", "ops", "scripts"] {
        for file in xtask::fsx::files_below(&root().join(place)).unwrap() {
            let text = std::fs::read(root().join(place).join(&file)).unwrap();
            let found = xtask::redact::scan_text(&String::from_utf8_lossy(&text));
            hard.extend(
                found.iter().filter(|f| f.hard).map(|f| format!("{place}/{file}:{} {}", f.line, f.kind)),
            );
        }
    }
    assert!(hard.is_empty(), "{hard:?}");
}

#[test]
fn the_sample_shows_every_key_of_an_http_check() {
    let sample: toml::Table = toml::from_str(&read("ops/xtask.sample.toml")).unwrap();
    let checks = sample["smoke"]["http"].as_array().unwrap();
    let known = serde_json::to_value(xtask::config::HttpCheck::default()).unwrap();
    for check in checks {
        for key in known.as_object().unwrap().keys() {
            assert!(check.get(key).is_some(), "[[smoke.http]] in the sample lacks {key}");
        }
    }
}

#[test]
fn the_sample_marks_the_keys_that_nothing_reads() {
    let code: String = code_outside_of_config();
    let sample = read("ops/xtask.sample.toml");
    for key in keys() {
        let marked = sample_line(&sample, &key).contains("without effect yet");
        assert_eq!(is_read(&code, &key), !marked, "{key}: mark in ops/xtask.sample.toml and use in the code");
    }
    assert!(is_read("let x = &ctx.config.backup.engine;", "backup.engine"));
    assert!(!is_read("let x = config.rollback.keep_clone_hours; // backup.engine", "rollback.keep_clone_h"));
}

/// Whether code takes this key: `section.key` as an expression, not in a comment or in a text.
fn is_read(code: &str, key: &str) -> bool {
    let path = regex::Regex::new(&format!(r"\b{}\b", regex::escape(key))).unwrap();
    code.lines().any(|line| {
        let line = line.split("//").next().unwrap_or(line);
        path.find_iter(line).any(|found| line[..found.start()].matches('"').count() % 2 == 0)
    })
}

/// The line of a key in the sample, with its comment.
fn sample_line<'a>(sample: &'a str, key: &str) -> &'a str {
    let (section, key) = key.split_once('.').unwrap();
    let body = sample.split_once(&format!("\n[{section}]\n")).map_or("", |(_, body)| body);
    let body = body.split("\n[").next().unwrap_or(body);
    body.lines().find(|l| l.split('=').next().unwrap_or_default().trim() == key).unwrap_or_default()
}

/// Every key of the schema, as `section.key`.
fn keys() -> Vec<String> {
    let all = serde_json::to_value(Values::default()).unwrap();
    let sections = all.as_object().unwrap();
    let keys = |(section, keys): (&String, &serde_json::Value)| -> Vec<String> {
        keys.as_object().unwrap().keys().map(|key| format!("{section}.{key}")).collect()
    };
    sections.iter().flat_map(keys).collect()
}

fn code_outside_of_config() -> String {
    walkdir::WalkDir::new(root().join("xtask/src"))
        .into_iter()
        .filter_entry(|e| e.file_name() != "config")
        .filter_map(Result::ok)
        .filter(|e| e.path().extension().is_some_and(|x| x == "rs"))
        .map(|e| std::fs::read_to_string(e.path()).unwrap())
        .collect()
}

// ---------------------------------------------------------------- README.md

#[test]
fn the_exit_codes_of_the_readme_are_those_of_the_program() {
    let readme = read("README.md");
    let row = regex::Regex::new(r"(?m)^\| ([0-9, ]+) \| .+ \|$").unwrap();
    let mut told: Vec<u8> = row
        .captures_iter(&readme)
        .flat_map(|row| row[1].split(", ").map(|n| n.trim().parse().unwrap()).collect::<Vec<u8>>())
        .collect();
    told.sort();
    assert_eq!(told, codes());
}

/// Every exit code, ascending.
fn codes() -> Vec<u8> {
    let known = [
        Exit::Pass,
        Exit::Usage,
        Exit::Refused,
        Exit::Locked,
        Exit::FailUnchanged,
        Exit::FailRolledBack,
        Exit::NeedsPerson,
        Exit::Evidence,
        Exit::Interrupted,
        Exit::Terminated,
    ];
    known.map(Exit::code).to_vec()
}

#[test]
fn every_command_that_a_document_names_is_understood() {
    let mut seen = 0;
    for file in documents() {
        for command in commands(&read(&file)) {
            seen += 1;
            let finished = understood(&command);
            assert!(finished.ok(), "{file}: `{}`\n{}", command.join(" "), finished.stderr);
        }
    }
    assert!(seen > 15, "only {seen} commands were found");
    let wrong = |line: &str| !understood(&words(line)).ok();
    assert!(wrong("release --plam"));
    assert!(wrong("relase"));
    assert!(wrong("evidence check RID"));
    assert!(wrong("release --skip-build x"), "a reason needs more than a letter");
}

/// Runs the program with these arguments and `--help`: everything before it has to be right.
fn understood(command: &[String]) -> Finished {
    let call = Invocation::new(env!("CARGO_BIN_EXE_xtask")).args(command.iter().cloned()).arg("--help");
    exec().run(&call.timeout(Duration::from_secs(20))).unwrap()
}

/// `cargo xtask ...` in code, in fences and in `backticks`; `[..]`, `...` and comments are not part of it.
fn commands(text: &str) -> Vec<Vec<String>> {
    let call = regex::Regex::new(r"cargo xtask((?: [^`\n#]*)?)").unwrap();
    call.captures_iter(text)
        .map(|found| words(found[1].split(" [").next().unwrap_or_default()))
        .filter(|words| !words.is_empty() && !words.iter().any(|w| w.contains("...") || w.contains('<')))
        .collect()
}

/// Words as a shell splits them, with single quotes and double ones.
fn words(line: &str) -> Vec<String> {
    let word = regex::Regex::new(r#"'([^']*)'|"([^"]*)"|(\S+)"#).unwrap();
    word.captures_iter(line)
        .map(|w| w.get(1).or(w.get(2)).or(w.get(3)).map_or(String::new(), |m| m.as_str().to_string()))
        .collect()
}

// ---------------------------------------------------------------- links

#[test]
fn links_lead_to_files_that_are_there() {
    let mut dead = Vec::new();
    for file in documents() {
        let base = Path::new(&file).parent().unwrap_or(Path::new("")).to_path_buf();
        for link in links(&read(&file)) {
            let path = base.join(link.split('#').next().unwrap_or_default());
            if !root().join(&path).exists() {
                dead.push(format!("{file}: {link}"));
            }
        }
    }
    assert!(dead.is_empty(), "dead links:\n  {}", dead.join("\n  "));
    assert_eq!(links("[a](docs/x.md#y) [b](https://example.org) [c](#here)"), ["docs/x.md#y"]);
}

fn links(text: &str) -> Vec<String> {
    let link = regex::Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    let target = link.captures_iter(text).map(|found| found[1].to_string());
    target.filter(|t| !t.contains("://") && !t.starts_with('#')).collect()
}

// ---------------------------------------------------------------- reading

fn documents() -> Vec<String> {
    let mut files = vec!["README.md".to_string(), "CONTRIBUTING.md".into(), "CHANGELOG.md".into()];
    let docs = std::fs::read_dir(root().join("docs")).unwrap().flatten();
    files.extend(docs.map(|e| format!("docs/{}", e.file_name().to_string_lossy())));
    files.retain(|f| f.ends_with(".md"));
    files
}

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn exec() -> Exec {
    Exec::new(Redactor::new(), Interrupt::default())
}

// ---------------------------------------------------------------- docs/when-it-fails.md

#[test]
fn every_line_of_the_page_about_failures_names_a_test_that_is_there() {
    let page = read("docs/when-it-fails.md");
    let rows: Vec<&str> =
        page.lines().filter(|l| l.starts_with("| ") && !l.starts_with("| what |")).collect();
    assert!(rows.len() > 25, "only {} rows", rows.len());
    for row in rows {
        tests_are_there(row);
    }
}

#[test]
fn every_way_to_break_powershell_names_a_test_that_is_there() {
    let page = read("docs/faults.md");
    let (_, table) = page.split_once("| way | shown by |\n|---|---|\n").expect("the table");
    let rows: Vec<&str> = table.lines().take_while(|l| l.starts_with("| ")).collect();
    let ways: Vec<&str> = rows.iter().map(|row| row.split(" | ").next().unwrap_or_default()).collect();
    let all = ["exit 1", "killed", "hangs", "empty", "garbage", "a lie", "half"];
    assert_eq!(ways, all.map(|way| format!("| {way}")));
    for row in rows {
        tests_are_there(row);
    }
}

/// The last column of a row names tests, and each is one.
fn tests_are_there(row: &str) {
    static TESTS: LazyLock<Vec<String>> = LazyLock::new(|| {
        let test = regex::Regex::new(r"#\[test\]\s+fn (\w+)\(\)").unwrap();
        let mut tests = Vec::new();
        for place in ["xtask/tests", "xtask/src"] {
            for file in xtask::fsx::files_below(&root().join(place)).unwrap() {
                if file.ends_with(".rs") {
                    let code = std::fs::read_to_string(root().join(place).join(file)).unwrap();
                    tests.extend(test.captures_iter(&code).map(|found| found[1].to_owned()));
                }
            }
        }
        tests
    });
    assert!(TESTS.len() > 200, "only {} tests were found", TESTS.len());
    let shown_by = row.rsplit('|').nth(1).unwrap_or_default();
    let named: Vec<&str> = shown_by.split('`').skip(1).step_by(2).collect();
    assert!(!named.is_empty(), "no test: {row}");
    for test in named {
        assert!(TESTS.iter().any(|t| t == test), "there is no test {test}: {row}");
    }
}

#[test]
fn the_page_about_failures_has_every_exit_code() {
    let page = read("docs/when-it-fails.md");
    let titles: Vec<u8> = page
        .lines()
        .filter_map(|l| l.strip_prefix("## "))
        .flat_map(|title| title.split(", ").filter_map(|code| code.parse().ok()))
        .collect();
    assert_eq!(titles, codes(), "codes with a section, in order");
}
