//! The statement beside an archive: what was built, out of what, signed on the device.
//!
//! Images belong to no cluster. Their statements are a chain of their own, whose id is all zeros.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bcm_keystore::pgp::{Entry, OwnCert, PgpStore, PinnedCert, Trust as CertTrust};
use bcm_keystore::statement::{
    Anchors, Head, Ledger, Sha256Digest, Signed, Statement, StatementKind, Subject, sign,
};
use bcm_stacks::image::build::Built;
use bcm_stacks::image::{Archive, ImageDigest, Package, Platform};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::report::{Kind, Report};
use crate::session::Open;

/// The id of the chain of statements about images.
const IMAGES: &str = "00000000000000000000000000000000";

/// The name of that chain.
const NAME: &str = "images";

/// What a statement says of an image beside its ID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Body {
    /// The recipe.
    pub recipe: String,
    /// The machine that it is for.
    pub platform: Platform,
    /// The digest of the archive.
    pub archive: ImageDigest,
    /// The suite of Debian.
    pub suite: String,
    /// The packages in it.
    pub packages: Vec<Package>,
    /// The digest of the release archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ImageDigest>,
    /// Fingerprints of those who attested that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attested_by: Vec<String>,
}

/// What a statement said that was verified.
#[derive(Debug, Serialize)]
pub struct Stated {
    file: String,
    signer: String,
    serial: u64,
    #[serde(flatten)]
    body: Body,
}

impl Stated {
    /// Describes it for a person.
    pub fn text(&self) -> String {
        crate::ui::printable(&format!(
            "stated in `{}` (#{}), signed by {}: {} from Debian {}, {} packages",
            self.file,
            self.serial,
            self.signer,
            self.body.recipe,
            self.body.suite,
            self.body.packages.len()
        ))
    }
}

/// Returns where the statement about an archive lies.
pub fn path(archive: &Path) -> PathBuf {
    let mut name = archive.as_os_str().to_owned();
    name.push(".json");
    name.into()
}

fn anchors(cert: &bcm_keystore::pgp::Cert) -> Anchors {
    Anchors {
        cluster: IMAGES.to_owned(),
        cert: PinnedCert::new(cert),
        // an image acts on nothing: no approval stands behind it
        approvals: std::collections::BTreeMap::new(),
    }
}

/// Has the device sign what was built, and writes it beside the archive.
pub async fn state(
    open: &mut Open,
    cert: &OwnCert,
    built: &Built,
    body: &Body,
    archive: &Path,
) -> Result<PathBuf, Report> {
    let path = path(archive);
    let store = open.session.store().clone();
    let mut ledger = Ledger::open(&store, IMAGES)?;
    let place = ledger.head();
    let now = SystemTime::now();
    let head = Head {
        cluster: IMAGES.to_owned(),
        cluster_name: NAME.to_owned(),
        chain: None,
        serial: place.serial,
        previous: place.previous,
        issued_at: now,
        expires_at: None,
    };
    let subject = Subject {
        name: format!("image/{}", body.recipe),
        sha256: Sha256Digest::from(*built.image.id.as_bytes()),
    };
    let serde_json::Value::Object(map) = serde_json::to_value(body).map_err(|error| {
        Report::text(
            Kind::Failed,
            format!("what was built cannot be stated: {error}"),
        )
    })?
    else {
        return Err(Report::text(
            Kind::Failed,
            "what was built cannot be stated",
        ));
    };
    let statement = Statement::new(StatementKind::Image, head, vec![subject], map)?;
    let signed = sign(open.session.device(), cert, &statement, now).await?;
    let anchors = anchors(cert.cert());
    let trust = anchors.expect(StatementKind::Image, None, place);
    let verified = signed.verify(&trust, SystemTime::now())?;
    ledger.append(&verified)?;
    signed.write(&path)?;
    Ok(path)
}

/// Verifies the statement at `path` about `archive`, by the certificates that are the wallet's own or were marked as
/// trusted.
pub fn verify(app: &mut App, path: &Path, archive: &Archive) -> Result<Stated, Report> {
    let signed = Signed::read(path)?;
    let keeper = app.keeper.clone();
    let store = app
        .runtime()
        .block_on(keeper.with_open(async |open| Ok(PgpStore::open(open.session.store())?)))?;
    let believed = |entry: &Entry<'_>| entry.trust() != CertTrust::Unmarked;
    let certs: Vec<_> = store.entries().filter(believed).collect();
    let mut refused = None;
    for entry in certs {
        let anchors = anchors(entry.cert());
        let trust = anchors.expect_record(StatementKind::Image, None);
        match signed.verify(&trust, SystemTime::now()) {
            Ok(verified) => {
                let statement = verified.statement();
                let body: Body = statement.body_as()?;
                check(statement, &body, archive)?;
                return Ok(Stated {
                    file: path.display().to_string(),
                    signer: verified.signer().to_hex(),
                    serial: statement.head().serial,
                    body,
                });
            }
            Err(error) => {
                refused.get_or_insert(error);
            }
        }
    }
    match refused {
        Some(error) => Err(error.into()),
        None => Err(Report::text(
            Kind::Verification,
            format!("nothing says whose the statement `{}` is", path.display()),
        )
        .with_hint(
            "make your own certificate with `pgp init`, or mark the builder's with `pgp trust`",
        )),
    }
}

fn check(statement: &Statement, body: &Body, archive: &Archive) -> Result<(), Report> {
    let other = |what: &str, stated: String, found: String| {
        let text = format!("the statement is about another {what}: stated {stated}, found {found}");
        Err(Report::text(Kind::Verification, text)
            .with_hint("do not load this archive; build the image anew or get it from its builder"))
    };
    if body.archive != archive.digest() {
        return other(
            "archive",
            body.archive.to_string(),
            archive.digest().to_string(),
        );
    }
    for image in archive.images() {
        let id = Sha256Digest::from(*image.id.as_bytes());
        if !statement
            .subjects()
            .iter()
            .any(|subject| subject.sha256 == id)
        {
            let stated: Vec<_> = statement
                .subjects()
                .iter()
                .map(|s| s.sha256.to_string())
                .collect();
            return other("image", stated.join(", "), image.id.to_string());
        }
    }
    Ok(())
}
