//! Randomness: which words of a text no person would write.
//!
//! Shannon's entropy alone does not tell a long identifier from a key, since both use many characters. What tells them
//! apart is how often the kind of character changes: in words capitals and digits are rare, in random text every second
//! neighbour is of another kind.

/// Shortest random words: of hexadecimal digits, of small letters and digits, of capitals too.
const MIN_HEX: usize = 32;
const MIN_SMALL: usize = 24;
const MIN_MIXED: usize = 24;
/// Least entropies of the three, in bits a character.
const HEX_BITS: f64 = 3.0;
const SMALL_BITS: f64 = 3.6;
const MIXED_BITS: f64 = 3.9;
/// Least shares of neighbours of another kind. Random text has 0.4 (small letters and digits) and 0.6 (capitals too).
const SMALL_CHANGES: f64 = 0.25;
const MIXED_CHANGES: f64 = 0.4;

/// Starts of texts that are random and public: data by its media type, pictures in base64, public keys, digests.
const PUBLIC_STARTS: &[&str] = &[
    "data:image/",
    "data:font/",
    "data:audio/",
    "data:video/",
    "iVBORw0KGgo",
    "/9j/",
    "R0lGOD",
    "UklGR",
    "PHN2Zy",
    "AAABAA",
    "ssh-",
    "ecdsa-sha2-",
    "sk-ssh-",
    "sk-ecdsa-",
    "-----BEGIN CERTIFICATE",
    "-----BEGIN PUBLIC KEY",
    "-----BEGIN RSA PUBLIC KEY",
    "-----BEGIN PGP PUBLIC KEY",
    "-----BEGIN X509 CRL",
];
/// Starts of words that their issuers mean to be public.
const PUBLISHABLE_STARTS: &[&str] = &["pk_live_", "pk_test_"];
const DIGEST_STARTS: &[&str] = &["sha1", "sha224", "sha256", "sha384", "sha512", "md5", "blake2b", "blake3"];

/// The first word of a text that is too random.
pub(super) fn find(text: &str) -> Option<&str> {
    if PUBLIC_STARTS.iter().any(|start| text.trim_start().starts_with(start)) {
        return None;
    }
    let is_word = |c: char| c.is_ascii_alphanumeric() || "+/_=-".contains(c);
    let mut before = "";
    for word in text.split(|c| !is_word(c)) {
        let digest = DIGEST_STARTS.contains(&before) || DIGEST_STARTS.iter().any(|start| named_digest(word, start));
        if !word.is_empty() {
            before = word;
        }
        if digest || is_uuid(word) || PUBLISHABLE_STARTS.iter().any(|start| word.starts_with(start)) {
            continue;
        }
        // Base64 has slashes and so have paths: the whole is judged, and each part.
        let parts = word.split('/').filter(|part| part.len() < word.len());
        if let Some(random) = std::iter::once(word).chain(parts).find(|part| is_random(part)) {
            return Some(random);
        }
    }
    None
}

/// `sha256-…`, as in subresource integrity.
fn named_digest(word: &str, start: &str) -> bool {
    word.strip_prefix(start).is_some_and(|rest| rest.starts_with(['-', '=', '_']))
}

fn is_random(word: &str) -> bool {
    let word = word.trim_matches(['=', '-', '_', '/', '+']);
    let bytes = word.as_bytes();
    let has = |test: fn(&u8) -> bool| bytes.iter().any(test);
    let (small, capital, digit) = (has(u8::is_ascii_lowercase), has(u8::is_ascii_uppercase), has(u8::is_ascii_digit));
    let hex = bytes.iter().all(u8::is_ascii_hexdigit) && small != capital;
    if hex && digit {
        return bytes.len() >= MIN_HEX && entropy(bytes) >= HEX_BITS && !is_uuid(word);
    }
    if small && capital && digit {
        return bytes.len() >= MIN_MIXED && entropy(bytes) >= MIXED_BITS && changes(bytes) >= MIXED_CHANGES;
    }
    let plain = bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    plain
        && small
        && digit
        && bytes.len() >= MIN_SMALL
        && entropy(bytes) >= SMALL_BITS
        && changes(bytes) >= SMALL_CHANGES
}

/// Shannon's entropy of the characters, in bits a character.
fn entropy(bytes: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in bytes {
        counts[usize::from(*byte)] += 1;
    }
    let total = f64::from(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    let share = |count: &u32| f64::from(*count) / total;
    counts.iter().filter(|count| **count > 0).map(|count| -share(count) * share(count).log2()).sum()
}

/// The share of neighbours of different kinds: small letter, capital, digit, other.
fn changes(bytes: &[u8]) -> f64 {
    let kind = |b: u8| match b {
        b'a'..=b'z' => 0,
        b'A'..=b'Z' => 1,
        b'0'..=b'9' => 2,
        _ => 3,
    };
    let changed = bytes.windows(2).filter(|pair| kind(pair[0]) != kind(pair[1])).count();
    let pairs = bytes.len().saturating_sub(1).max(1);
    f64::from(u32::try_from(changed).unwrap_or(u32::MAX)) / f64::from(u32::try_from(pairs).unwrap_or(u32::MAX))
}

/// 8, 4, 4, 4 and 12 hexadecimal digits with hyphens between.
fn is_uuid(word: &str) -> bool {
    let lengths: Vec<usize> = word.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && word.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}
