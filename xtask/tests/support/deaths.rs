//! Something around the program dies while it works. The verdict is true,
//! nothing is lost, nothing works on in a container, nothing is left over.

use super::before::{Before, live_oid, no_row_is_lost};
use super::held::Held;
use super::leftovers::Kept;
use super::process::tool;
use super::stand::EVIDENCE;
use super::writer::Writer;
use super::{Checks, Evidence, Outcome, Running, SOON, Stand, note, wait_for};
use std::path::Path;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// The server's first process, from the host: the engine starts its container again.
    Server,
    /// `docker kill`, after which the engine leaves the container alone.
    Container,
    /// The server, after a setting with which it cannot start.
    Server4Ever,
    /// The clients of docker that the program has started at that moment.
    Client,
    /// The session of the lock, and another writer takes it.
    Lock,
    /// The engine: it is ended as an operator ends it, and comes back with its containers.
    Engine,
}
use Victim::*;

/// Who dies, in which act, and how the release may end.
pub type Death = (Victim, &'static str, &'static str, &'static [i32]);

pub struct Case {
    pub stand: Stand,
    kept: Kept,
    pub checks: Checks,
    first: String,
    tries: usize,
    /// Ends the engine and starts it again.
    restart: Option<Box<dyn Fn()>>,
}

impl Case {
    pub fn new(restart: Option<Box<dyn Fn()>>) -> Case {
        let mut stand = Stand::new();
        stand.be_patient();
        stand.set("FF_BACKUP_LOCK_WAIT_S", "200");
        let (evidence, kept) = stand.first_release();
        // A server that crashes empties unlogged tables: that is PostgreSQL's own promise.
        stand.psql("ALTER TABLE app.session_cache SET LOGGED");
        Case { first: evidence.rid(), stand, kept, checks: Checks::default(), tries: 0, restart }
    }

    /// Releases, and lets somebody die in it.
    pub fn one(&mut self, (victim, step, act, codes): Death) {
        self.tries += 1;
        let what = format!("{victim:?} in {step}: {act}");
        let rid = format!("rel_20991231-{:06}_around", self.tries);
        note(&what);
        self.commit(step);
        let writer = Writer::start(&self.stand, "around");
        let before = Before::of(&self.stand);
        let held = (step == "backup").then(|| {
            let lock = "BEGIN; LOCK TABLE app.attachments IN ACCESS EXCLUSIVE MODE";
            self.stand.hold("foxproflow", "ff-test-holder", lock)
        });
        let server = self.server();
        let limit = if victim == Server4Ever { "5" } else { "60" };
        let running = self.stand.start_in(
            &self.stand.repo,
            &[("FF_DEPLOY_TIMEOUT_S", limit)],
            &["release", "--yes", "--json", "--rid", &rid],
        );
        let journal = self.stand.repo.join(EVIDENCE).join(&rid).join("events.jsonl");
        let begun = format!("\"kind\":\"intent\",\"step\":\"{step}\",\"act\":\"{act}\"");
        wait_for(&what, SOON * 20, || {
            std::fs::read_to_string(&journal).unwrap_or_default().contains(&begun).then_some(())
        });
        self.at_work(step);
        let other = self.kill(victim, &server, &running, act);
        let outcome = self.stand.heard(running.wait(), &[]);
        drop((held, other));
        let ended = match outcome.code {
            40 => "40, and `rollback` 0".into(),
            code => code.to_string(),
        };
        self.judge(&what, &rid, codes, &before, writer, (victim, outcome));
        self.checks.tried.add("around a release", &format!("{victim:?}"), &format!("{step}: {act}"), &ended);
    }

    /// What is released: a good version, one whose last migration sleeps, or one that has to go back.
    fn commit(&self, step: &str) {
        self.stand.version(if step == "rollback" { "bad-api-not-ready" } else { "good-v2" });
        if step == "migrate" {
            let path = "scripts/sql/fixpacks/20251222_long_apply.sql";
            let sql = "CREATE TABLE app.long_one (id int);\nSELECT pg_sleep(600);\n";
            std::fs::write(self.stand.repo.join(path), sql).unwrap();
            let last = "  \"scripts/sql/fixpacks/20251218_analytics_totals_apply.sql\",\n";
            self.stand.edit("ops/xtask.toml", last, &format!("{last}  \"{path}\",\n"));
            self.stand.commit("[DEVTASK:11] app: a long one");
        }
    }

    /// Waits until the act waits, where it does.
    fn at_work(&self, step: &str) {
        let sql = match step {
            "backup" => {
                "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'LOCK TABLE%'"
            }
            "migrate" => "SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600);'",
            _ => return,
        };
        wait_for("the server to wait in the act", SOON, || {
            self.stand.try_psql("postgres", sql).stdout.lines().next().map(|_| ())
        });
    }

    /// The server's first process on the host.
    fn server(&self) -> String {
        let id = self.stand.container("postgres");
        tool("docker", &["inspect", "--format", "{{.State.Pid}}", &id], Path::new("/"), None).trim().into()
    }

    fn kill(&self, victim: Victim, server: &str, running: &Running, act: &str) -> Option<Held> {
        match victim {
            Server => kill(server),
            Engine => self.restart.as_ref().unwrap()(),
            Container => {
                tool(
                    "docker",
                    &["kill", "-s", "KILL", &self.stand.container("postgres")],
                    Path::new("/"),
                    None,
                );
            }
            Server4Ever => {
                self.stand
                    .psql_on("postgres", "ALTER SYSTEM SET shared_preload_libraries = 'no_such_library'");
                kill(server);
            }
            Lock => {
                let end = |app: &str| {
                    let sql =
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE";
                    self.stand.psql_on("postgres", &format!("{sql} '{app}'"));
                };
                end("ffxlock %");
                // The key is part of the protocol between machines: "FFXTASK" as ASCII.
                let lock = format!("SELECT pg_advisory_lock({})", 0x0046_4658_5441_534b_i64);
                let other = self.stand.hold("postgres", "ffxlock rel_far smoke anna@elsewhere", &lock);
                end("ffx:%:migrate");
                return Some(other);
            }
            Client => {
                // In an `up` it is compose; else whoever is there.
                let word = if ["up", "redeploy previous version"].contains(&act) { "\0up\0" } else { "" };
                let found = wait_for("a client of docker", SOON, || {
                    let found: Vec<String> = clients(running.id(), word);
                    (!found.is_empty()).then_some(found)
                });
                found.iter().for_each(|pid| kill(pid));
            }
        }
        None
    }

    fn judge(
        &mut self,
        what: &str,
        rid: &str,
        codes: &[i32],
        before: &Before,
        writer: Writer,
        (victim, outcome): (Victim, Outcome),
    ) {
        let Case { stand, kept, checks, first, .. } = self;
        let release = Evidence { dir: stand.repo.join(EVIDENCE).join(rid), at: outcome.at() };
        checks.that(format!("{what}: verdict"), || {
            assert!(codes.contains(&outcome.code), "exit {}{}", outcome.code, outcome.at());
            assert_eq!(release.verdict(), ("FAIL".into(), outcome.code as u64), "verdict{}", outcome.at());
            stand.run(&["evidence", "verify", rid]).expect(0);
        });
        note(format!("{what}: exit {}", outcome.code));
        let mut settled = outcome.clone();
        let mut last = rid.to_string();
        if outcome.code == 40 {
            if victim == Server4Ever {
                mend(stand);
            }
            settled = stand.run(&["rollback", "--yes", "--json"]);
            checks.that(format!("{what}: the way that 40 names"), || {
                outcome.says("cargo xtask rollback");
                if victim == Lock {
                    outcome.says("anna@elsewhere");
                }
                settled.clone().expect(0);
            });
            last = settled
                .dir
                .as_ref()
                .map(|d| d.file_name().unwrap().to_string_lossy().into_owned())
                .unwrap_or(last);
        }
        let evidence = Evidence { dir: stand.repo.join(EVIDENCE).join(&last), at: settled.at() };
        let record = std::fs::read_to_string(evidence.dir.join("rollback.json")).unwrap_or_default();
        let record: serde_json::Value = serde_json::from_str(&record).unwrap_or_default();
        let failed = record["failed_database"].as_str().map(String::from);
        if let Some(failed) = &failed {
            kept.rolled_back(failed);
        } else if stand.beside().exists() {
            kept.tree = true;
        }
        writer.acked_in_newest();
        let (tag, sessions) = (writer.tag().to_string(), writer.stop());
        let at = &evidence.at;
        checks.that(format!("{what}: state"), || {
            before.content_is_back(stand, &release, &evidence);
            before.checkout_untouched(stand, at);
            before.last_good_untouched(stand, at);
            // A restart of the engine takes live what the checkout holds, where it is mounted and nothing
            // was put back.
            let unproved = "run its code as it is now, unproved";
            let mounted = stand.containers()["api"].source.as_deref() == Some(stand.repo.as_path());
            let by_engine = victim == Engine && outcome.code == 20;
            if by_engine {
                settled.says("api, beat, worker started anew while this ran, and not by it");
            }
            if by_engine && mounted {
                // Whose columns no migration has made.
                assert_eq!(stand.api_version().as_deref(), Some("2"), "the API's version{at}");
                stand.run(&["smoke"]).expect(20);
                settled.says(unproved);
            } else {
                stand.runs_version("1");
                stand.run(&["smoke"]).expect(0);
                settled.lacks(unproved);
            }
            assert_eq!(failed.is_none(), live_oid(stand) == before.oid, "which database is live{at}");
            let status = stand.run(&["status", "--json"]).expect(0).json();
            assert_eq!(status["last_known_good"]["rid"], first.as_str(), "{status:#}{at}");
            assert_eq!(status["interrupted"].as_array().map(Vec::len), Some(0), "open: {status:#}{at}");
        });
        checks
            .that(format!("{what}: rows"), || no_row_is_lost(stand, &tag, &sessions, failed.as_deref(), at));
        checks.that(format!("{what}: leftovers"), || stand.nothing_left_over(kept, &settled));
    }
}

fn kill(pid: &str) {
    // One that has just ended is as good as killed.
    let _ = std::panic::catch_unwind(|| tool("kill", &["-KILL", pid], Path::new("/"), None));
}

/// Children of the program that are docker's client and have `word` in their arguments.
fn clients(program: u32, word: &str) -> Vec<String> {
    let children = std::fs::read_dir(format!("/proc/{program}/task")).into_iter().flatten().flatten();
    let children = children.filter_map(|t| std::fs::read_to_string(t.path().join("children")).ok());
    let pids: Vec<String> =
        children.flat_map(|c| c.split_whitespace().map(String::from).collect::<Vec<_>>()).collect();
    let line = |pid: &String| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    pids.into_iter().filter(|pid| line(pid).starts_with("docker\0") && line(pid).contains(word)).collect()
}

/// Takes the setting away with which the server cannot start.
fn mend(stand: &Stand) {
    let id = stand.container("postgres");
    tool("docker", &["stop", "-t", "0", &id], Path::new("/"), None);
    let script = "sed -i /shared_preload_libraries/d /var/lib/postgresql/data/postgresql.auto.conf";
    let args = ["run", "--rm", "--volumes-from", &id, "--entrypoint", "sh", "postgres:15", "-c", script];
    tool("docker", &args, Path::new("/"), None);
}
