//! PSBTs in files and on stdin.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bcm_keystore::wallet::psbt::{Document, MAX_PSBT};

use crate::report::{Kind, Report};

/// Longest file that is read: a PSBT as text, with lines.
const MAX_FILE: u64 = 3 * MAX_PSBT as u64;

/// Reads a PSBT; `-` is stdin.
pub(super) fn read(path: &Path) -> Result<Document, Report> {
    let bytes = bytes(path)?;
    Document::parse(&bytes).map_err(|error| Report::from(error).at(name(path)))
}

/// Reads a whole file, of at most [`MAX_FILE`] bytes; one more tells that it is longer.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>, Report> {
    let mut bytes = Vec::new();
    let read = if is_stdin(path) {
        io::stdin()
            .lock()
            .take(MAX_FILE + 1)
            .read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
    };
    match read {
        Ok(_) => Ok(bytes),
        Err(error) => {
            let name = name(path);
            let text = format!("cannot read `{name}`: {error}");
            Err(Report::text(Kind::Failed, text))
        }
    }
}

/// Refuses to read stdin twice.
pub(super) fn only_one_is_stdin(paths: &[PathBuf]) -> Result<(), Report> {
    if paths.iter().filter(|path| is_stdin(path)).count() > 1 {
        return Err(Report::usage(
            "`-` can be given once only: stdin ends after one PSBT",
        ));
    }
    Ok(())
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn name(path: &Path) -> String {
    if is_stdin(path) {
        "stdin".to_owned()
    } else {
        path.display().to_string()
    }
}
