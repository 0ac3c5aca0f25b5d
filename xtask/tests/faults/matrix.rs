//! The matrix itself.
use crate::stage::{Lane, Stage};
use crate::support::note;

pub fn run() {
    let stage = Stage::record();
    let lane = Lane::open(&stage);
    for bad in [false, true] {
        let cell = stage.cell(&lane, usize::from(bad), &[], bad);
        note(format!("control bad={bad}: exit {} in {:?}, {} calls, {} unknown", cell.outcome.code, cell.took, cell.calls.len(), cell.calls.iter().filter(|c| c.unknown).count()));
        eprintln!("{}", cell.outcome.at());
        for c in cell.calls.iter().filter(|c| c.unknown) { eprintln!("UNKNOWN {}", c.label); }
        std::fs::create_dir_all("/tmp/mx").unwrap();
        std::fs::write(format!("/tmp/mx/control-{bad}.txt"), cell.calls.iter().map(|c| format!("{} {} {} {}\n", c.nth, c.key, c.act, c.label.chars().take(260).collect::<String>())).collect::<String>()).unwrap();
    }
}
