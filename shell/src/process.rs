//! What this process does to itself: no core file, no debugger, nothing inherited, one way out.

use std::io;
use std::process::ExitCode;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

use crate::report::Report;
use crate::ui;

/// Why the process cannot be closed to others.
#[derive(Debug, thiserror::Error)]
#[error("cannot forbid core files and debuggers for this process")]
pub struct HardenError(#[from] io::Error);

/// Forbids core files and ptrace, and keeps inherited descriptors from children.
///
/// A file given as `--passphrase-fd 3 3<FILE` would otherwise be open in every `ssh` that is run.
pub fn harden() -> Result<(), HardenError> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(io::Error::from)?;
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none).map_err(io::Error::from)?;
    close_fds::CloseFdsBuilder::new().cloexecfrom(3);
    Ok(())
}

/// Prints why it ended, if it failed, and makes the exit code.
pub fn exit_code(outcome: Result<u8, Report>) -> ExitCode {
    // a question that is still open in another thread
    ui::tty::restore();
    ExitCode::from(outcome.unwrap_or_else(|report| {
        report.print();
        report.exit_code()
    }))
}

/// Ends the process from a thread that is not the main one, which may wait for a line of input.
#[expect(clippy::exit, reason = "the one place where a signal ends the process")]
pub fn exit(code: u8) -> ! {
    ui::tty::restore();
    ui::tty::end_bracketed_paste();
    std::process::exit(code.into())
}

#[cfg(test)]
mod tests {
    use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};

    #[test]
    fn a_hardened_process_leaves_no_core_file_and_takes_no_debugger() {
        super::harden().unwrap();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        assert_eq!(getrlimit(Resource::Core).maximum, Some(0));
    }
}
