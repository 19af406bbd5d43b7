//! Where the daemon listens.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, bail};

/// What stands before the path of a Unix socket.
const UNIX: &str = "unix:";

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// `IP:PORT`; port 0 takes a free one.
    Tcp(SocketAddr),
    /// `unix:/PATH`.
    Unix(PathBuf),
}

impl FromStr for ListenAddress {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let Some(path) = text.strip_prefix(UNIX) else {
            let address = text
                .parse()
                .with_context(|| format!("`{text}` is neither IP:PORT nor unix:/PATH, for example 127.0.0.1:7411"))?;
            return Ok(Self::Tcp(address));
        };
        if !Path::new(path).is_absolute() || path.contains('\0') {
            bail!("`{text}`: a socket needs an absolute path, for example unix:/run/fitment/fitment.sock");
        }
        Ok(Self::Unix(path.into()))
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(formatter, "{address}"),
            Self::Unix(path) => write!(formatter, "{UNIX}{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for text in ["127.0.0.1:7411", "[::1]:0", "unix:/run/fitment.sock"] {
            assert_eq!(text.parse::<ListenAddress>().expect("an address").to_string(), text);
        }
        for text in ["localhost", "7411", "", "unix:", "unix:fitment.sock", "unix:/a\0b"] {
            let error = text.parse::<ListenAddress>().expect_err("no address");
            assert!(error.to_string().contains("for example"), "{error}");
        }
    }
}
