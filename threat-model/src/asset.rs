//! What is worth an attack.

/// Something that an adversary wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Asset {
    /// The seed and every private key derived from it; they never leave the device.
    Keys,
    /// The passphrase, which passes through the host when it is typed there.
    Passphrase,
    /// A signature or a login that the person did not mean to give.
    Consent,
    /// The hosts that the SSH keys open.
    Hosts,
    /// The knowledge that a hidden wallet exists, and what it holds.
    Deniability,
    /// The bitcoins of a wallet.
    Money,
    /// The state that bcm keeps on disk.
    State,
    /// The terminal, by which the person judges everything else.
    Terminal,
}
