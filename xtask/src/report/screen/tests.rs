//! What is said where no line may be drawn again, and when it has colour.

use super::*;

#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Said {
    /// What was said since it was asked last.
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

fn screen(moves: bool, plain: bool, color: Option<bool>) -> (Screen, Said) {
    let said = Said::default();
    (Screen::on(Box::new(said.clone()), (moves, plain), color, false), said)
}

#[test]
fn colour_is_for_a_terminal_that_wants_it_or_for_who_asks() {
    for (moves, plain, asked, colour) in [
        (true, false, None, true),
        (true, true, None, false),
        (false, false, None, false),
        (true, true, Some(true), true),
        (false, false, Some(true), true),
        (true, false, Some(false), false),
    ] {
        let (screen, _) = screen(moves, plain, asked);
        assert_eq!(screen.paint.color, colour, "terminal {moves}, NO_COLOR {plain}, --color {asked:?}");
        assert_eq!(screen.lock().bars.is_some(), moves, "moving lines on a terminal, and nowhere else");
        assert_eq!(screen.paint.bad("x").contains('\u{1b}'), colour);
    }
}

#[test]
fn without_a_terminal_lines_are_plain_and_a_wait_is_told_once_and_then_now_and_then() {
    let (screen, said) = screen(false, false, None);
    let events = screen.events();
    events.send(Event::StepStarted { step: "smoke".into() });
    assert_eq!(said.take(), "     smoke     begins\n");
    events.waiting("smoke", "every check to be good", 60_000);
    let at = Instant::now();
    let later = |ms| screen.lock().tell_waits(at + Duration::from_millis(ms));
    later(0);
    assert_eq!(said.take(), "", "a short wait is not worth a line");
    later(1_000);
    assert_eq!(said.take(), "     smoke     waiting for every check to be good (at most 1 min 00 s)\n");
    later(9_000);
    assert_eq!(said.take(), "", "it was told");
    later(11_000);
    let still = said.take();
    assert!(still.starts_with("     smoke     still: every check to be good, for 11."), "{still}");
    later(12_000);
    assert_eq!(said.take(), "", "not that often");
    later(22_000);
    assert!(said.take().contains("for 22."));

    let end = |outcome| Event::StepEnded { step: "smoke".into(), outcome, ms: 5, detail: "why".into() };
    events.send(end(Outcome::Failed));
    events.send(Event::Tail { log: "step_smoke.log".into(), lines: vec!["last words".into()] });
    events.warn("smoke", "look");
    let words = said.take();
    assert!(!words.contains(['\u{1b}', '\r']), "no escape codes: {words:?}");
    let lines: Vec<&str> = words.lines().collect();
    let wanted = [
        "FAIL smoke         5 ms  why",
        "     last lines of step_smoke.log:",
        "     | last words",
        "warn smoke     look",
    ];
    assert_eq!(lines, wanted);
    later(60_000);
    assert_eq!(said.take(), "", "nothing is waited for any more");
}
