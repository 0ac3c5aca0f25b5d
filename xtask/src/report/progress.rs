//! How far something is, at which rate, and about how long it still takes.

use crate::event::Far;
use crate::fsx::human_bytes;
use std::time::Duration;

/// A rate over less than this is none.
const SHORT: Duration = Duration::from_secs(1);

/// `dumping app: about 3.1 GB of 10.2 GB, 80.1 MB/s, about 1 min left, 1.2 GB written`. The rate is that
/// since `first`, which was `elapsed` ago. The last part of what is itself estimated has no time: what is
/// left then is many small things, and 10 GB of a dump were seen to stay at "2 s left" for 40 s.
pub fn progress(what: &str, first: Far, now: Far, elapsed: Duration) -> String {
    if now == Far::default() {
        return what.into();
    }
    let about = if now.about { "about " } else { "" };
    let mut text = format!("{what}: {about}{}", human_bytes(now.done));
    if let Some(total) = now.total {
        text.push_str(&format!(" of {about}{}", human_bytes(total)));
    }
    let gained = now.done.saturating_sub(first.done);
    if elapsed > SHORT && gained > 0 {
        let rate = gained as f64 / elapsed.as_secs_f64();
        text.push_str(&format!(", {}/s", human_bytes(rate as u64)));
        let left = |total: u64| {
            total.checked_sub(now.done).filter(|left| *left > 0 && !(now.about && left < &(total / 30)))
        };
        if let Some(left) = now.total.and_then(left) {
            text.push_str(&format!(", {} left", time(left as f64 / rate)));
        }
    }
    if let Some(written) = now.written {
        text.push_str(&format!(", {} written", human_bytes(written)));
    }
    text
}

/// A guess needs no tenths.
fn time(seconds: f64) -> String {
    match seconds as u64 {
        s @ 0..=99 => format!("about {s} s"),
        s @ 100..=5_999 => format!("about {} min", (s + 30) / 60),
        s => format!("about {} h", (s + 1_800) / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn rate_and_what_is_left_are_those_since_the_first_look() {
        let (first, now) = (Far::of(1_000_000_000, 10_000_000_000), Far::of(3_000_000_000, 10_000_000_000));
        let said = progress("summing", first, now, S(20));
        assert_eq!(said, "summing: 3.0 GB of 10.0 GB, 100.0 MB/s, about 70 s left");
        let slow = progress("summing", first, now, S(2000));
        assert_eq!(slow, "summing: 3.0 GB of 10.0 GB, 1.0 MB/s, about 2 h left");
        let between = progress("summing", first, now, S(100));
        assert_eq!(between, "summing: 3.0 GB of 10.0 GB, 20.0 MB/s, about 6 min left");
    }

    #[test]
    fn nothing_is_guessed_from_nothing() {
        let far = Far::of(5_000_000, 9_000_000);
        assert_eq!(progress("x", far, far, S(60)), "x: 5.0 MB of 9.0 MB");
        assert_eq!(
            progress("x", Far::of(0, 9_000_000), far, Duration::from_millis(900)),
            "x: 5.0 MB of 9.0 MB"
        );
        let unknown = Far { done: 4_000_000, ..Far::default() };
        assert_eq!(progress("x", Far::default(), unknown, S(2)), "x: 4.0 MB, 2.0 MB/s");
    }

    #[test]
    fn an_estimate_is_called_one_and_never_more_than_the_whole() {
        let now = Far { written: Some(7_000), ..Far::about(11_000_000, 10_000_000) };
        let said = progress("dumping app", Far::about(0, 10_000_000), now, S(10));
        assert_eq!(said, "dumping app: about 10.0 MB of about 10.0 MB, 1.0 MB/s, 7.0 kB written");
        let nearly = progress("x", Far::about(0, 10_000_000), Far::about(9_800_000, 10_000_000), S(10));
        assert_eq!(nearly, "x: about 9.8 MB of about 10.0 MB, 980.0 kB/s");
        let before = progress("x", Far::about(0, 10_000_000), Far::about(9_000_000, 10_000_000), S(10));
        assert_eq!(before, "x: about 9.0 MB of about 10.0 MB, 900.0 kB/s, about 1 s left");
    }
}
