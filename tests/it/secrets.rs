//! What must be written nowhere, and what is written so that only the right one reads it.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bcm_tests::{Simulator, TestEnv, wait_until};

use crate::support::{files, new_key};

/// Like nothing else that a run could print.
const SECRET: &str = "Zq7 heron vault 93";

/// The forms in which a careless program writes a secret.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let bytes = secret.as_bytes();
    let list = |bytes: &[u8]| {
        let list: Vec<_> = bytes.iter().map(u8::to_string).collect();
        list.join(", ").into_bytes()
    };
    vec![
        bytes.to_vec(),
        hex::encode(bytes).into_bytes(),
        hex::encode_upper(bytes).into_bytes(),
        list(&bytes[..6]),
    ]
}

/// Returns the names of the texts that hold the secret in some form.
fn leaks(secret: &str, texts: &[(String, Vec<u8>)]) -> Vec<String> {
    let forms = forms(secret);
    let holds = |text: &[u8]| {
        forms
            .iter()
            .any(|form| text.windows(form.len()).any(|window| window == form))
    };
    texts
        .iter()
        .filter(|(_, text)| holds(text))
        .map(|(name, _)| name.clone())
        .collect()
}

/// Everything written below the test's folder.
fn written(env: &TestEnv) -> Vec<(String, Vec<u8>)> {
    files(env.path())
        .into_iter()
        .filter_map(|path| {
            let content = fs::read(&path).ok()?;
            Some((path.display().to_string(), content))
        })
        .collect()
}

#[test]
fn the_passphrase_is_written_nowhere() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let mut texts = Vec::new();
    for device in [simulator.udp(), simulator.bridge(), "simulator".into()] {
        for words in [
            &["info"][..],
            &["ssh", "newkey", "alice@node-1"],
            &["info", "--json"],
        ] {
            let output = env
                .bcm(words.iter().copied())
                .device(&device)
                .passphrase(SECRET)
                .env("RUST_LOG", "trace")
                .run();
            output.success();
            texts.push((format!("stdout {device} {words:?}"), output.stdout.into()));
            texts.push((format!("stderr {device} {words:?}"), output.stderr.into()));
        }
    }
    // Typed at the terminal, with a failed command for good measure.
    let mut pty = env
        .bcm(["--passphrase-on", "host"])
        .device(&simulator.udp())
        .env("RUST_LOG", "trace")
        .pty();
    let mut screen = pty.expect("assphrase");
    pty.line(SECRET);
    screen += &pty.expect("> ");
    pty.line("ssh newkey @");
    screen += &pty.expect("error: ");
    pty.line("exit");
    let (rest, _) = pty.end();
    texts.push(("terminal".into(), (screen + &rest).into()));
    texts.extend(written(&env));
    assert!(texts.len() > 20);
    assert_eq!(leaks(SECRET, &texts), Vec::<String>::new());
}

#[test]
fn the_search_would_find_a_passphrase_that_was_written() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let output = env
        .bcm(["info"])
        .device(&simulator.udp())
        .passphrase(SECRET)
        .env("RUST_LOG", "trace")
        .run();
    output.success();
    // The log is on, so there is something that a secret could have been written to.
    assert!(
        output.stderr.contains("DEBUG") || output.stderr.contains("TRACE"),
        "{output}"
    );
    let list = format!("{:?}", SECRET.as_bytes());
    for (name, text) in [
        ("plain", format!("passphrase: {SECRET}")),
        ("hex", hex::encode(format!("\n\u{12}{SECRET}"))),
        ("list", list),
    ] {
        let text = format!("{}{text}{}", output.stderr, output.stdout);
        env.write(&format!("state/deep/{name}"), text);
    }
    let found = leaks(SECRET, &written(&env));
    assert_eq!(found.len(), 3, "{found:?}");
}

#[test]
fn the_history_keeps_no_line_with_a_secret_flag() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let mut pty = env.bcm([]).device(&simulator.udp()).pty();
    pty.expect("> ");
    pty.line("config get chain");
    pty.expect("regtest");
    pty.line(&format!("unlock --passphrase={SECRET}"));
    pty.expect("error: ");
    pty.line(&format!("info --pin {SECRET}"));
    pty.expect("error: ");
    pty.line("exit");
    pty.end();
    assert_eq!(leaks(SECRET, &written(&env)), Vec::<String>::new());

    // sealed, so that no host that was typed can be read on disk; recalled in the same wallet
    let history = written(&env);
    assert_eq!(leaks("config get chain", &history), Vec::<String>::new());
    let mut pty = env.bcm([]).device(&simulator.udp()).pty();
    pty.expect("> ");
    pty.control('p');
    pty.control('p');
    pty.expect("config get chain");
    pty.line("");
    pty.line("exit");
    pty.end();
}

#[test]
fn files_are_private_from_the_start() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    new_key(&env, &simulator, "alice@node-1", "ed25519");
    env.bcm(["config", "set", "chain=regtest"]).run().success();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let written = files(&env.state());
    assert!(written.len() >= 2, "{written:?}");
    for path in written {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        let folder = path.parent().unwrap();
        assert_eq!(mode(folder), 0o700, "{}", folder.display());
    }
}

#[test]
fn no_identity_stands_in_the_clear_on_disk() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let line = new_key(&env, &simulator, "alice@very-secret-host", "ed25519");
    let key = line.split(' ').nth(1).unwrap();
    for (name, text) in written(&env) {
        let text = String::from_utf8_lossy(&text).into_owned();
        for secret in ["very-secret-host", "alice", key, "dd53b9b4", "xpub"] {
            assert!(!text.contains(secret), "{name} holds {secret}");
        }
    }
}

#[test]
fn the_folders_do_not_tell_how_many_wallets_there_are() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let unlock = |passphrase: &str| {
        let words = ["ssh", "newkey", "alice@node-1"];
        let output = env
            .bcm(words)
            .device(&simulator.udp())
            .passphrase(passphrase)
            .run();
        output.success();
    };
    let folders = || -> Vec<_> {
        let entries = fs::read_dir(env.state().join("wallets")).unwrap();
        entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_dir())
            .collect()
    };
    unlock("one");
    assert!(folders().len() >= 4, "{:?}", folders());
    unlock("two");
    // No folder looks different from another: the same files, of the same sizes, modes and times.
    let mut looks: Vec<_> = folders()
        .iter()
        .map(|folder| {
            let look = |path: std::path::PathBuf| {
                let data = fs::metadata(&path).unwrap();
                let name = path.file_name().unwrap().to_owned();
                (name, data.len(), data.mode(), data.mtime())
            };
            files(folder).into_iter().map(look).collect::<Vec<_>>()
        })
        .collect();
    looks.dedup();
    assert_eq!(looks.len(), 1, "{looks:#?}");
}

/// Runs as nobody, where the test itself runs as root: root may read whatever it likes.
fn as_nobody(env: &TestEnv, mut command: Command) -> Command {
    if !rustix::process::geteuid().is_root() {
        return command;
    }
    let program = env.path().join("program");
    fs::copy(command.get_program(), &program).unwrap();
    let chown = env
        .command("chown")
        .args(["-R", "65534:65534"])
        .arg(env.path())
        .status()
        .unwrap();
    assert!(chown.success());
    let mut wrapped = env.command("setpriv");
    wrapped
        .args([
            "--reuid",
            "65534",
            "--regid",
            "65534",
            "--clear-groups",
            "--",
        ])
        .arg(program)
        .args(command.get_args());
    command.env_clear();
    wrapped
}

#[test]
fn the_process_leaves_no_core_and_lets_nobody_trace_it() {
    let env = TestEnv::new();
    let sleep = {
        let mut sleep = Command::new("/bin/sleep");
        sleep.arg("60");
        sleep
    };
    let bcm = {
        let path = env.bcm([]).program();
        let mut bcm = Command::new(path);
        bcm.args([
            "--device",
            "simulator",
            "--passphrase-on",
            "host",
            "simulator",
            "serve",
        ]);
        bcm.args(["--udp", "127.0.0.1:0"]);
        bcm
    };
    let mut owners = Vec::new();
    for command in [sleep, bcm] {
        let expected = command.get_program().to_owned();
        let mut child = as_nobody(&env, command)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let proc = Path::new("/proc").join(child.id().to_string());
        let name = if rustix::process::geteuid().is_root() {
            "program".into()
        } else {
            Path::new(&expected)
                .file_name()
                .unwrap()
                .to_string_lossy()
                .into_owned()
        };
        // A process that cannot be traced belongs to root in /proc, see proc(5).
        let owner = wait_until("it runs for a moment", Duration::from_secs(10), || {
            let running = fs::read_to_string(proc.join("comm")).ok()?;
            let settled = fs::read_to_string(proc.join("status"))
                .ok()?
                .contains("S (sleeping)");
            (running.trim_end() == name && settled)
                .then(|| fs::metadata(proc.join("environ")).unwrap().uid())
        });
        let limits = fs::read_to_string(proc.join("limits")).unwrap();
        let core = limits
            .lines()
            .find(|line| line.starts_with("Max core"))
            .unwrap();
        owners.push((owner, core.split_whitespace().nth(4) == Some("0")));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let [control, bcm] = owners.try_into().unwrap();
    assert_ne!(control.0, 0, "the control cannot tell");
    assert_eq!(bcm, (0, true));
}
