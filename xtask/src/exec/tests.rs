//! Processes: streams, deadlines, groups, interrupts, logs, sessions.

use super::*;

fn exec() -> Exec {
    Exec::new(Redactor::new(), Interrupt::default())
}

fn sh(script: &str) -> Invocation {
    Invocation::new("sh").args(["-c", script])
}

#[test]
fn output_streams_are_kept_apart_and_the_code_is_told() {
    let finished = exec().run(&sh("echo out; echo err >&2; exit 3")).unwrap();
    assert_eq!(finished.text(), "out\n");
    assert_eq!(finished.stderr, "err\n");
    assert_eq!(finished.ended, Ended::Exit(3));
}

#[test]
fn stdin_arrives_and_is_closed_without_any() {
    assert_eq!(exec().run(&sh("cat").stdin("héé\n")).unwrap().text(), "héé\n");
    assert_eq!(exec().run(&sh("cat; echo end")).unwrap().text(), "end\n");
}

#[test]
fn a_program_that_is_not_there_is_named_with_a_remedy() {
    let error = exec().run(&Invocation::new("no-such-program-ff")).unwrap_err();
    let fault = crate::error::fault_of(&error);
    assert!(fault.what.contains("no-such-program-ff"), "{fault}");
    assert!(fault.remedy.unwrap().contains("install"));
}

#[test]
fn a_deadline_ends_the_whole_group() {
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("alive");
    let script = format!("(sleep 30; touch '{}') & sleep 30", mark.display());
    let finished = exec().run(&sh(&script).timeout(Duration::from_millis(100))).unwrap();
    assert_eq!(finished.ended, Ended::TimedOut(Duration::from_millis(100)));
    assert!(finished.ms < 20_000, "the grandchild held the pipe: {} ms", finished.ms);
    assert!(!mark.exists());
}

#[test]
fn a_signal_is_not_an_exit_code() {
    assert_eq!(exec().run(&sh("kill -9 $$")).unwrap().ended, Ended::Signal(9));
}

#[test]
fn an_interrupt_ends_it_unless_shielded() {
    let interrupt = Interrupt::default();
    interrupt.raise(Kind::Terminate);
    interrupt.raise(Kind::CtrlC);
    assert_eq!(interrupt.kind(), Some(Kind::Terminate), "the first one counts");
    let exec = Exec::new(Redactor::new(), interrupt);
    assert_eq!(exec.run(&sh("sleep 20")).unwrap().ended, Ended::Interrupted);
    assert_eq!(exec.shielded().run(&sh("echo undone")).unwrap().text(), "undone\n");
}

#[test]
fn the_log_has_argv_output_and_end_with_secrets_masked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("step_x.log");
    let redactor = Redactor::new();
    redactor.learn("REDIS_PASSWORD", "tr0ub4dor-and-3");
    let log = Arc::new(RawLog::create(&path, &Redactor::new()).unwrap());
    let exec = Exec::new(redactor, Interrupt::default()).logging(Arc::clone(&log));
    exec.run(&sh("printf tr0ub4; printf 'dor-and-3\\n'; echo fine >&2; exit 4")).unwrap();
    exec.run(&sh("echo bulk").quiet()).unwrap();
    log.close().unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("tr0ub4dor"), "{text}");
    assert!(text.contains(r#"$ ["sh","-c","#), "{text}");
    assert!(text.contains("[1] err fine") && text.contains("[1] = exit 4, "), "{text}");
    assert!(text.contains("5 bytes of output not logged") && !text.contains("out bulk"), "{text}");
}

#[test]
fn the_end_of_a_log_hides_what_continues_a_line_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("step_x.log");
    let log = Arc::new(RawLog::create(&path, &Redactor::new()).unwrap());
    let logs =
        sh("for to in 1 2; do printf '2026-11-23T06:55:19.9Z \\t(Ivan),\\nready %s\\n' $to >&$to; done");
    let finished = exec().logging(log).run(&logs.tail()).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let printed = text.lines().filter(|l| !l.contains(" $ ")).collect::<Vec<_>>().join("\n");
    assert!(!printed.contains("Ivan") && !finished.stderr.contains("Ivan"), "{printed}");
    assert!(printed.contains("out ready 1") && printed.contains("err ready 2"), "{printed}");
}

#[test]
fn an_error_of_the_sink_is_the_result() {
    let mut sink = |_: &[u8]| Err(std::io::Error::other("disk full"));
    let error = exec().run_with(&sh("yes"), None, &mut sink).unwrap_err();
    assert!(format!("{error:#}").contains("disk full"), "{error:#}");
}

#[test]
fn a_session_answers_up_to_its_mark_and_tells_when_it_died() {
    let mut session = exec().session(&Invocation::new("cat")).unwrap();
    session.send("a\nb\nmark\n").unwrap();
    assert_eq!(session.until("mark", SHORT).unwrap(), ["a", "b"]);
    session.close();
    let mut dead = exec().session(&sh("echo broken >&2; exit 1")).unwrap();
    let error = dead.until("mark", SHORT).unwrap_err();
    assert!(format!("{error}").contains("broken"), "{error}");
}

/// A session that says `script` on its standard error, and is asked with marks on both streams.
fn said(redactor: &Redactor, script: &str) -> String {
    let exec = Exec::new(redactor.clone(), Interrupt::default());
    let mut session = exec.session(&Invocation::new("sh")).unwrap();
    session.send(&format!("{{ {script}; }} >&2\necho mark-1\nprintf '\\nmark-1\\n' >&2\n")).unwrap();
    session.until("mark-1", SHORT).unwrap();
    session.stderr_until_mark(SHORT).unwrap();
    session.held_stderr()
}

#[test]
fn what_a_session_says_is_masked_before_its_end_is_kept() {
    let redactor = Redactor::new();
    redactor.learn("REDIS_PASSWORD", "tr0ub4dor-and-3");
    assert_eq!(said(&redactor, "echo tr0ub4dor-and-3"), "***REDIS_PASSWORD***");
    assert_eq!(said(&redactor, "printf half"), "half");
    // Lines of a row whose label is far above, then what comes after them.
    let rows = "echo 'DETAIL:  Key (a)=(Ivan'; i=0; while [ $i -lt 4000 ]; do echo 'Ivan Petrov, +7 900 000 00 00'; \
                i=$((i+1)); done";
    assert_eq!(said(&redactor, rows), "DETAIL:  [row values cut]");
    let more = format!("{rows}; echo 'x) already exists.'; echo 'HINT:  end'");
    assert_eq!(said(&redactor, &more), "DETAIL:  [row values cut]\nHINT:  end");
    let long =
        said(&redactor, "i=0; while [ $i -lt 4000 ]; do echo \"notice $i of many, many\"; i=$((i+1)); done");
    assert!(
        long.starts_with('(') && long.contains(" bytes before this are left out)\nnotice "),
        "{:.80}",
        long
    );
    assert!(long.ends_with("notice 3999 of many, many"), "{long}");
}

#[test]
fn hidden_variables_do_not_reach_children() {
    let exec = exec().hiding(&["PATH_FF_HIDDEN", "HOME"]);
    assert_eq!(exec.run(&sh("echo ${HOME-none}")).unwrap().text(), "none\n");
}

#[test]
fn what_outlives_its_leader_goes_with_the_group_when_that_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let pid = dir.path().join("pid");
    let script = format!("sleep 300 & echo $! > '{}'; exit 4", pid.display());
    let finished = exec().run(&sh(&script).whole_group()).unwrap();
    assert_eq!(finished.ended, Ended::Exit(4));
    assert!(finished.ms < 2000, "the orphan held the pipe for {} ms", finished.ms);
    let left =
        std::path::PathBuf::from(format!("/proc/{}/cmdline", std::fs::read_to_string(pid).unwrap().trim()));
    let deadline = Instant::now() + Duration::from_secs(10);
    // A zombie has no command line any more.
    while std::fs::read(&left).is_ok_and(|c| !c.is_empty()) {
        assert!(Instant::now() < deadline, "the orphan runs on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(unix)]
#[test]
fn programs_are_found_where_one_searches_and_only_there() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("ff-there");
    std::fs::write(&program, "#!/bin/sh\necho found\n").unwrap();
    let exec = exec().searching(dir.path());
    assert_eq!(exec.find("ff-there"), None, "not executable");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(exec.find("ff-there"), Some(program));
    assert_eq!(exec.find("sh"), None);
    assert_eq!(exec.run(&Invocation::new("ff-there")).unwrap().text(), "found\n");
}
