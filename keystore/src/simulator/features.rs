//! What the simulated device says of itself: Trezor T, firmware 2.12.4, built as an emulator.

use protobuf::UnknownValue;
use trezor_client::protos::Features;
use trezor_client::protos::features::{BackupAvailability, Capability, RecoveryStatus};
use trezor_client::protos::{DisplayRotation, HomescreenFormat, SafetyCheckLevel};

use super::engine::Engine;

/// Git revision of the firmware that is simulated.
const REVISION: [u8; 20] = [
    0x30, 0xbe, 0x4e, 0x8c, 0x94, 0x88, 0xee, 0xab, 0x68, 0xf9, 0x94, 0xaf, 0x23, 0xb3, 0xd9, 0xc9,
    0xb7, 0x33, 0x42, 0x66,
];

const CAPABILITIES: [Capability; 20] = [
    Capability::Capability_Bitcoin,
    Capability::Capability_Bitcoin_like,
    Capability::Capability_Binance,
    Capability::Capability_Cardano,
    Capability::Capability_Crypto,
    Capability::Capability_Ethereum,
    Capability::Capability_Monero,
    Capability::Capability_Ripple,
    Capability::Capability_Stellar,
    Capability::Capability_Tezos,
    Capability::Capability_Tron,
    Capability::Capability_U2F,
    Capability::Capability_Shamir,
    Capability::Capability_ShamirGroups,
    Capability::Capability_PassphraseEntry,
    Capability::Capability_Solana,
    Capability::Capability_Translations,
    Capability::Capability_NEM,
    Capability::Capability_EOS,
    Capability::Capability_Brightness,
];

/// A field of `Features` that is younger than the message types of `trezor-client` 0.1.6.
const YOUNGER_FIELD: u32 = 61;

impl Engine {
    /// Describes the device; what needs its storage only while that is unlocked.
    pub(super) fn features(&self, session_id: Option<Vec<u8>>) -> Features {
        let memory = &self.memory;
        let mut told = Features::new();
        told.set_vendor("trezor.io".into());
        told.set_major_version(2);
        told.set_minor_version(12);
        told.set_patch_version(4);
        told.set_device_id(memory.device_id.clone());
        told.set_pin_protection(memory.pin.is_some());
        told.set_language("en-US".into());
        told.label.clone_from(&memory.label);
        told.set_initialized(memory.mnemonic.is_some());
        told.set_revision(REVISION.to_vec());
        told.set_unlocked(memory.unlocked);
        told.set_model("T".into());
        told.set_fw_vendor("EMULATOR".into());
        told.capabilities = CAPABILITIES.map(Into::into).to_vec();
        told.set_sd_card_present(true);
        told.session_id = session_id;
        told.set_busy(false);
        told.set_homescreen_format(HomescreenFormat::Jpeg);
        told.set_internal_model("T2T1".into());
        told.set_homescreen_width(240);
        told.set_homescreen_height(240);
        told.set_language_version_matches(true);
        let younger = told.special_fields.mut_unknown_fields();
        younger.add_value(YOUNGER_FIELD, UnknownValue::Varint(0));
        if memory.unlocked {
            self.add_private_features(&mut told);
        }
        told
    }

    fn add_private_features(&self, told: &mut Features) {
        let memory = &self.memory;
        told.set_passphrase_protection(memory.passphrase_protection);
        told.set_backup_availability(BackupAvailability::NotAvailable);
        told.set_flags(memory.flags);
        told.set_unfinished_backup(false);
        told.set_no_backup(false);
        told.set_recovery_status(RecoveryStatus::Nothing);
        told.set_backup_type(trezor_client::protos::BackupType::Bip39);
        told.set_sd_protection(false);
        told.set_wipe_code_protection(false);
        told.set_passphrase_always_on_device(memory.passphrase_always_on_device);
        told.set_safety_checks(SafetyCheckLevel::Strict);
        told.set_auto_lock_delay_ms(600_000);
        told.set_display_rotation(DisplayRotation::North);
        told.set_experimental_features(false);
        told.set_hide_passphrase_from_host(false);
    }
}
