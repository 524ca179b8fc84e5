//! Files for age and from age.

use std::fs;
use std::process::Command;

use bcm_tests::TestEnv;

use crate::files::{damaged, file, names, session};

#[track_caller]
fn peer(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn age(env: &TestEnv, words: &[&str]) -> String {
    peer(env.command("/usr/bin/age").args(words))
}

/// Makes a software identity and returns its recipient.
fn identity(env: &TestEnv, name: &str) -> String {
    peer(env.command("/usr/bin/age-keygen").args(["-o", name]));
    peer(env.command("/usr/bin/age-keygen").args(["-y", name]))
        .trim()
        .to_owned()
}

#[test]
fn age_opens_what_bcm_encrypts_and_the_device_does_with_one_confirmation() {
    let env = TestEnv::new();
    env.write("file", vec![7; 1 << 20]);
    let mut recipients = String::from("# team\n\n");
    for name in ["one", "two", "three"] {
        recipients += &(identity(&env, name) + "\n");
    }
    env.write("team", &recipients);
    let ssh = ["-q", "-t", "ed25519", "-N", "", "-f", "ssh"];
    peer(env.command("/usr/bin/ssh-keygen").args(ssh));
    let ssh = fs::read_to_string(env.path().join("ssh.pub")).unwrap();
    let words = [
        "encrypt",
        "--format",
        "age",
        "-R",
        "team",
        "-r",
        ssh.trim(),
        "file",
    ];
    file(&env, words).run().success();
    for name in ["one", "three", "ssh"] {
        age(&env, &["-d", "-i", name, "-o", "opened", "file.age"]);
        assert!(fs::read(env.path().join("opened")).unwrap() == vec![7; 1 << 20]);
    }
    let opened = file(&env, ["decrypt", "file.age", "-o", "again"]).run();
    opened.success();
    let asked = opened.stderr.matches("device: decrypt file.age").count();
    assert_eq!(asked, 1, "{opened}");
    assert!(fs::read(env.path().join("again")).unwrap() == vec![7; 1 << 20]);
    let words = [
        "encrypt",
        "--format",
        "age",
        "--no-self",
        "-R",
        "team",
        "--force",
        "file",
    ];
    file(&env, words).run().success();
    let refused = file(&env, ["decrypt", "file.age", "-o", "none"]).run();
    refused.failure(4);
    assert!(!env.path().join("none").exists());
}

#[test]
fn bcm_opens_what_age_encrypts_to_the_device() {
    let env = TestEnv::new();
    env.write("file", "from age");
    let recipient = session(&env, "age recipient --bare; age recipient backup --bare");
    let recipients: Vec<_> = recipient.success().lines().collect();
    let [bcm, backup] = recipients[..] else {
        panic!("{recipient}");
    };
    for (recipient, armor, key) in [
        (bcm, &[][..], &[][..]),
        (bcm, &["-a"], &[]),
        (backup, &[], &["--key", "backup"]),
    ] {
        let words = [&["-r", recipient, "-o", "file.age"][..], armor, &["file"]].concat();
        age(&env, &words);
        let words = ["decrypt", "file.age", "-o", "opened", "--force"];
        file(&env, words.into_iter().chain(key.iter().copied()))
            .run()
            .success();
        assert_eq!(fs::read(env.path().join("opened")).unwrap(), b"from age");
    }
}

#[test]
fn a_damaged_age_file_is_exit_4_and_leaves_no_plaintext() {
    let env = TestEnv::new();
    env.write("file", vec![7; 3 << 20]);
    fs::create_dir(env.path().join("work")).unwrap();
    file(&env, ["encrypt", "--format", "age", "file"])
        .run()
        .success();
    let encrypted = fs::read(env.path().join("file.age")).unwrap();
    damaged(&encrypted, |what, changed| {
        env.write("file.age", changed);
        let output = file(&env, ["decrypt", "file.age", "-o", "work/opened"]).run();
        assert_eq!(output.code(), 4, "{what}\n{output}");
        assert_eq!(names(&env.path().join("work")), Vec::<String>::new());
    });
    // what was printed piece by piece is disowned
    env.write("file.age", &encrypted[..encrypted.len() - 1]);
    let output = file(&env, ["decrypt", "file.age", "-o", "-"]).run();
    assert_eq!(output.code(), 4);
    assert_eq!(output.stdout.len(), (3 << 20) - (1 << 18));
    assert!(
        output.stderr.contains("must not be used"),
        "{}",
        output.stderr
    );
}

#[test]
fn what_is_encrypted_in_another_way_is_told_apart() {
    let env = TestEnv::new();
    for (content, why) in [
        (
            "plain text",
            "is neither an OpenPGP message nor an age file",
        ),
        ("", "is neither an OpenPGP message nor an age file"),
    ] {
        env.write("file.age", content);
        let refused = file(&env, ["decrypt", "file.age"]).run();
        assert!(refused.failure(4).contains(why), "{refused}");
    }
    env.write("file", "x");
    file(&env, ["encrypt", "--format", "age", "file", "--force"])
        .run()
        .success();
    let refused = file(&env, ["decrypt", "file.age", "--format", "pgp", "-o", "-"]).run();
    assert!(refused.failure(4).contains("is an age file"), "{refused}");
}
