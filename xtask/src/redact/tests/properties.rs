//! Any text, any known values, any split: a stream says what the whole says, and no known value.

use super::super::{Learned, Redactor};
use crate::property::hold;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;

/// Values that are long and unlike words; whatever else may be in them.
fn secret() -> impl Strategy<Value = String> {
    let inner = prop_oneof![
        3 => "[a-zA-Z0-9]{4,10}",
        2 => "[\\PC]{3,8}",
        1 => "[$'\"\\\\&<>%+/= .\\[\\](){}*|^?-]{2,6}",
    ];
    (inner, "[A-Z][0-9][a-z]", "[\\PC]{0,4}")
        .prop_map(|(a, b, c)| format!("q{a}{b}{c}zX7").trim().to_string())
}

/// What output is made of, with places for the values.
#[derive(Debug, Clone)]
enum Piece {
    Text(String),
    Secret(Index),
    /// In JSON, as a program would print it.
    Json(Index),
    /// The value of a sensitive key, or of a URL.
    Keyed(&'static str, Index),
}

fn piece() -> impl Strategy<Value = Piece> {
    let at = any::<Index>;
    let words = vec![
        "\n",
        "\n",
        "\r\n",
        " ",
        "DETAIL:  Key (a)=(",
        ") already exists.",
        "ERROR:  invalid input syntax: \"",
        "\"",
        "postgres-1  | ",
        "{\"a\":\"",
        "COPY t, line 3: \"",
        "INSERT 0 1",
        "password=",
        "мир ",
        "***",
        "\\",
        "'",
        "-----BEGIN",
        "STATEMENT:  select ",
        "\t",
        "https://u:",
        "@h/",
    ];
    prop_oneof![
        4 => proptest::sample::select(words).prop_map(|w| Piece::Text(w.into())),
        2 => "\\PC{0,8}".prop_map(Piece::Text),
        3 => at().prop_map(Piece::Secret),
        1 => at().prop_map(Piece::Json),
        1 => (proptest::sample::select(vec!["PGPASSWORD=", "--password ", "token: ", "redis://:"]), at())
            .prop_map(|(key, at)| Piece::Keyed(key, at)),
    ]
}

fn text(pieces: &[Piece], secrets: &[String]) -> String {
    let one = |piece: &Piece| match piece {
        Piece::Text(text) => text.clone(),
        Piece::Secret(at) => at.get(secrets).clone(),
        Piece::Json(at) => serde_json::to_string(at.get(secrets)).unwrap(),
        Piece::Keyed(key, at) => format!("{key}{}", at.get(secrets)),
    };
    pieces.iter().map(one).collect()
}

/// A redactor that knows the values, and those that it masks wherever they stand.
fn knowing(secrets: &[String]) -> (Redactor, Vec<String>) {
    let redactor = Redactor::new();
    let mut strong = Vec::new();
    for (number, secret) in secrets.iter().enumerate() {
        if redactor.learn(&format!("K{number}_PASSWORD"), secret) == Learned::Strong {
            strong.push(secret.clone());
        }
    }
    (redactor, strong)
}

fn split(bytes: &[u8], cuts: &[Index]) -> Vec<Vec<u8>> {
    let mut at: Vec<usize> = cuts.iter().map(|c| c.index(bytes.len() + 1)).collect();
    at.sort_unstable();
    at.insert(0, 0);
    at.push(bytes.len());
    at.windows(2).map(|w| bytes[w[0]..w[1]].to_vec()).collect()
}

#[test]
fn a_stream_says_what_the_whole_says_and_no_known_value() {
    let input = (
        prop::collection::vec(secret(), 1..4),
        prop::collection::vec(piece(), 1..20),
        prop::collection::vec(any::<Index>(), 0..8),
    );
    hold(150, input, |(secrets, pieces, cuts)| {
        let (redactor, strong) = knowing(&secrets);
        let text = text(&pieces, &secrets);
        let whole = redactor.output(&text);
        let mut stream = redactor.stream();
        let mut out = Vec::new();
        for chunk in split(text.as_bytes(), &cuts) {
            out.extend(stream.push(&chunk));
        }
        out.extend(stream.finish());
        prop_assert_eq!(String::from_utf8_lossy(&out), whole.as_str(), "rows, split");
        for masked in [&whole, &redactor.text(&text)] {
            for secret in &strong {
                prop_assert!(!masked.contains(secret), "{:?} in {:?} of {:?}", secret, masked, text);
            }
        }
        Ok(())
    });
}

#[test]
fn what_is_masked_once_is_masked_and_a_text_without_secrets_stays() {
    let input =
        (prop::collection::vec(secret(), 1..4), prop::collection::vec(piece(), 1..12), "[a-z0-9 .,\n]{0,60}");
    hold(150, input, |(secrets, pieces, plain)| {
        let (redactor, _) = knowing(&secrets);
        // A mask right behind a mask becomes one: words are apart here.
        let words: Vec<String> = pieces.iter().map(|p| text(std::slice::from_ref(p), &secrets)).collect();
        let once = redactor.text(&words.join(" ; "));
        prop_assert_eq!(redactor.text(&once), once.as_str(), "masks are not masked again");
        prop_assert_eq!(redactor.output(&plain), plain);
        Ok(())
    });
}

/// A document with values in its texts, at any depth.
fn document(secrets: &[String], pieces: &[Vec<Piece>]) -> Value {
    let mut value = Value::Null;
    for (depth, piece) in pieces.iter().enumerate() {
        let text = text(piece, secrets);
        value = match depth % 3 {
            0 => serde_json::json!({ "n": depth, "message": text, "inner": value }),
            1 => serde_json::json!([text, value, true, 1.5]),
            _ => serde_json::json!({ "PASSWORD": text, "log": value.to_string() }),
        };
    }
    value
}

#[test]
fn a_document_stays_one_with_its_numbers_and_without_the_values() {
    let input = (
        prop::collection::vec(secret(), 1..4),
        prop::collection::vec(prop::collection::vec(piece(), 0..5), 1..4),
    );
    hold(150, input, |(secrets, pieces)| {
        let (redactor, strong) = knowing(&secrets);
        let document = document(&secrets, &pieces);
        let masked = redactor.output(&document.to_string());
        let read: Result<Value, _> = serde_json::from_str(&masked);
        let Ok(read) = read else {
            return Err(TestCaseError::fail(format!("no document: {masked}\nof {document}")));
        };
        prop_assert_eq!(read["n"].as_u64(), document["n"].as_u64());
        let plain = read.to_string();
        for secret in &strong {
            prop_assert!(!masked.contains(secret) && !plain.contains(secret), "{:?} in {}", secret, masked);
        }
        Ok(())
    });
}

#[test]
fn the_values_of_a_row_are_cut_wherever_the_chunks_end() {
    let input =
        ("[a-z0-9й][a-z0-9 й,.'-]{6,20}[a-z0-9]", any::<bool>(), prop::collection::vec(any::<Index>(), 0..6));
    hold(150, input, |(value, prefixed, cuts)| {
        let line = if prefixed { "postgres-1  | 2026-11-23 22:20:46.3 UTC [1] " } else { "" };
        let text = format!(
            "{line}ERROR:  duplicate key value violates unique constraint \"k\"\n{line}DETAIL:  Key (a)=({value}) already exists.\n\
             {line}DETAIL:  Failing row contains (1, {value}).\n{line}ERROR:  invalid input syntax for type integer: \"{value}\"\nINSERT 0 1\n"
        );
        let mut stream = Redactor::new().stream();
        let mut out: Vec<u8> = split(text.as_bytes(), &cuts).iter().flat_map(|c| stream.push(c)).collect();
        out.extend(stream.finish());
        let out = String::from_utf8_lossy(&out);
        prop_assert!(!out.contains(&value) && out.ends_with("INSERT 0 1\n"), "{}", out);
        prop_assert_eq!(out.matches("[row values cut]").count(), 4, "{}", out);
        Ok(())
    });
}
