//! Writes an image as an archive that every engine loads, the same bytes for the same content.
//!
//! The archive is an OCI layout with the `manifest.json` of `docker save` beside it, as Docker 25 and later write:
//! older engines read the one, newer ones and `skopeo` the other. The only layer is not packed, so that no
//! version of a packer has a say in its digest.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use serde::Serialize;

use super::{ImageDigest, Platform};

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// How an image runs and what it says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSpec {
    /// Name and tag in the archive.
    pub name: String,
    /// What machine it is for.
    pub platform: Platform,
    /// When it was made, in seconds since 1970: the time of the snapshot, never of the build.
    pub created: u64,
    /// `UID:GID`.
    pub user: String,
    /// What runs.
    pub entrypoint: Vec<String>,
    /// `NAME=VALUE`.
    pub env: Vec<String>,
    /// The folder that it runs in.
    pub folder: String,
    /// The signal that ends it, where that is not SIGTERM.
    pub stop_signal: Option<String>,
    /// What it says of itself.
    pub labels: BTreeMap<String, String>,
}

/// A layer: a tar that is not packed.
#[derive(Debug)]
pub struct LayerTar<R> {
    /// Its bytes.
    pub tar: R,
    /// Their digest.
    pub digest: ImageDigest,
    /// Their number.
    pub bytes: u64,
}

#[derive(Serialize)]
struct Config<'a> {
    architecture: &'a str,
    config: Run<'a>,
    created: &'a str,
    history: [History<'a>; 1],
    os: &'a str,
    rootfs: RootFs,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Run<'a> {
    entrypoint: &'a [String],
    env: &'a [String],
    labels: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_signal: &'a Option<String>,
    user: &'a str,
    working_dir: &'a str,
}

#[derive(Serialize)]
struct History<'a> {
    created: &'a str,
    created_by: &'a str,
}

#[derive(Serialize)]
struct RootFs {
    diff_ids: [ImageDigest; 1],
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'static str, String>,
    digest: ImageDigest,
    media_type: &'static str,
    size: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    config: Descriptor,
    layers: [Descriptor; 1],
    media_type: &'static str,
    schema_version: u8,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    manifests: [Descriptor; 1],
    media_type: &'static str,
    schema_version: u8,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage<'a> {
    config: String,
    layers: [String; 1],
    repo_tags: [&'a str; 1],
}

fn describe(media_type: &'static str, bytes: &[u8]) -> Descriptor {
    Descriptor {
        annotations: BTreeMap::new(),
        digest: ImageDigest::of(bytes),
        media_type,
        size: bytes.len() as u64,
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("texts, numbers and maps with texts as keys")
}

fn blob(digest: &ImageDigest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Writes the archive and returns the ID of the image.
///
/// # Errors
///
/// What reading the layer or writing the archive said.
pub fn pack<R: Read>(
    spec: &ImageSpec,
    layer: LayerTar<R>,
    output: impl Write,
) -> io::Result<ImageDigest> {
    let created = time(spec.created)?;
    let config = json(&Config {
        architecture: spec.platform.architecture(),
        config: Run {
            entrypoint: &spec.entrypoint,
            env: &spec.env,
            labels: &spec.labels,
            stop_signal: &spec.stop_signal,
            user: &spec.user,
            working_dir: &spec.folder,
        },
        created: &created,
        history: [History {
            created: &created,
            created_by: "bcm image build",
        }],
        os: spec.platform.os(),
        rootfs: RootFs {
            diff_ids: [layer.digest],
            kind: "layers",
        },
    });
    let id = ImageDigest::of(&config);
    let manifest = json(&Manifest {
        config: describe(CONFIG, &config),
        layers: [Descriptor {
            annotations: BTreeMap::new(),
            digest: layer.digest,
            media_type: LAYER,
            size: layer.bytes,
        }],
        media_type: MANIFEST,
        schema_version: 2,
    });
    let tag = spec.name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
    let mut descriptor = describe(MANIFEST, &manifest);
    descriptor.annotations = BTreeMap::from([
        ("io.containerd.image.name", spec.name.clone()),
        ("org.opencontainers.image.ref.name", tag.to_owned()),
    ]);
    let manifest_digest = descriptor.digest;
    let index = json(&Index {
        manifests: [descriptor],
        media_type: INDEX,
        schema_version: 2,
    });
    let docker = json(&[DockerImage {
        config: blob(&id),
        layers: [blob(&layer.digest)],
        repo_tags: [&spec.name],
    }]);
    let mut tar = tar::Builder::new(output);
    let small = [
        (
            "oci-layout".to_owned(),
            br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec(),
        ),
        ("index.json".to_owned(), index),
        ("manifest.json".to_owned(), docker),
        (blob(&manifest_digest), manifest),
        (blob(&id), config),
    ];
    for (path, bytes) in small {
        append(&mut tar, &path, bytes.len() as u64, spec.created, &*bytes)?;
    }
    append(
        &mut tar,
        &blob(&layer.digest),
        layer.bytes,
        spec.created,
        layer.tar,
    )?;
    tar.into_inner()?.flush()?;
    Ok(id)
}

fn append<W: Write>(
    tar: &mut tar::Builder<W>,
    path: &str,
    bytes: u64,
    time: u64,
    content: impl Read,
) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(time);
    header.set_size(bytes);
    tar.append_data(&mut header, path, content.take(bytes))
}

/// Writes a time as [RFC 3339](https://www.rfc-editor.org/rfc/rfc3339).
fn time(seconds: u64) -> io::Result<String> {
    let seconds = i64::try_from(seconds).ok();
    let time = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map(|time| time.to_string())
        .ok_or_else(|| io::Error::other("a time past the year 9999"))
}
