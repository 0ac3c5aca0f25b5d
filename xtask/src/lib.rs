//! FoxProFlow's release automation. Data flows one way:
//! arguments, config, plan, pipeline, steps, stand, exec, RAW log, evidence, verdict, exit code.

pub mod acts;
pub mod cli;
pub mod clock;
pub mod config;
pub mod error;
pub mod event;
pub mod evidence;
pub mod exec;
pub mod facts;
pub mod fsx;
pub mod lkg;
pub mod pipeline;
pub mod plan;
pub mod redact;
pub mod report;
pub mod sample;
pub mod stand;
pub mod steps;
