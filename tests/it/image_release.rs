//! `image build --release`: an upstream archive and those who attest it, with keys that GnuPG made.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use bcm_tests::{Gpg, Output, TestEnv};

const ARCHIVE: &str = "bitcoin-31.1-x86_64-linux-gnu.tar.gz";

/// Makes a release whose programs are this system's `true`, and its list of digests.
fn release(env: &TestEnv) {
    let folder = env.path().join("bitcoin-31.1/bin");
    fs::create_dir_all(&folder).unwrap();
    for name in ["bitcoind", "bitcoin-cli"] {
        fs::copy("/bin/true", folder.join(name)).unwrap();
    }
    run(env, "tar", &["-czf", ARCHIVE, "bitcoin-31.1"]);
    let sums = run(env, "sha256sum", &[ARCHIVE]);
    env.write("all.SHA256SUMS", sums);
}

fn run(env: &TestEnv, program: &str, words: &[&str]) -> Vec<u8> {
    let output = env
        .command(Path::new("/usr/bin").join(program))
        .args(words)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// Makes a builder: his key, his certificate, his signature over the list. Returns the fingerprint.
fn builder(env: &TestEnv, gpg: &Gpg<'_>, name: &str) -> String {
    let fingerprint = gpg.new_key(&format!("{name} <{name}@example.org>"));
    env.write(
        &format!("keys/{name}.gpg"),
        gpg.ok(&["--armor", "--export", &fingerprint], b""),
    );
    let sums = fs::read(env.path().join("all.SHA256SUMS")).unwrap();
    sign(env, gpg, name, &sums);
    fingerprint
}

fn sign(env: &TestEnv, gpg: &Gpg<'_>, name: &str, content: &[u8]) {
    let user = format!("{name}@example.org");
    let signature = gpg.ok(
        &["--armor", "--detach-sign", "--local-user", &user],
        content,
    );
    env.write(&format!("sigs/31.1/{name}/all.SHA256SUMS.asc"), signature);
    // over another list, which is not the one that is asked for
    let other = gpg.ok(
        &["--armor", "--detach-sign", "--local-user", &user],
        b"other",
    );
    env.write(
        &format!("sigs/31.1/{name}/noncodesigned.SHA256SUMS.asc"),
        other,
    );
}

fn build(env: &TestEnv, more: &[&str]) -> Output {
    let words = [
        "image",
        "build",
        "bitcoind",
        "--unsigned",
        "--snapshot",
        "--output",
        "core.tar",
        "--force",
        "--release",
        ARCHIVE,
        "--sums",
        "all.SHA256SUMS",
        "--signatures",
        "sigs",
        "--keys",
        "keys",
    ];
    env.bcm(words.into_iter().chain(more.iter().copied())).run()
}

#[test]
fn a_release_that_three_builders_attest_becomes_an_image_for_every_chain() {
    let env = TestEnv::new();
    let gpg = Gpg::new(&env, "gnupg");
    release(&env);
    let builders: Vec<_> = ["alice", "bob", "carol"]
        .map(|name| builder(&env, &gpg, name))
        .into();
    env.write("builders", builders.join("\n"));
    let built = build(&env, &["--builders", "builders", "--json"]);
    let told: serde_json::Value = serde_json::from_str(built.success()).unwrap();
    assert_eq!(told["attested_by"].as_array().unwrap().len(), 3);
    assert_eq!(told["name"], "bcm/bitcoind:31.1");
    let verified = env.bcm(["image", "verify", "core.tar", "--json"]).run();
    let verified: serde_json::Value = serde_json::from_str(verified.success()).unwrap();
    let image = &verified["images"][0];
    assert_eq!(image["user"], "101:101");
    assert!(
        image["labels"]
            .get("org.bitcoincachemachine.chains")
            .is_none()
    );
    let digest = image["labels"]["org.bitcoincachemachine.program.bitcoind"]
        .as_str()
        .unwrap();
    assert!(digest.starts_with("sha256:"), "{digest}");
}

#[test]
fn a_release_that_too_few_attest_is_refused_and_each_reason_told() {
    let env = TestEnv::new();
    let gpg = Gpg::new(&env, "gnupg");
    release(&env);
    let names = ["alice", "bob", "carol", "dave"];
    let builders = names.map(|name| builder(&env, &gpg, name));
    // strangers to upstream, all four
    let strangers = build(&env, &[]);
    assert!(
        strangers.failure(4).contains("0 of 3 builders attest it"),
        "{strangers}"
    );
    assert!(
        strangers.stderr.contains("no builder that counts"),
        "{strangers}"
    );
    assert!(!env.path().join("core.tar").exists());

    let listed = |env: &TestEnv, count: usize| env.write("builders", builders[..count].join("\n"));
    listed(&env, 3);
    let with = |env: &TestEnv| build(env, &["--builders", "builders"]);
    // one signs twice, and that is one
    let carol = env.path().join("sigs/31.1/carol");
    fs::rename(&carol, env.path().join("carol")).unwrap();
    fs::create_dir(&carol).unwrap();
    let alice = fs::read(env.path().join("sigs/31.1/alice/all.SHA256SUMS.asc")).unwrap();
    env.write("sigs/31.1/carol/all.SHA256SUMS.asc", alice);
    let twice = with(&env);
    assert!(
        twice.failure(4).contains("2 of 3 builders attest it"),
        "{twice}"
    );
    fs::remove_dir_all(&carol).unwrap();
    fs::rename(env.path().join("carol"), &carol).unwrap();

    // one has revoked his key
    let key = env.path().join("keys/carol.gpg");
    let good = fs::read(&key).unwrap();
    let revocation = env
        .path()
        .join("gnupg/openpgp-revocs.d")
        .join(format!("{}.rev", builders[2]));
    let revocation = fs::read_to_string(revocation)
        .unwrap()
        .replace(":-----BEGIN", "-----BEGIN");
    let stranger = Gpg::new(&env, "revoked");
    stranger.ok(&["--import"], &good);
    stranger.ok(&["--import"], revocation.as_bytes());
    env.write(
        "keys/carol.gpg",
        stranger.ok(&["--armor", "--export", &builders[2]], b""),
    );
    let revoked = with(&env);
    assert!(revoked.failure(4).contains("revoked"), "{revoked}");
    // one's has expired
    gpg.ok(&["--quick-set-expire", &builders[2], "seconds=1"], b"");
    std::thread::sleep(std::time::Duration::from_millis(2100));
    env.write(
        "keys/carol.gpg",
        gpg.ok(&["--armor", "--export", &builders[2]], b""),
    );
    let expired = with(&env);
    assert!(expired.failure(4).contains("expired"), "{expired}");
    // one's is not known
    fs::remove_file(&key).unwrap();
    let unknown = with(&env);
    assert!(unknown.failure(4).contains("2 of 3"), "{unknown}");
    env.write("keys/carol.gpg", good);
}

#[test]
fn what_was_not_attested_is_not_built() {
    let env = TestEnv::new();
    let gpg = Gpg::new(&env, "gnupg");
    release(&env);
    let builders = ["alice", "bob", "carol"].map(|name| builder(&env, &gpg, name));
    env.write("builders", builders.join("\n"));
    let with = |env: &TestEnv| build(env, &["--builders", "builders"]);
    // one signed something else: that is no matter of counting
    let sums = fs::read(env.path().join("all.SHA256SUMS")).unwrap();
    sign(&env, &gpg, "carol", b"something else");
    let bad = with(&env);
    assert!(bad.failure(4).contains("BAD signature"), "{bad}");
    sign(&env, &gpg, "carol", &sums);
    // another archive under the name
    let good = fs::read(env.path().join(ARCHIVE)).unwrap();
    let mut changed = good.clone();
    let at = changed.len() / 2;
    changed[at] ^= 1;
    env.write(ARCHIVE, changed);
    let other = with(&env);
    assert!(other.failure(4).contains("attested is sha256:"), "{other}");
    env.write(ARCHIVE, good);
    // a list that was changed after it was signed
    let mut child = Command::new("/usr/bin/tee")
        .arg("-a")
        .arg(env.path().join("all.SHA256SUMS"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    child.wait().unwrap();
    with(&env).failure(4);
    env.write("builders", "not a fingerprint");
    with(&env).failure(1);
    let missing = env
        .bcm([
            "image",
            "build",
            "bitcoind",
            "--unsigned",
            "--release",
            ARCHIVE,
        ])
        .run();
    missing.failure(2);
    env.bcm(["image", "build", "liquid", "--unsigned"])
        .run()
        .failure(2);
    env.bcm(["image", "build", "windows", "--unsigned"])
        .run()
        .failure(2);
    assert!(!env.path().join("core.tar").exists());
}
