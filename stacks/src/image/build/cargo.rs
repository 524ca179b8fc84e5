//! Programs that cargo builds from crates.io, and the packages of Debian that hold their libraries.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Command, Stdio};

use super::error::BuildError;
use super::rootfs::run;
use super::{BuildEnv, Program};

/// A program that cargo builds, with the versions that its crate's `Cargo.lock` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CargoProgram<'a> {
    /// The crate and its program.
    pub name: &'a str,
    /// The version.
    pub version: &'a str,
}

/// Builds a program in `folder`, which has to be empty and is left with what cargo wrote.
///
/// # Errors
///
/// [`BuildError::Start`], [`BuildError::Failed`], [`BuildError::Cancelled`], [`BuildError::Files`].
pub fn build(
    program: CargoProgram<'_>,
    folder: &Path,
    env: &BuildEnv,
    check: &dyn Fn() -> std::io::Result<()>,
) -> Result<Program, BuildError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-+".contains(c);
    if !program.version.starts_with(|c: char| c.is_ascii_digit())
        || !program.version.chars().all(plain)
    {
        return Err(BuildError::Name {
            what: "version",
            name: program.version.chars().take(100).collect(),
        });
    }
    let mut command = Command::new("cargo");
    command
        .args([
            "install",
            "--quiet",
            "--locked",
            "--no-default-features",
            "--root",
        ])
        .arg(folder)
        .arg("--target-dir")
        .arg(folder.join("target"))
        .args([program.name, "--version", program.version])
        .current_dir(folder);
    let mut env = env.clone();
    // electrs takes the system's RocksDB instead of building its own for half an hour
    for (name, value) in [
        ("ROCKSDB_INCLUDE_DIR", "/usr/include"),
        ("ROCKSDB_LIB_DIR", "/usr/lib"),
    ] {
        env.0.push((name.into(), value.into()));
    }
    run("cargo", command, &env, Stdio::null(), check)?;
    let path = folder.join("bin").join(program.name);
    Ok(Program {
        name: program.name.to_owned(),
        bytes: std::fs::read(path).map_err(BuildError::Files)?,
    })
}

/// Returns the packages of this system that hold the libraries of a program.
///
/// # Errors
///
/// [`BuildError::Library`] where none holds one, [`BuildError::Program`] for what is not linked with any.
pub fn library_packages(
    path: &Path,
    env: &BuildEnv,
    check: &dyn Fn() -> std::io::Result<()>,
) -> Result<Vec<String>, BuildError> {
    let mut ldd = Command::new("ldd");
    ldd.arg(path);
    let told = output("ldd", ldd, env, check)?;
    let mut packages = Vec::new();
    // `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`
    for line in told.lines() {
        let Some((library, place)) = line.trim().split_once(" => ") else {
            continue;
        };
        if !place.starts_with('/') {
            return Err(BuildError::Library(library.to_owned()));
        }
        let mut query = Command::new("dpkg-query");
        query.args(["--search", &format!("*/{library}")]);
        let found = output("dpkg-query", query, env, check)
            .map_err(|_| BuildError::Library(library.to_owned()))?;
        // `libc6:amd64: /lib/x86_64-linux-gnu/libc.so.6`
        let package = found.lines().find_map(|line| line.split(':').next());
        let package = package.ok_or_else(|| BuildError::Library(library.to_owned()))?;
        if !packages.iter().any(|known| known == package) {
            packages.push(package.to_owned());
        }
    }
    match packages.is_empty() {
        true => Err(BuildError::Program(path.display().to_string())),
        false => Ok(packages),
    }
}

fn output(
    program: &'static str,
    command: Command,
    env: &BuildEnv,
    check: &dyn Fn() -> std::io::Result<()>,
) -> Result<String, BuildError> {
    const MOST: u64 = 1 << 20;
    let mut file = tempfile::tempfile().map_err(BuildError::Files)?;
    let told = file.try_clone().map_err(BuildError::Files)?;
    run(program, command, env, told.into(), check)?;
    file.seek(SeekFrom::Start(0)).map_err(BuildError::Files)?;
    let mut text = String::new();
    file.take(MOST)
        .read_to_string(&mut text)
        .map_err(BuildError::Files)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_libraries_of_a_program_are_packages() {
        let env = BuildEnv(vec![("PATH".into(), "/usr/bin:/bin".into())]);
        let found = library_packages(Path::new("/bin/sh"), &env, &|| Ok(())).unwrap();
        assert_eq!(found, ["libc6"]);
        assert!(library_packages(Path::new("/etc/passwd"), &env, &|| Ok(())).is_err());
    }

    #[test]
    fn a_version_is_no_flag() {
        let program = CargoProgram {
            name: "electrs",
            version: "--git=x",
        };
        let error = build(
            program,
            Path::new("/nonexistent"),
            &BuildEnv::default(),
            &|| Ok(()),
        );
        assert!(matches!(error.unwrap_err(), BuildError::Name { .. }));
    }
}
