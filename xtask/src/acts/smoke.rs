//! Smoke: all checks side by side, each with its deadline. After a deploy a
//! check is asked again until it is good or its time is up; the quick smoke
//! asks once.

mod worker;

pub use worker::Warm;

use super::Ctx;
use crate::config::HttpCheck;
use crate::error::Result;
use crate::evidence::records::{Check, Smoke};
use crate::stand::http;
use crate::stand::sqlstate::sqlstate_in;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How patient a smoke is.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Until everything must be good.
    pub limit: Duration,
    /// How long an answer may be there and wrong.
    pub settle: Duration,
}

impl Patience {
    /// Once: what is not good now is not good.
    pub fn none() -> Patience {
        Patience { limit: Duration::from_secs(10), settle: Duration::ZERO }
    }
    /// After a deploy.
    pub fn of(config: &crate::config::Config) -> Patience {
        Patience {
            limit: Duration::from_secs(config.smoke.timeout_s),
            settle: Duration::from_secs(config.smoke.settle_s),
        }
    }
    /// After the previous version was brought back: all of it was good before, so an early wrong answer
    /// of a service that is starting is no verdict. Where something was not good before either, it is
    /// not waited for.
    pub fn back(config: &crate::config::Config, baseline: Option<&Smoke>) -> Patience {
        let usual = Patience::of(config);
        let all_good = baseline.is_none_or(|b| b.ok);
        Patience { settle: if all_good { usual.limit } else { usual.settle }, ..usual }
    }
}

/// How long the worker's checks let the API's first answer go before them, after a deploy: longer than
/// it takes on a slow machine, which is where it matters.
const API_FIRST: Duration = Duration::from_secs(5);

/// Runs every check. `told` gets each as soon as it is known.
pub fn run(
    ctx: &Ctx<'_>,
    step: &str,
    patience: Patience,
    cancel: &Arc<AtomicBool>,
    told: &(dyn Fn(&Check) + Sync),
) -> Result<Smoke> {
    run_warm(ctx, step, patience, cancel, None, told)
}

/// The same with a probe that was started before it was known what to ask.
pub fn run_warm(
    ctx: &Ctx<'_>,
    step: &str,
    patience: Patience,
    cancel: &Arc<AtomicBool>,
    warm: Option<Warm>,
    told: &(dyn Fn(&Check) + Sync),
) -> Result<Smoke> {
    let start = Instant::now();
    let log = ctx.run.log(step)?;
    let exec = ctx.exec(step)?.cancelled_by(cancel);
    let redactor = exec.redactor().clone();
    let headers = key_headers(&ctx.config.smoke.key_env);
    let (answering, answered) = std::sync::mpsc::channel::<()>();
    let tell = |check: Check| -> Check {
        if check.ok && check.name.starts_with("GET ") {
            let _ = answering.send(());
        }
        let check = Check { detail: brief(&redactor.output(&check.detail)), ..check };
        let word = if check.ok { "good" } else { "NOT GOOD" };
        log.say(&format!("{}: {word}, {} ms, {}", check.name, check.ms, check.detail));
        told(&check);
        check
    };
    let mut checks: Vec<Check> = std::thread::scope(|scope| {
        let web: Vec<_> = ctx
            .config
            .smoke
            .http
            .iter()
            .map(|check| {
                let (headers, tell, base) = (&headers, &tell, &ctx.facts.base_url);
                let exec = exec.clone();
                scope.spawn(move || tell(http_check(base, check, headers, patience, &|| exec.stopped())))
            })
            .collect();
        let (exec, tell) = (&exec, &tell);
        let worker = scope.spawn(move || {
            // Starting Python takes a core from services that are just starting: after a deploy the
            // API goes first, for a part of the time that all of them have.
            if !patience.settle.is_zero() {
                let _ = answered.recv_timeout(API_FIRST.min(patience.limit / 4));
            }
            worker::checks(ctx, step, exec, patience, warm, tell)
        });
        let mut all: Vec<Check> = web.into_iter().filter_map(|w| w.join().ok()).collect();
        all.extend(worker.join().unwrap_or_default());
        all
    });
    // A check whose thread died is not a check that was left out.
    for name in crate::plan::smoke_names(ctx.config, ctx.facts) {
        if !checks.iter().any(|c| c.name == name) {
            checks.push(Check { name, detail: "was not made".into(), ..Check::default() });
        }
    }
    let ok = !checks.is_empty() && checks.iter().all(|c| c.ok);
    Ok(Smoke { checks, ok, ms: crate::clock::ms_since(start) })
}

/// Enough of an answer to see what is wrong. Cut only once it is masked: half a secret is no longer
/// seen to be one.
fn brief(detail: &str) -> String {
    const MOST: usize = 300;
    match detail.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &detail[..end]),
        None => detail.into(),
    }
}

/// Journals the first good HTTP answer, the end of a downtime, and tells `serving`.
pub fn first_answer<'a>(
    ctx: &'a Ctx<'_>,
    step: &'a str,
    serving: impl Fn() + Sync + 'a,
) -> impl Fn(&Check) + Sync + 'a {
    let first = AtomicBool::new(true);
    move |check: &Check| {
        if check.ok && check.name.starts_with("GET ") && first.swap(false, Ordering::SeqCst) {
            // Only the figure of the downtime is lost when this cannot be written.
            let _ =
                ctx.run.journal.fact(step, "first good answer", serde_json::json!({ "check": check.name }));
            serving();
        }
    }
}

/// The architect key, in the three headers that the services know; never in argv, log or JSON.
fn key_headers(variable: &str) -> Vec<(String, String)> {
    match std::env::var(variable) {
        Ok(key) if !key.is_empty() => vec![
            ("X-Architect-Key".into(), key.clone()),
            ("X-FF-Architect-Key".into(), key.clone()),
            ("Authorization".into(), format!("Bearer {key}")),
        ],
        _ => Vec::new(),
    }
}

fn http_check(
    base: &str,
    check: &HttpCheck,
    headers: &[(String, String)],
    patience: Patience,
    stopped: &dyn Fn() -> bool,
) -> Check {
    let name = format!("GET {}", check.path);
    let url = format!("{base}{}", check.path);
    let mut headers = headers.to_vec();
    for (header, variable) in &check.headers {
        headers.extend(std::env::var(variable).ok().map(|value| (header.clone(), value)));
    }
    let start = Instant::now();
    let mut wrong_since: Option<Instant> = None;
    let mut pause = Duration::from_millis(20);
    loop {
        let left = patience.limit.saturating_sub(start.elapsed()).max(Duration::from_millis(100));
        let asked = Instant::now();
        let (verdict, answered) = match http::get(&url, &headers, left.min(Duration::from_secs(10))) {
            Ok(answer) => (http::judge(check, &answer), true),
            Err(reason) => (Err(reason), false),
        };
        // The last question's own time, not the waiting for the service before it.
        let ms = crate::clock::ms_since(asked);
        let reason = match verdict {
            Ok(detail) => return Check { name, ok: true, ms, detail, sqlstate: None },
            Err(reason) => reason,
        };
        if answered {
            wrong_since.get_or_insert(asked);
        } else {
            wrong_since = None;
        }
        let settled = wrong_since.is_some_and(|since| since.elapsed() >= patience.settle);
        let impatient = patience.settle.is_zero();
        if settled || impatient || start.elapsed() >= patience.limit || stopped() {
            let sqlstate = sqlstate_in(&reason);
            return Check { name, ok: false, ms, detail: reason, sqlstate };
        }
        std::thread::sleep(pause);
        pause = (pause * 3 / 2).min(Duration::from_millis(250));
    }
}

/// Checks that were green in the baseline and are not green now.
pub fn lost(baseline: &Smoke, now: &Smoke) -> Vec<String> {
    baseline
        .checks
        .iter()
        .filter(|before| before.ok && !now.checks.iter().any(|c| c.name == before.name && c.ok))
        .map(|c| c.name.clone())
        .collect()
}

/// A flag that is never raised.
pub fn never() -> Arc<AtomicBool> {
    Arc::new(AtomicBool::new(false))
}

/// Raises a flag.
pub fn raise(flag: &Arc<AtomicBool>) {
    flag.store(true, Ordering::SeqCst);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn smoke(checks: &[(&str, bool)]) -> Smoke {
        let checks = checks.iter().map(|(n, ok)| Check { name: (*n).into(), ok: *ok, ..Check::default() });
        Smoke { checks: checks.collect(), ..Smoke::default() }
    }

    #[test]
    fn what_was_good_before_has_all_the_time_to_be_good_again() {
        let none = std::path::Path::new("no-such-repository");
        let config = crate::config::load(none, &[], &crate::config::Overrides::default()).unwrap();
        let back = |ok| Patience::back(&config, Some(&Smoke { ok, ..Smoke::default() }));
        assert_eq!(back(true).settle, Duration::from_secs(config.smoke.timeout_s));
        assert_eq!(back(false).settle, Duration::from_secs(config.smoke.settle_s));
        assert_eq!(Patience::back(&config, None).settle, back(true).settle);
    }

    #[test]
    fn what_was_red_before_need_not_be_green_after() {
        let before = smoke(&[("a", true), ("b", false), ("c", true)]);
        assert!(lost(&before, &smoke(&[("a", true), ("b", false), ("c", true)])).is_empty());
        assert_eq!(lost(&before, &smoke(&[("a", false), ("b", true)])), ["a", "c"]);
    }

    #[test]
    fn a_long_answer_is_cut() {
        assert_eq!((brief("short"), brief(&"й".repeat(1000)).chars().count()), ("short".into(), 301));
    }
}
