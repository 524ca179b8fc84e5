use ::age::x25519::Identity;
use proptest::prelude::*;

use super::*;

fn encrypted(identity: &Identity, armor: bool, plain: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let recipients: Vec<Box<dyn ::age::Recipient + Send>> = vec![Box::new(identity.to_public())];
    encrypt(recipients, armor, &mut &*plain, &mut file).unwrap();
    file
}

fn decrypted(identity: &Identity, file: &[u8]) -> Result<Vec<u8>, AgeError> {
    let mut plain = Vec::new();
    decrypt(vec![Box::new(identity.clone())], file, &mut plain)?;
    Ok(plain)
}

/// Gives a few bytes at a time, and then fails.
struct Slow<'a>(&'a [u8], usize, bool);

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() && self.2 {
            return Err(io::ErrorKind::StaleNetworkFileHandle.into());
        }
        let read = self.0.len().min(self.1).min(buffer.len());
        buffer[..read].copy_from_slice(&self.0[..read]);
        self.0 = &self.0[read..];
        Ok(read)
    }
}

/// Takes nothing.
struct Full;

impl Write for Full {
    fn write(&mut self, _buffer: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn files_of_every_length_come_back_in_both_forms() {
    let identity = Identity::generate();
    for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 17] {
        let plain: Vec<u8> = (0..length).map(|i| i as u8).collect();
        for armor in [false, true] {
            let file = encrypted(&identity, armor, &plain);
            let begins: &[u8] = if armor { b"-----BEGIN AGE" } else { b"age-" };
            assert!(file.starts_with(begins));
            assert_eq!(decrypted(&identity, &file).unwrap(), plain);
        }
    }
}

#[test]
fn input_in_small_pieces_is_read_as_a_whole() {
    let identity = Identity::generate();
    let plain = vec![5; CHUNK + 3];
    for armor in [false, true] {
        let file = encrypted(&identity, armor, &plain);
        let mut out = Vec::new();
        let slow = Slow(&file, 1, false);
        decrypt(vec![Box::new(identity.clone())], slow, &mut out).unwrap();
        assert_eq!(out, plain);
    }
}

#[test]
fn both_sides_failing_are_told_apart() {
    let identity = Identity::generate();
    let file = encrypted(&identity, false, &vec![5; 3 * CHUNK]);
    let own = || -> Vec<Box<dyn ::age::Identity>> { vec![Box::new(identity.clone())] };
    let cut = Slow(&file[..2 * CHUNK], 1000, true);
    assert!(matches!(
        decrypt(own(), cut, &mut Vec::new()).unwrap_err(),
        AgeError::Read(_)
    ));
    let cut = Slow(&file[..40], 10, true);
    assert!(matches!(
        decrypt(own(), cut, &mut Vec::new()).unwrap_err(),
        AgeError::Read(_)
    ));
    assert!(matches!(
        decrypt(own(), &file[..], &mut Full).unwrap_err(),
        AgeError::Write(_)
    ));
    let recipient =
        || -> Vec<Box<dyn ::age::Recipient + Send>> { vec![Box::new(identity.to_public())] };
    assert!(matches!(
        encrypt(recipient(), false, &mut &b"x"[..], &mut Full).unwrap_err(),
        AgeError::Write(_)
    ));
    assert!(matches!(
        encrypt(recipient(), true, &mut Slow(b"x", 1, true), &mut Vec::new()).unwrap_err(),
        AgeError::Read(_)
    ));
    assert!(matches!(
        encrypt(vec![], false, &mut &b"x"[..], &mut Vec::new()).unwrap_err(),
        AgeError::NoRecipients
    ));
}

#[test]
fn a_file_that_ends_early_is_refused_wherever_it_ends() {
    let identity = Identity::generate();
    let file = encrypted(&identity, false, &[5; 100]);
    for end in 0..file.len() {
        assert!(decrypted(&identity, &file[..end]).is_err(), "{end}");
    }
    let file = encrypted(&identity, false, &vec![5; 2 * CHUNK]);
    let whole_chunk = file.len() - CHUNK - 16;
    assert!(matches!(
        decrypted(&identity, &file[..whole_chunk]).unwrap_err(),
        AgeError::Damaged(_)
    ));
}

#[test]
fn what_is_no_age_file_is_said_to_be_none() {
    let identity = Identity::generate();
    for file in [
        &b""[..],
        b"a",
        b"x",
        b"-",
        b"plain text",
        b"age-encryption.org/v2\n",
    ] {
        let refused = decrypted(&identity, file).unwrap_err();
        assert!(
            matches!(refused, AgeError::NotAge | AgeError::Damaged(_)),
            "{refused}"
        );
    }
}

#[test]
fn a_header_without_end_is_cut_off() {
    let identity = Identity::generate();
    let header = io::Read::chain(&b"age-encryption.org/v1\n-> X25519 "[..], io::repeat(b'a'));
    let refused = decrypt(vec![Box::new(identity)], header, &mut Vec::new()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the age file is damaged: its header is longer than 1 MiB"
    );
}

#[test]
fn a_file_for_a_passphrase_is_named_as_such() {
    let passphrase = ::age::secrecy::SecretString::from("x".to_owned());
    let mut recipient = ::age::scrypt::Recipient::new(passphrase);
    recipient.set_work_factor(1);
    let mut file = Vec::new();
    encrypt(vec![Box::new(recipient)], false, &mut &b"x"[..], &mut file).unwrap();
    assert!(matches!(
        decrypted(&Identity::generate(), &file).unwrap_err(),
        AgeError::Passphrase
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_flipped_bit_anywhere_is_refused(place in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let identity = Identity::generate();
        let mut file = encrypted(&identity, false, &[5; 300]);
        let place = place.index(file.len());
        file[place] ^= 1_u8 << bit;
        prop_assert!(decrypted(&identity, &file).is_err());
    }

    #[test]
    fn garbage_does_not_panic(file in any::<Vec<u8>>(), armor in any::<bool>()) {
        let start: &[u8] = if armor {
            b"-----BEGIN AGE ENCRYPTED FILE-----\n"
        } else {
            b"age-encryption.org/v1\n"
        };
        let _ = decrypted(&Identity::generate(), &[start, &file].concat());
        let _ = decrypted(&Identity::generate(), &file);
    }
}
