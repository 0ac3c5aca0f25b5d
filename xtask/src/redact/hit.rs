//! One place of a line that is to be masked, and how the line looks afterwards.

use regex::Regex;

/// What stands in the place of a value.
pub(super) const MASK: &str = "***";
/// The same where a bare number stood in JSON: it has to stay a value.
pub(super) const QUOTED_MASK: &str = "\"***\"";
/// What stands in the place of a quoted part of an error.
pub(super) const CUT: &str = "[cut]";

/// `start..end` is masked. `from..to` is what had to be seen to know that: a long line is never
/// divided inside of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Hit {
    pub from: usize,
    pub to: usize,
    pub start: usize,
    pub end: usize,
    pub mask: &'static str,
}

impl Hit {
    pub(super) fn new(from: usize, start: usize, end: usize, mask: &'static str) -> Hit {
        Hit { from, to: end, start, end, mask }
    }
}

/// A built-in pattern; `(?-u)` keeps it to ASCII classes, which are small and fast.
pub(super) fn builtin(pattern: &str) -> Regex {
    match Regex::new(pattern) {
        Ok(regex) => regex,
        // To go on without it would let secrets through. Every built-in pattern is compiled by a test.
        Err(error) => panic!("built-in pattern: {error}"),
    }
}

/// Appends `line` to `out`, with every hit masked. Overlapping hits become one.
pub(super) fn apply(line: &str, mut hits: Vec<Hit>, out: &mut String) {
    hits.sort_by_key(|h| (h.start, std::cmp::Reverse(h.end)));
    let mut done = 0;
    let mut pending: Option<(usize, usize, &str)> = None;
    for hit in hits {
        let start = whole_escape(line, hit.start);
        match pending {
            Some((first, end, mask)) if start < end => {
                let wider = if hit.mask.len() > mask.len() { hit.mask } else { mask };
                pending = Some((first, end.max(hit.end), wider));
            }
            _ => {
                flush(line, pending, &mut done, out);
                pending = Some((start, hit.end, hit.mask));
            }
        }
    }
    flush(line, pending, &mut done, out);
    out.push_str(&line[done..]);
}

fn flush(line: &str, pending: Option<(usize, usize, &str)>, done: &mut usize, out: &mut String) {
    if let Some((start, end, mask)) = pending {
        let start = start.max(*done);
        out.push_str(&line[*done..start]);
        out.push_str(mask);
        *done = end.max(start);
    }
}

/// A lone backslash before a mask would make an escape of its first letter: `\n` + value.
fn whole_escape(line: &str, start: usize) -> usize {
    start - run_of_backslashes(line, start) % 2
}

/// How many backslashes stand right before `at`.
pub(super) fn run_of_backslashes(line: &str, at: usize) -> usize {
    line.as_bytes()[..at].iter().rev().take_while(|b| **b == b'\\').count()
}

/// Where the quote ends that was opened by `quote` after `level` backslashes. Texts within texts
/// have 0, 1, 3, 7... of them; more stand for a quote that belongs to the content.
pub(super) fn closing(line: &str, from: usize, quote: char, level: usize) -> Option<usize> {
    line[from..].match_indices(quote).map(|(at, _)| from + at).find_map(|at| {
        let run = run_of_backslashes(line, at).min(at - from);
        let ends = if run < level { run % 2 == 1 || run == 0 } else { run % (2 * (level + 1)) == level };
        ends.then_some(at - run.min(level))
    })
}

/// Does `at` lie inside a double-quoted text of this line?
pub(super) fn inside_quotes(line: &str, at: usize) -> bool {
    line[..at].match_indices('"').filter(|(i, _)| run_of_backslashes(line, *i) % 2 == 0).count() % 2 == 1
}
