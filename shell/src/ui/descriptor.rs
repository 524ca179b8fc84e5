//! Descriptors that bcm was started with: `--passphrase-fd 3 3<FILE`.

use std::fs::File;
use std::io;

use rustix::io::Errno;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

/// Returns the descriptor `number` itself, which goes on where it was read to.
///
/// Opening `/dev/fd/N` would begin the file again, and could not open a socket or a file that
/// somebody else may read. Where the kernel or a sandbox refuses to hand out a duplicate, that is
/// still the way to a pipe.
pub fn inherited(number: u32) -> io::Result<File> {
    let target = i32::try_from(number).map_err(|_| io::Error::from(Errno::BADF))?;
    let duplicate = pidfd_open(getpid(), PidfdFlags::empty())
        .and_then(|own| pidfd_getfd(own, target, PidfdGetfdFlags::empty()));
    match duplicate {
        Ok(descriptor) => Ok(descriptor.into()),
        Err(Errno::NOSYS | Errno::PERM) => File::open(format!("/dev/fd/{number}")),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, SeekFrom, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn number(descriptor: &impl AsRawFd) -> u32 {
        u32::try_from(descriptor.as_raw_fd()).unwrap()
    }

    #[test]
    fn a_file_goes_on_where_it_was_read_to() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"first\nsecond\n").unwrap();
        file.seek(SeekFrom::Start(6)).unwrap();
        let mut text = String::new();
        let mut same = inherited(number(&file)).unwrap();
        same.read_to_string(&mut text).unwrap();
        assert_eq!(text, "second\n");
    }

    #[test]
    fn a_socket_is_read_too() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(b"secret").unwrap();
        drop(ours);
        let mut text = String::new();
        let mut same = inherited(number(&theirs)).unwrap();
        same.read_to_string(&mut text).unwrap();
        assert_eq!(text, "secret");
    }

    #[test]
    fn a_descriptor_that_is_not_open_is_an_error() {
        for number in [9_999, u32::MAX] {
            assert_eq!(
                inherited(number).unwrap_err().raw_os_error(),
                Some(Errno::BADF.raw_os_error())
            );
        }
    }
}
