//! P5: secrets in the text of a source file.

use super::shapes;

/// A secret in a file: its line, from 1, and what kind it is; never the value.
pub struct SecretFinding {
    pub line: usize,
    pub kind: &'static str,
    /// Certain enough to refuse a release.
    pub hard: bool,
}

/// Every secret in a text.
pub fn scan_text(text: &str) -> Vec<SecretFinding> {
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for shape in shapes::TOKENS.iter().filter(|s| s.regex.is_match(line)) {
            findings.push(SecretFinding { line: number + 1, kind: shape.kind, hard: true });
        }
    }
    findings
}
