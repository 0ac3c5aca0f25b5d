//! A scene for the script engine: a checkout with the script, a PATH with
//! stand-ins for PowerShell and docker, and one run of the engine on it.
//!
//! With a PowerShell 7 on the PATH (or FF_TEST_PWSH) and FF_TEST_FF_BACKUP (a ff-backup.ps1) the
//! real ones run instead, on the same stand-in for docker; what only a stand-in
//! can be made to do is left out then.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use xtask::acts::script::{Engine, Given, run};
use xtask::acts::stored::Stored;
use xtask::config::{Overrides, load};
use xtask::error::{Fault, fault_of};
use xtask::exec::{Exec, Interrupt};
use xtask::redact::Redactor;
use xtask::stand::Stand;
use xtask::stand::ffbackup::{Call, SCRIPT};
use xtask::stand::postgres::Pg;

pub const ID: &str = "70abbfdb7635eb4906c36573cdf858c2dd458d9a00c25dff8792755281309dd9";
/// Long enough for anything that does come.
pub const LONG: Duration = Duration::from_secs(30);

pub struct Scene {
    scratch: tempfile::TempDir,
    pub bin: PathBuf,
    pub repo: PathBuf,
    pub backups: PathBuf,
    pub interrupt: Interrupt,
    pub told: Mutex<Vec<String>>,
}

/// The real PowerShell, on the PATH or where the environment points to it, and the real script, which is
/// no part of this repository.
pub fn real() -> Option<(PathBuf, PathBuf)> {
    let path = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_file());
    let on_the_path = || Exec::new(Redactor::new(), Interrupt::default()).find("pwsh");
    Some((path("FF_TEST_PWSH").or_else(on_the_path)?, path("FF_TEST_FF_BACKUP")?))
}

/// Writes a program of the stand-ins.
pub fn program(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, format!("#!/bin/sh\n{text}")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// PowerShell into `bin` and the script into a checkout: the stand-in, or the real ones. `mode`
/// says what the stand-in does.
pub fn powershell(bin: &Path, repo: &Path, mode: &str) {
    let script = repo.join(SCRIPT);
    std::fs::create_dir_all(script.parent().unwrap()).unwrap();
    let Some((pwsh, real)) = real() else {
        std::fs::write(&script, "# stand-in\n").unwrap();
        program(&bin.join("pwsh"), include_str!("pwsh.sh"));
        return std::fs::write(bin.join("mode"), mode).unwrap();
    };
    std::fs::copy(real, &script).unwrap();
    let shim = format!(
        "here=$(dirname \"$0\")\nprintf '%s\\n' \"$@\" > \"$here/pwsh.argv\"\nenv > \"$here/pwsh.env\"\n\
         readlink \"/proc/$$/fd/0\" > \"$here/pwsh.stdin\"\necho $$ > \"$here/pwsh.pid\"\nexec '{}' \"$@\"\n",
        pwsh.display()
    );
    program(&bin.join("pwsh"), &shim);
    std::fs::write(bin.join("mode"), mode).unwrap();
}

impl Scene {
    pub fn new(mode: &str) -> Scene {
        let scratch = tempfile::Builder::new().prefix("ff-script-").tempdir().unwrap();
        let (bin, repo) = (scratch.path().join("bin"), scratch.path().join("лис a b"));
        powershell(&bin, &repo, mode);
        program(&bin.join("docker"), include_str!("docker.sh"));
        program(&bin.join("inside/pg_dump"), include_str!("pg_dump.sh"));
        program(&bin.join("inside/pg_dumpall"), include_str!("pg_dumpall.sh"));
        program(&bin.join("inside/pg_restore"), include_str!("pg_restore.sh"));
        program(&bin.join("inside/psql"), include_str!("psql.sh"));
        std::fs::create_dir_all(bin.join("container/tmp")).unwrap();
        std::fs::write(bin.join("id"), ID).unwrap();
        let fifo = std::process::Stdio::null();
        tool("mkfifo", &[&bin.join("never")], fifo);
        for (file, text) in
            [("docker-compose.yml", "services: {}\n"), (".env", "POSTGRES_PASSWORD=geheim-geheim\n")]
        {
            std::fs::write(repo.join(file), text).unwrap();
        }
        std::fs::create_dir(repo.join(".git")).unwrap();
        let backups = repo.join("ops/_backups");
        std::fs::create_dir_all(&backups).unwrap();
        Scene { scratch, bin, repo, backups, interrupt: Interrupt::default(), told: Mutex::default() }
    }

    /// One run of the script, as the backup step makes it.
    pub fn run(&self, limit: Duration) -> Result<Stored, Fault> {
        self.run_on(limit, 1)
    }

    /// The same with a database of so many bytes.
    pub fn run_on(&self, limit: Duration, bytes: u64) -> Result<Stored, Fault> {
        let path = format!("{}:{}", self.bin.display(), std::env::var("PATH").unwrap());
        let exec = Exec::new(Redactor::new(), self.interrupt.clone()).searching(path);
        let config = load(&self.repo, &[], &Overrides::default()).unwrap();
        let Engine::Script { pwsh, script } = Engine::of(&config, &exec).unwrap() else {
            panic!("the script is not taken")
        };
        let mut call = Call::of(&config, &pwsh, &script, &self.backups);
        call.limit = limit;
        let stand = Stand::new(&config, exec);
        let pg = Pg { stand, container: ID.into(), user: "admin".into(), database: "foxproflow".into() };
        let say = |line: &str| self.told.lock().unwrap().push(line.into());
        run(&pg, &Given { call: &call, app: "ffx:test:script", bytes, say: &say }).map_err(|e| fault_of(&e))
    }

    /// The failure of one run, with what must be true after each: it is told how to go on, and
    /// nothing of it is left in the container.
    #[track_caller]
    pub fn fails(&self, limit: Duration) -> String {
        let fault = self.run(limit).expect_err("it did not fail");
        assert!(fault.remedy.as_deref().is_some_and(|r| r.contains("backup.engine=native")), "{fault:?}");
        assert_eq!(fault.lane, Some(xtask::error::Lane::A), "{fault:?}");
        self.nothing_left();
        fault.to_string()
    }

    /// No file of the script in the container, and its pg_dump does not run.
    #[track_caller]
    pub fn nothing_left(&self) {
        let left: Vec<_> = std::fs::read_dir(self.bin.join("container/tmp")).unwrap().flatten().collect();
        assert!(left.is_empty(), "left in the container: {left:?}");
        for name in ["pg_dump.pid", "pwsh.pid", "orphan.pid"] {
            if let Some(pid) = self.read(name) {
                assert!(!runs(pid.trim()), "{name} {pid} runs on");
            }
        }
    }

    pub fn read(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.bin.join(name)).ok()
    }

    /// Waits for a file that a stand-in writes.
    #[track_caller]
    pub fn wait_for(&self, name: &str) -> String {
        let deadline = Instant::now() + LONG;
        loop {
            if let Some(text) = self.read(name).filter(|t| t.ends_with('\n')) {
                return text;
            }
            assert!(Instant::now() < deadline, "{name} did not come");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn told(&self) -> String {
        self.told.lock().unwrap().join("\n")
    }

    /// What lies in the only directory that the script made.
    pub fn left_behind(&self) -> Vec<String> {
        let dirs: Vec<_> = std::fs::read_dir(&self.backups).unwrap().flatten().map(|e| e.path()).collect();
        assert_eq!(dirs.len(), 1, "{dirs:?}");
        let mut names: Vec<String> = std::fs::read_dir(&dirs[0])
            .unwrap()
            .flatten()
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

/// A test that failed leaves nothing running either.
impl Drop for Scene {
    fn drop(&mut self) {
        let ours = self.bin.display().to_string();
        for name in ["pg_dump.pid", "orphan.pid"] {
            let Some(pid) = self.read(name) else { continue };
            let line = std::fs::read(format!("/proc/{}/cmdline", pid.trim())).unwrap_or_default();
            if String::from_utf8_lossy(&line).contains(&ours) {
                signal("KILL", &pid);
            }
        }
    }
}

/// Sends a signal to one process.
pub fn signal(name: &str, pid: &str) {
    tool("kill", &[Path::new("-s"), Path::new(name), Path::new(pid.trim())], std::process::Stdio::null());
}

#[allow(clippy::disallowed_methods)] // the program's own exec is what is tested here
fn tool(name: &str, args: &[&Path], stdin: std::process::Stdio) {
    let status = std::process::Command::new(name).args(args).stdin(stdin).status().unwrap();
    assert!(status.success(), "{name} {args:?}");
}

/// A process that is no zombie: those have no command line any more.
fn runs(pid: &str) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|c| !c.is_empty())
}
