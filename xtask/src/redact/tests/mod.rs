//! Tests of the whole module; those of one rule are beside it.
//!
//! Samples of secrets are broken by `¦`, so that no scanner (ours, or that of the
//! host of a repository) takes this directory for a leak.

mod json;
mod known;
mod planted;
mod properties;
mod rows;
mod source;
mod stream;

/// Without the breaks.
pub(super) fn whole(sample: &str) -> String {
    sample.replace('¦', "")
}

/// One token of each kind at least.
pub(super) fn tokens() -> Vec<String> {
    let hex = "0123456789abcdef".repeat(4);
    let long = "Ab1_Cd2-Ef3Gh4Ij5Kl6Mn7Op8Qr9St0Uv1Wx2Yz3Ab4Cd5Ef6";
    let letters = "Ab1Cd2Ef3Gh4Ij5Kl6Mn7Op8Qr9St0Uv1Wx2Yz3Ab4Cd5Ef6";
    let samples = [
        "eyJ¦hbGciOiJIUzI1NiJ9.eyJ¦zdWIiOiIxMjM0In0.dozjgNryP4J3jVmN".to_string(),
        "AKIA¦IOSFODNN7QRSTUVW".into(),
        "ASIA¦IOSFODNN7QRSTUVW".into(),
        format!("ghp¦_{}", &letters[..36]),
        format!("ghs¦_{}", &letters[..36]),
        format!("github¦_pat_{}", &letters[..45]),
        format!("glpat¦-{}", &long[..20]),
        format!("xoxb¦-123456789012-{}", &letters[..24]),
        format!("hooks.slack¦.com/services/T0ABC/B0ABC/{}", &letters[..24]),
        format!("sk_live¦_{}", &letters[..24]),
        format!("AIza¦{}", &letters[..35]),
        format!("GOCSPX¦-{}", &letters[..28]),
        format!("ya29¦.{}", &letters[..40]),
        format!("sk-ant¦-api03-{}", &letters[..40]),
        format!("sk-¦proj-{}", &letters[..40]),
        format!("sk-¦{}", &letters[..48]),
        format!("123456789¦:AA{}", &letters[..33]),
        format!("npm¦_{}", &letters[..36]),
        format!("pypi-¦AgEIcHlwaS5vcmc{}", &letters[..40]),
        format!("SG¦.{}.{}", &letters[..22], &letters[..43]),
        format!("dckr¦_pat_{}", &letters[..27]),
        format!("dop¦_v1_{hex}"),
        format!("hf¦_{}", &letters[..34]),
        format!("AQVN¦{}", &letters[..36]),
        format!("y0¦_{}", &format!("{letters}{letters}")[..55]),
        format!("SK¦{}", &hex[..32]),
        format!(
            "AGE-SECRET-KEY¦-1{}",
            "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7LQPZRY9X8GF2TVDW0S3JN54KHCE".get(..55).unwrap()
        ),
        format!("shpat¦_{}", &hex[..32]),
        format!("glsa¦_{}_{}", &letters[..32], &hex[..8]),
        format!("ATATT3¦{long}{long}"),
        format!("lin_api¦_{}", &letters[..40]),
        format!("hvs¦.{}", &letters[..28]),
        "SCRAM-SHA-256¦$4096:c2FsdHNhbHQ=$c3RvcmVka2V5:c2VydmVya2V5".into(),
        format!("md5¦{}", &hex[..32]),
    ];
    samples.iter().map(|s| whole(s)).collect()
}
