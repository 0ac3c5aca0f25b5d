//! Secrets of every shape that a log was seen to carry, planted and looked for.

use super::super::{Learned, Redactor};
use super::{tokens, whole};

/// Known to the redactor, as the stand's env files would have it.
const KNOWN: &str = "Zx81/qq+T$r-9'&é";
const WEAK: &str = "fox7";

fn redactor() -> Redactor {
    let redactor = Redactor::with_extra(&["inn".into()], &[r"\bPOL-\d{6}\b".into()]).unwrap();
    assert_eq!(redactor.learn("POSTGRES_PASSWORD", KNOWN), Learned::Strong);
    assert_eq!(redactor.learn("REDIS_PASSWORD", WEAK), Learned::Weak);
    redactor
}

/// Line with `{}` for the secret, and the secret.
fn planted() -> Vec<(String, String)> {
    let pairs = [
        // by value, in every spelling
        ("cannot connect with {} to db", KNOWN),
        ("xx{}yy", KNOWN),
        ("url-encoded {} here", "Zx81%2Fqq%2BT%24r-9%27%26%C3%A9"),
        ("small hex {} here", "Zx81%2fqq%2bT%24r-9%27%26%c3%a9"),
        ("{\"text\": \"it is {}!\"}", KNOWN),
        ("compose doubles: {}", "Zx81/qq+T$$r-9'&é"),
        ("shell: '{}'", "Zx81/qq+T$r-9'\\''&é"),
        ("sql: E'{}'", "Zx81/qq+T$r-9''&é"),
        ("html: <td>{}</td>", "Zx81/qq+T$r-9'&amp;é"),
        ("base64 {}", "Wng4MS9xcStUJHItOScmw6k="),
        ("base64 of user and password {}", "cG9zdGdyZXM6Wng4MS9xcStUJHItOScmw6k="),
        ("base64, url-safe {}", "OmVaeDgxL3FxK1Qkci05JybDqQ"),
        // of docker, which is Go; of Python's json, repr and bytes; twice in a URL; hex
        ("{\"text\": \"docker: {}!\"}", "Zx81/qq+T$r-9'\\u0026é"),
        ("{\"text\": \"python: {}!\"}", "Zx81/qq+T$r-9'&\\u00e9"),
        ("x='{}'", "Zx81/qq+T$r-9\\'&é"),
        ("x=b'{}'", "Zx81/qq+T$r-9\\'&\\xc3\\xa9"),
        ("redirect to {} there", "Zx81%252Fqq%252BT%2524r-9%2527%2526%25C3%25A9"),
        ("bytea \\x{}", "5a7838312f71712b5424722d392726c3a9"),
        // what a build says
        ("#12 0.345 REDIS_PASSWORD={}", "two words"),
        // positions, also of weak values
        ("REDIS_PASSWORD={}", WEAK),
        ("REDIS_PASSWORD = {}", WEAK),
        ("REDIS_PASSWORD=\"{}\"", WEAK),
        ("export REDIS_PASSWORD='{}'", WEAK),
        ("      REDIS_PASSWORD: {}", WEAK),
        ("      - REDIS_PASSWORD={}", WEAK),
        ("redis-1  | REDIS_PASSWORD={}", "two words"),
        ("{\"password\":\"{}\"}", WEAK),
        ("{\"password\": \"{}\", \"user\": \"app\"}", "a\\\"b, c"),
        ("{'password': '{}', 'user': 'app'}", WEAK),
        ("\"{\\\"password\\\": \\\"{}\\\"}\"", WEAK),
        ("[\"REDIS_PASSWORD={}\",\"PATH=/bin\"]", "with, all & sorts; of"),
        ("Settings(user='app', password='{}')", WEAK),
        ("Settings(token=b'{}')", WEAK),
        ("host=db user=app password={} sslmode=off", "ab,cd"),
        ("Server=db;Uid=app;Pwd={};Pooling=true", WEAK),
        ("GET /x?api_key={}&limit=1", WEAK),
        ("redis-server --requirepass {} --appendonly yes", WEAK),
        ("[\"redis-server\",\"--requirepass\",\"{}\"]", WEAK),
        ("requirepass {}", WEAK),
        ("CONFIG masterauth {}", WEAK),
        ("mysql --password={} -h db", WEAK),
        ("tool --token {} run", WEAK),
        ("PGPASSWORD={} psql -h db", WEAK),
        ("+ PGPASSWORD={} psql -h db", WEAK),
        ("ALTER ROLE app PASSWORD '{}';", WEAK),
        ("ALTER ROLE app ENCRYPTED PASSWORD '{}';", WEAK),
        ("X-Architect-Key: {}", WEAK),
        ("curl -H 'X-FF-Architect-Key: {}' http://x", "two words"),
        ("curl -H \"X-Api-Key: {}\"", WEAK),
        ("Authorization: Bearer {}", WEAK),
        ("authorization: Basic {}", "dXNlcjpw"),
        ("{\"Authorization\": \"Bearer {}\"}", WEAK),
        ("sent Bearer {} to it", "abcDEF12345"),
        ("Cookie: {}", "session=abc; csrf=def"),
        ("Set-Cookie: {}", "session=abc; HttpOnly"),
        ("{\"accessToken\":\"{}\"}", WEAK),
        ("spring.datasource.password={}", WEAK),
        ("password: str = \"{}\"", WEAK),
        ("$env:POSTGRES_PASSWORD = \"{}\"", WEAK),
        ("\"keys\": {\"secret\": [\"{}\"]}", WEAK),
        ("пароль: {}", WEAK),
        ("{\"auths\":{\"images.example\":{\"auth\":\"{}\"}}}", "dXNlcjpwYXNz"),
        ("client_inn={}", "7707083893"),
        // what tools are given without a name, and what variables fall back to
        ("redis-cli -h redis -a {} ping", WEAK),
        ("[\"redis-cli\",\"-a\",\"{}\"]", WEAK),
        ("sshpass -p {} ssh host", WEAK),
        ("curl -s -u admin:{} http://x", WEAK),
        ("POSTGRES: ${POSTGRES_PASSWORD:-{}}", WEAK),
        ("x ${A_TOKEN-{}}", "two words"),
        ("docker exec -e REDISCLI_AUTH={} redis", WEAK),
        ("AUTH={}", WEAK),
        ("X-FF-Key: {}", WEAK),
        ("ALTER ROLE app PASSWORD '{}' VALID UNTIL 'x'", "it''s"),
        ("{\"a\":\"{\\\"password\\\":\\\"{}\\\",\\\"n\\\":1}\"}", "ab\\\\\\\"c"),
        ("{\"token\": [\"{}\"]}", "a]b"),
        ("sh -c 'PGPASSWORD={} psql'", WEAK),
        ("{}", "POL-123456"),
        // URLs
        ("postgresql+psycopg2://app:{}@postgres:5432/foxproflow", WEAK),
        ("redis://:{}@redis:6379/0", WEAK),
        ("amqp://guest:{}@mq// and more", "gu/est"),
        ("DATABASE_URL=postgres://u:{}@db/x?sslmode=off", "p@ss"),
        ("\"https://{}@o1.ingest.sentry.io/2\"", "0123456789abcdef0123456789abcdef"),
        ("git clone https://oauth2:{}@gitlab.local/a.git", WEAK),
        // private keys in one line
        ("KEY_PEM={}", "-----BEGIN PRIVATE¦ KEY-----\\nMIIEvQIBADANBg\\n-----END PRIVATE¦ KEY-----"),
        ("{\"pem\":\"{}\"}", "-----BEGIN RSA PRIVATE¦ KEY-----\\nMIIE\\n-----END RSA PRIVATE¦ KEY-----"),
    ];
    let mut all: Vec<(String, String)> = pairs.map(|(line, secret)| (line.to_string(), whole(secret))).into();
    all.extend(tokens().into_iter().map(|token| ("got {} there".to_string(), token)));
    all
}

#[test]
fn every_planted_secret_is_masked_and_the_rest_of_the_line_stays() {
    let redactor = redactor();
    let planted = planted();
    assert!(planted.len() >= 90, "{}", planted.len());
    for (line, secret) in planted {
        let text = line.replace("{}", &secret);
        let masked = redactor.text(&text);
        assert!(!masked.contains(&secret), "{text}\n{masked}");
        assert!(masked.contains("***"), "{text}\n{masked}");
        let before = line.split("{}").next().unwrap();
        assert!(
            masked.starts_with(before.split(" str").next().unwrap().split('-').next().unwrap()),
            "{text}\n{masked}"
        );
        assert_eq!(redactor.text(&masked), masked, "masking twice");
        // In the middle of a log, by the stream with its quick look.
        let log = format!("harmless\n{text}\r\nharmless\n");
        assert_eq!(redactor.output(&log), format!("harmless\n{masked}\r\nharmless\n"), "{text}");
    }
}

#[test]
fn masks_say_what_they_hide_where_the_place_does_not() {
    let redactor = redactor();
    let jwt = tokens().remove(0);
    for (text, masked) in [
        (format!("with {KNOWN}!"), "with ***POSTGRES_PASSWORD***!"),
        (format!("password={KNOWN}"), "password=***POSTGRES_PASSWORD***"),
        ("password=other".into(), "password=***"),
        (format!("password=x-{KNOWN} a=b"), "password=***POSTGRES_PASSWORD*** a=b"),
        ("x cG9zdGdyZXM6Wng4MS9xcStUJHItOScmw6k= y".into(), "x ***POSTGRES_PASSWORD*** y"),
        ("curl -H 'X-Api-Key: two words' http://x".into(), "curl -H 'X-Api-Key: ***' http://x"),
        (
            whole(
                "-----BEGIN PRIVATE¦ KEY-----a-----END PRIVATE¦ KEY----- b -----BEGIN PRIVATE¦ KEY-----c-----END PRIVATE¦ KEY-----.",
            ),
            "***private key*** b ***private key***.",
        ),
        (format!("token {jwt}."), "token ***jwt***."),
        ("u://a:b@c".into(), "u://a:***@c"),
        (format!("{KNOWN}{KNOWN}"), "***POSTGRES_PASSWORD******POSTGRES_PASSWORD***"),
        ("POL-123456".into(), "***pattern***"),
        ("{\"a\":{\"password\":\"x\",\"n\":1}}".into(), "{\"a\":{\"password\":\"***\",\"n\":1}}"),
        ("password=a user=b host=c".into(), "password=*** user=b host=c"),
        ("Authorization: Bearer abc".into(), "Authorization: Bearer ***"),
        ("A_PASSWORD=$B psql password=abc".into(), "A_PASSWORD=$B psql password=***"),
        ("h = {'Authorization': 'Bearer abc'}".into(), "h = {'Authorization': 'Bearer ***'}"),
    ] {
        assert_eq!(redactor.text(&text), masked);
    }
}

#[test]
fn harmless_text_stays_as_it_is() {
    let redactor = redactor();
    for text in [
        "",
        "\n",
        "\r\n",
        "no line break",
        "fox7 is short and weak, so it stays in prose",
        "POSTGRES_PASSWORD is set, REDIS_PASSWORD is not",
        "KeyError: 'DB_PASSWORD'",
        "FATAL:  password authentication failed for user \"foxproflow\"",
        "weak secrets: POSTGRES_PASSWORD, X",
        "PASS: smoke",
        "pass=3 fail=0",
        "auth: ok",
        "POSTGRES_HOST_AUTH_METHOD=trust",
        "SMTP_AUTH=plain",
        "SSH_AUTH_SOCK=/tmp/agent.17",
        "PGPASSWORD=\"${PGPASSWORD-${POSTGRES_PASSWORD-}}\" exec \"$@\"",
        "[\"sh\",\"-c\",\"PGPASSWORD=\\\"${PGPASSWORD-${POSTGRES_PASSWORD-}}\\\" exec \\\"$@\\\"\",\"sh\",\"psql\"]",
        "[\"docker\",\"exec\",\"-e\",\"REDISCLI_AUTH\",\"redis-1\",\"redis-cli\",\"ping\"]",
        "[\"-e\",\"PGPASSWORD=\",\"--password=\",\"x\"]",
        "REDISCLI_AUTH=$REDIS_PASSWORD redis-cli ping",
        "redis-cli -a \"$REDIS_PASSWORD\" ping",
        "curl -u \"admin:$ADMIN_PASSWORD\" http://x",
        "password=__GENERATE__",
        "password: %(password)s",
        "token={token}, secret=<your secret>",
        "redis://:{REDIS_PASSWORD}@redis:6379/0",
        "pw: ${POSTGRES_PASSWORD:?set it in .env}",
        "X-Idempotency-Key: 17",
        "secret scan: 12 files, 0 findings",
        "http://127.0.0.1:8080/health",
        "POSTGRES_PASSWORD=${POSTGRES_PASSWORD}",
        "redis://:${REDIS_PASSWORD}@redis:6379/0",
        "PASSWORD=",
        "PASSWORD=\"\"",
        "password: null",
        "{\"password\":null,\"token\":\"\"}",
        "has_password=true",
        "use_token: false",
        "total_tokens=123",
        "POSTGRES_PASSWORD_FILE=/run/secrets/db",
        "PWD=/srv/main",
        "author=someone",
        "monkey=see",
        "CREATE TABLE t (password text NOT NULL, token text)",
        "password::text",
        "primary key: id",
        "foreign_key=x",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "image/app-secret:1.2.3",
        "Bearer authentication is required",
        "token.json: not found",
        "src/secrets.py:12: error",
        "2026-11-23T06:55:19.916Z INFO ok",
        "the key to success: work",
        "[1] 2026 $ [\"docker\",\"compose\",\"up\",\"-d\"]",
        "\"secrets\":[{\"source\":\"db\"}]",
        "password=*** x=***POSTGRES_PASSWORD***",
        "PASSWORD=***",
        "a://b",
        "x@y.z",
        "POL-12345",
        "Пароль не нужен",
        "-----BEGIN CERTIFICATE-----",
        "\u{1b}[36mapi-1  | \u{1b}[0mstarted",
    ] {
        assert_eq!(redactor.text(text), text);
        assert_eq!(redactor.output(text), text);
    }
}
