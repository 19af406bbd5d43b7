//! Base64 as DSSE allows it: the standard or the URL-safe alphabet, with or without padding, never both alphabets in one
//! text.

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, general_purpose};

/// Padding may be there or not; bits after the last byte must be zero, so that few texts mean the same bytes.
const LENIENT_PADDING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const EITHER_PADDING: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT_PADDING);
const URL_SAFE_EITHER_PADDING: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT_PADDING);

/// The bytes, or what is wrong with the text.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>, String> {
    let standard = text.contains(['+', '/']);
    let url_safe = text.contains(['-', '_']);
    if standard && url_safe {
        return Err("mixes the standard and the URL-safe base64 alphabet; use one".to_owned());
    }
    let engine = if url_safe { &URL_SAFE_EITHER_PADDING } else { &EITHER_PADDING };
    engine.decode(text).map_err(|error| format!("is not base64 ({error}); encode the bytes anew"))
}

/// The standard alphabet with padding, which every reader knows.
pub(crate) fn encode(bytes: &[u8]) -> String {
    general_purpose::STANDARD.encode(bytes)
}
