//! Tests of what only generated inputs show.

mod properties;
