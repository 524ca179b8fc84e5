//! What stands before the line: which wallet, where, and whether it is real.

use std::sync::Arc;

use crate::session::{Keeper, Status};
use crate::ui::Style;

/// A prompt that turns into `(locked)` under the fingers of whoever is typing.
#[derive(Debug)]
pub struct Prompt {
    keeper: Arc<Keeper>,
    open: Option<Text>,
    locked: Text,
}

#[derive(Debug)]
struct Text {
    raw: String,
    styled: String,
}

impl Prompt {
    /// Makes the prompt for the next line.
    pub fn new(keeper: &Arc<Keeper>) -> Self {
        let open = keeper.status().map(|status| open(&status));
        // the editor measures the prompt once, so both forms are equally wide
        let width = open.as_ref().map_or(0, |text| text.raw.chars().count());
        Self {
            keeper: keeper.clone(),
            locked: locked(width),
            open,
        }
    }

    fn now(&self) -> &Text {
        match &self.open {
            Some(open) if self.keeper.status().is_some() => open,
            _ => &self.locked,
        }
    }
}

impl rustyline::Prompt for Prompt {
    fn raw(&self) -> &str {
        &self.now().raw
    }

    fn styled(&self) -> &str {
        &self.now().styled
    }
}

fn open(status: &Status) -> Text {
    let rest = format!(
        "{}:{} {} {}> ",
        crate::ui::printable(&status.label),
        status.wallet,
        status.chain,
        status.cluster.as_deref().unwrap_or("no-cluster"),
    );
    let mark = if status.simulated { "SIMULATED " } else { "" };
    Text {
        raw: format!("bcm {mark}{rest}"),
        styled: format!("bcm {}{rest}", Style::Error.paint(mark, !mark.is_empty())),
    }
}

fn locked(width: usize) -> Text {
    let raw = format!(
        "{:width$}> ",
        "bcm (locked)",
        width = width.saturating_sub(2)
    );
    Text {
        styled: raw.clone(),
        raw,
    }
}

#[cfg(test)]
mod tests {
    use bcm_keystore::Chain;

    use super::*;

    fn status(simulated: bool) -> Status {
        Status {
            label: "my\u{1b}trezor".into(),
            wallet: "1a2b3c4d".into(),
            chain: Chain::Signet,
            cluster: None,
            simulated,
        }
    }

    #[test]
    fn it_names_wallet_chain_and_cluster_and_warns_of_simulation() {
        let real = open(&status(false));
        assert_eq!(real.raw, "bcm my?trezor:1a2b3c4d signet no-cluster> ");
        assert_eq!(real.raw, real.styled);
        let simulated = open(&status(true));
        assert!(simulated.raw.starts_with("bcm SIMULATED my?trezor:"));
        assert!(simulated.styled.starts_with("bcm \u{1b}[1;31mSIMULATED "));
    }

    #[test]
    fn a_locked_prompt_is_as_wide_as_the_one_it_replaces() {
        assert_eq!(locked(0).raw, "bcm (locked)> ");
        let open = open(&status(true));
        let width = open.raw.chars().count();
        assert_eq!(locked(width).raw.chars().count(), width);
    }
}
