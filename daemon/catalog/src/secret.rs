//! Texts that look like secrets, found by fixed forms and by how random they are.
//!
//! A configuration travels through logs, reviews and reports: a secret in it is a secret lost. The forms are those that
//! issuers publish for their tokens. A text without a known form is judged by its randomness, where words, identifiers,
//! paths, digests and keys that are public anyway must stay clear of the measure. What is found is never shown in full.

mod random;

use std::sync::LazyLock;

use regex::Regex;
use unicode_normalization::UnicodeNormalization;

use crate::token::tokens;

/// How a reference to a secret is written, for messages.
pub(crate) const REFERENCE_FORM: &str = "secret://STORE/NAME (letters, digits and ._~/#- only)";

/// Longest reference to a secret, in bytes.
const MAX_REFERENCE: usize = 512;
/// Most characters of a secret that are shown.
const SHOWN: usize = 4;

tokens! {
    /// What found a secret.
    Detector, "secret detector" {
        /// The header of a private key in PEM, `OpenPGP` or `PuTTY` form.
        PrivateKey = "private-key",
        /// An access key id of AWS.
        AwsAccessKey = "aws-access-key",
        /// An API key or an OAuth secret or token of Google Cloud.
        GoogleKey = "google-key",
        /// A token of GitHub.
        GitHubToken = "github-token",
        /// A token of GitLab.
        GitLabToken = "gitlab-token",
        /// A token or an incoming webhook of Slack.
        SlackToken = "slack-token",
        /// A secret or restricted key, or a webhook secret, of Stripe.
        StripeKey = "stripe-key",
        /// A key of a language model's API.
        ModelApiKey = "model-api-key",
        /// A token of a package registry or a model hub.
        RegistryToken = "registry-token",
        /// A key of a mail or telephone service.
        MessagingKey = "messaging-key",
        /// A token of a cloud platform, of Vault, or a storage account's key.
        CloudToken = "cloud-token",
        /// A JSON Web Token.
        JsonWebToken = "json-web-token",
        /// A URL with a password before the host.
        UrlPassword = "url-password",
        /// A URL with a token in its query.
        UrlQuerySecret = "url-query-secret",
        /// A connection string with a password.
        ConnectionPassword = "connection-password",
        /// The value of an Authorization header.
        AuthorizationHeader = "authorization-header",
        /// A text in a field that is named like a secret.
        NamedSecret = "named-secret",
        /// A text too random for words.
        HighEntropy = "high-entropy",
    }
}

/// Forms of secrets; where there is a group, it is the secret. Classes and boundaries are ASCII.
const FORMS: &[(Detector, &str)] = &[
    (Detector::PrivateKey, r"-----BEGIN [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----|PuTTY-User-Key-File-[0-9]"),
    (Detector::AwsAccessKey, r"(?-u:\b)(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}(?-u:\b)"),
    (
        Detector::GoogleKey,
        r"(?-u:\b)(?:AIza[0-9A-Za-z_-]{35}|GOCSPX-[0-9A-Za-z_-]{28}|ya29\.[0-9A-Za-z_-]{24,})(?:[^0-9A-Za-z_-]|$)",
    ),
    (
        Detector::GitHubToken,
        r"(?-u:\b)(?:gh[oprsu]_[0-9A-Za-z]{36,251}|github_pat_[0-9A-Za-z]{22}_[0-9A-Za-z]{59})(?-u:\b)",
    ),
    (Detector::GitLabToken, r"(?-u:\b)gl(?:pat|ptt|rt|dt|cbt|ft|soat|oas)-[0-9A-Za-z_-]{20,}"),
    (
        Detector::SlackToken,
        r"(?-u:\b)(?:xox[abeoprs](?:\.xox[bp])?-[0-9A-Za-z-]{10,}|xapp-[0-9]-[0-9A-Z]+-[0-9]+-[0-9a-f]{32,})|hooks\.slack\.com/(?:services|workflows|triggers)/[0-9A-Za-z_/-]{20,}",
    ),
    (Detector::StripeKey, r"(?-u:\b)(?:(?:sk|rk)_(?:live|test|prod)_[0-9A-Za-z]{16,247}|whsec_[0-9A-Za-z+/]{32,})"),
    (
        Detector::ModelApiKey,
        r"(?-u:\b)(?:sk-ant-[a-z0-9]{3,12}-[0-9A-Za-z_-]{80,}|sk-(?:proj|svcacct|admin)-[0-9A-Za-z_-]{40,}|sk-[0-9A-Za-z]{48}(?-u:\b))",
    ),
    (
        Detector::RegistryToken,
        r"(?-u:\b)(?:npm_[0-9A-Za-z]{36}(?-u:\b)|pypi-AgEIcHlwaS5vcmc[0-9A-Za-z_-]{50,}|hf_[A-Za-z]{34}(?-u:\b)|dckr_pat_[0-9A-Za-z_-]{27}|cio[0-9A-Za-z]{32}(?-u:\b))",
    ),
    (
        Detector::MessagingKey,
        r"(?-u:\b)(?:SG\.[0-9A-Za-z_-]{22}\.[0-9A-Za-z_-]{43}|SK[0-9a-f]{32}(?-u:\b)|key-[0-9a-f]{32}(?-u:\b))",
    ),
    (
        Detector::CloudToken,
        r"AccountKey=[0-9A-Za-z+/]{86}==|(?-u:\b)(?:hv[sbr]\.[0-9A-Za-z_-]{24,}|do[opr]_v1_[0-9a-f]{64}(?-u:\b)|dapi[0-9a-f]{32}(?-u:\b))",
    ),
    (
        Detector::JsonWebToken,
        r"(?-u:\b)(?:eyJ[0-9A-Za-z_-]{8,}\.eyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]{8,}|eyJ[0-9A-Za-z_-]{8,}(?:\.[0-9A-Za-z_-]+){4})",
    ),
    (Detector::UrlPassword, r"(?i-u:[a-z][a-z0-9+.-]{0,31})://[^/?#@: \t\r\n]{0,128}:([^/?#@ \t\r\n]{1,256})@"),
    (
        Detector::UrlQuerySecret,
        r"://[^ \t\r\n]*[?&;](?i-u:access_token|api_?key|auth_?token|client_secret|password|passwd|pwd|secret|sig|signature|token)=([^&;# \t\r\n]{8,})",
    ),
    (
        Detector::ConnectionPassword,
        r"(?i-u:(?:^|;)[ ]*(?:server|host|data source|addr|address|endpoint|user id|uid|username|user|database|initial catalog)[ ]*=).*(?i-u:;[ ]*(?:password|pwd)[ ]*=[ ]*)([^; \t\r\n]{1,256})",
    ),
    (
        Detector::AuthorizationHeader,
        r"^(?i-u:(?:authorization:[ ]*)?(?:basic|bearer|token))[ ]+([0-9A-Za-z+/_.~-]{16,}={0,2})$",
    ),
];

static COMPILED: LazyLock<Vec<(Detector, Regex)>> = LazyLock::new(|| {
    FORMS
        .iter()
        .map(|(detector, form)| (*detector, Regex::new(form).expect("the forms of the table are valid patterns")))
        .collect()
});

/// A secret that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detection {
    /// What found it.
    pub detector: Detector,
    /// Its first characters, at most four, and `…`.
    pub shown: String,
}

/// Looks for a secret in a text. `field` is the name of the property that the text stands under, which decides whether
/// a random text may be a digest or another public thing, and whether any text is a secret; empty when there is none.
///
/// The text of a reference `secret://…` is looked through for known forms only. A placeholder such as `${DB_PASSWORD}` is
/// no secret. Characters that cannot be seen and other forms of the same characters (full width, say) hide nothing. The
/// time is linear in the length of the text.
pub fn detect(field: &str, text: &str) -> Option<Detection> {
    let (plain_field, plain_text) = (folded(field), folded(text));
    look(plain_field.as_deref().unwrap_or(field), plain_text.as_deref().unwrap_or(text))
}

/// A text in compatibility form (NFKC) without characters that cannot be seen; `None` when that changes nothing.
fn folded(text: &str) -> Option<String> {
    let unseen = |c: char| {
        matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
    };
    if text.is_ascii() {
        return None;
    }
    let plain: String = text.nfkc().filter(|c| !unseen(*c)).collect();
    (plain != text).then_some(plain)
}

fn look(field: &str, text: &str) -> Option<Detection> {
    for (detector, form) in COMPILED.iter() {
        for found in form.captures_iter(text) {
            let Some(secret) = found.get(1).or_else(|| found.get(0)) else { continue };
            if found.get(1).is_none() || !is_placeholder(secret.as_str()) {
                return Some(detection(*detector, secret.as_str()));
            }
        }
    }
    if is_reference(text) || is_placeholder(text) {
        return None;
    }
    if names_secret(field) && could_be_password(text) {
        return Some(detection(Detector::NamedSecret, text));
    }
    if names_public(field) {
        return None;
    }
    random::find(text).map(|secret| detection(Detector::HighEntropy, secret))
}

/// Whether a text is a reference to a secret: `secret://`, then 1 to 503 letters, digits and `._~/#-`, and no known form
/// of a secret among them.
pub(crate) fn is_reference(text: &str) -> bool {
    text.len() <= MAX_REFERENCE
        && text.strip_prefix("secret://").is_some_and(|rest| {
            !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~/#-".contains(&b))
        })
}

fn detection(detector: Detector, secret: &str) -> Detection {
    // A short secret is not given away by half.
    let most = SHOWN.min(secret.chars().count() / 4);
    let start: String = secret.chars().take(most).map(|c| if c.is_control() { ' ' } else { c }).collect();
    Detection { detector, shown: format!("{start}…") }
}

/// A text that something else is to be put in place of, or that was made unreadable.
fn is_placeholder(text: &str) -> bool {
    let text = text.trim();
    let framed = [("${", "}"), ("{{", "}}"), ("{", "}"), ("<", ">"), ("%(", ")s"), ("$(", ")"), ("[", "]"), ("%", "%")];
    let mut characters = text.chars();
    let first = characters.next();
    let short = text.len() <= 80 && !text.contains('"');
    text.is_empty()
        || (short && framed.iter().any(|(start, end)| text.starts_with(start) && text.ends_with(end)))
        || (text.len() > 1
            && text.starts_with('$')
            && text[1..].bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'))
        || (first.is_some_and(|c| "*xX.•-_".contains(c)) && characters.all(|c| Some(c) == first))
}

/// Words of a field's name, lower case: split at everything but letters and digits, and before capitals.
fn words(field: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut after_small = false;
    for c in field.chars() {
        let starts = c.is_uppercase() && after_small;
        after_small = c.is_lowercase() || c.is_ascii_digit();
        if !c.is_alphanumeric() || starts {
            words.push(String::new());
        }
        if c.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Whether a field's name ends in a word for a secret itself, not for something about it such as `password_policy`.
fn names_secret(field: &str) -> bool {
    let words = words(field);
    let last_two = words.len().checked_sub(2).and_then(|start| words.get(start..));
    let ends = |pair: [&str; 2]| last_two.is_some_and(|two| two == pair);
    let last = words.last().map(String::as_str);
    matches!(last, Some("password" | "passwd" | "passphrase" | "pwd" | "apikey"))
        || ends(["client", "secret"])
        || ends(["api", "key"])
        || ends(["api", "secret"])
        || ends(["access", "token"])
        || ends(["auth", "token"])
        || ends(["private", "key"])
        || ends(["secret", "key"])
}

/// Whether a text in a field for a secret could be one: one word, not a path or an address where the secret is found.
fn could_be_password(text: &str) -> bool {
    let length = text.chars().count();
    (4..=256).contains(&length)
        && !text.contains(char::is_whitespace)
        && !text.starts_with('/')
        && !text.contains("://")
}

/// Whether the last words of a field's name say that what it holds may look random and is public all the same.
fn names_public(field: &str) -> bool {
    const PUBLIC: &[&str] = &[
        "arn",
        "cert",
        "certificate",
        "certificates",
        "checksum",
        "commit",
        "digest",
        "digests",
        "etag",
        "fingerprint",
        "fingerprints",
        "guid",
        "hash",
        "hashes",
        "id",
        "ids",
        "image",
        "integrity",
        "jwk",
        "jwks",
        "md5",
        "pem",
        "public",
        "pubkey",
        "ref",
        "rev",
        "revision",
        "sha",
        "sha1",
        "sha256",
        "sha384",
        "sha512",
        "tag",
        "thumbprint",
        "uuid",
    ];
    let words = words(field);
    let ends_secret = words.last().is_some_and(|last| matches!(last.as_str(), "key" | "password" | "secret" | "token"))
        && !words.iter().any(|word| word == "public");
    let last_two = words.iter().rev().take(2);
    !ends_secret && last_two.into_iter().any(|word| PUBLIC.contains(&word.as_str()) || word == "public")
}
