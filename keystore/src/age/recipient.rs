//! Recipients as age takes them on its command line.

use ::age::NoCallbacks;
use ::age::plugin::RecipientPluginV1;
use ::age::ssh::ParseRecipientKeyError;

use super::error::AgeError;
use super::name::AgeName;

/// Parses a recipient: `age1…`, `age1PLUGIN1…`, `ssh-ed25519 …` or `ssh-rsa …`.
///
/// The program of a plugin is looked up here, and run when something is encrypted.
///
/// # Errors
///
/// [`AgeError::Recipient`] says what is wrong, [`AgeError::MissingPlugin`] which program is missing.
pub fn parse_recipient(text: &str) -> Result<Box<dyn ::age::Recipient + Send>, AgeError> {
    let text = text.trim();
    let refuse = |reason| AgeError::Recipient {
        recipient: shown(text),
        reason,
    };
    if AgeName::from_identity_line(text).is_ok() {
        return Err(refuse(
            "it is an identity; `age recipient NAME` prints its recipient",
        ));
    }
    if text.to_ascii_uppercase().starts_with("AGE-SECRET-KEY-") {
        return Err(AgeError::Recipient {
            recipient: "AGE-SECRET-KEY-…".into(),
            reason: "it is a secret key, which now may be in a history or a log",
        });
    }
    if text.starts_with("ssh-") || text.starts_with("ecdsa-") || text.starts_with("sk-") {
        let key = text.parse::<::age::ssh::Recipient>();
        return match key {
            Ok(key) => Ok(Box::new(key)),
            Err(ParseRecipientKeyError::RsaModulusTooSmall) => {
                Err(refuse("the RSA key has fewer than 2048 bits"))
            }
            Err(ParseRecipientKeyError::RsaModulusTooLarge) => {
                Err(refuse("the RSA key has more than 4096 bits"))
            }
            Err(ParseRecipientKeyError::Unsupported(_) | ParseRecipientKeyError::Ignore) => {
                Err(refuse("age encrypts to no SSH keys of this type"))
            }
            Err(_) => Err(refuse("it is no SSH public key")),
        };
    }
    if let Ok(recipient) = text.parse::<::age::x25519::Recipient>() {
        return Ok(Box::new(recipient));
    }
    let recipient = text
        .parse::<::age::plugin::Recipient>()
        .map_err(|_| refuse("it is no age recipient, or was mistyped"))?;
    let plugin = recipient.plugin().to_owned();
    let plugin = RecipientPluginV1::new(&plugin, &[recipient], &[], NoCallbacks)?;
    Ok(Box::new(plugin))
}

/// Makes what was given fit for an error: printable, and no more than a line of it.
fn shown(text: &str) -> String {
    const SHOWN: usize = 70;
    let printable = |c: char| if (' '..='~').contains(&c) { c } else { '?' };
    let mut shown: String = text.chars().take(SHOWN).map(printable).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        let refused = parse_recipient(text).map(|_| ()).unwrap_err();
        refused.to_string()
    }

    #[test]
    fn what_age_takes_is_taken() {
        for recipient in [
            "age13w833gw3nx8tvx6wudl6jzmhru7pc6d5zm6hpugjf94a8xums3eqfyk3qa",
            " age13w833gw3nx8tvx6wudl6jzmhru7pc6d5zm6hpugjf94a8xums3eqfyk3qa\n",
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB9dG4kjRhQTtWTVzd2t27+t0DEHBPW7iOD23TUiYLio comment",
        ] {
            assert!(parse_recipient(recipient).is_ok(), "{recipient}");
        }
    }

    #[test]
    fn what_cannot_be_encrypted_to_is_named() {
        assert!(refusal("age13w833gw3").contains("mistyped"));
        assert!(refusal("AGE-PLUGIN-TREZOR-1VFSKX6M4WQ5SUYMM").contains("identity"));
        assert!(refusal("ssh-dss AAAA").contains("SSH"));
        assert!(refusal("").contains("mistyped"));
        assert!(!refusal("\u{1b}[2J").contains('\u{1b}'));
        let secret = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";
        assert!(!refusal(secret).contains("1GQ9778"));
    }

    #[test]
    fn a_plugin_that_is_not_installed_is_named() {
        let recipient = bech32::encode(
            "age1nobodyhasthis",
            bech32::ToBase32::to_base32(&[1; 32]),
            bech32::Variant::Bech32,
        );
        assert_eq!(
            refusal(&recipient.unwrap()),
            "there is no `age-plugin-nobodyhasthis` on the PATH"
        );
    }
}
