//! A real bitcoind in regtest, and the Electrum server electrs on top of it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use crate::environment::TestEnv;
use crate::peers::prepared;
use crate::wait::{free_port, wait_until};

/// How long a peer may take to start on a busy machine.
const START: Duration = Duration::from_secs(30);

/// A bitcoind with a wallet of its own, `miner`. Ended when dropped.
#[derive(Debug)]
pub struct Bitcoind {
    child: Child,
    folder: PathBuf,
    rpc: u16,
    p2p: u16,
}

impl Bitcoind {
    /// Starts one with 101 blocks, so that its wallet has something to spend.
    pub fn start(env: &TestEnv) -> Self {
        let node = Self::start_empty(env, "bitcoind", &[]);
        node.cli(["createwallet", "miner"]);
        node.mine(101);
        node
    }

    /// Starts one that has no block and no wallet, in this folder and with these flags.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    pub fn start_empty(env: &TestEnv, folder: &str, flags: &[&str]) -> Self {
        let folder = env.path().join(folder);
        fs::create_dir_all(&folder).unwrap();
        let (rpc, p2p) = (free_port(), free_port());
        let log = File::create(folder.join("output")).unwrap();
        let child = env
            .command(program("bitcoind"))
            .args([
                "-regtest",
                "-server",
                "-fallbackfee=0.00001",
                "-printtoconsole=1",
            ])
            .arg(format!("-datadir={}", folder.display()))
            .arg(format!("-rpcport={rpc}"))
            .arg(format!("-bind=127.0.0.1:{p2p}"))
            .args(["-rpcthreads=4", "-dbcache=16", "-maxmempool=16", "-debug=0"])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("bitcoind starts");
        let node = Self {
            child,
            folder,
            rpc,
            p2p,
        };
        wait_until("bitcoind answers", START, || {
            let mut command = node.command();
            let answer = command.arg("getblockcount").output().unwrap();
            answer.status.success().then_some(())
        });
        node
    }

    /// Ends it and waits for that.
    pub fn stop(mut self) {
        self.cli(["stop"]);
        self.child.wait().unwrap();
    }

    fn command(&self) -> Command {
        let mut command = Command::new(program("bitcoin-cli"));
        command
            .arg("-regtest")
            .arg(format!("-datadir={}", self.folder.display()))
            .arg(format!("-rpcport={}", self.rpc));
        command
    }

    /// Asks it, as `bitcoin-cli` does, and returns the answer.
    ///
    /// # Panics
    ///
    /// When it refuses.
    #[track_caller]
    pub fn cli<W: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = W>) -> String {
        let output = self.command().args(words).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        String::from_utf8(output.stdout).unwrap().trim_end().into()
    }

    /// Mines blocks for its own wallet.
    pub fn mine(&self, blocks: u32) {
        let address = self.cli(["-rpcwallet=miner", "getnewaddress"]);
        self.cli(["generatetoaddress", &blocks.to_string(), &address]);
    }

    /// Pays from its own wallet and returns the txid.
    pub fn pay(&self, address: &str, btc: &str) -> String {
        self.cli(["-rpcwallet=miner", "sendtoaddress", address, btc])
    }

    /// Returns an address of its own wallet.
    pub fn address(&self) -> String {
        self.cli(["-rpcwallet=miner", "getnewaddress"])
    }

    /// Returns the `--source` that reaches it.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.rpc)
    }

    /// Returns the port of its RPC.
    pub fn port(&self) -> u16 {
        self.rpc
    }

    /// Returns the file with its cookie.
    pub fn cookie(&self) -> PathBuf {
        self.folder.join("regtest/.cookie")
    }
}

impl Drop for Bitcoind {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An electrs that indexes a [`Bitcoind`]. Ended when dropped.
#[derive(Debug)]
pub struct Electrs {
    child: Child,
    port: u16,
}

impl Electrs {
    /// Starts one.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    pub fn start(env: &TestEnv, node: &Bitcoind) -> Self {
        let port = free_port();
        let folder = env.path().join("electrs");
        fs::create_dir_all(&folder).unwrap();
        let log = File::create(folder.join("output")).unwrap();
        let local = |port: u16| format!("127.0.0.1:{port}");
        let child = env
            .command(program("electrs"))
            .args(["--skip-default-conf-files", "--network", "regtest"])
            .arg("--db-dir")
            .arg(folder.join("db"))
            .arg("--daemon-dir")
            .arg(&node.folder)
            .args(["--daemon-rpc-addr", &local(node.rpc)])
            .args(["--daemon-p2p-addr", &local(node.p2p)])
            .args(["--electrum-rpc-addr", &local(port)])
            .args(["--wait-duration-secs", "1"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("electrs starts");
        wait_until("electrs answers", START, || {
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        Self { child, port }
    }

    /// Returns the `--source` that reaches it.
    pub fn url(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.port)
    }

    /// Returns the port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Electrs {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Finds `bitcoind`, `bitcoin-cli` or `electrs`, and fetches all of them first where they are missing.
///
/// # Panics
///
/// When they cannot be fetched.
pub fn program(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| prepared("bitcoind"));
    folder.join("bin").join(name)
}
