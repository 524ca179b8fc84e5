//! Files that a person named: nothing lost, nothing overwritten, nothing left half written.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use bcm_tests::{Bcm, Output, PASSPHRASE, TestEnv, wait_until};

/// Prepares a run of `file ...` on the embedded simulator.
pub(crate) fn file<'a>(env: &TestEnv, words: impl IntoIterator<Item = &'a str>) -> Bcm {
    env.bcm(std::iter::once("file").chain(words))
        .device("simulator")
        .passphrase(PASSPHRASE)
}

/// Runs several commands in one session.
pub(crate) fn session(env: &TestEnv, commands: &str) -> Output {
    env.bcm(["-c", commands])
        .device("simulator")
        .passphrase(PASSPHRASE)
        .run()
}

/// Returns the names in a folder.
#[track_caller]
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Damages a file in several places and cuts it at several lengths; `check` sees each of them.
pub(crate) fn damaged(content: &[u8], mut check: impl FnMut(&str, &[u8])) {
    let length = content.len();
    for at in [0, 1, length / 3, length / 2, length - 2, length - 1] {
        let mut changed = content.to_vec();
        changed[at] ^= 1;
        check(&format!("bit 0 of byte {at}"), &changed);
    }
    for kept in [0, 1, length / 2, length - 1] {
        check(&format!("cut to {kept}"), &content[..kept]);
    }
}

#[test]
fn what_is_read_is_never_overwritten() {
    let env = TestEnv::new();
    env.write("input", "precious");
    symlink(env.path().join("input"), env.path().join("soft")).unwrap();
    fs::hard_link(env.path().join("input"), env.path().join("hard")).unwrap();
    for output in ["input", "./input", "soft", "hard"] {
        let words = [
            "encrypt", "--format", "age", "input", "--force", "-o", output,
        ];
        let refused = file(&env, words).run();
        let stderr = refused.failure(1);
        assert!(stderr.contains("is the file that is read"), "{refused}");
    }
    assert_eq!(fs::read(env.path().join("input")).unwrap(), b"precious");
}

#[test]
fn nothing_is_overwritten_without_force_and_no_link_is_followed() {
    let env = TestEnv::new();
    let folder = env.path().join("work");
    env.write("work/input", "text");
    env.write("work/old", "old");
    symlink("old", folder.join("link")).unwrap();
    let encrypt = |output: &str, force: &[&str]| {
        let output = format!("work/{output}");
        let words = ["encrypt", "--format", "age", "work/input", "-o", &output];
        file(&env, words.into_iter().chain(force.iter().copied())).run()
    };
    for (output, why) in [("old", "exists"), ("link", "is a symbolic link")] {
        let refused = encrypt(output, &[]);
        assert!(refused.failure(1).contains(why), "{refused}");
        assert!(refused.hint().unwrap().contains("--force"), "{refused}");
    }
    encrypt("link", &["--force"]).success();
    assert_eq!(fs::read(folder.join("old")).unwrap(), b"old");
    assert!(!folder.join("link").is_symlink());
    encrypt("old", &["--force"]).success();
    assert!(fs::read(folder.join("old")).unwrap().starts_with(b"age-"));
    assert_eq!(names(&folder), ["input", "link", "old"]);
}

#[test]
fn a_name_that_cannot_be_read_or_written_is_named() {
    let env = TestEnv::new();
    env.write("work/input", "text");
    for (words, why) in [
        (&["none"][..], "there is no file `none`"),
        (&["work"], "`work` is a folder"),
        (&["work/input/x"], "cannot read `work/input/x`"),
        (&["work/input", "-o", "none/x"], "there is no folder `none`"),
        (&["work/input", "-o", "work"], "`work` is a folder"),
        (
            &["work/input", "-o", "work/new/"],
            "`work/new/` is a folder",
        ),
        (&["work/input", "-o", "work/input/x"], "there is no folder"),
    ] {
        let words = ["encrypt", "--format", "age"]
            .into_iter()
            .chain(words.iter().copied());
        let refused = file(&env, words).run();
        assert!(refused.failure(1).contains(why), "{why}\n{refused}");
        assert!(refused.hint().is_some(), "{refused}");
    }
    assert_eq!(names(&env.path().join("work")), ["input"]);
}

#[test]
fn a_full_disk_leaves_nothing_behind() {
    let env = TestEnv::new();
    env.write("input", vec![7; 4 << 20]);
    fs::create_dir(env.path().join("small")).unwrap();
    let program = env.bcm([]).program();
    let script = "mount -t tmpfs -o size=1m tmpfs small || exit 99
        \"$0\" --device simulator --passphrase-fd 3 file encrypt --format age input -o small/x \\
            3<<.
bcm test
.
        code=$?
        echo \"left: $(ls -A small)\"
        exit $code";
    // a user namespace, so that nobody has to be root to mount it
    let output = env
        .command("/usr/bin/unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(program)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("error: cannot write `small/x`: No space"),
        "{stderr}"
    );
    assert!(stderr.contains("make room"), "{stderr}");
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "left:");
}

#[test]
fn whatever_ends_bcm_leaves_nothing_behind() {
    let env = TestEnv::new();
    let folder = env.path().join("work");
    fs::create_dir(&folder).unwrap();
    for kill in [false, true] {
        let pipe = env.path().join(format!("pipe-{kill}"));
        let made = env.command("/usr/bin/mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let name = pipe.to_str().unwrap();
        let words = ["encrypt", "--format", "age", name, "-o", "work/output"];
        let running = file(&env, words).spawn();
        let mut writer = fs::File::options().write(true).open(&pipe).unwrap();
        // more than all that waits between the two threads: some of it is in the output
        writer.write_all(&vec![7; 16 << 20]).unwrap();
        if kill {
            running.kill();
            drop(running);
        } else {
            running.terminate();
            assert_eq!(running.wait().code(), 1);
        }
        assert_eq!(names(&folder), Vec::<String>::new());
    }
}

#[test]
fn standard_input_and_output_are_dashes() {
    let env = TestEnv::new();
    let mut running =
        file(&env, ["encrypt", "--format", "age", "--armor", "-"]).spawn_with(Stdio::piped());
    running.input("through a pipe");
    let encrypted = running.wait();
    let armored = encrypted.success().to_owned();
    assert!(armored.starts_with("-----BEGIN AGE ENCRYPTED FILE-----"));
    let mut running = file(&env, ["decrypt", "-"]).spawn_with(Stdio::piped());
    running.input(&armored);
    assert_eq!(running.wait().success(), "through a pipe");
    let json = file(&env, ["encrypt", "--format", "age", "-", "--json"]).run();
    json.failure(2);
}

#[test]
fn a_terminal_gets_no_bytes_that_would_disturb_it() {
    let env = TestEnv::new();
    env.write("input", "\u{1b}[2J");
    file(&env, ["encrypt", "--format", "age", "input"])
        .run()
        .success();
    for words in [
        &["encrypt", "--format", "age", "input", "-o", "-"][..],
        &["decrypt", "input.age", "-o", "-"],
    ] {
        let (shown, code) = file(&env, words.iter().copied())
            .flag("--simulator-confirm")
            .flag("auto")
            .pty()
            .end();
        assert_eq!(code, 1, "{shown}");
        assert!(shown.contains("would disturb the terminal"), "{shown}");
    }
}

#[test]
fn a_signature_that_was_declined_is_exit_3_and_no_file() {
    let env = TestEnv::new();
    env.write("work/input", "text");
    let words = ["sign", "--format", "signify", "--key", "me", "work/input"];
    let declined = file(&env, words)
        .flag("--simulator-confirm")
        .flag("deny")
        .run();
    declined.failure(3);
    assert_eq!(names(&env.path().join("work")), ["input"]);
}

#[test]
fn the_progress_of_a_long_stream_is_shown_on_a_terminal_alone() {
    let env = TestEnv::new();
    let pipe = env.path().join("pipe");
    let made = env.command("/usr/bin/mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let mut pty = file(&env, ["encrypt", "--format", "age", "pipe", "-o", "output"])
        .flag("--simulator-confirm")
        .flag("auto")
        .pty();
    let mut writer = fs::File::options().write(true).open(&pipe).unwrap();
    for _ in 0..3 {
        writer.write_all(&[7; 1 << 16]).unwrap();
        std::thread::sleep(Duration::from_millis(600));
    }
    pty.expect("KiB");
    drop(writer);
    let (_, code) = pty.end();
    assert_eq!(code, 0);
    let output = env.path().join("output");
    wait_until("the output", Duration::from_secs(5), || {
        output.exists().then_some(())
    });
}
