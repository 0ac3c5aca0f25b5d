//! Text on its way through: whole lines, blocks of lines, lines without end.
//! What comes out depends on the text alone, not on how it was divided.

use super::hit::{Hit, apply, builtin};
use super::known::{Compiled, LONGEST};
use super::rows::Rows;
use regex::Regex;
use std::sync::LazyLock;

/// A longer line is masked in pieces.
pub(super) const WINDOW: usize = 64 << 10;
/// What a piece leaves to the next one, unless something found stands there.
const KEPT: usize = LONGEST + 256;
/// A key block with more lines than this is none.
const PEM_LINES: usize = 1000;

const PEM_MARK: &str = "***private key***";

static PEM_BEGIN: LazyLock<Regex> = LazyLock::new(|| builtin(r"(?-u)-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"));
static PEM_END: LazyLock<Regex> = LazyLock::new(|| builtin(r"(?-u)-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"));
/// A line of a key: base64 or a header, perhaps behind the prefix of a log.
static PEM_BODY: LazyLock<Regex> = LazyLock::new(|| {
    builtin(r#"^(?:[^|]{0,60}\| |[0-9T:.-]+Z )?[ \t+>"'-]*(?:[A-Za-z0-9+/=]*(?:\\[nr])*["',]*|[A-Za-z-]+: .*)[ \t]*\r?$"#)
});

#[derive(Default)]
pub(super) struct Lines {
    rows: Rows,
    /// Lines of a private key seen so far.
    pem: Option<usize>,
    /// The beginning of the line at hand is out already; it was cut to its end.
    inside: Option<bool>,
}

impl Lines {
    /// Masks the whole lines of `text` and, unless `last`, leaves its incomplete line. Returns how
    /// much was taken.
    pub(super) fn take(&mut self, compiled: &Compiled, text: &str, last: bool, out: &mut String) -> usize {
        let mut at = 0;
        while at < text.len() {
            if self.quiet() {
                let next = compiled.next(text, at).unwrap_or(text.len());
                let plain = text[at..next].rfind('\n').map_or(at, |i| at + i + 1);
                out.push_str(&text[at..plain]);
                at = plain;
                if at == text.len() {
                    break;
                }
            }
            let rest = &text[at..];
            match rest.find('\n') {
                Some(end) if end <= WINDOW => {
                    self.line(compiled, &rest[..end], "\n", out);
                    at += end + 1;
                }
                None if rest.len() <= WINDOW => {
                    if last {
                        self.line(compiled, rest, "", out);
                        at = text.len();
                    }
                    break;
                }
                _ => at += self.window(compiled, &rest[..rest.floor_char_boundary(WINDOW)], out),
            }
        }
        at
    }

    fn quiet(&self) -> bool {
        self.rows == Rows::None && self.pem.is_none() && self.inside.is_none()
    }

    /// One line, or the last piece of a long one.
    fn line(&mut self, compiled: &Compiled, line: &str, end: &str, out: &mut String) {
        let (line, end) = match line.strip_suffix('\r') {
            Some(line) => (line, &*format!("\r{end}")),
            None => (line, end),
        };
        match self.inside.take() {
            Some(true) => return out.push_str(end),
            Some(false) => {
                apply(line, compiled.hits(line), out);
                return out.push_str(end);
            }
            None => {}
        }
        if self.rows.goes_on(line) {
            return;
        }
        self.pem(compiled, line, end, out);
    }

    /// A line that may begin, go on with, or end a private key.
    fn pem(&mut self, compiled: &Compiled, line: &str, end: &str, out: &mut String) {
        if let Some(count) = self.pem {
            if let Some(found) = PEM_END.find(line) {
                self.pem = None;
                let rest = &line[found.end()..];
                if !rest.trim().is_empty() {
                    apply(rest, compiled.hits(rest), out);
                    out.push_str(end);
                }
                return;
            }
            if count < PEM_LINES && PEM_BODY.is_match(line) {
                self.pem = Some(count + 1);
                return;
            }
            self.pem = None;
        }
        let mut hits = compiled.hits(line);
        self.rows.cut(line, &mut hits);
        if let Some(open) = keys_within(line, &mut hits) {
            self.pem = open.then_some(0);
        }
        apply(line, hits, out);
        out.push_str(end);
    }

    /// A piece of a line that is longer than a window. Returns how much of it is out.
    fn window(&mut self, compiled: &Compiled, piece: &str, out: &mut String) -> usize {
        if self.inside == Some(true) {
            return piece.len();
        }
        let mut hits = compiled.hits(piece);
        if self.inside.is_none() {
            self.rows.cut(piece, &mut hits);
        }
        keys_within(piece, &mut hits);
        let mut cut = piece.floor_char_boundary(piece.len() - KEPT);
        hits.sort_by_key(|h| h.from);
        // Never through the middle of something found.
        while let Some(hit) = hits.iter().find(|h| h.from < cut && cut < h.to) {
            if hit.from == 0 {
                cut = hits.iter().filter(|h| h.from < cut).map(|h| h.to).max().unwrap_or(cut);
                break;
            }
            cut = hit.from;
        }
        self.inside = Some(self.rows != Rows::None && cut == piece.len());
        hits.retain(|h| h.from < cut);
        apply(&piece[..cut], hits, out);
        cut
    }
}

/// Private keys in a line; is the last one still open at its end?
fn keys_within(line: &str, hits: &mut Vec<Hit>) -> Option<bool> {
    let mut open = None;
    for begin in PEM_BEGIN.find_iter(line) {
        let end = PEM_END.find_at(line, begin.end());
        let rest = &line[begin.end()..];
        let quote = rest.find(['"', '\'']).map_or(line.len(), |i| begin.end() + i);
        let to = end.map_or(quote, |m| m.end());
        open = Some(end.is_none() && to == line.len());
        hits.push(Hit::new(begin.start(), begin.start(), to, PEM_MARK));
    }
    open
}
