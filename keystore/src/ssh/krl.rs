//! Key revocation lists for `RevokedKeys` of `sshd_config(5)`, as
//! [PROTOCOL.krl](https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.krl) lays them out.

use ssh_agent_lib::ssh_encoding::Encode;
use ssh_key::public::KeyData;

const MAGIC: &[u8; 8] = b"SSHKRL\n\0";
const FORMAT: u32 = 1;

/// `KRL_SECTION_CERTIFICATES`.
const CERTIFICATES: u8 = 1;
/// `KRL_SECTION_CERT_SERIAL_LIST`.
const SERIALS: u8 = 0x20;

/// Writes a list that revokes these serials of the CA's certificates, and nothing else.
///
/// `generated` is in seconds since 1970; it is the list's version too, so that a later list has a higher one.
pub fn krl(ca: &KeyData, serials: &[u64], generated: u64, comment: &str) -> Vec<u8> {
    let mut sorted = serials.to_vec();
    sorted.sort_unstable();
    sorted.dedup();

    let mut list = Vec::new();
    list.extend_from_slice(MAGIC);
    list.extend_from_slice(&FORMAT.to_be_bytes());
    list.extend_from_slice(&generated.to_be_bytes());
    list.extend_from_slice(&generated.to_be_bytes());
    // flags: none are defined
    list.extend_from_slice(&0_u64.to_be_bytes());
    string(&mut list, b"");
    string(&mut list, comment.as_bytes());
    if sorted.is_empty() {
        return list;
    }
    let mut key = Vec::new();
    ca.encode(&mut key).expect("a vector takes every key");
    let mut section = Vec::new();
    string(&mut section, &key);
    string(&mut section, b"");
    section.push(SERIALS);
    let serials: Vec<_> = sorted.into_iter().flat_map(u64::to_be_bytes).collect();
    string(&mut section, &serials);
    list.push(CERTIFICATES);
    string(&mut list, &section);
    list
}

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    bytes.encode(out).expect("a vector takes every string");
}
