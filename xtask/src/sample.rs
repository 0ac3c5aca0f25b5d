//! Copies of the bundled sample stand: what is released in the demo, the tests
//! and the benchmark is never this checkout, but a repository of its own.

use crate::error::{Context, Fault, Lane, Result};
use crate::exec::{Exec, Invocation};
use crate::fsx;
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A copy: a git repository with env files, a project name and a port of its own.
#[derive(Debug, Clone)]
pub struct Sample {
    pub repo: PathBuf,
    pub project: String,
    pub port: u16,
    versions: PathBuf,
}

/// Where the sample lies: in the checkout that this program is built from.
pub fn home() -> Result<PathBuf> {
    let from_cargo = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let built_from = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let found = from_cargo.into_iter().chain([built_from]).map(|dir| dir.join("../ops/demo"));
    match found.into_iter().find(|dir| dir.join("stand").is_dir()) {
        Some(dir) => fsx::absolute(&dir),
        None => Err(Fault::usage("the sample stand is not here: ops/demo/stand")
            .remedy("run the demo from the checkout of the tool itself")
            .into()),
    }
}

impl Sample {
    /// Makes a copy in `dir`, which must not exist, and commits it as version 1.
    pub fn make(exec: &Exec, dir: &Path) -> Result<Sample> {
        let home = home()?;
        if dir.exists() {
            return Err(Fault::usage(format!("{} exists already", dir.display())).into());
        }
        std::fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        let mut options = fs_extra::dir::CopyOptions::new();
        options.content_only = true;
        fs_extra::dir::copy(home.join("stand"), dir, &options)
            .with_context(|| format!("copy the sample to {}", dir.display()))?;
        let repo = fsx::absolute(dir)?;
        let port = free_port()?;
        let project = format!("ffdemo-{port}");
        let sample = Sample { repo, project, port, versions: home.join("versions") };
        sample.env_files()?;
        sample.git(exec, &["init", "-q", "-b", "main"])?;
        sample.git(exec, &["config", "user.name", "Sample"])?;
        sample.git(exec, &["config", "user.email", "sample@localhost"])?;
        sample.git(exec, &["config", "commit.gpgsign", "false"])?;
        sample.commit(exec, "[DEVTASK:1] stand: version 1")?;
        Ok(sample)
    }

    /// A copy that [`Sample::make`] left in `dir`; anything else is refused.
    pub fn kept(dir: &Path) -> Result<Sample> {
        let env = std::fs::read_to_string(dir.join(".env")).unwrap_or_default();
        let project = env.lines().find_map(|l| l.strip_prefix("COMPOSE_PROJECT_NAME=")).unwrap_or_default();
        match project.strip_prefix("ffdemo-").and_then(|port| port.parse().ok()) {
            Some(port) => Ok(Sample {
                repo: fsx::absolute(dir)?,
                project: project.into(),
                port,
                versions: home()?.join("versions"),
            }),
            None => Err(Fault::usage(format!("{} is no copy of the sample stand", dir.display()))
                .remedy("give the directory that `demo --keep` named")
                .into()),
        }
    }

    /// Turns the checkout into another version and commits it: version 1, then the patch.
    pub fn version(&self, exec: &Exec, name: &str) -> Result<()> {
        self.reset(exec)?;
        let patch = self.versions.join(format!("{name}.patch"));
        if !patch.exists() {
            return Err(Fault::usage(format!("the sample has no version `{name}`"))
                .why(format!("it has: {}", self.names().join(", ")))
                .into());
        }
        self.git(exec, &["apply", "--index", &patch.display().to_string()])?;
        self.commit(exec, &format!("[DEVTASK:2] stand: {name}"))
    }

    /// Version 1 again, as a new commit.
    pub fn version_one(&self, exec: &Exec) -> Result<()> {
        self.reset(exec)?;
        self.commit(exec, "[DEVTASK:1] stand: version 1 again")
    }

    /// The versions that there are patches for.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.versions).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter_map(|e| e.file_name().to_string_lossy().strip_suffix(".patch").map(String::from))
            .collect();
        names.sort();
        names
    }

    /// Ends the stand and removes what it made: containers, volumes, images, the previous source.
    pub fn remove(&self, exec: &Exec) -> Result<()> {
        let stop = Invocation::new("docker")
            .args([
                "compose",
                "-p",
                &self.project,
                "down",
                "-v",
                "--remove-orphans",
                "--rmi",
                "local",
                "-t",
                "5",
            ])
            .cwd(&self.repo)
            .timeout(Duration::from_secs(180));
        let stopped = exec.run(&stop)?;
        // By label as well: what a version that was replaced was built into has no name any more.
        let label = format!("label=com.docker.compose.project={}", self.project);
        let mut ids = BTreeSet::new();
        for filter in [format!("reference={}-*", self.project), label] {
            let list = Invocation::new("docker").args(["image", "ls", "-q", "--filter", &filter]);
            ids.extend(exec.run(&list)?.text().split_whitespace().map(str::to_string));
        }
        if !ids.is_empty() {
            exec.run(&Invocation::new("docker").args(["image", "rm", "-f"]).args(ids))?;
        }
        let name = self.repo.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let beside = self.repo.with_file_name(format!(".{name}-ff-xtask"));
        for dir in [&beside, &self.repo] {
            crate::fsx::remove_dir(dir)?;
        }
        stopped.success("end the sample stand", Lane::A).map(drop)
    }

    fn reset(&self, exec: &Exec) -> Result<()> {
        let first = self.git(exec, &["rev-list", "--max-parents=0", "HEAD"])?;
        self.git(exec, &["checkout", "-q", first.trim(), "--", "."])?;
        // Files that only later versions have.
        let added =
            self.git(exec, &["diff", "--name-only", "--diff-filter=A", "-z", first.trim(), "HEAD"])?;
        for file in added.split('\0').filter(|f| !f.is_empty()) {
            self.git(exec, &["rm", "-q", "-f", "--ignore-unmatch", file])?;
        }
        Ok(())
    }

    fn commit(&self, exec: &Exec, subject: &str) -> Result<()> {
        self.git(exec, &["add", "-A"])?;
        self.git(exec, &["commit", "-q", "--allow-empty", "-m", subject]).map(drop)
    }

    /// `git ...` in the copy.
    pub fn git(&self, exec: &Exec, args: &[&str]) -> Result<String> {
        let call = Invocation::new("git").args(args.iter().copied()).cwd(&self.repo);
        let what = format!("git {} in the sample", args.first().copied().unwrap_or_default());
        Ok(exec.run(&call)?.success(&what, Lane::A)?.text())
    }

    /// `.env` and `.env.docker` from their templates: the same name gets the same random value.
    fn env_files(&self) -> Result<()> {
        let mut made: Vec<(String, String)> = Vec::new();
        for name in [".env", ".env.docker"] {
            let template = self.repo.join(format!("{name}.example"));
            let text =
                std::fs::read_to_string(&template).with_context(|| format!("read {}", template.display()))?;
            let mut out = String::new();
            for line in text.lines() {
                match line.split_once("=__GENERATE__") {
                    Some((key, _)) => {
                        let value = match made.iter().find(|(k, _)| k == key) {
                            Some((_, value)) => value.clone(),
                            None => random()?,
                        };
                        out.push_str(&format!("{key}={value}\n"));
                        made.push((key.into(), value));
                    }
                    None => {
                        out.push_str(&format!("{}\n", line.replace("__API_PORT__", &self.port.to_string())))
                    }
                }
            }
            if name == ".env" {
                out.push_str(&format!("COMPOSE_PROJECT_NAME={}\n", self.project));
            }
            fsx::write_atomic(&self.repo.join(name), out.as_bytes())?;
        }
        Ok(())
    }
}

/// A port of this machine that nobody listens on.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("find a free port")?;
    Ok(listener.local_addr().context("find a free port")?.port())
}

/// 32 letters and digits of the system's own randomness.
fn random() -> Result<String> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes)
        .map_err(|e| Fault::new("the system gives no random numbers").why(e.to_string()))?;
    const LETTERS: &[u8] = b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    Ok(bytes.iter().map(|b| char::from(LETTERS[usize::from(*b) % LETTERS.len()])).collect())
}
