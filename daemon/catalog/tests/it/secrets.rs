//! Detectors of secrets: what each finds, and what must be left alone.

use fitment_catalog::{Detector, detect_secret};
use proptest::prelude::*;

/// Field, text, detector. A dot in the middle (·) is taken out: written in full, the texts would alarm scanners of source
/// code.
const SECRETS: &[(&str, &str, Detector)] = &[
    ("note", "-----BEGIN ·RSA PRIVATE KEY-----\nMIIEow", Detector::PrivateKey),
    ("note", "-----BEGIN ·OPENSSH PRIVATE KEY-----", Detector::PrivateKey),
    ("note", "text before -----BEGIN ·PRIVATE KEY-----", Detector::PrivateKey),
    ("note", "-----BEGIN ·PGP PRIVATE KEY BLOCK-----", Detector::PrivateKey),
    ("note", "PuTTY-User-Key-File-·3: ssh-ed25519", Detector::PrivateKey),
    ("region", "AKIA·2OGYBAH6QLVXPNDR", Detector::AwsAccessKey),
    ("region", "key=ASIA·2OGYBAH6QLVXPNDR;", Detector::AwsAccessKey),
    ("maps", "AIza·SyD4f5G6h7J8k9L0m1N2b3V4c5X6z7A8s9d", Detector::GoogleKey),
    ("login", "GOCSPX-·a1B2c3D4e5F6g7H8i9J0k1L2m3N4", Detector::GoogleKey),
    ("login", "ya29.·a0AfH6SMBx1y2z3w4v5u6t7s8r9q0p", Detector::GoogleKey),
    ("ci", "ghp_·016C7f8a9bCdEfGhIjKlMnOpQrStUvWxYz01", Detector::GitHubToken),
    ("ci", "token ghs_·016C7f8a9bCdEfGhIjKlMnOpQrStUvWxYz01 here", Detector::GitHubToken),
    (
        "ci",
        "github_pat_·11ABCDEFG0abcdefghijkl_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvw",
        Detector::GitHubToken,
    ),
    ("ci", "glpat-·Abc123Def456Ghi789Jk", Detector::GitLabToken),
    ("chat", "xoxb-·123456789012-1234567890123-AbCdEfGhIjKlMnOpQrStUvWx", Detector::SlackToken),
    ("chat", "https://hooks.slack.com/·services/T01ABCDEF/B01ABCDEF/AbCdEfGhIjKlMnOpQrStUvWx", Detector::SlackToken),
    ("pay", "sk_·live_51H8abcDEFghiJKLmno", Detector::StripeKey),
    ("pay", "rk_·test_51H8abcDEFghiJKLmno", Detector::StripeKey),
    ("pay", "whsec_·0123456789abcdefABCDEF0123456789", Detector::StripeKey),
    (
        "model",
        "sk-ant-·api03-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdefghijklmnopqrstuvwxyz-AA",
        Detector::ModelApiKey,
    ),
    ("model", "sk-proj-·0123456789abcdefghijklmnopqrstuvwxyzABCDEFGH", Detector::ModelApiKey),
    ("model", "sk-·0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKL", Detector::ModelApiKey),
    ("hub", "npm_·0123456789abcdefghijklmnopqrstuvwxyz", Detector::RegistryToken),
    ("hub", "hf_·AbCdEfGhIjKlMnOpQrStUvWxYzAbCdEfGh", Detector::RegistryToken),
    ("hub", "pypi-AgEIcHlwaS5vcmc·0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOP", Detector::RegistryToken),
    ("mail", "SG.·0123456789abcdefghijkl.0123456789abcdefghijklmnopqrstuvwxyzABCDEFG", Detector::MessagingKey),
    ("phone", "SK·0123456789abcdef0123456789abcdef", Detector::MessagingKey),
    (
        "storage",
        "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=·0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+/0123456789abcdefghijkl==",
        Detector::CloudToken,
    ),
    ("vault", "hvs.·CAESIAbCdEfGhIjKlMnOpQrStUvWx", Detector::CloudToken),
    ("cloud", "dop_v1_·0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", Detector::CloudToken),
    (
        "session",
        "eyJhbGciOiJIUzI1NiJ9.·eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
        Detector::JsonWebToken,
    ),
    ("url", "postgres://app:s3cret@db.internal:5432/app", Detector::UrlPassword),
    ("url", "redis://:hunter2@cache:6379", Detector::UrlPassword),
    ("url", "see amqp://guest:guest@mq/", Detector::UrlPassword),
    ("callback", "https://api.example.com/v1?user=a&access_token=0a1b2c3d4e5f", Detector::UrlQuerySecret),
    ("callback", "https://a.blob.example.net/c?sv=2022&SIG=abcdefgh12345678", Detector::UrlQuerySecret),
    ("connection", "Server=db;Database=app;User Id=sa;Password=Tr0ub4dor;", Detector::ConnectionPassword),
    ("connection", "host=db; pwd=x1y2", Detector::ConnectionPassword),
    ("header", "Bearer 0123456789abcdefghij", Detector::AuthorizationHeader),
    ("header", "Authorization: Basic YWRtaW46aHVudGVyMg==", Detector::AuthorizationHeader),
    ("password", "correct-horse", Detector::NamedSecret),
    ("smtpPassword", "hunter2", Detector::NamedSecret),
    ("client_secret", "abcdef", Detector::NamedSecret),
    ("API_KEY", "demo1234", Detector::NamedSecret),
    ("seed", "wJalrXUtnFEMIK7MDENGbPxRfiCYzz8Q5tLmA0sK", Detector::HighEntropy),
    ("seed", "prefix wJalrXUtnFEMI/K7MDENG/bPxRfiCYzz8Q5tLm suffix", Detector::HighEntropy),
    ("seed", "0f9c1b7a3d5e8246af13c0d2b4e69875", Detector::HighEntropy),
    ("seed", "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b", Detector::HighEntropy),
    ("seed", "k3j9x0q7v2m5z8w1r4t6y0p3", Detector::HighEntropy),
    ("path", "/internal/hooks/T9x2Lq7Vw4Zk8Rn3Bp6Yd1Mc", Detector::HighEntropy),
    // Hidden by characters that cannot be seen, and by other forms of the same ones.
    ("ci", "ghp_·\u{200b}016C7f8a9bCdEfGhIjKlMnOpQr\u{2060}StUvWxYz01", Detector::GitHubToken),
    ("ci", "\u{feff}ｇｈｐ_·016C7f8a9bCdEfGhIjKlMnOpQrStUvWxYz01", Detector::GitHubToken),
    ("pass\u{ad}word", "correct-horse", Detector::NamedSecret),
    ("ｐａｓｓｗｏｒｄ", "correct-horse", Detector::NamedSecret),
    // A reference that holds the secret itself.
    ("client_secret", "secret://ghp_·016C7f8a9bCdEfGhIjKlMnOpQrStUvWxYz01", Detector::GitHubToken),
];

/// Field and text.
const HARMLESS: &[(&str, &str)] = &[
    ("text", ""),
    ("text", "a"),
    ("text", "A plain sentence of several words, with 3 numbers and 2 commas."),
    ("title", "InternationalizationConfigurationProviderFactoryBean2"),
    ("class", "com.example.payments.OAuth2AuthorizationCodeGrantHandler"),
    ("name", "customer-portal-production-eu-central-1-blue"),
    ("name", "a_very_long_snake_case_identifier_with_many_words_in_it_2024"),
    ("constant", "MAX_NUMBER_OF_CONCURRENT_CONNECTIONS_PER_HOST_V2"),
    ("path", "/var/lib/app/uploads/2024/02/29/report-final-v3.pdf"),
    ("path", "payments/card-checkout@4.2.1"),
    ("url", "https://id.example.com/realms/customers/protocol/openid-connect/auth"),
    ("url", "https://user@host.example/a"),
    ("url", "ssh://git@github.com:22/acme/app.git"),
    ("url", "https://example.com:8443/a@b"),
    ("url", "postgres://app:${DB_PASSWORD}@db/app"),
    ("url", "postgres://app:{{ password }}@db/app"),
    ("url", "postgres://app:<password>@db/app"),
    ("url", "postgres://app:****@db/app"),
    ("url", "https://example.com/login?token={token}"),
    ("url", "https://example.com/search?q=token&page=2"),
    ("mail", "someone.with.a.long.name+tag@subdomain.example.com"),
    ("id", "550e8400-e29b-41d4-a716-446655440000"),
    ("request", "550e8400-e29b-41d4-a716-446655440000"),
    ("request", "01890A5D-AC96-774B-BCCE-B302099A8057"),
    ("tenant_id", "0f9c1b7a3d5e8246af13c0d2b4e69875"),
    ("digest", "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"),
    ("sha256", "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"),
    ("artifactChecksum", "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"),
    ("source", "sha256:6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"),
    ("source", "registry.example/app@sha256:6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"),
    ("script", "sha384-oqVuAfXRKap7fdgcCY5uykM6R9GqQ8K3uxy9rx7HNQlGYl1kPzQho1wx4JwY8wC"),
    ("commit", "2fd4e1c67a2d28fced849ee1bb76e7391b93eb12"),
    ("logo", "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"),
    ("logo", "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="),
    ("public_key", "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE="),
    ("host_key", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"),
    (
        "anchor",
        "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUQ2x5b3V0aGVyZQ9aKq8wCgYIKoZIzj0EAwIw\n-----END CERTIFICATE-----",
    ),
    ("publishable", "pk_live_51H8abcDEFghiJKLmno"),
    ("locale", "sk-SK"),
    ("style", "sk-spinner-circle-with-fading-dots-and-labels"),
    ("expression", "0 3 * * 1-5"),
    ("pattern", "^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$"),
    ("iban", "DE89370400440532013000"),
    ("time", "2024-02-29T12:00:00.000000+01:00"),
    ("phone", "+4915112345678"),
    ("arn", "arn:aws:iam::123456789012:role/service-role/MyLambdaExecutionRole"),
    ("colour", "#a1b2c3"),
    ("coordinates", "52.520008,13.404954"),
    ("user_agent", "Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0"),
    ("password", "${SMTP_PASSWORD}"),
    ("password", "$SMTP_PASSWORD"),
    ("password", "secret://mail/smtp"),
    ("password", "/account/password"),
    ("password", "Forgotten your password?"),
    ("password_policy", "at-least-12"),
    ("token_header", "X-Csrf-Token"),
    ("secret_name", "database"),
    ("header", "Bearer {token}"),
    ("scheme", "bearer"),
    ("connection", "mode=fast;password-policy=strict"),
    ("key", "customer.address.postal_code"),
    ("client_secret", "secret://vault/oidc"),
];

#[test]
fn secrets_are_found() {
    for (field, text, detector) in SECRETS {
        let text = text.replace('·', "");
        let found = detect_secret(field, &text).unwrap_or_else(|| panic!("nothing found in `{text}`"));
        assert_eq!(found.detector, *detector, "{text}");
        let shown = found.shown.strip_suffix('…').expect("an ellipsis");
        assert!(shown.chars().count() <= 4, "{text}: {}", found.shown);
    }
}

#[test]
fn every_detector_is_in_the_table() {
    for detector in Detector::ALL {
        assert!(SECRETS.iter().any(|(_, _, found)| found == detector), "{detector}");
    }
}

#[test]
fn harmless_texts_are_left_alone() {
    for (field, text) in HARMLESS {
        assert_eq!(detect_secret(field, text), None, "{field}: {text}");
    }
}

/// The sample catalogue's own texts are words, links and identifiers of many kinds.
#[test]
fn the_sample_catalogue_holds_no_secret() {
    let mut texts = 0;
    for file in fitment_catalog::sample() {
        let text = std::str::from_utf8(file.bytes).expect("text");
        for line in text.lines() {
            let (field, value) = line.trim().split_once(": ").unwrap_or(("", line));
            // Digests of artifacts stand under sha256, in braces.
            if !value.contains("sha256: ") {
                assert_eq!(detect_secret(field, value), None, "{}: {line}", file.path);
                texts += 1;
            }
        }
    }
    assert!(texts > 4_000, "{texts}");
}

/// Characters of base64, each as likely as the others.
fn base64(length: usize) -> impl Strategy<Value = String> {
    let alphabet: Vec<char> = ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['+', '/']).collect();
    proptest::collection::vec(proptest::sample::select(alphabet), length).prop_map(String::from_iter)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn random_keys_are_found(key in base64(40), hex in "[0-9a-f]{40}") {
        // About one random key in a thousand has too few changes or no digit.
        let changes = key.as_bytes().windows(2).filter(|pair| {
            let kind = |b: u8| (b.is_ascii_lowercase(), b.is_ascii_uppercase(), b.is_ascii_digit());
            kind(pair[0]) != kind(pair[1])
        }).count();
        prop_assume!(changes >= 18 && key.bytes().any(|b| b.is_ascii_digit()) && key.ends_with(char::is_alphanumeric) && key.starts_with(char::is_alphanumeric));
        prop_assert!(detect_secret("seed", &key).is_some(), "{}", key);
        prop_assume!(hex.bytes().any(|b| b.is_ascii_digit()) && hex.bytes().any(|b| b.is_ascii_lowercase()));
        prop_assert!(detect_secret("seed", &hex).is_some(), "{}", hex);
    }

    #[test]
    fn words_are_left_alone(words in proptest::collection::vec("[a-z]{1,12}", 1..9), joint in "[-_./ ]") {
        prop_assert_eq!(detect_secret("name", &words.join(&joint)), None);
    }

    #[test]
    fn any_text_is_judged(field in "\\PC{0,12}", text in "\\PC{0,80}") {
        if let Some(found) = detect_secret(&field, &text) {
            prop_assert!(found.shown.chars().count() <= 5);
        }
    }
}
