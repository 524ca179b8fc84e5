//! OpenPGP.

use std::io::{Read, Write};
use std::path::Path;
use std::time::SystemTime;

use bcm_keystore::pgp::{
    self, Cert, GoodSignature, OwnCert, PgpError, PgpStore, PgpStoreError, Purpose, SignMode, Trust,
};
use sequoia_openpgp::cert::CertParser;
use sequoia_openpgp::parse::Parse;

use super::decrypt::Inside;
use super::verify::{Signer as SignedBy, expect};
use super::{Work, encrypt, verify};
use crate::files;
use crate::report::{Kind, Report};
use crate::ui::{self, Style};

/// Longest file of certificates.
const MAX_CERTS: u64 = 16 << 20;

/// Most characters of a file's name that the device shows.
const MAX_NAME: usize = 60;

/// The certificate that signs.
pub struct Signer(OwnCert);

/// How an OpenPGP signature is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Mode {
    /// `--inline`
    pub inline: bool,
    /// `--clear`
    pub clear: bool,
    /// `--text`
    pub text: bool,
    /// In ASCII.
    pub armor: bool,
}

impl Mode {
    fn mode(self) -> SignMode {
        let Self { text, armor, .. } = self;
        match self {
            Self { clear: true, .. } => SignMode::Clear,
            Self { inline: true, .. } => SignMode::Inline { armor },
            _ => SignMode::Detached { text, armor },
        }
    }
}

impl Signer {
    /// Returns the named certificate, the default, or the only one.
    pub fn choose(work: &Work<'_>, name: Option<&str>) -> Result<Self, Report> {
        let store = PgpStore::open(work.wallet)?;
        Ok(Self(store.signer(name)?.clone()))
    }

    /// Names it for the person.
    pub fn name(&self) -> String {
        format!("{} ({})", self.0.user_id(), self.0.fingerprint().to_hex())
    }

    /// Signs `input`; the device asks once.
    pub fn sign(
        &self,
        work: &Work<'_>,
        file: &str,
        mode: Mode,
        input: &mut dyn Read,
        output: &mut (dyn Write + Send + Sync),
    ) -> Result<(), Report> {
        let name = Path::new(file).file_name().unwrap_or_default();
        let name: String = name.to_string_lossy().chars().take(MAX_NAME).collect();
        let purpose = Purpose::new(format!("bcm v1 pgp file {name}"));
        let now = SystemTime::now();
        pgp::sign(
            work.device,
            &self.0,
            mode.mode(),
            &purpose,
            input,
            output,
            now,
        )?;
        Ok(())
    }
}

/// Verifies a signature beside its data.
pub fn verify_detached(
    work: &Work<'_>,
    arguments: &verify::Args,
    signature: &mut (dyn Read + Send + Sync),
    input: &mut (dyn Read + Send + Sync),
) -> Result<Vec<SignedBy>, Report> {
    let store = PgpStore::open(work.wallet)?;
    let good = pgp::verify_detached(&store, signature, input, SystemTime::now())?;
    expected(arguments, &good)
}

/// Verifies a message and writes its content.
pub fn verify_message(
    work: &Work<'_>,
    arguments: &verify::Args,
    input: &mut (dyn Read + Send + Sync),
    output: Option<&mut dyn Write>,
) -> Result<Vec<SignedBy>, Report> {
    let store = PgpStore::open(work.wallet)?;
    let good = pgp::verify_message(&store, input, output, SystemTime::now())?;
    expected(arguments, &good)
}

fn expected(arguments: &verify::Args, good: &[GoodSignature]) -> Result<Vec<SignedBy>, Report> {
    if arguments.public_key.is_some() || arguments.allowed_signers.is_some() {
        return Err(Report::usage("OpenPGP certificates come from `pgp import`")
            .with_hint("say who has to have signed with `--signer`"));
    }
    let by = good.iter().filter(|signature| {
        let mail = signature
            .user_id
            .split_once('<')
            .map_or("", |(_, mail)| mail);
        let names = [
            &*signature.user_id,
            mail.trim_end_matches('>'),
            &signature.fingerprint.to_hex(),
            &signature.primary.to_hex(),
        ];
        expect(arguments.signer.as_deref(), &names).is_ok()
    });
    if by.count() == 0 {
        let names: Vec<_> = good.iter().map(|signature| &*signature.user_id).collect();
        expect(arguments.signer.as_deref(), &names)?;
    }
    Ok(good.iter().map(signed_by).collect())
}

fn signed_by(signature: &GoodSignature) -> SignedBy {
    let same = signature.primary == signature.fingerprint;
    SignedBy {
        who: Some(signature.user_id.clone()),
        key: signature.fingerprint.to_hex(),
        primary: (!same).then(|| signature.primary.to_hex()),
        created: Some(super::format::time(signature.created)),
        trust: match signature.trust {
            Trust::Own => "own",
            Trust::Trusted => "trusted",
            Trust::Unmarked => "unmarked",
        },
    }
}

/// Whom a message is encrypted to.
pub struct Recipients {
    certs: Vec<Cert>,
    names: Vec<String>,
}

impl Recipients {
    /// Finds all of them; the device is the first.
    pub fn choose(work: &Work<'_>, arguments: &encrypt::Args) -> Result<Self, Report> {
        let store = PgpStore::open(work.wallet)?;
        let mut chosen = Self {
            certs: Vec::new(),
            names: Vec::new(),
        };
        if !arguments.no_self {
            let own = store.signer(arguments.key.as_deref())?;
            chosen.add(own.cert().clone(), own.user_id().as_str());
        }
        for name in &arguments.recipient {
            match store.find(name) {
                Ok(entry) => {
                    let cert = entry.cert();
                    let user_id = name_of(cert);
                    if entry.trust() == Trust::Unmarked {
                        warn(&user_id, cert);
                    }
                    chosen.add(cert.clone(), &user_id);
                }
                Err(PgpStoreError::NotFound { .. }) if Path::new(name).is_file() => {
                    chosen.add_file(&store, Path::new(name))?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        for path in &arguments.recipients_file {
            chosen.add_file(&store, path)?;
        }
        Ok(chosen)
    }

    fn add(&mut self, cert: Cert, user_id: &str) {
        let there = |old: &Cert| old.fingerprint() == cert.fingerprint();
        if !self.certs.iter().any(there) {
            self.names
                .push(format!("{user_id} ({})", cert.fingerprint().to_hex()));
            self.certs.push(cert);
        }
    }

    fn add_file(&mut self, store: &PgpStore, path: &Path) -> Result<(), Report> {
        let bytes = files::read_small(path, MAX_CERTS)?;
        let refused = || {
            Report::usage(format!(
                "`{}` holds no OpenPGP certificate",
                files::name_of(path)
            ))
            .with_hint("export it with `gpg --export --armor KEY`")
        };
        let before = self.certs.len();
        for cert in CertParser::from_bytes(&bytes).map_err(|_| refused())? {
            let cert = cert.map_err(|_| refused())?;
            let user_id = name_of(&cert);
            if store.trust_of(&cert.fingerprint()) == Trust::Unmarked {
                warn(&user_id, &cert);
            }
            self.add(cert, &user_id);
        }
        if self.certs.len() == before {
            return Err(refused());
        }
        Ok(())
    }

    /// Encrypts and returns the names of those who can decrypt.
    pub fn encrypt(
        self,
        armor: bool,
        input: &mut dyn Read,
        output: &mut (dyn Write + Send + Sync),
    ) -> Result<Vec<String>, Report> {
        pgp::encrypt(&self.certs, armor, input, output, SystemTime::now())?;
        Ok(self.names)
    }
}

fn name_of(cert: &Cert) -> String {
    let user_id = cert.userids().next();
    user_id.map_or_else(
        || "nobody who is named".to_owned(),
        |user_id| String::from_utf8_lossy(user_id.userid().value()).into_owned(),
    )
}

/// Tells that nobody made sure whose the certificate is.
fn warn(user_id: &str, cert: &Cert) {
    let text = format!(
        "nobody has compared the fingerprint of {user_id}: {}",
        cert.fingerprint().to_hex()
    );
    ui::say(&format!(
        "{} {}",
        ui::paint_stderr(Style::Attention, "note:"),
        ui::printable(&text)
    ));
}

/// Decrypts; the device asks once.
pub fn decrypt(
    work: &Work<'_>,
    input: &mut (dyn Read + Send + Sync),
    output: &mut dyn Write,
) -> Result<Inside, Report> {
    let store = PgpStore::open(work.wallet)?;
    let decrypted = pgp::decrypt(work.device, &store, input, output, SystemTime::now());
    let decrypted = decrypted.map_err(|error| match error {
        // whose key it is, the message says itself: who changed it could have changed that
        error @ PgpError::NotForUs(_) => Report::new(Kind::Verification, error),
        error => error.into(),
    })?;
    Ok(Inside {
        signers: decrypted.signatures.iter().map(signed_by).collect(),
        unknown_signers: decrypted.unknown_signers,
    })
}
