//! Secrets and people planted wherever a stand can hold and print them, through
//! every outcome: none on disk, none on the screen, none in a command line; the
//! gate that looks for them can fail; what is kept is the operator's alone.

use crate::support::cmdlines::Watch;
use crate::support::planted::{Planted, base64};
use crate::support::process::{program, start};
use crate::support::{Checks, Outcome, Stand, note};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What every service imports: says everything in pieces, as buffers cut it, and its environment.
const LEAKY: &str = r#"import os
import sys


def speak():
    try:
        with open("conf/speak.txt", encoding="utf-8") as file:
            text = file.read()
    except OSError:
        return
    for at in range(0, len(text), 97):
        sys.stdout.write(text[at : at + 97])
        sys.stdout.flush()
    for key, value in os.environ.items():
        print(f"environment {key}={value}", file=sys.stderr, flush=True)


speak()
"#;
const DOCKERFILE: &str = "RUN --mount=type=bind,target=/context cp -a";

struct Scene {
    stand: Stand,
    planted: Planted,
    checks: Checks,
    said: Vec<Outcome>,
}

impl Scene {
    fn run(&mut self, args: &[&str], code: i32) -> Outcome {
        self.run_with(&[], args, code)
    }

    fn run_with(&mut self, env: &[(&str, &str)], args: &[&str], code: i32) -> Outcome {
        let outcome = self.stand.run_with(env, args);
        let (got, at) = (outcome.code, outcome.at());
        self.checks.that(format!("exit {code} of {}", outcome.what), || {
            assert_eq!(got, code, "exit code{at}");
        });
        self.said.push(outcome.clone());
        outcome
    }

    /// What was planted was said there: without this, finding nothing would prove nothing.
    fn spoken(&mut self, outcome: &Outcome, files: &[&str]) {
        let Scene { stand, planted, checks, .. } = self;
        let evidence = stand.evidence(outcome);
        for file in files {
            checks.that(format!("{file}: the planted lines came this far"), || {
                let text = evidence.text(file);
                let missing: Vec<usize> =
                    (0..planted.lines.len()).filter(|n| !text.contains(&format!("say-{n}. "))).collect();
                assert!(missing.is_empty(), "not said: {missing:?}{}", evidence.at);
            });
        }
    }

    /// Nothing of it in any file of the evidence, in any name there, in what is told beside it, or on the
    /// screen.
    fn nowhere(&mut self) {
        let Scene { stand, planted, checks, said, .. } = self;
        type Files = fn(&Stand) -> Vec<PathBuf>;
        let places = [("in the evidence", evidence as Files), ("beside it", beside_the_evidence)];
        for (what, files) in places {
            checks.that(format!("no planted value {what}"), || {
                let mut leaks = Vec::new();
                for path in files(stand) {
                    let bytes = std::fs::read(&path).unwrap();
                    let (text, file) = (String::from_utf8_lossy(&bytes), path.display().to_string());
                    for (what, line) in planted.found_in(&text).into_iter().chain(planted.found_in(&file)) {
                        leaks.push(format!("{what}\n      in {file}: {line}"));
                    }
                }
                assert!(leaks.is_empty(), "{} leaks:\n    {}", leaks.len(), leaks.join("\n    "));
            });
        }
        checks.that("no planted value on the screen", || {
            let mut leaks = Vec::new();
            for outcome in said {
                for text in [&outcome.stdout, &outcome.stderr] {
                    let found = planted.found_in(text);
                    leaks
                        .extend(found.iter().map(|(w, line)| format!("{w}\n      {}: {line}", outcome.what)));
                }
            }
            assert!(leaks.is_empty(), "{} leaks:\n    {}", leaks.len(), leaks.join("\n    "));
        });
    }
}

fn evidence(stand: &Stand) -> Vec<PathBuf> {
    let root = stand.repo.join(crate::support::stand::EVIDENCE);
    let files = xtask::fsx::files_below(&root).unwrap();
    assert!(files.len() > 60, "only {} files of evidence", files.len());
    files.iter().map(|file| root.join(file)).collect()
}

/// What the program tells of its runs where others read it too: manifests and logs of backups, the last
/// known good release, who holds the lock.
fn beside_the_evidence(stand: &Stand) -> Vec<PathBuf> {
    let mut found = vec![stand.repo.join("ops/_local/lkg/last_known_good.json")];
    for backup in std::fs::read_dir(stand.repo.join("ops/_backups")).unwrap().flatten() {
        found.extend(["manifest.json", "backup.log"].map(|name| backup.path().join(name)));
    }
    let locks = std::fs::read_dir("/tmp/ff-xtask-locks").unwrap().flatten().map(|e| e.path());
    let own = format!("/{}-", stand.project);
    found.extend(locks.filter(|lock| lock.display().to_string().contains(&own)));
    // A database that was set aside has no log.
    found.retain(|path| path.exists());
    for name in ["last_known_good.json", "manifest.json", "backup.log", ".lock"] {
        let there = found.iter().any(|path| path.display().to_string().ends_with(name));
        assert!(there, "no {name} among {found:?}");
    }
    found
}

/// The checkout of a stand that says all of it.
fn plant(repo: &Path, planted: &mut Planted) {
    let edit = |file: &str, from: &str, to: &str| {
        let path = repo.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no `{from}`");
        std::fs::write(path, text.replacen(from, to, 1)).unwrap();
    };
    let append = |file: &str, text: &str| {
        let old = std::fs::read_to_string(repo.join(file)).unwrap();
        std::fs::write(repo.join(file), old + text).unwrap();
    };
    let compose_word = planted.word("COMPOSE_ENV_TOKEN");
    let build_word = planted.word("PIP_INDEX_TOKEN");
    let file_word = planted.word("compose secret file");
    let key = planted.word("FF_ARCHITECT_KEY");
    // A service that is started with one has it in its command line: the stand's own doing.
    let argv_word = planted.word("license-key");
    planted.words.remove("license-key");
    planted
        .lines
        .push(format!("say-{}. of the compose file: {compose_word} {argv_word}", planted.lines.len()));
    planted.lines.push(format!("say-{}. of a secret's file: {file_word}", planted.lines.len()));

    let env: String = planted.env.iter().map(|(k, v)| format!("{k}={v}\n")).collect();
    append(".env.docker", &format!("{env}FF_ARCHITECT_KEY={key}\n"));
    append(".gitignore", "conf/\n");
    std::fs::create_dir(repo.join("conf")).unwrap();
    std::fs::write(repo.join("conf/speak.txt"), planted.lines.join("\n") + "\n").unwrap();
    std::fs::write(repo.join("conf/extra"), format!("{file_word}\n")).unwrap();
    std::fs::write(repo.join("src/leaky.py"), LEAKY).unwrap();
    append("src/settings.py", "\nfrom src import leaky  # noqa: E402, F401\n");
    edit(
        "docker-compose.yml",
        "  api:\n    build: .\n",
        "  sidecar:\n    image: redis:7-alpine\n    command: [\"sh\", \"-c\", \"echo \\\"$$0 $$1\\\"; exec sleep 100000\", \"--license-key\", \"WORD\"]\n    \
         stop_grace_period: 1s\n\n  api:\n    build:\n      context: .\n      args:\n        PIP_INDEX_TOKEN: \"BUILD\"\n    secrets: [extra]\n"
            .replace("WORD", &argv_word)
            .replace("BUILD", &build_word)
            .as_str(),
    );
    edit(
        "docker-compose.yml",
        "      PGAPPNAME: ff-demo-api\n",
        &format!("      PGAPPNAME: ff-demo-api\n      COMPOSE_ENV_TOKEN: {compose_word}\n"),
    );
    edit(
        "docker-compose.yml",
        "    depends_on:\n      - postgres\n      - redis\n",
        "    depends_on:\n      - postgres\n      - redis\n      - sidecar\n",
    );
    append("docker-compose.yml", "\nsecrets:\n  extra:\n    file: ./conf/extra\n");
    edit(
        "Dockerfile",
        DOCKERFILE,
        &format!(
            "ARG PIP_INDEX_TOKEN\nRUN --mount=type=bind,target=/context cat /context/conf/speak.txt && echo \"index with $PIP_INDEX_TOKEN\"\n{DOCKERFILE}"
        ),
    );
}

/// Statements that PostgreSQL refuses with a row in its words, and everything that was planted.
fn migration(planted: &mut Planted) -> String {
    let speak = base64((planted.lines.join("\n") + "\n").as_bytes());
    let mut sql = format!(
        "\\! echo {speak} | base64 -d\n\\! echo \"password is $POSTGRES_PASSWORD\"\n\\set ON_ERROR_STOP 0\nCREATE SCHEMA people;\n\
         CREATE TYPE people.mood AS ENUM ('ok');\nCREATE DOMAIN people.short AS text CHECK (length(value) < 3);\n\
         CREATE TABLE people.t (name text PRIMARY KEY, age int CHECK (age > 0), boss text REFERENCES people.t, born date NOT NULL);\n\
         CREATE TABLE people.p (name text) PARTITION BY LIST (name);\n\
         CREATE TABLE people.x (name text, EXCLUDE USING btree (name WITH =));\n"
    );
    let first = planted.person();
    sql.push_str(&format!(
        "INSERT INTO people.t VALUES ('{first}', 1, NULL, now());\nINSERT INTO people.x VALUES ('{first}');\n"
    ));
    for statement in [
        "INSERT INTO people.x VALUES ('FIRST')",
        "INSERT INTO people.t VALUES ('FIRST', 1, NULL, now())",
        "INSERT INTO people.t VALUES ('PERSON', 0, NULL, now())",
        "INSERT INTO people.t VALUES ('PERSON', 1, 'PERSON', now())",
        "INSERT INTO people.t VALUES ('PERSON', 1, NULL, NULL)",
        "INSERT INTO people.p VALUES ('PERSON')",
        "SELECT 'PERSON'::integer",
        "SELECT 'PERSON'::date",
        "SELECT 'PERSON'::uuid",
        "SELECT 'PERSON'::inet",
        "SELECT 'PERSON'::json",
        "SELECT 'PERSON'::people.mood",
        "SELECT 'PERSON'::people.short",
        "SELECT 'PERSON'::boolean",
        "SELECT '{PERSON'::int[]",
        "SELECT to_date('PERSON', 'YYYY')",
        "SELECT 'PERSON' ~ '(PERSON'",
        "SELECT ('x' || 'PERSON')::bytea::text::interval",
        "DO $x$ BEGIN INSERT INTO people.t VALUES ('FIRST', 1, NULL, now()); END $x$",
        "CREATE UNIQUE INDEX ON (SELECT 'PERSON')",
        "UPDATE people.t SET age = 'PERSON'",
    ] {
        let person = planted.person();
        sql.push_str(&format!("{};\n", statement.replace("PERSON", &person).replace("FIRST", &first)));
    }
    let (one, two) = (planted.person(), planted.person());
    sql.push_str(&format!(
        "COPY people.t FROM stdin;\n{one}\tnot a number\t\\N\t2020-01-01\n{two}\t1\t\\N\t2020-01-01\n\\.\n"
    ));
    sql.push_str(&format!(
        "COPY people.t (name, born) FROM stdin WITH (FORMAT csv);\n\"{first}\",2020-01-01\n\\.\n"
    ));
    sql + "\\set VERBOSITY verbose\nSELECT 'FIRST'::numeric;\n".replace("FIRST", &first).as_str()
        + "\\set ON_ERROR_STOP 1\nDROP SCHEMA people CASCADE;\n"
}

/// Answers to the smoke that quote secrets, from a server of our own.
fn bad_answers(planted: &Planted) -> (String, std::thread::JoinHandle<()>) {
    let word = &planted.words["PLAIN_PASSWORD"];
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let base = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
    let bodies = [
        ("200 OK", format!("{{\"status\":\"{word} is no status\"}}")),
        // Where a cut at eighty characters would leave half of it.
        ("503 No", format!("{{\"ready\":false,\"detail\":\"{}{word}\"}}", "x".repeat(66))),
        (
            "500 No",
            format!(
                "{{\"error\":{{\"dsn\":\"postgres://a:{}@b/c\",\"password\":\"{word}\"}}}}",
                planted.weak()
            ),
        ),
        ("500 No", format!("{{\"message\":{}}}", json!(planted.lines.join("\n")))),
    ];
    // One for each check, in any order: every check gets one of them.
    let thread = std::thread::spawn(move || {
        for (status, body) in bodies {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let _ = stream.read(&mut [0u8; 8192]);
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all((head + &body).as_bytes());
        }
    });
    (base, thread)
}

/// A base image whose environment holds what nobody knows before a container of it runs.
struct Base(String);

impl Base {
    fn make(stand: &Stand, key: &str, value: &str) -> Base {
        let tag = format!("{}-secret-base:1", stand.project);
        let text = format!("FROM foxproflow-demo-base:1\nENV {key}={value}\n");
        let build = program("docker", &["build", "-q", "-t", &tag, "-"]);
        start(build, "docker build", Some(text.as_bytes()), Duration::from_secs(120)).wait().expect(0);
        Base(tag)
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        let remove = program("docker", &["image", "rm", "-f", &self.0]);
        start(remove, "docker image rm", None, Duration::from_secs(60)).wait();
    }
}

#[path = "secrets/parts.rs"]
mod parts;

#[test]
fn secrets_and_people_are_nowhere_and_the_gate_that_looks_can_fail() {
    let mut planted = Planted::new();
    let mut stand = Stand::with(|repo| plant(repo, &mut planted));
    let key = planted.words["FF_ARCHITECT_KEY"].clone();
    let remote = planted.word("git remote");
    stand.git(&["remote", "add", "origin", &format!("https://oauth2:{remote}@git.invalid/x.git")]);
    let header = format!("Authorization: Basic {}", base64(format!("a:{remote}").as_bytes()));
    stand.git(&["config", "http.https://git.invalid/.extraheader", &header]);
    stand.set("FF_ARCHITECT_KEY", &key);
    for what in ["POSTGRES_PASSWORD", "REDIS_PASSWORD"] {
        let secret = stand.secret(what).to_string();
        planted.nowhere.insert(format!("the stand's {what}"), secret.clone());
        planted.words.insert(format!("the stand's {what}"), secret);
    }
    note(format!("{} values planted, {} lines", planted.nowhere.len(), planted.lines.len()));
    let mut scene = Scene { stand, planted, checks: Checks::default(), said: Vec::new() };
    assert!(scene.planted.lines.len() >= 60);
    let watch = Watch::start(&scene.planted.words);
    parts::a_release_that_passes(&mut scene);
    parts::commands_that_look(&mut scene);
    parts::smoke_with_bad_answers(&mut scene);
    parts::a_release_that_is_rolled_back(&mut scene);
    parts::a_release_that_stays(&mut scene);
    parts::a_build_that_fails(&mut scene);
    parts::a_release_that_is_stopped(&mut scene);
    parts::the_gate_fails(&mut scene);
    parts::a_rollback(&mut scene);
    scene.nowhere();

    let (looks, found) = (watch.looks(), watch.found());
    scene.checks.that("no planted value in a command line", || {
        assert!(looks > 200, "only {looks} looks at the processes");
        assert!(found.is_empty(), "in command lines: {found:?}");
    });
    drop(watch);
    scene.checks.that("the watch sees one", || {
        let words = [("canary".to_string(), scene.planted.word("canary"))].into_iter().collect();
        let watch = Watch::start(&words);
        let _sleeper = start(
            program("sh", &["-c", "sleep 30; :", "sh", &words["canary"]]),
            "a canary",
            None,
            Duration::from_secs(60),
        );
        crate::support::wait_for("the canary", crate::support::SOON, || {
            (!watch.found().is_empty()).then_some(())
        });
    });
    scene.checks.all_hold();
}
