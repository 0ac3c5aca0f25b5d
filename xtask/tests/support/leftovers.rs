//! What may lie about after a run: what rollback.md keeps, and nothing else.

use super::process::tool;
use super::sql::DATABASE;
use super::{Evidence, Outcome, SOON, Stand, poll};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use xtask::lkg::Store;

/// What is kept on this stand at the moment.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    /// The undo clone of the last release that passed.
    pub clone: Option<String>,
    /// Databases that rollbacks replaced.
    pub failed: Vec<String>,
    /// Containers run a previous source, so its tree stays.
    pub tree: bool,
}

impl Kept {
    /// After a release that passed: its clone; failed databases that were dumped are gone.
    pub fn passed(&mut self, release: &Evidence) {
        let clone = release.json("fence.json")["clone"].as_str().unwrap().to_string();
        *self = Kept { clone: Some(clone), ..Kept::default() };
    }

    /// After a rollback that swapped.
    pub fn rolled_back(&mut self, failed: &str) {
        self.failed.push(failed.into());
        self.tree = true;
    }

    fn clone_id(&self) -> Option<&str> {
        self.clone.as_deref().and_then(|c| c.rsplit_once("__pre_")).map(|(_, id)| id)
    }

    fn failed_ids(&self) -> Vec<&str> {
        self.failed.iter().filter_map(|f| f.rsplit_once("__failed_")).map(|(_, id)| id).collect()
    }
}

impl Stand {
    /// The release that a scene begins with, and what is kept after it.
    #[track_caller]
    pub fn first_release(&self) -> (Evidence, Kept) {
        let evidence = self.evidence(&self.run(&["release", "--yes"]).expect(0));
        let mut kept = Kept::default();
        kept.passed(&evidence);
        (evidence, kept)
    }

    #[track_caller]
    pub fn nothing_left_over(&self, kept: &Kept, after: &Outcome) {
        let at = after.at();
        self.databases_left(kept, &at);
        self.sessions_left(&at);
        self.files_left(kept, &at);
        self.names_left(kept, &at);
        self.releases_left(&at);
    }

    fn databases_left(&self, kept: &Kept, at: &str) {
        let rows = self.psql_on("postgres", "SELECT datname, datallowconn FROM pg_database");
        let found: BTreeSet<String> = rows.into_iter().collect();
        let mut wanted: BTreeSet<String> =
            ["postgres|t", "template0|f", "template1|t"].map(String::from).into_iter().collect();
        wanted.insert(format!("{DATABASE}|t"));
        wanted.extend(kept.clone.iter().chain(&kept.failed).map(|name| format!("{name}|f")));
        assert_eq!(found, wanted, "databases and whether they are open{at}");
    }

    /// Sessions and processes end a moment after their client: asked until they are gone.
    fn sessions_left(&self, at: &str) {
        let sql = "SELECT datname, application_name, state FROM pg_stat_activity \
                   WHERE application_name LIKE 'ff%' AND application_name NOT LIKE 'ff-demo-%' \
                   AND application_name NOT LIKE 'ff-test%'";
        let mut left = Vec::new();
        let gone = || {
            left = self.psql_on("postgres", sql);
            left.is_empty().then_some(())
        };
        poll(SOON / 3, gone).unwrap_or_else(|| panic!("sessions are left: {left:?}{at}"));
        let locks = || {
            let held = self.psql_on("postgres", "SELECT pid FROM pg_locks WHERE locktype = 'advisory'");
            held.is_empty().then_some(())
        };
        poll(SOON / 3, locks).unwrap_or_else(|| panic!("an advisory lock is held{at}"));
        let own = [
            ("api", "uvicorn "),
            ("beat", " beat "),
            ("worker", " worker "),
            ("postgres", "postgres"),
            ("redis", "redis-server"),
        ];
        let containers = self.containers();
        for (service, own) in own {
            let id = &containers[service].id;
            let mut left = Vec::new();
            let gone = || {
                let top = tool("docker", &["top", id, "-eo", "pid,args"], Path::new("/"), None);
                let theirs = |l: &&str| !(l.contains(own) && !l.contains("psql") || l.contains("ff_test=1"));
                left = top.lines().skip(1).filter(theirs).map(String::from).collect();
                left.is_empty().then_some(())
            };
            poll(SOON / 3, gone).unwrap_or_else(|| panic!("processes are left in {service}: {left:?}{at}"));
        }
        for service in ["postgres", "worker"] {
            let args = ["exec", &containers[service].id, "ls", "-A", "/tmp"];
            let files = tool("docker", &args, Path::new("/"), None);
            assert_eq!(files, "", "files are left in /tmp of {service}{at}");
        }
    }

    fn files_left(&self, kept: &Kept, at: &str) {
        let own: Vec<_> = std::fs::read_dir(&self.tmp).unwrap().flatten().map(|e| e.path()).collect();
        assert!(own.is_empty(), "temporary files are left on the host: {own:?}{at}");
        let stray: Vec<_> = walkdir::WalkDir::new(&self.repo)
            .into_iter()
            .flatten()
            .filter(|e| e.file_name().to_string_lossy().starts_with(".ff-"))
            // What a run that died was just writing stays in its own evidence: nobody else writes there.
            .filter(|e| {
                let run = e.path().parent().unwrap();
                !run.join("events.jsonl").exists() || run.join("digest.sha256").exists()
            })
            .map(|e| e.path().to_path_buf())
            .collect();
        assert!(stray.is_empty(), "half-written files are left: {stray:?}{at}");
        let trees = self.git(&["worktree", "list", "--porcelain"]);
        let count = trees.lines().filter(|l| l.starts_with("worktree ")).count();
        assert_eq!(count, if kept.tree { 2 } else { 1 }, "worktrees: {trees}{at}");
        assert_eq!(self.beside().exists(), kept.tree, "{} is there or not{at}", self.beside().display());
        assert_eq!(self.git(&["status", "--porcelain"]), "", "the checkout is dirty{at}");
    }

    fn names_left(&self, kept: &Kept, at: &str) {
        let reference = format!("reference={}-*:ff-prev-*", self.project);
        let args = ["image", "ls", "--filter", &reference, "--format", "{{.Tag}}"];
        let tags: BTreeSet<String> =
            tool("docker", &args, Path::new("/"), None).lines().map(|l| l.replace("ff-prev-", "")).collect();
        for tag in &tags {
            assert_eq!(
                Some(tag.as_str()),
                kept.clone_id(),
                "a tag of previous images that nothing needs{at}"
            );
        }
        for key in self.redis(&["KEYS", "ff:*"]) {
            let mut parts = key.split(':').skip(1);
            let (what, id) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let fine = match what {
                "freeze" | "frozen" => Some(id) == kept.clone_id(),
                "failed" => kept.failed_ids().contains(&id),
                _ => false,
            };
            assert!(fine, "the key {key} is left in Redis{at}");
        }
    }

    /// What is kept for going back to a release is kept of one that passed; and no backup is half of one.
    fn releases_left(&self, at: &str) {
        let store = Store::of(&self.repo);
        let passed: BTreeSet<String> =
            store.releases().into_iter().filter(|rid| store.release(rid).is_some()).collect();
        let mut kept: BTreeSet<String> = self
            .git(&["for-each-ref", "--format=%(refname:lstrip=3)", "refs/ff-xtask/lkg"])
            .lines()
            .map(String::from)
            .collect();
        let reference = format!("reference={}-*:ff-lkg-*", self.project);
        let args = ["image", "ls", "--filter", &reference, "--format", "{{.Tag}}"];
        let tags = tool("docker", &args, Path::new("/"), None);
        kept.extend(tags.lines().map(|tag| tag.replace("ff-lkg-", "")));
        let own = |rid: &String| store.own_model(rid).exists() || store.env_dir(rid).exists();
        kept.extend(store.releases().into_iter().filter(own));
        let stray: Vec<_> = kept.difference(&passed).collect();
        assert!(stray.is_empty(), "kept of releases that did not pass: {stray:?}{at}");
        for place in [self.repo.join("ops/_backups"), self.second_place()] {
            for entry in std::fs::read_dir(place).into_iter().flatten() {
                let dir = entry.unwrap().path();
                if !dir.is_dir() {
                    // The directory's own .gitignore.
                    continue;
                }
                let half = dir.file_name().unwrap().to_string_lossy().starts_with('.');
                assert!(!half && dir.join("digest.sha256").exists(), "half a backup: {}{at}", dir.display());
            }
        }
    }

    /// Where a scene may have backups copied to.
    pub fn second_place(&self) -> PathBuf {
        self.repo.with_file_name("second place")
    }

    /// A task that some worker has taken and not done, so that there is always a queue to set aside.
    pub fn a_task_is_held(&self) {
        assert_eq!(self.redis(&["SET", "unacked_held", "task"]), ["OK"]);
    }

    /// That task waits on.
    #[track_caller]
    pub fn the_task_is_there(&self, at: &str) {
        assert_eq!(self.redis(&["GET", "unacked_held"]), ["task"], "what waited in a queue{at}");
    }

    /// That task is done: only what puts queues back brings it again.
    #[track_caller]
    pub fn the_task_is_done(&self) {
        assert_eq!(self.redis(&["DEL", "unacked_held"]), ["1"], "no task was held");
    }

    /// A command of Redis, its answer by lines.
    #[track_caller]
    pub fn redis(&self, command: &[&str]) -> Vec<String> {
        let id = self.container("redis");
        let auth = format!("REDISCLI_AUTH={}", self.secret("REDIS_PASSWORD"));
        let mut args = vec!["exec", "-e", &auth, &id, "redis-cli"];
        args.extend(command);
        let answer = tool("docker", &args, Path::new("/"), None);
        answer.lines().filter(|l| !l.is_empty()).map(String::from).collect()
    }
}

/// Nothing that Docker keeps belongs to that project.
#[track_caller]
pub fn nothing_of(project: &str) {
    let label = format!("label=com.docker.compose.project={project}");
    let images = format!("reference={project}-*");
    let lists: [&[&str]; 5] = [
        &["ps", "-aq", "--filter", &label],
        &["volume", "ls", "-q", "--filter", &label],
        &["network", "ls", "-q", "--filter", &label],
        &["image", "ls", "-q", "--filter", &images],
        &["image", "ls", "-q", "--filter", &label],
    ];
    for list in lists {
        assert_eq!(tool("docker", list, Path::new("/"), None).trim(), "", "{list:?}");
    }
}
