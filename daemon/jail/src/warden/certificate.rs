//! Opens the certificate's files for the daemon, which may not: keys are commonly root's alone.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};
use sandbox_protocol::local::warden::Event;

use super::config::TlsFiles;
use super::session::Outgoing;

/// Both files as they are at this moment, or why not.
pub(crate) fn answer(files: Option<&TlsFiles>) -> Outgoing {
    let Some(files) = files else {
        return refused("this server is configured without TLS".into());
    };
    let opened = open_one("TLS_CERT", &files.certificate)
        .and_then(|certificate| Ok(vec![certificate, open_one("TLS_KEY", &files.key)?]));
    match opened {
        Ok(descriptors) => Outgoing {
            event: Event::Certificate,
            descriptors,
        },
        Err(why) => refused(why),
    }
}

fn refused(why: String) -> Outgoing {
    Event::NoCertificate { why }.into()
}

fn open_one(name: &str, path: &Path) -> Result<OwnedFd, String> {
    // Not to wait for the writer of a pipe.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let regular = || {
        let file = File::from(open(path, flags, Mode::empty())?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        Ok(file.into())
    };
    regular().map_err(|error| format!("cannot open {name}={}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_come_in_their_order_or_neither_with_the_reason() {
        let dir = std::env::temp_dir().join(format!("sandbox-tls-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let mut files = TlsFiles {
            certificate: dir.join("cert.pem"),
            key: dir.join("key.pem"),
        };
        std::fs::write(&files.certificate, "certificate").unwrap();
        let why = |files: Option<&TlsFiles>| {
            let Event::NoCertificate { why } = answer(files).event else {
                panic!("opened");
            };
            why
        };
        assert!(why(Some(&files)).contains("cannot open TLS_KEY="));
        std::fs::write(&files.key, "key").unwrap();
        let opened = answer(Some(&files));
        assert_eq!(opened.event, Event::Certificate);
        let read: Vec<String> = opened
            .descriptors
            .into_iter()
            .map(|it| io::read_to_string(File::from(it)).unwrap())
            .collect();
        assert_eq!(read, ["certificate", "key"]);
        files.certificate = "/dev/zero".into();
        assert!(why(Some(&files)).contains("no regular file"));
        assert!(why(None).contains("without TLS"));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
