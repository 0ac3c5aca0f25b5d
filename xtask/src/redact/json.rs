//! Documents of JSON in one line: whatever is masked or cut in them, they stay documents.

use super::line::Span;
use super::quotes;

/// Where the contents of the texts of a document lie, keys among them. None if this is no document.
pub(super) fn texts(line: &[u8]) -> Option<Vec<(usize, usize)>> {
    let outer = line.first().is_some_and(|b| b"{[".contains(b));
    if !outer || serde_json::from_slice::<serde::de::IgnoredAny>(line).is_err() {
        return None;
    }
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(from) = line[at..].iter().position(|b| *b == b'"').map(|p| at + p + 1) {
        let to = from + quotes::end(&line[from..], b'"', 0);
        found.push((from, to));
        at = (to + 1).min(line.len());
    }
    Some(found)
}

/// Keeps each span inside the text that it begins in. One that is a whole list becomes one for each of its texts.
pub(super) fn fit(line: &[u8], spans: Vec<Span>, texts: &[(usize, usize)]) -> Vec<Span> {
    let mut fitting = Vec::with_capacity(spans.len());
    for span in spans {
        let within = texts.iter().find(|(from, to)| (*from..=*to).contains(&span.start));
        match within {
            Some((from, to)) if span.end > *to => {
                let list = span.start == *from;
                for (from, to) in texts.iter().filter(|t| list && t.0 >= *from && t.0 < span.end) {
                    fitting.push(span.part(*from, *to));
                }
                if !list {
                    fitting.push(span.part(span.start, *to));
                }
            }
            // Between the texts only numbers are values.
            None if !is_number(&line[span.start..span.end]) => {
                let inside = texts.iter().filter(|(from, to)| *from >= span.start && *to <= span.end);
                fitting.extend(inside.map(|(from, to)| span.part(*from, *to)));
            }
            _ => fitting.push(span),
        }
    }
    fitting
}

/// A number, or several of a list.
pub(super) fn is_number(value: &[u8]) -> bool {
    value.first().is_some_and(|b| b.is_ascii_digit() || *b == b'-')
        && value.iter().all(|b| b"0123456789-+.eE, ".contains(b))
}
