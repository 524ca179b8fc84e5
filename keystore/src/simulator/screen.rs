//! What the simulated device shows.

use std::fmt;

use zeroize::Zeroizing;

/// One question on the screen, on as many pages as it takes.
///
/// A page may hold a passphrase, so pages are wiped and never printed by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Screen {
    name: &'static str,
    title: String,
    pages: Vec<Zeroizing<String>>,
}

impl Screen {
    /// Lays `text` out on pages of at most `room` characters; an empty text is one empty page.
    pub(super) fn new(
        name: &'static str,
        title: impl Into<String>,
        text: &str,
        room: usize,
    ) -> Self {
        let mut pages = vec![Zeroizing::new(String::new())];
        let mut left = room;
        for c in text.chars() {
            if left == 0 {
                pages.push(Zeroizing::new(String::new()));
                left = room;
            }
            if let Some(page) = pages.last_mut() {
                page.push(c);
            }
            left -= 1;
        }
        let title = title.into();
        Self { name, title, pages }
    }

    /// Returns the name that the device gives this question in its `ButtonRequest`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the headline, shown on each page.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Returns the text of each page.
    pub fn pages(&self) -> impl ExactSizeIterator<Item = &str> {
        self.pages.iter().map(|page| page.as_str())
    }

    /// Returns how many pages the device announces.
    pub(super) fn page_count(&self) -> u32 {
        u32::try_from(self.pages.len()).unwrap_or(u32::MAX)
    }
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pages = self.pages.len();
        write!(f, "Screen({}, {:?}, {pages} pages)", self.name, self.title)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_into_pages_without_losing_a_character() {
        let screen = Screen::new("x", "Title", "áéíóú", 2);
        assert_eq!(screen.pages().collect::<Vec<_>>(), ["áé", "íó", "ú"]);
        assert_eq!(screen.page_count(), 3);
        assert_eq!(Screen::new("x", "Title", "", 2).page_count(), 1);
        assert_eq!(Screen::new("x", "Title", "áé", 2).page_count(), 1);
    }

    #[test]
    fn debug_shows_no_text() {
        let screen = Screen::new("passphrase_host2", "Confirm passphrase", "hunter2", 95);
        assert!(!format!("{screen:?}").contains("hunter2"));
    }
}
