//! P5: what a source file may not hold.

use super::*;

#[test]
fn secrets_in_source_are_found_by_line_and_kind() {
    let hard = [
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "private key"),
        ("aws = AKIAIOSFODNN7ABCDEFG", "cloud access key"),
        ("token = 'ghp_abcdefghijklmnopqrstuvwxyz0123456789'", "GitHub token"),
        ("curl -H 'PRIVATE-TOKEN: glpat-abcdefghij1234567890'", "GitLab token"),
        ("SLACK=xoxb-123456789012-abcdefghijklmnop", "Slack token"),
        ("jwt: eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlMTIz", "JSON web token"),
        ("DATABASE_URL=postgresql://app:q7Vt2mLx9R@db/x", "URL with a password"),
        ("POSTGRES_PASSWORD=q7Vt2mLx9RwZ4kPd", "password or token literal"),
        ("password = \"Tr0ub4dor&3\"", "password or token literal"),
        ("  redis_secret: 'a8f5f167f44f4964'", "password or token literal"),
        ("\"api_key\": \"9f8e7d6c5b4a3x\"", "password or token literal"),
    ];
    for (line, kind) in hard {
        let found = scan_text(&format!("first\n{line}\n"));
        assert_eq!(found, [SecretFinding { line: 2, kind, hard: true }], "{line}");
    }
}

#[test]
fn a_simple_password_is_looked_at_and_does_not_refuse() {
    let found = scan_text("password = \"testing\"");
    assert_eq!(found.iter().map(|f| f.hard).collect::<Vec<_>>(), [false]);
}

#[test]
fn placeholders_references_and_code_are_no_findings() {
    for line in [
        "POSTGRES_PASSWORD=__GENERATE__",
        "POSTGRES_PASSWORD=changeme",
        "REDIS_PASSWORD=${REDIS_PASSWORD}",
        "password: ${POSTGRES_PASSWORD:?set it}",
        "password = os.environ[\"POSTGRES_PASSWORD\"]",
        "password = settings.password",
        "token = get_token()",
        "let secret = read_secret(path)?;",
        "password: str",
        "url = f\"postgresql://{user}:{password}@{host}/{db}\"",
        "redis://:***@redis:6379/0",
        "command: redis-server --requirepass ${REDIS_PASSWORD}",
        "-e PGPASSWORD=\"$POSTGRES_PASSWORD\"",
        "# the token is asked for at login",
        "secret_file = \"/run/secrets/x1\"",
        "checksum = \"446d910af90b156ae4b0fc28625a65ecfd978434199b20ebcbeb667df629db49\"",
    ] {
        let found = scan_text(line);
        assert!(found.iter().all(|f| !f.hard), "{line}: {found:?}");
    }
}
