//! A stream gives the same bytes wherever its input is split.

use super::super::Redactor;
use super::super::line::secrets;
use super::super::rows::{Cut, Rows};

const SECRET: &str = "Zx81/qq+T$r-9é";

fn redactor() -> Redactor {
    let redactor = Redactor::new();
    redactor.learn("A_PASSWORD", SECRET);
    redactor.learn("TLS_PRIVATE_KEY", "first-line-1\nsecond-line-2");
    redactor
}

fn text() -> String {
    let begin = "-----BEGIN PRIVATE¦ KEY-----".replace('¦', "");
    let end = begin.replace("BEGIN", "END");
    format!(
        "Привет {SECRET} мир\r\nharmless\n{begin}\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nBKcwggSjAgEAAoIBAQ==\n{end}\nafter\n\
         password=x y\nfirst-line-1\nsecond-line-2\n\
         ERROR:  invalid input syntax for type integer: \"ab\ncd\"\nDETAIL:  Key (a)=(b\nc) already exists.\nINSERT 0 1\n\
         redis://:pw@h/0\npostgres-1  | 2026-11-23 22:20:46.3 UTC [1] STATEMENT:  insert\napi-1  | x\npostgres-1  | \tmore\n\n\
         no end {SECRET}"
    )
}

fn streamed<'a>(redactor: &Redactor, chunks: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut stream = redactor.stream();
    let mut out: Vec<u8> = chunks.flat_map(|c| stream.push(c)).collect();
    out.extend(stream.finish());
    out
}

/// Pieces of random sizes up to `most`, from a generator that is the same every time.
fn pieces(text: &[u8], seed: u64, most: u64) -> Vec<&[u8]> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let (mut rest, mut all) = (text, Vec::new());
    while !rest.is_empty() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let (piece, more) = rest.split_at(((state % (most + 1)) as usize).min(rest.len()));
        all.push(piece);
        rest = more;
    }
    all
}

#[test]
fn any_split_gives_what_the_whole_gives() {
    let (redactor, text) = (redactor(), text());
    let whole = redactor.output(&text);
    for leak in
        ["Zx81", "MIIE", "BKcw", "first-line", "second-line", "(b", "cd\"", "pw@", "insert", "more", "x y"]
    {
        assert!(!whole.contains(leak), "{leak} in\n{whole}");
    }
    assert!(whole.contains("Привет ***A_PASSWORD*** мир\r\nharmless\n***private key***\nafter\n"), "{whole}");
    assert!(whole.ends_with("no end ***A_PASSWORD***"), "{whole}");
    let bytes = text.as_bytes();
    for at in 0..=bytes.len() {
        let (one, two) = bytes.split_at(at);
        assert_eq!(streamed(&redactor, [one, two].into_iter()), whole.as_bytes(), "split at {at}");
    }
    assert_eq!(streamed(&redactor, bytes.chunks(1)), whole.as_bytes());
    for seed in 0..300 {
        assert_eq!(streamed(&redactor, pieces(bytes, seed, 40).into_iter()), whole.as_bytes(), "seed {seed}");
    }
}

#[test]
fn lines_are_ready_as_soon_as_they_end() {
    let mut stream = redactor().stream();
    assert_eq!(stream.push(b"one\ntw"), b"one\n");
    assert_eq!(stream.push(b"o\n"), b"two\n");
    assert_eq!(stream.finish(), b"");
}

#[test]
fn bytes_that_are_no_text_pass_unchanged() {
    let bytes: Vec<u8> = (0..=255u8).cycle().take(5000).collect();
    assert_eq!(streamed(&redactor(), bytes.chunks(7)), bytes);
    assert_eq!(
        streamed(&redactor(), b"\xff\xfe password=\xff\xfd\xfc z=1\n".chunks(3)),
        b"\xff\xfe password=*** z=1\n"
    );
}

/// A line of several windows with a secret around every border.
#[test]
fn very_long_lines_lose_no_secret_at_the_borders_of_windows() {
    let redactor = redactor();
    // Pieces of a long line end between characters.
    let mut stream = redactor.stream();
    assert!(!stream.push("é".repeat(200_000).as_bytes()).is_empty());
    assert!(std::str::from_utf8(&stream.push(format!("a{}", "é".repeat(200_000)).as_bytes())).is_ok());
    for shift in [0, 1, 7, 4000, 8190] {
        let mut line = "é".repeat(500) + &"x".repeat(shift);
        while line.len() < 300_000 {
            line.push_str(&format!(
                " {} {SECRET} password=\"hunter2\" redis://:pw{}@h ",
                "w".repeat(977),
                line.len()
            ));
        }
        line.push_str("\nnext line\n");
        let whole = redactor.output(&line);
        for leak in ["Zx81", "hunter2", ":pw"] {
            assert!(!whole.contains(leak), "{leak} with shift {shift}");
        }
        assert!(whole.ends_with("\nnext line\n"));
        assert_eq!(whole.matches("***A_PASSWORD***").count(), line.matches(SECRET).count());
        for seed in 0..6 {
            assert_eq!(
                streamed(&redactor, pieces(line.as_bytes(), seed, 50_000).into_iter()),
                whole.as_bytes()
            );
        }
    }
}

/// A label may stand on both sides of a border: its value is found with the first half of it.
#[test]
fn a_label_across_a_border_is_one() {
    let redactor = redactor();
    let border = 64 << 10;
    for planted in
        ["\"password\":\"hunter2\"", "Authorization: Bearer hunter2x9", "Failing row contains (1, hunter2)."]
    {
        for before in border - planted.len()..border + 2 {
            let line = format!("{} {planted} {}\n", "x".repeat(before), "y ".repeat(10_000));
            assert!(!redactor.output(&line).contains("hunter2"), "{planted} behind {before} bytes");
        }
    }
}

#[test]
fn what_is_longer_than_a_window_takes_the_rest_of_its_line() {
    let redactor = redactor();
    let endless = format!("password={}\nnext\n", "s".repeat(400_000));
    assert_eq!(redactor.output(&endless), "password=***\nnext\n");
    let row =
        format!("db UTC [1] DETAIL:  Failing row contains (1, {}\n\tmore).\nnext\n", "s".repeat(400_000));
    assert_eq!(redactor.output(&row), "db UTC [1] DETAIL:  [row values cut]\nnext\n");
    let value = format!(
        "invalid input syntax for type json: \"{}\"{} x\"\nnext\n",
        "s".repeat(70_000),
        "t".repeat(70_000)
    );
    assert_eq!(redactor.output(&value), "invalid input syntax for type json: \"[row values cut]\n");
    let key = "-----BEGIN PRIVATE¦ KEY-----".replace('¦', "");
    let key = format!("k={key}\\n{}\nnext line here\n", "A".repeat(400_000));
    assert_eq!(redactor.output(&key), "k=***private key***\nnext line here\n");
}

#[test]
fn memory_stays_bounded_without_a_line_break() {
    let mut stream = redactor().stream();
    let chunk = vec![b'a'; 10_000];
    let mut out = 0;
    for pushed in 1..200 {
        out += stream.push(&chunk).len();
        assert!(pushed * chunk.len() - out < 160_000);
    }
}

/// The quick look must not miss what the thorough one finds, in lines made of
/// whatever is dangerous, at random.
#[test]
fn the_quick_look_stops_at_every_line_that_changes() {
    let redactor = Redactor::with_extra(&["inn".into()], &[r"^POL\d+$".into()]).unwrap();
    redactor.learn("A_PASSWORD", SECRET);
    let parts = "password PASSWORD token key api_key -key --api-key secret inn POL12 = : := == , \\ \" ' \\\" [ ] { } ( ) \
                 true 1 a1 Bearer Basic abcDEF123= \"auth\" _auth https:// ://u:p@h @ / ? ; & $ ${X} ERROR: DETAIL: LINE 3: \
                 STATEMENT: value out of range for Key (a)=( COPY t, line 3 FROM stdin [SQL: CONTEXT: \\nDETAIL: QUERY: \
                 22P02: 23505: SQLSTATE invalid input syntax \"x\" is not a valid redis-cli -a sshpass -p curl -u a:b ${A_TOKEN:-b} ${A_TOKEN-b} AUTH X-FF-Key requirepass пароль токен x postgres-1 |"
        .split(' ')
        .collect::<Vec<_>>();
    let mut state = 7u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut changed = 0;
    for _ in 0..30_000 {
        let mut line = String::new();
        for _ in 0..2 + random(7) {
            line.push_str(parts[random(parts.len())]);
            line.push_str(["", " ", " ", "\t"][random(4)]);
        }
        let bytes = line.as_bytes();
        let matcher = redactor.matcher();
        let secrets = !secrets(bytes, true, &redactor.rules, &matcher).0.is_empty();
        let rows = !matches!(Rows::default().line(b"", bytes, true, false), Cut::Ranges(r) if r.is_empty());
        let known = matcher.first(bytes, 0).is_some();
        changed += usize::from(secrets || rows);
        assert!(!secrets || known || redactor.rules.interest(false).is_match(bytes), "{line}");
        assert!(!(secrets || rows) || known || redactor.rules.interest(true).is_match(bytes), "{line}");
    }
    assert!(changed > 5_000, "{changed}");
}

#[test]
fn a_private_key_ends_at_its_last_line_or_where_it_cannot_go_on() {
    let begin = "-----BEGIN RSA PRIVATE¦ KEY-----".replace('¦', "");
    let end = begin.replace("BEGIN", "END");
    let output = |text: &str| redactor().output(text);
    assert_eq!(
        output(&format!("a {begin}\nProc-Type: 4,ENCRYPTED\n\nMIIE\n{end} b\nc\n")),
        "a ***private key***\n b\nc\n"
    );
    assert_eq!(
        output(&format!("{begin}\nMIIE\nthe log goes on here\nMIIE\n")),
        "***private key***\nthe log goes on here\nMIIE\n"
    );
    assert_eq!(
        output(&format!("api-1  | {begin}\ndb-1  | ok\napi-1  | MIIE\napi-1  | {end}\n")),
        "api-1  | ***private key***\ndb-1  | ok\n"
    );
}
