//! Values in positions that name them: `KEY=value`, `key: value`, `"key": "value"`,
//! `--key value`, `["--key","value"]`, `PASSWORD 'value'`. The value is masked
//! whatever it is; this is what protects short and common passwords.

use super::line::begins_with_mark;
use super::reference::{defaults, is_reference, variable};
use super::rules::Rules;
use super::{is_blank, keys, prefix, quotes};

/// Ranges of the values of sensitive keys in one line. `whole` says that the
/// text begins where the line begins.
pub(super) fn values(line: &[u8], rules: &Rules, whole: bool) -> Vec<(usize, usize)> {
    let values = find(line, rules, whole).into_iter().map(|(_, value)| value);
    values.chain(defaults(line, &rules.keys)).collect()
}

/// Key and value of every position, for learning what stands inside a longer text.
pub(super) fn named<'t>(text: &'t str, rules: &Rules) -> Vec<(&'t str, &'t str)> {
    let pairs = find(text.as_bytes(), rules, false).into_iter().filter_map(|(key, value)| {
        Some((text.get(key.0..key.1)?.trim_start_matches('-'), text.get(value.0..value.1)?))
    });
    pairs.collect()
}

type Range = (usize, usize);

/// Ranges of keys and of their values.
fn find(line: &[u8], rules: &Rules, whole: bool) -> Vec<(Range, Range)> {
    let mut found: Vec<(Range, Range)> = Vec::new();
    for word in rules.words.find_iter(line) {
        if found.last().is_some_and(|(_, value)| word.start() < value.1) {
            continue;
        }
        if let Some(value) = value_of(line, word.start(), word.end(), rules, whole) {
            found.push(((word.start(), word.end()), value));
        }
    }
    found
}

fn value_of(line: &[u8], start: usize, end: usize, rules: &Rules, whole: bool) -> Option<(usize, usize)> {
    let word = std::str::from_utf8(&line[start..end]).ok()?;
    let key = word.trim_matches(|c| "-.".contains(c));
    if !rules.keys.is_sensitive(key) || word.ends_with('.') {
        return None;
    }
    let flag = word.starts_with('-');
    let before = &line[..start];
    // The name in `${NAME:-default}`: `defaults` sees to it.
    if before.ends_with(b"${") {
        return None;
    }
    let closing = closing_quote(&line[end..]);
    let mut at = end + closing;
    let gap = blanks(&line[at..]);
    at += gap;
    let rest = &line[at..];
    let quoted = closing > 0;
    let lower = key.to_ascii_lowercase();
    let next = rest.first().copied();
    let mut colon = false;
    let directive = lower == "requirepass" || lower == "masterauth";
    match next {
        Some(b'=') => at += 1 + usize::from(matches!(rest.get(1), Some(b'=' | b'>'))),
        Some(b':') if rest.get(1) == Some(&b'=') => at += 2,
        Some(b':') if rest.get(1) != Some(&b':') => {
            // `weak secrets: A` and `PASS: smoke` are prose; `image/app-secret:1.2` is a tag.
            let plural =
                ["pass", "auth", "secrets", "passwords", "credentials", "cookies"].contains(&lower.as_str());
            let prose = !quoted && (plural || in_path(before));
            if prose {
                return None;
            }
            colon = true;
            at += 1;
        }
        Some(b',') if flag && quoted => at += 1,
        Some(b'\'') if gap > 0 && !quoted && lower == "password" => {
            // A literal of SQL, where a quote is doubled.
            let literal = (at + 1, at + 1 + quotes::sql(&line[at + 1..]));
            let value = &line[literal.0..literal.1];
            return (!is_blank(value) && !is_reference(value)).then_some(literal);
        }
        Some(_) if gap > 0 && (flag || (!quoted && directive)) => {
            if rest.first() == Some(&b'-') {
                return None;
            }
        }
        _ => return None,
    }
    at += blanks(&line[at..]);
    let first = whole && !quoted && at_start(before);
    let open = if quoted { None } else { opening_quote(before) };
    let (start, end) = extent(line, at, first, colon, open)?;
    let start = start + scheme(&line[start..end]);
    let value = &line[start..end];
    // `pass=3 fail=0` counts tests.
    let counts = lower == "pass" && value.iter().all(u8::is_ascii_digit);
    let harmless = is_blank(value) || is_reference(value) || counts || keys::names_a_way(key, value);
    (!harmless).then_some((start, end))
}

/// Where the value that begins at `at` lies, without its quotes.
fn extent(
    line: &[u8],
    at: usize,
    first: bool,
    colon: bool,
    open: Option<(u8, usize)>,
) -> Option<(usize, usize)> {
    let rest = &line[at..];
    // b'..', r"..", f'..'
    let letter = usize::from(rest.len() > 1 && b"bBrRuUfF".contains(&rest[0]) && b"\"'".contains(&rest[1]));
    let level = quotes::level(&rest[letter..]);
    match &rest[letter + level..] {
        [quote @ (b'"' | b'\''), inner @ ..] => {
            // In a text its own closing quote opens nothing: `"PGPASSWORD=","next"`.
            if letter == 0 && level == 0 && quotes::is_closing(line, at, open) {
                return None;
            }
            let from = at + letter + level + 1;
            Some((from, from + quotes::end(inner, *quote, level)))
        }
        [b'{', ..] | [] => None,
        marked if begins_with_mark(marked) => None,
        [b'[', inner @ ..] if level == 0 => {
            let objects = inner.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{');
            let stop = quotes::bracket(inner);
            // From the first item to the last, inside the outermost quotes.
            let edge = |b: &&u8| b.is_ascii_whitespace() || matches!(b, b'"' | b'\'' | b'\\');
            let start = inner[..stop].iter().take_while(edge).count();
            let end = stop - inner[start..stop].iter().rev().take_while(edge).count();
            (!objects && start < end).then_some((at + 1 + start, at + 1 + end))
        }
        _ => {
            let end = at + bare(rest, first, colon, open);
            // `password: str = "value"`: the first word was a type.
            let after = end + blanks(&line[end..]);
            if colon && line.get(after) == Some(&b'=') {
                let value = after + 1 + blanks(&line[after + 1..]);
                return Some(extent(line, value, false, false, open).map_or((at, end), |(_, e)| (at, e)));
            }
            Some((at, end))
        }
    }
}

/// Length of a value without quotes of its own.
fn bare(rest: &[u8], first: bool, colon: bool, open: Option<(u8, usize)>) -> usize {
    // A whole element in quotes: `"PASSWORD=with, all"`, `-H 'X-Api-Key: abc'`.
    if let Some((quote, level)) = open
        && let Some(stop) = quotes::ends_at(rest, quote, level)
    {
        return stop;
    }
    // `<your password>`
    if rest.starts_with(b"<")
        && let Some(end) = rest.iter().take(60).position(|b| *b == b'>')
        && is_reference(&rest[..=end])
    {
        return end + 1;
    }
    let whole = variable(rest);
    // `A_PASSWORD=$B psql` of a shell.
    let word = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
    if rest.starts_with(b"$") && is_reference(&rest[..word]) {
        return word;
    }
    if whole > 0 && rest[whole..].first().is_none_or(|b| b.is_ascii_whitespace() || b"\"',;)]}&".contains(b))
    {
        return whole;
    }
    if first {
        // The line is this pair, as in env files and YAML, up to the next pair in it.
        let end =
            (0..rest.len()).find(|i| rest[*i] == b' ' && pair_follows(&rest[*i..])).unwrap_or(rest.len());
        return rest[..end].trim_ascii_end().len();
    }
    let stops: &[u8] = if colon { b"\"'" } else { b"\"'&;" };
    let mut end =
        rest.iter().position(|b| b.is_ascii_whitespace() || stops.contains(b)).unwrap_or(rest.len());
    while end > 0 && b")]},\\".contains(&rest[end - 1]) {
        end -= 1;
    }
    if scheme(&[&rest[..end], b" "].concat()) > 0 {
        let gap = blanks(&rest[end..]);
        return end + gap + bare(&rest[end + gap..], false, colon, None);
    }
    end
}

/// Length of the scheme in `Bearer abc`, which is not the secret.
fn scheme(value: &[u8]) -> usize {
    let word = value.iter().position(|b| *b == b' ').unwrap_or(0);
    let known =
        [&b"bearer"[..], b"basic", b"token", b"digest"].iter().any(|s| value[..word].eq_ignore_ascii_case(s));
    if known { word + blanks(&value[word..]) } else { 0 }
}

/// ` word=` or ` word: ` begins here.
fn pair_follows(rest: &[u8]) -> bool {
    let word = rest[1..].iter().take_while(|b| b.is_ascii_alphanumeric() || b"_-.".contains(b)).count();
    word > 0 && rest.get(1 + word) == Some(&b'=')
}

/// Length of the quote that ends a quoted key: `"`, `'`, `\"`.
fn closing_quote(rest: &[u8]) -> usize {
    match rest {
        [b'\\', b'"' | b'\'', ..] => 2,
        [b'"' | b'\'', ..] => 1,
        _ => 0,
    }
}

/// The quote that stands directly before a key, and how many backslashes before it.
fn opening_quote(before: &[u8]) -> Option<(u8, usize)> {
    let (quote, before) = before.split_last()?;
    matches!(quote, b'"' | b'\'').then(|| (*quote, quotes::run(before)))
}

/// Does the line begin with this key: indented, as a list item, exported?
fn at_start(before: &[u8]) -> bool {
    let before = before[prefix::length(before)..].trim_ascii();
    before.is_empty() || [&b"-"[..], b"export", b"set", b"ENV", b"ARG", b"+", b"$env:"].contains(&before)
}

/// Is this the tail of a path or an image name?
fn in_path(before: &[u8]) -> bool {
    matches!(before.last(), Some(b'/' | b'\\' | b'@'))
}

/// At most eight blanks: more is a table.
fn blanks(rest: &[u8]) -> usize {
    rest.iter().take(8).take_while(|b| matches!(b, b' ' | b'\t')).count()
}
