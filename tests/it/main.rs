//! One binary for all end-to-end tests.

mod architecture;
mod threats;
