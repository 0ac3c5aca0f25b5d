//! What is around the program dies while it works: the database server, its
//! container, docker's client.

use crate::support::deaths::Victim::{Client, Container, Lock, Server, Server4Ever};
use crate::support::deaths::{Case, Death};
use crate::support::die::some;

const DEATHS: [Death; 17] = [
    (Container, "backup", "dump", &[20]),
    (Client, "backup", "dump", &[20]),
    (Server, "backup", "dump", &[20]),
    (Server, "proof", "restore", &[20]),
    (Client, "proof", "restore", &[20]),
    (Server, "change", "clone", &[20, 30]),
    (Container, "change", "clone", &[20, 30]),
    (Client, "change", "clone", &[20, 30]),
    (Server, "migrate", "apply", &[30]),
    (Container, "migrate", "apply", &[30, 40]),
    (Client, "migrate", "apply", &[30]),
    (Server4Ever, "migrate", "apply", &[40]),
    (Lock, "migrate", "apply", &[40]),
    (Client, "deploy", "up", &[30]),
    (Container, "rollback", "swap", &[30, 40]),
    (Client, "rollback", "swap", &[30, 40]),
    (Client, "rollback", "redeploy previous version", &[30, 40]),
];

#[test]
fn a_release_outlives_the_death_of_server_container_and_client() {
    let mut case = Case::new(None);
    for death in some(DEATHS.to_vec(), 2) {
        case.one(death);
    }
    case.checks.that("no secret", || case.stand.no_secret_anywhere());
    case.checks.all_hold();
}
