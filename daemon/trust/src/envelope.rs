//! DSSE 1.0.2: signed bytes with a type, and the signatures over both.
//!
//! What is easily got wrong, and how it is held here. Signatures are over [`pae`], never over the payload alone or its
//! base64. `keyid` is not signed: it may order the tries and decides nothing. A key counts once, however many signatures
//! it gave. Whoever reads the payload gets the bytes that were verified, not a second decoding.

use std::collections::BTreeSet;

use fitment_catalog::Digest;
use serde_json::{Map, Value, json};

use crate::encoding;
use crate::error::shorten;
use crate::key::{PrivateKey, PublicKey};
use crate::place::Place;
use crate::statement::Statement;
use crate::{TrustError, json};

/// The payload type of in-toto statements, the only one that is read.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// Largest envelope that is read, in bytes.
pub const MAX_ENVELOPE_BYTES: usize = 1024 * 1024;

/// Most signatures in an envelope.
pub const MAX_SIGNATURES: usize = 64;

const WHAT: &str = "envelope";

/// A payload and signatures that claim to be over it. Reading one verifies nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    payload: Vec<u8>,
    signatures: Vec<Signature>,
}

/// What somebody put forward as a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// A hint at the key, not signed; empty when absent.
    pub keyid: String,
    /// The signature's bytes: 64 of them for Ed25519. Others are kept and verify by no key.
    pub bytes: Vec<u8>,
}

/// The bytes that are signed: pre-authentication encoding of a payload and its type.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

impl Envelope {
    /// Reads an envelope in its JSON form. Fields that DSSE does not know are ignored.
    ///
    /// # Errors
    /// [`TrustError::TooLarge`], [`TrustError::Json`], [`TrustError::Invalid`] or [`TrustError::PayloadType`].
    pub fn parse(bytes: &[u8]) -> Result<Self, TrustError> {
        if bytes.len() > MAX_ENVELOPE_BYTES {
            return Err(TrustError::TooLarge {
                what: WHAT,
                bytes: bytes.len(),
                limit: MAX_ENVELOPE_BYTES,
                way_out: "name large evidence by its digest",
            });
        }
        let value = json::read(WHAT, bytes)?;
        let envelope = Place::root(WHAT, &value);
        let payload_type = envelope.required("payloadType")?.text()?;
        if payload_type != PAYLOAD_TYPE {
            return Err(TrustError::PayloadType { found: shorten(payload_type) });
        }
        let base64 = |place: &Place<'_>| encoding::decode(place.text()?).map_err(|why| place.error(why));
        let payload = base64(&envelope.required("payload")?)?;
        let signature = |place: &Place<'_>| -> Result<Signature, TrustError> {
            let keyid = place.optional("keyid")?.map(|keyid| keyid.text()).transpose()?.unwrap_or_default();
            Ok(Signature { keyid: keyid.to_owned(), bytes: base64(&place.required("sig")?)? })
        };
        let signatures = envelope.required("signatures")?.items(1..=MAX_SIGNATURES)?;
        Ok(Self { payload, signatures: signatures.iter().map(signature).collect::<Result<_, _>>()? })
    }

    /// Puts a payload under an envelope and signs it. The payload must be a statement that this crate reads.
    ///
    /// # Errors
    /// As [`Statement::parse`].
    pub fn sign(payload: Vec<u8>, key: &PrivateKey) -> Result<Self, TrustError> {
        Statement::parse(&payload)?;
        let mut envelope = Self { payload, signatures: Vec::new() };
        envelope.add_signature(key)?;
        Ok(envelope)
    }

    /// Signs the same payload with one more key. A signature by the same key takes the place of its earlier one.
    ///
    /// # Errors
    /// [`TrustError::Invalid`] when there is no room for more.
    pub fn add_signature(&mut self, key: &PrivateKey) -> Result<(), TrustError> {
        let signature =
            Signature { keyid: key.public().id(), bytes: key.sign(&pae(PAYLOAD_TYPE, &self.payload)).to_vec() };
        self.signatures.retain(|other| other.bytes != signature.bytes);
        if self.signatures.len() >= MAX_SIGNATURES {
            return Err(TrustError::Invalid {
                what: WHAT,
                path: "signatures".to_owned(),
                description: format!("holds {MAX_SIGNATURES} already; write another envelope"),
            });
        }
        self.signatures.push(signature);
        Ok(())
    }

    /// Which of the keys signed the payload. A key counts once.
    pub fn signers<'k>(&self, keys: impl IntoIterator<Item = &'k PublicKey>) -> BTreeSet<PublicKey> {
        let keys: BTreeSet<&PublicKey> = keys.into_iter().collect();
        let ids: Vec<(String, &PublicKey)> = keys.into_iter().map(|key| (key.id(), key)).collect();
        let message = pae(PAYLOAD_TYPE, &self.payload);
        let mut tried = BTreeSet::new();
        let mut signers = BTreeSet::new();
        for signature in &self.signatures {
            // Copies of one signature are one try.
            if !tried.insert(signature.bytes.as_slice()) {
                continue;
            }
            let hinted = ids.iter().filter(|(id, _)| *id == signature.keyid);
            let others = ids.iter().filter(|(id, _)| *id != signature.keyid);
            if let Some((_, key)) = hinted.chain(others).find(|(_, key)| key.verifies(&message, &signature.bytes)) {
                signers.insert(**key);
            }
        }
        signers
    }

    /// The signed bytes.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// What is put forward as signatures, at least one.
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// The certificate's address: sha256 of the payload. Signatures, keyids and the choice of base64 do not change it.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.payload)
    }

    /// The JSON form, with standard base64.
    pub fn to_json(&self) -> Vec<u8> {
        let signature = |signature: &Signature| {
            let mut fields = Map::new();
            if !signature.keyid.is_empty() {
                fields.insert("keyid".to_owned(), signature.keyid.clone().into());
            }
            fields.insert("sig".to_owned(), encoding::encode(&signature.bytes).into());
            Value::Object(fields)
        };
        json::write(&json!({
            "payloadType": PAYLOAD_TYPE,
            "payload": encoding::encode(&self.payload),
            "signatures": self.signatures.iter().map(signature).collect::<Vec<_>>(),
        }))
    }
}
