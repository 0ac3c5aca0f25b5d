//! A copy of the sample stand with a checkout, a project and a port of its own,
//! and the real binary run on it as an operator would.
#![allow(clippy::disallowed_methods)]

use super::process::{self, Outcome, Running, tool};
use super::{Evidence, note};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;
use xtask::exec::{Exec, Interrupt};
use xtask::redact::Redactor;
use xtask::sample::Sample;

/// The program under test.
pub const XTASK: &str = env!("CARGO_BIN_EXE_xtask");
/// Where evidence lies, as the specification has it.
pub const EVIDENCE: &str = "ops/_local/evidence";

pub struct Stand {
    pub sample: Sample,
    pub repo: PathBuf,
    pub project: String,
    /// Temporary directory of the children, to see what they leave there.
    pub tmp: PathBuf,
    env: Vec<(String, String)>,
    secrets: Vec<(String, String)>,
    /// When a run, or a question to the database, has failed for want of an end.
    limit: Duration,
    said: Mutex<Vec<String>>,
    /// Containers that live as long as the stand does.
    pub(super) data: Mutex<BTreeMap<String, String>>,
    scratch: Option<tempfile::TempDir>,
    _place: Place,
}

/// Three stands at once: on two cores that is quicker than two, for each waits as much as it works,
/// and more only take each other's time.
struct Place;

const PLACES: usize = 3;

static TAKEN: Mutex<usize> = Mutex::new(0);
static LEFT: Condvar = Condvar::new();

impl Place {
    fn take() -> Place {
        let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = LEFT.wait_while(taken, |n| *n >= PLACES).unwrap_or_else(PoisonError::into_inner);
        *taken += 1;
        Place
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        LEFT.notify_one();
    }
}

fn exec() -> Exec {
    Exec::new(Redactor::new(), Interrupt::default()).shielded()
}

impl Stand {
    /// A copy that has never been started.
    pub fn new() -> Stand {
        Stand::with(|_| ())
    }

    /// A copy whose checkout, env files too, is edited before anything else happens to it; the edits
    /// are committed.
    pub fn with(edit: impl FnOnce(&Path)) -> Stand {
        let engine = process::program("docker", &["version", "--format", "{{.Server.Version}}"]);
        let answer = process::start(engine, "docker version", None, Duration::from_secs(60)).wait();
        assert_eq!(
            answer.code,
            0,
            "these tests need a docker engine (scripts/setup makes one){}",
            answer.at()
        );
        let place = Place::take();
        let scratch = tempfile::Builder::new().prefix("ff-real-").tempdir().unwrap();
        // A space and Cyrillic letters: paths as operators have them.
        let sample = Sample::make(&exec(), &scratch.path().join("лис стенд")).unwrap();
        let tmp = scratch.path().join("tmp");
        std::fs::create_dir(&tmp).unwrap();
        let own = tmp.display().to_string();
        let env = [
            ("TMPDIR", own.as_str()),
            ("USER", "тест-оператор"),
            ("FF_DEPLOY_SOAK_S", "2"),
            ("FF_SMOKE_SETTLE_S", "5"),
            ("FF_SMOKE_TIMEOUT_S", "20"),
        ];
        let mut stand = Stand {
            repo: sample.repo.clone(),
            project: sample.project.clone(),
            tmp,
            env: env.map(|(k, v)| (k.into(), v.into())).to_vec(),
            secrets: Vec::new(),
            limit: Duration::from_secs(600),
            said: Mutex::default(),
            data: Mutex::default(),
            scratch: Some(scratch),
            _place: place,
            sample,
        };
        edit(&stand.repo);
        stand.commit("[DEVTASK:1] stand: as the test wants it");
        stand.learn_secrets();
        note(format!("stand {} in {}", stand.project, stand.repo.display()));
        stand
    }

    /// Every value of the env files that is a secret by its key.
    fn learn_secrets(&mut self) {
        for name in [".env", ".env.docker"] {
            for line in std::fs::read_to_string(self.repo.join(name)).unwrap().lines() {
                let Some((key, value)) = line.split_once('=').filter(|(k, _)| !k.starts_with('#')) else {
                    continue;
                };
                if ["PASSWORD", "KEY", "SECRET", "TOKEN"].iter().any(|w| key.contains(w)) && value.len() > 7 {
                    self.secrets.push((key.into(), value.into()));
                }
            }
        }
        assert!(self.secrets.len() >= 2, "the sample's env files hold no secrets any more");
    }

    /// For many kills: a process that has just been started does not hear that it shall stop, and takes
    /// half a minute each time.
    pub fn stop_soon(&mut self) {
        self.set("FF_STAND_STOP_GRACE_S", "5");
    }

    /// Where an API or a worker that starts slowly on a busy machine is not what it is about.
    pub fn be_patient(&mut self) {
        self.set("FF_SMOKE_SETTLE_S", "10");
        self.set("FF_SMOKE_TIMEOUT_S", "60");
    }

    /// Sets a variable for every later run.
    pub fn set(&mut self, key: &str, value: &str) {
        self.env.retain(|(k, _)| k != key);
        self.env.push((key.into(), value.into()));
    }

    /// Gives every later run, and every question to the database, that long.
    pub fn wait_up_to(&mut self, limit: Duration) {
        self.limit = limit;
    }

    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// The variables of every run.
    pub(super) fn variables(&self) -> &[(String, String)] {
        &self.env
    }

    /// The secret of the env files with this key.
    pub fn secret(&self, key: &str) -> &str {
        &self.secrets.iter().find(|(k, _)| k == key).unwrap().1
    }

    /// Runs the program on this stand to its end.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Outcome {
        let before = self.rids();
        let outcome = self.start(args).wait();
        self.heard(outcome, &before)
    }

    /// The same with further variables, for this run only.
    #[track_caller]
    pub fn run_with(&self, env: &[(&str, &str)], args: &[&str]) -> Outcome {
        let before = self.rids();
        let outcome = self.start_in(&self.repo, env, args).wait();
        self.heard(outcome, &before)
    }

    /// Starts the program on this stand; give what `wait` returns to [`Stand::heard`].
    pub fn start(&self, args: &[&str]) -> Running {
        self.start_in(&self.repo, &[], args)
    }

    /// The same for another checkout of the stand.
    pub fn start_in(&self, repo: &Path, env: &[(&str, &str)], args: &[&str]) -> Running {
        let mut command = process::program(XTASK, &["--repo"]);
        command.arg(repo).args(args).current_dir("/");
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("FF_") || name.starts_with("COMPOSE_") || name == "API_BASE" {
                command.env_remove(name);
            }
        }
        command.envs(self.env.iter().map(|(k, v)| (k, v))).envs(env.iter().copied());
        let what = format!("xtask {}", args.join(" "));
        note(&what);
        process::start(command, &what, None, self.limit)
    }

    /// What a run said, kept for the search for secrets, with the evidence that it left.
    #[track_caller]
    pub fn heard(&self, mut outcome: Outcome, rids_before: &[String]) -> Outcome {
        let new: Vec<String> = self.rids().into_iter().filter(|r| !rids_before.contains(r)).collect();
        outcome.dir = new.last().map(|rid| self.repo.join(EVIDENCE).join(rid));
        self.said.lock().unwrap().extend([outcome.stdout.clone(), outcome.stderr.clone()]);
        for (key, value) in &self.secrets {
            let leaked = outcome.stdout.contains(value.as_str()) || outcome.stderr.contains(value.as_str());
            assert!(!leaked, "the value of {key} was shown on the screen by {}", outcome.what);
        }
        note(format!("{}: exit {}", outcome.what, outcome.code));
        outcome
    }

    /// The runs that left evidence, oldest first by their names' time.
    pub fn rids(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.repo.join(EVIDENCE)).into_iter().flatten().flatten();
        let mut rids: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        rids.sort_by_key(|rid| rid.split_once('_').map(|(_, time)| time.to_string()));
        rids
    }

    pub fn evidence(&self, outcome: &Outcome) -> Evidence {
        let dir = outcome.dir.clone().unwrap_or_else(|| panic!("no evidence was left{}", outcome.at()));
        Evidence { dir, at: outcome.at() }
    }

    /// Another version of the sample, committed.
    pub fn version(&self, name: &str) {
        note(format!("version {name}"));
        match name {
            "1" => self.sample.version_one(&exec()).unwrap(),
            patch => self.sample.version(&exec(), patch).unwrap(),
        }
    }

    /// Edits a file of the checkout: `from` must be in it.
    #[track_caller]
    pub fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.repo.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no `{from}`");
        std::fs::write(&path, text.replace(from, to)).unwrap();
    }

    pub fn commit(&self, subject: &str) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", subject]);
    }

    #[track_caller]
    pub fn git(&self, args: &[&str]) -> String {
        tool("git", args, &self.repo, None)
    }

    pub fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"]).trim().into()
    }

    /// Where previous sources are laid out.
    pub fn beside(&self) -> PathBuf {
        self.repo.with_file_name(".лис стенд-ff-xtask")
    }

    /// No secret value of the env files in any file of the evidence, nor in what was said.
    #[track_caller]
    pub fn no_secret_anywhere(&self) {
        let mut files = 0;
        for entry in walkdir::WalkDir::new(self.repo.join(EVIDENCE)) {
            let entry = entry.unwrap();
            if entry.file_type().is_file() {
                files += 1;
                let bytes = std::fs::read(entry.path()).unwrap();
                let text = String::from_utf8_lossy(&bytes);
                for (key, value) in &self.secrets {
                    let place = entry.path().display();
                    assert!(!text.contains(value.as_str()), "the value of {key} stands in {place}");
                }
            }
        }
        assert!(files > 10, "only {files} files of evidence: was anything released?");
        let said = self.said.lock().unwrap();
        for (key, value) in &self.secrets {
            assert!(!said.iter().any(|s| s.contains(value.as_str())), "the value of {key} was on the screen");
        }
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        if std::env::var_os("FF_TEST_KEEP").is_some() {
            if let Some(scratch) = self.scratch.take() {
                note(format!("kept: {} in {}", self.project, scratch.keep().display()));
            }
            return;
        }
        if let Err(error) = self.sample.remove(&exec()) {
            note(format!("the stand {} could not be removed: {error:#}", self.project));
        }
        // The images that failed versions left without a name.
        let label = format!("label=com.docker.compose.project={}", self.project);
        let list = process::program("docker", &["image", "ls", "-q", "--filter", &label]);
        let images = process::start(list, "docker image ls", None, Duration::from_secs(60)).wait().stdout;
        let ids: Vec<&str> = images.split_whitespace().collect();
        if !ids.is_empty() {
            let mut remove = process::program("docker", &["image", "rm", "-f"]);
            remove.args(ids);
            process::start(remove, "docker image rm", None, Duration::from_secs(120)).wait();
        }
    }
}
