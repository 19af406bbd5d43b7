//! Ed25519 keys (RFC 8032) in the forms that other tools write: SPKI and PKCS#8, PEM or base64.

use std::cmp::Ordering;
use std::fmt;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, KeypairBytes};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use fitment_catalog::Digest;

use crate::encoding;
use crate::error::{TrustError, shorten};

/// A public key that can make a difference: not of low order, no torsion, encoded in the one canonical way. So two
/// unequal public keys are two keys. Ordered by their bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// A key from its 32 bytes.
    ///
    /// # Errors
    /// [`TrustError::Key`] when they are no point of the curve, or one for which a signature proves nothing.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, TrustError> {
        let wrong =
            |why: &str| TrustError::Key(format!("public key `{}` {why}; make a new key pair", encoding::encode(bytes)));
        let key = VerifyingKey::from_bytes(bytes).map_err(|error| wrong(&format!("is of no use ({error})")))?;
        if key.is_weak() {
            return Err(wrong("is of low order: anybody can sign for it"));
        }
        let point = key.to_edwards();
        if point.compress().as_bytes() != bytes || !point.is_torsion_free() {
            return Err(wrong("is not in canonical form"));
        }
        Ok(Self(key))
    }

    /// Reads SPKI in PEM (`-----BEGIN PUBLIC KEY-----`), or base64 of the SPKI's DER or of the 32 bytes.
    ///
    /// # Errors
    /// [`TrustError::Key`].
    pub fn parse(text: &str) -> Result<Self, TrustError> {
        let text = text.trim();
        let wrong = |why: String| {
            TrustError::Key(format!(
                "`{}` is no Ed25519 public key ({why}); give PEM, or base64 of 32 bytes",
                shorten(text)
            ))
        };
        let key = if text.starts_with("-----") {
            VerifyingKey::from_public_key_pem(text).map_err(|error| wrong(error.to_string()))?
        } else {
            let bytes = encoding::decode(text).map_err(wrong)?;
            match <[u8; 32]>::try_from(bytes.as_slice()) {
                Ok(bytes) => return Self::from_bytes(&bytes),
                Err(_) => VerifyingKey::from_public_key_der(&bytes).map_err(|error| wrong(error.to_string()))?,
            }
        };
        Self::from_bytes(key.as_bytes())
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The key's id as signers write it into envelopes: sha256 of the SPKI's DER, in hexadecimal.
    pub fn id(&self) -> String {
        let document = self.0.to_public_key_der().expect("an Ed25519 key has a DER form");
        Digest::of(document.as_bytes()).to_hex()
    }

    /// SPKI in PEM.
    pub fn to_pem(&self) -> String {
        self.0.to_public_key_pem(LineEnding::LF).expect("an Ed25519 key has a PEM form")
    }

    /// Base64 of the 32 bytes.
    pub fn to_base64(&self) -> String {
        encoding::encode(self.as_bytes())
    }

    /// Whether the signature is by this key over the message, by the strict rules: no low-order points, one encoding.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature).is_ok_and(|signature| self.0.verify_strict(message, &signature).is_ok())
    }
}

impl Ord for PublicKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl PartialOrd for PublicKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.to_base64())
    }
}

/// A private key. Its memory is cleared when it is dropped, and it is never shown.
pub struct PrivateKey(SigningKey);

impl PrivateKey {
    /// The key that belongs to 32 bytes, which must come from a cryptographic source of randomness.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Reads PKCS#8 in PEM (`-----BEGIN PRIVATE KEY-----`), not encrypted.
    ///
    /// # Errors
    /// [`TrustError::Key`]; the message holds nothing of the key.
    pub fn from_pem(text: &str) -> Result<Self, TrustError> {
        SigningKey::from_pkcs8_pem(text.trim()).map(Self).map_err(|error| {
            TrustError::Key(format!(
                "no Ed25519 private key in PKCS#8 PEM ({error}); make one with `fitment certify keygen` or `openssl \
                 genpkey -algorithm ed25519`"
            ))
        })
    }

    /// PKCS#8 in PEM, not encrypted. Whoever reads it can sign: write it where only its owner can read.
    pub fn to_pem(&self) -> impl std::ops::Deref<Target = String> + use<> {
        // Without the public key: the first version of PKCS#8 is what every tool reads.
        KeypairBytes { secret_key: self.0.to_bytes(), public_key: None }
            .to_pkcs8_pem(LineEnding::LF)
            .expect("an Ed25519 key has a PEM form")
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey(of {:?})", self.public())
    }
}
