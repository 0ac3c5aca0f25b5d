//! The repository's own backup script, called from outside: its invocation as
//! data, the directory that it names, and the reason that its logs give. What
//! it does when called was measured with PowerShell 7.6 on Linux.

use super::Stand;
use crate::exec::Invocation;
use crate::fsx;
use crate::redact::Redactor;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the script lies below the checkout.
pub const SCRIPT: &str = "scripts/pwsh/ff-backup.ps1";

/// Its files in the database container begin like this.
pub const REMOTE: &str = "/tmp/ff_backup_";

/// What the script is given. Paths are absolute: a relative BackupDir starts at the working
/// directory, a relative ComposeFile at the script's repository.
#[derive(Debug, Clone)]
pub struct Call {
    pub pwsh: PathBuf,
    pub script: PathBuf,
    pub directory: PathBuf,
    /// What the configuration sets and the script would not find by itself: `PgService`, `DbName`, `PgUser`.
    pub named: Vec<(&'static str, String)>,
    pub limit: Duration,
}

impl Stand {
    /// `pwsh -File ff-backup.ps1 ...`
    pub fn ff_backup(&self, call: &Call) -> Invocation {
        let mut invocation = Invocation::new(&call.pwsh.display().to_string())
            .args(["-NoLogo", "-NoProfile", "-NonInteractive", "-File"])
            .arg(call.script.display().to_string())
            .args(["-BackupDir".to_string(), call.directory.display().to_string()]);
        // One file: a list arrives as one string through -File.
        if let Some(file) = self.files.first() {
            invocation = invocation.args(["-ComposeFile".to_string(), file.display().to_string()]);
        }
        invocation = invocation.args(["-ProjectName", &self.project]);
        for (name, value) in &call.named {
            // A value that begins with a dash would be taken for a parameter.
            invocation = match value.starts_with('-') {
                true => invocation.arg(format!("-{name}:{value}")),
                false => invocation.args([format!("-{name}"), value.clone()]),
            };
        }
        if !self.context.is_empty() {
            invocation = invocation.env("DOCKER_CONTEXT", &self.context);
        }
        invocation
            .cwd(&self.repo)
            .env("NO_COLOR", "1")
            .env("TERM", "dumb")
            .timeout(call.limit)
            // Its docker client outlives it when it dies by a signal.
            .whole_group()
    }
}

/// The path of the last line, if that is `outDir: PATH`. Escape sequences before it and a CR after
/// it are tolerated; the path itself is not looked at.
pub fn out_dir(stdout: &str) -> Option<String> {
    let plain = without_escapes(stdout);
    let last = plain.lines().map(|l| l.trim_end_matches('\r')).rfind(|l| !l.trim().is_empty())?;
    let path = last.trim_start_matches('\u{feff}').trim_start().strip_prefix("outDir:")?;
    let path = path.strip_prefix(' ').unwrap_or(path);
    Some(path.to_string()).filter(|p| !p.trim().is_empty())
}

/// The last part of a path, whichever system it was written on.
pub fn leaf(path: &str) -> &str {
    path.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or_default()
}

/// Text without the escape sequences of a terminal.
fn without_escapes(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\u{1b}' {
            out.push(c);
            continue;
        }
        match chars.next() {
            // CSI: parameters up to a final byte.
            Some('[') => while chars.next_if(|c| !('@'..='~').contains(c)).is_some() {},
            // OSC: up to BEL or ESC \.
            Some(']') => while chars.next_if(|c| *c != '\u{7}' && *c != '\u{1b}').is_some() {},
            // Charsets take one more character.
            Some('(' | ')') => {}
            _ => continue,
        }
        if chars.next() == Some('\u{1b}') {
            chars.next();
        }
    }
    out
}

/// The logs of the script's calls, in their order.
const LOGS: [&str; 5] = [
    "compose_ps_q.log",
    "pg_dump_exec.log",
    "pg_globals_exec.log",
    "docker_cp_dump.log",
    "docker_cp_globals.log",
];

/// Why the script failed, as the logs in its directory say; None where they say nothing. Its
/// standard error is wrapped at 80 columns and no source. Masked.
pub fn reason(dir: &Path, redactor: &Redactor) -> Option<String> {
    LOGS.iter().find_map(|name| {
        let bytes = std::fs::read(dir.join(name)).ok()?;
        // As a whole: a line alone no longer shows that it belongs to a row.
        let text = redactor.output(&String::from_utf8_lossy(&bytes));
        Some(format!("{} ({name})", cause(name, &text)?))
    })
}

/// The logs in its directory that are empty: on a full disk it does not notice that it cannot write.
pub fn empty_logs(dir: &Path) -> Vec<&'static str> {
    let empty = |name: &&str| std::fs::metadata(dir.join(name)).is_ok_and(|m| m.len() == 0);
    LOGS.into_iter().filter(empty).collect()
}

/// The line of a log that says what went wrong; None where nothing did.
fn cause(name: &str, text: &str) -> Option<String> {
    let text = text.trim_start_matches('\u{feff}');
    if text.trim().is_empty() {
        return None;
    }
    let code = text.lines().find_map(|l| l.trim().strip_prefix("exit_code=")).unwrap_or("0");
    // Output stands below the head, after the first blank line.
    let body: Vec<&str> =
        text.lines().map(str::trim).skip_while(|l| !l.is_empty()).filter(|l| !l.is_empty()).collect();
    let is_id = |l: &&&str| l.len() >= 12 && l.chars().all(|c| c.is_ascii_hexdigit());
    if code == "0" {
        let nothing_runs = name == "compose_ps_q.log" && !body.iter().any(|l| is_id(&l));
        return nothing_runs.then(|| "compose names no running container of the database".into());
    }
    let telling = |l: &&&str| ["error", "FATAL", "ERROR", "Error"].iter().any(|w| l.contains(w));
    let line = body.iter().rfind(telling).or(body.last());
    Some(line.map_or_else(|| format!("exit code {code}, without a word"), |l| (*l).to_string()))
}

/// The half-filled directories that a run left: those below `directory` that were not there before
/// and hold no manifest.
pub fn half_filled(directory: &Path, before: &[String]) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = entries(directory)
        .into_iter()
        .filter(|name| !before.contains(name))
        .map(|name| directory.join(name))
        .filter(|dir| dir.is_dir() && !dir.join("manifest.json").exists() && looks_like_its(dir))
        .collect();
    found.sort();
    found
}

/// `yyyyMMdd-HHmmss`; the built-in engine adds its run.
fn looks_like_its(dir: &Path) -> bool {
    let name = fsx::slashes(Path::new(dir.file_name().unwrap_or_default()));
    let shape = |(at, c): (usize, u8)| if at == 8 { c == b'-' } else { c.is_ascii_digit() };
    name.len() == 15 && name.bytes().enumerate().all(shape)
}

/// The names in a directory; none where it is not there.
pub fn entries(directory: &Path) -> Vec<String> {
    let names = std::fs::read_dir(directory).into_iter().flatten().flatten();
    names.map(|e| e.file_name().to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests;
