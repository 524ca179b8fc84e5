//! Images on an engine: verified archives loaded into it, and images saved out of it.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use bcm_cluster::docker::Engine;
use bcm_keystore::Hint;
use bollard::Docker;
use bollard::query_parameters::{ImportImageOptionsBuilder, ListImagesOptions};
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use serde::Serialize;

use super::archive::{Archive, ArchiveError};
use super::{ImageDigest, Platform};

/// How long an engine may unpack before it answers; a large image on a slow disk takes minutes.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Why an image did not get into an engine, or out of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The engine did not do it.
    #[error("the engine of `{host}` does not {what}")]
    Engine {
        /// The host.
        host: String,
        /// What it was asked for.
        what: String,
        /// What it said.
        #[source]
        source: bollard::errors::Error,
    },
    /// The archive does not fit the host.
    #[error("nothing was loaded to `{host}`")]
    Archive {
        /// The host.
        host: String,
        /// Why.
        #[source]
        source: ArchiveError,
    },
    /// The engine took the archive and does not have the image that was verified.
    #[error(
        "the engine of `{host}` does not have the image {expected} after it loaded the archive"
    )]
    NotLoaded {
        /// The host.
        host: String,
        /// What was verified.
        expected: ImageDigest,
    },
    /// The engine has no such image.
    #[error("the engine of `{host}` has no image `{}`", name.escape_debug())]
    NoImage {
        /// The host.
        host: String,
        /// What was asked for.
        name: String,
    },
}

impl TransferError {
    /// Tells whether what was found is not to be trusted.
    pub fn is_verification(&self) -> bool {
        match self {
            Self::NotLoaded { .. } => true,
            Self::Archive { source, .. } => source.is_verification(),
            _ => false,
        }
    }
}

impl Hint for TransferError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Engine { .. } => "check its disk with `docker system df`, then try again".into(),
            Self::Archive { source, .. } => return source.hint(),
            Self::NotLoaded { .. } => {
                "the archive changed while it was read, or the engine is not what it seems: verify it again".into()
            }
            Self::NoImage { .. } => "run `image list` for the images that it has".into(),
        })
    }
}

/// An image on an engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EngineImage {
    /// What the engine knows it by; a service that names this is never pulled.
    pub id: String,
    /// Its names, which anybody on the host can change.
    pub names: Vec<String>,
    /// When it says that it was made, in seconds since 1970.
    pub created: i64,
    /// The length of what is in it.
    pub bytes: i64,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

fn patient(engine: &Engine) -> Docker {
    engine.docker().clone().with_timeout(PATIENCE)
}

fn failed<'a>(
    engine: &'a Engine,
    what: impl Into<String> + 'a,
) -> impl FnOnce(bollard::errors::Error) -> TransferError + 'a {
    move |source| TransferError::Engine {
        host: engine.host().to_owned(),
        what: what.into(),
        source,
    }
}

/// Returns what machine an engine runs on.
///
/// # Errors
///
/// [`TransferError::Engine`].
pub async fn platform(engine: &Engine) -> Result<Platform, TransferError> {
    let version = engine.docker().version().await;
    let version = version.map_err(failed(engine, "say what machine it runs on"))?;
    let word = |word: Option<String>| word.unwrap_or_default();
    Ok(Platform::new(&word(version.os), &word(version.arch), None))
}

/// Loads an archive that was verified; `content` is the same file again.
///
/// Returns what the engine knows each image by, in the order of [`Archive::images`]. An engine computes the IDs from
/// what it gets: that it has the verified ones shows that it got the verified bytes, whatever happened to the file.
///
/// # Errors
///
/// [`TransferError::Archive`] before anything is sent, [`TransferError::Engine`], [`TransferError::NotLoaded`].
pub async fn load(
    engine: &Engine,
    archive: &Archive,
    content: impl Stream<Item = io::Result<Vec<u8>>> + Send + 'static,
) -> Result<Vec<ImageDigest>, TransferError> {
    let host = platform(engine).await?;
    archive
        .check_platform(&host)
        .map_err(|source| TransferError::Archive {
            host: engine.host().to_owned(),
            source,
        })?;
    let docker = patient(engine);
    let options = ImportImageOptionsBuilder::default().quiet(true).build();
    let mut answers = docker.import_image(
        options,
        bollard::body_try_stream(content.map_ok(Bytes::from)),
        None,
    );
    while let Some(answer) = answers.next().await {
        answer.map_err(failed(engine, "load the archive"))?;
    }
    let mut loaded = Vec::new();
    for image in archive.images() {
        // by the configuration, or by the manifest where containerd keeps the images
        let mut known = None;
        for digest in [Some(image.id), image.manifest].into_iter().flatten() {
            if find(engine, &digest.to_string()).await?.as_deref() == Some(&digest.to_string()) {
                known = Some(digest);
                break;
            }
        }
        loaded.push(known.ok_or_else(|| TransferError::NotLoaded {
            host: engine.host().to_owned(),
            expected: image.id,
        })?);
    }
    Ok(loaded)
}

/// Returns the ID of an image, if the engine has it.
async fn find(engine: &Engine, name: &str) -> Result<Option<String>, TransferError> {
    match engine.docker().inspect_image(name).await {
        Ok(image) => Ok(image.id),
        Err(bollard::errors::Error::DockerResponseServerError {
            status_code: 404, ..
        }) => Ok(None),
        Err(error) => Err(failed(engine, "say what images it has")(error)),
    }
}

/// Saves an image: returns its ID and the bytes of an archive, which are to be verified as any other.
///
/// # Errors
///
/// [`TransferError::NoImage`], [`TransferError::Engine`].
pub async fn save(
    engine: &Engine,
    name: &str,
) -> Result<
    (
        String,
        impl Stream<Item = Result<Bytes, TransferError>> + use<>,
    ),
    TransferError,
> {
    let id = find(engine, name).await?;
    let id = id.ok_or_else(|| TransferError::NoImage {
        host: engine.host().to_owned(),
        name: name.to_owned(),
    })?;
    let docker = patient(engine);
    let (host, name) = (engine.host().to_owned(), name.to_owned());
    let bytes = async_stream(docker, name).map_err(move |source| TransferError::Engine {
        host: host.clone(),
        what: "save the image".into(),
        source,
    });
    Ok((id, bytes))
}

/// The stream of the crate borrows its client and the name.
fn async_stream(
    docker: Docker,
    name: String,
) -> impl Stream<Item = Result<Bytes, bollard::errors::Error>> {
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    tokio::spawn(async move {
        let mut bytes = std::pin::pin!(docker.export_image(&name));
        while let Some(piece) = bytes.next().await {
            if sender.send(piece).await.is_err() {
                return;
            }
        }
    });
    futures::stream::unfold(receiver, |mut receiver| async move {
        let piece = receiver.recv().await?;
        Some((piece, receiver))
    })
}

/// Lists the images of an engine, those with names first.
///
/// # Errors
///
/// [`TransferError::Engine`].
pub async fn list(engine: &Engine) -> Result<Vec<EngineImage>, TransferError> {
    let images = engine.docker().list_images(None::<ListImagesOptions>).await;
    let images = images.map_err(failed(engine, "list its images"))?;
    let mut listed: Vec<_> = images
        .into_iter()
        .map(|image| EngineImage {
            id: image.id,
            names: image
                .repo_tags
                .into_iter()
                .filter(|name| !name.contains("<none>"))
                .collect(),
            created: image.created,
            bytes: image.size,
            labels: image.labels.into_iter().collect(),
        })
        .collect();
    listed.sort_by(|a, b| {
        let key = |image: &EngineImage| (image.names.is_empty(), image.names.clone());
        key(a).cmp(&key(b)).then_with(|| a.id.cmp(&b.id))
    });
    Ok(listed)
}
