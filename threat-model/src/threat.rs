//! The threats, what answers each, and the tests that prove the answer.

use crate::adversary::Adversary;
use crate::asset::Asset;

/// One way to lose something, and what stands in the way.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Threat {
    /// A number that stays: `T-07`.
    pub id: &'static str,
    /// What happens, in one line.
    pub title: &'static str,
    /// What is lost.
    pub asset: Asset,
    /// Who does it.
    pub adversary: Adversary,
    /// What stands in the way.
    pub mitigation: &'static str,
    /// The tests that prove it: `FILE::FUNCTION`, from the top of the repository.
    pub tests: &'static [&'static str],
}

/// Every threat that is answered. What is not stands in the README, under its own heading.
pub const THREATS: &[Threat] = &[
    Threat {
        id: "T-01",
        title: "The passphrase ends up in a log, in history or in a file",
        asset: Asset::Passphrase,
        adversary: Adversary::DiskReader,
        mitigation: "A secret is a type without `Display`, `Serialize` or `Clone`; messages print \
                     their type and length only; trace events of the device library reach no sink",
        tests: &[
            "tests/it/secrets.rs::the_passphrase_is_written_nowhere",
            "tests/it/secrets.rs::the_search_would_find_a_passphrase_that_was_written",
        ],
    },
    Threat {
        id: "T-02",
        title: "The passphrase is read out of memory: core file, swap, debugger",
        asset: Asset::Passphrase,
        adversary: Adversary::Neighbour,
        mitigation: "Core files and tracing are switched off before the passphrase is read; it \
                     lives in locked pages that are wiped on drop; no flag or variable takes it",
        tests: &["tests/it/secrets.rs::the_process_leaves_no_core_and_lets_nobody_trace_it"],
    },
    Threat {
        id: "T-03",
        title: "A mistyped passphrase opens another, empty wallet unnoticed",
        asset: Asset::Keys,
        adversary: Adversary::Mishap,
        mitigation: "A keyed hash of the wallet's root tells whether it was seen before, and the \
                     shell says which of the two it is on every unlock",
        tests: &["tests/it/unlock.rs::a_mistyped_passphrase_is_a_wallet_never_seen_before"],
    },
    Threat {
        id: "T-04",
        title: "The standard wallet, which whoever holds the seed can open, is used by mistake",
        asset: Asset::Keys,
        adversary: Adversary::Mishap,
        mitigation: "An empty passphrase is refused on the host, and on the device by comparing \
                     with the standard wallet; a device with passphrase protection off is refused \
                     with the command that turns it on",
        tests: &[
            "tests/it/unlock.rs::an_empty_passphrase_is_refused_on_the_host",
            "tests/it/unlock.rs::an_empty_passphrase_is_refused_on_the_device",
            "tests/it/unlock.rs::a_device_without_passphrase_protection_is_refused_with_the_remedy",
        ],
    },
    Threat {
        id: "T-05",
        title: "Another program opens another wallet on the device between two of our requests",
        asset: Asset::Keys,
        adversary: Adversary::Neighbour,
        mitigation: "Our session is selected again before each request and its id compared; a lost \
                     session locks the shell instead of asking another wallet",
        tests: &["tests/it/device_loss.rs::another_wallet_opened_in_between_is_not_ours"],
    },
    Threat {
        id: "T-06",
        title: "Another program takes the device over on the bridge",
        asset: Asset::Consent,
        adversary: Adversary::Neighbour,
        mitigation: "The bridge is asked with the session that we hold; one that was taken is an \
                     error in one line and a locked shell. We take over only with `--take-over`",
        tests: &["tests/it/device_loss.rs::of_two_programs_on_one_device_the_loser_gets_one_line"],
    },
    Threat {
        id: "T-07",
        title: "The device vanishes in the middle of a signature",
        asset: Asset::Consent,
        adversary: Adversary::Mishap,
        mitigation: "Noticed within two seconds, told in one line, locked; `unlock` goes on in the \
                     same shell",
        tests: &["tests/it/device_loss.rs::a_device_lost_in_the_middle_of_a_signature_comes_back"],
    },
    Threat {
        id: "T-08",
        title: "What answers on the device's port is not a Trezor, or lies about lengths",
        asset: Asset::State,
        adversary: Adversary::FalseDevice,
        mitigation: "Lengths are checked against a limit before memory is taken, and every wrong \
                     byte is an error",
        tests: &[
            "tests/it/hostile_device.rs::a_peer_that_sends_rubbish_is_named",
            "tests/it/hostile_device.rs::a_message_with_the_wrong_magic_is_refused",
            "tests/it/hostile_device.rs::an_oversized_message_is_refused_before_it_is_read",
            "tests/it/hostile_device.rs::a_truncated_message_does_not_hang",
            "tests/it/hostile_device.rs::a_bridge_that_answers_500_is_quoted",
        ],
    },
    Threat {
        id: "T-09",
        title: "Another user of the machine asks our agent for a signature",
        asset: Asset::Consent,
        adversary: Adversary::OtherUser,
        mitigation: "The socket is 0600 in a folder that is 0700, the peer's uid is compared, and \
                     the device asks in any case",
        tests: &["tests/it/ssh_agent.rs::the_socket_is_for_its_owner_alone"],
    },
    Threat {
        id: "T-10",
        title: "A host that the person logged in to uses the forwarded agent to log in elsewhere",
        asset: Asset::Hosts,
        adversary: Adversary::Network,
        mitigation: "`session-bind@openssh.com` is honoured: a bound-for-forwarding connection gets \
                     no signature; `ssh connect` never forwards",
        tests: &["tests/it/ssh_agent.rs::a_forwarded_agent_signs_nothing"],
    },
    Threat {
        id: "T-11",
        title: "The agent is asked to sign something that only looks harmless",
        asset: Asset::Consent,
        adversary: Adversary::Neighbour,
        mitigation: "What is to be signed is parsed: a login or an SSHSIG, whose user, host or \
                     namespace stands on the prompt; anything else is refused before the device",
        tests: &[
            "tests/it/ssh_agent.rs::data_of_unknown_form_is_not_signed",
            "tests/it/ssh_agent.rs::only_stored_keys_are_offered",
            "tests/it/ssh_agent.rs::keys_cannot_be_added_or_removed_through_the_socket",
        ],
    },
    Threat {
        id: "T-12",
        title: "Someone else answers at the host's address",
        asset: Asset::Hosts,
        adversary: Adversary::Network,
        mitigation: "The first contact needs a fingerprint that the person compares or gives; the \
                     key is pinned in bcm's own file; a changed key is a hard stop. The system's \
                     known_hosts, configuration and agents are not consulted",
        tests: &[
            "tests/it/ssh_login.rs::an_unknown_host_is_refused_without_its_fingerprint",
            "tests/it/ssh_login.rs::a_host_with_another_fingerprint_is_refused",
            "tests/it/ssh_login.rs::a_changed_host_key_is_a_hard_stop",
        ],
    },
    Threat {
        id: "T-13",
        title: "Two identities that look different have one key",
        asset: Asset::Keys,
        adversary: Adversary::Mishap,
        mitigation: "`/`, `@` and `:` are refused inside the user and the host of an identity that \
                     bcm makes; the protocol is always set, the index always 0",
        tests: &["tests/it/bad_input.rs::malformed_identities_are_refused_by_name"],
    },
    Threat {
        id: "T-14",
        title: "A name from outside repaints the terminal",
        asset: Asset::Terminal,
        adversary: Adversary::Network,
        mitigation: "A prompt is printable ASCII by construction; what a device, host or file says \
                     is escaped before it is shown",
        tests: &[
            "keystore/src/interaction.rs::a_prompt_cannot_carry_terminal_escapes",
            "tests/it/hostile_device.rs::a_label_cannot_repaint_the_terminal",
        ],
    },
    Threat {
        id: "T-15",
        title: "The disk tells that there are hidden wallets, and how many",
        asset: Asset::Deniability,
        adversary: Adversary::DiskReader,
        mitigation: "Each wallet has a folder named by a keyed hash, among decoys made in advance; \
                     what lies inside is sealed under a key that only the device derives",
        tests: &[
            "tests/it/secrets.rs::the_folders_do_not_tell_how_many_wallets_there_are",
            "tests/it/secrets.rs::no_identity_stands_in_the_clear_on_disk",
        ],
    },
    Threat {
        id: "T-16",
        title: "The configuration is changed by hand or by another program",
        asset: Asset::State,
        adversary: Adversary::Neighbour,
        mitigation: "Unknown and duplicate keys are refused by name, values are parsed, and no key \
                     can switch a confirmation on the device off",
        tests: &[
            "tests/it/config.rs::unknown_keys_are_refused_with_the_nearest_name",
            "tests/it/config.rs::a_damaged_file_is_refused_and_left_as_it_is",
        ],
    },
    Threat {
        id: "T-17",
        title: "Someone tries the shell with a simulated device and real money",
        asset: Asset::Keys,
        adversary: Adversary::Mishap,
        mitigation: "A simulated device is marked in every prompt and refuses mainnet, at unlock and \
                     at every change of the chain",
        tests: &["tests/it/unlock.rs::a_simulated_device_refuses_mainnet"],
    },
    Threat {
        id: "T-18",
        title: "Files of bcm are read or replaced by another user",
        asset: Asset::State,
        adversary: Adversary::OtherUser,
        mitigation: "Files are 0600 and folders 0700 from the moment they exist; each is written \
                     beside and renamed, so that a power cut leaves the old or the new one",
        tests: &["tests/it/secrets.rs::files_are_private_from_the_start"],
    },
    Threat {
        id: "T-19",
        title: "An error on the way to an unlock leaves keys usable",
        asset: Asset::Keys,
        adversary: Adversary::Mishap,
        mitigation: "`Session<Locked>` has no operation that needs a key, and only `unlock` makes a \
                     `Session<Unlocked>`; a declined, wrong or lost answer returns the locked one",
        tests: &[
            "tests/it/unlock.rs::a_wrong_pin_is_refused",
            "tests/it/unlock.rs::an_uninitialised_device_is_refused",
            "tests/it/unlock.rs::a_device_in_bootloader_mode_is_refused",
        ],
    },
    Threat {
        id: "T-20",
        title: "An OpenPGP signature or message that was changed or cut off is taken for the real one",
        asset: Asset::Content,
        adversary: Adversary::Network,
        mitigation: "One good signature at least and none that is wrong, judged by what is known of \
                     the certificate now; messages without integrity protection, weak hashes, \
                     expired and revoked certificates are refused with exit code 4",
        tests: &[
            "keystore/src/pgp/tests/signatures.rs::a_flipped_bit_anywhere_is_refused",
            "keystore/src/pgp/tests/signatures.rs::a_truncated_signature_or_message_is_refused",
            "keystore/src/pgp/tests/signatures.rs::text_around_the_signed_part_is_refused",
            "keystore/src/pgp/tests/messages.rs::a_flipped_bit_and_a_cut_off_end_are_refused",
            "keystore/src/pgp/tests/messages.rs::a_message_without_integrity_protection_is_refused",
            "keystore/src/pgp/tests/signatures.rs::an_expired_cert_is_refused_even_for_what_it_signed_before",
        ],
    },
    Threat {
        id: "T-21",
        title: "A stranger's OpenPGP certificate is taken for a friend's",
        asset: Asset::Content,
        adversary: Adversary::Network,
        mitigation: "An import marks nothing; a mark needs the whole fingerprint and remembers the \
                     name that was compared, which no later user ID of the key replaces; a name that \
                     fits two certificates finds neither",
        tests: &[
            "tests/it/pgp.rs::only_the_whole_fingerprint_makes_a_certificate_trusted",
            "keystore/src/pgp/store/tests.rs::a_cert_that_claims_to_be_another_by_mail_is_not_taken_for_it",
            "keystore/src/pgp/store/tests.rs::packets_of_another_key_do_not_get_into_a_cert",
            "keystore/src/pgp/store/tests.rs::a_revocation_by_another_key_revokes_nothing",
        ],
    },
    Threat {
        id: "T-22",
        title: "A message makes the device ask until the person confirms without reading",
        asset: Asset::Consent,
        adversary: Adversary::Network,
        mitigation: "One message asks four times at most, only for keys of this wallet and only \
                     with a point on their curve; a message inside a message is refused",
        tests: &[
            "keystore/src/pgp/tests/messages.rs::a_message_cannot_make_the_device_ask_over_and_over",
        ],
    },
    Threat {
        id: "T-23",
        title: "Another wallet, or something in the device's place, signs for a certificate",
        asset: Asset::Keys,
        adversary: Adversary::FalseDevice,
        mitigation: "The public key that comes back is compared with the certificate, and each \
                     signature is verified before it is handed out",
        tests: &["keystore/src/pgp/tests.rs::another_wallets_device_signs_nothing"],
    },
    Threat {
        id: "T-24",
        title: "A file was changed, or signed by somebody else, and is taken for genuine",
        asset: Asset::Content,
        adversary: Adversary::Network,
        mitigation: "Every failure to verify is exit 4; who signed is told with whether the person \
                     vouched for that key; a decrypted file gets its name only after all of it was \
                     authenticated, and what was already printed is disowned",
        tests: &[
            "tests/it/files_pgp.rs::a_damaged_message_is_exit_4_and_leaves_no_plaintext",
            "tests/it/files_pgp.rs::a_damaged_signature_or_signed_message_is_exit_4",
            "tests/it/files_pgp.rs::a_signature_says_who_when_and_whether_the_key_is_trusted",
            "tests/it/files_age.rs::a_damaged_age_file_is_exit_4_and_leaves_no_plaintext",
            "tests/it/files_signed.rs::a_damaged_ssh_signature_is_exit_4",
            "keystore/src/ssh/sshsig/tests.rs::a_flipped_bit_anywhere_is_refused",
            "keystore/src/signify/tests.rs::a_flipped_bit_anywhere_is_refused",
        ],
    },
    Threat {
        id: "T-25",
        title: "Writing a file destroys another one, or leaves half of one",
        asset: Asset::Content,
        adversary: Adversary::Mishap,
        mitigation: "Output has no name until it is whole and on the disk, so that not even `kill -9` \
                     leaves a part; nothing is replaced without `--force`, and the input never",
        tests: &[
            "tests/it/files.rs::whatever_ends_bcm_leaves_nothing_behind",
            "tests/it/files.rs::a_full_disk_leaves_nothing_behind",
            "tests/it/files.rs::what_is_read_is_never_overwritten",
        ],
    },
    Threat {
        id: "T-26",
        title: "Another user puts a link where plaintext is to be written",
        asset: Asset::Content,
        adversary: Adversary::OtherUser,
        mitigation: "A link is refused, or with `--force` replaced itself, and never followed; \
                     plaintext is 0600; a name that appears meanwhile is not overwritten",
        tests: &[
            "tests/it/files.rs::nothing_is_overwritten_without_force_and_no_link_is_followed",
            "shell/src/files/tests.rs::without_force_nothing_is_overwritten_however_it_got_there",
        ],
    },
    Threat {
        id: "T-27",
        title: "A program uses the session socket behind the person's back, or breaks the session",
        asset: Asset::Consent,
        adversary: Adversary::Neighbour,
        mitigation: "The socket is for the same user only; a request is parsed within bounds, told \
                     on the terminal with the program's name, confirmed on the device, refused \
                     while locked and cancelled when the program goes away",
        tests: &[
            "tests/it/age.rs::hostile_clients_leave_the_session_serving",
            "tests/it/age.rs::a_locked_session_and_a_declined_request_are_told_apart",
            "tests/it/age.rs::locking_ends_what_a_client_waits_for",
            "shell/src/session/socket/tests.rs::hostile_bytes_are_cut_off_without_an_answer",
        ],
    },
    Threat {
        id: "T-28",
        title: "A program adds a reader to the passwords that will be stored",
        asset: Asset::State,
        adversary: Adversary::Neighbour,
        mitigation: "A recipient in a list on disk counts only when the person accepted it, which \
                     the sealed state remembers; links in the store are not followed",
        tests: &[
            "tests/it/password.rs::a_recipient_that_another_program_wrote_gets_nothing",
            "tests/it/password.rs::names_that_leave_the_store_are_refused",
        ],
    },
    Threat {
        id: "T-29",
        title: "A password ends up in a file, a pipe or a clipboard for longer than meant",
        asset: Asset::State,
        adversary: Adversary::Mishap,
        mitigation: "It is printed to a terminal only, unless `--stdout` is given; the clipboard is \
                     cleared after 45 s and when bcm ends; an export wants a typed phrase",
        tests: &[
            "tests/it/password.rs::secrets_go_to_no_pipe_unless_wanted_and_nothing_is_replaced_unless_wanted",
            "tests/it/password.rs::the_clipboard_is_cleared_unless_something_else_was_copied",
            "tests/it/password.rs::at_the_prompt_copying_does_not_wait_and_leaving_clears",
            "tests/it/password.rs::exporting_wants_the_phrase",
        ],
    },
    Threat {
        id: "T-30",
        title: "An age file is forged or cut so that another key is used or less is decrypted",
        asset: Asset::State,
        adversary: Adversary::Network,
        mitigation: "Every stanza is parsed before the device is asked, an all-zero shared secret \
                     is refused, the device's key is compared with the one derived before, and a \
                     file that ends early or was changed fails",
        tests: &[
            "keystore/src/age/identity/tests.rs::a_point_of_low_order_is_refused",
            "keystore/src/age/identity/tests.rs::a_malformed_stanza_is_refused_before_the_device_is_asked",
            "keystore/src/age/stream/tests.rs::a_file_that_ends_early_is_refused_wherever_it_ends",
            "tests/it/password.rs::what_is_declined_or_damaged_or_of_another_wallet_yields_nothing",
        ],
    },
    Threat {
        id: "T-31",
        title: "A PSBT says that less is spent than is, and the rest goes to the miners",
        asset: Asset::Money,
        adversary: Adversary::Correspondent,
        mitigation: "Every amount is compared with the transaction that is spent, whose id is \
                     computed; the device gets the same transactions and compares again; a fee over \
                     10 % or 1000 sat/vB has to be typed",
        tests: &[
            "tests/it/psbt.rs::a_lie_about_an_amount_ends_with_exit_code_4",
            "tests/it/psbt.rs::an_absurd_fee_is_typed_before_it_is_paid",
            "keystore/src/wallet/sign_tx/tests/attacks.rs::what_is_spent_has_to_be_known_and_true",
        ],
    },
    Threat {
        id: "T-32",
        title: "A payment is presented as change, or a cosigner is swapped, so that nobody looks",
        asset: Asset::Money,
        adversary: Adversary::Correspondent,
        mitigation: "Each key that a PSBT calls this wallet's or a cosigner's is derived from the \
                     account key and compared before the device is asked; whose account is not known \
                     is shown as a payment; the device derives change itself",
        tests: &[
            "keystore/src/wallet/sign_tx/tests/attacks.rs::a_payment_that_is_presented_as_change_is_refused",
            "keystore/src/wallet/sign_tx/tests/attacks.rs::a_taproot_output_that_is_presented_as_change_is_refused",
            "keystore/src/wallet/sign_tx/tests/attacks.rs::a_swapped_cosigner_is_refused",
        ],
    },
    Threat {
        id: "T-33",
        title: "A device, or something between, returns a signature for another transaction",
        asset: Asset::Money,
        adversary: Adversary::FalseDevice,
        mitigation: "Every signature is verified against the transaction and the key before it enters \
                     the PSBT, and the transaction that the device serialized has to be the same; \
                     otherwise nothing is kept and the device is not to be trusted",
        tests: &[
            "keystore/src/wallet/sign_tx/tests/attacks.rs::a_signature_for_another_message_never_enters_the_psbt",
            "keystore/src/wallet/sign_tx/tests/attacks.rs::another_transaction_or_no_signature_at_all_is_a_hard_stop",
        ],
    },
    Threat {
        id: "T-34",
        title: "A PSBT asks for a signature that leaves parts of the transaction open",
        asset: Asset::Money,
        adversary: Adversary::Correspondent,
        mitigation: "Sighash types other than ALL and DEFAULT are refused; with a flag they are signed \
                     with ALL, the only one that the device knows",
        tests: &[
            "keystore/src/wallet/sign_tx/tests/attacks.rs::a_sighash_type_that_leaves_something_open_needs_a_flag_and_is_signed_with_all",
        ],
    },
    Threat {
        id: "T-35",
        title: "The address that somebody is to pay to is replaced on this computer",
        asset: Asset::Money,
        adversary: Adversary::Neighbour,
        mitigation: "`wallet receive --show` has the device derive and show the address, and refuses \
                     one that differs from the descriptor's; a multisig wallet is compared when it \
                     is made",
        tests: &[
            "tests/it/wallet.rs::bitcoind_derives_the_addresses_that_the_device_shows",
            "tests/it/wallet.rs::three_devices_share_a_wallet_and_two_of_them_spend_from_it",
        ],
    },
    Threat {
        id: "T-36",
        title: "More leaves a wallet, or to others, than its owner ever wanted",
        asset: Asset::Money,
        adversary: Adversary::Mishap,
        mitigation: "Caps on fees, a limit for a day, a list of addresses and a look at one's own node \
                     are checked before the device is asked; nothing but a change of the rules \
                     overrides them",
        tests: &[
            "tests/it/wallet_refuses.rs::the_owners_rules_are_checked_before_the_device_is_asked",
            "tests/it/wallet_refuses.rs::the_rules_of_one_wallet_hold_for_it_alone",
            "tests/it/wallet_refuses.rs::the_own_node_refuses_a_coin_that_is_spent_or_worth_something_else",
            "tests/it/wallet_refuses.rs::a_fee_out_of_proportion_has_to_be_typed",
        ],
    },
    Threat {
        id: "T-37",
        title: "A node that is behind, or on another chain, makes a wallet believe what is not so",
        asset: Asset::Money,
        adversary: Adversary::Network,
        mitigation: "The genesis block is compared, a node that is catching up is refused, and a file \
                     of blocks has to show its work; the wallet is as it was",
        tests: &[
            "tests/it/wallet_refuses.rs::a_node_that_is_down_busy_or_elsewhere_leaves_the_wallet_as_it_was",
            "tests/it/wallet.rs::an_electrum_server_and_a_file_of_blocks_tell_what_the_node_tells",
        ],
    },
    Threat {
        id: "T-38",
        title: "The disk tells which wallets there are and what they hold",
        asset: Asset::Deniability,
        adversary: Adversary::DiskReader,
        mitigation: "Every wallet of a passphrase lies in one database, in memory only, sealed as one \
                     document among decoys of the same form",
        tests: &["tests/it/wallet_refuses.rs::what_is_known_of_wallets_lies_sealed_among_decoys"],
    },
    Threat {
        id: "T-39",
        title: "A sync that is interrupted leaves half of a wallet",
        asset: Asset::State,
        adversary: Adversary::Mishap,
        mitigation: "The image is written beside and renamed; two programs add their changes to the \
                     newest one under a lock",
        tests: &[
            "tests/it/wallet_refuses.rs::a_sync_that_is_killed_leaves_the_wallet_whole",
            "keystore/src/wallet/book/tests.rs::two_programs_that_use_one_wallet_lose_nothing_to_each_other",
            "keystore/src/wallet/book/tests.rs::programs_that_ask_at_the_same_time_are_given_an_address_each",
        ],
    },
    Threat {
        id: "T-40",
        title: "A plan that was approved once is carried out again, late, elsewhere or out of order",
        asset: Asset::Hosts,
        adversary: Adversary::Network,
        mitigation: "Cluster, chain, serial, the digest of the statement before and an end stand in what is \
                     signed; one that is replayed, skipped, forked, expired or for another place is refused",
        tests: &[
            "keystore/src/statement/tests/refusals.rs::a_statement_is_good_in_one_place_for_a_while",
            "keystore/src/statement/tests/ledger.rs::the_ledger_takes_statements_in_their_order_and_once",
            "keystore/src/statement/tests/ledger.rs::of_two_that_go_on_from_one_statement_the_ledger_takes_one",
        ],
    },
    Threat {
        id: "T-41",
        title: "A plan is changed, or put in the place of another, after the person approved it",
        asset: Asset::Consent,
        adversary: Adversary::Neighbour,
        mitigation: "There is one spelling of a statement; both signatures cover it, are checked again \
                     before the first act, and whatever acts demands the proof that one function makes",
        tests: &[
            "keystore/src/statement/tests/refusals.rs::any_changed_byte_is_refused",
            "keystore/src/statement/tests/refusals.rs::no_signature_stands_in_for_another",
            "keystore/src/statement/tests/form.rs::every_other_spelling_is_refused",
            "tests/it/statement.rs::what_was_signed_is_listed_verified_and_exported_for_gpg",
        ],
    },
    Threat {
        id: "T-42",
        title: "The device shows one plan and signs another: an OpenPGP signature covers no text",
        asset: Asset::Consent,
        adversary: Adversary::Neighbour,
        mitigation: "What acts on a cluster needs the bound approval too: the device signs the text that it \
                     shows, and a verifier computes that text from the statement, by a pinned key",
        tests: &[
            "keystore/src/statement/tests/form.rs::approvals_of_the_genuine_device_verify_and_no_others",
            "keystore/src/statement/tests/form.rs::the_text_on_the_device_is_as_documented",
            "keystore/src/statement/tests/refusals.rs::no_signature_stands_in_for_another",
        ],
    },
    Threat {
        id: "T-43",
        title: "Another program has the session's key, which asks nobody, log in where it likes",
        asset: Asset::Hosts,
        adversary: Adversary::Neighbour,
        mitigation: "The agent signs with it only logins to hosts that the certificate is meant for, whose \
                     key the client proved; no files, nothing forwarded; `ssh.confirm=each` has the device \
                     confirm each login",
        tests: &[
            "keystore/src/ssh/agent/tests/certified.rs::the_session_key_logs_in_to_its_hosts_and_does_nothing_else",
            "tests/it/ssh_certificate.rs::another_program_cannot_take_the_certificate_to_another_host",
            "tests/it/ssh_certificate.rs::each_login_is_confirmed_where_that_was_chosen",
        ],
    },
    Threat {
        id: "T-44",
        title: "A certificate outlives the session, or the person's trust in it",
        asset: Asset::Hosts,
        adversary: Adversary::DiskReader,
        mitigation: "Its key lies in locked memory alone and is wiped with the lock; it ends within 12 hours; \
                     what was issued is noted before it is used, and a list revokes it on the hosts",
        tests: &[
            "tests/it/ssh_certificate.rs::locking_drops_the_certificate",
            "tests/it/ssh_certificate.rs::an_expired_certificate_is_refused",
            "tests/it/ssh_certificate.rs::a_revoked_certificate_is_refused",
        ],
    },
    Threat {
        id: "T-45",
        title: "A folder of stacks from somebody else runs what it wants, or reads what it wants",
        asset: Asset::Hosts,
        adversary: Adversary::Correspondent,
        mitigation: "Every text is of a type that cannot hold a trick of a shell or a path; templates \
                     read no file and no secret; links are refused; a way out, a port on the host and \
                     an image by tag cannot be written down",
        tests: &[
            "tests/it/stack.rs::a_stack_of_ones_own_is_checked_and_joins_the_catalogue",
            "stacks/src/catalog/tests.rs::tricks_of_a_shell_or_a_path_are_refused_where_they_stand",
            "stacks/src/render/template.rs::a_template_reads_no_file_and_knows_no_unknown_variable",
            "stacks/src/plan/tests.rs::every_service_is_locked_in",
        ],
    },
    Threat {
        id: "T-46",
        title: "A release that is attacked, or has left the chain, is run where the money is",
        asset: Asset::Money,
        adversary: Adversary::Network,
        mitigation: "Below the oldest safe release mainnet is refused unless that is typed, and the plan \
                     records it; Bitcoin Knots serves regtest alone; what has no known digest is not pulled",
        tests: &[
            "tests/it/stack.rs::what_cannot_be_is_refused_with_the_next_act",
            "stacks/src/render/tests.rs::knots_serves_regtest_only",
        ],
    },
    Threat {
        id: "T-47",
        title: "Somebody changes what runs on a host, and nobody notices",
        asset: Asset::Hosts,
        adversary: Adversary::Network,
        mitigation: "The signed plan holds the digest of everything that it leads to; what runs is compared \
                     with it to the last field, foreign services and containers among it",
        tests: &["stacks/src/plan/tests.rs::drift_is_found_named_and_mended"],
    },
    Threat {
        id: "T-48",
        title: "An onion service that was meant for a few is found by everybody",
        asset: Asset::Hosts,
        adversary: Adversary::Network,
        mitigation: "An onion service that asks for a key is not announced while nobody has one",
        tests: &[
            "tests/it/stack_programs.rs::tor_serves_each_onion_as_soon_as_its_target_is_there",
        ],
    },
    Threat {
        id: "T-49",
        title: "An archive of images holds another image than the one that was agreed on, or escapes when unpacked",
        asset: Asset::Hosts,
        adversary: Adversary::Correspondent,
        mitigation: "Archives are hashed while they are read and never unpacked; names, links, lengths and the \
                     digest of each layer are checked; an engine is believed by the ID that it computed",
        tests: &[
            "stacks/src/image/archive/tests.rs::names_and_links_that_lead_outside_are_refused",
            "stacks/src/image/archive/tests.rs::a_layer_that_is_not_what_the_configuration_says_is_refused",
            "tests/it/image.rs::what_docker_saves_is_loaded_after_it_was_verified",
        ],
    },
    Threat {
        id: "T-50",
        title: "Upstream's release was swapped, or one of its builders is forced or robbed",
        asset: Asset::Hosts,
        adversary: Adversary::Network,
        mitigation: "A release is built only from an archive whose digest three builders with distinct primary \
                     keys attest, none of them revoked, expired or of another mind",
        tests: &[
            "tests/it/image_release.rs::a_release_that_too_few_attest_is_refused_and_each_reason_told",
            "tests/it/image_release.rs::what_was_not_attested_is_not_built",
        ],
    },
    Threat {
        id: "T-51",
        title: "A host of somebody else, or an engine with a known hole, becomes part of a cluster",
        asset: Asset::Hosts,
        adversary: Adversary::Mishap,
        mitigation: "Another swarm, foreign things with our names and engines that may send encrypted \
                     networks in the clear are refused; what fails half-way is undone",
        tests: &[
            "tests/it/engine.rs::what_is_not_ours_is_refused_and_nothing_is_half_joined",
            "cluster/src/docker/engine/tests.rs::an_old_engine_is_refused_with_both_versions",
        ],
    },
    Threat {
        id: "T-52",
        title: "To look at a service, a port is opened that others find",
        asset: Asset::Hosts,
        adversary: Adversary::Network,
        mitigation: "A tunnel ends on the controller's loopback and goes through the engine's socket; \
                     nothing is published, and what it needs on the host ends with it",
        tests: &[
            "tests/it/engine_commands.rs::a_tunnel_leads_to_a_service_without_a_port_being_opened",
        ],
    },
    Threat {
        id: "T-53",
        title: "A host that was prepared lets somebody else in, or shows more than sshd to the network",
        asset: Asset::Hosts,
        adversary: Adversary::Network,
        mitigation: "One account, open to certificates of the device's CA alone; no passwords, no \
                     other keys, no root; a default-deny table in front of the engine's own, with \
                     the swarm's ports open to members",
        tests: &[
            "tests/it/cluster_prepare.rs::a_bare_host_becomes_a_member_and_lets_nobody_else_in",
        ],
    },
    Threat {
        id: "T-54",
        title: "A preparation that is cut leaves a host half open, or shuts its owner out",
        asset: Asset::Hosts,
        adversary: Adversary::Mishap,
        mitigation: "The old way in is closed only after the new one was tried; services note what \
                     they have read, so that the next run goes on where the last one was cut",
        tests: &[
            "tests/it/cluster_prepare.rs::a_run_that_is_killed_is_gone_on_with",
            "cluster/src/prepare/plan/tests.rs::the_old_way_is_closed_only_behind_the_new_one",
            "cluster/src/prepare/plan/tests.rs::a_run_that_was_cut_anywhere_is_gone_on_with",
        ],
    },
    Threat {
        id: "T-55",
        title: "What is done to a cluster goes beyond what was signed, or a run that was cut off leaves it half done",
        asset: Asset::Hosts,
        adversary: Adversary::Network,
        mitigation: "Only the calls of a verified statement are made, their bodies hashed again, and none that is not \
                     named after its chain; each can be made again, so that the next run finishes",
        tests: &[
            "stacks/src/apply/tests.rs::nothing_but_what_is_named_after_the_chain_is_touched",
            "tests/it/stack_apply.rs::a_start_that_was_killed_is_finished_by_the_next",
        ],
    },
    Threat {
        id: "T-56",
        title: "A program in a container ignores its proxy and tells the world where it is",
        asset: Asset::Hosts,
        adversary: Adversary::Network,
        mitigation: "Every network but that of tor alone is internal: there is no route out",
        tests: &[
            "tests/it/stack_apply.rs::tor_and_bitcoind_are_signed_started_verified_and_removed",
        ],
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_threat_has_a_number_of_its_own_and_a_proof() {
        let ids: BTreeSet<_> = THREATS.iter().map(|threat| threat.id).collect();
        assert_eq!(ids.len(), THREATS.len());
        for (at, threat) in THREATS.iter().enumerate() {
            assert_eq!(threat.id, format!("T-{:02}", at + 1));
            assert!(!threat.tests.is_empty(), "{} is unproved", threat.id);
        }
    }
}
