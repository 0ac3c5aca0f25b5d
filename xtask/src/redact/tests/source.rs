//! The finder for source files: what it reports, and what it does not.

use super::super::{SecretFinding, scan_text};
use super::{tokens, whole};

fn kinds(text: &str) -> Vec<(&'static str, bool)> {
    scan_text(&whole(text)).into_iter().map(|f| (f.kind, f.hard)).collect()
}

#[test]
fn written_down_passwords_refuse_a_release() {
    for text in [
        "password = \"hunter¦22\"",
        "DB_PASSWORD='Zx81-¦qqTTr'",
        "\"password\": \"Zx81-¦qqTTr\",",
        "  password: 'Zx81-¦qqTTr'",
        "conn = connect(user='x', password=\"Zx81-¦qqTTr\")",
        "self.api_key: str = \"Ab12cd¦34ef56\"",
        "POSTGRES_PASSWORD=Zx81-¦qqTTr",
        "      - POSTGRES_PASSWORD=Zx81-¦qqTTr",
        "      POSTGRES_PASSWORD: Zx81-¦qqTTr",
        "ENV REDIS_PASSWORD=Zx81¦qqTTr9",
        "export FF_ARCHITECT_KEY=0a1b2c¦3d4e5f",
        "$env:POSTGRES_PASSWORD = \"Zx81-¦qqTTr\"",
        "$Token = 'Ab12cd¦34ef'",
        "ConvertTo-SecureString \"Zx81-¦qqTTr\" -AsPlainText -Force",
        "CREATE ROLE app LOGIN PASSWORD 'Zx81-¦qqTTr';",
        "ALTER USER app WITH ENCRYPTED PASSWORD 'Zx81-¦qqTTr'",
        "command: redis-server --requirepass Zx81-¦qqTTr",
        "[\"redis-server\", \"--requirepass\", \"Zx81-¦qqTTr\"]",
        "curl --token=Ab12cd¦34ef x",
        "REDISCLI_AUTH=Zx81-¦qqTTr",
        "redis-cli -a Zx81-¦qqTTr ping",
        "curl -u admin:Zx81-¦qqTTr http://x",
        "os.environ[\"DB_PASSWORD\"] = \"Zx81-¦qqTTr\"",
    ] {
        assert_eq!(kinds(text), [("password literal", true)], "{text}");
    }
    for text in [
        "os.getenv(\"DB_PASSWORD\", \"Zx81-¦qqTTr\")",
        "os.environ.get('X_TOKEN', 'Ab12cd¦34ef')",
        "pw: ${POSTGRES_PASSWORD:-Zx81¦qqTTr9}",
    ] {
        assert_eq!(kinds(text), [("default for a secret", true)], "{text}");
    }
    assert_eq!(kinds("DSN = 'postgresql://app:Zx81¦qqTTr@db/x'"), [("credentials in a URL", true)]);
    assert_eq!(kinds("postgresql://app:Zx81¦qqTTr@localhost/x"), [("credentials in a URL", false)]);
}

#[test]
fn tokens_and_private_keys_refuse_a_release() {
    for token in tokens() {
        let found = scan_text(&format!("x = [\n  {token}\n]"));
        assert_eq!(found.len(), 1, "{token} {found:?}");
        assert_eq!((found[0].line, found[0].hard), (2, !token.starts_with("md5")), "{token}");
    }
    let key = "-----BEGIN OPENSSH PRIVATE¦ KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtz\n";
    assert_eq!(kinds(key), [("private key", true)]);
    assert_eq!(kinds(&key.replace('\n', "\\n")), [("private key", true)]);
}

#[test]
fn weak_and_doubtful_ones_warn() {
    for text in [
        "password = \"postgres\"",
        "POSTGRES_PASSWORD=foxproflow",
        "password: hunter",
        "password = \"test1234\"",
        "password = Zx81qqTTr-9",
        "password = \"s3cret-value\"",
    ] {
        assert_eq!(kinds(text), [("password literal", false)], "{text}");
    }
    assert_eq!(kinds("os.getenv('DB_PASSWORD', 'postgres')"), [("default for a secret", false)]);
    assert_eq!(kinds("http://martin:secret@host.test/"), [("credentials in a URL", false)]);
}

#[test]
fn placeholders_lookups_code_and_documents_are_no_findings() {
    for text in [
        "POSTGRES_PASSWORD=__GENERATE__",
        "POSTGRES_PASSWORD=changeme",
        "PASSWORD=<your password>",
        "TOKEN=${TOKEN}",
        "TOKEN=$TOKEN",
        "token: ${{ secrets.GITHUB_TOKEN }}",
        "password: \"{{ vault_password }}\"",
        "api_key = \"xxxxxxxxxxxx\"",
        "api_key = \"your_api_key\"",
        "token = \"YOUR-TOKEN-HERE\"",
        "password = \"***\"",
        "password = os.environ[\"DB_PASSWORD\"]",
        "password = os.getenv(\"DB_PASSWORD\")",
        "password=password,",
        "PASSWORD = \"PASSWORD\"",
        "token: &Token,",
        "    password: str",
        "password: Optional[str] = None",
        "token: String,",
        "password = get_password(user2)",
        "password = settings.db.password2",
        "secret = Secret2",
        "key = \"Zx81-qqTTr\"",
        "primary_key = \"id_2024\"",
        "password = f\"{user}-{n}\"",
        "PASSWORD_FILE=/run/secrets/db1",
        "token_url = \"https://a1.b2/c3\"",
        "token = \"https://a1.b2/c3\"",
        "password_label = \"Passwort 1\"",
        "raise ValueError(\"password: 8 characters\")",
        "\"token_type\": \"bearer1\"",
        "MAX_TOKENS=4096",
        "auth: oauth2",
        "auth = \"HTTPBasicAuth1\"",
        "redis-cli -a \"$REDIS_PASSWORD\" ping",
        "POSTGRES_HOST_AUTH_METHOD: trust",
        "Token: \"#d8dee9\"",
        "access_token = \"access-token\"",
        "PWD=/srv/main1",
        "\"AWS::IAM::AccessKey\": \"62d91b17309e76c8\"",
        "postgresql://user:password@host/db",
        "postgresql://app:${PW}@host/db",
        "postgresql://app:<password>@host/db",
        "redis://:***@h",
        "http://u@h",
        "AKIAIOSFODNN7EXAMPLE",
        "checksum = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"",
        "-----BEGIN PRIVATE¦ KEY-----",
        "grep -- '-----BEGIN RSA PRIVATE¦ KEY-----' *",
        "-----BEGIN CERTIFICATE-----\nMIIDdzCCAl+gAwIBAgIEAgAAuTANBgkqhkiG9w0BAQUFADBaMQswCQYD",
        "tool --secret=projects/my-project/secrets/my-key/versions/1",
        "api_key = \"SecondaryButton\"",
        "# the password for 'x1y2z3' is asked",
        "private_key: \"_RSAPrivateKey\",",
        "[\"x\", \"--api-key\", format!(\"{v}\")]",
        "the --username and --password options",
        "пароль: спросите у администратора",
    ] {
        assert_eq!(kinds(text), [], "{text}");
    }
    let lock = "# This file is automatically @generated by Cargo.\nsecret = \"Zx81-¦qqTTr\"\n";
    assert_eq!(kinds(lock), []);
}

#[test]
fn findings_name_line_and_kind_and_never_the_value() {
    let text = whole("a\n\npassword = \"hunter¦22\"; token = \"Ab12cd¦34ef\"\nb\n");
    let found = scan_text(&text);
    assert_eq!(found, [SecretFinding { line: 3, kind: "password literal", hard: true }]);
    assert!(!format!("{found:?}").contains("hunter"));
}

#[test]
fn this_module_itself_is_clean() {
    for file in [
        include_str!("mod.rs"),
        include_str!("planted.rs"),
        include_str!("known.rs"),
        include_str!("rows.rs"),
        include_str!("stream.rs"),
        include_str!("source.rs"),
        include_str!("../shapes.rs"),
        include_str!("../source.rs"),
        include_str!("../literal.rs"),
        include_str!("../urls.rs"),
        include_str!("../keys.rs"),
        include_str!("../mod.rs"),
        include_str!("../encode.rs"),
        include_str!("../positions.rs"),
    ] {
        let hard: Vec<_> = scan_text(file).into_iter().filter(|f| f.hard).collect();
        assert_eq!(hard, [], "{}", file.lines().next().unwrap_or_default());
    }
}
