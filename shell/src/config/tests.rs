use std::os::unix::fs::PermissionsExt;

use super::*;

fn load(text: &[u8]) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, text).unwrap();
    Config::load(&path)
}

/// The message without the folder, and the hint.
fn refusal(text: &[u8]) -> (String, String) {
    let error = load(text).unwrap_err();
    assert!(!error.is_usage());
    let message = error.to_string();
    let at = message.find("config.toml").unwrap();
    (message[at..].to_owned(), error.hint().unwrap())
}

#[test]
fn an_absent_file_says_nothing_and_defaults_hold() {
    let config = Config::load(Path::new("/nonexistent/config.toml")).unwrap();
    assert_eq!(config.chain(), None);
    assert_eq!(config.device(), DeviceSelector::Auto);
    assert_eq!(config.idle(), Some(Duration::from_secs(600)));
    assert_eq!(config.passphrase_on(), PassphraseOn::Device);
}

#[test]
fn every_key_is_read_where_it_stands() {
    let config = load(
        b"chain = \"signet\"\ndevice = \"udp:127.0.0.1:1\"\npassphrase_on = \"host\"\n\
          color = \"never\"\n[lock]\nidle = \"off\"\n[ssh]\ncurve = \"nist256p1\"\n",
    )
    .unwrap();
    assert_eq!(config.chain(), Some(Chain::Signet));
    assert_eq!(config.device().to_string(), "udp:127.0.0.1:1");
    assert_eq!(config.passphrase_on(), PassphraseOn::Host);
    assert_eq!(config.color(), Color::Never);
    assert_eq!(config.idle(), None);
    assert_eq!(config.curve(), Curve::Nist256p1);
    assert_eq!(
        load(b"lock.idle = \"90s\"")
            .unwrap()
            .idle()
            .unwrap()
            .as_secs(),
        90
    );
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_name() {
    assert_eq!(
        refusal(b"# x\nchian = \"regtest\"\n"),
        (
            "config.toml` line 2: unknown key `chian`".into(),
            "did you mean `chain`?".into()
        )
    );
    assert_eq!(
        refusal(b"[lock]\n\nidel = \"1m\"\n").0,
        "config.toml` line 3: unknown key `lock.idel`"
    );
    assert_eq!(
        refusal(b"[zzz]\na = 1\n"),
        (
            "config.toml` line 1: unknown key `zzz`".into(),
            "run `config list` for the keys there are".into()
        )
    );
}

#[test]
fn a_duplicate_key_is_refused() {
    let (message, _) = refusal(b"chain = \"regtest\"\nchain = \"mainnet\"\n");
    assert!(
        message.starts_with("config.toml` line 2: duplicate key"),
        "{message}"
    );
}

#[test]
fn a_wrong_value_is_named_with_its_line() {
    assert_eq!(
        refusal(b"\nchain = \"main\"\n").0,
        "config.toml` line 2: `chain` cannot be `main`, expected mainnet, testnet4, signet or \
         regtest"
    );
    for text in [
        "chain = 1",
        "[chain]\nx = 1",
        "lock = \"10m\"",
        "[lock]\nidle = 10",
    ] {
        let (message, _) = refusal(text.as_bytes());
        assert!(message.contains(" line "), "{message}");
    }
}

#[test]
fn what_is_no_toml_or_no_text_is_refused() {
    assert!(
        refusal(b"chain = \n")
            .0
            .starts_with("config.toml` line 1: ")
    );
    assert_eq!(
        refusal(b"color = \"auto\"\n# \xff\n").0,
        "config.toml` line 2: not UTF-8"
    );
    assert!(refusal(&vec![b'#'; 2 << 20]).0.starts_with("config.toml`"));
    let folder = tempfile::tempdir().unwrap();
    let error = Config::load(folder.path()).unwrap_err();
    assert!(matches!(error, ConfigError::Io { .. }));
}

#[test]
fn set_keeps_what_else_is_there_and_writes_a_private_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/config.toml");
    let mut config = Config::load(&path).unwrap();
    config
        .set(&[(Key::LockIdle, Value::Idle(Some(Duration::from_secs(7200))))])
        .unwrap();
    std::fs::write(
        &path,
        "# mine\ncolor = \"never\" # why\n\n[lock]\nidle = \"2h\"\n",
    )
    .unwrap();
    let mut config = Config::load(&path).unwrap();
    config
        .set(&[(Key::Chain, Value::Chain(Chain::Regtest))])
        .unwrap();
    config
        .set(&[(Key::Color, Value::Color(Color::Always))])
        .unwrap();
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        "# mine\ncolor = \"always\" # why\nchain = \"regtest\"\n\n[lock]\nidle = \"2h\"\n"
    );
    assert_eq!(config.chain(), Some(Chain::Regtest));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
}

#[test]
fn unset_mends_a_file_and_removes_an_empty_table() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, "chain = \"main\"\n[lock]\nidle = \"1m\"\n").unwrap();
    assert!(Config::load(&path).is_err());
    assert!(Config::unset(&path, Key::Chain).unwrap());
    assert!(Config::unset(&path, Key::LockIdle).unwrap());
    assert!(!Config::unset(&path, Key::LockIdle).unwrap());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
}

#[test]
fn a_broken_file_is_not_touched_by_set() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    let mut config = Config::load(&path).unwrap();
    std::fs::write(&path, "zzz = 1\n").unwrap();
    assert!(
        config
            .set(&[(Key::Chain, Value::Chain(Chain::Regtest))])
            .is_err()
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "zzz = 1\n");
}

#[test]
fn what_a_value_prints_parses_again() {
    for key in Key::ALL {
        assert_eq!(Key::from_name(key.name()), Some(key));
        for word in key.words() {
            let value = key.parse(word).unwrap();
            assert_eq!(key.parse(&value.to_string()).unwrap(), value);
        }
        assert!(key.parse(key.example()).is_ok());
        for wrong in ["", "zzz", "\u{1b}[2J"] {
            let error = key.parse(wrong).unwrap_err().to_string();
            assert!(!error.contains('\u{1b}'), "{error}");
        }
    }
    for wrong in [
        "9s",
        "25h",
        "10",
        "m",
        "+10m",
        "99999999999999999999h",
        "1ř",
    ] {
        assert!(Key::LockIdle.parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_link_stays_and_the_file_behind_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let real = folder.path().join("dotfiles.toml");
    let link = folder.path().join("config.toml");
    std::os::unix::fs::symlink("dotfiles.toml", &link).unwrap();
    let pair = (Key::Chain, Value::Chain(Chain::Signet));
    Config::load(&link).unwrap().set(&[pair]).unwrap();
    assert!(link.is_symlink());
    assert_eq!(
        std::fs::read_to_string(real).unwrap(),
        "chain = \"signet\"\n"
    );
}

#[test]
fn the_folder_of_passwords_is_the_same_wherever_bcm_is_started() {
    let (text, _) = refusal(b"[passwords]\npath = \"store\"\n");
    assert!(text.contains("passwords.path"), "{text}");
    let config = load(b"[passwords]\npath = \"/srv/store\"\n").unwrap();
    assert_eq!(config.passwords().unwrap(), Path::new("/srv/store"));
    let config = load(b"[passwords]\npath = \"~/store\"\n").unwrap();
    assert!(config.passwords().unwrap().ends_with("store"));
    assert_eq!(load(b"").unwrap().passwords(), None);
}
