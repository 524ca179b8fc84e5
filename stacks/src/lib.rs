//! The Bitcoin stacks, their catalogue and dependencies.
