//! What a signature is for, in the words that the device and the terminal show.

use ssh_key::Fingerprint;

use super::key::SshKey;
use super::request::SignedData;
use crate::interaction::Prompt;

/// Longest text that the device is given to show with a signature, in characters.
///
/// With the longest identity ([`crate::identity::MAX_SSH_IDENTITY`]) it fills two pages.
pub const MAX_VISUAL: usize = 100;

/// Longest login name or namespace that is shown.
const MAX_NAME: usize = 32;

/// The host that a login goes to, as far as the client proved it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BoundHost {
    /// Its key is pinned under this name.
    Pinned(String),
    /// It has this key, which is not pinned.
    Unknown(Fingerprint),
    /// The client said nothing about the host: it is older than `session-bind@openssh.com`.
    Unbound,
}

/// What a signature is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purpose {
    data: SignedData,
    host: BoundHost,
}

impl Purpose {
    /// Joins what is signed to the host that it is for.
    pub fn new(data: SignedData, host: BoundHost) -> Self {
        Self { data, host }
    }

    /// Returns what is signed.
    pub fn data(&self) -> &SignedData {
        &self.data
    }

    /// Returns the text that the device shows: printable ASCII, at most [`MAX_VISUAL`] characters.
    ///
    /// ```text
    /// bcm v1 login root at node1.lan:2222
    /// bcm v1 login root at SHA256:uNiVztksCsDhcc0u9e8BrrlXJHC7QNTNFcaQkx1nKpE
    /// bcm v1 login root at unknown host
    /// bcm v1 sshsig git sha512 3f9a02c1d2e4a5b6
    /// ```
    ///
    /// The user and the namespace come from the request and are cut after 32 characters, the pinned
    /// name after 50, with `~` at the cut; what is not printable becomes `?`. The digest of a file
    /// is cut to its first 8 bytes: the signature covers all of it, the text covers nothing.
    pub fn visual(&self) -> String {
        match &self.data {
            SignedData::Login(login) => {
                format!(
                    "bcm v1 login {} at {}",
                    cut(&login.user, MAX_NAME),
                    self.host_name()
                )
            }
            SignedData::File(file) => format!(
                "bcm v1 sshsig {} {} {}",
                cut(&file.namespace, MAX_NAME),
                file.hash,
                start(&file.digest),
            ),
        }
    }

    /// Returns the words for the terminal while the device waits.
    pub fn prompt(&self, key: &SshKey) -> Prompt {
        Prompt::new(format!(
            "{} with the key {} ({})",
            self.summary(),
            key.identity(),
            key.curve()
        ))
    }

    /// Says in one line what the signature is for: `log in as root at node1.lan`.
    pub fn summary(&self) -> String {
        match &self.data {
            SignedData::Login(login) => {
                format!(
                    "log in as {} at {}",
                    cut(&login.user, MAX_NAME),
                    self.host_name()
                )
            }
            SignedData::File(file) => format!(
                "sign for {} the {} {}",
                cut(&file.namespace, MAX_NAME),
                file.hash,
                start(&file.digest),
            ),
        }
    }

    fn host_name(&self) -> String {
        match &self.host {
            BoundHost::Pinned(name) => cut(name, 50),
            BoundHost::Unknown(fingerprint) => fingerprint.to_string(),
            BoundHost::Unbound => "unknown host".to_owned(),
        }
    }
}

/// Returns the first 8 bytes of a digest, which the device and the terminal both show.
fn start(digest: &[u8]) -> String {
    hex::encode(digest.get(..8).unwrap_or(digest))
}

fn cut(text: &str, most: usize) -> String {
    let printable = |c: char| if ('!'..='~').contains(&c) { c } else { '?' };
    let mut cut: String = text.chars().take(most).map(printable).collect();
    if text.chars().nth(most).is_some() {
        cut.truncate(most - 1);
        cut.push('~');
    }
    cut
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ssh_key::public::{Ed25519PublicKey, KeyData};

    use super::*;
    use crate::ssh::request::{FileSignature, Login};

    fn login(user: &str) -> SignedData {
        SignedData::Login(Box::new(Login {
            certificate: None,
            session_id: vec![1],
            user: user.to_owned(),
            key: KeyData::from(Ed25519PublicKey([7; 32])),
            host_key: None,
        }))
    }

    #[test]
    fn the_device_shows_who_logs_in_where() {
        let fingerprint = KeyData::from(Ed25519PublicKey([7; 32])).fingerprint(Default::default());
        for (host, shown) in [
            (
                BoundHost::Pinned("node1.lan:2222".into()),
                "node1.lan:2222".to_owned(),
            ),
            (BoundHost::Unknown(fingerprint), fingerprint.to_string()),
            (BoundHost::Unbound, "unknown host".to_owned()),
        ] {
            let purpose = Purpose::new(login("root"), host);
            assert_eq!(purpose.visual(), format!("bcm v1 login root at {shown}"));
            assert_eq!(purpose.summary(), format!("log in as root at {shown}"));
        }
    }

    #[test]
    fn the_device_shows_what_a_file_signature_is_good_for() {
        let data = SignedData::File(FileSignature {
            namespace: "git".into(),
            hash: "sha512".into(),
            digest: (0..64).collect(),
        });
        let purpose = Purpose::new(data, BoundHost::Unbound);
        assert_eq!(
            purpose.visual(),
            "bcm v1 sshsig git sha512 0001020304050607"
        );
    }

    #[test]
    fn names_cannot_push_the_rest_off_the_screen_or_imitate_it() {
        let hostile = "root at bank\u{1b}[2J\u{202e}\n".repeat(20);
        let purpose = Purpose::new(login(&hostile), BoundHost::Pinned("node1".into()));
        assert_eq!(
            purpose.visual(),
            "bcm v1 login root?at?bank?[2J??root?at?bank?~ at node1"
        );
    }

    proptest! {
        #[test]
        fn the_text_is_short_and_printable(user in any::<String>(), host in any::<String>()) {
            let visual = Purpose::new(login(&user), BoundHost::Pinned(host)).visual();
            prop_assert!(visual.len() <= MAX_VISUAL, "{} characters", visual.len());
            prop_assert!(visual.bytes().all(|b| (0x20..=0x7e).contains(&b)));
        }
    }
}
