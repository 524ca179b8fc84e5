//! What a person can do next, written beside the error where the cause is known.

/// An error that knows the next act of the person who meets it.
pub trait Hint {
    /// Returns the next act, best a command to copy, or `None` where there is none to name.
    fn hint(&self) -> Option<String>;
}
