//! The other spellings in which a secret can appear in output. Encoders only.

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// `%41`-style, everything but unreserved characters; hex in capitals or not.
pub(super) fn percent(value: &str, capitals: bool) -> String {
    let mut out = String::new();
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else if capitals {
            out.push_str(&format!("%{byte:02X}"));
        } else {
            out.push_str(&format!("%{byte:02x}"));
        }
    }
    out
}

/// Undoes `%41`; a stray `%` stays.
pub(super) fn unpercent(value: &str) -> String {
    let bytes = value.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let pair = value.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        if let Some(byte) = pair.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            out.push(byte);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// What a value shows of itself in the base64 of any longer text: one string for
/// each of the three ways in which it can lie across the groups of three bytes.
pub(super) fn base64_cores(value: &[u8]) -> Vec<String> {
    (0..3usize)
        .filter_map(|skip| {
            let rest = value.get(skip..)?;
            let whole = &rest[..rest.len() / 3 * 3];
            (whole.len() >= 6).then(|| base64(whole))
        })
        .collect()
}

/// Bytes of a value that are looked for by themselves in base64: too many to occur by accident, and
/// whole groups of three.
const PIECE: usize = 12;
/// Of longer values not every piece is looked for.
const LONG: usize = 512;

/// What base64 that is wrapped shows of a value in one of its lines: pieces of it. Values that are
/// hardly longer than a piece have none.
pub(super) fn base64_pieces(value: &[u8]) -> Vec<String> {
    if value.len() < 2 * PIECE {
        return Vec::new();
    }
    // A line holds 48 bytes or more and begins with a group: in 33 bytes there are three pieces, one for
    // each of the ways in which the value can lie across the groups.
    let step = if value.len() > LONG { 11 } else { 1 };
    value.windows(PIECE).step_by(step).map(base64).collect()
}

/// Standard base64 of whole groups of three bytes.
fn base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() / 3 * 4);
    for group in bytes.chunks_exact(3) {
        let word = u32::from(group[0]) << 16 | u32::from(group[1]) << 8 | u32::from(group[2]);
        for shift in [18, 12, 6, 0] {
            out.push(char::from(STANDARD[(word >> shift & 63) as usize]));
        }
    }
    out
}

/// Inside a JSON string: `"` as `\"`, a newline as `\n`.
pub(super) fn json(value: &str) -> String {
    let quoted = serde_json::Value::from(value).to_string();
    quoted[1..quoted.len() - 1].to_string()
}

/// The same by Go, docker's language: `&`, `<` and `>` by number.
pub(super) fn json_of_go(json: &str) -> String {
    json.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e")
}

/// The same by Python's json: ASCII only.
pub(super) fn json_of_python(json: &str) -> String {
    let mut out = String::new();
    for c in json.chars() {
        match c {
            ' '..='~' => out.push(c),
            _ => c.encode_utf16(&mut [0; 2]).iter().for_each(|u| out.push_str(&format!("\\u{u:04x}"))),
        }
    }
    out
}

/// In Python's `'...'`.
pub(super) fn repr(value: &str) -> String {
    value.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n").replace('\t', "\\t")
}

/// In Python's `b'...'`.
pub(super) fn repr_bytes(value: &str) -> String {
    let byte = |b: u8| match b {
        b' '..=b'~' => char::from(b).to_string(),
        _ => format!("\\x{b:02x}"),
    };
    repr(value).bytes().map(byte).collect()
}

/// As dumps have it, and `bytea`.
pub(super) fn hex(value: &str, capitals: bool) -> String {
    let hex = crate::fsx::hex(value.as_bytes());
    if capitals { hex.to_uppercase() } else { hex }
}

/// As Windows programs write it when they think in UTF-16.
pub(super) fn utf16(value: &str) -> Vec<u8> {
    value.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_goes_there_and_back() {
        assert_eq!(percent("p@ss:w/ö", true), "p%40ss%3Aw%2F%C3%B6");
        assert_eq!(percent("p@ss:w/", false), "p%40ss%3aw%2f");
        assert_eq!(unpercent("p%40ss%3Aw%2F%C3%B6"), "p@ss:w/ö");
        assert_eq!(unpercent("100%"), "100%");
        assert_eq!(unpercent("%zz%4"), "%zz%4");
        assert_eq!(unpercent("%ö"), "%ö");
    }

    #[test]
    fn base64_shows_the_core_of_a_value_wherever_it_lies() {
        assert_eq!(base64(b"abcdef"), "YWJjZGVm");
        // printf 'user:hunter2hunter2' , then behind `:` and `u:`, through base64(1).
        let cores = base64_cores(b"hunter2hunter2");
        for whole in ["aHVudGVyMmh1bnRlcjI=", "Omh1bnRlcjJodW50ZXIy", "dTpodW50ZXIyaHVudGVyMg=="] {
            assert!(cores.iter().any(|c| whole.contains(c)), "{whole} {cores:?}");
        }
        assert!(base64_cores(b"short").is_empty());
    }

    /// Unlike itself everywhere.
    fn value(length: usize) -> String {
        let hashes = (0..).flat_map(|n: u32| crate::fsx::sha256(&n.to_le_bytes()).into_bytes());
        hashes.take(length).map(char::from).collect()
    }

    #[test]
    fn a_line_of_wrapped_base64_shows_a_piece_of_the_value_wherever_it_was_broken() {
        for (length, enough) in [(24, 14), (40, 14), (64, 14), (300, 14), (513, 48), (3000, 48)] {
            let value = value(length);
            let pieces = base64_pieces(value.as_bytes());
            for (before, columns) in (0..60).flat_map(|before| [(before, 64), (before, 76)]) {
                let mut text = format!("{}{value}", ".".repeat(before));
                text.push_str(&" ".repeat(3 - text.len() % 3));
                let encoded = base64(text.as_bytes());
                let (from, to) = (before, before + length);
                for (number, line) in encoded.as_bytes().chunks(columns).enumerate() {
                    let begins = number * columns / 4 * 3;
                    let held = to.min(begins + columns / 4 * 3).saturating_sub(from.max(begins));
                    let line = String::from_utf8_lossy(line);
                    let seen = pieces.iter().any(|p| line.contains(p));
                    assert!(seen || held < enough, "{held} of {length} bytes behind {before} in {columns}");
                }
            }
        }
        assert!(base64_pieces(value(23).as_bytes()).is_empty());
    }

    #[test]
    fn json_and_utf16() {
        assert_eq!(json_of_go("a&b<c>"), "a\\u0026b\\u003cc\\u003e");
        assert_eq!(json_of_python("aé😀\\n"), "a\\u00e9\\ud83d\\ude00\\n");
        assert_eq!((repr("a'b\\"), repr_bytes("é'")), ("a\\'b\\\\".into(), "\\xc3\\xa9\\'".into()));
        assert_eq!((hex("aZ\n", true), hex("aZ\n", false)), ("615A0A".into(), "615a0a".into()));
        assert_eq!(json("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
        assert_eq!(utf16("ab"), b"a\0b\0");
    }
}
