//! M1: the SQL files of the release, in their order, then its verifications.
//! Files own their transactions: each is one psql of its own, never wrapped.

use crate::acts::Ctx;
use crate::error::{Fault, Lane, Result};
use crate::evidence::records::{Migrate, SqlFile};
use crate::exec::{Ended, Finished};
use crate::fsx;
use crate::plan::{Plan, SqlSource};
use crate::stand::Stand;
use crate::stand::shell::Shell;
use crate::stand::sqlstate::sqlstate_in;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

/// Finds the files that globs and names mean in a commit, in order, with their hashes.
/// A missing file, suite or suite entry is a failure.
pub fn resolve(stand: &Stand, commit: &str, patterns: &[String]) -> Result<Vec<SqlSource>> {
    let files = stand.files_of(commit)?;
    let mut found: Vec<SqlSource> = Vec::new();
    for pattern in patterns {
        for path in expand(&files, pattern)? {
            if path.ends_with(".txt") {
                let suite =
                    stand.blob(commit, &path)?.ok_or_else(|| missing(&path, "git has no such blob"))?;
                let entries = entries(&String::from_utf8_lossy(&suite));
                if entries.is_empty() {
                    return Err(missing(&path, "the suite names no file: it would prove nothing").into());
                }
                for entry in entries {
                    if !files.contains(&entry) {
                        return Err(missing(&entry, &format!("suite {path} names it")).into());
                    }
                    push(stand, commit, &entry, &mut found)?;
                }
            } else {
                push(stand, commit, &path, &mut found)?;
            }
        }
    }
    Ok(found)
}

fn push(stand: &Stand, commit: &str, path: &str, found: &mut Vec<SqlSource>) -> Result<()> {
    let bytes = stand.blob(commit, path)?.ok_or_else(|| missing(path, "git has no such blob"))?;
    found.push(SqlSource { path: path.into(), sha256: fsx::sha256(&bytes) });
    Ok(())
}

fn expand(files: &[String], pattern: &str) -> Result<Vec<String>> {
    let pattern = pattern.replace('\\', "/");
    if files.contains(&pattern) {
        return Ok(vec![pattern]);
    }
    let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
    let glob = glob::Pattern::new(&pattern)
        .map_err(|e| Fault::usage(format!("`{pattern}` in [migrate] is not a pattern")).why(e.to_string()))?;
    let mut found: Vec<String> = files.iter().filter(|f| glob.matches_with(f, options)).cloned().collect();
    found.sort();
    if found.is_empty() {
        return Err(missing(&pattern, "no committed file has this name or fits this pattern").into());
    }
    Ok(found)
}

fn missing(path: &str, why: &str) -> Fault {
    Fault::refused(format!("{path} is not there"))
        .why(why)
        .remedy("commit the file, or mend [migrate] in ops/xtask.toml")
        .lane(Lane::C)
}

/// The paths of a suite: one a line; `#`, `;` and `--` begin comments.
fn entries(text: &str) -> Vec<String> {
    text.trim_start_matches('\u{feff}')
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !["#", ";", "--"].iter().any(|c| l.starts_with(c)))
        .map(|l| l.replace('\\', "/"))
        .collect()
}

/// Where the files lie in the database container.
pub fn stage_dir(id: &str) -> String {
    format!("/tmp/ffx_{id}_sql")
}

/// Copies the SQL of the released commit into the database container: `\ir` and `\i` need it
/// whole. Done before the stop, so that it costs no downtime.
pub fn stage(ctx: &Ctx<'_>, plan: &Plan, commit: &str) -> Result<()> {
    // The top directories of all named files: what they include lies beside them.
    let roots: BTreeSet<String> = plan
        .migrations
        .iter()
        .chain(&plan.verify)
        .map(|f| match f.path.rsplit_once('/') {
            Some((dir, _)) => dir.split('/').take(2).collect::<Vec<_>>().join("/"),
            None => f.path.clone(),
        })
        .collect();
    if roots.is_empty() {
        return Ok(());
    }
    let stand = ctx.stand("migrate")?;
    let pg = ctx.pg("migrate")?;
    let dir = stage_dir(ctx.id);
    ctx.act("migrate", "stage files", json!({ "dir": dir, "roots": roots }), || {
        let roots: Vec<String> = roots.into_iter().collect();
        let tar = stand
            .exec
            .run(&stand.archive(commit, &roots))?
            .success("read the SQL files out of git", Lane::A)?;
        let script = format!("rm -rf {dir} && mkdir -m 755 {dir} && tar -xf - -C {dir}");
        let call = stand.inside(&pg.container, &[], &["sh", "-c", &script]).stdin(tar.stdout);
        stand.exec.run(&call)?.success("copy the SQL files into the database container", Lane::A)?;
        as_planned(&stand, &pg.container, &dir, plan)?;
        Ok(((), json!({})))
    })
}

/// What lies there now is what the plan names, by content: a record of a file that was not the one that
/// is applied would be a lie.
fn as_planned(stand: &Stand, container: &str, dir: &str, plan: &Plan) -> Result<()> {
    let planned: Vec<&SqlSource> = plan.migrations.iter().chain(&plan.verify).collect();
    let names: Vec<&str> = planned.iter().map(|f| f.path.as_str()).collect();
    let script = format!("cd {dir} && xargs -0 sha256sum");
    let call = stand.inside(container, &[], &["sh", "-c", &script]).stdin(names.join("\0"));
    let text = stand.exec.run(&call)?.success("read the copied SQL files back", Lane::A)?.text();
    // A name with a backslash or a line break is escaped there, and the line begins with a backslash.
    let hashes: Vec<&str> =
        text.lines().map(|l| l.trim_start_matches('\\')).filter_map(|l| l.get(..64)).collect();
    let other = planned.iter().enumerate().find(|(n, f)| hashes.get(*n) != Some(&f.sha256.as_str()));
    match other {
        None => Ok(()),
        Some((_, file)) => Err(Fault::new(format!("{} is not what was planned", file.path))
            .why("the copy in the database container has another sha256")
            .lane(Lane::A)
            .into()),
    }
}

/// A shell in the database container, opened before the stop: files then cost what they cost.
pub fn shell(ctx: &Ctx<'_>) -> Result<Shell> {
    let pg = ctx.pg("migrate")?;
    pg.stand.shell(&pg.container)
}

/// Applies and verifies. The record is written whatever happens.
pub fn run(
    ctx: &Ctx<'_>,
    shell: &mut Shell,
    plan: &Plan,
    commit: &str,
    skip: Option<&str>,
) -> Result<Migrate> {
    let log = ctx.run.log("migrate")?;
    let listed = |sources: &[SqlSource]| -> Vec<SqlFile> {
        let file = |(n, s): (usize, &SqlSource)| SqlFile {
            order: n as u32 + 1,
            path: s.path.clone(),
            sha256: s.sha256.clone(),
            status: "not run".into(),
            ..SqlFile::default()
        };
        sources.iter().enumerate().map(file).collect()
    };
    let mut record = Migrate {
        source_commit: commit.into(),
        files: if skip.is_some() { Vec::new() } else { listed(&plan.migrations) },
        verify: listed(&plan.verify),
        ..Migrate::default()
    };
    match skip {
        Some(reason) => record.waived = Some(reason.into()),
        None if record.files.is_empty() => {
            record.skipped = Some("no migration is listed in [migrate] files".into())
        }
        None => {}
    }
    if let Some(reason) = record.waived.as_ref().or(record.skipped.as_ref()) {
        log.say(&format!("nothing applied: {reason}"));
    }
    let mut failure = None;
    for n in 0..record.files.len() {
        let file = record.files[n].clone();
        let (done, error) = apply(ctx, shell, &file, "applied");
        record.files[n] = done;
        failure = error;
        if failure.is_some() {
            break;
        }
    }
    for n in 0..record.verify.len() {
        if failure.is_some() {
            break;
        }
        let file = record.verify[n].clone();
        (record.verify[n], failure) = apply(ctx, shell, &file, "passed");
    }
    record.ok = failure.is_none();
    ctx.run.write_json("migrate.json", &record)?;
    match failure {
        Some(error) => Err(error),
        None => Ok(record),
    }
}

/// Runs one file: its record, and why it failed if it did. What it printed is in the RAW log; its
/// rows are not.
fn apply(ctx: &Ctx<'_>, shell: &mut Shell, file: &SqlFile, good: &str) -> (SqlFile, Option<anyhow::Error>) {
    let mut done = file.clone();
    let act = if good == "applied" { "apply" } else { "verify" };
    let about = json!({ "path": file.path, "sha256": file.sha256, "order": file.order });
    let result = ctx.act("migrate", act, about, || {
        let finished = psql(ctx, shell, &file.path)?;
        done.ms = finished.ms;
        done.exit_code = match finished.ended {
            Ended::Exit(code) => Some(code),
            _ => None,
        };
        if finished.ok() {
            return Ok(((), json!({ "exit_code": 0 })));
        }
        end_backend(ctx);
        let cause = cause(&finished);
        done.error = Some(cause.clone());
        let what = if good == "applied" { "does not apply" } else { "does not hold" };
        let fault = Fault::new(format!("{} {what}", file.path))
            .why(cause)
            .log(ctx.run.path.join("step_migrate.log"))
            .lane(Lane::C);
        Err(fault.into())
    });
    done.status = if result.is_ok() { good } else { "failed" }.into();
    (done, result.err())
}

fn psql(ctx: &Ctx<'_>, shell: &mut Shell, path: &str) -> Result<Finished> {
    let pg = ctx.pg("migrate")?;
    let limit = match ctx.config.migrate.timeout_s {
        0 => Duration::from_secs(3600),
        s => Duration::from_secs(s),
    };
    ctx.waiting("migrate", path.to_string(), limit);
    // Rows that a file selects are nobody's evidence; what it echoes and every error is.
    let rest = [
        "-X",
        "-v",
        "ON_ERROR_STOP=1",
        "-v",
        "VERBOSITY=verbose",
        "-P",
        "pager=off",
        "-o",
        "/dev/null",
        "-f",
        path,
    ];
    let argv = pg.with_password(&pg.argv("psql", &pg.database, &rest));
    let env = [("PGAPPNAME", ctx.app("migrate")), ("PGCLIENTENCODING", "UTF8".into())];
    let env: Vec<(&str, &str)> = env.iter().map(|(k, v)| (*k, v.as_str())).collect();
    // From the root of the copied tree: `\i` is relative to it, `\ir` to the file.
    shell.run(&stage_dir(ctx.id), &env, &argv, limit)
}

/// The line that says what went wrong.
fn cause(finished: &Finished) -> String {
    let line = finished
        .stderr
        .lines()
        .find(|l| l.contains("ERROR:") || l.contains("FATAL:") || l.contains("error:"))
        .or_else(|| finished.stderr.lines().rfind(|l| !l.trim().is_empty()));
    match line {
        Some(line) => line.trim().to_string(),
        None => finished.ended.to_string(),
    }
}

/// The client may be gone while its backend works on: it is ended before anything else is done.
fn end_backend(ctx: &Ctx<'_>) {
    let ended = ctx.shielded().pg("migrate").and_then(|pg| {
        let mut admin = pg.session("postgres", &ctx.app("end-migrate"))?;
        pg.end_backends(&mut admin, &ctx.app("migrate"))
    });
    if let (Err(error), Ok(log)) = (ended, ctx.run.log("migrate")) {
        log.say(&format!("the backend of the file could not be looked for: {error:#}"));
    }
}

/// The SQLSTATE of a failed file, for the request.
pub fn sqlstate(record: &Migrate) -> Option<String> {
    record.files.iter().chain(&record.verify).filter_map(|f| f.error.as_deref()).find_map(sqlstate_in)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_is_its_paths_without_comments() {
        let text = "\u{feff}# one\r\nscripts/a.sql\r\n\r\n; no\n-- no\n  scripts\\b.sql\n";
        assert_eq!(entries(text), ["scripts/a.sql", "scripts/b.sql"]);
    }

    #[test]
    fn globs_are_sorted_and_a_missing_file_is_an_error() {
        let files = ["s/2_b.sql", "s/1_a.sql", "s/sub/3.sql"].map(String::from);
        assert_eq!(expand(&files, "s/*.sql").unwrap(), ["s/1_a.sql", "s/2_b.sql"]);
        let fault = crate::error::fault_of(&expand(&files, "s/9.sql").unwrap_err());
        assert_eq!(fault.exit, Some(crate::error::Exit::Refused));
        assert!(expand(&files, "s/[.sql").is_err());
    }
}
