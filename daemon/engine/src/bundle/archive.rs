//! The file: a tar archive of regular files and nothing else, in the order of its manifest, one way to write each byte.
//!
//! Any tar program lists and unpacks it. This reader follows nothing that an archive says: it reckons each header from the
//! manifest and compares, so that no path, link, owner or padding comes from the file.

use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use fitment_catalog::Digest;
use sha2::{Digest as _, Sha256};

use super::manifest::{
    BundleEntry, BundleManifest, MANIFEST_PATH, MAX_MANIFEST_JSON_BYTES, SIGNATURE_PATH, signature_payload,
};
use crate::error::EngineError;
use crate::store::Work;

const BLOCK: usize = 512;
/// Bytes that are read or written at once.
const PIECE: usize = 256 * 1024;

/// Takes entries as they are read.
pub trait BundleTaker {
    /// An entry that goes into a catalogue; its digest was checked.
    fn whole(&mut self, entry: &BundleEntry, bytes: Vec<u8>) -> Result<(), EngineError>;

    /// The next bytes of another entry; nothing was checked yet.
    fn piece(&mut self, entry: &BundleEntry, piece: &[u8]) -> Result<(), EngineError>;

    /// All bytes of that entry have come, and they are those that the manifest names.
    fn done(&mut self, entry: &BundleEntry) -> Result<(), EngineError>;
}

/// The one header of a file; `None` for a path that does not fit.
pub(super) fn header(path: &str, bytes: u64) -> Option<[u8; BLOCK]> {
    let mut header = tar::Header::new_ustar();
    header.set_path(path).ok()?;
    header.set_size(bytes);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    Some(*header.as_bytes())
}

/// Zero bytes after a file's own, up to a whole block.
fn padding(bytes: u64) -> usize {
    let over = usize::try_from(bytes % BLOCK as u64).unwrap_or_default();
    if over == 0 { 0 } else { BLOCK - over }
}

/// Makes a signature's file from what is to be signed.
type Sign<'a> = &'a dyn Fn(Vec<u8>) -> Result<Vec<u8>, EngineError>;
/// Gives an entry's bytes.
type Content<'a> = &'a mut dyn FnMut(&BundleEntry) -> Result<Box<dyn Read>, EngineError>;

/// Where a bundle is written until it is whole.
fn part_of(out: &Path) -> PathBuf {
    let mut part = out.as_os_str().to_owned();
    part.push(".part");
    PathBuf::from(part)
}

/// The manifest of an export to this place that was cut short; `None`: there is none, or it was cut before its entries.
pub fn interrupted_export(out: &Path) -> Option<BundleManifest> {
    BundleFile::open(&part_of(out)).ok().map(|bundle| bundle.manifest)
}

/// Writes a bundle beside its place and puts it there by a rename once it is whole and durable. Of what an earlier try left
/// there, the bytes that are due are kept, compared with what they must be; from the first other byte on it is written anew.
///
/// `sign`: makes the signature's file from what is to be signed; `None`: unsigned. `content`: gives an entry's bytes. Returns
/// how many bytes were there. Errors: bytes that are not those that the manifest names, another process that writes there, IO,
/// [`EngineError::Stopping`]; what was written is kept for the next try.
pub fn write_bundle(
    out: &Path,
    manifest: &BundleManifest,
    sign: Option<Sign<'_>>,
    content: Content<'_>,
    work: Work<'_>,
) -> Result<u64, EngineError> {
    let part = part_of(out);
    let reused = write_part(&part, manifest, sign, content, work)?;
    let failed = |source| EngineError::Io { path: out.to_path_buf(), source };
    std::fs::rename(&part, out).map_err(failed)?;
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    Ok(reused)
}

/// A file that may have the beginning of what is written to it: that is compared and left, the rest is written.
struct Resumed {
    file: File,
    /// Bytes that were there and have not been compared yet; 0: everything is written.
    left: u64,
    at: u64,
    /// Bytes that were there and are those that are due.
    reused: u64,
}

impl Resumed {
    fn open(part: &Path) -> Result<Self, EngineError> {
        let failed = |source| EngineError::Io { path: part.to_path_buf(), source };
        let options = File::options().read(true).write(true).create(true).truncate(false).open(part);
        let file = options.map_err(failed)?;
        if file.try_lock().is_err() {
            return Err(EngineError::field(
                "out",
                format!("another export is writing {}; wait for it", part.display()),
            ));
        }
        let left = file.metadata().map_err(failed)?.len();
        Ok(Self { file, left, at: 0, reused: 0 })
    }

    /// Cuts off what follows. Returns the file and how many bytes were there.
    fn finish(self) -> std::io::Result<(File, u64)> {
        self.file.set_len(self.at)?;
        Ok((self.file, self.reused))
    }
}

impl Write for Resumed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.left > 0 {
            let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            let mut there = vec![0; most];
            self.file.read_exact(&mut there)?;
            let same = there.iter().zip(bytes).take_while(|(there, due)| there == due).count();
            self.at += same as u64;
            self.reused += same as u64;
            self.left -= most as u64;
            if same < most || self.left == 0 {
                self.left = 0;
                self.file.set_len(self.at)?;
                self.file.seek(SeekFrom::Start(self.at))?;
            }
            if same > 0 {
                return Ok(same);
            }
        }
        let written = self.file.write(bytes)?;
        self.at += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

fn write_part(
    part: &Path,
    manifest: &BundleManifest,
    sign: Option<Sign<'_>>,
    content: Content<'_>,
    work: Work<'_>,
) -> Result<u64, EngineError> {
    let failed = |source| EngineError::Io { path: part.to_path_buf(), source };
    let mut file = BufWriter::with_capacity(PIECE, Resumed::open(part)?);
    let bytes = manifest.to_bytes()?;
    let signature = sign.map(|sign| sign(signature_payload(manifest, &bytes)?)).transpose()?;
    let mut head = vec![(MANIFEST_PATH, bytes)];
    head.extend(signature.map(|signature| (SIGNATURE_PATH, signature)));
    for (path, bytes) in head {
        let header = header(path, bytes.len() as u64).ok_or_else(|| unfit(path))?;
        file.write_all(&header).and_then(|()| file.write_all(&bytes)).map_err(failed)?;
        file.write_all(&[0; BLOCK][..padding(bytes.len() as u64)]).map_err(failed)?;
    }
    let total = manifest.bytes();
    let mut written = 0;
    let mut piece = vec![0; PIECE];
    for entry in &manifest.entries {
        file.write_all(&header(&entry.path, entry.bytes).ok_or_else(|| unfit(&entry.path))?).map_err(failed)?;
        let mut reader = content(entry)?;
        let (mut left, mut hasher) = (entry.bytes, Sha256::new());
        while left > 0 {
            work.check()?;
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
            let read = reader
                .read(&mut piece[..most])
                .map_err(|source| EngineError::Io { path: PathBuf::from(&entry.path), source })?;
            if read == 0 {
                break;
            }
            hasher.update(&piece[..read]);
            file.write_all(&piece[..read]).map_err(failed)?;
            left -= read as u64;
            written += read as u64;
            (work.tell)("writing the bundle", written, total);
        }
        if left > 0 || Digest::from_bytes(hasher.finalize().into()) != entry.sha256 {
            let detail = format!("`{}` changed while the bundle was written; try again", entry.path);
            return Err(EngineError::BundleDamaged { path: part.to_path_buf(), detail });
        }
        file.write_all(&[0; BLOCK][..padding(entry.bytes)]).map_err(failed)?;
    }
    file.write_all(&[0; 2 * BLOCK]).map_err(failed)?;
    let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
    let (file, reused) = file.finish().map_err(failed)?;
    file.sync_all().map_err(failed)?;
    Ok(reused)
}

fn unfit(path: &str) -> EngineError {
    EngineError::field("bundle", format!("`{path}` is too long a path for an archive"))
}

/// A bundle that is being read, from its first byte to its last.
#[derive(Debug)]
pub struct BundleFile {
    path: PathBuf,
    file: BufReader<File>,
    /// Bytes that were read.
    at: u64,
    /// The header of the next entry, where it was read to see whether it is the signature's.
    ahead: Option<[u8; BLOCK]>,
    manifest: BundleManifest,
    manifest_bytes: Vec<u8>,
    signature: Vec<u8>,
}

impl BundleFile {
    /// Opens a bundle and reads what it says of itself. Nothing else is checked yet.
    ///
    /// Errors: [`EngineError::BundleDamaged`], which says where; IO.
    pub fn open(path: &Path) -> Result<Self, EngineError> {
        let damaged = |detail: String| EngineError::BundleDamaged { path: path.to_path_buf(), detail };
        let file = File::open(path).map_err(|source| EngineError::Io { path: path.to_path_buf(), source })?;
        let mut reader = Reader { path, file: BufReader::with_capacity(PIECE, file), at: 0 };
        let first = reader.block(&"its manifest", 0)?;
        let length = size_in(&first).filter(|_| first == header_or_zeros(MANIFEST_PATH, size_in(&first)));
        let Some(length) = length else {
            return Err(damaged(format!("it begins with {}, not with `{MANIFEST_PATH}`", describe(&first))));
        };
        if length > MAX_MANIFEST_JSON_BYTES {
            return Err(damaged(format!(
                "its manifest has {length} bytes, at most {MAX_MANIFEST_JSON_BYTES} are read"
            )));
        }
        let manifest_bytes = reader.content(&"its manifest", length, 0)?;
        let manifest = BundleManifest::parse(&manifest_bytes).map_err(damaged)?;
        let second = reader.block(&"its signature", 0)?;
        let (mut ahead, mut signature) = (Some(second), Vec::new());
        if let Some(length) = size_in(&second)
            && second == header_or_zeros(SIGNATURE_PATH, Some(length))
        {
            if length > fitment_trust::MAX_ENVELOPE_BYTES as u64 || length == 0 {
                return Err(damaged(format!("its signature has {length} bytes")));
            }
            signature = reader.content(&"its signature", length, 0)?;
            ahead = None;
        }
        let Reader { file, at, .. } = reader;
        Ok(Self { path: path.to_path_buf(), file, at, ahead, manifest, manifest_bytes, signature })
    }

    /// What it says of itself.
    pub fn manifest(&self) -> &BundleManifest {
        &self.manifest
    }

    /// The same, to the byte.
    pub fn manifest_bytes(&self) -> &[u8] {
        &self.manifest_bytes
    }

    /// The DSSE envelope about the manifest; empty: unsigned.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// Reads everything to the last byte and hands it on.
    ///
    /// Errors: [`EngineError::BundleDamaged`], which says where and what is whole; [`EngineError::Stopping`]; the taker's.
    pub fn walk(self, taker: &mut dyn BundleTaker, work: Work<'_>) -> Result<(), EngineError> {
        let Self { path, file, at, mut ahead, manifest, .. } = self;
        let damaged = |detail: String| EngineError::BundleDamaged { path: path.clone(), detail };
        let mut reader = Reader { path: &path, file, at };
        let total = manifest.bytes();
        let count = manifest.entries.len();
        let mut read = 0;
        let mut piece = vec![0; PIECE];
        for (number, entry) in manifest.entries.iter().enumerate() {
            let name = Named { entry, number: number + 1, count };
            let whole = reader.at - if ahead.is_some() { BLOCK as u64 } else { 0 };
            let found = match ahead.take() {
                Some(block) => block,
                None => reader.block(&name, whole)?,
            };
            if found != header_or_zeros(&entry.path, Some(entry.bytes)) {
                return Err(damaged(format!(
                    "at byte {whole} it has {}, where `{}` of {} bytes is due",
                    describe(&found),
                    entry.path,
                    entry.bytes
                )));
            }
            let mut hasher = Sha256::new();
            let mut kept = Vec::new();
            let mut left = entry.bytes;
            while left > 0 {
                work.check()?;
                let most = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
                reader.exact(&mut piece[..most], &name, whole)?;
                hasher.update(&piece[..most]);
                if entry.kind.is_carried() {
                    kept.extend_from_slice(&piece[..most]);
                } else {
                    taker.piece(entry, &piece[..most])?;
                }
                left -= most as u64;
                read += most as u64;
                (work.tell)("reading the bundle", read, total);
            }
            let digest = Digest::from_bytes(hasher.finalize().into());
            if digest != entry.sha256 {
                return Err(damaged(format!("`{}` has digest {digest}, not {}", entry.path, entry.sha256)));
            }
            reader.zeros(padding(entry.bytes), &name, whole)?;
            if entry.kind.is_carried() { taker.whole(entry, kept)? } else { taker.done(entry)? }
        }
        let whole = reader.at - if ahead.is_some() { BLOCK as u64 } else { 0 };
        if let Some(block) = ahead {
            if block != [0; BLOCK] {
                return Err(damaged(format!("it has {} after its last entry", describe(&block))));
            }
            reader.zeros(BLOCK, &"its end", whole)?;
        } else {
            reader.zeros(2 * BLOCK, &"its end", whole)?;
        }
        let mut more = [0];
        match reader.file.read(&mut more) {
            Ok(0) => Ok(()),
            Ok(_) => Err(damaged(format!("something follows its end at byte {}", reader.at))),
            Err(source) => Err(EngineError::Io { path: path.clone(), source }),
        }
    }
}

/// The header that is due; zeros, which no entry has, where there can be none.
fn header_or_zeros(path: &str, bytes: Option<u64>) -> [u8; BLOCK] {
    bytes.and_then(|bytes| header(path, bytes)).unwrap_or([0; BLOCK])
}

fn size_in(block: &[u8; BLOCK]) -> Option<u64> {
    tar::Header::from_byte_slice(block).entry_size().ok()
}

/// What a block claims to begin, in words.
fn describe(block: &[u8; BLOCK]) -> String {
    if block == &[0; BLOCK] {
        return "the archive's end".into();
    }
    let header = tar::Header::from_byte_slice(block);
    let name: String = String::from_utf8_lossy(&header.path_bytes()).chars().take(120).collect();
    let kind = match header.entry_type() {
        tar::EntryType::Regular => "an entry",
        tar::EntryType::Link | tar::EntryType::Symlink => "a link",
        tar::EntryType::Directory => "a folder",
        _ => "something else",
    };
    format!("{kind} `{}` of {} bytes", name.escape_debug(), header.entry_size().unwrap_or_default())
}

/// An entry and which one it is.
struct Named<'a> {
    entry: &'a BundleEntry,
    number: usize,
    count: usize,
}

impl std::fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` (entry {} of {})", self.entry.path, self.number, self.count)
    }
}

struct Reader<'p> {
    path: &'p Path,
    file: BufReader<File>,
    at: u64,
}

impl Reader<'_> {
    /// Fills `bytes`. whole: up to where everything was checked.
    fn exact(&mut self, bytes: &mut [u8], what: &dyn std::fmt::Display, whole: u64) -> Result<(), EngineError> {
        let mut filled = 0;
        while filled < bytes.len() {
            match self.file.read(&mut bytes[filled..]) {
                Ok(0) => {
                    let detail = format!(
                        "it ends at byte {}, inside {what}; it is whole up to byte {whole}: go on copying from there",
                        self.at + filled as u64
                    );
                    return Err(EngineError::BundleDamaged { path: self.path.to_path_buf(), detail });
                }
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => return Err(EngineError::Io { path: self.path.to_path_buf(), source }),
            }
        }
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn block(&mut self, what: &dyn std::fmt::Display, whole: u64) -> Result<[u8; BLOCK], EngineError> {
        let mut block = [0; BLOCK];
        self.exact(&mut block, what, whole)?;
        Ok(block)
    }

    /// A small file and its padding. Memory grows with what is there, not with what is claimed.
    fn content(&mut self, what: &dyn std::fmt::Display, length: u64, whole: u64) -> Result<Vec<u8>, EngineError> {
        let mut content = Vec::new();
        let mut left = usize::try_from(length).unwrap_or(usize::MAX);
        let mut piece = vec![0; PIECE];
        while left > 0 {
            let most = left.min(piece.len());
            self.exact(&mut piece[..most], what, whole)?;
            content.extend_from_slice(&piece[..most]);
            left -= most;
        }
        self.zeros(padding(length), what, whole)?;
        Ok(content)
    }

    fn zeros(&mut self, count: usize, what: &dyn std::fmt::Display, whole: u64) -> Result<(), EngineError> {
        let mut rest = vec![0; count];
        let at = self.at;
        self.exact(&mut rest, what, whole)?;
        match rest.iter().position(|&byte| byte != 0) {
            None => Ok(()),
            Some(place) => {
                let detail = format!("byte {} at {what} is not the zero that it must be", at + place as u64);
                Err(EngineError::BundleDamaged { path: self.path.to_path_buf(), detail })
            }
        }
    }
}
