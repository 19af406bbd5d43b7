//! Bundles: one signed file that carries a catalogue across an air gap.
//!
//! `manifest` says what a bundle is made of, `archive` writes and reads the file, `export` gives what the catalogue holds,
//! `content` checks what entries say, `plan` compares it with what is here, `import` takes it in. The format is written down
//! in docs/bundles.md.

mod archive;
mod content;
mod export;
mod import;
mod manifest;
mod plan;

pub use self::archive::{BundleFile, BundleTaker, interrupted_export, write_bundle};
pub use self::content::CarriedRevocation;
pub(crate) use self::content::recorded_revocation;
pub use self::content::{BundleAssembly, BundleContent, Reading};
pub(crate) use self::export::pretty;
pub use self::export::{ExportHead, Exported};
pub use self::import::{ImportOptions, ImportedBundle};
pub use self::manifest::{
    BundleEntry, BundleKind, BundleManifest, BundleModel, MANIFEST_PATH, MAX_BUNDLE_ENTRIES, MAX_CARRIED_BYTES,
    MAX_MANIFEST_JSON_BYTES, SIGNATURE_PATH,
};
pub(crate) use self::plan::Plan;
pub use self::plan::{BundleChange, BundleCounts, Fate};

use fitment_catalog::Digest;
use fitment_trust::{Envelope, PublicKey, TrustError, TrustRoot};

use crate::error::EngineError;

/// Who signed a bundle, of those who may: ids of the root's keys, and of the keys that the caller names.
///
/// Errors: [`EngineError::BundleRefused`] for a bundle that none of them signed, [`EngineError::Trust`].
pub fn bundle_signers(
    manifest: &Digest,
    signature: &[u8],
    root: Option<&TrustRoot>,
    keys: &[PublicKey],
    now: jiff::Timestamp,
) -> Result<Vec<String>, EngineError> {
    let refused = |detail: &str| EngineError::BundleRefused { detail: detail.to_owned() };
    if signature.is_empty() {
        return Err(refused("it is not signed; have it signed (`fitment bundle export --key`), or say --unsigned"));
    }
    let envelope = Envelope::parse(signature)?;
    // One signature and one way to write it: a byte that nothing covers could carry something.
    let [only] = envelope.signatures() else {
        return Err(refused("its signature file does not hold one signature"));
    };
    if envelope.to_json() != signature {
        return Err(refused("its signature file is not written as `fitment bundle export` writes it"));
    }
    let hinted = |key: &PublicKey| key.id() == only.keyid;
    let named = envelope.signers(keys.iter().filter(|key| hinted(key)));
    let statement = fitment_trust::Statement::parse(envelope.payload())?;
    let is_about = statement.predicate().type_uri() == fitment_trust::BUNDLE_TYPE && statement.is_about(manifest);
    if !named.is_empty() && is_about {
        return Ok(named.iter().map(|key| format!("key {}", key.id())).collect());
    }
    let Some(root) = root else {
        return Err(refused(
            "no trust root is installed here and no key named with --key signed it; name the signer's public key, or say --unsigned",
        ));
    };
    let certificate = root.verify(signature).map_err(|error| match error {
        TrustError::UnknownSigner { .. } => refused(
            "no key of the installed trust root signed it, nor one named with --key; the file may have been changed, or come from somebody else",
        ),
        other => other.into(),
    })?;
    if !certificate.signers().iter().any(hinted) {
        return Err(refused("its signature names another key than the one that made it"));
    }
    Ok(root.admit_bundle(&certificate, manifest, now)?)
}

#[cfg(test)]
mod tests;
