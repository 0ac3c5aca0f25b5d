//! Releases on the real engine: copies of the sample stand with a real
//! PostgreSQL, Redis, API and Celery worker, and the real binary, run as an
//! operator runs it. One binary, so that stands work side by side.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

#[path = "support/scenes/around.rs"]
mod around;
#[path = "support/scenes/asked.rs"]
mod asked;
#[path = "support/scenes/back.rs"]
mod back;
#[path = "support/scenes/bad.rs"]
mod bad;
#[path = "support/scenes/commands.rs"]
mod commands;
#[path = "support/scenes/crash.rs"]
mod crash;
#[path = "support/scenes/crash_back.rs"]
mod crash_back;
#[path = "support/scenes/dumps.rs"]
mod dumps;
#[path = "support/scenes/early.rs"]
mod early;
#[path = "support/scenes/full.rs"]
mod full;
#[path = "support/scenes/gates.rs"]
mod gates;
#[path = "support/scenes/good.rs"]
mod good;
#[path = "support/scenes/keys.rs"]
mod keys;
#[path = "support/scenes/machines.rs"]
mod machines;
#[path = "support/scenes/room.rs"]
mod room;
#[path = "support/scenes/secrets.rs"]
mod secrets;
#[path = "support/scenes/signals.rs"]
mod signals;
#[path = "support/scenes/stop.rs"]
mod stop;
#[path = "support/scenes/trouble.rs"]
mod trouble;
#[path = "support/scenes/waived.rs"]
mod waived;
#[path = "support/scenes/ways.rs"]
mod ways;
#[path = "support/scenes/writers.rs"]
mod writers;
