//! The wording of PostgreSQL's messages, as expressions. From the server's and
//! libpq's catalogs (15, English and Russian; newer ones, English) and measured with
//! psql, psycopg2 and SQLAlchemy. Kept apart from the cutter, which holds the logic.

use regex::bytes::Regex;
use std::sync::LazyLock;

/// From the end of this, the line is row values (or SQL that holds them).
const TAIL: &str = concat!(
    r#"(?:^|[^A-Za-z_]|\\n)(?:DETAIL|CONTEXT|STATEMENT|QUERY|LINE [0-9]+|ПОДРОБНОСТИ|КОНТЕКСТ|ОПЕРАТОР|ЗАПРОС|СТРОКА [0-9]+):(?:\s+|$)"#,
    r"|\[parameters: |\[SQL: |\[generated in [^\]]*\] |Command was: ",
    r"|(?:COPY|копирование) \S+, (?:line|строка) [0-9]+(?:, (?:column|столбец) [^:]+)?: ?",
    r"|(?:LOG|СООБЩЕНИЕ):\s+(?:(?:duration|продолжительность): [0-9.]+ \S+\s+)?(?:statement|execute|parse|bind|оператор)\b[^:]*: ",
    r"|(?:LOG|СООБЩЕНИЕ):\s+(?:duration|продолжительность): [0-9.]+ \S+\s+plan:",
    r"|\bKey \([^=]{1,300}\)=\(|Failing row contains \(|Ошибочная строка содержит \(|invalid input for query argument \$[0-9]+: ",
);
/// Errors of class 22, with the value in quotes behind; and those of text search, of class 42.
const VALUE_BEHIND: &str = concat!(
    r"invalid input syntax for|invalid input value for enum|malformed [a-z]+ literal",
    r"|(?:date/time|date|time|timestamp|interval)(?: field value)? out of range",
    r"|time zone displacement out of range|invalid (?:[a-z]+ |.bit.. )?(?:digit|value|symbol|cidr value)(?: for|:| )",
    r"|invalid hexadecimal|syntax error in ts(?:query|vector)|invalid regular expression|invalid Unicode|cannot cast",
    r"|unrecognized (?:boolean|value|encoding)|invalid byte sequence|could not parse|invalid size: ",
    r"|[a-z_]+ format is not recognized|string is not a valid identifier|path element at position [0-9]+ is not an integer",
    r"|JSON object does not contain key|duplicate JSON object key value|column name mismatch in header line",
    r"|invalid datetime format separator|unmatched format character|due to data type incompatibility at line",
    r"|(?:no operand|is too long|is too big) in tsquery|contain lexemes|no escaped character|position info in tsvector",
    r"|неверный синтаксис для типа|неверное значение|ошибочный литерал|ошибка в литерале|вне диапазона",
    r"|ошибка синтаксиса в ts|неверная последовательность байт|неверная шестнадцатеричная цифра|неверный октет",
    r"|обнаружен неверный символ|неверное регулярное выражение|неверный параметр регулярного|некорректная величина: ",
    r"|формат [a-z]+ не распознан|не является допустимым идентификатором|элемент пути в позиции [0-9]+ - не",
    r"|JSON-объект не содержит ключ|несоответствие имени столбца|неверный разделитель в формате|в формате символа",
    r"|(?:нет оператора|слишком длинный операнд|слишком длинное слово|слишком большое значение) в tsquery",
    r"|не содержит лексемы|нет спец\. символа|неверная информация о позиции в tsvector",
);
/// What follows the last quote of a value that stands in front.
const AFTER: &str = concat!(
    r#"" (?:(?:is )?out of range|вне диапазона|is not a valid|not recognized|не распознан"#,
    r#"|must not include months|is invalid for the 12-hour|of jsonpath item method"#,
    r#"|- не двоичная цифра|- не шестнадцатеричная цифра|не соответствует 12-час)|", задающий часовой пояс"#,
);
/// Errors of class 22, with the value in front; from the value to its last quote.
static VALUE_BEFORE: LazyLock<String> = LazyLock::new(|| {
    format!(r#"(?:value |значение |time zone |)\\?"[^\r\n]*(?:{AFTER})|invalid value \\?"[^\r\n]*" for \\?""#)
});
/// An error that begins with a quote that the line does not close.
const VALUE_OPEN: &str = r#"(?:ERROR|FATAL|ОШИБКА|ВАЖНО):\s+(?:[0-9A-Z]{5}:\s+)?(?:invalid value |value |(?:interval |numeric )?time zone |argument |значение |интервал )?"[^"]*$"#;
/// Errors of class 23: what they quote are identifiers.
const IDENTIFIERS: &str = concat!(
    r"duplicate key value violates|conflicting key value violates|null value in column|new row for relation",
    r"|insert or update on table|update or delete on table|could not create unique index",
    r"|check constraint .{1,150} is violated by some row|column .{1,150} contains null values",
    r"|value for domain|domain .{1,80} does not allow null|no partition of relation",
    r"|повторяющееся значение ключа|новая строка в отношении|значение NULL в столбце|INSERT или UPDATE в таблице",
);
/// The code, printed: by psql with VERBOSITY=verbose, by log_error_verbosity, by drivers.
const CODE: &str = r"(?:ERROR|FATAL|PANIC|WARNING|NOTICE|ОШИБКА|ВАЖНО):\s+2[23][0-9A-Z]{3}:|SQLSTATE[ :=\[(]{1,3}2[23][0-9A-Z]{3}";
/// `COPY ... FROM stdin;`, with data in the lines that follow.
const DATA: &str = r"(?i:^COPY .{1,4000} FROM stdin)";
/// A line that begins something new.
const LABEL_LINE: &str = concat!(
    r"\A(?:psql:.*?:[0-9]+: )?(?:ERROR|FATAL|PANIC|WARNING|NOTICE|INFO|LOG|DEBUG[0-9]?|HINT|DETAIL|CONTEXT|QUERY|STATEMENT",
    r"|LOCATION|SCHEMA NAME|TABLE NAME|COLUMN NAME|DATATYPE NAME|CONSTRAINT NAME|LINE [0-9]+",
    r"|ОШИБКА|ВАЖНО|ПРЕДУПРЕЖДЕНИЕ|ЗАМЕЧАНИЕ|ПОДСКАЗКА|ПОДРОБНОСТИ|КОНТЕКСТ|ЗАПРОС|ОПЕРАТОР|ПОЛОЖЕНИЕ|СТРОКА [0-9]+):",
    r"|\A(?:psql|pg_restore|pg_dump|pg_dumpall): |\A[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}",
    r"|\A\[parameters: |\A\(Background on this error|\ATraceback \(most recent",
);

pub(super) static TAIL_OF: LazyLock<Regex> = LazyLock::new(|| compile(TAIL));
pub(super) static BEHIND: LazyLock<Regex> = LazyLock::new(|| compile(&format!("{VALUE_BEHIND}|{CODE}")));
pub(super) static BEFORE: LazyLock<Regex> = LazyLock::new(|| compile(&VALUE_BEFORE));
pub(super) static OPEN: LazyLock<Regex> = LazyLock::new(|| compile(VALUE_OPEN));
pub(super) static NAMES: LazyLock<Regex> = LazyLock::new(|| compile(IDENTIFIERS));
pub(super) static COPY_DATA: LazyLock<Regex> = LazyLock::new(|| compile(DATA));
pub(super) static LABEL: LazyLock<Regex> = LazyLock::new(|| compile(LABEL_LINE));
/// How the sentence ends that shows a row.
pub(super) static ROW_END: LazyLock<Regex> = LazyLock::new(|| {
    compile(
        r#"(?:\) (?:already exists|is duplicated)|\) is not present in table .*|\) is still referenced from table .*|\) conflicts with existing key .*\)|уже существует|отсутствует в таблице .*|\))\.\s*\z"#,
    )
});
/// How a line of context begins that is not SQL.
pub(super) static CALLER: LazyLock<Regex> = LazyLock::new(|| {
    compile(
        r"\A(?:PL/|SQL function|SQL statement|SQL expression|COPY |JSON data|while |during |automatic |unnamed portal|portal |parallel worker|compilation of|referenced |extended query|функция |оператор SQL|SQL-оператор)",
    )
});

/// One expression which finds something in every line that the cutter would change.
pub(super) fn signs() -> String {
    // The value in front has too common a beginning; its end will do.
    format!("{TAIL}|{VALUE_BEHIND}|{AFTER}|invalid value|{VALUE_OPEN}|{IDENTIFIERS}|{CODE}|{DATA}")
}

fn compile(expression: &str) -> Regex {
    super::regex(&format!("(?m){expression}"))
}
