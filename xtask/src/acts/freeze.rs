//! The broker's queues, set aside before a change and put back by a rollback.

use super::Ctx;
use crate::error::{Fault, Lane, Result};
use crate::evidence::{self, EVIDENCE, Line, LineKind, read_up_to_damage};
use crate::stand::broker::quoted;
use serde_json::json;
use std::path::Path;

/// The act that puts queues back.
const PUT_BACK: &str = "put queues back";

fn frozen(id: &str, key: &str) -> String {
    format!("ff:freeze:{id}:{key}")
}

fn failed(id: &str, key: &str) -> String {
    format!("ff:failed:{id}:{key}")
}

/// There once everything was set aside, also where that was nothing.
fn all_frozen(id: &str) -> String {
    format!("ff:frozen:{id}")
}

/// There once everything was put back.
fn thawed(id: &str) -> String {
    format!("ff:thawed:{id}")
}

/// What came of it, for the summary.
#[derive(Debug, Clone, Default)]
pub struct Frozen {
    pub keys: Vec<String>,
    pub note: String,
}

/// Copies the queue keys aside, after the workers stopped.
pub fn freeze(ctx: &Ctx<'_>, step: &str) -> Result<Frozen> {
    let Some(broker) = ctx.facts.broker(ctx.config) else {
        return Ok(Frozen {
            keys: Vec::new(),
            note: "no Redis runs in this stand: queues are left as they are".into(),
        });
    };
    let stand = ctx.stand(step)?;
    ctx.act(step, "freeze queues", json!({ "patterns": ctx.config.rollback.queue_keys }), || {
        // One call, all or nothing.
        let patterns: Vec<String> = ctx.config.rollback.queue_keys.iter().map(|p| quoted(p)).collect();
        let copy = format!(
            "EVAL {} 0 {} {} {}",
            quoted(COPY_ALL),
            quoted(&frozen(ctx.id, "")),
            quoted(&all_frozen(ctx.id)),
            patterns.join(" ")
        );
        let marked = format!("EXISTS {}", quoted(&all_frozen(ctx.id)));
        match stand.redis(&broker, &[copy, marked]) {
            Ok(mut keys) => {
                if keys.pop().as_deref() != Some("1") {
                    return Err(Fault::new("Redis has not set the queues aside").lane(Lane::A).into());
                }
                let note = format!("{} queue keys set aside", keys.len());
                let data = json!({ "keys": keys });
                Ok((Frozen { keys, note }, data))
            }
            // COPY came with 6.2.
            Err(error) if stand.redis_version(&broker).is_ok_and(|v| v < (6, 2)) => {
                let note = format!("this Redis cannot copy keys ({error}): queues are left as they are");
                let data = json!({ "note": note });
                Ok((Frozen { keys: Vec::new(), note }, data))
            }
            Err(error) => Err(error),
        }
    })
}

/// Copies every key that fits a pattern, and marks that it did; returns their names.
const COPY_ALL: &str = "local names = {} for i = 3, #ARGV do for _, key in ipairs(redis.call('KEYS', ARGV[i])) do \
     redis.call('COPY', key, ARGV[1] .. key, 'REPLACE') names[#names + 1] = key end end \
     redis.call('SET', ARGV[2], 1) return names";

/// What came of putting queues back.
#[derive(Debug, Clone, Default)]
pub struct Thawed {
    /// For the summary.
    pub note: String,
    /// Keys that were set aside and that Redis does not have any more.
    pub lost: Vec<String>,
}

impl Thawed {
    fn note(note: &str) -> Thawed {
        Thawed { note: note.into(), lost: Vec::new() }
    }
}

/// Puts the queues of run `id` back; those of the failed version are kept under another name. Where
/// that run has set nothing aside there is no state to put back, and what waits now goes on waiting.
/// `set_aside`: the keys that it had set aside, as it recorded them. A key that is lost is told once: it
/// cannot be brought back, and who goes back again knows of it.
pub fn thaw(ctx: &Ctx<'_>, step: &str, id: &str, set_aside: &[String]) -> Result<Thawed> {
    let Some(broker) = ctx.facts.broker(ctx.config) else {
        let mut thawed = Thawed::note("no Redis runs in this stand: queues are left as they are");
        thawed.lost = set_aside.to_vec();
        return Ok(thawed);
    };
    let stand = ctx.stand(step)?;
    ctx.act(step, PUT_BACK, json!({ "of": id }), || {
        let prefix = frozen(id, "");
        let told = stand.redis_keys(&broker, &[format!("{prefix}*"), all_frozen(id), thawed(id)])?;
        // Once: a second run of an interrupted rollback must not set aside what it put back.
        if told.contains(&thawed(id)) {
            return Ok((Thawed::note("the queue keys are put back"), json!({ "already": true })));
        }
        let copies: Vec<&String> = told.iter().filter(|key| key.starts_with(&prefix)).collect();
        let lost = lost(set_aside, &copies, &prefix);
        // One that died at its very end had put them back and then forgotten copies and mark.
        if !lost.is_empty() && put_back_before(&ctx.config.repo, &ctx.run.path, id)? {
            return Ok((Thawed::note("the queue keys were put back before"), json!({ "already": true })));
        }
        // What a version without the mark has set aside counts, too.
        if told.is_empty() && lost.is_empty() {
            let note = "no queue keys were set aside for this way back: queues are left as they are";
            ctx.events.note(step, note);
            return Ok((Thawed::note(note), json!({ "note": note })));
        }
        // All or nothing: half of it would lose a queue.
        let mut commands = vec!["MULTI".to_string()];
        for key in stand.redis_keys(&broker, &ctx.config.rollback.queue_keys)? {
            commands.push(format!("RENAME {} {}", quoted(&key), quoted(&failed(id, &key))));
        }
        commands.push(format!("SET {} 1", quoted(&thawed(id))));
        for copy in &copies {
            let key = copy.strip_prefix(&prefix).unwrap_or(copy);
            commands.push(format!("COPY {} {} REPLACE", quoted(copy), quoted(key)));
        }
        commands.push("EXEC".into());
        let told = stand.redis(&broker, &commands)?;
        // MULTI and each command are taken down first, then done: a rename says OK, a copy 1.
        let done = told.iter().skip(commands.len() - 1);
        if done.clone().count() != commands.len() - 2 || !done.clone().all(|d| d == "OK" || d == "1") {
            return Err(Fault::new("Redis has not put the queues back").lane(Lane::A).into());
        }
        let note = format!("{} queue keys put back", copies.len());
        let data = json!({ "keys": copies.len(), "lost": lost });
        Ok((Thawed { note, lost }, data))
    })
}

/// Has a run that is over, not this one in `own`, put the queues of run `id` back, by its journal?
fn put_back_before(repo: &Path, own: &Path, id: &str) -> Result<bool> {
    let done = |lines: Vec<Line>| {
        let acts: Vec<Line> = lines.into_iter().filter(|l| l.act == PUT_BACK).collect();
        acts.windows(2).any(|two| two[0].data["of"] == id && two[1].kind == LineKind::Done)
    };
    let runs = evidence::runs(&repo.join(EVIDENCE))?;
    Ok(runs.iter().filter(|dir| *dir != own).any(|dir| done(read_up_to_damage(&dir.join("events.jsonl")))))
}

/// Of the keys that were set aside, those that have no copy any more.
fn lost(set_aside: &[String], copies: &[&String], prefix: &str) -> Vec<String> {
    let there = |key: &&String| copies.iter().any(|copy| copy.strip_prefix(prefix) == Some(key.as_str()));
    set_aside.iter().filter(|key| !there(key)).cloned().collect()
}

/// Forgets the copies of runs, by id: they live and die with the clone. What a failed version had left
/// stays with the failed database.
pub fn forget_copies(ctx: &Ctx<'_>, step: &str, which: impl Fn(&str) -> bool) -> Result<()> {
    forget(ctx, step, which, &["ff:freeze:*", "ff:frozen:*", "ff:thawed:*"])
}

/// Forgets everything of other runs.
pub fn forget_others(ctx: &Ctx<'_>, step: &str, keep: &str) -> Result<()> {
    forget(ctx, step, |of| of != keep, &["ff:freeze:*", "ff:frozen:*", "ff:failed:*", "ff:thawed:*"])
}

fn forget(ctx: &Ctx<'_>, step: &str, which: impl Fn(&str) -> bool, patterns: &[&str]) -> Result<()> {
    let Some(broker) = ctx.facts.broker(ctx.config) else { return Ok(()) };
    let stand = ctx.stand(step)?;
    let patterns: Vec<String> = patterns.iter().map(|p| (*p).to_string()).collect();
    let commands: Vec<String> = stand
        .redis_keys(&broker, &patterns)?
        .iter()
        .filter(|key| key.split(':').nth(2).is_some_and(&which))
        .map(|key| format!("DEL {}", quoted(key)))
        .collect();
    if !commands.is_empty() {
        stand.redis(&broker, &commands)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::Redactor;

    #[test]
    fn a_key_is_lost_where_its_copy_is_gone() {
        let keys = |names: &[&str]| names.iter().map(|n| (*n).to_string()).collect::<Vec<_>>();
        let copies = keys(&["ff:freeze:1:celery", "ff:freeze:1:a:b"]);
        let copies: Vec<&String> = copies.iter().collect();
        let prefix = frozen("1", "");
        assert_eq!(lost(&keys(&["celery", "a:b"]), &copies, &prefix), keys(&[]));
        assert_eq!(lost(&keys(&["celery", "b", "unacked"]), &copies, &prefix), keys(&["b", "unacked"]));
        assert_eq!(lost(&keys(&["celery"]), &[], &prefix), keys(&["celery"]));
    }

    #[test]
    fn queues_are_back_where_a_journal_says_so() {
        let root = tempfile::tempdir().unwrap();
        let place = root.path().join(EVIDENCE);
        std::fs::create_dir_all(&place).unwrap();
        let put = |rid: &str, id: &str, done: bool| {
            let run = evidence::RunDir::create(&place, rid, &Redactor::new()).unwrap();
            let _: Result<()> = run.journal.act("rollback", PUT_BACK, json!({ "of": id }), || match done {
                true => Ok(((), json!({}))),
                false => Err(Fault::new("no Redis").into()),
            });
        };
        put("rbk_1", "one", true);
        put("rbk_2", "two", false);
        let told = |id| put_back_before(root.path(), &place.join("rbk_3"), id).unwrap();
        assert_eq!([told("one"), told("two"), told("three")], [true, false, false]);
        assert!(!put_back_before(root.path(), &place.join("rbk_1"), "one").unwrap(), "its own try");
    }
}
