//! Numbers to text: medians, ratios, Markdown tables, the page.

/// One figure's part of the page.
#[derive(Debug, Default)]
pub struct Section {
    pub order: usize,
    pub title: String,
    pub verdicts: Vec<Verdict>,
    pub body: String,
    pub failed: Option<String>,
}

/// What was measured beside what it may be.
#[derive(Debug)]
pub struct Verdict {
    pub what: String,
    pub measured: String,
    pub limit: String,
    pub holds: bool,
}

impl Verdict {
    /// Holds when `value` is not above `limit`.
    pub fn at_most(what: &str, value: f64, limit: f64, unit: &str) -> Verdict {
        let (measured, most) = (number(value), number(limit));
        let limit_text = format!("at most {most}{unit}");
        Verdict {
            what: what.into(),
            measured: format!("{measured}{unit}"),
            limit: limit_text,
            holds: value <= limit,
        }
    }
    pub fn at_least(what: &str, value: f64, limit: f64, unit: &str) -> Verdict {
        let (measured, least) = (number(value), number(limit));
        let limit_text = format!("at least {least}{unit}");
        Verdict {
            what: what.into(),
            measured: format!("{measured}{unit}"),
            limit: limit_text,
            holds: value >= limit,
        }
    }
}

fn number(value: f64) -> String {
    let text = if value >= 20.0 { format!("{value:.0}") } else { format!("{value:.2}") };
    text.strip_suffix("0").filter(|t| t.contains('.')).map(String::from).unwrap_or(text)
}

pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

/// Min, median and max, each as `show` has it.
pub fn spread(values: &[f64], show: impl Fn(f64) -> String) -> [String; 3] {
    let min = values.iter().copied().fold(f64::NAN, f64::min);
    let max = values.iter().copied().fold(f64::NAN, f64::max);
    [show(min), show(median(values)), show(max)]
}

/// `1.23 s`, or `45 ms` below a second.
pub fn time(ms: f64) -> String {
    if ms.is_nan() {
        "-".into()
    } else if ms.abs() < 1000.0 {
        format!("{ms:.0} ms")
    } else {
        format!("{:.2} s", ms / 1000.0)
    }
}

/// How ours relates to the bare commands: the ratio of the medians, and the median over the pairs.
pub fn ratios(ours: &[f64], bare: &[f64]) -> (f64, f64) {
    let pairs: Vec<f64> = ours.iter().zip(bare).map(|(a, b)| a / b).collect();
    (median(ours) / median(bare), median(&pairs))
}

/// `ratio 1.10 (of medians; 1.12 over the pairs)`
pub fn ratio_words(ours: &[f64], bare: &[f64]) -> String {
    let (of_medians, of_pairs) = ratios(ours, bare);
    format!("{of_medians:.2} (median over the pairs: {of_pairs:.2})")
}

/// A table; numbers stand to the right of the first column.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut text = format!("| {} |\n|---|", head.join(" | "));
    for _ in 1..head.len() {
        text.push_str("---:|");
    }
    text.push('\n');
    for row in rows {
        text.push_str(&format!("| {} |\n", row.join(" | ")));
    }
    text
}

/// A row of a name and the spread of times.
pub fn row(name: &str, values: &[f64]) -> Vec<String> {
    let mut row = vec![name.to_string()];
    row.extend(spread(values, time));
    row
}

/// Everything between the marks of docs/benchmarks.md.
pub fn page(machine: &[String], sections: &[Section], quick: bool) -> String {
    let mut text = String::new();
    if quick {
        text.push_str("**From a quick run: small databases, one run. Not the figures to go by.**\n\n");
    }
    for line in machine {
        text.push_str(&format!("- {line}\n"));
    }
    text.push('\n');
    let verdicts: Vec<Vec<String>> = sections
        .iter()
        .flat_map(|s| &s.verdicts)
        .map(|v| {
            let word = if v.holds { "holds" } else { "**misses**" };
            vec![v.what.clone(), v.measured.clone(), v.limit.clone(), word.into()]
        })
        .collect();
    if !verdicts.is_empty() {
        text.push_str(&table(&["figure", "measured", "limit", ""], &verdicts));
        text.push('\n');
    }
    for section in sections {
        text.push_str(&format!("### {}\n\n", section.title));
        match &section.failed {
            Some(why) => text.push_str(&format!("Could not be measured: {why}\n\n")),
            None => text.push_str(&format!("{}\n\n", section.body.trim_end())),
        }
    }
    text.trim_end().to_string() + "\n"
}
