//! Makes the recordings on a real stand, and runs the program on a copy of the
//! checkout as it was then, with the player in place of docker and git.
#![allow(clippy::disallowed_methods)]

use crate::player::Player;
use crate::plays::{BACKUP, Play};
use crate::support::die::{Die, Moment};
use crate::support::process::{self, Outcome, tool};
use crate::support::stand::EVIDENCE;
use crate::support::{Stand, note};
use crate::tape::{Call, Fault, Index, Kind, SETUP, Setup, Tape};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The release that was killed, for the rollback that recovers it.
const OPEN: &str = "rel_fault_open";

/// The dump of what a rollback sets aside.
const DUMP_ASIDE: (&str, u32) = ("__failed_{{ID}} -Fc", 1);

/// The longest that one call may take in a cell.
pub const LONGEST: Duration = Duration::from_secs(3);

/// Names a directory in which recordings are kept, and found by the next run.
const KEPT: &str = "XTASK_FAULTS_KEPT";

/// Everything that cells need of the recordings.
#[derive(Serialize, Deserialize)]
pub struct Stage {
    #[serde(skip)]
    _scratch: Option<tempfile::TempDir>,
    place: PathBuf,
    bin: PathBuf,
    /// The path at which the recorded checkout lay, and its port.
    dir: String,
    port: u16,
    name: String,
    answers: BTreeMap<String, (u16, String)>,
    #[serde(skip)]
    indexes: Mutex<BTreeMap<Play, Arc<Index>>>,
}

fn real(program: &str) -> String {
    let path = std::env::var("PATH").unwrap();
    let found = path.split(':').map(|d| Path::new(d).join(program)).find(|p| p.exists());
    found.unwrap_or_else(|| panic!("{program} is not on the PATH")).display().to_string()
}

impl Stage {
    /// On the real engine: a release that fails before the stand is touched, one that fails while it is
    /// fenced, one that smoke fails and that goes back, one that passes; `smoke` and `backup` of what
    /// runs then, also a backup that fails; `rollback` of it, of a release that was killed, and to a
    /// backup, each with calls that fail once.
    pub fn record() -> Stage {
        let kept = std::env::var_os(KEPT).map(PathBuf::from);
        if let Some(bytes) = kept.as_ref().and_then(|dir| std::fs::read(dir.join("stage.json")).ok()) {
            let stage: Stage = serde_json::from_slice(&bytes).unwrap();
            stage.link();
            return stage;
        }
        let scratch =
            kept.is_none().then(|| tempfile::Builder::new().prefix("ff-faults-").tempdir().unwrap());
        let place = kept.unwrap_or_else(|| scratch.as_ref().unwrap().path().into());
        let bin = place.join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        let mut stand = Stand::new();
        for (key, value) in SETTINGS {
            stand.set(key, value);
        }
        // Real containers on a busy machine.
        stand.set("FF_SMOKE_TIMEOUT_S", "300");
        stand.set("FF_DEPLOY_TIMEOUT_S", "300");
        stand.set("FF_SMOKE_SETTLE_S", "30");
        stand.run(&["release", "--yes", "--rid", "rel_fault_base"]).expect(0);
        let mut answers = BTreeMap::new();
        for path in [
            "/health",
            "/health/extended",
            "/api/crm/smoke/ping",
            "/api/devfactory/orders/recent?limit=1&include_result=0",
        ] {
            let answer = stand.get(path).unwrap();
            answers.insert(path.to_string(), (answer.status, answer.json.to_string()));
        }
        stand.version("1");
        let dir = stand.repo.parent().unwrap();
        let stage = Stage {
            bin,
            dir: dir.display().to_string(),
            port: stand.sample.port,
            name: stand.repo.file_name().unwrap().to_string_lossy().into_owned(),
            answers,
            place,
            _scratch: scratch,
            indexes: Mutex::default(),
        };
        stage.link();
        stage.base(Play::Release);
        let tape = |play, rid, first, broken: &[(&str, u32)], code| {
            stage.tape(&stand, play, rid, first, broken, code);
        };
        tape(Play::Release, "rel_fault_build", 2_000_000, &[("build api", 0)], 20);
        tape(Play::Release, "rel_fault_clone", 1_000_000, &[("STRATEGY file_copy", 0)], 20);
        tape(Play::Release, "rel_fault_back", 0, &[], 30);
        tape(Play::Release, "rel_fault_pass", 3_000_000, &[], 0);
        stage.base(Play::Smoke);
        tape(Play::Smoke, "smk_fault", 0, &[], 0);
        for play in [Play::Status, Play::Doctor] {
            stage.base(play);
            tape(play, "looks_fault", 0, &[], 0);
        }
        stage.base(Play::Backup);
        tape(Play::Backup, BACKUP, 0, &[], 0);
        // What is done about a failure: of the dump, of the proof.
        tape(
            Play::Backup,
            "bak_fault_dump",
            1_000_000,
            &[("pg_dump -U foxproflow -d foxproflow -Fc", 0)],
            20,
        );
        tape(Play::Backup, "bak_fault_proof", 2_000_000, &[("pg_restore -U", 0)], 20);
        // The way back is tried twice, and so is what comes after it: each fails once.
        stage.base(Play::Undo);
        let rename = ("RENAME TO", 1);
        tape(Play::Undo, "rbk_fault_undo", 0, &[rename, DUMP_ASIDE], 0);
        let killed = Die::build(&stand).start(
            &stand,
            &["release", "--yes", "--rid", OPEN],
            &Moment::before("done", "deploy", "up"),
        );
        assert_eq!(killed.wait().code, -9, "the release that is recovered was not killed");
        stage.base(Play::Recover);
        let describe = ("COMMENT ON DATABASE", 1);
        tape(Play::Recover, "rbk_fault_recover", 0, &[describe, DUMP_ASIDE], 0);
        stage.base(Play::From);
        tape(Play::From, "rbk_fault_from_restore", 1_000_000, &[("pg_restore -U", 0)], 10);
        tape(Play::From, "rbk_fault_from", 0, &[rename, DUMP_ASIDE], 0);
        std::fs::write(stage.place.join("stage.json"), serde_json::to_vec(&stage).unwrap()).unwrap();
        stage
    }

    /// The relay under the names that it plays, and this binary as the program.
    fn link(&self) {
        let relay = self.place.join("relay");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/relay.rs");
        let (out, source) = (relay.display().to_string(), source.display().to_string());
        tool("rustc", &["--edition=2024", "-O", "-o", &out, &source], &self.place, None);
        let links = ["docker", "git", "pwsh"].map(|program| (self.bin.join(program), relay.clone()));
        let this = (self.place.join("xtask"), std::env::current_exe().unwrap());
        for (link, to) in links.into_iter().chain([this]) {
            let _ = std::fs::remove_file(&link);
            std::os::unix::fs::symlink(to, link).unwrap();
        }
    }

    /// Keeps the checkout as it is before a command, and makes room for its tape.
    fn base(&self, play: Play) {
        tool("cp", &["-a", &self.dir, &self.base_of(play).display().to_string()], Path::new("/"), None);
        std::fs::create_dir(self.tape_of(play)).unwrap();
    }

    fn base_of(&self, play: Play) -> PathBuf {
        self.place.join(format!("base-{}", play.name()))
    }

    fn tape_of(&self, play: Play) -> PathBuf {
        self.place.join(format!("tape-{}", play.name()))
    }

    /// `broken`: words of calls, and which time they fail; 0 is every time.
    fn tape(&self, stand: &Stand, play: Play, rid: &str, first: u64, broken: &[(&str, u32)], code: i32) {
        let fault = |(word, nth): &(&str, u32)| Fault { key: (*word).into(), nth: *nth, kind: Kind::Exit1 };
        let faults = broken.iter().map(fault).collect();
        let state = self.place.join(format!("state-{}-{rid}", play.name()));
        std::fs::create_dir(&state).unwrap();
        let setup = Setup {
            record: true,
            faults,
            first,
            rid: rid.into(),
            dir: self.dir.clone(),
            port: self.port,
            ..self.setup(play)
        };
        let player = Player::start(Tape::open(setup, Arc::default()), &state);
        let path = self.bin.display().to_string();
        // The API of the version that goes back is answered for: real containers, and a smoke that fails.
        let lane = Lane::open(self);
        lane.fails(code == 30, &player);
        let api = format!("http://127.0.0.1:{}", if code == 30 { lane.port } else { self.port });
        let at = player.at.display().to_string();
        let env = [("PATH", path.as_str()), (SETUP, at.as_str()), ("API_BASE", api.as_str())];
        let args = play.args(rid, &stand.repo);
        stand.run_with(&env, &args.iter().map(String::as_str).collect::<Vec<_>>()).expect(code);
        note(format!("recorded {rid}: {} calls", player.tape.calls().len()));
    }

    fn index(&self, play: Play) -> Arc<Index> {
        let mut indexes = self.indexes.lock().unwrap();
        Arc::clone(indexes.entry(play).or_insert_with(|| Arc::new(Index::read(&self.tape_of(play)))))
    }

    fn setup(&self, play: Play) -> Setup {
        Setup {
            record: false,
            docker: real("docker"),
            git: real("git"),
            path: std::env::var("PATH").unwrap(),
            tape: self.tape_of(play),
            first: 0,
            dir: String::new(),
            port: 0,
            rid: play.rid().into(),
            faults: Vec::new(),
        }
    }

    /// One run of the program on a fresh copy, with these calls broken. `bad`: the API of the new
    /// version answers 500.
    pub fn cell(&self, lane: &Lane, play: Play, number: usize, faults: &[Fault], bad: bool) -> Cell {
        let dir = self.place.join(format!("cell-{number}"));
        let _ = std::fs::remove_dir_all(&dir);
        let base = self.base_of(play).display().to_string();
        tool("cp", &["-a", &base, &dir.display().to_string()], Path::new("/"), None);
        let repo = dir.join(&self.name);
        let here = dir.display().to_string();
        let own = walkdir::WalkDir::new(repo.join("ops/_local/lkg")).into_iter().flatten();
        let own = own.filter(|e| e.file_type().is_file()).map(|e| e.path().to_path_buf());
        for file in own.chain([repo.join(".env"), repo.join(".env.docker")]) {
            if let Ok(text) = std::fs::read_to_string(&file) {
                let text = text.replace(&self.dir, &here);
                let text = text.replace(&self.port.to_string(), &lane.port.to_string());
                std::fs::write(&file, text).unwrap();
            }
        }
        let state = dir.join("state");
        std::fs::create_dir(&state).unwrap();
        let setup = Setup { dir: here, port: lane.port, faults: faults.to_vec(), ..self.setup(play) };
        let player = Player::start(Tape::open(setup, self.index(play)), &state);
        lane.fails(bad, &player);
        let mut command = process::program(&self.place.join("xtask").display().to_string(), &["--repo"]);
        command.arg(&repo).args(play.args(play.rid(), &repo)).current_dir("/");
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("FF_") || name.starts_with("COMPOSE_") || name == "API_BASE" {
                command.env_remove(name);
            }
        }
        command.envs(SETTINGS).env("PATH", &self.bin).env(SETUP, &player.at).env("TMPDIR", dir.join("tmp"));
        let before = if play.looks() { content(&repo) } else { BTreeMap::new() };
        let start = Instant::now();
        let mut outcome =
            process::start(command, &format!("xtask {}", play.name()), None, Duration::from_secs(150)).wait();
        let run = repo.join(EVIDENCE).join(play.rid());
        outcome.dir = run.exists().then_some(run);
        let took = start.elapsed();
        let now = if play.looks() { content(&repo) } else { BTreeMap::new() };
        let names = before.keys().chain(now.keys());
        let other: BTreeSet<String> = names.filter(|n| before.get(*n) != now.get(*n)).cloned().collect();
        let before = self.base_of(play).join(&self.name);
        let (calls, player) = (player.tape.calls(), player.at.display().to_string());
        Cell { calls, took, outcome, repo, before, dir, player, other }
    }
}

/// Short waits: nothing that is played takes time.
const SETTINGS: [(&str, &str); 5] = [
    ("FF_DEPLOY_SOAK_S", "1"),
    ("FF_DEPLOY_TIMEOUT_S", "20"),
    ("FF_SMOKE_SETTLE_S", "1"),
    ("FF_SMOKE_TIMEOUT_S", "4"),
    ("USER", "operator"),
];

/// What one run came to.
pub struct Cell {
    pub calls: Vec<Call>,
    pub took: Duration,
    pub outcome: Outcome,
    pub repo: PathBuf,
    /// The checkout as it was before the command.
    pub before: PathBuf,
    pub dir: PathBuf,
    /// The mark of its processes: the socket of its player.
    pub player: String,
    /// Of a command that only looks: the files of the checkout that are not as they were.
    pub other: BTreeSet<String>,
}

/// Every file of a checkout; git writes down in its index what it has looked at.
fn content(repo: &Path) -> BTreeMap<String, String> {
    let files = xtask::fsx::files_below(repo).unwrap();
    let hash =
        |file: &String| xtask::fsx::sha256_file(&repo.join(file)).map_or(String::new(), |(hash, _)| hash);
    files.into_iter().filter(|f| f != ".git/index").map(|f| (f.clone(), hash(&f))).collect()
}

/// A port with the API's recorded answers on it; one cell at a time.
pub struct Lane {
    pub port: u16,
    /// Of the run whose new version answers 500.
    bad: Arc<Mutex<Option<Arc<Tape>>>>,
}

impl Lane {
    pub fn open(stage: &Stage) -> Lane {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let failing: Arc<Mutex<Option<Arc<Tape>>>> = Arc::default();
        let (answers, bad) = (stage.answers.clone(), Arc::clone(&failing));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let first = lines.next().unwrap_or_default();
                lines.find(String::is_empty);
                let path = first.split(' ').nth(1).unwrap_or_default();
                let tape = bad.lock().unwrap().clone();
                let ups =
                    |tape: Arc<Tape>| tape.calls().iter().filter(|c| c.label.contains(" up -d")).count();
                let ups = tape.map_or(0, ups);
                let (status, body) = match answers.get(path) {
                    Some(_) if ups == 1 && path.contains("orders") => (500, "{\"ok\":false}".to_string()),
                    Some((status, body)) => (*status, body.clone()),
                    None => (404, "{}".into()),
                };
                let _ = write!(
                    &stream,
                    "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
                     Connection: close\r\n\r\n{body}",
                    body.len()
                );
            }
        });
        Lane { port, bad: failing }
    }

    /// Does the new version of this run answer 500?
    fn fails(&self, bad: bool, player: &Player) {
        *self.bad.lock().unwrap() = bad.then(|| Arc::clone(&player.tape));
    }
}
