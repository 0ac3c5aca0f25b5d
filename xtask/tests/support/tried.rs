//! What a scene tried and how it ended, as rows of a table of docs/faults.md:
//! FF_TEST_TABLE=FILE gets them, once all that was checked holds.

use std::io::Write;

/// Acts or steps of one place in a run, and how often each end came.
struct Row {
    run: String,
    place: String,
    what: Vec<String>,
    ends: Vec<(String, u32)>,
}

#[derive(Default)]
pub struct Tried {
    rows: Vec<Row>,
}

impl Tried {
    /// `what` was done to `run` in `place`, and it ended so.
    pub fn add(&mut self, run: &str, place: &str, what: &str, end: &str) {
        let at = self.rows.iter().position(|row| row.run == run && row.place == place);
        let at = at.unwrap_or_else(|| {
            self.rows.push(Row { run: run.into(), place: place.into(), what: vec![], ends: vec![] });
            self.rows.len() - 1
        });
        let row = &mut self.rows[at];
        if !row.what.iter().any(|known| known == what) {
            row.what.push(what.into());
        }
        match row.ends.iter_mut().find(|(known, _)| known == end) {
            Some((_, count)) => *count += 1,
            None => row.ends.push((end.into(), 1)),
        }
    }

    /// The rows, where somebody wants them.
    pub fn write(&self) {
        let Some(file) = std::env::var_os("FF_TEST_TABLE") else { return };
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
        file.write_all(self.to_string().as_bytes()).unwrap();
    }
}

impl std::fmt::Display for Tried {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for row in &self.rows {
            let ends: Vec<String> = row.ends.iter().map(|(end, count)| format!("{end} x{count}")).collect();
            writeln!(f, "| {} | {} | {} | {} |", row.run, row.place, row.what.join(", "), ends.join("; "))?;
        }
        Ok(())
    }
}
