//! API keys: `fitment_`, 12 characters that name the key, `_`, and 43 characters that are the secret.
//!
//! What is kept is the sha256 of the whole key. A slow hash protects words that people choose; here 256 bits come from a
//! generator, which nobody guesses at any speed.

use std::fmt::{self, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

/// What every key starts with, so that scanners of repositories know one.
pub(crate) const MARK: &str = "fitment_";
const ID: usize = 12;
const SECRET: usize = 43;
const PREFIX: usize = MARK.len() + ID;
/// Five bits a character, none of which is taken for another.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Random bytes that a key is made of.
pub const KEY_RANDOMNESS: usize = 40;

/// A key, just made. It is shown once and kept nowhere.
pub struct ApiKey(String);

impl ApiKey {
    /// A key of random bytes, which must come from the operating system.
    pub fn generate(random: &[u8; KEY_RANDOMNESS]) -> Self {
        let (secret, id) = random.split_at(32);
        let mut text = MARK.to_owned();
        let bits = id.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        for i in 0..ID {
            let index = usize::try_from(bits >> (5 * i) & 31).unwrap_or_default();
            text.push(char::from(ALPHABET[index]));
        }
        text.push('_');
        text.push_str(&URL_SAFE_NO_PAD.encode(secret));
        Self(text)
    }

    /// The key, to be handed to whoever shall have it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The part that is shown and looked up by.
    pub fn prefix(&self) -> &str {
        &self.0[..PREFIX]
    }

    /// What the document keeps instead of the key: 64 hexadecimal digits.
    pub fn sha256(&self) -> String {
        hex::encode(digest_of(&self.0))
    }

    /// The entry for `api_keys`, as YAML.
    pub fn entry(&self, principal: &str, created: Timestamp, expires: Option<Timestamp>) -> String {
        let (prefix, sha256) = (self.prefix(), self.sha256());
        let mut entry = format!(
            "- prefix: \"{prefix}\"\n  sha256: \"{sha256}\"\n  principal: \"{principal}\"\n  created: \"{created}\"\n"
        );
        if let Some(expires) = expires {
            // Writing to a String cannot fail.
            let _ = writeln!(entry, "  expires: \"{expires}\"");
        }
        entry
    }
}

/// Shows the prefix alone.
impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ApiKey").field(&self.prefix()).finish()
    }
}

/// The prefix of a text that has the form of a key.
pub(crate) fn prefix_of(key: &str) -> Option<&str> {
    let (prefix, secret) = key.split_at_checked(PREFIX)?;
    let secret = secret.strip_prefix('_')?;
    let is_secret = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (is_prefix(prefix) && secret.len() == SECRET && secret.bytes().all(is_secret)).then_some(prefix)
}

pub(crate) fn is_prefix(text: &str) -> bool {
    text.strip_prefix(MARK)
        .is_some_and(|id| id.len() == ID && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
}

pub(crate) fn digest_of(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_form_and_shows_its_prefix_alone() {
        let mut random = [0; KEY_RANDOMNESS];
        for (i, byte) in random.iter_mut().enumerate() {
            *byte = u8::try_from(i * 6).expect("small");
        }
        let key = ApiKey::generate(&random);
        assert_eq!(key.reveal().len(), PREFIX + 1 + SECRET);
        assert_eq!(prefix_of(key.reveal()), Some(key.prefix()));
        assert!(!format!("{key:?}").contains(&key.reveal()[PREFIX..]));
        random[39] ^= 1;
        let other = ApiKey::generate(&random);
        assert_ne!(other.prefix(), key.prefix(), "the last byte of the id counts");
        assert_eq!(other.reveal()[PREFIX..], key.reveal()[PREFIX..]);
        for bad in ["", "fitment_", &key.reveal()[1..], &format!("{}x", key.reveal()), "fitment_aaaaaaaaaaaä_"] {
            assert_eq!(prefix_of(bad), None, "{bad}");
        }
    }
}
