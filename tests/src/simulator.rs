//! `bcm simulator serve`: a Trezor in software that other programs can reach.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Stdio};
use std::thread;

use crate::bcm::Bcm;
use crate::environment::TestEnv;

/// The passphrase behind the recorded answers of genuine firmware.
pub const PASSPHRASE: &str = "bcm test";

/// A simulator that serves on loopback. Ended when dropped.
#[derive(Debug)]
pub struct Simulator {
    child: Child,
    stdin: Option<ChildStdin>,
    udp: u16,
    bridge: u16,
}

impl Simulator {
    /// Starts one with the seed of the recorded answers and a person who confirms everything and
    /// types [`PASSPHRASE`] on the device when asked there.
    pub fn start(env: &TestEnv) -> Self {
        Self::start_with(env, ["--confirm", "auto"])
    }

    /// Starts one with these flags of `simulator serve`.
    pub fn start_with<'a>(env: &TestEnv, flags: impl IntoIterator<Item = &'a str>) -> Self {
        Self::start_on(env, 0, flags)
    }

    /// Starts one on this UDP port, for a device that comes back.
    pub fn start_on<'a>(env: &TestEnv, udp: u16, flags: impl IntoIterator<Item = &'a str>) -> Self {
        let udp = format!("127.0.0.1:{udp}");
        let words = [
            "simulator",
            "serve",
            "--udp",
            &udp,
            "--bridge",
            "127.0.0.1:0",
        ];
        let mut serve = env.bcm(words);
        let mut typed = None;
        for flag in flags {
            typed = typed.or((flag == "--passphrase-fd" || flag == "--pin-fd").then_some(()));
            serve = serve.word(flag);
        }
        if typed.is_none() {
            serve = serve
                .word("--passphrase-fd")
                .word("3")
                .secret(format!("{PASSPHRASE}\n"));
        }
        Self::serve(serve)
    }

    /// Starts what `serve` prepared: a `simulator serve` with both listeners.
    pub fn serve(serve: Bcm) -> Self {
        let (mut command, secret) = serve.into_command();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the simulator starts");
        drop(command);
        drop(secret);
        let stdin = child.stdin.take();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (mut udp, mut bridge) = (None, None);
        while udp.is_none() || bridge.is_none() {
            let line = lines
                .next()
                .expect("the simulator says where it listens")
                .unwrap();
            let port = line.rsplit(':').next().and_then(|port| port.parse().ok());
            match line.strip_prefix("listening on ") {
                Some(at) if at.starts_with("udp:") => udp = port,
                Some(at) if at.starts_with("bridge:") => bridge = port,
                _ => panic!("the simulator said `{line}`"),
            }
        }
        // Whatever else it prints must not fill the pipe.
        thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            stdin,
            udp: udp.unwrap(),
            bridge: bridge.unwrap(),
        }
    }

    /// Returns the port of its UDP listener.
    pub fn udp_port(&self) -> u16 {
        self.udp
    }

    /// Returns the `--device` that reaches it over UDP.
    pub fn udp(&self) -> String {
        format!("udp:127.0.0.1:{}", self.udp)
    }

    /// Returns the `--device` that reaches it through its bridge.
    pub fn bridge(&self) -> String {
        format!("bridge:http://127.0.0.1:{}", self.bridge)
    }

    /// Types at its terminal, where `--confirm ask` waits for an answer.
    pub fn type_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("open until dropped");
        writeln!(stdin, "{line}").unwrap();
    }

    /// Kills it, as a pulled plug would.
    pub fn pull_the_plug(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
