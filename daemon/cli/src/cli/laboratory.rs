//! Labelled intents and a catalogue in a scratch store, to be measured and learnt from.

use std::path::{Path, PathBuf};

use anyhow::Context;
use fitment_catalog::Digest;
use fitment_engine::evaluate::{self, CatalogFile, LabelledFiles};
use fitment_engine::{Author, Calibration, Engine, OnProgress, Ranker, TrainingSet};

use crate::output::Invalid;
use fitment_server::config::Config;
use fitment_server::daemon;

/// Name of the data set that comes with the binary.
pub(super) const SAMPLE: &str = "sample";

/// Split that rankers and thresholds are fitted on.
pub(super) const FIT_SPLIT: &str = "dev";

/// A catalogue in a scratch store, and the labelled intents that speak of it.
pub(super) struct Laboratory {
    pub(super) engine: Engine,
    pub(super) files: LabelledFiles,
    _scratch: tempfile::TempDir,
}

/// Manifests of a catalogue.
pub(super) type Manifests = Vec<CatalogFile>;

impl Laboratory {
    /// Builds the catalogue of a data set that was read in a scratch store.
    pub(super) fn build(
        (files, manifests): (LabelledFiles, Manifests),
        config: &Config,
        on_progress: OnProgress<'_>,
    ) -> anyhow::Result<Self> {
        let scratch = tempfile::tempdir().context("no scratch folder can be made")?;
        let config = Config { data_dir: scratch.path().to_path_buf(), ..config.clone() };
        let engine = daemon::open_engine(&config, on_progress)?;
        super::run_interruptible(async { Ok(evaluate::load(&engine, manifests, on_progress).await?) })?;
        Ok(Self { engine, files, _scratch: scratch })
    }

    /// The labelled intents of a split, ready to learn from.
    pub(super) fn training_set(&self, split: &str, on_progress: OnProgress<'_>) -> anyhow::Result<TrainingSet> {
        self.training_set_of(&self.files, split, on_progress)
    }

    /// The same of other labelled intents over this catalogue.
    pub(super) fn training_set_of(
        &self,
        files: &LabelledFiles,
        split: &str,
        on_progress: OnProgress<'_>,
    ) -> anyhow::Result<TrainingSet> {
        super::run_interruptible(async {
            Ok(self.engine.training_set(&files.name, &files.dataset, split, on_progress).await?)
        })
    }

    /// Puts a ranker from a file into force.
    pub(super) fn use_ranker(&self, file: Option<&PathBuf>) -> anyhow::Result<()> {
        let Some(file) = file else { return Ok(()) };
        let ranker =
            Ranker::from_json(&read_text(file)?).map_err(|error| Invalid(format!("{}: {error}", file.display())))?;
        Ok(self.engine.put_ranker(&ranker)?)
    }

    /// Puts a calibration into force.
    ///
    /// Errors: a calibration that was fitted on another catalogue, with another model or another ranker.
    pub(super) fn use_calibration(&self, calibration: Calibration) -> anyhow::Result<()> {
        let id = calibration.id.clone();
        if calibration.catalog_digest != self.engine.catalog_digest() {
            let fault = format!(
                "calibration {id} was fitted on another catalogue; fit one on this catalogue with `fitment calibrate`"
            );
            return Err(Invalid(fault).into());
        }
        self.engine.put_calibration(calibration, &Author::default())?;
        let info = self.engine.info();
        if info.calibration_id.as_ref() == Some(&id) { Ok(()) } else { Err(Invalid(info.calibration).into()) }
    }
}

/// Whether two data sets choose among the same components.
pub(super) fn same_catalog(a: &LabelledFiles, b: &LabelledFiles) -> bool {
    let digests = |files: &LabelledFiles| {
        let mut digests: Vec<Digest> = files.dataset.components.iter().map(fitment_catalog::Manifest::digest).collect();
        digests.sort_unstable_by_key(ToString::to_string);
        digests
    };
    digests(a) == digests(b)
}

/// Labelled intents and the manifests of their catalogue.
pub(super) fn read(dataset: &Path, catalog: Option<&Path>, split: &str) -> anyhow::Result<(LabelledFiles, Manifests)> {
    let sample = || fitment_catalog::sample().map(|file| (file.path.to_owned(), file.bytes.to_vec()).into()).collect();
    if dataset == Path::new(SAMPLE) && !dataset.exists() {
        let file = fitment_catalog::File { name: "intents.csv", bytes: fitment_catalog::sample_intents().as_bytes() };
        let dataset = fitment_catalog::Dataset::from_csv(file)?;
        return Ok((LabelledFiles { name: SAMPLE.into(), dataset }, sample()));
    }
    let files = evaluate::read_dataset(dataset, split)?;
    let own =
        files.dataset.components.iter().map(|manifest| (manifest.name().to_string(), manifest.canonical_json()).into());
    let manifests = match catalog {
        Some(folder) => evaluate::read_catalog_folder(folder)?,
        None if dataset.is_file() => sample(),
        None => own.collect(),
    };
    Ok((files, manifests))
}

/// Reads a calibration that `fitment calibrate` wrote.
pub(super) fn read_calibration(file: &Path) -> anyhow::Result<Calibration> {
    serde_json::from_str(&read_text(file)?).map_err(|error| {
        Invalid(format!("{}: no calibration that `fitment calibrate` wrote: {error}", file.display())).into()
    })
}

/// The text of a file that was named. Errors: it is not there, or no text; the command line is then at fault.
pub(super) fn read_text(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).map_err(|error| Invalid(format!("{} cannot be read: {error}", file.display())).into())
}

/// Refuses a data set that is named twice: its labels would count twice.
pub(super) fn refuse_twice(flag: &str, paths: &[PathBuf]) -> anyhow::Result<()> {
    let mut seen = std::collections::BTreeSet::new();
    for path in paths {
        // What cannot be found is refused where it is read.
        if !seen.insert(path.canonicalize().unwrap_or_else(|_| path.clone())) {
            return Err(Invalid(format!("{flag} names {} twice; name it once", path.display())).into());
        }
    }
    Ok(())
}

/// Writes a file whole or not at all.
pub(super) fn write_file(path: &Path, text: &str) -> anyhow::Result<()> {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    write_bytes(path, format!("{text}{end}").as_bytes())
}

/// Writes a file in one step, so that nobody reads half of it; readable by whoever the umask lets.
pub(super) fn write_bytes(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let failed = || format!("{} cannot be written", path.display());
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder_of(path)).with_context(failed)?;
    std::io::Write::write_all(&mut file, bytes).with_context(failed)?;
    file.persist(path).with_context(failed)?;
    Ok(())
}

/// Fails early where a file could not be written at the end of long work.
pub(super) fn check_writable<'p>(paths: impl IntoIterator<Item = &'p PathBuf>) -> anyhow::Result<()> {
    for path in paths {
        if path.is_dir() {
            return Err(Invalid(format!("{} is a folder; name a file", path.display())).into());
        }
        let folder = folder_of(path);
        if !folder.is_dir() {
            let fault = format!("{} cannot be written: {} is no folder", path.display(), folder.display());
            return Err(Invalid(fault).into());
        }
        tempfile::NamedTempFile::new_in(folder).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(())
}

pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A number strictly between 0 and 1.
pub(super) fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value < 1.0 => Ok(value),
        _ => Err("is not a number strictly between 0 and 1".to_owned()),
    }
}
