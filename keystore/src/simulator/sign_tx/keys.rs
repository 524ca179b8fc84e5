//! The keys of one transaction: most of its paths share all but the last step.

use std::collections::HashMap;

use super::super::coin::Coin;
use super::super::engine::Stop;
use super::super::keys::{Keychain, Node};
use super::super::path;

pub(super) struct Keys {
    coin: &'static Coin,
    keychain: Keychain,
    parents: HashMap<Vec<u32>, Node>,
}

impl Keys {
    pub(super) fn new(coin: &'static Coin, keychain: Keychain) -> Self {
        Self {
            coin,
            keychain,
            parents: HashMap::new(),
        }
    }

    /// Derives the key at `path`, where that is one of this coin's.
    pub(super) fn derive(&mut self, path: &[u32]) -> Result<Node, Stop> {
        let Some((&last, parents)) = path
            .split_last()
            .filter(|_| path::is_allowed(self.coin, path))
        else {
            return Err(Stop::data("Forbidden key path"));
        };
        if !self.parents.contains_key(parents) {
            let parent = self.keychain.derive("secp256k1", parents)?;
            self.parents.insert(parents.to_vec(), parent);
        }
        self.parents[parents].child(last)
    }
}
