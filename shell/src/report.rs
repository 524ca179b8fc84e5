//! Errors as a person sees them: what, why, what to do next; and as a script does: the exit code.

use std::error::Error;
use std::fmt;

use bcm_cluster::command::CommandError;
use bcm_cluster::docker::{SwarmError, TunnelError};
use bcm_cluster::prepare::PrepareError;
use bcm_cluster::{
    ClusterError, ConnectionError, EngineError, HostKeyError, LxdError, RemoteError, ScanError,
};
use bcm_keystore::Hint;
use bcm_keystore::age::{AgeError, AgeStoreError};
use bcm_keystore::device::discovery::DiscoveryError;
use bcm_keystore::device::{DeviceError, SelectorError};
use bcm_keystore::interaction::NoAnswer;
use bcm_keystore::password::PasswordError;
use bcm_keystore::pgp::{PgpError, PgpStoreError, UserIdError};
use bcm_keystore::signify::SignifyError;
use bcm_keystore::ssh::sshsig::SshSigError;
use bcm_keystore::ssh::{AgentError, CertificateError, SshError, SshStoreError};
use bcm_keystore::statement::StatementError;
use bcm_keystore::store::StoreError;
use bcm_keystore::unlock::UnlockError;
use bcm_keystore::wallet::message::MessageError;
use bcm_keystore::wallet::policy::PolicyError;
use bcm_keystore::wallet::{PaymentError, PsbtError, SignError, WalletError};
use bcm_stacks::image::ArchiveError;
use bcm_stacks::image::build::BuildError;
use bcm_stacks::image::engine::TransferError;
use bcm_stacks::image::release::ReleaseError;

use bcm_stacks::{
    ApplyError, CatalogError, EnginesError, HealthError, LintError, PlanError, RenderError,
};

use crate::client::ClientError;
use crate::config::ConfigError;
use crate::files::FileError;
use crate::ui::{self, Style};
use crate::wallet::{EndpointError, SourceError};

/// What kind of failure it is, as the exit code tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// It was tried and did not work.
    Failed = 1,
    /// It was asked for in a way that bcm does not know.
    Usage = 2,
    /// The device is absent, or it or the person at it refused.
    Device = 3,
    /// A signature, a host key or a digest is not the right one.
    Verification = 4,
}

/// A failure on its way to the person.
#[derive(Debug)]
pub struct Report {
    kind: Kind,
    error: Box<dyn Error + Send + Sync>,
    place: Option<String>,
    notes: Vec<String>,
    hint: Option<String>,
}

impl Report {
    /// Reports `error` and its hint.
    pub fn new(kind: Kind, error: impl Error + Hint + Send + Sync + 'static) -> Self {
        Self {
            kind,
            hint: error.hint(),
            error: Box::new(error),
            place: None,
            notes: Vec::new(),
        }
    }

    /// Reports what was asked for in a wrong way.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::text(Kind::Usage, what)
    }

    /// Reports what the shell itself has to say.
    pub fn text(kind: Kind, what: impl Into<String>) -> Self {
        Self {
            kind,
            error: what.into().into(),
            place: None,
            notes: Vec::new(),
            hint: None,
        }
    }

    /// Adds the next act, unless the error knew a better one.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert(hint.into());
        self
    }

    /// Puts this next act in the place of the error's own, where there is one.
    #[must_use]
    pub fn hinting(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
    }

    /// Adds a line on what did or did not change.
    #[must_use]
    pub fn with_note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Names the line of a script.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.place.get_or_insert(place.into());
        self
    }

    /// Returns the exit code.
    pub fn exit_code(&self) -> u8 {
        self.kind as u8
    }

    /// Prints it on stderr.
    pub fn print(&self) {
        ui::say(&self.render(ui::paint_stderr));
    }

    /// Returns what is wrong and the next act, for a program that tells the person.
    pub fn words(&self) -> (String, Option<String>) {
        (self.what(), self.hint.clone())
    }

    /// Says what is wrong, with the causes that add something.
    fn what(&self) -> String {
        let mut what = self.error.to_string();
        let mut cause = self.error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !what.contains(&text) {
                what = format!("{what}: {text}");
            }
            cause = error.source();
        }
        what
    }

    /// Writes it out: one line, notes, hint.
    fn render(&self, paint: impl Fn(Style, &str) -> String) -> String {
        let what = self.what();
        let place = self.place.as_ref();
        let place = place.map_or_else(String::new, |place| format!("{}: ", ui::printable(place)));
        let mut lines = vec![format!(
            "{} {place}{}",
            paint(Style::Error, "error:"),
            ui::printable(&what)
        )];
        lines.extend(self.notes.iter().map(|note| ui::printable(note)));
        if let Some(hint) = &self.hint {
            let hint = ui::printable(hint);
            lines.push(format!("{} {hint}", paint(Style::Hint, "hint:")));
        }
        lines.join("\n")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(|_, text| text.to_owned()))
    }
}

fn of_device(error: &DeviceError) -> Kind {
    match error {
        DeviceError::Cancelled => Kind::Failed,
        DeviceError::NoAnswer(answer) => of_answer(answer),
        _ => Kind::Device,
    }
}

fn of_answer(answer: &NoAnswer) -> Kind {
    match answer {
        NoAnswer::GivenUp => Kind::Failed,
        NoAnswer::Nobody | NoAnswer::Passphrase(_) => Kind::Usage,
        _ => Kind::Device,
    }
}

fn of_store(error: &StoreError) -> Kind {
    match error {
        StoreError::Damaged { .. } | StoreError::OtherWallet(_) => Kind::Verification,
        _ => Kind::Failed,
    }
}

impl From<DeviceError> for Report {
    fn from(error: DeviceError) -> Self {
        Self::new(of_device(&error), error)
    }
}

impl From<UnlockError> for Report {
    fn from(error: UnlockError) -> Self {
        let kind = match &error {
            UnlockError::Device(error) => of_device(error),
            UnlockError::Store(error) => of_store(error),
            _ => Kind::Device,
        };
        Self::new(kind, error)
    }
}

impl From<FileError> for Report {
    fn from(error: FileError) -> Self {
        Self::new(Kind::Failed, error)
    }
}

impl From<DiscoveryError> for Report {
    fn from(error: DiscoveryError) -> Self {
        Self::new(Kind::Device, error)
    }
}

impl From<StoreError> for Report {
    fn from(error: StoreError) -> Self {
        Self::new(of_store(&error), error)
    }
}

fn of_ssh_store(error: &SshStoreError) -> Kind {
    match error {
        SshStoreError::Store(error) => of_store(error),
        SshStoreError::Changed { .. } => Kind::Verification,
        _ => Kind::Failed,
    }
}

impl From<SshStoreError> for Report {
    fn from(error: SshStoreError) -> Self {
        Self::new(of_ssh_store(&error), error)
    }
}

fn of_ssh(error: &SshError) -> Kind {
    match error {
        SshError::Device(error) => of_device(error),
        SshError::KeyChanged { .. } | SshError::BadSignature(_) => Kind::Verification,
        SshError::Curve(_) => Kind::Usage,
        _ => Kind::Device,
    }
}

impl From<SshError> for Report {
    fn from(error: SshError) -> Self {
        Self::new(of_ssh(&error), error)
    }
}

impl From<CertificateError> for Report {
    fn from(error: CertificateError) -> Self {
        let kind = match &error {
            CertificateError::Ssh(error) => of_ssh(error),
            CertificateError::Clock => Kind::Failed,
            _ => Kind::Usage,
        };
        Self::new(kind, error)
    }
}

impl From<StatementError> for Report {
    fn from(error: StatementError) -> Self {
        let kind = match &error {
            StatementError::Device(error) => of_device(error),
            StatementError::Signing(error) => of_pgp(error),
            error if error.is_verification() => Kind::Verification,
            _ => Kind::Failed,
        };
        let report = Self::new(kind, error);
        match kind {
            Kind::Verification => report.with_note("nothing was done"),
            _ => report,
        }
    }
}

impl From<SshSigError> for Report {
    fn from(error: SshSigError) -> Self {
        let kind = match &error {
            SshSigError::Ssh(error) => of_ssh(error),
            SshSigError::Read(_) => Kind::Failed,
            SshSigError::Namespace | SshSigError::Allowed { .. } => Kind::Usage,
            _ => Kind::Verification,
        };
        Self::new(kind, error)
    }
}

impl From<SignifyError> for Report {
    fn from(error: SignifyError) -> Self {
        let kind = match &error {
            SignifyError::Device(error) => of_device(error),
            SignifyError::Answer(_) => Kind::Device,
            SignifyError::Read(_) => Kind::Failed,
            SignifyError::Identity(_) | SignifyError::TooLong | SignifyError::Comment => {
                Kind::Usage
            }
            _ => Kind::Verification,
        };
        Self::new(kind, error)
    }
}

fn of_age(error: &AgeError) -> Kind {
    match error {
        AgeError::Device(error) => of_device(error),
        AgeError::Answer(_) => Kind::Device,
        AgeError::Name(_)
        | AgeError::Recipient { .. }
        | AgeError::NoRecipients
        | AgeError::Mixed => Kind::Usage,
        // a header that was changed looks like one for somebody else
        AgeError::KeyChanged(_) | AgeError::NotAge | AgeError::NoMatch | AgeError::Damaged(_) => {
            Kind::Verification
        }
        _ => Kind::Failed,
    }
}

impl From<AgeError> for Report {
    fn from(error: AgeError) -> Self {
        Self::new(of_age(&error), error)
    }
}

impl From<PasswordError> for Report {
    fn from(error: PasswordError) -> Self {
        let kind = match &error {
            PasswordError::Name(_) => Kind::Usage,
            PasswordError::NotAccepted { .. } => Kind::Verification,
            PasswordError::Age { error, .. } => of_age(error),
            _ => Kind::Failed,
        };
        Self::new(kind, error)
    }
}

impl From<AgeStoreError> for Report {
    fn from(error: AgeStoreError) -> Self {
        let kind = match &error {
            AgeStoreError::Store(error) => of_store(error),
            AgeStoreError::Changed { .. } => Kind::Verification,
            _ => Kind::Failed,
        };
        Self::new(kind, error)
    }
}

fn of_pgp(error: &PgpError) -> Kind {
    match error {
        PgpError::Device(error) => of_device(error),
        PgpError::Answer(_) => Kind::Device,
        PgpError::UserId(_)
        | PgpError::Curve(_)
        | PgpError::Time(_)
        | PgpError::Past(_)
        | PgpError::NoRecipient => Kind::Usage,
        error if error.is_verification() => Kind::Verification,
        _ => Kind::Failed,
    }
}

impl From<PgpError> for Report {
    fn from(error: PgpError) -> Self {
        Self::new(of_pgp(&error), error)
    }
}

impl From<UserIdError> for Report {
    fn from(error: UserIdError) -> Self {
        Self::new(Kind::Usage, error)
    }
}

impl From<PgpStoreError> for Report {
    fn from(error: PgpStoreError) -> Self {
        let kind = match &error {
            PgpStoreError::Store(error) => of_store(error),
            PgpStoreError::Pgp(error) => of_pgp(error),
            PgpStoreError::OtherFingerprint { .. } | PgpStoreError::Revocation(_) => {
                Kind::Verification
            }
            _ => Kind::Failed,
        };
        Self::new(kind, error)
    }
}

impl From<AgentError> for Report {
    fn from(error: AgentError) -> Self {
        Self::new(Kind::Failed, error)
    }
}

fn of_host_key(error: &HostKeyError) -> Kind {
    match error {
        HostKeyError::NoKeys { .. } => Kind::Failed,
        _ => Kind::Verification,
    }
}

impl From<HostKeyError> for Report {
    fn from(error: HostKeyError) -> Self {
        Self::new(of_host_key(&error), error)
    }
}

impl From<ConnectionError> for Report {
    fn from(error: ConnectionError) -> Self {
        let kind = match &error {
            ConnectionError::HostKey(error) => of_host_key(error),
            _ => Kind::Failed,
        };
        Self::new(kind, error)
    }
}

impl From<RemoteError> for Report {
    fn from(error: RemoteError) -> Self {
        let kind = match &error {
            RemoteError::HostKey { error, .. } => of_host_key(error),
            RemoteError::Digest { .. } => Kind::Verification,
            RemoteError::Refused { unsigned: true, .. } => Kind::Device,
            _ => Kind::Failed,
        };
        Self::new(kind, error)
    }
}

impl From<PrepareError> for Report {
    fn from(error: PrepareError) -> Self {
        let (kind, note) = match error {
            PrepareError::Remote(error) => return error.into(),
            PrepareError::Statement(error) => return error.into(),
            ref error if error.is_verification() => (Kind::Verification, error.note()),
            PrepareError::Wanted(_) => (Kind::Usage, None),
            ref error => (Kind::Failed, error.note()),
        };
        let report = Self::new(kind, error);
        match note {
            Some(note) => report.with_note(note),
            None => report,
        }
    }
}

impl From<EngineError> for Report {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Remote(error) => error.into(),
            error => Self::new(Kind::Failed, error),
        }
    }
}

impl From<SwarmError> for Report {
    fn from(error: SwarmError) -> Self {
        match error {
            SwarmError::Engine(error) => error.into(),
            error => Self::new(Kind::Failed, error),
        }
    }
}

impl From<LxdError> for Report {
    fn from(error: LxdError) -> Self {
        match error {
            LxdError::Remote(error) => error.into(),
            error => Self::new(Kind::Failed, error),
        }
    }
}

impl From<TunnelError> for Report {
    fn from(error: TunnelError) -> Self {
        match error {
            TunnelError::Engine(error) => error.into(),
            error => Self::new(Kind::Failed, error),
        }
    }
}

impl From<ClusterError> for Report {
    fn from(error: ClusterError) -> Self {
        let kind = match &error {
            ClusterError::Store(error) => of_store(error),
            _ => Kind::Failed,
        };
        Self::new(kind, error)
    }
}

impl From<ScanError> for Report {
    fn from(error: ScanError) -> Self {
        Self::new(Kind::Failed, error)
    }
}

impl From<CommandError> for Report {
    fn from(error: CommandError) -> Self {
        Self::text(Kind::Usage, error.to_string())
    }
}

impl From<ClientError> for Report {
    fn from(error: ClientError) -> Self {
        Self::new(Kind::Failed, error)
    }
}

fn of_catalog(error: &CatalogError) -> Kind {
    match error {
        CatalogError::Unknown { .. } | CatalogError::NotOnChain { .. } => Kind::Usage,
        _ => Kind::Failed,
    }
}

fn of_render(error: &RenderError) -> Kind {
    match error {
        RenderError::Catalog(error) => of_catalog(error),
        RenderError::UnknownOption { .. }
        | RenderError::OptionValue { .. }
        | RenderError::UnknownVariant { .. }
        | RenderError::Pruned { .. }
        | RenderError::Apart { .. } => Kind::Usage,
        RenderError::BelowMinimum { .. } => Kind::Verification,
        _ => Kind::Failed,
    }
}

impl From<EnginesError> for Report {
    fn from(error: EnginesError) -> Self {
        match error {
            EnginesError::Engine(error) => error.into(),
            EnginesError::OtherCluster { .. } => Self::new(Kind::Verification, error),
            error => Self::new(Kind::Failed, error),
        }
    }
}

impl From<ApplyError> for Report {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Statement(error) => error.into(),
            error if error.is_verification() => Self::new(Kind::Verification, error),
            error => Self::new(Kind::Failed, error),
        }
    }
}

impl From<HealthError> for Report {
    fn from(error: HealthError) -> Self {
        match error {
            HealthError::Engine(error) => error.into(),
            error => Self::new(Kind::Failed, error),
        }
    }
}

impl From<CatalogError> for Report {
    fn from(error: CatalogError) -> Self {
        Self::new(of_catalog(&error), error)
    }
}

impl From<RenderError> for Report {
    fn from(error: RenderError) -> Self {
        Self::new(of_render(&error), error)
    }
}

impl From<PlanError> for Report {
    fn from(error: PlanError) -> Self {
        let kind = match &error {
            PlanError::Render(error) => of_render(error),
            PlanError::Foreign { .. } | PlanError::Network { .. } => Kind::Verification,
            _ => Kind::Failed,
        };
        Self::new(kind, error)
    }
}

impl From<LintError> for Report {
    fn from(error: LintError) -> Self {
        Self::new(Kind::Failed, error)
    }
}

impl From<ConfigError> for Report {
    fn from(error: ConfigError) -> Self {
        let kind = if error.is_usage() {
            Kind::Usage
        } else {
            Kind::Failed
        };
        Self::new(kind, error)
    }
}

impl From<WalletError> for Report {
    fn from(error: WalletError) -> Self {
        Self::new(of_wallet(&error), error)
    }
}

fn of_wallet(error: &WalletError) -> Kind {
    match error {
        WalletError::Device(error) => of_device(error),
        WalletError::Store(error) => of_store(error),
        WalletError::Damaged { .. } | WalletError::AddressDiffers { .. } => Kind::Verification,
        WalletError::Name(_)
        | WalletError::NotNamed { .. }
        | WalletError::Account(_)
        | WalletError::Cosigner { .. }
        | WalletError::Multisig { .. }
        | WalletError::Descriptor(_)
        | WalletError::OtherChain { .. }
        | WalletError::Address(_)
        | WalletError::Amount(_) => Kind::Usage,
        _ => Kind::Failed,
    }
}

impl From<SignError> for Report {
    fn from(error: SignError) -> Self {
        let kind = match &error {
            SignError::Device(error) => of_device(error),
            error if error.is_verification() => Kind::Verification,
            _ => Kind::Failed,
        };
        Self::new(kind, error)
    }
}

impl From<PsbtError> for Report {
    fn from(error: PsbtError) -> Self {
        let kind = if error.is_verification() {
            Kind::Verification
        } else {
            Kind::Failed
        };
        Self::new(kind, error)
    }
}

impl From<PaymentError> for Report {
    fn from(error: PaymentError) -> Self {
        Self::new(Kind::Failed, error)
    }
}

impl From<PolicyError> for Report {
    fn from(error: PolicyError) -> Self {
        Self::new(Kind::Failed, error)
    }
}

impl From<MessageError> for Report {
    fn from(error: MessageError) -> Self {
        let kind = match &error {
            MessageError::Bad(_) => Kind::Verification,
            _ => Kind::Failed,
        };
        Self::new(kind, error)
    }
}

impl From<SourceError> for Report {
    fn from(error: SourceError) -> Self {
        let kind = match &error {
            SourceError::Wallet(error) => of_wallet(error),
            _ => Kind::Failed,
        };
        Self::new(kind, error)
    }
}

impl From<EndpointError> for Report {
    fn from(error: EndpointError) -> Self {
        Self::new(Kind::Usage, error)
    }
}

impl From<SelectorError> for Report {
    fn from(error: SelectorError) -> Self {
        Self::text(Kind::Usage, error.to_string())
    }
}

impl From<crate::split::SplitError> for Report {
    fn from(error: crate::split::SplitError) -> Self {
        Self::new(Kind::Usage, error)
    }
}

impl From<crate::env::NoHome> for Report {
    fn from(error: crate::env::NoHome) -> Self {
        Self::new(Kind::Failed, error)
    }
}

impl From<crate::process::HardenError> for Report {
    fn from(error: crate::process::HardenError) -> Self {
        Self {
            kind: Kind::Failed,
            error: Box::new(error),
            place: None,
            notes: vec!["nothing was asked and nothing was read".into()],
            hint: None,
        }
    }
}

fn verified(is_verification: bool) -> Kind {
    match is_verification {
        true => Kind::Verification,
        false => Kind::Failed,
    }
}

impl From<ArchiveError> for Report {
    fn from(error: ArchiveError) -> Self {
        Self::new(verified(error.is_verification()), error)
    }
}

impl From<TransferError> for Report {
    fn from(error: TransferError) -> Self {
        Self::new(verified(error.is_verification()), error)
    }
}

impl From<BuildError> for Report {
    fn from(error: BuildError) -> Self {
        let kind = match &error {
            BuildError::Archive(error) => verified(error.is_verification()),
            BuildError::Name { .. } => Kind::Usage,
            _ => Kind::Failed,
        };
        Self::new(kind, error).with_note("no archive was written")
    }
}

impl From<ReleaseError> for Report {
    fn from(error: ReleaseError) -> Self {
        Self::new(verified(error.is_verification()), error).with_note("nothing was built")
    }
}

impl From<bcm_stacks::image::scan::ScanError> for Report {
    fn from(error: bcm_stacks::image::scan::ScanError) -> Self {
        Self::new(Kind::Failed, error)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use bcm_keystore::device::Loss;
    use bcm_keystore::secret::PassphraseError;

    use super::*;

    fn plain(report: &Report) -> String {
        report.to_string()
    }

    #[test]
    fn an_error_says_what_why_and_what_next() {
        let report = Report::from(StoreError::Io {
            path: "/x/salt".into(),
            source: io::Error::from(io::ErrorKind::PermissionDenied),
        });
        assert_eq!(
            plain(&report.with_note("nothing was written")),
            "error: cannot use `/x/salt`: permission denied\n\
             nothing was written\n\
             hint: check who owns it and whether the disk is full"
        );
    }

    #[test]
    fn nothing_is_said_twice() {
        let report = Report::from(UnlockError::Device(DeviceError::NoAnswer(
            NoAnswer::Passphrase(PassphraseError::Empty.into()),
        )));
        let text = plain(&report);
        assert_eq!(text.matches("an empty passphrase").count(), 1, "{text}");
    }

    #[test]
    fn exit_codes_tell_the_kinds_apart() {
        let lost = || DeviceError::Lost {
            device: "usb".into(),
            loss: Loss::Gone,
            source: None,
        };
        for (report, code) in [
            (Report::from(lost()), 3),
            (Report::from(UnlockError::Device(lost())), 3),
            (Report::from(DeviceError::Declined), 3),
            (Report::from(DeviceError::Cancelled), 1),
            (Report::from(DeviceError::NoAnswer(NoAnswer::Nobody)), 2),
            (Report::from(UnlockError::PassphraseOff), 3),
            (Report::from(StoreError::OtherWallet("/x".into())), 4),
            (Report::from(ConfigError::NoPair("x".into())), 2),
            (Report::from(crate::split::split("'").unwrap_err()), 2),
        ] {
            assert_eq!(report.exit_code(), code, "{report:?}");
        }
    }

    #[test]
    fn foreign_text_cannot_repaint_the_terminal() {
        let report = Report::text(Kind::Failed, "peer said \u{1b}[2J\r\nok\u{202e}").at("a\u{7}:1");
        assert_eq!(plain(&report), "error: a?:1: peer said ?[2J??ok?");
    }
}
