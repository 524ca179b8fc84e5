//! Addresses, shown on the device: the one screen that a changed host cannot paint.

use bdk_wallet::KeychainKind;
use bitcoin::Address;
use bitcoin::bip32::{ChildNumber, Fingerprint};
use trezor_client::protos;

use super::descriptor::{Spender, WalletDescriptor};
use super::error::WalletError;
use crate::chain::Chain;
use crate::device::Device;
use crate::interaction::Prompt;

/// Has the person confirm the address at this place on the device.
///
/// # Errors
///
/// [`WalletError::AddressDiffers`] when the device derives another one: a cosigner's key was
/// swapped, or the device is another. [`WalletError::NotOurs`] when none of the keys is its own.
pub async fn show_address(
    device: &Device,
    root: Fingerprint,
    descriptor: &WalletDescriptor,
    chain: Chain,
    keychain: KeychainKind,
    index: u32,
) -> Result<Address, WalletError> {
    let derived = descriptor.address(keychain, index, chain);
    let own = descriptor
        .own(root)
        .ok_or_else(|| WalletError::NotOurs(derived.to_string()))?;
    let step = u32::from(keychain == KeychainKind::Internal);
    let place = [
        ChildNumber::Normal { index: step },
        ChildNumber::Normal { index },
    ];
    let mut request = protos::GetAddress::new();
    request.address_n = own.path().address_n();
    request.address_n.extend(place.map(u32::from));
    request.set_coin_name(chain.coin_name().to_owned());
    request.set_show_display(true);
    request.set_script_type(descriptor.kind().on_device());
    if let Spender::Multisig { needed, keys } = descriptor.spender() {
        let mut multisig = protos::MultisigRedeemScriptType::new();
        multisig.nodes = keys.iter().map(super::xpub::AccountXpub::node).collect();
        multisig.address_n = place.map(u32::from).to_vec();
        multisig.signatures = vec![Vec::new(); keys.len()];
        multisig.set_m(u32::try_from(*needed).expect("at most 15"));
        multisig.set_pubkeys_order(protos::MultisigPubkeysOrder::LEXICOGRAPHIC);
        request.multisig = Some(multisig).into();
    }
    let prompt = Prompt::new(format!("compare the address {derived}"));
    let answer: protos::Address = device.call(prompt, request).await?;
    if answer.address() != derived.to_string() {
        return Err(WalletError::AddressDiffers {
            shown: Prompt::new(answer.address()).to_string(),
            derived: derived.to_string(),
        });
    }
    Ok(derived)
}
