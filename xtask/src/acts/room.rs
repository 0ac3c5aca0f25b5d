//! Free space where a release needs it.

use super::Ctx;
use crate::error::{Context, Lane, Result};
use std::collections::BTreeMap;
use std::path::Path;

/// Free bytes where it matters.
pub fn free(ctx: &Ctx<'_>) -> BTreeMap<String, u64> {
    let mut free = BTreeMap::new();
    let backups = ctx.config.repo.join(&ctx.config.backup.directory);
    let place = backups.ancestors().find(|p| p.exists()).unwrap_or(Path::new("."));
    if let Ok(bytes) = fs4::available_space(place) {
        free.insert("backups".into(), bytes);
    }
    if let Ok(bytes) = of_database(ctx, "precheck") {
        free.insert("database".into(), bytes);
    }
    free
}

/// Free bytes on the volume that holds PGDATA.
pub fn of_database(ctx: &Ctx<'_>, step: &str) -> Result<u64> {
    let pg = ctx.pg(step)?;
    let script = "df -Pk \"${PGDATA:-/var/lib/postgresql/data}\"";
    let call = pg.stand.inside(&pg.container, &[], &["sh", "-c", script]);
    let text = pg.stand.exec.run(&call)?.success("ask for the free space of the database", Lane::A)?.text();
    let kilobytes: u64 = text
        .lines()
        .last()
        .and_then(|l| l.split_whitespace().nth(3))
        .and_then(|n| n.parse().ok())
        .context("df printed no free space")?;
    Ok(kilobytes * 1024)
}
