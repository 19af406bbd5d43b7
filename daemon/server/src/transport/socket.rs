//! Listening sockets, and connections as they come out of them.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixSocket};

use super::address::ListenAddress;
use super::peer::Transport;

/// Connections that wait to be taken.
const BACKLOG: u32 = 1024;

/// A socket that listens.
#[derive(Debug)]
pub struct Socket(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// A connection's bytes.
pub(super) trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Bytes for S {}

impl Socket {
    /// Listens. `unix_mode`: permissions of a Unix socket.
    ///
    /// Errors: the address is taken or not ours, the folder of a Unix socket is open to others.
    pub async fn bind(address: &ListenAddress, unix_mode: u32) -> anyhow::Result<Self> {
        match address {
            ListenAddress::Tcp(address) => Ok(Self(Kind::Tcp(bind_tcp(*address, "--listen 127.0.0.1:PORT").await?))),
            ListenAddress::Unix(path) => {
                bind_unix(path, unix_mode).with_context(|| format!("cannot listen on unix:{}", path.display()))
            }
        }
    }

    /// Where calls are taken.
    pub fn address(&self) -> anyhow::Result<ListenAddress> {
        Ok(match &self.0 {
            Kind::Tcp(listener) => ListenAddress::Tcp(listener.local_addr()?),
            Kind::Unix(_, file) => ListenAddress::Unix(file.path.clone()),
        })
    }

    /// Whether it is reachable from this machine's processes only, by path.
    pub(super) fn is_unix(&self) -> bool {
        matches!(self.0, Kind::Unix(..))
    }

    /// The next connection, and where it comes from.
    pub(super) async fn accept(&self) -> io::Result<(Box<dyn Bytes>, Transport)> {
        match &self.0 {
            Kind::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // Answers are one small frame: waiting for more to send would cost 40 ms.
                stream.set_nodelay(true)?;
                Ok((Box::new(stream), Transport::Tcp(address)))
            }
            Kind::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let credentials = stream.peer_cred()?;
                let peer = Transport::Unix { uid: credentials.uid(), gid: credentials.gid(), pid: credentials.pid() };
                Ok((Box::new(stream), peer))
            }
        }
    }
}

/// Listens on an address of TCP. `way_out`: how to choose another one.
pub(crate) async fn bind_tcp(address: SocketAddr, way_out: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; is a daemon running there already? choose another with {way_out}")
    })
}

/// The file of a socket; removed when this is dropped, if it still is ours.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = |metadata: &fs::Metadata| metadata.dev() == self.device && metadata.ino() == self.inode;
        if fs::symlink_metadata(&self.path).is_ok_and(|metadata| ours(&metadata)) {
            // What stays is replaced by the next start.
            drop(fs::remove_file(&self.path));
        }
    }
}

fn bind_unix(path: &Path, mode: u32) -> anyhow::Result<Socket> {
    check_folder(path)?;
    remove_stale(path)?;
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    let metadata = fs::symlink_metadata(path)?;
    let file = SocketFile { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() };
    // Between `bind` and `listen`: nobody can connect before the permissions are there.
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(Socket(Kind::Unix(socket.listen(BACKLOG)?, file)))
}

/// Who can rename files of the folder can put their own socket in the place of ours.
fn check_folder(path: &Path) -> anyhow::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let metadata = fs::metadata(folder).with_context(|| format!("the folder {}", folder.display()))?;
    if !metadata.is_dir() {
        bail!("{} is no folder", folder.display());
    }
    let own = rustix::process::geteuid().as_raw();
    if metadata.uid() != own && metadata.uid() != 0 {
        bail!(
            "the folder {} belongs to user {}; use one of this user's or of root's",
            folder.display(),
            metadata.uid()
        );
    }
    let (writable, sticky) = (metadata.mode() & 0o002 != 0, metadata.mode() & 0o1000 != 0);
    if writable && !sticky {
        bail!("every user can write to the folder {}; take their right with chmod o-w", folder.display());
    }
    Ok(())
}

/// Removes what a daemon that was killed left behind.
fn remove_stale(path: &Path) -> anyhow::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        metadata => metadata?,
    };
    if !metadata.file_type().is_socket() {
        bail!("there is a file that is no socket; move it away, or choose another path");
    }
    match StdUnixStream::connect(path) {
        Ok(_) => bail!("somebody answers there; is a daemon running already? choose another path"),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(fs::remove_file(path)?),
        Err(error) => Err(error).context("there is a socket of which nobody can say whether it is in use; remove it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that goes with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("fitment-socket-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).expect("a folder");
            Self(path)
        }

        async fn bind(&self) -> anyhow::Result<Socket> {
            Socket::bind(&ListenAddress::Unix(self.0.join("s")), 0o600).await
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    #[tokio::test]
    async fn a_socket_comes_with_its_permissions_and_goes_with_the_daemon() {
        let folder = Folder::new("comes");
        let socket = folder.bind().await.expect("a socket");
        assert_eq!(fs::metadata(folder.0.join("s")).expect("a file").mode() & 0o7777, 0o600);
        let second = folder.bind().await.expect_err("one is there");
        assert!(format!("{second:#}").contains("somebody answers"), "{second:#}");
        drop(socket);
        assert!(!folder.0.join("s").exists());
    }

    #[tokio::test]
    async fn what_a_killed_daemon_left_is_replaced_and_nothing_else() {
        let folder = Folder::new("left");
        let path = folder.0.join("s");
        // Its file stays, as when a process was killed.
        drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
        let socket = folder.bind().await.expect("the stale one is replaced");
        // Somebody else's file under this name is not removed.
        fs::remove_file(&path).expect("a socket");
        fs::write(&path, "kept").expect("a file");
        drop(socket);
        assert!(path.exists());
        let error = folder.bind().await.expect_err("a file is there");
        assert!(format!("{error:#}").contains("no socket"), "{error:#}");
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o777)).expect("permissions");
        let error = folder.bind().await.expect_err("the folder is open");
        assert!(format!("{error:#}").contains("chmod o-w"), "{error:#}");
    }
}
