//! The database container: how to call its own tools, and what the catalogs say.

use super::Stand;
use super::psql::{Psql, QUESTION, ident, literal};
use crate::error::{Context, Fault, Lane, Result};
use crate::exec::Invocation;
use serde::Deserialize;
use std::time::{Duration, Instant};

/// The database of the stand. The tools run inside its container: their major
/// version must equal the server's.
#[derive(Clone)]
pub struct Pg {
    pub stand: Stand,
    pub container: String,
    pub user: String,
    pub database: String,
}

/// One database of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DatabaseRow {
    pub name: String,
    pub oid: u64,
    pub open: bool,
    /// Its description.
    pub comment: Option<String>,
}

/// How a side database must be created to hold the same.
#[derive(Debug, Clone, Deserialize)]
pub struct Shape {
    pub encoding: String,
    pub collate: String,
    pub ctype: String,
    pub provider: Option<String>,
    pub icu: Option<String>,
}

/// A look at every file of a database.
const SIZE: Duration = Duration::from_secs(600);

impl Pg {
    /// Runs `argv` in the container as the database's user would: the password comes from the
    /// container's own environment, never from argv.
    pub fn inside(&self, app: &str, env: &[(&str, &str)], argv: &[String]) -> Invocation {
        let mut all = vec![("PGAPPNAME", app)];
        all.extend_from_slice(env);
        let words = self.with_password(argv);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.stand.inside(&self.container, &all, &words)
    }

    /// The same command with the container's own password in its environment.
    pub fn with_password(&self, argv: &[String]) -> Vec<String> {
        let script = r#"PGPASSWORD="${PGPASSWORD-${POSTGRES_PASSWORD-}}" exec "$@""#;
        let mut words = ["sh", "-c", script, "sh"].map(String::from).to_vec();
        words.extend(argv.iter().cloned());
        words
    }

    /// A tool of PostgreSQL on a database.
    pub fn argv(&self, tool: &str, database: &str, rest: &[&str]) -> Vec<String> {
        let mut argv = vec![tool.to_string(), "-U".into(), self.user.clone(), "-d".into(), database.into()];
        argv.extend(rest.iter().map(|r| (*r).to_string()));
        argv
    }

    /// The same container, run by another executor.
    pub fn with(&self, exec: &crate::exec::Exec) -> Pg {
        Pg { stand: self.stand.with(exec), ..self.clone() }
    }

    /// Waits until the server answers on TCP: during initdb's temporary start it answers on its
    /// socket only.
    pub fn wait_ready(&self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        let mut pause = Duration::from_millis(50);
        loop {
            let argv = ["pg_isready", "-q", "-h", "127.0.0.1", "-U", &self.user, "-d", &self.database];
            let finished = self.stand.exec.run(&self.stand.inside(&self.container, &[], &argv))?;
            if finished.ok() && self.session("postgres", "ff-ready").is_ok() {
                return Ok(());
            }
            if Instant::now() > deadline || self.stand.exec.stopped() {
                return Err(finished.fault("PostgreSQL did not get ready", Lane::A).into());
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    /// Ends every backend whose application_name begins with `prefix`, but the asker's.
    pub fn end_backends(&self, admin: &mut Psql, prefix: &str) -> Result<u64> {
        let sql = format!(
            "SELECT count(pg_terminate_backend(pid)) AS n FROM pg_stat_activity \
             WHERE left(application_name, {}) = {} AND pid <> pg_backend_pid()",
            prefix.chars().count(),
            literal(prefix)
        );
        admin.number(&sql)
    }
}

/// Every database of the cluster but the templates. Without sizes: each would be a look at every file.
pub fn databases(admin: &mut Psql) -> Result<Vec<DatabaseRow>> {
    admin.rows(
        "SELECT datname AS name, oid::bigint AS oid, datallowconn AS open, \
         shobj_description(oid, 'pg_database') AS comment FROM pg_database WHERE NOT datistemplate ORDER BY datname",
        QUESTION,
    )
}

/// Bytes of a database; 0 where there is none of this name.
pub fn size(admin: &mut Psql, name: &str) -> Result<u64> {
    let sql = format!("SELECT pg_database_size(oid) FROM pg_database WHERE datname = {}", literal(name));
    let rows = admin.ask(&sql, SIZE)?;
    let Some(bytes) = rows.first() else { return Ok(0) };
    bytes.parse::<u64>().with_context(|| format!("`{bytes}` is no size of database {name}"))
}

/// One database by name.
pub fn database(admin: &mut Psql, name: &str) -> Result<Option<DatabaseRow>> {
    Ok(databases(admin)?.into_iter().find(|d| d.name == name))
}

/// The database that must be there.
pub fn the_database(admin: &mut Psql, name: &str) -> Result<DatabaseRow> {
    database(admin, name)?.ok_or_else(|| {
        Fault::new(format!("there is no database {name}"))
            .remedy("name it with [database] name in ops/xtask.toml")
            .lane(Lane::A)
            .into()
    })
}

pub fn shape(admin: &mut Psql, name: &str) -> Result<Shape> {
    // The provider came with 15 and ICU's locale was renamed in 17: asked through JSON, where a
    // missing column is a missing key.
    admin.row(&format!(
        "SELECT pg_encoding_to_char(d.encoding) AS encoding, d.datcollate AS collate, d.datctype AS ctype, \
         to_jsonb(d)->>'datlocprovider' AS provider, \
         coalesce(to_jsonb(d)->>'daticulocale', to_jsonb(d)->>'datlocale') AS icu \
         FROM pg_database d WHERE d.datname = {}",
        literal(name)
    ))
}

/// `CREATE DATABASE` of an empty database with the source's encoding and locale.
pub fn create_like(name: &str, shape: &Shape) -> String {
    let mut sql = format!(
        "CREATE DATABASE {} TEMPLATE template0 ENCODING {} LC_COLLATE {} LC_CTYPE {}",
        ident(name),
        literal(&shape.encoding),
        literal(&shape.collate),
        literal(&shape.ctype)
    );
    match (shape.provider.as_deref(), &shape.icu) {
        (Some("i"), Some(icu)) => sql.push_str(&format!(" LOCALE_PROVIDER icu ICU_LOCALE {}", literal(icu))),
        (Some("c"), _) => sql.push_str(" LOCALE_PROVIDER libc"),
        _ => {}
    }
    sql
}

/// Drops a database that nobody is in.
pub fn drop_database(admin: &mut Psql, name: &str, limit: Duration) -> Result<()> {
    admin.ask(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", ident(name)), limit).map(drop)
}

/// Gives a database that nobody is in another name.
pub fn rename(admin: &mut Psql, name: &str, to: &str) -> Result<()> {
    admin.run(&format!("ALTER DATABASE {} RENAME TO {}", ident(name), ident(to)))
}

/// Describes a database; `None` takes its description away.
pub fn comment(admin: &mut Psql, name: &str, text: Option<&str>) -> Result<()> {
    let text = text.map_or("NULL".into(), literal);
    admin.run(&format!("COMMENT ON DATABASE {} IS {text}", ident(name)))
}

/// Lets clients in, or keeps them out: also superusers, which a connection limit does not.
pub fn allow_connections(admin: &mut Psql, name: &str, allow: bool) -> Result<()> {
    admin.run(&format!("ALTER DATABASE {} WITH ALLOW_CONNECTIONS {allow}", ident(name)))
}

/// Ends the sessions on a database and waits until none is left. Returns how many there were.
///
/// A superuser's session may only be waited for by who is none. Autovacuum workers are left out: only a
/// superuser may end them, they write no row, and RENAME and TEMPLATE tell them to end and wait for them.
/// They are known by having no user: who may not look into a session is not told its kind.
pub fn end_sessions(admin: &mut Psql, name: &str, limit: Duration) -> Result<u64> {
    let deadline = Instant::now() + limit;
    let sql = format!(
        "SELECT count(CASE WHEN coalesce(r.rolsuper, false) AND NOT me.rolsuper THEN false \
         ELSE pg_terminate_backend(a.pid) END) AS n \
         FROM pg_roles me, pg_stat_activity a LEFT JOIN pg_roles r ON r.oid = a.usesysid \
         WHERE me.rolname = current_user AND a.datname = {} AND a.usesysid IS NOT NULL \
         AND a.pid <> pg_backend_pid()",
        literal(name)
    );
    let mut most = 0;
    let mut pause = Duration::from_millis(2);
    loop {
        let left = admin.number(&sql)?;
        most = most.max(left);
        if left == 0 {
            return Ok(most);
        }
        if Instant::now() > deadline {
            return Err(Fault::new(format!("{left} sessions on {name} do not end"))
                .remedy("look at them in pg_stat_activity; a backend in an uninterruptible call needs its cause removed, one of a superuser can only be ended by a superuser")
                .lane(Lane::C)
                .into());
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// The names that this tool gives to databases; PostgreSQL cuts names at 63 bytes.
pub fn side_name(database: &str, purpose: &str, id: &str) -> String {
    let tail = format!("__{purpose}_{id}");
    let mut cut = database.len().min(63 - tail.len());
    while !database.is_char_boundary(cut) {
        cut -= 1;
    }
    format!("{}{tail}", &database[..cut])
}

/// The databases that this tool made beside `database`, each with its purpose: `pre` (undo clone),
/// `failed`, `proof`, `from`.
pub fn own_databases(admin: &mut Psql, database: &str) -> Result<Vec<(String, DatabaseRow)>> {
    let all = databases(admin)?.into_iter();
    Ok(all.filter_map(|row| Some((made_for(&row.name, database)?.to_string(), row))).collect())
}

/// The purpose for which this tool gave `name` to a database beside `database`. Not by a common beginning:
/// what belongs to `app2` is none of `app`'s.
fn made_for(name: &str, database: &str) -> Option<&'static str> {
    ["pre", "failed", "proof", "from"].into_iter().find(|purpose| {
        let id = name.rsplit_once(&format!("__{purpose}_")).map(|(_, id)| id);
        id.is_some_and(|id| id.len() == 20 && name == side_name(database, purpose, id))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn side_names_fit_into_63_bytes() {
        assert_eq!(side_name("app", "pre", "ab12"), "app__pre_ab12");
        let long = side_name(&"й".repeat(40), "failed", "20251227x101500");
        assert!(long.len() <= 63, "{}", long.len());
        assert!(long.ends_with("__failed_20251227x101500"));
    }

    #[test]
    fn a_database_is_ours_by_its_whole_name() {
        let id = "20251227t101500_ab12";
        for purpose in ["pre", "failed", "proof", "from"] {
            for database in ["app", "app__pre_2", &"long".repeat(15), &"й".repeat(30)] {
                assert_eq!(made_for(&side_name(database, purpose, id), database), Some(purpose));
            }
            for (database, other) in [("app", "app2"), ("app2", "app"), ("app", "")] {
                assert_eq!(made_for(&side_name(database, purpose, id), other), None, "{database} {other}");
            }
        }
        for name in ["app", "app__pre_", "app__pre_20251227", &format!("app__old_{id}")] {
            assert_eq!(made_for(name, "app"), None, "{name}");
        }
    }

    #[test]
    fn an_icu_database_is_created_as_one() {
        let shape = Shape {
            encoding: "UTF8".into(),
            collate: "C".into(),
            ctype: "C".into(),
            provider: Some("i".into()),
            icu: Some("ru-RU".into()),
        };
        let sql = create_like("a\"b", &shape);
        assert!(sql.starts_with("CREATE DATABASE \"a\"\"b\" TEMPLATE template0 ENCODING 'UTF8'"), "{sql}");
        assert!(sql.ends_with("LOCALE_PROVIDER icu ICU_LOCALE 'ru-RU'"), "{sql}");
    }
}
