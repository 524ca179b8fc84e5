//! Fixtures of the end-to-end tests: real peers, started and stopped.
