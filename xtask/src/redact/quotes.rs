//! Where a quoted text ends, also in a text within a text, where a quote is `\"`,
//! and in one within that, where it is `\\\"`.

/// How many backslashes a text begins with, if a quote follows them.
pub(super) fn level(text: &[u8]) -> usize {
    let run = text.iter().take_while(|b| **b == b'\\').count();
    if matches!(text.get(run), Some(b'"' | b'\'')) { run } else { 0 }
}

/// How many backslashes stand at the end of a text.
pub(super) fn run(before: &[u8]) -> usize {
    before.iter().rev().take_while(|b| **b == b'\\').count()
}

/// Length of a text that was opened by `quote` behind `level` backslashes. All there is, if it does not end.
pub(super) fn end(inner: &[u8], quote: u8, level: usize) -> usize {
    ends_at(inner, quote, level).unwrap_or(inner.len())
}

/// The same; none if it does not end here.
pub(super) fn ends_at(inner: &[u8], quote: u8, level: usize) -> Option<usize> {
    let quotes = inner.iter().enumerate().filter(|(_, b)| **b == quote);
    quotes.map(|(at, _)| (at, run(&inner[..at]))).find_map(|(at, run)| {
        // 0, 1, 3, 7...: more backslashes belong to the content, fewer to a text around this one.
        let closes = run < level || run % (2 * (level + 1)) == level;
        closes.then(|| at - run.min(level))
    })
}

/// Length of a literal of SQL, without its quote: `it''s`.
pub(super) fn sql(inner: &[u8]) -> usize {
    let mut at = 0;
    while at < inner.len() {
        match (inner[at], inner.get(at + 1)) {
            (b'\'', Some(b'\'')) => at += 2,
            (b'\'', _) => return at,
            _ => at += 1,
        }
    }
    inner.len()
}

/// Length of a list, up to its bracket; brackets in quotes do not count.
pub(super) fn bracket(inner: &[u8]) -> usize {
    let mut at = 0;
    while at < inner.len() {
        match inner[at] {
            b']' => return at,
            b'"' | b'\'' | b'\\' if level(&inner[at..]) > 0 || inner[at] != b'\\' => {
                let level = level(&inner[at..]);
                let from = at + level + 1;
                let Some(length) = ends_at(&inner[from..], inner[at + level], level) else {
                    return inner.len();
                };
                at = from + length + level + 1;
            }
            _ => at += 1,
        }
    }
    inner.len()
}

/// Is the quote at `at` the end of a text, and not the beginning of a value? `open` is what stands before the key.
pub(super) fn is_closing(line: &[u8], at: usize, open: Option<(u8, usize)>) -> bool {
    if open == Some((line[at], 0)) {
        return true;
    }
    let followed = line.get(at + 1).is_none_or(|b| b",]}:".contains(b));
    line[at] == b'"' && followed && inside(&line[..at])
}

/// Does a text end inside of double quotes?
pub(super) fn inside(before: &[u8]) -> bool {
    let quotes =
        before.iter().enumerate().filter(|(at, b)| **b == b'"' && run(&before[..*at]).is_multiple_of(2));
    quotes.count() % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_within_texts_end_at_their_own_quote() {
        for (text, level, length) in [
            (r#"abc" x""#, 0, 3),
            (r#"a\"b" x"#, 0, 4),
            (r#"a\\" x"#, 0, 3),
            (r#"abc\" x\""#, 1, 3),
            (r#"a\\\"b\" x"#, 1, 6),
            (r#"abc" x"#, 1, 3),
            (r#"a\\\"b"#, 3, 1),
            ("abc", 0, 3),
        ] {
            assert_eq!(end(text.as_bytes(), b'"', level), length, "{text} {level}");
        }
        assert_eq!(sql(b"it''s' x"), 5);
        assert_eq!(sql(b"it"), 2);
    }

    #[test]
    fn lists_end_at_their_own_bracket() {
        for (text, length) in
            [(r#""a]b","c"] x"#, 9), ("1,2] x", 3), (r#"\"a]\"] x"#, 6), ("1,2", 3), (r#""a]"#, 3)]
        {
            assert_eq!(bracket(text.as_bytes()), length, "{text}");
        }
    }
}
