//! What is built: packages, user, folders, and what runs. User and folders are those of the published images,
//! so that one takes the place of the other.

use super::CHAINS_LABEL;

/// How an image is built out of Debian's packages, and out of programs that are added to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recipe {
    /// Its name: `bcm/NAME` is the name of the image.
    pub name: &'static str,
    /// What it is, in one line.
    pub summary: &'static str,
    /// Where the packages come from, unless another suite is named.
    pub suite: Suite,
    /// The packages; what they depend on is added.
    pub packages: &'static [&'static str],
    /// The package whose version is the image's, unless a program is added.
    pub versioned_by: &'static str,
    /// The user, by number.
    pub uid: u32,
    /// The group, by number.
    pub gid: u32,
    /// The name of the user and of the group, if they are not root's.
    pub account: Option<&'static str>,
    /// `$HOME`.
    pub home: &'static str,
    /// The folder that it writes to; it belongs to the user alone.
    pub data: Option<&'static str>,
    /// What runs.
    pub entrypoint: &'static [&'static str],
    /// The signal that ends it, where that is not SIGTERM.
    pub stop_signal: Option<&'static str>,
    /// The only chains that it may serve.
    pub chains: Option<&'static str>,
    /// Programs that are added from a release or a build, none for what Debian has.
    pub programs: Programs,
}

/// Which suite of Debian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// That of the computer that builds.
    System,
    /// This one: no other has the package.
    Named(&'static str),
}

/// What is added to Debian's packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Programs {
    /// Nothing.
    None,
    /// These, out of a release archive.
    Release(&'static [&'static str]),
    /// This one, which cargo builds.
    Cargo(&'static str),
}

const ROOT_FILES: &str = "base-files";

/// Every recipe that Debian's packages are enough for, and `electrs`.
pub const RECIPES: [Recipe; 6] = [
    Recipe {
        name: "tor",
        summary: "Tor: SOCKS and onion services",
        suite: Suite::System,
        packages: &["tor", ROOT_FILES],
        versioned_by: "tor",
        uid: 1000,
        gid: 1000,
        account: Some("tor"),
        home: "/tmp",
        data: Some("/var/lib/tor"),
        entrypoint: &["tor"],
        stop_signal: None,
        chains: None,
        programs: Programs::None,
    },
    Recipe {
        name: "bitcoind",
        summary: "Bitcoin Knots of Debian sid: regtest only, because it left the majority chain",
        suite: Suite::Named("sid"),
        packages: &["bitcoin-knots", ROOT_FILES],
        versioned_by: "bitcoin-knots",
        uid: 101,
        gid: 101,
        account: Some("bitcoin"),
        home: "/home/bitcoin",
        data: Some("/home/bitcoin/.bitcoin"),
        entrypoint: &["bitcoind"],
        stop_signal: None,
        chains: Some("regtest"),
        programs: Programs::None,
    },
    Recipe {
        name: "electrum",
        summary: "Electrum, the desktop wallet",
        suite: Suite::Named("sid"),
        packages: &["electrum", ROOT_FILES],
        versioned_by: "electrum",
        uid: 1000,
        gid: 1000,
        account: Some("electrum"),
        home: "/home/electrum",
        data: Some("/home/electrum/.electrum"),
        entrypoint: &["electrum"],
        stop_signal: None,
        chains: None,
        programs: Programs::None,
    },
    Recipe {
        name: "wireguard",
        summary: "WireGuard's tools, to bring a tunnel up inside a container",
        suite: Suite::System,
        packages: &[
            "wireguard-tools",
            "iproute2",
            "bash",
            "dash",
            "coreutils",
            ROOT_FILES,
        ],
        versioned_by: "wireguard-tools",
        uid: 0,
        gid: 0,
        account: None,
        home: "/root",
        data: Some("/etc/wireguard"),
        entrypoint: &["wg"],
        stop_signal: None,
        chains: None,
        programs: Programs::None,
    },
    Recipe {
        name: "relay",
        summary: "socat, the end of a tunnel inside an internal network",
        suite: Suite::System,
        packages: &["socat", ROOT_FILES],
        versioned_by: "socat",
        uid: 1000,
        gid: 1000,
        account: Some("relay"),
        home: "/",
        data: None,
        entrypoint: &["socat"],
        stop_signal: None,
        chains: None,
        programs: Programs::None,
    },
    Recipe {
        name: "electrs",
        summary: "electrs, the Electrum server, built from crates.io",
        suite: Suite::System,
        packages: &[ROOT_FILES],
        versioned_by: "base-files",
        uid: 1000,
        gid: 1000,
        account: Some("electrs"),
        home: "/data",
        data: Some("/data"),
        entrypoint: &["electrs"],
        stop_signal: Some("SIGINT"),
        chains: None,
        programs: Programs::Cargo("electrs"),
    },
];

/// The recipes whose program comes from a release archive.
pub const RELEASE_RECIPES: [Recipe; 2] = [
    Recipe {
        name: "bitcoind",
        summary: "Bitcoin Core from its release archive",
        suite: Suite::System,
        packages: &["libc6", "libgcc-s1", "libstdc++6", ROOT_FILES],
        chains: None,
        programs: Programs::Release(&["bitcoind", "bitcoin-cli"]),
        ..RECIPES[1]
    },
    Recipe {
        name: "liquid",
        summary: "Elements from its release archive",
        suite: Suite::System,
        packages: &["libc6", "libgcc-s1", "libstdc++6", ROOT_FILES],
        versioned_by: ROOT_FILES,
        uid: 1000,
        gid: 1000,
        account: Some("elements"),
        home: "/data",
        data: Some("/data"),
        entrypoint: &["elementsd"],
        stop_signal: None,
        chains: None,
        programs: Programs::Release(&["elementsd", "elements-cli"]),
    },
];

impl Recipe {
    /// Finds a recipe by its name.
    pub fn find(name: &str) -> Option<&'static Self> {
        RECIPES.iter().find(|recipe| recipe.name == name)
    }

    /// Finds the recipe of a release archive by its name.
    pub fn find_release(name: &str) -> Option<&'static Self> {
        RELEASE_RECIPES.iter().find(|recipe| recipe.name == name)
    }

    /// Returns the label that limits it to its chains.
    pub(super) fn chains_label(&self) -> Option<(&'static str, &'static str)> {
        self.chains.map(|chains| (CHAINS_LABEL, chains))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knots_serves_regtest_alone_and_core_every_chain() {
        assert_eq!(Recipe::find("bitcoind").unwrap().chains, Some("regtest"));
        assert_eq!(Recipe::find_release("bitcoind").unwrap().chains, None);
        assert!(Recipe::find("../tor").is_none());
    }

    #[test]
    fn an_account_is_root_or_has_a_name() {
        for recipe in RECIPES.iter().chain(&RELEASE_RECIPES) {
            assert_eq!(recipe.account.is_none(), recipe.uid == 0, "{}", recipe.name);
            assert!(recipe.packages.contains(&ROOT_FILES));
            assert!(recipe.home.starts_with('/'));
        }
    }
}
