//! Who attacks.

/// Whom a defence is meant for, and what that adversary can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Adversary {
    /// Nobody: a typing error, a bad day, a power cut.
    Mishap,
    /// Another program of the same person on the same machine, which means well or does not, but
    /// cannot read our memory.
    Neighbour,
    /// Another user of the same machine.
    OtherUser,
    /// Someone between this machine and a host, or the host itself.
    Network,
    /// Whoever made a file that the person works on: a PSBT, a message.
    Correspondent,
    /// A program that answers where a device or a bridge is expected.
    FalseDevice,
    /// Someone who reads the disk, a backup or a core file afterwards.
    DiskReader,
}
