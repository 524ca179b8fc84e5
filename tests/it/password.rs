//! Passwords, read and written by `age` as passage runs it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use bcm_tests::{Bcm, PASSPHRASE, Simulator, TestEnv, wait_until};

/// Prepares commands in one session with the simulated device that confirms everything.
fn bcm(env: &TestEnv, script: &str) -> Bcm {
    env.bcm(["-c", script])
        .device("simulator")
        .passphrase(PASSPHRASE)
}

/// Returns the folder of the passwords of the one wallet that has some.
fn own_store(env: &TestEnv) -> PathBuf {
    let wallets = fs::read_dir(env.state().join("wallets")).unwrap();
    let mut stores = wallets
        .map(|wallet| wallet.unwrap().path().join("passwords"))
        .filter(|store| store.exists());
    let store = stores.next().unwrap();
    assert!(stores.next().is_none());
    store
}

/// Makes a key of age, and returns its file and its recipient.
fn friend(env: &TestEnv) -> (PathBuf, String) {
    let key = env.path().join("friend.key");
    age(env, "age-keygen", ["-o", key.to_str().unwrap()]);
    let recipient = age(env, "age-keygen", ["-y", key.to_str().unwrap()]);
    (key, String::from_utf8(recipient).unwrap().trim().to_owned())
}

#[track_caller]
fn age<'a>(env: &TestEnv, program: &str, words: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let output = env.command(program).args(words).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    output.stdout
}

#[test]
fn generated_and_inserted_passwords_come_back_one_confirmation_each() {
    let env = TestEnv::new();
    let output = bcm(
        &env,
        "password generate web/example.org --length 40 --no-symbols; \
         password generate mail/me@example.org; password list",
    )
    .run();
    assert_eq!(
        output.success(),
        "├── mail/\n│   └── me@example.org\n└── web/\n    └── example.org\n"
    );
    // nothing is confirmed to encrypt
    assert!(
        !output.stderr.contains("decides by itself\nstored"),
        "{output}"
    );
    assert!(!output.stderr.contains("decrypt the password"), "{output}");

    let output = bcm(&env, "password show web/example.org --stdout").run();
    let secret = output.success().trim_end();
    assert_eq!(secret.len(), 40, "{output}");
    assert!(secret.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    let asked = "decrypt the password web/example.org with age://bcm";
    assert_eq!(output.stderr.matches(asked).count(), 1, "{output}");

    // descriptor 3 gives the passphrase, so the secret comes on stdin
    let mut insert = env
        .bcm(["password", "insert", "notes", "--fd", "0"])
        .device("simulator")
        .passphrase(PASSPHRASE)
        .spawn_with(std::process::Stdio::piped());
    insert.input("first line\nuser: alice\n");
    insert.wait().success();
    let output = bcm(&env, "password show notes --stdout").run();
    assert_eq!(output.success(), "first line\nuser: alice\n");
    let output = bcm(&env, "password list --json").run();
    let names: Vec<String> = serde_json::from_str(output.success()).unwrap();
    assert_eq!(names, ["mail/me@example.org", "notes", "web/example.org"]);
    let info = bcm(&env, "info --json").run();
    let info: serde_json::Value = serde_json::from_str(info.success()).unwrap();
    assert_eq!(info["stores"]["passwords"], 3);
    assert!(!output.stderr.contains("alice"));
}

#[test]
fn files_are_private_and_hold_no_secret() {
    let env = TestEnv::new();
    let output = bcm(&env, "password generate a/b --show --stdout").run();
    let secret = output.success().trim_end().to_owned();
    assert_eq!(secret.len(), 25);
    assert!(output.stderr.contains("sees the names"), "{output}");
    let store = own_store(&env);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&store), 0o700);
    assert_eq!(mode(&store.join("a")), 0o700);
    assert_eq!(mode(&store.join("a/b.age")), 0o600);
    for file in crate::support::files(&env.state()) {
        let content = fs::read(&file).unwrap();
        let found = content.windows(25).any(|part| part == secret.as_bytes());
        assert!(!found, "{}", file.display());
    }
}

#[test]
fn secrets_go_to_no_pipe_unless_wanted_and_nothing_is_replaced_unless_wanted() {
    let env = TestEnv::new();
    bcm(&env, "password generate a").run().success();
    let refused = bcm(&env, "password show a").run();
    refused.failure(2);
    assert!(refused.stdout.is_empty());
    assert!(
        !refused.stderr.contains("decrypt the password"),
        "{refused}"
    );
    bcm(&env, "password generate b --show").run().failure(2);
    bcm(&env, "password show b --stdout").run().failure(1);
    bcm(&env, "password generate a").run().failure(1);
    bcm(&env, "password generate a --force").run().success();
    bcm(&env, "password remove a").run().failure(2);
    bcm(&env, "password remove a --force").run().success();
    let gone = bcm(&env, "password show a --stdout").run();
    assert_eq!(gone.error(), Some("no password `a`"));
}

#[test]
fn names_that_leave_the_store_are_refused() {
    let env = TestEnv::new();
    for name in [
        "../x",
        "/etc/passwd",
        "a/../../x",
        ".git/config",
        "a//b",
        "''",
    ] {
        let script = format!("password generate {name}");
        bcm(&env, &script).run().failure(2);
    }
    bcm(&env, "password generate a --length 3").run().failure(2);
    bcm(&env, "password generate a --length 2000")
        .run()
        .failure(2);
    bcm(&env, "password generate ok").run().success();
    let store = own_store(&env);
    std::os::unix::fs::symlink("/etc", store.join("out")).unwrap();
    let refused = bcm(&env, "password generate out/x").run();
    assert!(refused.failure(1).contains("symbolic link"), "{refused}");
}

#[test]
fn age_as_passage_runs_it_reads_and_writes_the_store() {
    let env = TestEnv::new();
    let (key, recipient) = friend(&env);
    let store = env.path().join("passage");
    fs::create_dir_all(store.join("shared")).unwrap();
    fs::write(
        store.join("shared/.age-recipients"),
        format!("# us\n{recipient}\n"),
    )
    .unwrap();
    let set = format!("config set passwords.path={}; ", store.display());
    // a list that any program could write is asked about first
    let refused = bcm(&env, &format!("{set}password generate shared/site")).run();
    assert!(refused.failure(4).contains(&recipient), "{refused}");
    assert!(!store.join("shared/site.age").exists());
    let accept = "password recipients accept --in shared";
    bcm(&env, accept).run().failure(2);
    let script = format!("{accept} --yes; password generate shared/site --show --stdout");
    let output = bcm(&env, &script).run();
    let secret = output.success().to_owned();
    assert!(!output.stderr.contains("sees the names"), "{output}");
    // passage show: age -d -i IDENTITIES FILE
    let file = store.join("shared/site.age");
    let words = ["-d", "-i", key.to_str().unwrap(), file.to_str().unwrap()];
    assert_eq!(String::from_utf8(age(&env, "age", words)).unwrap(), secret);

    // passage insert: age -e -R .age-recipients -o FILE
    bcm(&env, "password generate own/first").run().success();
    let list = store.join(".age-recipients");
    let input = env.write("plain", "from passage\n");
    let written = store.join("own/second.age");
    age(
        &env,
        "age",
        [
            "-e",
            "-R",
            list.to_str().unwrap_or_default(),
            "-o",
            written.to_str().unwrap(),
            input.to_str().unwrap(),
        ],
    );
    let output = bcm(&env, "password show own/second --stdout").run();
    assert_eq!(output.success(), "from passage\n");
}

#[test]
fn a_recipient_that_another_program_wrote_gets_nothing() {
    let env = TestEnv::new();
    let (_, recipient) = friend(&env);
    bcm(&env, "password generate a").run().success();
    let list = own_store(&env).join(".age-recipients");
    let written = fs::read_to_string(&list).unwrap() + &recipient + "\n";
    fs::write(&list, written).unwrap();
    let before = fs::read(own_store(&env).join("a.age")).unwrap();
    for script in [
        "password generate b",
        "password generate a --force",
        "password rotate a",
    ] {
        let refused = bcm(&env, script).run();
        let text = refused.failure(4);
        assert!(
            text.contains("was not accepted as a recipient"),
            "{refused}"
        );
        assert!(text.contains("password recipients accept"), "{refused}");
    }
    assert_eq!(fs::read(own_store(&env).join("a.age")).unwrap(), before);
    assert!(!own_store(&env).join("b.age").exists());
    assert!(!own_store(&env).join("a.old.age").exists());
}

#[test]
fn passwords_are_encrypted_anew_when_recipients_change() {
    let env = TestEnv::new();
    let (key, recipient) = friend(&env);
    bcm(
        &env,
        "password generate shared/a; password generate shared/b; password generate mine",
    )
    .run()
    .success();
    let store = own_store(&env);
    let reads = |name: &str| {
        let file = store.join(name);
        let mut age = Command::new("/usr/bin/age");
        let output = age.arg("-d").arg("-i").arg(&key).arg(&file).output();
        output.unwrap().status.success()
    };
    assert!(!reads("shared/a.age"));
    let output = bcm(
        &env,
        &format!(
            "password recipients add {recipient} --in shared; password recipients list --in shared"
        ),
    )
    .run();
    assert!(output.success().contains(&recipient), "{output}");
    assert_eq!(
        output
            .stderr
            .matches("decrypt the password shared/")
            .count(),
        2,
        "{output}"
    );
    assert!(reads("shared/a.age") && reads("shared/b.age") && !reads("mine.age"));

    // one confirmation, however many recipients
    let output = bcm(&env, "password show shared/a --stdout").run();
    output.success();
    assert_eq!(
        output.stderr.matches("decrypt the password").count(),
        1,
        "{output}"
    );

    let script = format!("password recipients remove {recipient} --in shared --later");
    let output = bcm(&env, &script).run();
    output.success();
    assert!(
        output.stderr.contains("2 passwords still as before"),
        "{output}"
    );
    assert!(reads("shared/a.age"));
    bcm(&env, "password recipients apply").run().success();
    assert!(!reads("shared/a.age") && !reads("shared/b.age"));
    bcm(&env, "password recipients add age1nonsense")
        .run()
        .failure(2);
    bcm(&env, &script).run().failure(1);
}

#[test]
fn rotating_keeps_the_old_secret_and_what_belongs_to_it() {
    let env = TestEnv::new();
    let mut insert = env
        .bcm(["password", "insert", "site", "--fd", "0"])
        .device("simulator")
        .passphrase(PASSPHRASE)
        .spawn_with(std::process::Stdio::piped());
    insert.input("old secret\nuser: alice\n");
    insert.wait().success();
    bcm(&env, "password rotate site --length 30")
        .run()
        .success();
    let output = bcm(
        &env,
        "password show site --stdout; password show site.old --stdout",
    )
    .run();
    let lines: Vec<_> = output.success().lines().collect();
    assert_eq!(lines[0].len(), 30, "{output}");
    assert_eq!(lines[1..], ["user: alice", "old secret", "user: alice"]);
    let refused = bcm(&env, "password rotate site").run();
    assert!(refused.failure(1).contains("still in use"), "{refused}");
}

#[test]
fn exporting_wants_the_phrase() {
    let env = TestEnv::new();
    bcm(&env, "password generate a; password generate b/c")
        .run()
        .success();
    bcm(&env, "password export --all").run().failure(2);
    bcm(&env, "password export --all --confirm yes")
        .run()
        .failure(2);
    bcm(&env, "password export").run().failure(2);
    let output = bcm(
        &env,
        "password export --all --confirm 'export in the clear'",
    )
    .run();
    let exported: serde_json::Value = serde_json::from_str(output.success()).unwrap();
    assert_eq!(exported[1]["name"], "b/c");
    assert_eq!(exported[0]["content"].as_str().unwrap().len(), 26);
    assert_eq!(output.stderr.matches("decrypt the password").count(), 2);
}

#[test]
fn what_is_declined_or_damaged_or_of_another_wallet_yields_nothing() {
    let env = TestEnv::new();
    let mut simulator = Simulator::on_terminal(&env, 0);
    let store = format!(
        "config set passwords.path={}",
        env.path().join("p").display()
    );
    env.bcm(["-c", &store]).run().success();
    bcm(&env, "password generate a").run().success();
    let declined = env
        .bcm(["password", "show", "a", "--stdout"])
        .device(&simulator.udp())
        .spawn();
    simulator.screen().expect("confirm?");
    simulator.screen().line("n");
    let declined = declined.wait();
    declined.failure(3);
    assert!(declined.stdout.is_empty());

    let other = env
        .bcm(["password", "show", "a", "--stdout"])
        .device("simulator")
        .passphrase("another wallet")
        .run();
    other.failure(4);
    let path = env.path().join("p/a.age");
    let whole = fs::read(&path).unwrap();
    for end in [0, 10, whole.len() - 1] {
        fs::write(&path, &whole[..end]).unwrap();
        let damaged = bcm(&env, "password show a --stdout").run();
        damaged.failure(4);
        assert!(damaged.stdout.is_empty());
    }
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    fs::write(&path, flipped).unwrap();
    bcm(&env, "password show a --stdout").run().failure(4);
}

/// A desktop's clipboard, kept in a file: there is no display where the tests run.
const XCLIP: &str = "#!/bin/sh
for word; do [ \"$word\" = -o ] && exec cat \"$HOME/clipboard\"; done
[ \"$1\" = -version ] || exec cat > \"$HOME/clipboard\"
";

fn with_clipboard(env: &TestEnv, bcm: Bcm) -> Bcm {
    let xclip = env.write("bin/xclip", XCLIP);
    fs::set_permissions(xclip, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", env.path().join("bin").display());
    bcm.env("PATH", path).env("DISPLAY", ":9")
}

#[test]
fn the_clipboard_is_cleared_unless_something_else_was_copied() {
    let env = TestEnv::new();
    let clipboard = env.home().join("clipboard");
    bcm(&env, "password copy a").run().failure(1);
    let copied = bcm(
        &env,
        "password generate a --show --stdout; password copy a --clear-after 1",
    );
    let output = with_clipboard(&env, copied).run();
    let secret = output.success().trim_end().to_owned();
    assert_eq!(secret.len(), 25);
    assert!(output.stderr.contains("cleared the clipboard"), "{output}");
    assert_eq!(fs::read(&clipboard).unwrap(), b"");

    let running = with_clipboard(&env, bcm(&env, "password copy a --clear-after 3")).spawn();
    wait_until("a copy", std::time::Duration::from_secs(10), || {
        (fs::read_to_string(&clipboard).ok()? == secret).then_some(())
    });
    fs::write(&clipboard, "something else").unwrap();
    let output = running.wait();
    output.success();
    assert!(!output.stderr.contains("cleared the clipboard"), "{output}");
    assert_eq!(fs::read(&clipboard).unwrap(), b"something else");
}

#[test]
fn at_the_prompt_copying_does_not_wait_and_leaving_clears() {
    let env = TestEnv::new();
    let simulator = Simulator::start(&env);
    let shell = env.bcm([]).device(&simulator.udp());
    let mut shell = with_clipboard(&env, shell).pty();
    shell.expect("type `help`");
    shell.line("password insert typed");
    shell.expect("Password for typed (not shown): ");
    shell.line("correct horse");
    let echoed = shell.expect("Again for typed");
    shell.line("correct horse");
    assert!(!echoed.contains("horse"), "{echoed}");
    shell.expect("stored `typed`");
    shell.line("password insert other");
    shell.expect("Password for other (not shown): ");
    shell.line("one");
    shell.expect("Again for other");
    shell.line("two");
    shell.expect("not alike");
    shell.line("password show typed");
    shell.expect("correct horse");
    shell.line("password copy typed");
    shell.expect("copied `typed`");
    shell.settle();
    let clipboard = env.home().join("clipboard");
    assert_eq!(fs::read(&clipboard).unwrap(), b"correct horse");
    shell.line("exit");
    assert_eq!(shell.end().1, 0);
    assert_eq!(fs::read(&clipboard).unwrap(), b"");
}
