//! E4: is there a secret in the evidence after all? Looked for by value, in the
//! files and in their names, once nothing is written any more.

use crate::error::{Context, Result};
use crate::fsx;
use crate::redact::Redactor;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Names of keys whose values (or `pattern`, for what the configuration wants masked) stand in a
/// run's directory, and where; never the values.
pub fn leaks(dir: &Path, redactor: &Redactor) -> Result<Vec<String>> {
    let mut hits = Vec::new();
    for (number, file) in fsx::files_below(dir)?.iter().enumerate() {
        let mut scanner = redactor.scanner();
        let mut reader = File::open(dir.join(file)).with_context(|| format!("open {file}"))?;
        let mut buffer = vec![0u8; 64 << 10];
        loop {
            let read = reader.read(&mut buffer).with_context(|| format!("read {file}"))?;
            if read == 0 {
                break;
            }
            scanner.push(&buffer[..read]);
        }
        hits.extend(scanner.finish().into_iter().map(|key| format!("{key} in {}", redactor.text(file))));
        let mut scanner = redactor.scanner();
        scanner.push(file.as_bytes());
        let named = scanner.finish();
        hits.extend(named.into_iter().map(|key| format!("{key} in the name of file {}", number + 1)));
    }
    Ok(hits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_in_a_file_or_its_name_is_a_hit_that_does_not_say_it() {
        let dir = tempfile::tempdir().unwrap();
        let redactor = Redactor::with_extra(&[], &[r"POL-[0-9]{6}".into()]).unwrap();
        redactor.learn("A_PASSWORD", "Zx81-qqTTr-long");
        std::fs::write(dir.path().join("clean.log"), "password=***").unwrap();
        assert!(leaks(dir.path(), &redactor).unwrap().is_empty());
        // Across the border of two pieces that are read.
        let text = format!("{}{}", "x".repeat((64 << 10) - 5), "Zx81-qqTTr-long");
        std::fs::write(dir.path().join("step.log"), text).unwrap();
        std::fs::write(dir.path().join("Zx81-qqTTr-long.txt"), "POL-123456").unwrap();
        let hits = leaks(dir.path(), &redactor).unwrap();
        let expected =
            ["pattern in ***A_PASSWORD***.txt", "A_PASSWORD in the name of file 1", "A_PASSWORD in step.log"];
        assert_eq!(hits, expected);
    }
}
