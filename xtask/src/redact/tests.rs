use super::*;

#[test]
fn a_first_look() {
    let redactor = Redactor::new();
    redactor.learn("REDIS_PASSWORD", "tr0ub4dor-and-3");
    assert_eq!(redactor.text("x tr0ub4dor-and-3 y"), "x *** y");
    assert_eq!(redactor.text(r#"{"POSTGRES_PASSWORD":"abc"}"#), r#"{"POSTGRES_PASSWORD":"***"}"#);
}
