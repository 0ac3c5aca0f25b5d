//! Undoes an interrupted run: by what the world says, not by its journal alone.

use super::{instead, tidied, ways};
use crate::acts::second::{self, COPY};
use crate::acts::sums::Sums;
use crate::acts::{Ctx, code, fence, script, smoke, stored};
use crate::error::{Fault, Lane, Result};
use crate::evidence::records::*;
use crate::evidence::{
    EVIDENCE, Line, LineKind, Reached, begun, reached, read_journal, read_record, replaced,
};
use crate::lkg::{Store, Target};
use crate::pipeline::housekeeping;
use crate::pipeline::open_runs::{OpenRun, Why};
use crate::stand::postgres::{self, Pg};
use crate::stand::psql::{Psql, literal};
use crate::steps::rollback::{self, Hold};
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};

/// Undoes an interrupted run: by what the world says, not by its journal alone.
pub(super) fn recover(ctx: &Ctx<'_>, open: &OpenRun, of: &str, hold: &Hold<'_>) -> Result<Rollback> {
    let dir = ctx.config.repo.join(EVIDENCE).join(of);
    let lines = read_journal(&dir.join("events.jsonl"))?;
    let id = begun(&lines).id;
    let pg = ctx.pg("rollback")?;
    let mut admin = pg.session("postgres", &ctx.app("recover"))?;
    end_what_is_left(ctx, &pg, &mut admin, of, &lines)?;
    let reached = reached(&lines);
    let store = Store::of(&ctx.config.repo);
    let mut record = match (reached, store.target(of)) {
        (Reached::Unchanged, _) | (_, None) => untouched(ctx, &dir, of, reached)?,
        (_, Some(mut target)) => {
            if open.why == Why::LeftInPlace && reached == Reached::Unfenced && !replaced(&lines) {
                // Something may serve: it is not stopped for a version that cannot start.
                code::keep_images(ctx, "rollback", &mut target)?;
                ways::all_here(ctx, &target)?;
            }
            let precheck: Option<Precheck> = read_record(&dir, "precheck.json");
            let fence = fence_of(&dir, &lines, &target);
            let sums: Option<Sums> = read_record(&dir, "sums_clone.json");
            let given = rollback::Given {
                reason: &match open.why {
                    Why::Interrupted => format!("{of} was interrupted"),
                    Why::NotBack | Why::LeftInPlace | Why::Unreadable => format!("{of} {}", open.words()),
                },
                target: &target,
                fence: fence.as_ref(),
                reached,
                baseline: precheck.as_ref().and_then(|p| p.baseline.as_ref()),
                clone_sums: sums.as_ref(),
                clone_sums_ms: sums_ms(&lines),
                keep_database: None,
                recovers: Some(of),
                cited: match replaced(&lines) {
                    true => format!("{}: the backup that {of} had restored beside", target.clone),
                    false => format!("clone {} made under the fence of {of}", target.clone),
                },
                hold,
            };
            let mut record = rollback::run(ctx, &given);
            if replaced(&lines) {
                instead::settle(ctx, of, &mut record);
            }
            let theirs = Ctx { id: &target.id, ..*ctx };
            if record.verified {
                tidied(ctx, housekeeping::after_failure(&theirs, false, true));
                tidied(ctx, housekeeping::forget_unrecorded(ctx, of));
            }
            record
        }
    };
    // A run that died before it told its id has left nothing under it.
    if !id.is_empty() {
        let theirs = Ctx { id: &id, ..*ctx };
        tidied(ctx, housekeeping::after_failure(&theirs, !record.verified, true));
    }
    tidied(ctx, housekeeping::remove_half_backups(ctx, of));
    // Where it is the journal knows: the configuration may be another one now.
    let copies = lines.iter().filter(|l| (l.step.as_str(), l.act.as_str()) == COPY);
    for target in copies.filter_map(|l| l.data["to"].as_str()) {
        tidied(ctx, second::remove_half(Path::new(target)));
    }
    // A rollback from a backup directory, cut short before it replaced anything.
    if record.verified && open.rid != of {
        tidied(ctx, instead::forget(ctx, &open.rid));
    }
    names_of_before(ctx, &dir, reached)?;
    record.recovers = Some(of.into());
    Ok(record)
}

/// Ends what the dead are still at in the server and removes what they were just writing.
pub(super) fn end_what_is_left(
    ctx: &Ctx<'_>,
    pg: &Pg,
    admin: &mut Psql,
    of: &str,
    lines: &[Line],
) -> Result<()> {
    ctx.act("rollback", "end what dead runs left", json!({ "of": of }), || {
        let gone = end_dead(ctx, pg, admin)?;
        if is_open(lines, "backup", "script") {
            let age = Duration::from_secs(ctx.config.backup.timeout_s);
            script::clean(pg, &ctx.app("script"), age)?;
        }
        remove_half_written(&ctx.config.repo.join(&ctx.config.backup.directory));
        remove_half_written(&Store::of(&ctx.config.repo).dir);
        Ok(((), json!({ "sessions": gone })))
    })
}

/// Ends sessions and removes files of every run but this one: it holds the lock, so they are dead.
fn end_dead(ctx: &Ctx<'_>, pg: &Pg, admin: &mut Psql) -> Result<u64> {
    let own = literal(&ctx.app(""));
    let dead = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid() \
         AND (application_name LIKE 'ffx:%' OR application_name LIKE 'ffxadmin:%') \
         AND left(application_name, char_length({own})) <> {own}"
    );
    let mut ended = 0;
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let left = admin.number(&dead)?;
        ended += left;
        if left == 0 {
            break;
        }
        if Instant::now() > until {
            return Err(Fault::new(format!("{left} sessions of a dead run do not end"))
                .remedy("look at application_name ffx:% in pg_stat_activity")
                .lane(Lane::C)
                .into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let script = format!(
        r#"for f in /tmp/ffx_*; do case $f in /tmp/ffx_{}_*) ;; *) rm -rf "$f";; esac; done"#,
        ctx.id
    );
    let call = pg.stand.inside(&pg.container, &[], &["sh", "-c", &script]);
    pg.stand.exec.run(&call)?.success("remove what a dead run left in the database container", Lane::A)?;
    Ok(ended)
}

/// How long the sums of the clone took, in ms: no time is known where they were not finished.
pub(super) fn sums_ms(lines: &[Line]) -> u64 {
    let done = lines.iter().rfind(|l| l.kind == LineKind::Done && l.act == "sum the clone");
    done.and_then(|l| l.ms).unwrap_or(u64::MAX)
}

/// Files that a dead run was just writing. Not in its evidence: that stays as it left it.
fn remove_half_written(root: &Path) {
    for entry in walkdir::WalkDir::new(root).into_iter().flatten() {
        if entry.file_type().is_file() && entry.file_name().to_string_lossy().starts_with(".ff-") {
            // What cannot be removed is in nobody's way.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Was this act begun and not ended?
fn is_open(lines: &[Line], step: &str, act: &str) -> bool {
    let last = lines.iter().rfind(|l| l.step == step && l.act == act);
    last.is_some_and(|l| l.kind == LineKind::Intent)
}

/// The record of the fence, or what the journal and the world say of it.
fn fence_of(dir: &Path, lines: &[Line], target: &Target) -> Option<Fence> {
    if let Some(fence) = read_record::<Fence>(dir, "fence.json") {
        return Some(fence);
    }
    let done =
        |act: &str| lines.iter().find(|l| l.step == "change" && l.act == act && l.kind == LineKind::Done);
    let fence = done("fence")?;
    Some(Fence {
        database: target.database.clone(),
        live_oid: fence.data["oid"].as_u64()?,
        clone: target.clone.clone(),
        clone_oid: done("clone").and_then(|l| l.data["oid"].as_u64()).unwrap_or(0),
        xid: fence.data["xid"].as_str().unwrap_or("0").into(),
        frozen_keys: done("freeze queues")
            .and_then(|l| serde_json::from_value(l.data["keys"].clone()).ok())
            .unwrap_or_default(),
        ..Fence::default()
    })
}

/// Nothing was changed: what is there is what was there.
fn untouched(ctx: &Ctx<'_>, dir: &Path, of: &str, reached: Reached) -> Result<Rollback> {
    if reached != Reached::Unchanged {
        return Err(Fault::new("the interrupted run changed the stand, and its way back is not recorded")
            .why(dir.display().to_string())
            .remedy(format!("go back from its backup: {}", stored::way_back(&ctx.config.repo, of)))
            .lane(Lane::A)
            .into());
    }
    let pg = ctx.pg("rollback")?;
    let mut admin = pg.session("postgres", &ctx.app("look"))?;
    let row = postgres::the_database(&mut admin, &pg.database)?;
    if !row.open {
        fence::unfence(&mut admin, &pg.database)?;
    }
    let precheck: Option<Precheck> = read_record(dir, "precheck.json");
    let smoked = smoke::run(ctx, "rollback", smoke::Patience::none(), &smoke::never(), &|_| {})?;
    let lost = precheck.and_then(|p| p.baseline).map(|b| smoke::lost(&b, &smoked)).unwrap_or_default();
    let problems = lost.iter().map(|name| format!("not good again: {name}")).collect::<Vec<_>>();
    Ok(Rollback {
        source: "undo".into(),
        reason: "interrupted before anything was changed".into(),
        database: DatabaseBack {
            expected_oid: row.oid,
            live_oid: row.oid,
            open: true,
            cited: "never written to by the interrupted run".into(),
            ..DatabaseBack::default()
        },
        up: true,
        smoke: Some(smoked),
        not_green_again: lost,
        verified: problems.is_empty(),
        problems,
        broker: "not touched".into(),
        ..Rollback::default()
    })
}

/// A build that was interrupted may have moved compose's image names.
fn names_of_before(ctx: &Ctx<'_>, dir: &Path, reached: Reached) -> Result<()> {
    if reached != Reached::Unchanged {
        return Ok(());
    }
    let stand = ctx.stand("rollback")?;
    for container in stand.containers()?.iter().filter(|c| ctx.facts.built.contains(&c.service)) {
        let name = ctx.facts.model.image_name(&stand.project, &container.service);
        if dir.join("step_build.log").exists()
            && stand.image_id(&name)?.as_deref() != Some(container.image.as_str())
        {
            stand.tag(&container.image, &name)?;
        }
    }
    Ok(())
}
