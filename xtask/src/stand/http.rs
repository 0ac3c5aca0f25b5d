//! HTTP checks: a status and a JSON answer. `ready:false`, non-JSON and 404 are
//! failures, never "ready enough".

use crate::config::HttpCheck;
use serde_json::Value;
use std::time::Duration;

/// What a request came to.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// At most 64 KiB; never shown before it is masked.
    pub body: String,
}

/// GET with a deadline. No proxy: the stand is on this machine or named outright.
pub fn get(url: &str, headers: &[(String, String)], limit: Duration) -> Result<Answer, String> {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(limit))
        .http_status_as_error(false)
        .proxy(None)
        .max_redirects(0)
        .build();
    let agent = ureq::Agent::new_with_config(config);
    let mut request = agent.get(url);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let mut response = request.call().map_err(|e| words(&e))?;
    let status = response.status().as_u16();
    let body = response
        .body_mut()
        .with_config()
        .limit(64 << 10)
        .lossy_utf8(true)
        .read_to_string()
        .map_err(|e| format!("the answer broke off: {}", words(&e)))?;
    Ok(Answer { status, body })
}

fn words(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(_) => "no answer in time".into(),
        ureq::Error::Io(e) => e.to_string(),
        other => other.to_string(),
    }
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

    #[test]
    fn nobody_listening_is_an_error_in_words() {
        let error = get("http://127.0.0.1:1/health", &[], Duration::from_secs(2)).unwrap_err();
        assert!(!error.is_empty() && !error.contains("Error {"), "{error}");
    }
}
