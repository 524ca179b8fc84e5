//! The program: what was asked for on its command line, run in one session.

use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::sync::{Arc, OnceLock};

use bcm_keystore::device::{DeviceSelector, Transport, discovery};
use bcm_keystore::store::{StoreError, create_private_dir};
use bcm_keystore::{Chain, Device, Home, Session, WalletStore};
use tokio::runtime::Runtime;

use crate::cli::{self, Asked, Cli, Command, Flags};
use crate::config::{Config, PassphraseOn};
use crate::env::Paths;
use crate::repl::Names;
use crate::report::{Kind, Report};
use crate::session::{self, Keeper};
use crate::ui::{self, Holder, PassphraseSource, Style, TerminalInteraction};
use crate::{repl, split};

/// Longest script line; nobody writes more by hand.
const MAX_LINE: u64 = 1 << 16;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With this exit code; not 0 where a program that it ran failed.
    Done(u8),
    /// The person wants to leave.
    Leave,
}

/// The program while it runs.
#[derive(Debug)]
pub struct App {
    /// Chosen on the command line, for the whole session.
    pub flags: Flags,
    /// Where state is.
    pub paths: Paths,
    /// The session.
    pub keeper: Arc<Keeper>,
    /// There is a prompt: what serves need not wait.
    pub interactive: bool,
    /// Stdin holds the commands.
    pub scripted: bool,
    runtime: OnceLock<Runtime>,
    #[cfg(feature = "simulator")]
    simulator: Option<crate::simulator::Embedded>,
}

/// Runs what was asked for and returns the exit code.
pub fn run(asked: Asked) -> Result<u8, Report> {
    let cli = match asked {
        Asked::Text(text) => return ui::out(&text).map(|()| 0),
        Asked::Run(cli) => *cli,
    };
    let mut app = App::new(cli.flags)?;
    let outcome = match (cli.command, cli.commands, cli.script) {
        (Some(command), ..) => app.execute(command, app.flags.json).map(code),
        (None, Some(line), _) => app.run_line(&line).map(code),
        (None, None, Some(path)) => {
            let name = path.display().to_string();
            let file = std::fs::File::open(&path).map_err(|error| {
                Report::text(Kind::Failed, format!("cannot read `{name}`: {error}"))
            })?;
            app.run_script(&name, file)
        }
        (None, None, None) if io::stdin().is_terminal() => repl::run(&mut app),
        (None, None, None) => {
            app.scripted = true;
            app.unlock()
                .and_then(|()| app.run_script("stdin", io::stdin().lock()))
        }
    };
    app.end();
    outcome
}

fn code(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Done(code) => code,
        Outcome::Leave => 0,
    }
}

impl App {
    fn new(flags: Flags) -> Result<Self, Report> {
        let paths = Paths::find(flags.home.as_deref())?;
        let app = Self {
            flags,
            keeper: Arc::new(Keeper::new(paths.runtime.clone())),
            interactive: false,
            scripted: false,
            paths,
            runtime: OnceLock::new(),
            #[cfg(feature = "simulator")]
            simulator: None,
        };
        // a file that is broken is told of by whoever needs it, so that `config unset` can mend it
        let configured = || app.config().map(|config| config.color());
        let color = app.flags.color.or_else(|| configured().ok());
        ui::set_color(color.unwrap_or(crate::config::Color::Auto));
        Ok(app)
    }

    /// Reads the configuration.
    pub fn config(&self) -> Result<Config, Report> {
        Ok(Config::load(&self.paths.home.config)?)
    }

    /// Returns which way to look for a device: flag over file over default.
    pub fn selector(&self) -> Result<DeviceSelector, Report> {
        match &self.flags.device {
            Some(selector) => Ok(selector.clone()),
            None => Ok(self.config()?.device()),
        }
    }

    /// Returns the runtime, started when first needed.
    pub fn runtime(&self) -> &Runtime {
        self.runtime.get_or_init(|| {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .expect("threads for the runtime");
            runtime.spawn(session::serve_signals(self.keeper.clone()));
            runtime
        })
    }

    /// Runs each command of `line` until one fails or wants to leave.
    pub fn run_line(&mut self, line: &str) -> Result<Outcome, Report> {
        for words in split::split(line)? {
            match cli::parse_words(&words)? {
                Asked::Text(text) => ui::out(&text)?,
                Asked::Run(cli) => {
                    let Cli { command, flags, .. } = *cli;
                    let json = flags.json || self.flags.json;
                    let Some(command) = command else { continue };
                    match self.execute(command, json)? {
                        Outcome::Done(0) => {}
                        ended => return Ok(ended),
                    }
                }
            }
        }
        Ok(Outcome::Done(0))
    }

    fn run_script(&mut self, name: &str, source: impl Read) -> Result<u8, Report> {
        let mut source = BufReader::new(source);
        for number in 1.. {
            let place = format!("{name}:{number}");
            let mut line = Vec::new();
            let read = (&mut source).take(MAX_LINE).read_until(b'\n', &mut line);
            match read {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => {
                    return Err(
                        Report::text(Kind::Failed, format!("cannot read it: {error}")).at(place),
                    );
                }
            }
            if line.len() as u64 == MAX_LINE {
                return Err(Report::usage("the line is too long").at(place));
            }
            let line = std::str::from_utf8(&line)
                .map_err(|_| Report::usage("the line is not UTF-8").at(place.as_str()))?;
            match self.run_line(line).map_err(|report| report.at(place))? {
                Outcome::Done(0) => {}
                ended => return Ok(code(ended)),
            }
        }
        Ok(0)
    }

    fn execute(&mut self, command: Command, json: bool) -> Result<Outcome, Report> {
        let done = |()| Outcome::Done(0);
        match command {
            Command::Config(command) => command.run(self, json).map(done),
            Command::Device(command) => command.run(self, json).map(done),
            Command::Psbt(command) => command.run(self, json).map(done),
            Command::Statement(command) => {
                if command.needs_unlock() {
                    self.unlock_first()?;
                }
                command.run(self, json).map(done)
            }
            Command::Stack(command) => {
                if command.needs_unlock() {
                    self.unlock_first()?;
                }
                command.run(self, json).map(done)
            }
            Command::BitcoinCli(command) => self.passthrough(command, "bitcoin-cli"),
            Command::LightningCli(command) => self.passthrough(command, "lightning-cli"),
            Command::Lncli(command) => self.passthrough(command, "lncli"),
            Command::ElementsCli(command) => self.passthrough(command, "elements-cli"),
            Command::Simulator(command) => command.run().map(done),
            Command::AgePlugin(command) => command.run().map(done),
            Command::SshProxy(command) => command.run().map(done),
            Command::Gpg(command) => command.run().map(Outcome::Done),
            Command::Git(command) => {
                if command.needs_unlock() {
                    self.unlock_first()?;
                }
                command.run(self, json).map(Outcome::Done)
            }
            Command::Age(command) => {
                self.unlock_first()?;
                command.run(self, json).map(done)
            }
            Command::Password(command) => {
                self.unlock_first()?;
                command.run(self, json).map(done)
            }
            Command::Serve(command) => {
                self.unlock_first()?;
                command.run(self).map(Outcome::Done)
            }
            Command::Info => {
                self.unlock_first()?;
                crate::commands::info::run(self, json).map(done)
            }
            Command::Ssh(command) => {
                self.unlock_first()?;
                command.run(self, json).map(Outcome::Done)
            }
            Command::Cluster(command) => {
                self.unlock_first()?;
                command.run(self, json).map(Outcome::Done)
            }
            Command::File(command) => {
                command.check()?;
                self.unlock_first()?;
                command.run(self, json).map(done)
            }
            Command::Pgp(command) => {
                self.unlock_first()?;
                command.run(self, json).map(done)
            }
            Command::Wallet(command) => {
                self.unlock_first()?;
                command.run(self, json).map(done)
            }
            Command::Message(command) => {
                if command.needs_device() {
                    self.unlock_first()?;
                }
                command.run(self, json).map(done)
            }
            Command::Image(command) => {
                command.check()?;
                if command.needs_unlock() {
                    self.unlock_first()?;
                }
                command.run(self, json).map(Outcome::Done)
            }
            Command::Unlock => self.unlock().map(done),
            Command::Lock => {
                let keeper = self.keeper.clone();
                let was_open = self.runtime().block_on(keeper.lock());
                ui::say(if was_open {
                    "locked"
                } else {
                    "nothing was unlocked"
                });
                Ok(Outcome::Done(0))
            }
            Command::Exit => Ok(Outcome::Leave),
        }
    }

    fn passthrough(
        &mut self,
        command: crate::commands::stack::Passthrough,
        name: &str,
    ) -> Result<Outcome, Report> {
        self.unlock_first()?;
        command.run(self, name).map(Outcome::Done)
    }

    /// Unlocks, unless something was unlocked or locked in this session before.
    pub fn unlock_first(&mut self) -> Result<(), Report> {
        let keeper = self.keeper.clone();
        if self.runtime().block_on(keeper.is_fresh()) {
            self.unlock()?;
        }
        Ok(())
    }

    /// Finds the device and opens a wallet on it.
    pub fn unlock(&mut self) -> Result<(), Report> {
        let keeper = self.keeper.clone();
        if let Some(status) = keeper.status() {
            ui::say(&format!("wallet {} is open already", status.wallet));
            return Ok(());
        }
        let config = self.config()?;
        #[cfg(feature = "simulator")]
        if self.selector()? == DeviceSelector::Simulator {
            crate::simulator::check_typist(&self.flags, self.passphrase_place()?)?;
        }
        let home = self.paths.home.clone();
        // before anybody is asked for anything
        create_private_dir(&home.data).map_err(|source| StoreError::Io {
            path: home.data.clone(),
            source,
        })?;
        let device = self.device()?;
        let configured = config.chain();
        let idle = config.idle();
        self.runtime().block_on(async {
            let (session, chain) = keeper.interruptible(open(device, home, configured)).await?;
            welcome(&session);
            keeper.open(session, chain, idle).await;
            Ok(())
        })
    }

    /// Makes a way to the device, for an unlock or a look at it.
    pub fn transport(&mut self) -> Result<Box<dyn Transport>, Report> {
        let selector = self.selector()?;
        if selector == DeviceSelector::Simulator {
            return self.simulated_transport();
        }
        Ok(discovery::find(&selector, self.flags.take_over)?)
    }

    #[cfg(feature = "simulator")]
    fn simulated_transport(&mut self) -> Result<Box<dyn Transport>, Report> {
        let flags = &self.flags;
        let simulator = self
            .simulator
            .get_or_insert_with(|| crate::simulator::Embedded::new(flags));
        Ok(simulator.transport())
    }

    #[cfg(not(feature = "simulator"))]
    fn simulated_transport(&mut self) -> Result<Box<dyn Transport>, Report> {
        Err(Report::text(
            Kind::Device,
            "this bcm was built without the simulator",
        ))
    }

    /// Finds the device and takes it, after the one before was let go.
    pub fn device(&mut self) -> Result<Device, Report> {
        self.runtime().block_on(self.keeper.let_go());
        let device = Device::spawn(self.transport()?, self.interaction()?);
        self.keeper.hold(device.release());
        Ok(device)
    }

    /// Makes who answers the device's questions.
    pub fn interaction(&self) -> Result<Arc<TerminalInteraction>, Report> {
        let simulated = self.selector()? == DeviceSelector::Simulator;
        let source = match (self.flags.passphrase_fd, self.passphrase_place()?) {
            (Some(number), _) => PassphraseSource::Descriptor(number),
            (None, PassphraseOn::Host) => PassphraseSource::Host,
            (None, PassphraseOn::Device) => PassphraseSource::Device,
        };
        let holder = self.holder(simulated);
        let activity = self.keeper.activity().clone();
        Ok(Arc::new(TerminalInteraction::new(source, holder, activity)))
    }

    /// Returns where the passphrase is typed: flag over file over default.
    fn passphrase_place(&self) -> Result<PassphraseOn, Report> {
        match self.flags.passphrase_on {
            Some(place) => Ok(place),
            None => Ok(self.config()?.passphrase_on()),
        }
    }

    #[cfg(feature = "simulator")]
    fn holder(&self, simulated: bool) -> Holder {
        match simulated {
            false => Holder::PERSON,
            true => crate::simulator::holder(&self.flags),
        }
    }

    #[cfg(not(feature = "simulator"))]
    fn holder(&self, _simulated: bool) -> Holder {
        Holder::PERSON
    }

    /// Lets other programs use the open session.
    pub fn offer_socket(&self) -> Result<(), Report> {
        let keeper = self.keeper.clone();
        let offered = self
            .runtime()
            .block_on(self.keeper.peek(|open| keeper.offer_socket(open)));
        offered.transpose().map(|_| ())
    }

    /// Returns the sealed state of the open wallet.
    pub fn store(&self) -> Option<Arc<WalletStore>> {
        let store = |open: &mut session::Open| open.session.store().clone();
        self.runtime().block_on(self.keeper.peek(store))
    }

    /// Names what is in the stores of the open wallet, for completion.
    pub fn names(&self) -> Names {
        let names = |open: &mut session::Open| Names::read(open.session.store(), open.chain);
        let names = self.runtime().block_on(self.keeper.peek(names));
        let mut names = names.unwrap_or_default();
        // a catalogue that cannot be read is told of by whoever needs it
        if let Ok(catalog) = crate::commands::stack::catalog(self) {
            names.stacks = catalog.iter().map(|stack| stack.name.to_string()).collect();
        }
        names
    }

    /// Locks what is open.
    fn end(&mut self) {
        crate::commands::password::forget_clipboard();
        if let Some(runtime) = self.runtime.take() {
            runtime.block_on(self.keeper.lock());
            runtime.block_on(self.keeper.let_go());
            self.keeper.remove_runtime_folder();
            // a thread that waits for the terminal or the device is not waited for
            runtime.shutdown_background();
        }
    }
}

/// Opens a wallet, on a chain that this device may touch.
async fn open(
    device: Device,
    home: Home,
    configured: Option<Chain>,
) -> Result<(Session<bcm_keystore::Unlocked>, Chain), Report> {
    let session = Session::new(device, home);
    let simulated = session.inspect().await?.simulated;
    let chain = chain_for(configured, simulated)?;
    Ok((session.unlock().await?, chain))
}

/// Decides on the chain; real money is never put behind a seed that everybody knows.
pub fn chain_for(configured: Option<Chain>, simulated: bool) -> Result<Chain, Report> {
    match (configured, simulated) {
        (Some(Chain::Mainnet), true) => Err(Report::text(
            Kind::Failed,
            "a simulated device is refused on mainnet: its seed protects nothing",
        )
        .with_hint("run `bcm config set chain=regtest`, or connect a Trezor")),
        (Some(chain), _) => Ok(chain),
        (None, true) => Ok(Chain::Regtest),
        (None, false) => Ok(Chain::Mainnet),
    }
}

fn welcome(session: &Session<bcm_keystore::Unlocked>) {
    let wallet = session.wallet();
    if session.seen_before() {
        ui::say(&format!("unlocked wallet {wallet}, known to this computer"));
    } else {
        ui::say(&format!(
            "unlocked wallet {wallet}\n{} this wallet is new to this computer: if you expected an \
             old one, the passphrase was mistyped",
            ui::paint_stderr(Style::Attention, "note:")
        ));
    }
}
