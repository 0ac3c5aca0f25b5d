//! HTTP checks: a status and a JSON answer. `ready:false`, non-JSON and 404 are
//! failures, never "ready enough".

use crate::config::HttpCheck;
use serde_json::Value;
use std::io::Read;
use std::time::Duration;

/// What a request came to.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// At most 64 KiB; never shown before it is masked.
    pub body: String,
}

/// The most of an answer that is read.
const LARGEST: u64 = 64 << 10;

/// GET with a deadline. No proxy and no redirect: the stand is on this machine or named outright.
pub fn get(url: &str, headers: &[(String, String)], limit: Duration) -> Result<Answer, String> {
    let mut request = minreq::get(url).with_follow_redirects(false);
    for (name, value) in headers {
        request = request.with_header(name, value);
    }
    // Whole seconds are the library's; the caller's own deadline is finer.
    let seconds = limit.as_secs_f64().ceil().max(1.0) as u64;
    let response = request.with_timeout(seconds).send_lazy().map_err(|e| words(&e))?;
    // minreq's own 503 for a first line that is none: the answer of a proxy with no service behind it.
    if response.reason_phrase == "Server did not provide a status line" {
        return Err("the connection ended without an answer in HTTP".into());
    }
    let status = response.status_code;
    let length = response.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length: Option<u64> = length.and_then(|(_, value)| value.trim().parse().ok());
    let mut body = Vec::new();
    let read = response.take(LARGEST + 1).read_to_end(&mut body);
    read.map_err(|e| format!("the answer broke off: {}", in_time(&e)))?;
    if body.len() as u64 > LARGEST {
        return Err(format!("the answer is longer than {LARGEST} bytes"));
    }
    if let Some(length) = length.filter(|length| (body.len() as u64) < *length) {
        return Err(format!("the answer broke off after {} of {length} bytes", body.len()));
    }
    // minreq takes the end of the stream for the end of the head; these never have a body (RFC 9110, 15).
    if body.is_empty() && length.is_none() && !matches!(status, 204 | 304) {
        return Err(format!(
            "status {status} without a length and without a body, as when the answer broke off in its head"
        ));
    }
    Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
}

fn words(error: &minreq::Error) -> String {
    match error {
        minreq::Error::IoError(e) => in_time(e),
        other => other.to_string(),
    }
}

fn in_time(error: &std::io::Error) -> String {
    use std::io::ErrorKind::{TimedOut, WouldBlock};
    if matches!(error.kind(), TimedOut | WouldBlock) { "no answer in time".into() } else { error.to_string() }
}

/// Is this the answer that the check wants? The reason says what was there instead.
pub fn judge(check: &HttpCheck, answer: &Answer) -> Result<String, String> {
    let want = if check.status == 0 { 200 } else { check.status };
    if answer.status != want {
        return Err(format!("status {} instead of {want}{}", answer.status, hint(&answer.body)));
    }
    if check.expect.is_empty() {
        return Ok(format!("status {want}"));
    }
    let json: Value = serde_json::from_str(&answer.body).map_err(|_| "the answer is not JSON".to_string())?;
    for (pointer, want) in &check.expect {
        let path = if pointer.starts_with('/') { pointer.clone() } else { format!("/{pointer}") };
        let name = path.trim_start_matches('/');
        match json.pointer(&path) {
            None => return Err(format!("{name} is not in the answer")),
            Some(_) if want == "*" => {}
            Some(got) if got == want => {}
            Some(got) => {
                return Err(format!("{name} is {} instead of {want}{}", got, hint(&answer.body)));
            }
        }
    }
    Ok(format!(
        "status {want}, {}",
        check.expect.keys().map(|k| k.trim_start_matches('/')).collect::<Vec<_>>().join(", ")
    ))
}

/// The words of an error answer: its `detail`, `error` or `message`.
fn hint(body: &str) -> String {
    let json: Value = serde_json::from_str(body).unwrap_or(Value::Null);
    ["detail", "error", "message"]
        .iter()
        .find_map(|key| json.get(key))
        .map(|found| format!(" ({found})"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expect: &str) -> HttpCheck {
        HttpCheck {
            path: "/".into(),
            status: 200,
            expect: serde_json::from_str(expect).unwrap(),
            ..HttpCheck::default()
        }
    }
    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, body: body.into() }
    }

    #[test]
    fn only_the_expected_answer_is_good() {
        let ready = check(r#"{"/ready":true}"#);
        assert!(judge(&ready, &answer(200, r#"{"ready":true}"#)).is_ok());
        for (status, body) in [
            (200, r#"{"ready":false}"#),
            (200, r#"{"ready":"true"}"#),
            (200, r#"{"status":"ok"}"#),
            (200, "OK"),
            (200, ""),
            (404, r#"{"ready":true}"#),
            (500, r#"{"ready":true}"#),
        ] {
            assert!(judge(&ready, &answer(status, body)).is_err(), "{status} {body}");
        }
    }

    #[test]
    fn a_star_asks_only_that_it_is_there() {
        let items = check(r#"{"/items":"*"}"#);
        assert!(judge(&items, &answer(200, r#"{"items":[]}"#)).is_ok());
        assert!(judge(&items, &answer(200, r#"{"ok":true}"#)).is_err());
    }

    #[test]
    fn the_cause_in_an_error_answer_is_quoted() {
        let error =
            judge(&check("{}"), &answer(424, r#"{"detail":"relation orders does not exist"}"#)).unwrap_err();
        assert_eq!(error, "status 424 instead of 200 (\"relation orders does not exist\")");
        // Whole: who cuts it before it is masked leaves half a secret.
        let long = format!("{}the-end", "x".repeat(200));
        let error = judge(&check("{}"), &answer(500, &format!("{{\"detail\":\"{long}\"}}"))).unwrap_err();
        assert!(error.contains(&long), "{error}");
    }

    /// One answer to one client, then the end.
    fn serve(answer: String) -> String {
        use std::io::Write;
        served(move |client| drop(client.write_all(answer.as_bytes())))
    }

    fn served(answer: impl FnOnce(&mut std::net::TcpStream) + Send + 'static) -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            // All of the request: what is left unread would end `endless` and resets the connection.
            let mut asked = Vec::new();
            let mut byte = [0u8];
            while !asked.ends_with(b"\r\n\r\n") && client.read_exact(&mut byte).is_ok() {
                asked.push(byte[0]);
            }
            answer(&mut client);
        });
        url
    }

    /// Says `first`, then the same byte again and again or nothing, until the other side is gone.
    fn endless(first: &'static str, again: Option<u8>) -> String {
        use std::io::Write;
        served(move |client| {
            let _ = client.write_all(first.as_bytes());
            // The pace is what is tested: each byte comes long before a time-out of its own.
            client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            // Interrupted: a process that is stopped and goes on (signal(7)) has nothing to read either.
            use std::io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
            let quiet = |e: std::io::Error| matches!(e.kind(), Interrupted | TimedOut | WouldBlock);
            while client.read(&mut [0u8; 64]).is_err_and(quiet) {
                if again.is_some_and(|byte| client.write_all(&[byte]).is_err()) {
                    break;
                }
            }
        })
    }

    #[test]
    fn an_answer_that_hangs_or_dribbles_ends_at_the_deadline() {
        const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n{\"ready\":true}";
        let limit = Duration::from_secs(1);
        let cases = [
            ("nothing", "", None),
            ("half a head", "HTTP/1.1 200 OK\r\nContent-Le", None),
            ("half a body", HEAD, None),
            ("a head without an end", "HTTP/1.1 200 OK\r\nX: ", Some(b'x')),
            ("a status line without an end", "HTTP/1.1 200 ", Some(b'x')),
            ("a body that dribbles", HEAD, Some(b' ')),
            ("a body without a length", "HTTP/1.1 200 OK\r\n\r\n{\"ready\":true}", Some(b' ')),
            (
                "a chunk that dribbles",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nEA60\r\n{\"ready\":true}",
                Some(b' '),
            ),
        ];
        for (what, first, again) in cases {
            let asked = std::time::Instant::now();
            let error = get(&endless(first, again), &[], limit).expect_err(what);
            let took = asked.elapsed();
            assert!(error.contains("no answer in time"), "{what}: {error}");
            assert!(took >= limit.mul_f64(0.9) && took < limit * 5, "{what}: {took:?}");
        }
    }

    #[test]
    fn a_redirect_is_an_answer_a_long_or_broken_one_is_none() {
        let limit = Duration::from_secs(5);
        let moved =
            serve("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".into());
        assert_eq!(get(&moved, &[], limit).unwrap().status, 302);
        let long = "x".repeat(LARGEST as usize + 1);
        let long = serve(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{long}", long.len()));
        assert!(get(&long, &[], limit).unwrap_err().contains("longer"));
        let silent = get(&serve(String::new()), &[], limit).unwrap_err();
        assert!(silent.contains("without an answer"), "{silent}");
        for garbage in [
            "garbage\r\n\r\n",
            "",
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"ready\":true}",
            "HTTP/1.1 200 O",
            "HTTP/1.1 200 OK\r\nServer: uvicorn\r\nContent-Le",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nSer",
        ] {
            let found = get(&serve(garbage.into()), &[], limit);
            let good = found.is_ok_and(|answer| judge(&check("{}"), &answer).is_ok());
            assert!(!good, "{garbage}");
        }
        for empty in ["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n"] {
            assert_eq!(get(&serve(empty.into()), &[], limit).unwrap().body, "", "{empty}");
        }
        let utf = serve("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nлс".into());
        assert_eq!(get(&utf, &[], limit).unwrap().body, "лс");
    }

    #[test]
    fn nobody_listening_is_an_error_in_words() {
        let error = get("http://127.0.0.1:1/health", &[], Duration::from_secs(2)).unwrap_err();
        assert!(!error.is_empty() && !error.contains("Error {"), "{error}");
    }
}
