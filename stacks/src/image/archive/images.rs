//! The images that the files of an archive make up.

use std::collections::{BTreeMap, BTreeSet};

use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest, MediaType};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::blob::{Blob, Content};
use super::error::{ArchiveError, LayerFlaw};
use super::members::{BLOBS, Members};
use super::walk::inside;
use super::{ArchivedImage, Layer};
use crate::image::{ImageDigest, Platform};

/// Deepest nesting of indexes.
const MAX_DEPTH: usize = 4;

/// Longest name of an image.
const MAX_NAME: usize = 255;

/// The annotations that hold a name: of the
/// [image specification](https://github.com/opencontainers/image-spec/blob/main/annotations.md), and containerd's.
const NAMES: [&str; 2] = [
    "io.containerd.image.name",
    "org.opencontainers.image.ref.name",
];

/// What marks an attestation, which is no image.
const ATTESTATION: &str = "vnd.docker.reference.type";

/// One image in the `manifest.json` of `docker save`.
#[derive(Deserialize)]
struct DockerImage {
    #[serde(rename = "Config")]
    config: String,
    #[serde(rename = "RepoTags")]
    names: Option<Vec<String>>,
    #[serde(rename = "Layers")]
    layers: Option<Vec<String>>,
}

/// Finds the images and verifies each; one that both ways of writing describe is one.
pub(super) fn find(members: &Members) -> Result<Vec<ArchivedImage>, ArchiveError> {
    let docker = members.find(DOCKER).is_some();
    let oci = members.find(INDEX).is_some();
    if !docker && !oci {
        return Err(ArchiveError::NoImage);
    }
    let mut images = Images::default();
    if docker {
        docker_images(members, &mut images)?;
    }
    if oci {
        oci_images(members, &mut images)?;
    }
    images.finish()
}

const DOCKER: &str = "manifest.json";
const INDEX: &str = "index.json";
const LAYOUT: &str = "oci-layout";

#[derive(Default)]
struct Images(BTreeMap<ImageDigest, ArchivedImage>);

impl Images {
    fn add(&mut self, image: ArchivedImage) {
        let known = self.0.entry(image.id).or_insert_with(|| ArchivedImage {
            names: Vec::new(),
            ..image.clone()
        });
        known.manifest = known.manifest.or(image.manifest);
        for name in image.names {
            if !known.names.contains(&name) {
                known.names.push(name);
            }
        }
    }

    fn finish(self) -> Result<Vec<ArchivedImage>, ArchiveError> {
        let mut names = BTreeSet::new();
        for name in self.0.values().flat_map(|image| &image.names) {
            if !names.insert(name) {
                let flaw = format!("two images are named `{}`", name.escape_debug());
                return Err(malformed(DOCKER, flaw));
            }
        }
        match self.0.is_empty() {
            true => Err(ArchiveError::NoImage),
            false => Ok(self.0.into_values().collect()),
        }
    }
}

fn malformed(path: &str, flaw: impl ToString) -> ArchiveError {
    ArchiveError::Malformed {
        path: path.to_owned(),
        flaw: flaw.to_string(),
    }
}

fn parse<T: DeserializeOwned>(path: &str, json: &[u8]) -> Result<T, ArchiveError> {
    serde_json::from_slice(json).map_err(|error| malformed(path, error))
}

fn name(path: &str, name: &str) -> Result<String, ArchiveError> {
    let plain = |c: char| c.is_ascii_graphic() && !"\\\"'`$".contains(c);
    match !name.is_empty() && name.len() <= MAX_NAME && name.chars().all(plain) {
        true => Ok(name.to_owned()),
        false => {
            let shown: String = name.chars().take(80).collect();
            Err(malformed(
                path,
                format!("`{}` is no name", shown.escape_debug()),
            ))
        }
    }
}

fn docker_images(members: &Members, images: &mut Images) -> Result<(), ArchiveError> {
    let (_, json) = members.json("the archive", DOCKER)?;
    for image in parse::<Vec<DockerImage>>(DOCKER, json)? {
        let path = |path: &str| {
            let clean = inside(path.as_bytes()).and_then(|path| String::from_utf8(path).ok());
            clean
                .ok_or_else(|| malformed(DOCKER, format!("`{}` lies outside", path.escape_debug())))
        };
        let config_path = path(&image.config)?;
        let (config, json) = members.json(DOCKER, &config_path)?;
        let hex = config_path
            .strip_suffix(".json")
            .and_then(ImageDigest::from_hex);
        if hex.is_some_and(|hex| hex != config.digest) {
            return Err(ArchiveError::Name {
                path: config_path,
                found: config.digest,
            });
        }
        let mut layers = Vec::new();
        for layer in image.layers.unwrap_or_default() {
            let layer = path(&layer)?;
            layers.push(members.find(&layer).ok_or_else(|| ArchiveError::Missing {
                what: DOCKER.into(),
                path: layer,
            })?);
        }
        let mut found = assemble(&config_path, config, json, &layers)?;
        for tag in image.names.unwrap_or_default() {
            found.names.push(name(DOCKER, &tag)?);
        }
        images.add(found);
    }
    Ok(())
}

fn oci_images(members: &Members, images: &mut Images) -> Result<(), ArchiveError> {
    #[derive(Deserialize)]
    struct Layout {
        #[serde(rename = "imageLayoutVersion")]
        version: String,
    }
    let (_, layout) = members.json(INDEX, LAYOUT)?;
    let layout: Layout = parse(LAYOUT, layout)?;
    if !layout.version.starts_with("1.") {
        let flaw = format!("version `{}`, expected 1", layout.version.escape_debug());
        return Err(malformed(LAYOUT, flaw));
    }
    let (_, json) = members.json("the archive", INDEX)?;
    let index: ImageIndex = parse(INDEX, json)?;
    descend(members, images, INDEX, &index, &[], 0)
}

fn descend(
    members: &Members,
    images: &mut Images,
    path: &str,
    index: &ImageIndex,
    inherited: &[String],
    depth: usize,
) -> Result<(), ArchiveError> {
    if depth >= MAX_DEPTH {
        return Err(malformed(
            path,
            format!("indexes nest deeper than {MAX_DEPTH}"),
        ));
    }
    let mut found = 0;
    for descriptor in index.manifests() {
        let digest = digest(path, descriptor)?;
        let child = format!("{BLOBS}{}", digest.hex());
        // an index may list platforms that were not saved
        if depth > 0 && members.blob(&digest).is_none() {
            continue;
        }
        let (blob, json) = members.json(path, &child)?;
        check_size(path, descriptor, blob)?;
        found += 1;
        let annotations = descriptor.annotations().as_ref();
        if annotations.is_some_and(|notes| notes.contains_key(ATTESTATION)) {
            continue;
        }
        let mut names = inherited.to_vec();
        for key in NAMES {
            let noted = annotations.and_then(|notes| notes.get(key));
            // the second often holds a tag alone, beside the whole name
            if let Some(noted) =
                noted.filter(|noted| names.is_empty() || noted.contains(['/', ':']))
                && !names.contains(noted)
            {
                names.push(name(path, noted)?);
            }
        }
        if is_index(descriptor.media_type()) {
            let below: ImageIndex = parse(&child, json)?;
            descend(members, images, &child, &below, &names, depth + 1)?;
        } else {
            let mut image = oci_image(members, &child, json)?;
            image.manifest = Some(digest);
            image.names = names;
            images.add(image);
        }
    }
    match found {
        0 => Err(malformed(path, "nothing that it names is in the archive")),
        _ => Ok(()),
    }
}

fn is_index(media_type: &MediaType) -> bool {
    match media_type {
        MediaType::ImageIndex => true,
        MediaType::Other(other) => {
            other == "application/vnd.docker.distribution.manifest.list.v2+json"
        }
        _ => false,
    }
}

fn oci_image(members: &Members, path: &str, json: &[u8]) -> Result<ArchivedImage, ArchiveError> {
    let manifest: ImageManifest = parse(path, json)?;
    let config_digest = digest(path, manifest.config())?;
    let config_path = format!("{BLOBS}{}", config_digest.hex());
    let (config, config_json) = members.json(path, &config_path)?;
    check_size(path, manifest.config(), config)?;
    let mut layers = Vec::new();
    for descriptor in manifest.layers() {
        let digest = digest(path, descriptor)?;
        let layer = members.blob(&digest).ok_or_else(|| ArchiveError::Missing {
            what: path.to_owned(),
            path: format!("{BLOBS}{}", digest.hex()),
        })?;
        check_size(path, descriptor, layer)?;
        layers.push(layer);
    }
    assemble(&config_path, config, config_json, &layers)
}

fn digest(path: &str, descriptor: &Descriptor) -> Result<ImageDigest, ArchiveError> {
    let text = descriptor.digest().to_string();
    text.parse().map_err(|error| malformed(path, error))
}

fn check_size(path: &str, descriptor: &Descriptor, blob: &Blob) -> Result<(), ArchiveError> {
    match descriptor.size() == blob.bytes {
        true => Ok(()),
        false => Err(ArchiveError::Digest {
            what: path.to_owned(),
            expected: format!("{} of {} bytes", descriptor.digest(), descriptor.size()),
            found: format!("{} bytes", blob.bytes),
        }),
    }
}

/// Puts an image together and compares each layer with what the configuration says that it unpacks to.
fn assemble(
    path: &str,
    config: &Blob,
    json: &[u8],
    layers: &[&Blob],
) -> Result<ArchivedImage, ArchiveError> {
    let read: ImageConfiguration = parse(path, json)?;
    let diff_ids = read.rootfs().diff_ids();
    if diff_ids.len() != layers.len() {
        return Err(ArchiveError::Digest {
            what: path.to_owned(),
            expected: format!("{} layers", diff_ids.len()),
            found: format!("{} layers", layers.len()),
        });
    }
    let mut files = BTreeMap::new();
    let mut verified = Vec::new();
    for (diff_id, blob) in diff_ids.iter().zip(layers) {
        let expected: ImageDigest = diff_id.parse().map_err(|error| malformed(path, error))?;
        let wrong = |flaw: LayerFlaw| ArchiveError::Layer {
            digest: blob.digest,
            flaw,
        };
        let facts = match &blob.content {
            Content::Layer(Ok(facts)) => facts,
            Content::Layer(Err(flaw)) => return Err(wrong(flaw.clone())),
            _ => return Err(wrong(LayerFlaw::Form)),
        };
        let found = facts.diff_id;
        if found != expected {
            return Err(wrong(LayerFlaw::DiffId { expected, found }));
        }
        facts.found.apply(&mut files);
        verified.push(Layer {
            digest: blob.digest,
            diff_id: found,
            bytes: blob.bytes,
            unpacked: facts.unpacked,
        });
    }
    let run = read.config().as_ref();
    let labels = run.and_then(|run| run.labels().clone()).unwrap_or_default();
    Ok(ArchivedImage {
        id: config.digest,
        manifest: None,
        names: Vec::new(),
        platform: Platform::new(
            &read.os().to_string(),
            &read.architecture().to_string(),
            read.variant().as_deref(),
        ),
        created: read.created().clone(),
        user: run
            .and_then(|run| run.user().clone())
            .filter(|user| !user.is_empty()),
        labels: labels.into_iter().collect(),
        layers: verified,
        files,
    })
}
