//! Upstream's release archives: their digests, and the people who attest them.
//!
//! Builders of Bitcoin Core build the same bytes each on their own and sign the list of digests
//! ([guix.sigs](https://github.com/bitcoin-core/guix.sigs)). One of them can be mistaken or forced: several are asked
//! for, and each counts once, however many keys and signatures he has.

mod error;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::time::SystemTime;

use bcm_keystore::pgp::{Cert, PgpError, PgpStore, Verdict, examine_detached};

use super::ImageDigest;
use super::archive::walk::{Kind, walk};
use super::build::Program;
use super::digest::Hashing;

pub use error::ReleaseError;

/// Longest list of digests.
pub const MAX_SUMS: u64 = 1 << 20;

/// Longest program that is taken out of a release.
const MAX_PROGRAM: u64 = 256 << 20;

/// Somebody whose signature counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// What he is called.
    pub name: String,
    /// The fingerprint of his primary key, 40 or 64 upper-case hex digits.
    pub fingerprint: String,
}

/// The builders of Bitcoin Core, from the `builder-keys` of guix.sigs.
const CORE_BUILDERS: [(&str, &str); 20] = [
    ("0xb10c", "982A193E3CE0EED535E09023188CBB2648416AD5"),
    ("emzy", "9EDAFF80E080659604F4A76B2EBB056FD847F8A7"),
    ("sjors", "ED9BDF7AD6A55E232E84524257FF9BDBCC301009"),
    ("achow101", "152812300785C96444D3334D17565732E08E5E41"),
    ("benthecarman", "0AD83877C1F0CD1EE9BD660AD7CC770B81FD22A8"),
    ("fanquake", "E777299FC265DD04793070EB944D35F9AC3DB76A"),
    ("guggero", "F4FC70F07310028424EFC20A8E4256593F177720"),
    ("hebasto", "D1DBF2C4B96F2DEBF4C16654410108112E7EA81F"),
    ("marcofleon", "5B286407E1EA6FE01CF9AF48BF131C2D0536F8AC"),
    ("pinheadmz", "E61773CD6E01040E2F1BD78CE7E2984B6289C93A"),
    ("sedited", "A8FC55F3B04BA3146F3492E79303B33A305224CB"),
    ("sipsorcery", "9D3CC86A72F8494342EA5FD10A41BDC3F4FAFF1C"),
    ("svanstaa", "33C103B4B2794170546CCF7BCFB2C83C66CD792A"),
    ("thestack", "6A8F9C266528E25AEB1D7731C2371D91CB716EA7"),
    ("willcl-ark", "67AA5B46E7AF78053167FE343B8F814A784218F8"),
    ("laanwj", "71A3B16735405025D447E8F274810B012346C9A6"),
    ("glozow", "6B002C6EA3F91B1B0DF0C9BC8F617F1200A6D25C"),
    ("m3dwards", "E86AE73439625BBEE306AAE6B66D427F873CB1A3"),
    ("maflcko", "A01783C082652969B9C492B5F9C5154E44D75DF8"),
    ("ismaelsadeeq", "E9F76FD7F0B66653A7D893990E3908F364989888"),
];

/// Those who sign releases of Elements.
const ELEMENTS_SIGNERS: [(&str, &str); 2] = [
    ("pablo", "BD0F3062F87842410B06A0432F656B0610604482"),
    ("byron", "710E44C2DAAE938F778744A1DE8F6EA20A661697"),
];

/// Who has to attest a release, and how many of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signers {
    /// Whose signatures count.
    pub who: Vec<Signer>,
    /// How many of them are needed.
    pub needed: usize,
}

impl Signers {
    /// Returns the builders of Bitcoin Core, of whom three are needed.
    pub fn core() -> Self {
        let signer = |(name, fingerprint): (&str, &str)| Signer {
            name: name.to_owned(),
            fingerprint: fingerprint.to_owned(),
        };
        Self {
            who: CORE_BUILDERS.into_iter().map(signer).collect(),
            needed: 3,
        }
    }

    /// Returns the two who sign releases of Elements, of whom one is needed.
    pub fn elements() -> Self {
        let signer = |(name, fingerprint): (&str, &str)| Signer {
            name: name.to_owned(),
            fingerprint: fingerprint.to_owned(),
        };
        Self {
            who: ELEMENTS_SIGNERS.into_iter().map(signer).collect(),
            needed: 1,
        }
    }

    /// Reads a list that a person made: a fingerprint and, after spaces, a name on each line; `#` begins a comment.
    ///
    /// # Errors
    ///
    /// [`ReleaseError::Signers`].
    pub fn read(text: &str, needed: usize) -> Result<Self, ReleaseError> {
        let mut who: Vec<Signer> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let (fingerprint, name) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let fingerprint = fingerprint.to_ascii_uppercase();
            let hex = fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit());
            let twice = who.iter().any(|signer| signer.fingerprint == fingerprint);
            if !hex || !matches!(fingerprint.len(), 40 | 64) || twice {
                return Err(ReleaseError::Signers(number + 1));
            }
            let name = match name.trim() {
                "" => fingerprint.clone(),
                name => name.escape_debug().to_string(),
            };
            who.push(Signer { name, fingerprint });
        }
        if needed == 0 || who.len() < needed {
            return Err(ReleaseError::TooFewSigners {
                needed,
                found: who.len(),
            });
        }
        Ok(Self { who, needed })
    }
}

/// A list of digests that enough people attested: [`attest`] alone makes it.
#[derive(Clone, Debug)]
pub struct AttestedSums {
    digests: BTreeMap<String, ImageDigest>,
    signers: Vec<Signer>,
}

impl AttestedSums {
    /// Returns who attested it, each once.
    pub fn signers(&self) -> &[Signer] {
        &self.signers
    }
}

/// Verifies signatures over a list of digests; each of `signatures` is a file with its name.
///
/// # Errors
///
/// [`ReleaseError::Bad`] where one of the signers signed something else, [`ReleaseError::TooFew`],
/// [`ReleaseError::Sums`].
pub fn attest(
    sums: &[u8],
    signatures: &[(String, Vec<u8>)],
    certs: &[Cert],
    signers: &Signers,
    now: SystemTime,
) -> Result<AttestedSums, ReleaseError> {
    let digests = parse(sums)?;
    let store = PgpStore::of_strangers(certs.iter().cloned());
    let mut good: Vec<Signer> = Vec::new();
    let mut rest = Vec::new();
    for (file, bytes) in signatures {
        for block in blocks(bytes) {
            let verdicts = match examine_detached(&store, &mut &*block, &mut &*sums, now) {
                Ok(verdicts) => verdicts,
                Err(error) => {
                    rest.push(format!("{file}: {error}"));
                    continue;
                }
            };
            for verdict in verdicts {
                match judge(file, verdict, signers)? {
                    Ok(signer) if !good.contains(&signer) => good.push(signer),
                    Ok(_) => {}
                    Err(why) => rest.push(why),
                }
            }
        }
    }
    if good.len() < signers.needed {
        return Err(ReleaseError::TooFew {
            needed: signers.needed,
            good: good.into_iter().map(|signer| signer.name).collect(),
            rest,
        });
    }
    Ok(AttestedSums {
        digests,
        signers: good,
    })
}

/// Says whose signature it is, or why it does not count; one by a signer over something else ends everything.
fn judge(
    file: &str,
    verdict: Verdict,
    signers: &Signers,
) -> Result<Result<Signer, String>, ReleaseError> {
    if let Verdict::Bad { reason, .. } = verdict {
        return Err(ReleaseError::Bad {
            file: file.to_owned(),
            reason,
        });
    }
    let signature = match verdict.good() {
        Ok(signature) => signature,
        Err(error @ (PgpError::Device(_) | PgpError::Read(_))) => {
            return Err(ReleaseError::Pgp(error));
        }
        Err(error) => return Ok(Err(format!("{file}: {error}"))),
    };
    let primary = signature.primary.to_hex();
    let known = signers
        .who
        .iter()
        .find(|signer| signer.fingerprint == primary);
    Ok(known
        .cloned()
        .ok_or_else(|| format!("{file}: good, but by `{primary}`, who is no builder that counts")))
}

/// Splits armored signatures that lie in one file.
fn blocks(bytes: &[u8]) -> Vec<&[u8]> {
    const BEGIN: &[u8] = b"-----BEGIN PGP SIGNATURE-----";
    let mut starts: Vec<_> = bytes
        .windows(BEGIN.len())
        .enumerate()
        .filter(|(_, window)| *window == BEGIN)
        .map(|(at, _)| at)
        .collect();
    if starts.is_empty() {
        return vec![bytes];
    }
    starts.push(bytes.len());
    starts
        .windows(2)
        .map(|pair| &bytes[pair[0]..pair[1]])
        .collect()
}

/// Reads the lines of `sha256sum`.
fn parse(sums: &[u8]) -> Result<BTreeMap<String, ImageDigest>, ReleaseError> {
    let text = std::str::from_utf8(sums).map_err(|_| ReleaseError::Sums(1))?;
    let mut digests = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let wrong = || ReleaseError::Sums(number + 1);
        if line.is_empty() {
            continue;
        }
        let (digest, name) = line.split_once(' ').ok_or_else(wrong)?;
        let digest = ImageDigest::from_hex(digest).ok_or_else(wrong)?;
        let name = name.strip_prefix([' ', '*']).ok_or_else(wrong)?;
        let twice = digests.insert(name.to_owned(), digest);
        if twice.is_some_and(|before| before != digest) {
            return Err(wrong());
        }
    }
    Ok(digests)
}

/// What was taken out of a release archive that has the attested digest.
#[derive(Clone, Debug)]
pub struct Release {
    /// The programs.
    pub programs: Vec<Program>,
    /// The version, as the archive's name has it.
    pub version: String,
    /// The digest of the archive.
    pub digest: ImageDigest,
}

/// Takes programs out of a release archive and compares its digest with the attested one, before anything of it is
/// returned.
///
/// # Errors
///
/// [`ReleaseError::NotListed`], [`ReleaseError::OtherArchive`], [`ReleaseError::Archive`], [`ReleaseError::Read`].
pub fn open(
    name: &str,
    archive: impl Read,
    sums: &AttestedSums,
    programs: &[&str],
) -> Result<Release, ReleaseError> {
    let expected = sums.digests.get(name).copied();
    let expected = expected.ok_or_else(|| ReleaseError::NotListed {
        file: name.to_owned(),
        version: sums.digests.keys().find_map(|file| version(file)),
    })?;
    let mut archive = Hashing::new(archive);
    let taken = take(&mut archive, programs);
    // to its end, whatever came of it: that it is another one is the better reason
    io::copy(&mut archive, &mut io::sink()).map_err(ReleaseError::Read)?;
    let (found, _) = archive.finish();
    if found != expected {
        return Err(ReleaseError::OtherArchive {
            file: name.to_owned(),
            expected,
            found,
        });
    }
    Ok(Release {
        programs: taken?,
        version: version(name).unwrap_or_else(|| "unknown".into()),
        digest: found,
    })
}

/// Takes `NAME-VERSION/bin/PROGRAM` out of a packed tar.
fn take(archive: &mut impl Read, programs: &[&str]) -> Result<Vec<Program>, ReleaseError> {
    let mut found: Vec<Program> = Vec::new();
    let walked = walk(
        flate2::read::MultiGzDecoder::new(archive),
        |entry, content| {
            let path = entry.name();
            let parts: Vec<_> = path.split('/').collect();
            let [_, "bin", name] = parts[..] else {
                return Ok(());
            };
            if !programs.contains(&name) || entry.kind != Kind::File {
                return Ok(());
            }
            if entry.size > MAX_PROGRAM || found.iter().any(|program| program.name == name) {
                return Err(io::Error::other(format!(
                    "`{name}` is in it twice, or too long"
                )));
            }
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes)?;
            found.push(Program {
                name: name.to_owned(),
                bytes,
            });
            Ok(())
        },
    );
    walked.map_err(|error| ReleaseError::Archive(format!("{error:?}")))?;
    Ok(found)
}

/// Reads the version out of `bitcoin-31.1-x86_64-linux-gnu.tar.gz`.
fn version(name: &str) -> Option<String> {
    let mut parts = name.split('-').skip(1);
    let version = parts.next()?;
    version
        .starts_with(|c: char| c.is_ascii_digit())
        .then(|| version.to_owned())
}
