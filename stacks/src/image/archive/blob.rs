//! One file of an archive: its digest, and what it turns out to be.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;

use super::error::{ArchiveError, LayerFlaw, TarFlaw};
use super::layer::{self, LayerFacts};
use super::walk::{WalkError, plain};
use super::{MAX_JSON, MAX_LAYER, Packages};
use crate::image::digest::{Hashing, ImageDigest};

/// A file of an archive.
#[derive(Debug)]
pub(super) struct Blob {
    pub(super) digest: ImageDigest,
    pub(super) bytes: u64,
    pub(super) content: Content,
}

/// What a file of an archive turned out to be. Whether that is what it should be is said where it is named.
#[derive(Debug)]
pub(super) enum Content {
    /// It begins as JSON does.
    Json(Vec<u8>),
    /// The same, and longer than anything that is read.
    LongJson,
    /// It begins as a layer does.
    Layer(Result<LayerFacts, LayerFlaw>),
    /// Anything else.
    Other,
}

/// How something is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Gzip,
    Zstd,
    Tar,
    Other,
}

/// Length of what tells the form: the first block of a tar.
const HEAD: usize = 512;

impl Form {
    fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [b'{' | b'[', ..] if head.get(257..262) != Some(b"ustar") => Self::Json,
            // a tar, or an empty one
            _ if head.get(257..262) == Some(b"ustar") => Self::Tar,
            _ if head.len() == HEAD && head.iter().all(|byte| *byte == 0) => Self::Tar,
            _ => Self::Other,
        }
    }
}

fn head(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    input.take(HEAD as u64).read_to_end(&mut head)?;
    Ok(head)
}

fn zstd<'a>(input: impl Read + 'a) -> io::Result<impl Read + 'a> {
    zstd::stream::read::Decoder::new(input)
}

/// Hands the tar that `input` is, packed or not, to `read`.
pub(super) fn unpacked<T>(
    input: &mut impl Read,
    read: impl FnOnce(&mut dyn Read) -> Result<T, ArchiveError>,
) -> Result<T, ArchiveError> {
    // what fails below a decoder is the file's fault, not the archive's
    let mut input = Failing {
        inner: input,
        failure: None,
    };
    let outcome = unpack(&mut input, read);
    match input.failure {
        Some(error) => Err(ArchiveError::Read(error)),
        None => outcome,
    }
}

fn unpack<T>(
    input: &mut impl Read,
    read: impl FnOnce(&mut dyn Read) -> Result<T, ArchiveError>,
) -> Result<T, ArchiveError> {
    let head = head(input).map_err(ArchiveError::Read)?;
    let mut whole = head.as_slice().chain(&mut *input);
    let damaged = |error: io::Error| ArchiveError::Tar(TarFlaw::Damaged(plain(&error)));
    match Form::of(&head) {
        Form::Tar => read(&mut whole),
        Form::Gzip => {
            let mut decoder = MultiGzDecoder::new(whole);
            let outcome = read(&mut decoder)?;
            // the checksum stands at the end
            io::copy(&mut decoder, &mut io::sink()).map_err(damaged)?;
            Ok(outcome)
        }
        Form::Zstd => {
            let mut decoder = zstd(whole).map_err(ArchiveError::Read)?;
            let outcome = read(&mut decoder)?;
            io::copy(&mut decoder, &mut io::sink()).map_err(damaged)?;
            Ok(outcome)
        }
        Form::Json | Form::Other => Err(ArchiveError::Form),
    }
}

/// Remembers why reading failed, which decoders do not pass on as it was.
struct Failing<R> {
    inner: R,
    failure: Option<io::Error>,
}

impl<R: Read> Read for Failing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|error| {
            let told = io::Error::new(error.kind(), error.to_string());
            self.failure.get_or_insert(error);
            told
        })
    }
}

/// Reads a file of an archive to its end.
pub(super) fn read(input: &mut dyn Read, packages: Packages) -> io::Result<Blob> {
    let mut input = Hashing::new(input);
    let head = head(&mut input)?;
    let form = Form::of(&head);
    let mut whole = head.as_slice().chain(&mut input);
    let content = match form {
        Form::Json => {
            let mut json = Vec::new();
            (&mut whole).take(MAX_JSON + 1).read_to_end(&mut json)?;
            match json.len() as u64 > MAX_JSON {
                true => Content::LongJson,
                false => Content::Json(json),
            }
        }
        Form::Gzip => Content::Layer(layer(MultiGzDecoder::new(&mut whole), packages)),
        Form::Zstd => match zstd(&mut whole) {
            Ok(decoder) => Content::Layer(layer(decoder, packages)),
            Err(error) => return Err(error),
        },
        Form::Tar => Content::Layer(layer(&mut whole, packages)),
        Form::Other => Content::Other,
    };
    io::copy(&mut input, &mut io::sink())?;
    let (digest, bytes) = input.finish();
    Ok(Blob {
        digest,
        bytes,
        content,
    })
}

/// Unpacks a layer in memory, piece by piece.
fn layer(input: impl Read, packages: Packages) -> Result<LayerFacts, LayerFlaw> {
    let mut input = Hashing::new(input.take(MAX_LAYER + 1));
    let found = layer::read(&mut input, packages);
    let drained = io::copy(&mut input, &mut io::sink());
    let (diff_id, unpacked) = input.finish();
    if unpacked > MAX_LAYER {
        return Err(LayerFlaw::Tar(TarFlaw::Bomb(MAX_LAYER)));
    }
    let found = found.map_err(|error| match error {
        WalkError::Tar(flaw) => LayerFlaw::Tar(flaw),
        WalkError::Visitor(flaw) => LayerFlaw::Tar(flaw),
    })?;
    drained.map_err(|error| LayerFlaw::Tar(TarFlaw::Damaged(plain(&error))))?;
    Ok(LayerFacts {
        diff_id,
        unpacked,
        found,
    })
}
