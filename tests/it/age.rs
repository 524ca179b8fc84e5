//! age files that the device opens: with `age`, `rage` and age-plugin-trezor on the other side.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use bcm_tests::{PASSPHRASE, Peers, Running, Simulator, TestEnv, rage, wait_until};

use crate::support::files;

/// What `age recipient backup` prints in the wallet of the recorded answers.
const BACKUP: &str = "age13w833gw3nx8tvx6wudl6jzmhru7pc6d5zm6hpugjf94a8xums3eqfyk3qa";

/// A session that serves other programs, and the folder in which age finds the plugin.
struct Session {
    running: Running,
    socket: PathBuf,
}

impl Session {
    /// Opens the wallet whose passphrase is typed on the simulated device.
    fn start(env: &TestEnv, simulator: &Simulator) -> Self {
        let before = sockets(env);
        let running = env.bcm(["serve"]).device(&simulator.udp()).spawn();
        let socket = wait_until("a session socket", Duration::from_secs(20), || {
            sockets(env).into_iter().find(|path| !before.contains(path))
        });
        Self { running, socket }
    }

    /// Ends it and returns what it said on its terminal.
    fn end(self) -> String {
        self.running.terminate();
        self.running.wait().stderr
    }
}

/// Returns the session sockets that somebody serves on.
fn sockets(env: &TestEnv) -> Vec<PathBuf> {
    files(&env.path().join("run"))
        .into_iter()
        .filter(|path| path.ends_with("session") && UnixStream::connect(path).is_ok())
        .collect()
}

/// Prepares a run of a client of age that finds bcm as its plugin.
fn client(env: &TestEnv, program: impl AsRef<Path>) -> Command {
    let bin = env.path().join("bin");
    if !bin.exists() {
        fs::create_dir(&bin).unwrap();
        let link = bin.join("age-plugin-trezor");
        std::os::unix::fs::symlink(env.bcm([]).program(), link).unwrap();
    }
    let mut command = env.command(program);
    command
        .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
        .stdin(Stdio::null());
    command
}

/// Writes the identity file of the key `backup`, which is the same in every wallet.
fn identity(env: &TestEnv) -> PathBuf {
    env.write("identity", "AGE-PLUGIN-TREZOR-1VFSKX6M4WQ5SUYMM\n")
}

#[track_caller]
fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    output.stdout
}

/// Expects that it fails and returns what it said.
#[track_caller]
fn refused(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{}", said(&output));
    assert!(output.stdout.is_empty(), "{}", said(&output));
    let text = said(&output);
    assert!(!text.contains("panicked"), "{text}");
    text
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Encrypts `plain` with `age` to these recipients.
fn encrypted(env: &TestEnv, plain: &str, recipients: &[&str]) -> PathBuf {
    let input = env.write("plain", plain);
    let output = env.path().join("file.age");
    let mut age = env.command("/usr/bin/age");
    for recipient in recipients {
        age.args(["-r", recipient]);
    }
    run(age.arg("-o").arg(&output).arg(input));
    output
}

fn decrypt(env: &TestEnv, program: impl AsRef<Path>, identity: &Path, file: &Path) -> Command {
    let mut command = client(env, program);
    command.arg("-d").arg("-i").arg(identity).arg(file);
    command
}

#[test]
fn recipients_and_identity_lines_equal_those_of_age_plugin_trezor() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../keystore/vectors/peers/age-plugin-trezor.txt");
    let recorded = fs::read_to_string(recorded).unwrap();
    let mut printed = String::new();
    for name in ["backup", "me@example.org"] {
        let output = env
            .bcm(["age", "recipient", name])
            .device(&simulator.udp())
            .passphrase(PASSPHRASE)
            .run();
        printed += output.success();
    }
    assert_eq!(printed, recorded);
    let theirs = Peers::ready()
        .command(&env, "age-plugin-trezor")
        .args(["-i", "backup"])
        .env("TREZOR_PATH", simulator.udp())
        .env("TREZOR_PASSPHRASE", PASSPHRASE)
        .output()
        .unwrap();
    assert!(recorded.starts_with(&*String::from_utf8_lossy(&theirs.stdout)));
    assert!(!theirs.stdout.is_empty(), "{}", said(&theirs));
}

#[test]
fn names_are_listed_until_they_are_forgotten() {
    let env = TestEnv::new();
    let script = "age recipient --bare; age recipient backup --json; age list --json; \
                  age remove bcm; age list";
    let output = env
        .bcm(["-c", script])
        .device("simulator")
        .passphrase(PASSPHRASE)
        .run();
    let printed = output.success();
    assert_eq!(printed.matches(BACKUP).count(), 3, "{output}");
    let table = printed.rsplit_once(']').unwrap().1;
    assert!(
        table.contains("backup") && !table.contains("bcm "),
        "{output}"
    );

    for (words, code) in [
        (["age", "recipient", ""], 2),
        (["age", "recipient", "a\nb"], 2),
        (["age", "recipient", "žluť"], 2),
        (
            [
                "age",
                "recipient",
                "01234567890123456789012345678901234567890",
            ],
            2,
        ),
        (["age", "remove", "nobody"], 1),
    ] {
        env.bcm(words)
            .device("simulator")
            .passphrase(PASSPHRASE)
            .run()
            .failure(code);
    }
}

#[test]
fn age_and_rage_decrypt_through_the_session() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let identity = identity(&env);
    let session = Session::start(&env, &simulator);
    let file = encrypted(&env, "for the device", &[BACKUP]);
    for program in [Path::new("/usr/bin/age"), rage()] {
        let plain = run(&mut decrypt(&env, program, &identity, &file));
        assert_eq!(plain, b"for the device");
        let input = env.write("plain", "to the identity");
        // to the identity, whose recipient the session tells
        let file = env.path().join("identity.age");
        run(client(&env, program)
            .arg("-e")
            .arg("-i")
            .arg(&identity)
            .arg("-o")
            .arg(&file)
            .arg(input));
        let plain = run(&mut decrypt(&env, program, &identity, &file));
        assert_eq!(plain, b"to the identity");
        fs::remove_file(file).unwrap();
    }
    let said = session.end();
    assert!(
        said.contains("decrypt an age file for age-plugin-trez of age"),
        "{said}"
    );
    assert!(said.contains("of rage"), "{said}");
    assert!(said.contains("age://backup"), "{said}");
}

#[test]
fn age_plugin_trezor_opens_the_same_files_and_what_bcm_encrypted() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let script = format!(
        "config set passwords.path={}; password generate a --show --stdout",
        env.path().join("store").display()
    );
    let output = env
        .bcm(["-c", &script])
        .device(&simulator.udp())
        .passphrase(PASSPHRASE)
        .run();
    let secret = output.success();
    let own = env
        .bcm(["age", "recipient"])
        .device(&simulator.udp())
        .passphrase(PASSPHRASE)
        .run();
    let own = env.write("own.identity", own.success());
    let password = env.path().join("store/a.age");
    let file = encrypted(&env, "for both", &[BACKUP]);

    let theirs = Peers::ready().command(&env, "age-plugin-trezor");
    let mut variables = theirs.get_envs();
    let path = variables.find_map(|(name, value)| value.filter(|_| name == "PATH"));
    let decrypt = |identity: &Path, file: &Path| {
        run(decrypt(&env, "/usr/bin/age", identity, file)
            .env("PATH", path.unwrap())
            .env("TREZOR_PATH", simulator.udp())
            .env("TREZOR_PASSPHRASE", PASSPHRASE))
    };
    assert_eq!(decrypt(&identity(&env), &file), b"for both");
    assert_eq!(decrypt(&own, &password), secret.as_bytes());

    // and the running session opens it for age, as for `passage show`
    let _session = Session::start(&env, &simulator);
    let plain = run(&mut self::decrypt(&env, "/usr/bin/age", &own, &password));
    assert_eq!(plain, secret.as_bytes());
}

#[test]
fn among_other_recipients_and_identities_the_right_ones_are_found() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let backup = identity(&env);
    let other = env
        .bcm(["age", "recipient", "other"])
        .device(&simulator.udp())
        .passphrase(PASSPHRASE)
        .run();
    let other = env.write("other.identity", other.success());
    run(env
        .command("/usr/bin/age-keygen")
        .args(["-o", "foreign.key"]));
    let foreign = run(env
        .command("/usr/bin/age-keygen")
        .args(["-y", "foreign.key"]));
    let foreign = String::from_utf8(foreign).unwrap();
    let session = Session::start(&env, &simulator);
    let file = encrypted(&env, "for several", &[foreign.trim_end(), BACKUP]);
    let mut both = client(&env, "/usr/bin/age");
    both.arg("-d").arg("-i").arg(&other).arg("-i").arg(&backup);
    assert_eq!(run(both.arg(&file)), b"for several");

    // for nobody here
    let file = encrypted(&env, "for another", &[foreign.trim_end()]);
    let text = refused(&mut decrypt(&env, "/usr/bin/age", &backup, &file));
    assert!(text.contains("no identity matched"), "{text}");
    let said = session.end();
    assert!(said.contains("(recipient 2 of 2)"), "{said}");
    assert!(said.contains("not encrypted to this wallet"), "{said}");
}

#[test]
fn without_a_session_or_with_several_the_person_is_told_what_to_do() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let identity = identity(&env);
    let file = encrypted(&env, "x", &[BACKUP]);
    let text = refused(&mut decrypt(&env, "/usr/bin/age", &identity, &file));
    assert!(text.contains("no bcm session is running"), "{text}");
    assert!(text.contains("bcm serve"), "{text}");

    let first = Session::start(&env, &simulator);
    let other = Simulator::with_typed(&env, "another wallet");
    let second = Session::start(&env, &other);
    let text = refused(&mut decrypt(&env, "/usr/bin/age", &identity, &file));
    for socket in [&first.socket, &second.socket] {
        assert!(text.contains(socket.to_str().unwrap()), "{text}");
    }
    assert!(text.contains("BCM_SOCKET"), "{text}");

    let plain =
        run(decrypt(&env, "/usr/bin/age", &identity, &file).env("BCM_SOCKET", &first.socket));
    assert_eq!(plain, b"x");
    let mut wrong = decrypt(&env, "/usr/bin/age", &identity, &file);
    let text = refused(wrong.env("BCM_SOCKET", &second.socket));
    assert!(text.contains("no identity matched"), "{text}");
    assert!(text.contains("of the wallet that is open"), "{text}");

    let gone = first.socket.clone();
    drop(first.end());
    let text = refused(decrypt(&env, "/usr/bin/age", &identity, &file).env("BCM_SOCKET", &gone));
    assert!(text.contains("no bcm session serves on"), "{text}");
    assert!(!gone.exists());
}

#[test]
fn a_locked_session_and_a_declined_request_are_told_apart() {
    let env = TestEnv::new();
    let mut simulator = Simulator::on_terminal(&env, 0);
    let identity = identity(&env);
    let file = encrypted(&env, "x", &[BACKUP]);
    let mut shell = env.bcm([]).device(&simulator.udp()).pty();
    shell.expect("type `help`");
    shell.settle();
    let socket = sockets(&env).remove(0);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&socket), 0o600);
    assert_eq!(mode(socket.parent().unwrap()), 0o700);

    let mut age = decrypt(&env, "/usr/bin/age", &identity, &file);
    let waiting = age.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn();
    shell.expect("decrypt an age file for age-plugin-trez of age");
    simulator.screen().expect("confirm?");
    simulator.screen().line("n");
    let output = waiting.unwrap().wait_with_output().unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());
    assert!(
        said(&output).contains("declined on the device"),
        "{}",
        said(&output)
    );
    shell.expect("session: not done");

    shell.settle();
    shell.line("lock");
    shell.expect("locked");
    let text = refused(&mut decrypt(&env, "/usr/bin/age", &identity, &file));
    assert!(text.contains("the session is locked"), "{text}");
    shell.line("exit");
    assert_eq!(shell.end().1, 0);
    assert!(!socket.exists());
}

#[test]
fn locking_ends_what_a_client_waits_for() {
    let env = TestEnv::new();
    let mut simulator = Simulator::on_terminal(&env, 0);
    let identity = identity(&env);
    let file = encrypted(&env, "x", &[BACKUP]);
    let mut shell = env.bcm([]).device(&simulator.udp()).pty();
    shell.expect("type `help`");
    shell.settle();
    let mut age = decrypt(&env, "/usr/bin/age", &identity, &file);
    let waiting = age.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn();
    simulator.screen().expect("confirm?");
    shell.line("lock");
    let output = waiting.unwrap().wait_with_output().unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());
    assert!(
        said(&output).contains("the session is locked"),
        "{}",
        said(&output)
    );
    shell.line("exit");
    assert_eq!(shell.end().1, 0);
}

#[test]
fn a_client_that_goes_away_frees_the_device() {
    let env = TestEnv::new();
    let mut simulator = Simulator::on_terminal(&env, 0);
    let identity = identity(&env);
    let file = encrypted(&env, "x", &[BACKUP]);
    let session = Session::start(&env, &simulator);
    let mut age = decrypt(&env, "/usr/bin/age", &identity, &file);
    let mut waiting = age
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    simulator.screen().expect("confirm?");
    waiting.kill().unwrap();
    waiting.wait().unwrap();
    let mut again = decrypt(&env, "/usr/bin/age", &identity, &file);
    let waiting = again.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn();
    simulator.screen().expect("confirm?");
    simulator.screen().line("y");
    assert_eq!(waiting.unwrap().wait_with_output().unwrap().stdout, b"x");
    assert!(session.end().contains("gave up"));
}

#[test]
fn hostile_clients_leave_the_session_serving() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let identity = identity(&env);
    let file = encrypted(&env, "still there", &[BACKUP]);
    let session = Session::start(&env, &simulator);
    let say = |bytes: &[u8]| {
        let mut stream = UnixStream::connect(&session.socket).unwrap();
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    };
    assert_eq!(say(b"\xff\xff\xff\xff"), b"");
    assert_eq!(say(b"GET / HTTP/1.1\r\n\r\n"), b"");
    let framed = |json: &str| {
        let length = u32::try_from(json.len()).unwrap().to_be_bytes();
        [&length[..], json.as_bytes()].concat()
    };
    assert_eq!(say(&framed(r#"{"steal-seed":{}}"#)), b"");
    // requests that parse are answered, whatever they hold
    for json in [
        r#"{"age-unwrap":{"name":"\u001b[2J","stanzas":[]}}"#,
        r#"{"age-unwrap":{"name":"","stanzas":[]}}"#,
        r#"{"age-unwrap":{"name":"bcm","stanzas":[{"tag":"X25519","args":[],"body":[]}]}}"#,
        r#"{"age-unwrap":{"name":"bcm","stanzas":[{"tag":"x","args":["y"],"body":[255]}]}}"#,
    ] {
        let mut stream = UnixStream::connect(&session.socket).unwrap();
        stream.write_all(&framed(json)).unwrap();
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut answer).unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        assert!(answer.is_object(), "{answer}");
    }
    let plain = run(&mut decrypt(&env, "/usr/bin/age", &identity, &file));
    assert_eq!(plain, b"still there");
    let said = session.end();
    assert!(said.contains("was cut off"), "{said}");
    assert!(
        !said.contains('\u{1b}') && !said.contains("panicked"),
        "{said}"
    );
}

#[test]
fn a_command_is_given_the_session() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let identity = identity(&env);
    let file = encrypted(&env, "in one go", &[BACKUP]);
    drop(client(&env, "/usr/bin/age"));
    let path = format!("{}:/usr/bin:/bin", env.path().join("bin").display());
    let output = env
        .bcm(["serve", "--", "age", "-d", "-i"])
        .word(&identity)
        .word(&file)
        .env("PATH", path)
        .device(&simulator.udp())
        .passphrase(PASSPHRASE)
        .run();
    assert_eq!(output.success(), "in one go");
    let output = env
        .bcm(["serve", "--", "false"])
        .device(&simulator.udp())
        .passphrase(PASSPHRASE)
        .run();
    assert_eq!(output.code(), 1);
}

#[test]
fn the_plugin_mode_is_only_for_age() {
    let env = TestEnv::new();
    env.bcm(["age-plugin"]).run().failure(2);
    env.bcm(["age-plugin", "--age-plugin=identity-v2"])
        .run()
        .failure(2);
    let output = env.bcm(["age-plugin", "--age-plugin=identity-v1"]).run();
    assert_eq!(output.code(), 1, "{output}");
    assert!(!output.stderr.contains("panicked"), "{output}");
}
