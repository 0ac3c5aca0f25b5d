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

/// How the tests of properties (tests/properties.rs of a module) are run: the same inputs every
/// time, so that a failure is there again. Others: PROPTEST_RNG_SEED=N, PROPTEST_CASES=N.
#[cfg(test)]
mod property {
    use proptest::test_runner::{Config, RngSeed, TestCaseResult, TestRunner};

    /// Holds `check` for `cases` values of `strategy`, else shows the smallest value that fails.
    pub fn hold<S: proptest::strategy::Strategy>(
        cases: u32,
        strategy: S,
        check: impl Fn(S::Value) -> TestCaseResult,
    ) {
        let mut config = Config { failure_persistence: None, ..Config::default() };
        if std::env::var_os("PROPTEST_CASES").is_none() {
            config.cases = cases;
        }
        if config.rng_seed == RngSeed::Random {
            config.rng_seed = RngSeed::Fixed(20_251_227);
        }
        let seed = config.rng_seed;
        if let Err(why) = TestRunner::new(config).run(&strategy, check) {
            panic!("PROPTEST_RNG_SEED={seed}: {why}");
        }
    }
}
