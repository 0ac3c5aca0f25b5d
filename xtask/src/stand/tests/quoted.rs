//! Words that go into another language: shell, SQL, names of databases.

use super::stand;
use crate::exec::Invocation;
use crate::property::hold;
use crate::stand::postgres::side_name;
use crate::stand::psql::{ident, literal};
use crate::stand::shell::quoted;
use proptest::prelude::*;

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,12}",
        "[\n\t\r '\"\\\\$`!*~#&;|<>(){}\\[\\]?%=-]{0,10}",
        Just("'\\''".to_string()),
        Just("$(exit 3)".to_string()),
        Just("-n".to_string()),
    ]
}

/// As a shell in a container gets its lines: by standard input.
#[cfg(unix)]
#[test]
fn what_goes_into_a_shell_as_a_word_comes_out_as_that_word() {
    let stand = stand(std::path::Path::new("/"));
    hold(60, (prop::collection::vec(word(), 1..20), word()), |(words, value)| {
        let line: Vec<String> = words.iter().map(|w| quoted(w)).collect();
        let inner = quoted("printf '%s\\0' \"$@\" \"$VALUE\"");
        let script = format!("( VALUE={} exec sh -c {inner} x {} )\n", quoted(&value), line.join(" "));
        let finished = stand.exec.run(&Invocation::new("sh").stdin(script).quiet()).unwrap();
        let expected: String = words.iter().chain([&value]).map(|w| format!("{w}\0")).collect();
        prop_assert_eq!(finished.text(), expected, "{}", finished.stderr);
        Ok(())
    });
}

/// Reads one quoted word of SQL, as the lexer of PostgreSQL does; what follows it.
fn unquoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix(quote)?;
    let mut word = String::new();
    loop {
        let (before, after) = rest.split_once(quote)?;
        word.push_str(before);
        let Some(more) = after.strip_prefix(quote) else { return Some((word, after)) };
        word.push(quote);
        rest = more;
    }
}

#[test]
fn names_and_texts_of_sql_end_where_they_should() {
    hold(500, (word(), word()), |(name, text)| {
        let sql = format!("{} = {};", ident(&name), literal(&text));
        let (read, rest) = unquoted(&sql, '"').unwrap();
        prop_assert_eq!(read, name);
        let (read, rest) = unquoted(rest.strip_prefix(" = ").unwrap(), '\'').unwrap();
        prop_assert_eq!((read, rest), (text, ";"));
        Ok(())
    });
}

/// In a database with this setting off a backslash in a text would hide its end.
#[test]
fn sessions_pin_that_a_backslash_is_a_backslash() {
    assert!(crate::stand::psql::PINS.contains("-c standard_conforming_strings=on"));
}

#[test]
fn a_side_name_fits_tells_purpose_and_run_and_is_the_databases_own() {
    let purpose = || proptest::sample::select(vec!["pre", "proof", "failed", "from", "undo"]);
    let id = || "2025[01][0-9][0-2][0-9]t[0-9]{6}_[0-9a-f]{4}";
    hold(
        300,
        ("[\\PC]{1,70}|й{1,40}|[a-z]{1,63}", purpose(), id(), purpose(), id()),
        |(name, a, x, b, y)| {
            let side = side_name(&name, a, &x);
            prop_assert!(side.len() <= 63, "{} bytes: {}", side.len(), side);
            let tail = format!("__{a}_{x}");
            let head = side.strip_suffix(&tail);
            prop_assert!(head.is_some_and(|h| !h.is_empty() && name.starts_with(h)), "{}", side);
            prop_assert!(name.len() + tail.len() > 63 || head == Some(&name));
            prop_assert_eq!(side == side_name(&name, b, &y), (a, x) == (b, y));
            Ok(())
        },
    );
}
