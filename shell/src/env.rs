//! Every environment variable that bcm reads, each named once, and the folders that follow.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use bcm_keystore::{Hint, Home};

/// Moves all state to one folder; `--home` is over it.
pub const BCM_HOME: &str = "BCM_HOME";
/// Where the session serves that `age-plugin-trezor` and git use, if there are several.
pub const BCM_SOCKET: &str = "BCM_SOCKET";
/// Turns colours off when set to anything, see <https://no-color.org>.
pub const NO_COLOR: &str = "NO_COLOR";
/// `dumb` has no colours and no line editor.
pub const TERM: &str = "TERM";
/// There is a Wayland clipboard.
pub const WAYLAND_DISPLAY: &str = "WAYLAND_DISPLAY";
/// There is an X11 clipboard.
pub const DISPLAY: &str = "DISPLAY";
/// Filter of the log on stderr, of our own crates; nothing is logged without it.
pub const RUST_LOG: &str = "RUST_LOG";
/// The person's home, under which the folders below are by default.
pub const HOME: &str = "HOME";
/// See the [XDG base directories](https://specifications.freedesktop.org/basedir-spec/latest/).
pub const XDG_CONFIG_HOME: &str = "XDG_CONFIG_HOME";
/// As above.
pub const XDG_DATA_HOME: &str = "XDG_DATA_HOME";
/// As above: sockets and whatever else ends with the login.
pub const XDG_RUNTIME_DIR: &str = "XDG_RUNTIME_DIR";

/// Where an LXD that is not at its usual place keeps its socket, as for `lxc`.
pub const LXD_DIR: &str = "LXD_DIR";
/// As above, of Incus.
pub const INCUS_DIR: &str = "INCUS_DIR";

/// Reads a variable; an empty one counts as unset.
fn read(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Returns what the program was started with, its name first.
pub fn arguments() -> std::env::ArgsOs {
    std::env::args_os()
}

/// Returns everything, for the programs of OpenSSH that pick what they may see.
pub fn variables() -> std::env::VarsOs {
    std::env::vars_os()
}

/// Returns the folder for what ends with this process, where the login has none: `TMPDIR`.
pub fn temporary_folder() -> PathBuf {
    std::env::temp_dir()
}

/// Returns where the session serves that is to be used.
pub fn session_socket() -> Option<PathBuf> {
    read(BCM_SOCKET).map(PathBuf::from)
}

/// Returns the folders below which a session may have made its own.
pub fn runtime_parents() -> Vec<PathBuf> {
    let runtime = read(XDG_RUNTIME_DIR).map(PathBuf::from);
    let runtime = runtime.filter(|folder| folder.is_absolute());
    runtime.into_iter().chain([temporary_folder()]).collect()
}

/// Returns the socket of this machine's LXD or Incus, where it is not at its usual place.
pub fn lxd_socket() -> Option<PathBuf> {
    let folder = read(LXD_DIR).or_else(|| read(INCUS_DIR))?;
    Some(Path::new(&folder).join("unix.socket"))
}

/// Returns the path of this program.
pub fn this_program() -> std::io::Result<PathBuf> {
    std::env::current_exe()
}

/// Tells whether there is a Wayland, and whether there is an X11 clipboard.
pub fn clipboards() -> (bool, bool) {
    (read(WAYLAND_DISPLAY).is_some(), read(DISPLAY).is_some())
}

/// Returns the filter of the log.
pub fn rust_log() -> Option<String> {
    read(RUST_LOG).map(|filter| filter.to_string_lossy().into_owned())
}

/// Tells whether colours are unwanted.
pub fn no_color() -> bool {
    read(NO_COLOR).is_some() || read(TERM).is_some_and(|term| term == "dumb")
}

/// Why there is no folder for state.
#[derive(Debug, thiserror::Error)]
#[error("there is no folder to keep state in: HOME is not set")]
pub struct NoHome;

impl Hint for NoHome {
    fn hint(&self) -> Option<String> {
        Some("name one: `bcm --home DIR`".into())
    }
}

/// Where this computer's state is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// Configuration and stores.
    pub home: Home,
    /// Parent of this process's runtime folder; `None` takes the system's temporary one.
    pub runtime: Option<PathBuf>,
}

impl Paths {
    /// Finds the folders: `flag` over `BCM_HOME` over XDG.
    pub fn find(flag: Option<&Path>) -> Result<Self, NoHome> {
        Self::from(flag, read)
    }

    fn from(flag: Option<&Path>, read: impl Fn(&str) -> Option<OsString>) -> Result<Self, NoHome> {
        // the specification says to ignore relative ones
        let xdg = |name| {
            read(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let runtime = xdg(XDG_RUNTIME_DIR);
        let one = flag
            .map(Path::to_owned)
            .or_else(|| read(BCM_HOME).map(PathBuf::from));
        if let Some(folder) = one {
            let folder = std::path::absolute(&folder).unwrap_or(folder);
            return Ok(Self {
                home: Home::below(&folder),
                runtime,
            });
        }
        let person = read(HOME).map(PathBuf::from);
        let folder = |name, below: &str| {
            xdg(name)
                .or_else(|| Some(person.as_ref()?.join(below)))
                .map(|folder| folder.join("bcm"))
                .ok_or(NoHome)
        };
        Ok(Self {
            home: Home {
                config: folder(XDG_CONFIG_HOME, ".config")?.join("config.toml"),
                data: folder(XDG_DATA_HOME, ".local/share")?,
            },
            runtime,
        })
    }
}

/// Expands a leading `~/` of a path that is completed at the prompt, or configured.
pub fn expand_home(path: &OsStr) -> PathBuf {
    let path = Path::new(path);
    match (path.strip_prefix("~"), read(HOME)) {
        (Ok(rest), Some(home)) => Path::new(&home).join(rest),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(flag: Option<&str>, set: &[(&str, &str)]) -> Result<Paths, NoHome> {
        Paths::from(flag.map(Path::new), |name| {
            let found = set.iter().find(|(key, _)| *key == name)?;
            Some(found.1.into())
        })
    }

    #[test]
    fn the_flag_is_over_the_variable_is_over_xdg() {
        let set = [(BCM_HOME, "/b"), (HOME, "/h"), (XDG_CONFIG_HOME, "/c")];
        assert_eq!(
            paths(Some("/f"), &set).unwrap().home,
            Home::below(Path::new("/f"))
        );
        assert_eq!(
            paths(None, &set).unwrap().home,
            Home::below(Path::new("/b"))
        );
        let xdg = paths(None, &set[1..]).unwrap();
        assert_eq!(xdg.home.config, Path::new("/c/bcm/config.toml"));
        assert_eq!(xdg.home.data, Path::new("/h/.local/share/bcm"));
    }

    #[test]
    fn a_relative_xdg_folder_is_ignored_and_no_home_is_an_error() {
        let relative = paths(None, &[(XDG_DATA_HOME, "data"), (HOME, "/h")]).unwrap();
        assert_eq!(relative.home.data, Path::new("/h/.local/share/bcm"));
        assert!(paths(None, &[]).is_err());
    }
}
