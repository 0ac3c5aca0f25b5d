//! What an error of PostgreSQL is about, read from whatever text it stands in.

use regex::bytes::{Regex, RegexBuilder};
use std::sync::LazyLock;

/// The SQLSTATE of a missing relation or column that a text tells of: by number, by the name that
/// psycopg2 gives it, or in PostgreSQL's own words. A number is one only where a word before it says
/// so: 42703 is a client's port or a part of a time stamp as well.
pub fn sqlstate_in(text: &str) -> Option<String> {
    static CODE: LazyLock<Regex> = LazyLock::new(|| {
        let told =
            r#"(?:ERROR|FATAL|ОШИБКА|SQLSTATE|sqlstate|pgcode|code)["']?[ :=(\[]{1,4}["']?(42P01|42703)\b"#;
        // Boundaries of ASCII: the library is built without Unicode's tables.
        RegexBuilder::new(told).unicode(false).build().unwrap_or_else(|why| panic!("{why}"))
    });
    let has = |needle: &str| text.contains(needle);
    let missing = has("does not exist");
    if let Some(code) = CODE.captures(text.as_bytes()) {
        Some(String::from_utf8_lossy(&code[1]).into_owned())
    } else if has("UndefinedTable") || (missing && has("relation ")) {
        Some("42P01".into())
    } else if has("UndefinedColumn") || (missing && has("column ")) {
        Some("42703".into())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_column_is_recognised_in_any_of_its_shapes() {
        let of = |text: &str| sqlstate_in(text);
        assert_eq!(
            of("psycopg2.errors.UndefinedColumn: column \"x\" does not exist").as_deref(),
            Some("42703")
        );
        assert_eq!(of("relation \"orders\" does not exist").as_deref(), Some("42P01"));
        assert_eq!(of("ERROR: 42P01").as_deref(), Some("42P01"));
        assert_eq!(of("{\"sqlstate\": \"42703\"}").as_deref(), Some("42703"));
        assert_eq!(of("database \"x\" does not exist"), None);
        // A time of day and a client's port, as they stand in the logs of services.
        assert_eq!(of("2026-11-25T15:50:43.224442703Z   File \"core.py\", line 760"), None);
        assert_eq!(of("INFO: 172.18.0.1:42703 - \"GET /health HTTP/1.1\" 200 OK"), None);
    }
}
