//! Secrets and people, made up anew in each run, and every way in which a stand
//! was seen to print them. Put together here, so that no file of this repository
//! holds one.

use std::collections::BTreeMap;
use xtask::fsx::sha256;

/// Values, and the lines that carry them.
pub struct Planted {
    /// Of env files: key and value.
    pub env: Vec<(&'static str, String)>,
    /// What a service says, a build, and a migration; each begins with its own mark.
    pub lines: Vec<String>,
    /// What may stand nowhere, by what it is.
    pub nowhere: BTreeMap<String, String>,
    /// Of those, what no process may have in its command line.
    pub words: BTreeMap<String, String>,
    nonce: String,
}

impl Planted {
    pub fn new() -> Planted {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let mut planted = Planted {
            env: Vec::new(),
            lines: Vec::new(),
            nowhere: BTreeMap::new(),
            words: BTreeMap::new(),
            nonce: format!("{}{}", now.as_nanos(), std::process::id()),
        };
        planted.known();
        planted.positions();
        planted.tokens();
        planted.people();
        planted
    }

    /// Twenty letters and digits that are nowhere else.
    pub fn word(&mut self, what: &str) -> String {
        let word = format!("Aq7{}", &sha256(format!("{}{what}", self.nonce).as_bytes())[..17]);
        self.words.insert(what.into(), word.clone());
        self.nowhere.insert(what.into(), word.clone());
        word
    }

    /// A line in which `{}` is to be masked or cut.
    fn says(&mut self, line: &str, secret: &str) {
        let number = self.lines.len();
        self.lines.push(format!("say-{number}. {}", line.replace("{}", secret)));
        // A multi-line secret line by line, as logs have it.
        for (piece, text) in secret.lines().enumerate().filter(|(_, l)| !l.starts_with("-----")) {
            self.nowhere.insert(format!("line {number}.{piece}: {line}"), text.into());
        }
    }

    /// Values of env files, in every spelling.
    fn known(&mut self) {
        let mixed = format!("p@/{}+&é<x>$9\"", self.word("LEAK_PASSWORD"));
        let plain = self.word("PLAIN_PASSWORD");
        let url = self.word("DATABASE_URL");
        let inner = self.word("GOOGLE_CREDENTIALS");
        let words = format!("two words, {}", self.word("SERVICE_TOKEN"));
        let pem = pem(&self.nonce);
        self.env = vec![
            ("LEAK_PASSWORD", format!("'{mixed}'")),
            ("PLAIN_PASSWORD", plain),
            ("DATABASE_URL", format!("postgresql+psycopg2://app:{url}@db:5432/x")),
            ("GOOGLE_CREDENTIALS", format!("'{{\"type\":\"x\",\"client_secret\":\"{inner}\"}}'")),
            ("SERVICE_TOKEN", format!("\"{words}\"")),
            ("SIGNING_KEY_PEM", format!("\"{pem}\"")),
            ("SMTP_PASSWORD", self.weak()),
        ];
        let json = json_text(&mixed);
        let twice = json_text(&json);
        let go = json.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e");
        let escaped = percent(&mixed);
        for (line, spelling) in [
            ("cannot connect with {} to the database", mixed.clone()),
            ("in the middle xx{}yy of a word", mixed.clone()),
            ("as it stands in a URL: {}", escaped.clone()),
            ("small hex: {}", small_hex(&escaped)),
            ("twice: {}", percent(&escaped)),
            ("{\"text\": \"it is {}!\"}", json.clone()),
            ("{\"text\": \"docker says {}!\"}", go),
            ("{\"text\": \"python says {}!\"}", json.replace('é', "\\u00e9")),
            ("\"{\\\"deep\\\": \\\"{}\\\"}\"", twice),
            ("base64 {}", base64(mixed.as_bytes())),
            ("basic {}", base64(format!("app:{mixed}").as_bytes())),
            ("url-safe {}", base64(format!(":{mixed}").as_bytes()).replace('+', "-").replace('/', "_")),
            ("hex {}", hex(&mixed)),
            ("bytea \\\\x{}", hex(&mixed)),
            ("b'{}' of Python", mixed.replace('é', "\\xc3\\xa9")),
            (
                "<td>{}</td>",
                mixed.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;"),
            ),
            ("compose doubles: {}", mixed.replace('$', "$$")),
            ("the URL's own {} alone", url.clone()),
            ("inside JSON of an env file: {}", inner.clone()),
            ("with a blank: {}.", words.clone()),
            ("a key\n{}", pem.clone()),
            ("a key in one line {}", pem.replace('\n', "\\n")),
        ] {
            self.says(line, &spelling);
        }
        self.nowhere.insert("the body of the key".into(), pem.lines().nth(1).unwrap().into());
    }

    /// Seven characters: too short to be masked wherever it occurs.
    pub fn weak(&self) -> String {
        format!("w{}", &sha256(self.nonce.as_bytes())[..6])
    }

    /// Places that name what stands in them, whatever it is.
    fn positions(&mut self) {
        let weak = self.weak();
        for line in [
            "SMTP_PASSWORD={}",
            "smtp password is set: export SMTP_PASSWORD='{}'",
            "  SMTP_PASSWORD: {}",
            "{\"password\":\"{}\",\"user\":\"app\"}",
            "{'password': '{}', 'user': 'app'}",
            "\"{\\\"password\\\": \\\"{}\\\"}\"",
            "Settings(user='app', password='{}')",
            "host=db user=app password={} sslmode=off",
            "Server=db;Uid=app;Pwd={};Pooling=true",
            "GET /x?api_key={}&limit=1",
            "redis-server --requirepass {} --appendonly yes",
            "[\"redis-server\",\"--requirepass\",\"{}\"]",
            "PGPASSWORD={} psql -h db",
            "ALTER ROLE app PASSWORD '{}';",
            "X-FF-Architect-Key: {}",
            "Authorization: Bearer {}",
            "Cookie: session={}",
            "smtp://app:{}@mail/",
            "redis://:{}@redis:6379/0",
            "amqp://guest:{}@mq//",
            "redis-cli -h redis -a {} ping",
            "curl -s -u admin:{} http://x",
            "POSTGRES: ${POSTGRES_PASSWORD:-{}}",
            "git clone https://oauth2:{}@gitlab.local/a.git",
            "fatal: unable to access 'https://bot:{}@git.invalid/x.git/': 403",
        ] {
            self.says(line, &weak);
        }
    }

    /// Of providers: never heard of before, known by their shape.
    fn tokens(&mut self) {
        let hex = sha256(self.nonce.as_bytes());
        let count = std::cell::Cell::new(0);
        // Another one each time.
        let cut = |n: usize| {
            count.set(count.get() + 1);
            format!("Ab1{}Zz9", sha256(format!("{}{hex}", count.get()).as_bytes()))[..n].to_string()
        };
        let b64 = |text: &str| base64(text.as_bytes()).trim_end_matches('=').replace(['+', '/'], "x");
        let jwt = [b64("{\"alg\":\"HS256\"}"), b64(&format!("{{\"sub\":\"{hex}\"}}")), b64(&hex)].join(".");
        for (kind, token) in [
            ("jwt", jwt),
            ("aws", format!("AKI{}{}", "A", hex[..16].to_uppercase())),
            ("github", format!("gh{}_{}", "p", cut(36))),
            ("github app", format!("gh{}_{}", "s", cut(36))),
            ("github fine", format!("github_{}_{}", "pat", cut(60))),
            ("gitlab", format!("gl{}-{}", "pat", cut(20))),
            ("slack", format!("xox{}-123456789012-{}", "b", cut(24))),
            ("slack hook", format!("https://hooks.{}.com/services/T0ABC/B0ABC/{}", "slack", cut(24))),
            ("stripe", format!("sk_{}_{}", "live", cut(24))),
            ("google", format!("AI{}{}", "za", cut(35))),
            ("google oauth", format!("GOC{}-{}", "SPX", cut(28))),
            ("anthropic", format!("sk-{}-api03-{}", "ant", cut(40))),
            ("openai", format!("sk-{}-{}", "proj", cut(40))),
            ("telegram", format!("123456789:{}{}", "AA", cut(33))),
            ("npm", format!("npm{}{}", "_", cut(36))),
            ("pypi", format!("pypi-{}IcHlwaS5vcmc{}", "AgE", cut(40))),
            ("sendgrid", format!("S{}.{}.{}", "G", cut(22), cut(43))),
            ("docker", format!("dckr_{}_{}", "pat", cut(27))),
            ("digitalocean", format!("dop_{}_{hex}", "v1")),
            ("huggingface", format!("h{}_{}", "f", cut(34))),
            ("twilio", format!("S{}{}", "K", &hex[..32])),
            ("vault", format!("hv{}.{}", "s", cut(28))),
            ("shopify", format!("shp{}_{}", "at", &hex[..32])),
            ("grafana", format!("gls{}_{}_{}", "a", cut(32), &hex[..8])),
            ("atlassian", format!("ATAT{}{}", "T3", cut(60))),
            ("linear", format!("lin_{}_{}", "api", cut(40))),
            (
                "scram",
                format!(
                    "SCRAM-SHA-{}$4096:c2FsdA==${}:{}",
                    256,
                    base64(hex.as_bytes()),
                    base64(hex.as_bytes())
                ),
            ),
        ] {
            self.says(&format!("got {{}} of {kind}"), &token);
        }
    }

    /// Rows of people, as drivers print them.
    fn people(&mut self) {
        for line in [
            "ERROR:  invalid input syntax for type integer: \"{}\"",
            "psycopg2.errors.InvalidTextRepresentation: invalid input syntax for type uuid: \"{}\"",
            "DataError('invalid input value for enum mood: \"{}\"\\nLINE 1: SELECT {}\\n')",
            "UniqueViolation('duplicate key value violates unique constraint \"t_pkey\"\\nDETAIL:  Key (name)=({}) already exists.\\n')",
            "{\"detail\":\"duplicate key value violates unique constraint \\\"t_pkey\\\"\\nDETAIL:  Key (name)=({}) already exists.\"}",
            "[parameters: {'name': '{}'}]",
            "DETAIL:  Failing row contains ({}, null).",
            "DETAIL:  Key (name)=({}) already exists.",
        ] {
            let person = self.person();
            self.says(line, &person);
        }
    }

    /// Somebody who does not exist.
    pub fn person(&mut self) -> String {
        let number = self.nowhere.len();
        let person = format!("Иван {} Петров", &sha256(format!("{number}{}", self.nonce).as_bytes())[..8]);
        self.nowhere.insert(format!("person {number}"), person.clone());
        person
    }

    /// Which of them stand in a text, and the first line with one.
    pub fn found_in<'t>(&self, text: &'t str) -> Vec<(&str, &'t str)> {
        let mut found = Vec::new();
        for (what, secret) in &self.nowhere {
            // Half of one is a leak, too; but how a token begins is its kind's own, not secret.
            let half = secret.char_indices().nth(secret.chars().count() / 2).map_or(0, |(at, _)| at);
            let parts = match (self.words.contains_key(what), secret.len() >= 24) {
                (true, _) => vec![&secret[..half], &secret[half..]],
                (_, true) => vec![&secret[half..]],
                _ => vec![secret.as_str()],
            };
            if let Some(line) = text.lines().find(|l| parts.iter().any(|p| l.contains(p))) {
                found.push((what.as_str(), line));
            }
        }
        found
    }
}

fn pem(nonce: &str) -> String {
    let kind = "PRIVATE KEY";
    let body = base64(sha256(nonce.as_bytes()).as_bytes());
    let other = base64(sha256(body.as_bytes()).as_bytes());
    format!("-----BEGIN {kind}-----\n{body}\n{other}\n-----END {kind}-----")
}

/// Inside a text of JSON.
fn json_text(text: &str) -> String {
    let quoted = serde_json::to_string(text).unwrap();
    quoted[1..quoted.len() - 1].into()
}

fn hex(text: &str) -> String {
    text.bytes().map(|b| format!("{b:02x}")).collect()
}

pub fn percent(text: &str) -> String {
    let byte = |b: u8| match b {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(b).to_string(),
        _ => format!("%{b:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// `%2F` as `%2f`.
fn small_hex(escaped: &str) -> String {
    let mut out = String::new();
    for (at, piece) in escaped.split('%').enumerate() {
        match piece.get(..2).filter(|_| at > 0) {
            Some(digits) => out.push_str(&format!("%{}{}", digits.to_lowercase(), &piece[2..])),
            None => out.push_str(piece),
        }
    }
    out
}

pub fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let at = |i: usize| u32::from(group.get(i).copied().unwrap_or(0));
        let word = at(0) << 16 | at(1) << 8 | at(2);
        for (i, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let letter = char::from(LETTERS[(word >> shift & 63) as usize]);
            out.push(if i <= group.len() { letter } else { '=' });
        }
    }
    out
}
