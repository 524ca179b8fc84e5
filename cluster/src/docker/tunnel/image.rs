//! The image of the helper: folders to mount into, and nothing else. It is made here, so that its
//! digest is known and nothing is pulled.

use std::io;

use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use crate::docker::engine::{Engine, EngineError};
use crate::unix_http::{Body, Call};

/// Makes sure that the engine has the image, and returns its name, which holds its digest.
pub(super) async fn ensure(engine: &Engine) -> Result<String, EngineError> {
    let (name, archive) = archive(engine.arch()).expect("a vector takes what is written to it");
    let found = engine
        .call(Method::GET, &format!("/images/{name}/json"), None)
        .await;
    match found {
        Ok(_) => return Ok(name),
        Err(error) if error.status() == Some(404) => {}
        Err(error) => return Err(error),
    }
    let call = Call::new(Method::POST, "/images/load?quiet=1")
        .header(CONTENT_TYPE, HeaderValue::from_static("application/x-tar"))
        .body(Body::Bytes(archive));
    engine
        .raw(call, "take the image of the tunnel's helper")
        .await?;
    Ok(name)
}

/// Builds what `docker load` takes
/// ([image specification 1.2](https://github.com/moby/docker-image-spec/blob/v1.2.0/v1.2.md)).
fn archive(arch: &str) -> io::Result<(String, Vec<u8>)> {
    let layer = layer()?;
    let config = json!({
        "architecture": arch,
        "os": "linux",
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", digest(&layer))] },
    })
    .to_string();
    let digest = digest(config.as_bytes());
    let name = format!("bcm-tunnel:{}", &digest[..16]);
    let manifest = json!([{
        "Config": format!("{digest}.json"),
        "RepoTags": [name],
        "Layers": ["layer.tar"],
    }])
    .to_string();
    let mut archive = Builder::new(Vec::new());
    for (path, bytes) in [
        (format!("{digest}.json"), config.as_bytes()),
        ("layer.tar".into(), &layer),
        ("manifest.json".into(), manifest.as_bytes()),
    ] {
        let mut header = header(EntryType::Regular, 0o644);
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, path, bytes)?;
    }
    Ok((name, archive.into_inner()?))
}

/// What the host's `/usr` and the engine's own mounts go over, as a merged Debian has it.
fn layer() -> io::Result<Vec<u8>> {
    let mut layer = Builder::new(Vec::new());
    for name in ["dev/", "etc/", "proc/", "sys/", "usr/"] {
        let mut header = header(EntryType::Directory, 0o755);
        layer.append_data(&mut header, name, io::empty())?;
    }
    for name in ["bin", "lib", "lib64", "sbin"] {
        let mut header = header(EntryType::Symlink, 0o777);
        layer.append_link(&mut header, name, format!("usr/{name}"))?;
    }
    layer.into_inner()
}

fn header(kind: EntryType, mode: u32) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_size(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_is_the_same_each_time_and_holds_no_file() {
        let (name, bytes) = archive("amd64").unwrap();
        assert_eq!(
            (&name, &bytes),
            (&archive("amd64").unwrap().0, &archive("amd64").unwrap().1)
        );
        assert_ne!(name, archive("arm64").unwrap().0);
        let layer = layer().unwrap();
        let mut layer = tar::Archive::new(&*layer);
        for entry in layer.entries().unwrap() {
            let kind = entry.unwrap().header().entry_type();
            assert!(kind.is_dir() || kind.is_symlink(), "{kind:?}");
        }
    }
}
