//! Questions to the stand's databases in SQL of our own, through `docker exec`.
#![allow(clippy::disallowed_methods)]

use super::Stand;
use super::process::{self, tool};
use std::collections::BTreeMap;
use std::path::Path;

pub const USER: &str = "foxproflow";
pub const DATABASE: &str = "foxproflow";

/// What makes two sessions print equal values equally (rollback.md, "Table sums").
const PINS: &str = "-c TimeZone=UTC -c DateStyle=ISO,YMD -c IntervalStyle=postgres -c extra_float_digits=3 \
    -c bytea_output=hex -c search_path=pg_catalog -c lc_monetary=C -c quote_all_identifiers=off \
    -c row_security=off -c jit=off -c statement_timeout=0 -c client_encoding=UTF8";

/// Rows and the sum of their hashes, by table.
pub type Sums = BTreeMap<String, (u64, String)>;

impl Stand {
    /// The container of a service, running or not.
    #[track_caller]
    pub fn container(&self, service: &str) -> String {
        if let Some(id) = self.data.lock().unwrap().get(service) {
            return id.clone();
        }
        let project = format!("label=com.docker.compose.project={}", self.project);
        let label = format!("label=com.docker.compose.service={service}");
        let args = ["ps", "-aq", "--no-trunc", "--filter", &project, "--filter", &label];
        let id = tool("docker", &args, Path::new("/"), None).trim().to_string();
        assert!(!id.is_empty() && !id.contains('\n'), "not one container of {service}: `{id}`");
        if super::world::DATA.contains(&service) {
            self.data.lock().unwrap().insert(service.into(), id.clone());
        }
        id
    }

    /// Takes every container, volume and network of the stand away.
    #[track_caller]
    pub fn down(&self) {
        let args = ["compose", "-p", &self.project, "down", "-v", "--remove-orphans", "-t", "2"];
        tool("docker", &args, &self.repo, None);
        self.data.lock().unwrap().clear();
    }

    /// Rows of a statement on the live database, columns between `|`.
    #[track_caller]
    pub fn psql(&self, sql: &str) -> Vec<String> {
        self.psql_on(DATABASE, sql)
    }

    #[track_caller]
    pub fn psql_on(&self, database: &str, sql: &str) -> Vec<String> {
        let outcome = self.try_psql(database, sql);
        assert_eq!(outcome.code, 0, "psql on {database}: {sql}{}", outcome.at());
        outcome.stdout.lines().map(String::from).collect()
    }

    /// The same, whatever comes of it.
    pub fn try_psql(&self, database: &str, sql: &str) -> process::Outcome {
        let mut args = psql_args(&self.container("postgres"), database, "ff-test");
        args.extend(["-v".into(), "ON_ERROR_STOP=1".into()]);
        let command = process::program("docker", &args.iter().map(String::as_str).collect::<Vec<_>>());
        process::start(command, "psql", Some(sql.as_bytes()), self.limit()).wait()
    }

    /// One value.
    #[track_caller]
    pub fn value(&self, sql: &str) -> String {
        let rows = self.psql(sql);
        assert_eq!(rows.len(), 1, "{sql} has {} rows", rows.len());
        rows[0].clone()
    }

    /// Rows and sums of every ordinary table and of the large objects. `only` narrows tables down:
    /// `("devfactory.orders", "id <= 7")`, or `first N` rows by id as `("ops.heartbeat", "first 7")`.
    #[track_caller]
    pub fn sums(&self, database: &str, only: &[(&str, String)]) -> Sums {
        let tables = self.psql_on(
            database,
            "SELECT format('%I.%I', nspname, relname) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace \
             WHERE relkind = 'r' AND nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY 1",
        );
        assert!(tables.len() > 10, "only {} tables in {database}: {tables:?}", tables.len());
        let mut pieces = vec![line("pg_largeobject", "pg_largeobject")];
        for table in &tables {
            let narrowed = only.iter().find(|(t, _)| t == table).map(|(_, w)| w.as_str());
            let from = match narrowed.map(|w| w.strip_prefix("first ").ok_or(w)) {
                None => format!("ONLY {table}"),
                Some(Ok(count)) => format!("(SELECT * FROM ONLY {table} ORDER BY id LIMIT {count})"),
                Some(Err(condition)) => format!("(SELECT * FROM ONLY {table} WHERE {condition})"),
            };
            pieces.push(line(table, &from));
        }
        // Some tables a statement: each holds a lock on all that it reads, and their number is limited.
        let statements: Vec<String> = pieces.chunks(100).map(|some| some.join("\nUNION ALL\n")).collect();
        let rows = self.psql_on(database, &statements.join(";\n"));
        let parsed = rows.iter().map(|row| {
            let mut fields = row.rsplitn(3, '|');
            let (sum, count) = (fields.next().unwrap(), fields.next().unwrap());
            (fields.next().unwrap().to_string(), (count.parse().unwrap(), sum.to_string()))
        });
        parsed.collect()
    }

    /// Looks into a closed database and closes it behind.
    #[track_caller]
    pub fn psql_closed(&self, database: &str, sql: &str) -> Vec<String> {
        let door = |open| format!("ALTER DATABASE \"{database}\" ALLOW_CONNECTIONS {open}");
        let sql = format!(
            "{};\n\\connect \"{database}\"\n{sql};\n\\connect postgres\n{};",
            door(true),
            door(false)
        );
        self.psql_on("postgres", &sql)
    }
}

fn line(name: &str, from: &str) -> String {
    let name = name.replace('\'', "''");
    format!(
        "SELECT '{name}', count(*), coalesce(sum(hashtextextended((t.*)::text COLLATE \"C\", 0)::numeric)::text, '') \
         FROM {from} t"
    )
}

/// `docker exec -i .. psql` on a database, quiet and unaligned.
pub fn psql_args(container: &str, database: &str, app: &str) -> Vec<String> {
    let pins = format!("PGOPTIONS={PINS}");
    let app = format!("PGAPPNAME={app}");
    let docker = ["exec", "-i", "-e", &pins, "-e", &app, container];
    // By its variable it is told from the program's own.
    let psql = ["psql", "-v", "ff_test=1", "-X", "-q", "-A", "-t", "-U", USER, "-d", database];
    docker.into_iter().chain(psql).map(String::from).collect()
}
