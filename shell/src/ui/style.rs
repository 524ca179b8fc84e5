//! The few colours there are. Nothing is said by colour alone.

/// What a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// The word before an error, and SIMULATED.
    Error,
    /// The word before a hint.
    Hint,
    /// What the person has to do now.
    Attention,
    /// A name in a table.
    Name,
    /// What is secondary.
    Dim,
}

impl Style {
    /// Wraps `text` in the escapes of this style, or leaves it as it is.
    pub fn paint(self, text: &str, color: bool) -> String {
        let code = match self {
            Self::Error => "1;31",
            Self::Hint => "36",
            Self::Attention => "1;33",
            Self::Name => "1",
            Self::Dim => "2",
        };
        if color {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}
