//! A document of JSON stays one, whatever is masked or cut in it.

use super::super::Redactor;
use serde_json::Value;

fn redactor() -> Redactor {
    let redactor = Redactor::with_extra(&["inn".into()], &[r"POL-\d{6}".into()]).unwrap();
    redactor.learn("A_PASSWORD", "nabcdefgh-12");
    redactor.learn("B_PASSWORD", "q\"uo\\te-17");
    redactor.learn("C_TOKEN", "770708389312");
    redactor
}

#[test]
fn masks_stand_inside_texts() {
    for (text, masked) in [
        (r#"{"password":"abc","n":1}"#, r#"{"password":"***","n":1}"#),
        (r#"{"password": 12345678, "n":1}"#, r#"{"password": "***", "n":1}"#),
        (r#"{"m":"{\"password\": 12345}"}"#, r#"{"m":"{\"password\": \"***\"}"}"#),
        (r#"{"password": 770708389312}"#, r#"{"password": "***C_TOKEN***"}"#),
        (
            r#"{"tokens":1,"token":[1, 2],"secret":{"a":"b"}}"#,
            r#"{"tokens":1,"token":["***"],"secret":{"a":"b"}}"#,
        ),
        (r#"{"token":["a]b","c"],"d":[]}"#, r#"{"token":["***","***"],"d":[]}"#),
        (r#"{"msg":"line\nabcdefgh-12 x"}"#, r#"{"msg":"line***A_PASSWORD*** x"}"#),
        (r#"{"msg":"it is q\"uo\\te-17"}"#, r#"{"msg":"it is ***B_PASSWORD***"}"#),
        (r#"["sh","-c","PGPASSWORD=","psql"]"#, r#"["sh","-c","PGPASSWORD=","psql"]"#),
        (r#"["--password","x y","--user","u"]"#, r#"["--password","***","--user","u"]"#),
        (r#"["PGPASSWORD=\"x y\" psql"]"#, r#"["PGPASSWORD=\"***\" psql"]"#),
        (
            r#"{"m":"duplicate key value violates unique constraint \"k\"\nDETAIL:  Key (a)=(b).\n","ok":1}"#,
            r#"{"m":"duplicate key value violates unique constraint \"[row values cut]\"\nDETAIL:  [row values cut]","ok":1}"#,
        ),
        (
            r#"{"m":"invalid input syntax for type integer: \"a\"","q":"say \"x\""}"#,
            r#"{"m":"invalid input syntax for type integer: \"[row values cut]\"","q":"say \"x\""}"#,
        ),
        (
            r#"{"m":"Failing row contains (1, a).","ok":1}"#,
            r#"{"m":"Failing row contains ([row values cut]","ok":1}"#,
        ),
    ] {
        assert_eq!(redactor().output(text), masked);
        serde_json::from_str::<Value>(masked).unwrap();
    }
}

/// Documents of dangerous words at random, each a level deeper than the one before.
#[test]
fn documents_stay_documents() {
    let parts = [
        "password",
        "PASSWORD=",
        "token: ",
        "--api-key",
        "abc",
        "\"",
        "'",
        "\\",
        "\n",
        "\t",
        " ",
        ", ",
        "]",
        "}",
        "=",
        "nabcdefgh-12",
        "q\"uo\\te-17",
        "770708389312",
        "DETAIL:  Key (a)=(b)",
        "ERROR:  22P02: \"x\"",
        "[SQL: ",
        "invalid input syntax for type integer: \"x\"",
        "POL-123456",
        "redis://:p@h/",
        "Bearer aB3",
        "${A_TOKEN:-x}",
        "redis-cli -a ",
        "Cookie: a=b; c=d",
        "inn=",
        "secret=[",
        "secret={",
        "-----BEGIN PRIVATE KEY-----\nMIIE\n",
        "é",
    ];
    let names = ["password", "n", "x-ff-key", "inn", "message", "tokens", "client_secret", "auth"];
    let mut state = 11u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let redactor = redactor();
    let mut changed = 0;
    for round in 0..5_000 {
        let mut document = serde_json::Map::new();
        for _ in 0..1 + random(3) {
            let text: String = (0..1 + random(5)).map(|_| parts[random(parts.len())]).collect();
            let value = match random(8) {
                0 => serde_json::json!([text, 17, null]),
                1 => serde_json::json!([1, 2]),
                2 => serde_json::json!(1234567),
                3 => {
                    serde_json::json!({ "a": serde_json::json!({ "password": text, "n": [text] }).to_string() })
                }
                4 => serde_json::json!({ "deep": { "password": text } }),
                _ => serde_json::json!(text),
            };
            document.insert(names[random(names.len())].into(), value);
        }
        let text = Value::Object(document).to_string();
        let masked = redactor.output(&text);
        changed += usize::from(masked != text);
        serde_json::from_str::<Value>(&masked)
            .unwrap_or_else(|why| panic!("{round}: {why}\n{text}\n{masked}"));
        assert!(!masked.contains("abcdefgh-12"), "{text}\n{masked}");
    }
    assert!(changed > 2_500, "{changed}");
}
