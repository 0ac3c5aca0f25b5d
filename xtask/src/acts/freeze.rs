//! The broker's queues, set aside before a change and put back by a rollback.

use super::Ctx;
use crate::error::Result;
use crate::stand::broker::quoted;
use serde_json::json;

fn frozen(id: &str, key: &str) -> String {
    format!("ff:freeze:{id}:{key}")
}

fn failed(id: &str, key: &str) -> String {
    format!("ff:failed:{id}:{key}")
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
        let copy =
            format!("EVAL {} 0 {} {}", quoted(COPY_ALL), quoted(&frozen(ctx.id, "")), patterns.join(" "));
        match stand.redis(&broker, &[copy]) {
            Ok(keys) => {
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

/// Copies every key that fits a pattern; returns their names.
const COPY_ALL: &str = "local names = {} for i = 2, #ARGV do for _, key in ipairs(redis.call('KEYS', ARGV[i])) do \
     redis.call('COPY', key, ARGV[1] .. key, 'REPLACE') names[#names + 1] = key end end return names";

/// Puts the queues of run `id` back; those of the failed version are kept under another name.
pub fn thaw(ctx: &Ctx<'_>, step: &str, id: &str) -> Result<String> {
    let Some(broker) = ctx.facts.broker(ctx.config) else {
        return Ok("no Redis runs in this stand: queues are left as they are".into());
    };
    let stand = ctx.stand(step)?;
    ctx.act(step, "put queues back", json!({ "of": id }), || {
        let prefix = frozen(id, "");
        let copies = stand.redis_keys(&broker, &[format!("{prefix}*")])?;
        let done = stand.redis_keys(&broker, &[format!("ff:thawed:{id}")])?;
        let mut commands = Vec::new();
        if done.is_empty() {
            // Once: a second run of an interrupted rollback must not set aside what it put back.
            for key in stand.redis_keys(&broker, &ctx.config.rollback.queue_keys)? {
                commands.push(format!("RENAME {} {}", quoted(&key), quoted(&failed(id, &key))));
            }
            commands.push(format!("SET {} 1", quoted(&format!("ff:thawed:{id}"))));
        }
        for copy in &copies {
            let key = copy.strip_prefix(&prefix).unwrap_or(copy);
            commands.push(format!("COPY {} {} REPLACE", quoted(copy), quoted(key)));
        }
        if !commands.is_empty() {
            // All or nothing: half of it would lose a queue.
            commands.insert(0, "MULTI".into());
            commands.push("EXEC".into());
            stand.redis(&broker, &commands)?;
        }
        Ok((format!("{} queue keys put back", copies.len()), json!({ "keys": copies.len() })))
    })
}

/// Forgets the copies of runs, by id: they live and die with the clone. What a failed version had left
/// stays with the failed database.
pub fn forget_copies(ctx: &Ctx<'_>, step: &str, which: impl Fn(&str) -> bool) -> Result<()> {
    forget(ctx, step, which, &["ff:freeze:*", "ff:thawed:*"])
}

/// Forgets everything of other runs.
pub fn forget_others(ctx: &Ctx<'_>, step: &str, keep: &str) -> Result<()> {
    forget(ctx, step, |of| of != keep, &["ff:freeze:*", "ff:failed:*", "ff:thawed:*"])
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
