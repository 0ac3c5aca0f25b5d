//! P1 to P5: who releases what onto which stand, how healthy it is, and
//! whether anything that must not leave is about to.

use crate::acts::scan::{self, Base};
use crate::acts::{Ctx, room, smoke, target, wake};
use crate::config::allow::{self, Allowed};
use crate::error::{Exit, Fault, Lane, Result};
use crate::evidence::records::{Charter, Finding, LockRecord, Precheck};
use crate::lkg::LastKnownGood;
use crate::stand::Stand;
use crate::stand::git::Dirt;
use std::path::Path;

/// What the pipeline knows before the precheck.
pub struct Given<'a> {
    pub head: &'a str,
    pub branch: &'a str,
    pub dirt: &'a Dirt,
    pub last: Option<&'a LastKnownGood>,
    pub allow_dirty: Option<&'a str>,
    pub devtasks: &'a [String],
    /// Findings of the secret scan that are none.
    pub allow: &'a [Allowed],
    pub lock: LockRecord,
    pub started: &'a str,
    pub data_services_started: Vec<String>,
    pub code_already_live: bool,
    /// What runs beside what the checkout holds, in words.
    pub standing: &'a [String],
}

/// Writes the charter, looks at everything, and refuses once with all reasons.
pub fn run(ctx: &Ctx<'_>, given: &Given<'_>) -> Result<Precheck> {
    let stand = ctx.stand("precheck")?;
    let base = Base::of(&stand, given.last)?;
    let charter = charter(ctx, given, base)?;
    ctx.run.write_json("charter.json", &charter)?;
    let log = ctx.run.log("precheck")?;
    log.say(&format!("git head {}", given.head));
    for line in &given.dirt.lines {
        log.say(&format!("git status: {line}"));
    }
    // What runs is asked as it was started, not as the checkout would start it.
    let running = ctx.facts.as_running(ctx.config, target::model_of(&ctx.config.repo, given.last)?);
    let asking = Ctx { facts: &running, ..*ctx };
    let (baseline, scan, free, redefined) = std::thread::scope(|s| {
        let redefined = s.spawn(|| redefined(ctx, &stand));
        let baseline =
            s.spawn(|| smoke::run(&asking, "precheck", smoke::Patience::none(), &smoke::never(), &|_| {}));
        let scan = s.spawn(|| scan::run(ctx, &stand, base, given.dirt, given.allow));
        let free = room::free(ctx);
        (baseline.join(), scan.join(), free, redefined.join())
    });
    let died = |_| crate::error::anyhow!("a part of the precheck died");
    let baseline = baseline.map_err(died)??;
    let scan = scan.map_err(died)??;
    let unread = scan
        .too_large
        .iter()
        .map(|file| format!("{file} is too large to be source: not scanned for secrets"));
    let redefined = redefined.map_err(died)??;
    let too_long = stand.exec.redactor().too_long_keys().into_iter().map(|key| {
        format!("the value of {key} is too long to be looked for: what is secret in it is not masked")
    });
    let lost = matches!(base, Base::Gone(_)).then(|| format!("{base}; fetch it"));
    let mut precheck = Precheck {
        git_status: given.dirt.lines.clone(),
        git_head: given.head.into(),
        services: ctx.facts.model.services(),
        versions: ctx.facts.versions.clone(),
        free,
        code_already_live: given.code_already_live,
        data_services_started: given.data_services_started.clone(),
        eol_only: given.dirt.eol_only,
        content_edits: given.dirt.content.clone(),
        findings: scan.findings,
        stale_allowances: scan.stale,
        context: scan.context,
        weak_secrets: stand.exec.redactor().weak_keys(),
        warnings: given
            .standing
            .iter()
            .cloned()
            .chain(redefined)
            .chain(unread)
            .chain(too_long)
            .chain(lost)
            .collect(),
        scanned_files: scan.files,
        scan_base: Some(base.to_string()),
        baseline: Some(baseline),
        refusals: Vec::new(),
    };
    warn(ctx, &mut precheck);
    refuse(given, &mut precheck);
    ctx.run.write_json("precheck.json", &precheck)?;
    for text in &precheck.warnings {
        ctx.events.warn("precheck", text.clone());
    }
    if precheck.refusals.is_empty() {
        return Ok(precheck);
    }
    let secret = precheck.findings.iter().any(|f| f.hard && f.new);
    Err(Fault::new("the precheck refuses this release")
        .why(precheck.refusals.join("; "))
        .remedy(if secret {
            format!("take it out, or say in {} why it is none; nothing was touched", allow::FILE)
        } else {
            "mend what is named and release again; nothing was touched".into()
        })
        .lane(if secret { Lane::D } else { Lane::A })
        .exit(Exit::Refused)
        .into())
}

/// Whose tasks are named where there is no commit to count from.
const RECENT: &str = "commits of the last 14 days, at most 50";

fn charter(ctx: &Ctx<'_>, given: &Given<'_>, base: Base<'_>) -> Result<Charter> {
    let stand = ctx.stand("precheck")?;
    let worktree = stand.worktree()?;
    let name = worktree.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    // In a linked worktree `.git` is a file, and the directory's name is the lane.
    let linked = worktree.join(".git").is_file();
    let mut devtasks = devtasks(&stand.subjects(base.commit())?);
    for task in given.devtasks {
        if !devtasks.contains(task) {
            devtasks.push(task.clone());
        }
    }
    let (operator, host) = whoami();
    Ok(Charter {
        rid: ctx.run.rid.clone(),
        command: "release".into(),
        worktree: worktree.display().to_string(),
        lane: if linked { name } else { given.branch.to_string() },
        branch: given.branch.into(),
        git_head: given.head.into(),
        dirty: Some(given.dirt.edited()),
        operator,
        host,
        started: given.started.into(),
        devtasks,
        devtasks_from: match base {
            Base::Commit(commit) => format!("commits after {commit}"),
            Base::First => format!("{RECENT}: no last known good release"),
            Base::Gone(commit) => {
                format!("{RECENT}: commit {commit} of the last known good release is not in this checkout")
            }
        },
        lock: given.lock.clone(),
    })
}

/// The charter of a command that is not a release.
pub fn brief_charter(
    ctx: &Ctx<'_>,
    command: &str,
    head: &str,
    lock: LockRecord,
    started: &str,
) -> Result<Charter> {
    let stand = ctx.stand(command)?;
    let worktree = stand.worktree()?;
    let (operator, host) = whoami();
    let branch = stand.branch()?;
    Ok(Charter {
        rid: ctx.run.rid.clone(),
        command: command.into(),
        worktree: worktree.display().to_string(),
        lane: branch.clone(),
        branch,
        git_head: head.into(),
        operator,
        host,
        started: started.into(),
        devtasks_from: "none: not a release".into(),
        lock,
        ..Charter::default()
    })
}

/// Who runs this, and where.
pub fn whoami() -> (String, String) {
    let var = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
    let user = var("USER")
        .or_else(|| var("USERNAME"))
        .or_else(|| var("LOGNAME"))
        .unwrap_or_else(|| "unknown".into());
    (user, gethostname::gethostname().to_string_lossy().into_owned())
}

/// The numbers in `[DEVTASK:N]` of commit subjects.
fn devtasks(subjects: &[String]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for subject in subjects {
        for piece in subject.split("[DEVTASK:").skip(1) {
            let number: String = piece.chars().take_while(char::is_ascii_digit).collect();
            if !number.is_empty() && piece[number.len()..].starts_with(']') && !found.contains(&number) {
                found.push(number);
            }
        }
    }
    found
}

fn warn(ctx: &Ctx<'_>, precheck: &mut Precheck) {
    let mut warnings = std::mem::take(&mut precheck.warnings);
    if let Some(baseline) = &precheck.baseline {
        let red: Vec<&str> = baseline.checks.iter().filter(|c| !c.ok).map(|c| c.name.as_str()).collect();
        if !red.is_empty() {
            warnings.push(format!("not green before the release: {}", red.join(", ")));
        }
    }
    if precheck.eol_only > 0 {
        warnings.push(format!("{} files differ in line ends only", precheck.eol_only));
    }
    if !precheck.context.is_empty() {
        warnings.push(format!(
            "the image build takes in what it should not: add to .dockerignore: {}",
            precheck.context.join(" ")
        ));
    }
    for finding in precheck.findings.iter().filter(|f| f.allowed.is_none() && !(f.hard && f.new)) {
        warnings.push(format!("{}:{} looks like a {}", finding.file, finding.line, finding.kind));
    }
    for entry in &precheck.stale_allowances {
        warnings.push(format!("{} allows what is not there any more: {entry}", allow::FILE));
    }
    if !precheck.weak_secrets.is_empty() {
        warnings.push(format!("weak secrets (short or common): {}", precheck.weak_secrets.join(", ")));
    }
    let root = Path::new(&ctx.config.repo);
    for own in ["ops/_local", "ops/_backups"] {
        let probe = root.join(own);
        if probe.exists() && !probe.join(".gitignore").exists() {
            warnings.push(format!("{own} has no .gitignore of its own"));
        }
    }
    precheck.warnings = warnings;
}

/// Data services whose definition is another one than their container was made from: a release never
/// recreates them, so somebody has to.
fn redefined(ctx: &Ctx<'_>, stand: &Stand) -> Result<Vec<String>> {
    let now = stand.config_hashes()?;
    let other = ctx.facts.data_services.iter().filter(|service| {
        let made_from = ctx.facts.container(service).map(|c| c.config_hash.as_str());
        matches!((made_from, now.get(*service)), (Some(was), Some(is)) if !was.is_empty() && was != is)
    });
    let text = |service: &String| {
        format!(
            "{service} is defined otherwise than its container was made: a release leaves data services alone; \
             `docker compose up -d {service}` in a quiet hour applies it"
        )
    };
    Ok(other.map(text).collect())
}

fn refuse(given: &Given<'_>, precheck: &mut Precheck) {
    for finding in precheck.findings.iter().filter(|f| f.hard && f.new) {
        let Finding { file, line, kind, .. } = finding;
        precheck.refusals.push(format!("{file}:{line} holds a {kind}"));
    }
    let edits = given.dirt.content.iter().chain(&given.dirt.untracked).cloned().collect::<Vec<_>>();
    if !edits.is_empty() && given.allow_dirty.is_none() {
        let some: Vec<&str> = edits.iter().take(5).map(String::as_str).collect();
        precheck.refusals.push(format!(
            "the checkout is dirty ({} files: {}): commit, or --allow-dirty with a reason",
            edits.len(),
            some.join(", ")
        ));
    }
}

/// Starts data services that do not run, and waits for the database. Not a change of the stand: they
/// are never stopped, and nothing was served without them.
pub fn start_data_services(ctx: &Ctx<'_>) -> Result<Vec<String>> {
    let down: Vec<String> = ctx
        .facts
        .data_services
        .iter()
        .filter(|s| !ctx.facts.container(s).is_some_and(|c| c.running()))
        .cloned()
        .collect();
    if !down.is_empty() {
        wake::start(ctx, "precheck", &down)?;
    }
    Ok(down)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devtasks_are_read_from_subjects() {
        let subjects =
            ["[DEVTASK:12] api: x", "no", "[DEVTASK:7][DEVTASK:12] y", "[DEVTASK:] z", "[DEVTASK:3x] q"];
        assert_eq!(devtasks(&subjects.map(String::from)), ["12", "7"]);
    }
}
