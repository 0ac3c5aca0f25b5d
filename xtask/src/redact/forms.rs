//! The other spellings of a value: percent-encoded, JSON-escaped, base64.

use std::fmt::Write;

/// Shorter pieces of base64 would match by chance.
const LEAST_PIECE: usize = 12;

/// Every spelling under which a value may turn up, the value itself among them.
pub(super) fn all(value: &str) -> Vec<String> {
    let mut forms = vec![
        value.to_string(),
        percent(value, false),
        percent(value, true),
        percent(value, false).replace("%20", "+"),
        json(value, false),
        json(value, true),
    ];
    // A JSON text within a JSON text.
    forms.push(json(&forms[4], false));
    for alphabet in [STANDARD, URL_SAFE] {
        let bytes = value.as_bytes();
        forms.push(base64(bytes, alphabet));
        // Inside a longer text the value may begin at any of three places of a group.
        for before in 0..3 {
            let piece = aligned(bytes, alphabet, before);
            if piece.len() >= LEAST_PIECE {
                forms.push(piece);
            }
        }
    }
    forms.sort();
    forms.dedup();
    forms
}

/// Percent-encoded; the hex digits in upper case or in lower.
fn percent(value: &str, lower: bool) -> String {
    let mut out = String::new();
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte as char);
        } else if lower {
            let _ = write!(out, "%{byte:02x}");
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// `%40` is `@`; what is no such pair stays.
pub(super) fn percent_decoded(value: &str) -> String {
    let mut out = Vec::new();
    let bytes = value.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let pair = (bytes[at] == b'%').then(|| value.get(at + 1..at + 3)).flatten();
        match pair.and_then(|p| u8::from_str_radix(p, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// As inside a JSON string; `ascii` the way Python writes it by default.
fn json(value: &str, ascii: bool) -> String {
    let mut out = String::new();
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 || (ascii && !c.is_ascii()) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    out
}

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Base64 without padding.
fn base64(bytes: &[u8], alphabet: &[u8; 64]) -> String {
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let word = group.iter().fold(0u32, |word, b| word << 8 | u32::from(*b)) << (8 * (3 - group.len()));
        for place in 0..=group.len() {
            out.push(alphabet[(word >> (18 - 6 * place) & 63) as usize] as char);
        }
    }
    out
}

/// The letters of base64 that the value alone decides when `before` bytes stand before it.
fn aligned(bytes: &[u8], alphabet: &[u8; 64], before: usize) -> String {
    let mut shifted = vec![0; before];
    shifted.extend_from_slice(bytes);
    let text = base64(&shifted, alphabet);
    let first = (before * 8).div_ceil(6);
    let whole = (shifted.len() * 8) / 6;
    text.get(first..whole).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_at_each_alignment() {
        assert_eq!(base64(b"hunter2hunter2", STANDARD), "aHVudGVyMmh1bnRlcjI");
        for before in 0..3 {
            let mut longer = vec![b'u'; before];
            longer.extend_from_slice(b"hunter2hunter2:and more");
            let piece = aligned(b"hunter2hunter2", STANDARD, before);
            assert!(base64(&longer, STANDARD).contains(&piece), "{before}: {piece}");
            assert!(piece.len() >= 17, "{piece}");
        }
    }

    #[test]
    fn spellings() {
        let forms = all("p@ss \"w\\rd ü");
        for form in ["p@ss \"w\\rd ü", "p%40ss%20%22w%5Crd%20%C3%BC", "p%40ss%20%22w%5crd%20%c3%bc"] {
            assert!(forms.contains(&form.to_string()), "{form}: {forms:?}");
        }
        assert!(forms.contains(&r#"p@ss \"w\\rd ü"#.to_string()));
        assert!(forms.contains(&r#"p@ss \"w\\rd \u00fc"#.to_string()));
        assert!(forms.contains(&r#"p@ss \\\"w\\\\rd ü"#.to_string()));
        assert_eq!(percent_decoded("p%40ss%2"), "p@ss%2");
        assert_eq!(percent_decoded("100%é"), "100%é");
    }
}
