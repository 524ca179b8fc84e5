//! `bcm simulator serve`: a Trezor in software that other programs can reach.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::thread;

use crate::bcm::{Bcm, Terminal};
use crate::environment::TestEnv;
use crate::pty::Pty;

/// The passphrase behind the recorded answers of genuine firmware.
pub const PASSPHRASE: &str = "bcm test";

/// A simulator that serves on loopback. Ended when dropped.
#[derive(Debug)]
pub struct Simulator {
    process: Process,
    udp: u16,
    bridge: u16,
}

#[derive(Debug)]
enum Process {
    Alone(Child),
    OnTerminal(Pty),
}

impl Simulator {
    /// Starts one with the seed of the recorded answers and a person who confirms everything and
    /// types [`PASSPHRASE`] on the device when asked there.
    pub fn start(env: &TestEnv) -> Self {
        Self::start_with(env, ["--confirm", "auto"])
    }

    /// Starts one with these flags of `simulator serve`.
    pub fn start_with<'a>(env: &TestEnv, flags: impl IntoIterator<Item = &'a str>) -> Self {
        Self::alone(with_passphrase(prepare(env, 0, flags), PASSPHRASE))
    }

    /// Starts one with another seed.
    pub fn with_seed(env: &TestEnv, words: &str) -> Self {
        let serve = prepare(env, 0, ["--confirm", "auto", "--mnemonic-fd", "3"]);
        Self::alone(serve.secret(format!("{words}\n")))
    }

    /// Starts one on this UDP port, for a device that comes back.
    pub fn start_on(env: &TestEnv, udp: u16) -> Self {
        Self::alone(with_passphrase(prepare(env, udp, []), PASSPHRASE))
    }

    /// Starts one whose person types this on the device when asked for the passphrase.
    pub fn with_typed(env: &TestEnv, passphrase: &str) -> Self {
        Self::alone(with_passphrase(prepare(env, 0, []), passphrase))
    }

    /// Starts one that shows its screen on a terminal of its own and asks there.
    pub fn on_terminal(env: &TestEnv, udp: u16) -> Self {
        let serve = prepare(env, udp, ["--confirm", "ask"]);
        let mut pty = with_passphrase(serve, PASSPHRASE).pty();
        let mut port = |after: &str| {
            pty.expect(after);
            pty.expect("\r\n").parse().expect("a port")
        };
        let udp = port("listening on udp:127.0.0.1:");
        let bridge = port("listening on bridge:http://127.0.0.1:");
        Self {
            process: Process::OnTerminal(pty),
            udp,
            bridge,
        }
    }

    fn alone(serve: Bcm) -> Self {
        let (mut command, secret) = serve.into_command(Terminal::None);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the simulator starts");
        drop(command);
        drop(secret);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut port = |after: &str| -> u16 {
            let line = lines.next().expect("it says where it listens").unwrap();
            let port = line.strip_prefix(after).and_then(|port| port.parse().ok());
            port.unwrap_or_else(|| panic!("the simulator said `{line}`"))
        };
        let udp = port("listening on udp:127.0.0.1:");
        let bridge = port("listening on bridge:http://127.0.0.1:");
        // Whatever else it prints must not fill the pipe.
        thread::spawn(move || lines.for_each(drop));
        Self {
            process: Process::Alone(child),
            udp,
            bridge,
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

    /// Returns its terminal.
    ///
    /// # Panics
    ///
    /// When it was started without one.
    pub fn screen(&mut self) -> &mut Pty {
        match &mut self.process {
            Process::OnTerminal(pty) => pty,
            Process::Alone(_) => panic!("started without a terminal"),
        }
    }

    /// Kills it, as a pulled plug would.
    pub fn pull_the_plug(mut self) {
        self.kill();
    }

    fn kill(&mut self) {
        match &mut self.process {
            Process::Alone(child) => {
                let _ = child.kill();
                let _ = child.wait();
            }
            Process::OnTerminal(pty) => pty.kill(),
        }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.kill();
    }
}

fn prepare<'a>(env: &TestEnv, udp: u16, flags: impl IntoIterator<Item = &'a str>) -> Bcm {
    let udp = format!("127.0.0.1:{udp}");
    let words = [
        "simulator",
        "serve",
        "--udp",
        &udp,
        "--bridge",
        "127.0.0.1:0",
    ];
    flags.into_iter().fold(env.bcm(words), Bcm::word)
}

fn with_passphrase(serve: Bcm, passphrase: &str) -> Bcm {
    serve
        .word("--passphrase-fd")
        .word("3")
        .secret(format!("{passphrase}\n"))
}
