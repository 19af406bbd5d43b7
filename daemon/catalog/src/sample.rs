//! The sample catalogue that ships inside the program.

use include_dir::{Dir, include_dir};

static SAMPLE: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/sample");

/// One manifest of the sample catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleFile {
    /// Path within the sample folder, such as `components/identity/sign-in-form.yaml`.
    pub path: &'static str,
    /// The YAML text.
    pub bytes: &'static [u8],
}

/// The manifests of the sample catalogue, by path.
pub fn sample() -> impl Iterator<Item = SampleFile> {
    let mut files = Vec::new();
    if let Some(components) = SAMPLE.get_dir("components") {
        collect(components, &mut files);
    }
    files.sort_by_key(|file| file.path);
    files.into_iter()
}

fn collect(folder: &Dir<'static>, files: &mut Vec<SampleFile>) {
    for file in folder.files() {
        if let Some(path) = file.path().to_str()
            && file.path().extension().is_some_and(|ending| ending == "yaml")
        {
            files.push(SampleFile { path, bytes: file.contents() });
        }
    }
    folder.dirs().for_each(|folder| collect(folder, files));
}

/// The labelled intents of the sample catalogue, in the CSV form that [`crate::Dataset::from_csv`] reads.
pub fn sample_intents() -> &'static str {
    SAMPLE.get_file("intents.csv").and_then(include_dir::File::contents_utf8).unwrap_or_default()
}

/// The calibration fitted on the sample's own `dev` split, as JSON text, once one has been fitted.
pub fn sample_calibration() -> Option<&'static str> {
    SAMPLE.get_file("calibration.json").and_then(include_dir::File::contents_utf8)
}
