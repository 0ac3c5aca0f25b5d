//! Rules of the house that no compiler checks: layers, file heads and sizes,
//! what must not stand in a file, which files are programs. Each rule is a
//! function from text to findings, and each is shown a bad text, too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The layers of docs/architecture.md, from top to bottom. A module uses itself
/// and what stands before it here.
const LAYERS: [&str; 20] = [
    "error", "clock", "fsx", "event", "redact", "exec", "evidence", "config", "stand", "lkg", "facts",
    "plan", "sample", "acts", "steps", "pipeline", "report", "cli", "lib", "main",
];

/// Arrows that the order alone would allow, and that would still be wrong.
const NEVER: [(&str, &str, &str); 5] = [
    ("config", "exec", "configuration starts no process"),
    ("config", "evidence", "configuration is decided before there is a run"),
    ("stand", "evidence", "the stand returns facts; steps write them down"),
    ("plan", "exec", "the plan is pure: what it needs to know is handed in"),
    ("plan", "stand", "the plan is pure: what it needs to know is handed in"),
];

/// Arrows to a module further down that are accepted: file, module, reason.
const ACCEPTED_ARROWS: [(&str, &str, &str); 0] = [];

const MOST_LINES: usize = 350;

/// Files that are longer or lack a head, with the reason why they may.
const ACCEPTED_SHAPES: [(&str, &str); 0] = [];

// ---------------------------------------------------------------- layers

#[test]
fn modules_use_only_what_stands_above_them() {
    let mut found = Vec::new();
    let mut used = Vec::new();
    for (file, text) in sources() {
        for arrow in wrong_arrows(&file, &text) {
            match ACCEPTED_ARROWS.iter().find(|(f, to, _)| *f == file && *to == arrow.to) {
                Some(accepted) => used.push(accepted),
                None => found.push(arrow.words),
            }
        }
    }
    none_of("layers", found);
    let stale = ACCEPTED_ARROWS.iter().filter(|a| !used.contains(a)).map(|a| format!("{a:?}")).collect();
    none_of("accepted arrows that are not there any more", stale);
}

#[test]
fn every_module_has_its_layer() {
    let unknown = sources().into_keys().filter(|file| !LAYERS.contains(&layer_of(file).as_str())).collect();
    none_of("modules without a layer", unknown);
}

#[test]
fn a_wrong_arrow_is_seen() {
    let bad = |file: &str, text: &str| -> Vec<String> {
        wrong_arrows(file, text).into_iter().map(|a| format!("{}:{}", a.to, a.line)).collect()
    };
    assert_eq!(bad("acts/up.rs", "//! head\nuse crate::steps::deploy;\n"), ["steps:2"]);
    assert_eq!(
        bad("exec/mod.rs", "use crate::{error::Fault, stand::{Stand, git}};\n"),
        ["stand:1", "stand:1"]
    );
    assert_eq!(bad("pipeline/mod.rs", "fn f() {\n    crate::report::render();\n}\n"), ["report:2"]);
    assert_eq!(bad("pipeline/mod.rs", "use super::report::Screen;\n"), ["report:1"]);
    assert_eq!(bad("evidence/judge/gates.rs", "use super::super::super::stand::Stand;\n"), ["stand:1"]);
    assert_eq!(bad("stand/git.rs", "use crate::evidence::RunDir;\n"), ["evidence:1"]);
    assert_eq!(bad("plan.rs", "use crate::exec::Exec;\n"), ["exec:1"]);
}

#[test]
fn right_arrows_comments_texts_and_tests_are_not_findings() {
    let fine = "//! Not crate::report.\nuse crate::error::Result;\nuse super::git;\nuse self::x;\n\
                const A: &str = \"crate::cli \\\" crate::cli\"; const B: char = '\"';\n\
                const C: &str = r#\"crate::cli \" \"#; /* crate::cli */\n\
                fn f<'a>(x: &'a str) -> &'a str { x }\n\
                #[cfg(test)]\nmod tests {\n    use crate::cli;\n    fn g() { let _ = '{'; }\n}\n";
    assert_eq!(wrong_arrows("stand/mod.rs", fine), []);
    // What follows the tests counts again.
    assert_eq!(wrong_arrows("stand/mod.rs", &format!("{fine}use crate::cli;\n")).len(), 1);
}

#[test]
fn the_reading_is_not_blind() {
    let arrows: usize = sources().iter().map(|(file, text)| paths_used(file, text).len()).sum();
    assert!(arrows > 400, "only {arrows} paths were seen in xtask/src");
}

#[derive(Debug, PartialEq)]
struct Arrow {
    to: String,
    line: usize,
    words: String,
}

fn wrong_arrows(file: &str, text: &str) -> Vec<Arrow> {
    let from = layer_of(file);
    let place = |layer: &str| LAYERS.iter().position(|l| *l == layer);
    let mut found = Vec::new();
    for (path, line) in paths_used(file, text) {
        let Some(to) = path.first().filter(|to| **to != from) else { continue };
        let why = match (place(to), place(&from)) {
            (Some(to), Some(from)) if to > from => Some("further down"),
            _ => NEVER.iter().find(|(f, t, _)| *f == from && t == to).map(|(_, _, why)| *why),
        };
        if let Some(why) = why {
            let words = format!("xtask/src/{file}:{line}: {from} uses {} ({why})", path.join("::"));
            found.push(Arrow { to: to.clone(), line, words });
        }
    }
    found
}

fn layer_of(file: &str) -> String {
    module_of(file).into_iter().next().unwrap_or_else(|| file.trim_end_matches(".rs").to_string())
}

// ---------------------------------------------------------------- steps apart

#[test]
fn steps_do_not_use_each_other() {
    let found = sources().iter().flat_map(|(file, text)| steps_used(file, text)).collect();
    none_of("steps", found);
}

#[test]
fn a_step_that_uses_another_is_seen() {
    assert_eq!(steps_used("steps/scan.rs", "use super::precheck::whoami;\n").len(), 1);
    assert_eq!(steps_used("steps/proof.rs", "use crate::steps::{backup::Made, proof::X};\n").len(), 1);
    assert_eq!(steps_used("steps/proof.rs", "fn f() { super::backup::run() }\n").len(), 1);
    assert_eq!(steps_used("steps/mod.rs", "pub mod backup;\nuse self::backup::run;\n").len(), 0);
    assert_eq!(steps_used("pipeline/release.rs", "use crate::steps::{backup, build};\n").len(), 0);
}

fn steps_used(file: &str, text: &str) -> Vec<String> {
    let Some(own) = file.strip_prefix("steps/").filter(|name| *name != "mod.rs") else { return Vec::new() };
    let own = own.split('/').next().unwrap_or(own).trim_end_matches(".rs");
    paths_used(file, text)
        .into_iter()
        .filter(|(path, _)| path.first().is_some_and(|m| m == "steps"))
        .filter(|(path, _)| path.get(1).is_some_and(|m| m != own))
        .map(|(path, line)| format!("xtask/src/{file}:{line}: uses {}", path.join("::")))
        .collect()
}

// ---------------------------------------------------------------- words of another layer

#[test]
fn the_pipeline_knows_no_docker_words_and_the_plan_no_files() {
    let found = sources().iter().flat_map(|(file, text)| foreign_words(file, text)).collect();
    none_of("words of another layer", found);
}

#[test]
fn a_foreign_word_is_seen() {
    assert_eq!(foreign_words("pipeline/release.rs", "fn f() { Invocation::new(\"docker\") }\n").len(), 2);
    assert_eq!(foreign_words("plan.rs", "fn f() { std::fs::read(\"x\") }\n").len(), 1);
    assert_eq!(foreign_words("plan.rs", "// std::fs is not used here\n").len(), 0);
}

fn foreign_words(file: &str, text: &str) -> Vec<String> {
    let words: &[&str] = match layer_of(file).as_str() {
        "pipeline" | "evidence" | "report" => &["\"docker", "Invocation::new"],
        "plan" => &["std::fs", "std::process", "std::env", "Invocation::new"],
        _ => &[],
    };
    without_tests(&without_comments(text))
        .lines()
        .enumerate()
        .flat_map(|(at, line)| words.iter().filter(|w| line.contains(**w)).map(move |w| (at + 1, *w)))
        .map(|(line, word)| format!("xtask/src/{file}:{line}: {word}"))
        .collect()
}

// ---------------------------------------------------------------- heads and sizes

#[test]
fn every_file_has_a_head_and_fits_a_reader() {
    let mut found = Vec::new();
    let mut used = Vec::new();
    for (file, text) in sources() {
        let shape = wrong_shape(&file, &text);
        match ACCEPTED_SHAPES.iter().find(|(f, _)| *f == file) {
            Some(accepted) if !shape.is_empty() => used.push(accepted),
            _ => found.extend(shape),
        }
    }
    none_of("files", found);
    let stale = ACCEPTED_SHAPES.iter().filter(|a| !used.contains(a)).map(|a| format!("{a:?}")).collect();
    none_of("accepted files that are fine by now", stale);
}

#[test]
fn a_long_file_and_a_missing_head_are_seen() {
    let long = format!("//! Head.\n{}", "\n".repeat(MOST_LINES));
    assert_eq!(wrong_shape("a.rs", &long), ["xtask/src/a.rs: 351 lines, at most 350"]);
    assert_eq!(wrong_shape("a.rs", "use x;\n"), ["xtask/src/a.rs: does not begin with a `//!` head"]);
    assert!(wrong_shape("a.rs", &long[1..]).len() == 2);
    assert!(wrong_shape("a.rs", "//! Head.\n").is_empty());
}

fn wrong_shape(file: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let lines = text.lines().count();
    if lines > MOST_LINES {
        found.push(format!("xtask/src/{file}: {lines} lines, at most {MOST_LINES}"));
    }
    if !text.starts_with("//! ") {
        found.push(format!("xtask/src/{file}: does not begin with a `//!` head"));
    }
    found
}

// ---------------------------------------------------------------- nothing left out

#[test]
fn every_file_is_part_of_the_program() {
    none_of("files that no `mod` names", left_out(&sources()));
}

#[test]
fn a_file_left_out_and_one_out_of_its_place_are_seen() {
    let tree = |files: &[(&str, &str)]| -> Vec<String> {
        left_out(&files.iter().map(|(f, t)| (f.to_string(), t.to_string())).collect())
    };
    let good = [
        ("lib.rs", "pub mod a;\n"),
        ("main.rs", ""),
        ("a/mod.rs", "mod b;\n#[cfg(test)]\nmod tests;\n"),
        ("a/b.rs", "mod c;\n"),
        ("a/b/c.rs", ""),
        ("a/tests.rs", ""),
    ];
    assert_eq!(tree(&good), [] as [&str; 0]);
    let dead = [("lib.rs", "// mod a;\n"), ("a.rs", "")];
    assert_eq!(tree(&dead), ["xtask/src/a.rs: no `mod` names it"]);
    let moved = [("lib.rs", "#[path = \"x/mod.rs\"]\npub mod a;\n")];
    assert_eq!(tree(&moved), ["xtask/src/lib.rs: `#[path` puts a module where its name does not lead"]);
}

/// Files that no module declaration leads to, and declarations that lead elsewhere.
fn left_out(files: &BTreeMap<String, String>) -> Vec<String> {
    let declared = regex::Regex::new(r"(?m)^\s*(?:pub(?:\([^)]*\))? )?mod (\w+);").unwrap();
    let mut named = Vec::new();
    let mut found = Vec::new();
    for (file, text) in files {
        let text = without_comments(text);
        if text.contains("#[path") {
            found.push(format!("xtask/src/{file}: `#[path` puts a module where its name does not lead"));
        }
        let module = module_of(file).join("/");
        for name in declared.captures_iter(&text) {
            let place =
                if module.is_empty() { name[1].to_string() } else { format!("{module}/{}", &name[1]) };
            named.extend([format!("{place}.rs"), format!("{place}/mod.rs")]);
        }
    }
    let root = |file: &str| matches!(file, "lib.rs" | "main.rs");
    found.extend(
        files
            .keys()
            .filter(|file| !root(file) && !named.contains(file))
            .map(|file| format!("xtask/src/{file}: no `mod` names it")),
    );
    found
}

// ---------------------------------------------------------------- every file of the repository

/// What must not stand in any file. Put together here, so that this file has none of it.
fn forbidden() -> Vec<(String, &'static str)> {
    let joined = |parts: &[&str]| parts.concat();
    vec![
        (joined(&["/wo", "rk/"]), "a directory of one machine"),
        (joined(&["/ro", "ot/"]), "a directory of one machine"),
        (joined(&["C:\\U", "sers\\"]), "a directory of one machine"),
        (joined(&["crates", ".io"]), "a package registry"),
        (joined(&["pypi", ".org"]), "a package registry"),
        (joined(&["files.python", "hosted"]), "a package registry"),
        (joined(&["registry", ".npmjs"]), "a package registry"),
        (joined(&["registry-1.", "docker"]), "a package registry"),
        (joined(&["hub.", "docker.com"]), "a package registry"),
        (joined(&["ghcr", ".io"]), "a package registry"),
        (joined(&["quay", ".io"]), "a package registry"),
    ]
}

/// Files that may hold such a word, with the reason.
const ACCEPTED_WORDS: [(&str, &str); 1] = [("Cargo.lock", "cargo writes the source of each crate into it")];

#[test]
fn no_file_names_a_machine_or_a_registry_and_none_has_crlf() {
    let mut found = Vec::new();
    for file in repository_files() {
        let Ok(bytes) = std::fs::read(root().join(&file)) else { continue };
        // A picture or an archive has neither lines nor words.
        if bytes.contains(&0) {
            continue;
        }
        let accepted = ACCEPTED_WORDS.iter().any(|(f, _)| *f == file);
        let text = String::from_utf8_lossy(&bytes);
        found.extend(wrong_text(&file, &text).into_iter().filter(|_| !accepted));
    }
    none_of("texts", found);
}

#[test]
fn a_machine_a_registry_and_crlf_are_seen() {
    for (word, _) in forbidden() {
        let text = format!("fine\nsee {word}x\n");
        let found = wrong_text("a.md", &text);
        assert!(found.len() == 1 && found[0].starts_with("a.md:2: "), "{word}: {found:?}");
    }
    assert_eq!(wrong_text("a.md", "one\ntwo\r\n"), ["a.md:2: ends in CR"]);
    assert_eq!(wrong_text("a.md", "one\n"), [] as [&str; 0]);
}

fn wrong_text(file: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let words = forbidden();
    for (at, line) in text.split('\n').enumerate() {
        let at = at + 1;
        if line.ends_with('\r') {
            found.push(format!("{file}:{at}: ends in CR"));
        }
        found.extend(
            words
                .iter()
                .filter(|(word, _)| line.contains(word))
                .map(|(word, what)| format!("{file}:{at}: `{word}`, {what}")),
        );
    }
    found
}

#[test]
fn programs_are_executable_and_nothing_else_is() {
    let mut found = Vec::new();
    for file in repository_files() {
        let path = root().join(&file);
        let Ok(bytes) = std::fs::read(&path) else { continue };
        if let Some(executable) = executable(&path) {
            found.extend(wrong_mode(&file, bytes.starts_with(b"#!"), executable));
        }
    }
    none_of("modes", found);
}

#[test]
fn a_script_without_its_mode_is_seen() {
    assert_eq!(wrong_mode("scripts/a", true, false), Some("scripts/a: a program, and not executable".into()));
    assert_eq!(wrong_mode("a.md", false, true), Some("a.md: executable, and no program".into()));
    assert_eq!(wrong_mode("scripts/a", true, true), None);
    assert_eq!(wrong_mode("a.md", false, false), None);
}

#[test]
fn the_scripts_that_people_call_are_there() {
    let files = repository_files();
    for script in ["scripts/setup", "scripts/demo", "scripts/test", ".ci/run"] {
        assert!(files.iter().any(|f| f == script), "{script} is missing");
        let text = std::fs::read_to_string(root().join(script)).unwrap();
        assert!(text.starts_with("#!/usr/bin/env bash\n"), "{script} is not for bash");
        assert!(text.contains("\nset -euo pipefail\n"), "{script} goes on after an error");
    }
}

fn wrong_mode(file: &str, program: bool, executable: bool) -> Option<String> {
    match (program, executable) {
        (true, false) => Some(format!("{file}: a program, and not executable")),
        (false, true) => Some(format!("{file}: executable, and no program")),
        _ => None,
    }
}

/// Nothing where the file system knows no such mode.
#[cfg(unix)]
fn executable(path: &Path) -> Option<bool> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).ok().map(|m| m.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn executable(_: &Path) -> Option<bool> {
    None
}

// ---------------------------------------------------------------- reading

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every file of the repository, with `/`, without what git ignores. Walked, not asked of git: it
/// refuses to answer in a checkout that belongs to somebody else.
fn repository_files() -> Vec<String> {
    let root = root();
    let ignored = ["target", "ops/_local", "ops/_backups", ".git"];
    let mut files: Vec<String> = walkdir::WalkDir::new(&root)
        .into_iter()
        .filter_entry(|e| {
            let path = relative(&root, e.path());
            // cargo marks its own directories, wherever they were put.
            !ignored.contains(&path.as_str()) && !e.path().join("CACHEDIR.TAG").exists()
        })
        .filter_map(Result::ok)
        .filter(|e| e.file_type().is_file())
        .map(|e| relative(&root, e.path()))
        .collect();
    files.sort();
    assert!(files.iter().any(|f| f == "Cargo.toml") && files.len() > 100, "{} files", files.len());
    files
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

/// The files of xtask/src by their path below it.
fn sources() -> BTreeMap<String, String> {
    let files = repository_files();
    let ours = files.iter().filter_map(|f| f.strip_prefix("xtask/src/").filter(|f| f.ends_with(".rs")));
    ours.map(|f| (f.to_string(), std::fs::read_to_string(root().join("xtask/src").join(f)).unwrap()))
        .collect()
}

fn none_of(what: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

/// `stand/git.rs` is module stand::git, `stand/mod.rs` is stand, lib.rs and main.rs the crate's root.
fn module_of(file: &str) -> Vec<String> {
    let name = file.trim_end_matches(".rs").trim_end_matches("/mod");
    if matches!(name, "lib" | "main") {
        return Vec::new();
    }
    name.split('/').map(String::from).collect()
}

/// Only built for tests.
fn is_test(file: &str) -> bool {
    file.ends_with("/tests.rs") || file.contains("/tests/")
}

/// Every path below the crate that the code of a file uses, with its line: `crate::a::b`,
/// `xtask::a`, `super::c`, groups in braces taken apart. Tests and comments do not count.
fn paths_used(file: &str, text: &str) -> Vec<(Vec<String>, usize)> {
    if is_test(file) {
        return Vec::new();
    }
    let code = without_tests(&without_texts(&without_comments(text)));
    let module = module_of(file);
    let start = regex::Regex::new(r"(?:\bcrate|\bxtask|\bsuper(?:::super)*)::").unwrap();
    let mut found = Vec::new();
    for head in start.find_iter(&code) {
        let line = code[..head.start()].lines().count().max(1);
        let ups = head.as_str().matches("super").count();
        let base = if ups == 0 { Vec::new() } else { module[..module.len().saturating_sub(ups)].to_vec() };
        for tail in tails(&code[head.end()..]) {
            found.push((base.iter().cloned().chain(tail).collect(), line));
        }
    }
    found
}

/// What follows `crate::`: one path, or each path of a group.
fn tails(code: &str) -> Vec<Vec<String>> {
    let code = code.trim_start();
    if let Some(group) = code.strip_prefix('{') {
        return parts_of(group).iter().flat_map(|part| tails(part)).collect();
    }
    let name: String = code.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    if name.is_empty() {
        return Vec::new();
    }
    match code[name.len()..].strip_prefix("::") {
        Some(rest) => {
            let below = tails(rest);
            if below.is_empty() {
                return vec![vec![name]];
            }
            below.into_iter().map(|tail| std::iter::once(name.clone()).chain(tail).collect()).collect()
        }
        None => vec![vec![name]],
    }
}

/// The members of a group, up to its closing brace.
fn parts_of(group: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    parts
}

fn without_comments(text: &str) -> String {
    blanked(text, true, false)
}

fn without_texts(code: &str) -> String {
    blanked(code, false, true)
}

/// The same text with comments or the insides of literals replaced by blanks; lines stay as they are.
fn blanked(text: &str, comments: bool, literals: bool) -> String {
    let token =
        regex::Regex::new(r##"(?s)//[^\n]*|/\*.*?\*/|r#"(?:.*?)"#|"(?:\\.|[^"\\])*"|'(?:\\.[^']*|[^'\\])'"##)
            .unwrap();
    let blank = |t: &str| t.chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect::<String>();
    token
        .replace_all(text, |found: &regex::Captures<'_>| {
            let token = &found[0];
            let wanted = if token.starts_with('/') { comments } else { literals };
            if wanted { blank(token) } else { token.to_string() }
        })
        .into_owned()
}

/// The code without its `#[cfg(test)] mod .. { }`; lines stay as they are.
fn without_tests(code: &str) -> String {
    let start = regex::Regex::new(r"#\[cfg\(test\)\]\s*(?:pub )?mod \w+ \{").unwrap();
    let masked = without_texts(code);
    let mut out = String::new();
    let mut at = 0;
    while let Some(head) = start.find_at(&masked, at) {
        out.push_str(&code[at..head.start()]);
        let mut depth = 1;
        let mut end = head.end();
        for (offset, c) in masked[head.end()..].char_indices() {
            depth += match c {
                '{' => 1,
                '}' => -1,
                _ => 0,
            };
            if depth == 0 {
                end = head.end() + offset + 1;
                break;
            }
        }
        out.extend(code[head.start()..end].chars().filter(|c| *c == '\n'));
        at = end;
    }
    out.push_str(&code[at..]);
    out
}
