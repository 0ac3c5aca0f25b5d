//! The fault matrix: every external call of a release and of its way back,
//! broken in every way that a program can break. `docker` and `git` are a relay
//! to this process, on a PATH that holds nothing else; it answers from recordings
//! that the same run makes on the real engine (docs/faults.md).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, clippy::print_stdout)]

#[path = "faults/acts.rs"]
mod acts;
#[path = "faults/broken.rs"]
mod broken;
#[path = "faults/caller.rs"]
mod caller;
#[path = "faults/judge.rs"]
mod judge;
#[path = "faults/judged.rs"]
mod judged;
#[path = "faults/matrix.rs"]
mod matrix;
#[path = "faults/named.rs"]
mod named;
#[path = "faults/player.rs"]
mod player;
#[path = "faults/plays.rs"]
mod plays;
#[path = "faults/stage.rs"]
mod stage;
mod support;
#[path = "faults/tape.rs"]
mod tape;

fn main() {
    let called = std::env::args().next().unwrap_or_default();
    let name = called.rsplit('/').next().unwrap_or_default();
    if std::env::var_os(tape::SETUP).is_some() && name == "xtask" {
        // The program itself, but for this: a call that hangs costs seconds and not hours.
        xtask::exec::cap_calls(stage::LONGEST);
        std::process::exit(xtask::cli::main().code().into());
    }
    // As the built-in harness: it is asked what it has, and runs what the filter names.
    const TESTS: [(&str, fn()); 2] = [("the_judge_sees_lies", judged::run), ("fault_matrix", matrix::run)];
    let args: Vec<String> = std::env::args().skip(1).collect();
    let list = args.iter().any(|a| a == "--list");
    for (name, run) in TESTS {
        if list {
            println!("{name}: test");
        } else if args.iter().filter(|a| !a.starts_with('-')).all(|f| name.contains(f.as_str())) {
            run();
        }
    }
}
