//! Proves that services are up: running, healthy where a healthcheck exists,
//! the same container and restart count over a soak window. `up -d` exits with
//! 0 also when a service dies two seconds later.

use super::Ctx;
use crate::error::Result;
use crate::evidence::records::{Deploy, ServiceUp};
use crate::stand::Stand;
use crate::stand::containers::Container;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A service that was restarted this often since the deploy is in a crash loop.
const LOOPING: u32 = 2;

/// Waits until `services` run and stay as they are for the soak window.
/// `cancel` ends the wait when the result is no longer wanted.
pub fn prove(ctx: &Ctx<'_>, step: &str, services: &[String], cancel: &Arc<AtomicBool>) -> Result<Deploy> {
    let stand = ctx.stand(step)?;
    let soak = Duration::from_secs(ctx.config.deploy.soak_s);
    let limit = Duration::from_secs(ctx.config.deploy.timeout_s);
    ctx.waiting(step, format!("{} to run, then {} s soak", services.join(", "), soak.as_secs()), limit);
    let mut watch = Watch::new(services);
    let start = Instant::now();
    // Asking costs a core for 50 ms: the first question is not asked at once.
    let mut pause = Duration::from_millis(250);
    let mut ids: Vec<String> = Vec::new();
    loop {
        let now = look(&stand, services, &mut ids)?;
        let steady = watch.take(&now);
        let problems = watch.problems();
        let late = start.elapsed() > limit;
        let stopped = stand.exec.stopped() || cancel.load(Ordering::SeqCst);
        if !problems.is_empty() || late || stopped {
            let mut problems = problems;
            if stopped {
                problems.push("not waited for any longer".into());
            } else if late && problems.is_empty() {
                problems.push(format!(
                    "not up within {} s: {}",
                    limit.as_secs(),
                    watch.waiting_for(&now).join(", ")
                ));
            } else {
                // The first that dies twice need not be the only one.
                problems.extend(watch.shaky(&now));
            }
            return Ok(record(&now, soak, problems));
        }
        if steady.is_some_and(|since| since.elapsed() >= soak) {
            return Ok(record(&now, soak, Vec::new()));
        }
        // Not longer than what is left of the soak: its end is its end.
        let left = steady.map_or(pause, |since| soak.saturating_sub(since.elapsed()));
        std::thread::sleep(pause.min(left.max(Duration::from_millis(10))));
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

/// The services' containers: by id once all are known, which is one call instead of two.
fn look(stand: &Stand, services: &[String], ids: &mut Vec<String>) -> Result<Vec<Container>> {
    if ids.len() == services.len() {
        let known: Vec<&str> = ids.iter().map(String::as_str).collect();
        let found = stand.inspect(&known)?;
        if found.len() == ids.len() {
            return Ok(found);
        }
    }
    let mut all = stand.containers()?;
    all.retain(|c| services.contains(&c.service));
    *ids = all.iter().map(|c| c.id.clone()).collect();
    Ok(all)
}

fn record(now: &[Container], soak: Duration, problems: Vec<String>) -> Deploy {
    Deploy {
        services: now.iter().map(service_up).collect(),
        soak_ms: crate::clock::ms(soak),
        up: problems.is_empty(),
        problems,
        warnings: Vec::new(),
    }
}

pub fn service_up(c: &Container) -> ServiceUp {
    ServiceUp {
        service: c.service.clone(),
        container: c.id.clone(),
        image: c.image.clone(),
        state: c.state.clone(),
        health: c.health.clone(),
        started: c.started.clone(),
        restarts: c.restarts,
    }
}

/// What was seen of each service since the watch began.
struct Watch<'a> {
    services: &'a [String],
    /// Container id, start time and restart count, as last seen running.
    seen: BTreeMap<String, (String, String, u64)>,
    changes: BTreeMap<String, u32>,
    unhealthy: Vec<String>,
    last_exit: BTreeMap<String, i64>,
    since: Option<Instant>,
}

impl<'a> Watch<'a> {
    fn new(services: &'a [String]) -> Self {
        Watch {
            services,
            seen: BTreeMap::new(),
            changes: BTreeMap::new(),
            unhealthy: Vec::new(),
            last_exit: BTreeMap::new(),
            since: None,
        }
    }

    /// Takes a look; says since when everything has been good and unchanged.
    fn take(&mut self, now: &[Container]) -> Option<Instant> {
        let mut good = true;
        for service in self.services {
            let Some(c) = now.iter().find(|c| &c.service == service) else {
                good = false;
                continue;
            };
            let state = (c.id.clone(), c.started.clone(), c.restarts);
            let before = self.seen.insert(service.clone(), state.clone());
            if before.is_some_and(|b| b != state) {
                *self.changes.entry(service.clone()).or_default() += 1;
                self.since = None;
            }
            if c.exit_code != 0 {
                self.last_exit.insert(service.clone(), c.exit_code);
            }
            if c.health.as_deref() == Some("unhealthy") && !self.unhealthy.contains(service) {
                self.unhealthy.push(service.clone());
            }
            good &= c.running() && !matches!(c.health.as_deref(), Some("starting" | "unhealthy"));
        }
        if !good {
            self.since = None;
            return None;
        }
        Some(*self.since.get_or_insert_with(Instant::now))
    }

    fn problems(&self) -> Vec<String> {
        let looping = self.changes.iter().filter(|(_, n)| **n >= LOOPING).map(|(service, _)| {
            let code = self.last_exit.get(service).map(|c| format!(" (exit code {c})")).unwrap_or_default();
            format!("{service} does not stay up: it was restarted again and again{code}")
        });
        let unhealthy = self.unhealthy.iter().map(|s| format!("{s} is unhealthy"));
        looping.chain(unhealthy).collect()
    }

    /// Services beside a crash loop that were restarted once, or do not run.
    fn shaky(&self, now: &[Container]) -> Vec<String> {
        let changed = |s: &String| self.changes.get(s).copied().unwrap_or_default();
        let code =
            |s: &String| self.last_exit.get(s).map(|c| format!(" (exit code {c})")).unwrap_or_default();
        self.services
            .iter()
            .filter(|s| changed(s) < LOOPING)
            .filter_map(|s| match now.iter().find(|c| &c.service == s) {
                Some(c) if !c.running() => Some(format!("{s} is {}{}", c.state, code(s))),
                Some(_) if changed(s) > 0 => Some(format!("{s} was restarted, too{}", code(s))),
                _ => None,
            })
            .collect()
    }

    fn waiting_for(&self, now: &[Container]) -> Vec<String> {
        self.services
            .iter()
            .filter_map(|s| match now.iter().find(|c| &c.service == s) {
                None => Some(format!("{s} has no container")),
                Some(c) if !c.running() => Some(format!("{s} is {}", c.state)),
                Some(c) => c.health.as_ref().filter(|h| *h != "healthy").map(|h| format!("{s} is {h}")),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(started: &str, restarts: u64, state: &str, health: Option<&str>) -> Container {
        Container {
            id: "1".into(),
            service: "api".into(),
            image: "sha256:x".into(),
            state: state.into(),
            exit_code: if state == "running" { 0 } else { 1 },
            health: health.map(String::from),
            started: started.into(),
            restarts,
            hostname: "h".into(),
            config_hash: String::new(),
            binds: Vec::new(),
            ports: Vec::new(),
            env: Vec::new(),
            argv: Vec::new(),
        }
    }

    #[test]
    fn a_service_that_stays_is_steady() {
        let services = ["api".to_string()];
        let mut watch = Watch::new(&services);
        let c = [container("t1", 0, "running", None)];
        let first = watch.take(&c).unwrap();
        assert_eq!(watch.take(&c), Some(first));
        assert!(watch.problems().is_empty());
    }

    #[test]
    fn a_restart_begins_the_soak_anew_and_the_second_one_is_a_loop() {
        let services = ["api".to_string()];
        let mut watch = Watch::new(&services);
        let first = watch.take(&[container("t1", 0, "running", None)]).unwrap();
        std::thread::yield_now();
        let second = watch.take(&[container("t2", 1, "running", None)]).unwrap();
        assert!(second > first && watch.problems().is_empty());
        watch.take(&[container("t2", 1, "restarting", None)]);
        watch.take(&[container("t3", 2, "running", None)]);
        assert!(watch.problems()[0].contains("api does not stay up"), "{:?}", watch.problems());
    }

    #[test]
    fn a_crash_loop_names_the_others_that_do_not_run() {
        let services = ["api".to_string(), "beat".to_string()];
        let mut watch = Watch::new(&services);
        let beat = |state| Container { service: "beat".into(), ..container("b", 0, state, None) };
        for (started, restarts) in [("t1", 0), ("t2", 1), ("t3", 2)] {
            watch.take(&[container(started, restarts, "running", None), beat("running")]);
        }
        assert_eq!(watch.problems().len(), 1);
        assert!(watch.shaky(&[container("t3", 2, "running", None), beat("running")]).is_empty());
        let now = [container("t3", 2, "running", None), beat("restarting")];
        watch.take(&now);
        assert_eq!(watch.shaky(&now), ["beat is restarting (exit code 1)"]);
    }

    #[test]
    fn running_is_not_healthy() {
        let services = ["api".to_string()];
        let mut watch = Watch::new(&services);
        assert!(watch.take(&[container("t", 0, "running", Some("starting"))]).is_none());
        assert!(watch.take(&[container("t", 0, "running", Some("healthy"))]).is_some());
        assert!(watch.take(&[container("t", 0, "running", Some("unhealthy"))]).is_none());
        assert_eq!(watch.problems(), ["api is unhealthy"]);
    }

    #[test]
    fn a_missing_container_is_waited_for_by_name() {
        let services = ["api".to_string()];
        let mut watch = Watch::new(&services);
        assert!(watch.take(&[]).is_none());
        assert_eq!(watch.waiting_for(&[]), ["api has no container"]);
    }
}
