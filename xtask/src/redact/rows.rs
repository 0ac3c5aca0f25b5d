//! Cuts row values that PostgreSQL prints: one line at a time, with memory of
//! what a line has left open. The wording is in `rows_text`.

use super::{json, rows_text as text};

/// Stands for the cut; a cut line keeps its label, a cut value its quotes.
pub(super) const CUT: &str = "[row values cut]";

/// What the row cutter makes of a line.
#[derive(Debug, PartialEq)]
pub(super) enum Cut {
    /// The line belongs to a cut above it: it vanishes.
    Vanish,
    /// A mark takes the place of each of these ranges.
    Ranges(Vec<(usize, usize)>),
}

/// How a cut can go on in the next lines.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Next {
    /// The server's log: continuation lines begin with a tab.
    Tabs,
    /// The same before the first line of a tail: what they continue stands before it.
    Before,
    /// `Key (..)=(..) already exists.`, whose value can hold line breaks.
    Row,
    /// Other details: sentences.
    Sentence,
    /// Context: SQL in quotes (open or not), then the calling functions.
    Context { open: bool },
    /// Until the next label.
    Label,
    /// SQLAlchemy's `[SQL: ...]`.
    Bracket,
    /// The caret under the text of `LINE n:`.
    Caret,
    /// A value in quotes, in the error itself.
    Quote,
    /// Data after `COPY ... FROM stdin`.
    Data,
}

struct Open {
    source: Vec<u8>,
    next: Next,
}

/// The cutter of one stream of lines.
#[derive(Default)]
pub(super) struct Rows {
    open: Vec<Open>,
    /// How the cut of the line judged last would go on.
    pending: Option<Next>,
}

pub(super) use text::signs;

impl Rows {
    /// For the end of a log: it may begin inside a statement whose label is not in it.
    pub(super) fn of_tail() -> Rows {
        Rows { open: vec![Open { source: Vec::new(), next: Next::Before }], pending: None }
    }

    /// No cut is open: lines of no interest need not be shown to the cutter.
    pub(super) fn calm(&self) -> bool {
        self.open.is_empty()
    }

    /// Judges a line without its line break and what a collector put before it.
    /// `whole`: the text begins where the line begins; `partial`: more of it follows.
    pub(super) fn line(&mut self, source: &[u8], body: &[u8], whole: bool, partial: bool) -> Cut {
        self.pending = None;
        let open = self.open.iter().position(|o| o.source == source).filter(|_| whole);
        if let Some(at) = open {
            match follow(self.open[at].next, body) {
                After::Cut(next) => {
                    self.open[at].next = next;
                    return Cut::Vanish;
                }
                After::CutFirst => {
                    self.open.remove(at);
                    self.pending = Some(Next::Tabs);
                    return Cut::Ranges(vec![(0, body.len())]);
                }
                After::CutLast => {
                    self.open.remove(at);
                    return Cut::Vanish;
                }
                After::Over => drop(self.open.remove(at)),
            }
        }
        if !partial && let Some(texts) = json::texts(body) {
            let inside = |(from, to): (usize, usize)| {
                let cut = ranges(&body[from..to], false).0;
                cut.into_iter().map(move |(start, end)| (from + start, from + end))
            };
            return Cut::Ranges(texts.into_iter().flat_map(inside).collect());
        }
        let (mut ranges, next) = ranges(body, partial);
        self.pending = next.or_else(|| {
            let data = whole && !partial && text::COPY_DATA.is_match(body) && !body.ends_with(CUT.as_bytes());
            data.then(|| ranges.push((body.len(), body.len()))).map(|()| Next::Data)
        });
        Cut::Ranges(ranges)
    }

    /// The ranges were cut: their continuation is to be cut, too.
    pub(super) fn commit(&mut self, source: &[u8]) {
        let Some(next) = self.pending.take() else { return };
        self.open.retain(|o| o.source != source);
        // There are not that many services: forget the oldest.
        if self.open.len() >= 64 {
            self.open.remove(0);
        }
        self.open.push(Open { source: source.to_vec(), next });
    }
}

/// Ranges to cut from a line that continues nothing, and how the cut goes on.
fn ranges(body: &[u8], partial: bool) -> (Vec<(usize, usize)>, Option<Next>) {
    if let Some(label) = text::TAIL_OF.find(body) {
        // What stands right before a label was matched with it: a closing quote, say.
        let before = label.start() + usize::from(label.as_bytes().starts_with(b"\""));
        let (mut ranges, _) = quoted(&body[..before], false);
        let rest = &body[label.end()..];
        if rest.starts_with(CUT.as_bytes()) {
            return (ranges, None);
        }
        ranges.push((label.end(), body.len()));
        let first = body[..label.start()].trim_ascii().is_empty();
        return (ranges, goes_on(label.as_bytes(), rest, first));
    }
    let (ranges, open) = quoted(body, partial);
    (ranges, open.then_some(Next::Quote))
}

/// How a cut that begins with this label goes on. `first`: nothing stands before
/// the label, as in psql and drivers; the server's log has a time stamp there.
fn goes_on(label: &[u8], rest: &[u8], first: bool) -> Option<Next> {
    let has = |words: &[&str]| words.iter().any(|w| label.windows(w.len()).any(|l| l == w.as_bytes()));
    if has(&["LINE ", "СТРОКА "]) {
        return Some(Next::Caret);
    }
    if has(&["[parameters", "query argument"]) {
        return None;
    }
    if has(&["[SQL:"]) {
        return (!rest.trim_ascii_end().ends_with(b"]")).then_some(Next::Bracket);
    }
    if has(&["Command was", "QUERY", "ЗАПРОС"]) && first {
        return Some(Next::Label);
    }
    if has(&["CONTEXT", "КОНТЕКСТ"]) && first {
        return Some(Next::Context { open: odd_quotes(rest) });
    }
    if has(&["DETAIL", "ПОДРОБНОСТИ", "Failing", "Key (", "Ошибочная"]) && first {
        let row = [&b"Key ("[..], b"Failing row", "Ключ".as_bytes(), "Ошибочная строка".as_bytes()];
        let shows_row = !has(&["DETAIL", "ПОДРОБНОСТИ"]) || row.iter().any(|r| rest.starts_with(r));
        if shows_row && !text::ROW_END.is_match(rest) {
            return Some(Next::Row);
        }
        if !rest.trim_ascii_end().ends_with(b".") {
            return Some(Next::Sentence);
        }
    }
    Some(Next::Tabs)
}

/// What a line is to the cut above it.
enum After {
    Cut(Next),
    /// Its mark stands for the cut: none stands above.
    CutFirst,
    CutLast,
    Over,
}

fn follow(next: Next, body: &[u8]) -> After {
    if next == Next::Before {
        return if body.starts_with(b"\t") { After::CutFirst } else { After::Over };
    }
    if body.starts_with(b"\t") && next != Next::Data {
        // Inside the server's log; it closes nothing that psql would have opened.
        return match next {
            Next::Context { open } => After::Cut(Next::Context { open: open ^ odd_quotes(body) }),
            _ => After::Cut(next),
        };
    }
    if next == Next::Tabs || text::LABEL.is_match(body) {
        return After::Over;
    }
    let blank = body.trim_ascii().is_empty();
    match next {
        Next::Row if text::ROW_END.is_match(body) => After::CutLast,
        Next::Sentence if blank => After::Over,
        Next::Sentence if body.trim_ascii_end().ends_with(b".") => After::CutLast,
        Next::Context { open } if open || text::CALLER.is_match(body) => {
            After::Cut(Next::Context { open: open ^ odd_quotes(body) })
        }
        Next::Context { .. } => After::Over,
        Next::Bracket if body.trim_ascii_end().ends_with(b"]") => After::CutLast,
        Next::Caret if body.trim_ascii() == b"^" => After::CutLast,
        Next::Caret => After::Over,
        Next::Quote if body.contains(&b'"') => After::CutLast,
        Next::Data if body.trim_ascii_end() == b"\\." => After::CutLast,
        Next::Data
            if body.strip_prefix(b"COPY ").is_some_and(|n| n.trim_ascii().iter().all(u8::is_ascii_digit)) =>
        {
            After::Over
        }
        next => After::Cut(next),
    }
}

/// The quoted parts of an error of class 22 or 23. `true`: a quote is left open.
fn quoted(body: &[u8], partial: bool) -> (Vec<(usize, usize)>, bool) {
    if let Some(names) = text::NAMES.find(body) {
        return pairs(body, names.start());
    }
    let from = text::BEFORE.find(body).map(|m| (m.start(), true));
    let from = from.or_else(|| text::BEHIND.find(body).map(|m| (m.end(), false)));
    let from = from.or_else(|| text::OPEN.find(body).map(|m| (m.start(), false)));
    let Some((from, closed)) = from else { return (Vec::new(), false) };
    let Some(first) = body[from..].iter().position(|b| *b == b'"').map(|p| from + p + 1) else {
        return (Vec::new(), false);
    };
    if body[first..].starts_with(CUT.as_bytes()) {
        return (Vec::new(), false);
    }
    // In JSON the quote is `\"`, and the line is whole.
    if first > 1 && body[first - 2] == b'\\' {
        let last = body.windows(2).rposition(|w| w == b"\\\"").filter(|l| *l >= first && !partial);
        return (vec![(first, last.unwrap_or(body.len()))], false);
    }
    let last = body.iter().rposition(|b| *b == b'"').filter(|l| *l >= first && !partial);
    match last {
        // `"ab "cd`, and more in the next line: only what cannot be inside the value closes it.
        Some(last) if closed || closes(&body[last + 1..]) => (vec![(first, last)], false),
        _ => (vec![(first, body.len())], true),
    }
}

/// Is this what follows the last quote of an error?
fn closes(rest: &[u8]) -> bool {
    let rest = rest.trim_ascii();
    rest.is_empty()
        || rest.starts_with(b"at character ")
        || rest.starts_with(b": 0x")
        || rest.starts_with("(символ".as_bytes())
        || b",)}]'\\".contains(&rest[0])
}

/// Quoted identifiers with words between them, at most three.
fn pairs(body: &[u8], from: usize) -> (Vec<(usize, usize)>, bool) {
    let mut ranges = Vec::new();
    let mut at = from;
    while ranges.len() < 3 {
        let Some(start) = body[at..].iter().position(|b| *b == b'"').map(|p| at + p + 1) else { break };
        if at > from && body[at..start - 1].iter().any(|b| b.is_ascii_punctuation() && !b"-\\".contains(b)) {
            break;
        }
        let Some(end) = body[start..].iter().position(|b| *b == b'"').map(|p| start + p) else {
            ranges.push((start, body.len()));
            return (ranges, true);
        };
        let text = &body[start..end];
        if text != CUT.as_bytes() {
            ranges.push((start, end - usize::from(text.ends_with(b"\\"))));
        }
        at = end + 1;
    }
    (ranges, false)
}

fn odd_quotes(text: &[u8]) -> bool {
    text.iter().filter(|b| **b == b'"').count() % 2 == 1
}
