//! What another program wrote, and what became of it on its way: manifest and
//! digest of the script with anything in them.

use super::made::{Made, list_mut, older};
use super::*;
use crate::property::hold;
use proptest::prelude::*;
use serde_json::Value;

/// The names of what the digest lists.
fn listed(digest: &str) -> Vec<String> {
    digest.lines().filter_map(|l| l.trim_end().split_once("  ")).map(|(_, name)| name.into()).collect()
}

/// Everything that is said to be verified is so.
fn is_true(stored: &Stored) -> std::result::Result<(), TestCaseError> {
    for file in &stored.files {
        let (hash, bytes) = fsx::sha256_file(&stored.dir.join(&file.name)).unwrap();
        prop_assert_eq!((&file.sha256, file.bytes), (&hash, bytes), "{}", &file.name);
    }
    prop_assert!(stored.files.contains(&stored.dump));
    Ok(())
}

#[test]
fn a_byte_that_is_another_one_is_found_wherever_it_is_listed() {
    let made = Made::sample();
    let good = made.read().unwrap();
    hold(150, (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1..=255u8), |(file, at, by)| {
        let mut names: Vec<String> = good.files.iter().map(|f| f.name.clone()).collect();
        names.extend([MANIFEST.into(), DIGEST.into()]);
        let name = file.get(&names);
        let path = made.dir.path().join(name);
        let whole = std::fs::read(&path).unwrap();
        let mut bytes = whole.clone();
        bytes[at.index(whole.len())] ^= by;
        std::fs::write(&path, &bytes).unwrap();
        let read = super::super::read(made.dir.path());
        std::fs::write(&path, &whole).unwrap();
        match read {
            // Its hash never fits, also as the script leaves it.
            Ok(_) if name == GROWS => {}
            // Nothing has a hash of the manifest: what it says of files fits all the same.
            Ok(stored) if name == MANIFEST => {
                is_true(&stored)?;
                prop_assert_eq!((&stored.dump, &stored.files), (&good.dump, &good.files));
            }
            other => prop_assert!(
                other.is_err(),
                "{} with another byte {} is verified",
                name,
                at.index(whole.len())
            ),
        }
        Ok(())
    });
}

#[test]
fn a_line_that_is_gone_is_missed_in_either_list() {
    let lines = Made::sample().digest.lines().filter(|l| !l.trim().is_empty()).count();
    hold(60, (0..lines, any::<bool>(), any::<bool>()), |(at, in_digest, described)| {
        let mut made = Made::sample();
        let name = if in_digest {
            let gone = listed(&made.digest)[at].clone();
            let keep = |d: &str| {
                d.split_inclusive('\n').enumerate().filter(|(n, _)| *n != at).map(|(_, l)| l).collect()
            };
            match described {
                true => made.edit_digest(keep),
                false => made.digest = keep(&made.digest),
            }
            gone
        } else {
            list_mut(&mut made.manifest).remove(at)["rel"].as_str().unwrap().to_string()
        };
        // One of two lines that say the same is none too few, where the manifest knows of it.
        let spare = name == TWICE && (described || !in_digest);
        prop_assert_eq!(made.read().is_ok(), spare || name == DIGEST, "{} is gone", name);
        Ok(())
    });
}

#[test]
fn line_ends_marks_and_names_of_any_system_are_read() {
    let name = "[а-яёa-zA-Z0-9_]{1,6}( ?[А-Яa-z0-9._-]{1,5}[а-яa-z0-9]){0,2}";
    let path = prop::collection::vec(name, 1..4);
    let files = prop::collection::btree_map(path, "\\PC{1,20}", 0..4);
    hold(60, (files, any::<[bool; 4]>()), |(files, [crlf, mark, star, lower])| {
        let files: std::collections::BTreeMap<String, String> =
            files.into_iter().map(|(p, text)| (format!("d_{}.x", p.join("/")), text)).collect();
        let mut made =
            older(json!({ "db_name": "лис" }), &[("pg_лис.dump", "PGDMP"), ("globals.sql", "--\n")]);
        let mut digest = made.digest.replace("\r\n", "\n");
        for (name, text) in &files {
            let path = made.dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            let (hash, name) = (fsx::sha256(text.as_bytes()).to_uppercase(), name.replace('/', "\\"));
            digest.push_str(&format!("{hash}  {name}\n"));
            list_mut(&mut made.manifest).push(json!({ "rel": name, "bytes": text.len(), "sha256": hash }));
        }
        let space = if star { " *" } else { "  " };
        let lines = digest.lines().map(|l| {
            let (hash, name) = l.split_once("  ").unwrap();
            let hash = if lower { hash.to_lowercase() } else { hash.into() };
            format!("{hash}{space}{name}{}", if crlf { "\r\n" } else { "\n" })
        });
        made.digest = lines.collect();
        if mark {
            made.digest.insert(0, '\u{feff}');
        }
        let stored = made.read().map_err(|e| TestCaseError::fail(fault_of(&e).to_string()))?;
        is_true(&stored)?;
        let mut names: Vec<&str> = files.keys().map(String::as_str).collect();
        names.extend(["globals.sql", "pg_лис.dump"]);
        names.sort_unstable();
        prop_assert_eq!(stored.files.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), names);
        Ok(())
    });
}

/// Any JSON, of words that a manifest is made of.
fn manifest() -> impl Strategy<Value = Value> {
    let word = || {
        proptest::sample::select(vec![
            "files",
            "rel",
            "name",
            "sha256",
            "bytes",
            "postgres",
            "db_name",
            "db",
            "script",
            "rid",
            "snapshot",
            "identity",
            "digest.sha256",
            "pg_foxproflow.dump",
            "cargo xtask",
            "..\\x",
            "",
        ])
    };
    let leaf = prop_oneof![
        word().prop_map(Value::from).boxed(),
        any::<i64>().prop_map(Value::from).boxed(),
        any::<f64>().prop_map(Value::from).boxed(),
        any::<bool>().prop_map(Value::from).boxed(),
        Just(Value::Null).boxed(),
        "\\PC{0,10}".prop_map(Value::from).boxed(),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from).boxed(),
            prop::collection::btree_map(word().prop_map(String::from), inner, 0..6)
                .prop_map(|m| Value::Object(m.into_iter().collect()))
                .boxed(),
        ]
    })
}

#[test]
fn any_manifest_and_any_digest_end_in_a_true_answer() {
    let made = Made::sample();
    made.read().unwrap();
    let digest = made.digest.clone();
    let write = |name: &str, bytes: &[u8]| std::fs::write(made.dir.path().join(name), bytes).unwrap();
    hold(60, manifest(), |manifest| {
        write(MANIFEST, manifest.to_string().as_bytes());
        if let Ok(stored) = super::super::read(made.dir.path()) {
            is_true(&stored)?;
            let mut names = listed(&digest);
            names.sort();
            names.dedup();
            let found: Vec<String> = stored.files.iter().map(|f| f.name.clone()).collect();
            prop_assert_eq!(found, names);
        }
        Ok(())
    });
    made.read().unwrap();
    let line = prop_oneof![
        "(\\PC|[\r\n\t *\\\\]){0,40}".boxed(),
        "[0-9a-fA-F]{60,66}( |  | \\*|\t)\\PC{0,12}".boxed(),
        proptest::sample::select(digest.lines().map(String::from).collect::<Vec<_>>()).boxed(),
    ];
    hold(80, (prop::collection::vec(line, 0..14), any::<bool>()), |(lines, crlf)| {
        let text = lines.join(if crlf { "\r\n" } else { "\n" });
        write(DIGEST, text.as_bytes());
        prop_assert!(
            super::super::read(made.dir.path()).is_err() || text == digest,
            "{:?} is verified",
            text
        );
        Ok(())
    });
    hold(30, prop::collection::vec(any::<u8>(), 0..80), |bytes| {
        for name in [MANIFEST, DIGEST] {
            write(DIGEST, digest.as_bytes());
            write(name, &bytes);
            prop_assert!(super::super::read(made.dir.path()).is_err(), "{} of {:?}", name, &bytes);
            let _ = made.read();
        }
        Ok(())
    });
}
