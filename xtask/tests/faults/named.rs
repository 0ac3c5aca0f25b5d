//! The cells of a run that ends as if no call in it were broken: each
//! call by its name, each with the reason. What is not here is a failure of
//! the matrix, and so is an entry that no call fits.

use crate::judge::Phase;
use crate::plays::Play;
use crate::tape::Kind;
use regex::Regex;
use std::sync::LazyLock;

/// An exception.
pub struct Named {
    /// In which commands; none: in all.
    pub only: &'static [Play],
    pub when: Phase,
    /// How the name of the call begins (see [`name`]).
    pub call: &'static str,
    /// The ways of breaking.
    pub ways: &'static [Kind],
    pub why: &'static str,
}

const BACK: &[Play] = &[Play::Undo, Play::Recover, Play::From];
const SOFT: &[Kind] = &[Empty, Garbage, Lie, Half];
const ALL: &[Kind] = &[Exit1, Killed, Hangs, Empty, Garbage, Lie, Half];
const UNREAD: &[Kind] = &[Empty, Garbage, Half];

const fn named(when: Phase, call: &'static str, ways: &'static [Kind], why: &'static str) -> Named {
    Named { only: &[], when, call, ways, why }
}

const fn only(
    only: &'static [Play],
    when: Phase,
    call: &'static str,
    ways: &'static [Kind],
    why: &'static str,
) -> Named {
    Named { only, when, call, ways, why }
}

use Kind::{Empty, Exit1, Garbage, Half, Hangs, Killed, Lie};
use Phase::{After, Back, Before, Changed};

const VERSION: &str = "a version for the records; the summary says when it is not known";
const COURTESY: &str = "tells the one who waits how far this is; the lock holds without it";
const BY_EXIT: &str = "its exit code is the answer, and that is the true one";
const AGAIN: &str = "asked again until the server answers";
const WORDS: &str = "it was done and only its words are lost; nobody reads them, the world is looked at";
const PORTRAIT: &str = "a portrait of the services for the evidence; that it is missing is said";
const TIDY: &str = "tidies up when all is back: what stays behind is said and changes no verdict";
const LATER: &str =
    "tidies up after a release that has passed: what stays behind the next one that passes takes away";
const READ_BACK: &str = "the dump is read to its end, which a recording cannot; real_engine cuts one off";
const LAID_OUT: &str =
    "whether the previous source lies there already; it is laid out anew where that is not sure";
const RUNS: &str = "asked again until every service is seen to run, all through the soak";
const SUMS: &str =
    "the sums of the clone: without them a rollback tells less; the clone is closed in a session of its own";
const SUMS_AGAIN: &str =
    "a second look at the clone, which nobody was let into; rollback.json says whether it was taken";
const PROOF: &str =
    "the proof restores what was written, which a recording cannot; real_engine breaks archives";

#[rustfmt::skip] // a table
pub const NAMED: &[Named] = &[
    // Before the stop.
    named(Before, "git --version", ALL, VERSION),
    named(Before, "docker compose version", ALL, VERSION),
    named(Before, "psql foxproflow | SELECT current_setting('server_version')", &[Garbage, Lie], VERSION),
    named(Before, "docker info", &[Lie], "another version or directory, well-formed: nothing else tells of them"),
    named(Before, "docker compose config --format json", &[Lie], "another definition, well-formed: nothing else tells of it"),
    named(Before, "docker compose config --hash", &[Lie], "for a warning only"),
    named(Before, "docker image inspect --format {{.Id}} foxproflow-demo-base:1", ALL, "the base image's id for the plan; it is not released"),
    named(Before, "git log --format=%s", SOFT, "subjects name tasks for the charter; no gate is judged by them"),
    named(Before, "git rev-parse --abbrev-ref HEAD", &[Lie, Half], "another name of a branch is a name of a branch; a label in the records"),
    named(Before, "git status -sb", &[Lie, Half], "lines for the log; dirt is what `status --porcelain` tells"),
    named(Before, "git cat-file -e", &[Exit1, Garbage, Lie], "git's own word for a commit that is not here is exit 1; what it prints is not read"),
    named(Before, "git diff --name-status", &[Empty], "that nothing changed is an answer of a git that works, too"),
    named(Before, "git ls-tree", &[Lie], "another name of a file that nothing asks for; those that are asked for are read"),
    named(Before, "docker exec pg_isready", ALL, AGAIN),
    named(Before, "psql postgres | SELECT 1", ALL, AGAIN),
    named(Before, "psql postgres | SET application_name = 'ffxlock", ALL, COURTESY),
    named(Before, "psql postgres | SELECT '{\"rid\"", ALL, COURTESY),
    named(Before, "psql postgres | SELECT row_to_json(q) FROM ( SELECT a.query", ALL, "asked to refuse early and in better words; the lock is taken later, or not"),
    named(Before, "docker exec sh -c df -Pk", ALL, "free space for the records; R0 asks again, and fails when it gets no answer"),
    named(Before, "docker exec sh -c exec $(command -v python3", ALL, "the baseline, which is never a refusal, and which tasks were active"),
    named(Before, "psql foxproflow | SELECT pg_database_size(current_database())", &[Lie], "another size, well-formed; R0 looks at the free space itself"),
    named(Before, "psql foxproflow | SELECT row_to_json(q) FROM ( SELECT pg_current_snapshot()", &[Lie], "another snapshot or database, well-formed; for counting what a rollback from this backup sets aside"),
    named(Before, "psql foxproflow | SELECT count(*) FROM pg_class", &[Lie], "another number of tables, for the expected downtime"),
    named(Before, "psql foxproflow | SELECT pg_database_size('foxproflow') * 13", &[Lie], "another size, well-formed; for what the plan says"),
    named(Before, "psql postgres | SELECT pg_database_size('foxproflow') * 13", &[Lie], "another size, well-formed"),
    named(Before, "psql foxproflow | SELECT row_to_json(q) FROM ( SELECT datname AS name", &[Lie], "for what the plan says will be dropped"),
    named(Before, "psql foxproflow | SELECT row_to_json(q) FROM ( SELECT format('%I.%I', schemaname, sequencename)", &[Lie], "sequences of the copy may be ahead of it"),
    named(Before, "docker exec pg_dumpall", &[Lie], "other roles, well-formed; nothing is restored from them by this program"),
    named(Before, "docker exec pg_dump -U foxproflow -d foxproflow -Fc", &[Garbage, Lie, Half], PROOF),
    named(Before, "docker exec pg_restore -C", &[Lie], "another property, well-formed; verify suites and the smoke look at what they need"),
    named(Before, "docker exec pg_restore -l", &[Garbage, Lie, Half], PROOF),
    named(Before, "docker exec pg_restore -U", UNREAD, WORDS),
    named(Before, "docker exec sh -c umask 077; cat >", UNREAD, WORDS),
    named(Before, "docker exec sh -c rm -rf", UNREAD, WORDS),
    named(Before, "docker exec rm -f", SOFT, "a copy in the container's /tmp stays behind: the end of a release or the next rollback removes it"),
    named(Before, "docker compose build", UNREAD, WORDS),
    named(Before, "psql postgres | CHECKPOINT", ALL, "makes the clone quicker; nothing depends on it"),
    named(Before, "docker tag", UNREAD, WORDS),
    named(Before, "psql postgres | SELECT row_to_json(q) FROM ( SELECT datname AS name, oid", &[Lie], "another row, well-formed: nothing else tells of a database"),
    named(Before, "psql postgres | SELECT count(pg_terminate_backend(pid)) AS n", &[Lie], "another number, for the records; who is still there is asked after it"),
    named(Before, "git rev-parse --verify HEAD^{tree}", &[Lie], "another tree, well-formed: then the checkout has moved on, which is only told"),
    named(Before, "git rev-parse --verify {{SHA}}^{tree}", &[Lie], "another tree, well-formed: then the checkout has moved on, which is only told"),
    named(Before, "git merge-base --is-ancestor", ALL, "the branches are asked for the commit, too"),
    named(Before, "docker ps -a", &[Lie], "another service's name, well-formed; who runs is looked at again after the change"),
    named(Before, "docker image ls", &[Empty], "that no image is there is an answer of an engine that works, too"),
    named(Before, "psql foxproflow | SELECT row_to_json(q) FROM ( SELECT format('%I.%I', n.nspname, c.relname)", &[Lie], "another size or number of rows, well-formed; for how far and how long"),
    named(Before, "psql foxproflow | SELECT row_to_json(q) FROM ( SELECT 'pg_largeobject'", &[Lie], "another size, well-formed; for how far and how long"),
    named(Before, "psql foxproflow__proof_{{ID}} | SELECT row_to_json(q) FROM ( SELECT format('%I.%I', n.nspname, c.relname)", &[Lie], "another size or number of rows, well-formed; for how far and how long"),
    named(Before, "psql foxproflow__proof_{{ID}} | SELECT row_to_json(q) FROM ( SELECT 'pg_largeobject'", &[Lie], "another size, well-formed; for how far and how long"),
    named(Before, "psql foxproflow__proof_{{ID}} | SELECT row_to_json(q) FROM ( SELECT format('%I.%I', schemaname, sequencename)", &[Lie], "sequences of the copy may be ahead of it"),
    named(Before, "psql postgres | DROP DATABASE", &[Empty], WORDS),
    named(Before, "psql postgres | CREATE DATABASE", &[Empty], WORDS),
    named(Before, "git worktree", UNREAD, WORDS),
    named(Before, "docker compose config -q", SOFT, BY_EXIT),
    named(Before, "docker context inspect", &[Lie, Half], "another address of an engine here, well-formed"),
    named(Before, "docker exec sh -c cd /tmp/ffx_{{ID}}_sql && xargs -0 sha256sum", &[Lie], "another file's name; the hashes are compared, in the order in which they were asked for"),
    named(Before, "sh | ( cd '.' && exec 'true' )", SOFT, BY_EXIT),
    named(Before, "git rev-parse --show-toplevel", &[Lie, Half], "another directory that is there; a label in the records"),
    // In other commands than a release.
    only(&[Play::Smoke], Before, "git rev-parse --verify HEAD^{commit}", ALL, "the commit for the records; the checks ask what runs"),
    only(&[Play::Smoke], Before, "docker version", &[Lie, Half], VERSION),
    only(&[Play::Doctor], Before, "docker ps -a", &[Empty], "that no container is there is an answer of an engine that works, too; it is what is said then"),
    only(&[Play::From], Before, "psql postgres | SELECT row_to_json(q) FROM ( SELECT datname AS name, oid", ALL, "for the list of the other ways back, which says what is not known"),
    only(&[Play::From], Before, "psql foxproflow | SELECT row_to_json(q) FROM ( SELECT e.extname", &[Lie], "another version of an extension, well-formed: the copy gets one that is there, or is not made"),
    only(&[Play::Undo, Play::Recover, Play::From, Play::Backup], Before, "git rev-parse --verify HEAD^{commit}", &[Lie], "another commit, well-formed; for the records"),
    only(&[Play::From], Before, "psql postgres | ALTER DATABASE \"foxproflow__from_{{ID}}\"", &[Empty], WORDS),
    only(&[Play::From], Before, "psql foxproflow__from_{{ID}} | SELECT row_to_json(q) FROM ( SELECT format('%I.%I', n.nspname, c.relname)", &[Lie], "another size or number of rows, well-formed; for how far and how long"),
    only(&[Play::From], Before, "psql foxproflow__from_{{ID}} | SELECT row_to_json(q) FROM ( SELECT 'pg_largeobject'", &[Lie], "another size, well-formed; for how far and how long"),
    only(&[Play::From], Before, "psql postgres | SELECT pg_snapshot_xmax", &[Lie], "another transaction, well-formed: it is asked again under the fence"),
    only(BACK, Before, "git rev-parse --abbrev-ref HEAD", ALL, "a label in the records"),
    only(&[Play::Release], Before, "docker inspect --type container", &[Lie], "asked again under the lock"),
    only(BACK, Before, "docker ps -a", &[Empty], "asked again before each act"),
    only(BACK, Before, "docker inspect --type container", &[Lie], "asked again before each act"),
    only(BACK, Before, "psql postgres | SELECT pg_database_size(oid)", SOFT, "a size for the one who is asked"),
    only(BACK, Before, "psql postgres | SELECT count(pg_terminate_backend(pid)) FROM", &[Lie], "another number, for the records; asked until none are left"),
    only(BACK, Before, "docker exec sh -c for f in /tmp/ffx_", SOFT, "a file of a dead run stays in the container's /tmp until the next rollback"),
    // While the stand is changed.
    named(Changed, "docker exec sh -c exec $(command -v python3", ALL, "asked again until all is good or the time for it is up"),
    named(Changed, "docker logs", ALL, PORTRAIT),
    named(Changed, "psql foxproflow__pre_{{ID}} |", ALL, SUMS),
    named(Changed, "psql postgres | ALTER DATABASE \"foxproflow__pre_{{ID}}\" WITH ALLOW_CONNECTIONS", ALL, SUMS),
    named(Changed, "psql postgres | SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = 'foxproflow__pre_{{ID}}'", ALL, SUMS),
    named(Changed, "psql postgres | SELECT 1", ALL, SUMS),
    named(Changed, "psql postgres | SELECT count(CASE WHEN coalesce(r.rolsuper", &[Lie], "another number, for the records; who is still there is asked after it"),
    named(Changed, "psql postgres | CREATE DATABASE", &[Empty], WORDS),
    named(Changed, "psql postgres | ALTER DATABASE \"foxproflow\" WITH ALLOW_CONNECTIONS", &[Empty], WORDS),
    named(Changed, "psql postgres | SELECT row_to_json(q) FROM ( SELECT datname AS name, oid", &[Lie], "another row, well-formed: nothing else tells of a database; a rollback that does not find the clone by its OID says so"),
    named(Changed, "psql postgres | SELECT row_to_json(q) FROM ( SELECT 'role '", &[Lie], "for what a rollback says of roles; nothing is done by it"),
    named(Changed, "psql postgres | SELECT pg_snapshot_xmax", &[Lie], "another transaction, well-formed; for counting what a rollback sets aside"),
    named(Changed, "psql postgres | SELECT current_setting('server_version_num')", &[Lie], "another version, well-formed: it chooses how the clone is made"),
    named(Changed, "docker exec redis-cli -n 0 < EVAL", &[Lie], "another number of keys, for the records"),
    named(Changed, "docker ps -a", &[Empty, Lie], RUNS),
    named(Changed, "docker inspect --type container", &[Lie], RUNS),
    named(Changed, "docker compose up -d", UNREAD, WORDS),
    named(Changed, "docker compose stop", UNREAD, WORDS),
    named(Changed, "sh |", SOFT, BY_EXIT),
    // After a release that has passed.
    named(After, "docker exec sh -c rm -rf /tmp/ffx_", &[Garbage, Lie], LATER),
    named(After, "docker ps -a", &[Empty, Lie], LATER),
    named(After, "docker inspect --type container", &[Lie], LATER),
    named(After, "docker image ls", &[Empty], LATER),
    named(After, "psql postgres | SELECT row_to_json(q) FROM ( SELECT datname AS name, oid", &[Lie], LATER),
    named(After, "psql postgres | DROP DATABASE", &[Empty], WORDS),
    named(After, "docker tag", UNREAD, WORDS),
    named(After, "git update-ref", &[Half], WORDS),
    named(After, "git worktree remove", ALL, "the directory is removed without git then"),
    named(After, "git worktree prune", UNREAD, WORDS),
    // On the way back.
    only(&[Play::Release], Back, "docker ps -a", ALL, PORTRAIT),
    only(&[Play::Release], Back, "docker inspect --type container", ALL, PORTRAIT),
    named(Back, "docker stop", UNREAD, WORDS),
    named(Back, "docker compose up -d", UNREAD, WORDS),
    only(&[Play::From], Back, "docker compose up -d", &[Lie], "the recording looks at the same containers before the stop and after the start alone: it tells of them as of before"),
    named(Back, "docker compose config -q", SOFT, BY_EXIT),
    named(Back, "git worktree", UNREAD, WORDS),
    named(Back, "git worktree remove", ALL, TIDY),
    named(Back, "docker exec pg_dump -U foxproflow -d foxproflow__failed_{{ID}}", SOFT, READ_BACK),
    named(Back, "docker exec pg_restore -f /dev/null", SOFT, BY_EXIT),
    named(Back, "docker exec sh -c rm -rf /tmp/ffx_", ALL, TIDY),
    named(Back, "docker image ls", ALL, TIDY),
    only(&[Play::Recover], Back, "git update-ref -d", ALL, TIDY),
    named(Back, "docker image rm", ALL, TIDY),
    named(Back, "docker exec redis-cli -n 0 < KEYS \"ff:freeze:*\"", ALL, TIDY),
    named(Back, "docker exec redis-cli -n 0 < DEL", ALL, TIDY),
    named(Back, "git rev-parse HEAD", ALL, LAID_OUT),
    named(Back, "git diff --quiet --ignore-cr-at-eol HEAD", ALL, LAID_OUT),
    named(Back, "psql postgres | SELECT row_to_json(q) FROM ( SELECT 'role '", &[Lie], "for what a rollback says of roles; nothing is done by it"),
    named(Back, "docker ps -a", &[Empty, Lie], RUNS),
    named(Back, "docker inspect --type container", &[Lie], RUNS),
    named(Back, "docker exec redis-cli -n 0 < KEYS", &[Lie], "other keys, well-formed: nothing else tells of what waits"),
    named(Back, "docker exec redis-cli -n 0 < MULTI", &[Lie], "done, says Redis: nothing else tells of what waits"),
    named(Back, "docker exec sh -c exec $(command -v python3", ALL, "asked again until all is good or the time for it is up"),
    named(Back, "docker logs", ALL, PORTRAIT),
    named(Back, "psql foxproflow__pre_{{ID}} |", ALL, SUMS_AGAIN),
    named(Back, "psql postgres | ALTER DATABASE \"foxproflow__pre_{{ID}}\" WITH ALLOW_CONNECTIONS", ALL, SUMS_AGAIN),
    named(Back, "psql postgres | SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = 'foxproflow__pre_{{ID}}'", ALL, SUMS_AGAIN),
    named(Back, "psql postgres | SET application_name = 'ffxlock", ALL, COURTESY),
    named(Back, "psql postgres | SELECT '{\"rid\"", ALL, COURTESY),
    named(Back, "psql postgres | SELECT row_to_json(q) FROM ( SELECT datname AS name, oid", &[Lie], "another row, well-formed: asked again after the swap, and R1 wants the clone's OID then"),
    named(Back, "psql postgres | SELECT count(CASE WHEN coalesce(r.rolsuper", &[Lie], "another number, for the records; who is still there is asked after it"),
    named(Back, "psql postgres | SELECT pg_snapshot_xmax", &[Lie], "another transaction, well-formed; on the way back nothing is counted by it"),
    named(Back, "psql postgres | ALTER ", &[Empty], WORDS),
    named(Back, "psql postgres | SELECT count(pg_terminate_backend(pid)) FROM", &[Lie], "another number, for the records; asked until none are left"),
    named(Back, "psql postgres | SELECT count(pg_terminate_backend(pid)) AS n FROM pg_stat_activity WHERE left(application_name", ALL, "sessions of the run that is over: what stays of it is said and changes no verdict"),
    named(Back, "psql postgres | SELECT count(*) FROM pg_stat_activity WHERE datname = 'foxproflow__failed_{{ID}}'", ALL, "whether the dump is in, to close the door behind it; one that is shut out fails"),
    named(Back, "psql postgres | SELECT pg_database_size(oid)", ALL, "a size, for how far the dump is"),
    named(Back, "psql foxproflow__failed_{{ID}} | SELECT row_to_json(q) FROM ( SELECT", &[Lie], "another number of rows, well-formed: for what is told of what was set aside; it is dumped whole"),
    named(Back, "psql postgres | ALTER DATABASE \"foxproflow__failed_{{ID}}\" WITH ALLOW_CONNECTIONS true", &[Lie], "opened to be counted and dumped: a session in it shows that it is"),
    named(Back, "psql postgres | ALTER DATABASE \"foxproflow__failed_{{ID}}\" WITH ALLOW_CONNECTIONS false", &[Lie], "nobody asks the failed database whether it is closed; what it holds is dumped"),
];

/// The entry for a cell.
pub fn find(play: Play, when: Phase, label: &str, way: Kind) -> Option<&'static Named> {
    NAMED.iter().find(|n| n.ways.contains(&way) && n.fits(play, when, label))
}

impl Named {
    fn fits(&self, play: Play, when: Phase, label: &str) -> bool {
        self.when == when
            && (self.only.is_empty() || self.only.contains(&play))
            && name(label).starts_with(self.call)
    }
}

/// Entries that fit none of these calls.
pub fn idle(calls: &[(Play, Phase, String)]) -> Vec<String> {
    let fits = |n: &&Named| calls.iter().any(|(play, when, label)| n.fits(*play, *when, label));
    NAMED.iter().filter(|n| !fits(n)).map(|n| format!("{:?} {}", n.when, n.call)).collect()
}

/// The short id of a run.
static ID: LazyLock<Regex> = LazyLock::new(|| Regex::new("[0-9]{8}t[0-9]{6}_[0-9a-f]{4}").unwrap());

/// What a call is, without what differs from stand to stand: the program, its sub command and what it is
/// asked; a container's id and how the password comes are left out.
pub fn name(label: &str) -> String {
    let mut words: Vec<&str> = label.split_whitespace().collect();
    let is_id = |w: &str| w.len() == 64 && w.bytes().all(|b| b.is_ascii_hexdigit());
    match words[..] {
        ["docker", "exec", ..] => {
            let at = words.iter().position(|w| is_id(w)).unwrap_or(0);
            words.drain(2..=at);
        }
        ["docker", "compose", ..] => {
            // The sub command comes after the last compose file, whose name may have blanks.
            let file = |w: &&str| w.ends_with(".yml") || w.ends_with(".json");
            let at = words.iter().rposition(file).unwrap_or(1);
            words.drain(2..=at);
        }
        ["sh", ..] => {
            words.remove(1);
        }
        _ => {}
    }
    let sha = |w: &&str| w.len() >= 40 && w.as_bytes()[..40].iter().all(u8::is_ascii_hexdigit);
    let known = words.iter().map(|w| if sha(w) { format!("{{{{SHA}}}}{}", &w[40..]) } else { (*w).into() });
    let text = known.collect::<Vec<String>>().join(" ");
    // Of the run that is undone.
    ID.replace_all(&text, "{{ID}}")
        .replace(r#"sh -c PGPASSWORD="${PGPASSWORD-${POSTGRES_PASSWORD-}}" exec "$@" sh "#, "")
}

/// The entries as the document has them.
pub fn table() -> String {
    let mut text = String::from("| run | when | call | ways | why it may pass |\n|---|---|---|---|---|\n");
    for n in NAMED {
        let ways = if n.ways.len() == ALL.len() {
            "all".to_string()
        } else {
            n.ways.iter().map(|way| format!("{way:?}").to_lowercase()).collect::<Vec<_>>().join(", ")
        };
        let plays = match n.only.is_empty() {
            true => "any".into(),
            false => n.only.iter().map(|p| p.name()).collect::<Vec<_>>().join(", "),
        };
        let call = n.call.replace('|', "\\|");
        text.push_str(&format!("| {plays} | {:?} | `{call}` | {ways} | {} |\n", n.when, n.why));
    }
    text
}
