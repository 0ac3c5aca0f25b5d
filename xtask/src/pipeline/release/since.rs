//! What has changed since the plan was made. A person may have taken hours to
//! say yes to it.

use super::Flow;
use crate::error::Result;
use crate::lkg::{LastKnownGood, Store};
use crate::pipeline::prepare::Prepared;
use crate::stand::containers::Container;
use crate::stand::git::Dirt;
use std::collections::BTreeSet;

/// What has become of the stand: the way back is made of what the plan saw.
pub(super) fn other_stand(flow: &Flow<'_>, planned: &[Container]) -> Result<Option<String>> {
    let rid = |last: Option<&LastKnownGood>| last.map_or("none".to_string(), |l| l.rid.clone());
    let last = rid(Store::of(&flow.start.config.repo).last()?.as_ref());
    let known = rid(flow.prepared.last.as_ref());
    if last != known {
        return Ok(Some(format!("the last known good release was {known} and is {last} now")));
    }
    Ok(flow.facts.made_anew(planned))
}

/// What has changed in the checkout since the plan was made: another commit, or other edits of tracked
/// files. Files that git does not know may come from services that run in the checkout.
pub(super) fn moved_on(flow: &Flow<'_>) -> Result<Option<String>> {
    let stand = flow.start.stand;
    let Prepared { head, dirt, .. } = flow.prepared;
    let (head_now, dirt_now) = (stand.head()?, stand.dirt()?);
    if head_now != *head {
        return Ok(Some(format!("it was at {head} and is at {head_now} now")));
    }
    let edited = |of: &Dirt| of.content.iter().cloned().collect::<BTreeSet<_>>();
    let other: Vec<String> = edited(&dirt_now).symmetric_difference(&edited(dirt)).cloned().collect();
    Ok((!other.is_empty()).then(|| format!("edited meanwhile: {}", other.join(", "))))
}
