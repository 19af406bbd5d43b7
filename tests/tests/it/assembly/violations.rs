//! One deliberate violation of each kind that can be written into the worked example, each found by the command with its rule.

use fitment_tests::Daemon;

use super::{edited, portal};
use crate::commands::on;

type Edits = &'static [(&'static str, &'static str)];

/// Rule, and how the example is broken.
const VIOLATIONS: &[(&str, Edits)] = &[
    ("part-unknown at table", &[("ui/data-table@7.4.0", "ui/data-table@9.9.9")]),
    (
        "part-mismatch at table",
        &[(
            "component: ui/data-table@7.4.0",
            "component: ui/data-table@7.4.0\n    digest: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        )],
    ),
    ("version-out-of-range at sign-in", &[("range: ^2.3", "range: ^3")]),
    ("configuration/required at checkout", &[("      merchant_id: ACME0001\n", "")]),
    ("configuration/pattern at checkout", &[("ACME0001", "x")]),
    ("configuration/additionalProperties at checkout", &[("ACME0001\n", "ACME0001\n      colour: red\n")]),
    ("configuration/secret-reference at checkout", &[("secret://portal/acquirer", "plain text")]),
    ("license-not-allowed at table", &[("[Apache-2.0, MIT, ", "[Apache-2.0, ")]),
    ("license-unknown at journal", &[("      license: LicenseRef-Acme\n", "")]),
    ("part-missing at table.rows -> gone.edge", &[("to: gateway.edge", "to: gone.edge")]),
    ("port-missing at table.rows -> gateway.back", &[("to: gateway.edge", "to: gateway.back")]),
    (
        "port-unconnected at checkout",
        &[("  - { from: checkout.acquirer, to: acquirer.payments, data_classes: [card] }\n", "")],
    ),
    (
        "protocol-mismatch at checkout.acquirer",
        &[("protocol: https, authentication: api-key", "protocol: grpc, authentication: api-key")],
    ),
    ("authentication-mismatch at checkout.acquirer", &[("authentication: api-key", "authentication: mtls")]),
    (
        "authentication-missing at journal.trail",
        &[("protocol: grpc, authentication: mtls", "protocol: grpc, authentication: none")],
    ),
    ("scope-missing at checkout.acquirer", &[("[payments.write]", "[payments.read]")]),
    (
        "data-class-not-carried at checkout.acquirer",
        &[("data_classes: [card] }\nconnections", "data_classes: [internal] }\nconnections")],
    ),
    (
        "data-class-understated at sign-in.accounts",
        &[(
            "to: directory.accounts, data_classes: [personal, secret]",
            "to: directory.accounts, data_classes: [personal]",
        )],
    ),
    ("data-class-not-certified at checkout.acquirer", &[("{ pci-dss-4.0: [\"3.2.1\"] }", "{ gdpr: [art-32] }")]),
    (
        "evidence-missing at acquirer",
        &[("      evidence: sha256:a4e624d686e03ed2767c0abd85c14426b0b1157d2ce81d27bb4fe4f6f01d688a\n", "")],
    ),
    ("evidence-expired at acquirer", &[("valid_until: 2099-03-31", "valid_until: 2020-03-31")]),
    (
        "cycle at journal",
        &[
            (
                "license: LicenseRef-Acme\n    requires:\n",
                "license: LicenseRef-Acme\n    provides:\n      - { name: out, protocol: event, data_classes: [public] }\n    \
                 requires:\n      - { name: back, protocol: event, data_classes: [public] }\n",
            ),
            ("connections:\n", "connections:\n  - { from: journal.back, to: journal.out, data_classes: [public] }\n"),
        ],
    ),
    ("requirement-not-covered at", &[("[\"6.4.3\", \"10.2.1\"]", "[\"12.1.1\"]")]),
    (
        "invariants-mismatch at",
        &[(
            "policies:\n",
            "policies:\n  invariants: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\n",
        )],
    ),
    ("policy/secrets-only-to-keepers at sign-in.accounts", &[("tags: [authentication]", "tags: [other]")]),
    (
        "policy/personal-data-under-a-standard at form.answers",
        &[("compliance: { gdpr: [art-32] }", "compliance: { wcag-2.2: [] }")],
    ),
    ("policy/raw-code-has-an-owner at journal", &[("      owner: Ada\n", "")]),
    ("policy/raw-code-is-reviewed at journal", &[("reviewer: Grace", "reviewer: Ada")]),
    (
        "policy/public-endpoint-authorised at",
        &[
            (
                "license: LicenseRef-Acme\n",
                "license: LicenseRef-Acme\n    provides:\n      - { name: api, protocol: https, data_classes: [public] }\n",
            ),
            ("exposures:\n", "exposures:\n  - { port: journal.api, audience: public }\n"),
        ],
    ),
    ("policy/sql-behind-components at journal.rows", SQL),
    ("policy/sql-only-to-persistence at journal.rows", SQL),
    (
        "policy/secrets-through-the-secret-component at checkout",
        &[
            ("  - id: secrets\n    component: security/secret-store@6.3.1\n", ""),
            ("  - { from: secrets.unseal, to: keys.crypto, data_classes: [secret] }\n", ""),
        ],
    ),
];

const SQL: Edits = &[
    (
        "    requires:\n",
        "    requires:\n      - { name: rows, protocol: sql, authentication: mtls, data_classes: [internal] }\n",
    ),
    (
        "connections:\n",
        "  - id: database\n    external: { owner: team-records }\n    provides:\n      \
         - { name: rows, protocol: sql, authentication: mtls, data_classes: [internal] }\n\
         connections:\n  - { from: journal.rows, to: database.rows, data_classes: [internal] }\n",
    ),
];

#[test]
fn each_deliberate_violation_is_found_and_the_example_passes_without() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = Daemon::demo(&folder.path().join("data"))?;
    let folder = folder.path();
    for (found, edits) in VIOLATIONS {
        std::fs::write(folder.join("broken.yaml"), edited(&portal(), edits))?;
        let said = on(&daemon, folder, 8, &["assembly", "check", "broken.yaml"])?;
        assert!(said.contains(&format!("error {found}")), "{found}:\n{said}");
        assert!(said.contains("customer/portal does not pass"), "{said}");
    }
    // Several at once, and nothing is locked.
    let several = edited(
        &portal(),
        &[
            ("range: ^2.3", "range: ^3"),
            ("      owner: Ada\n", ""),
            ("to: gateway.edge", "to: gone.edge"),
            ("protocol: https, authentication: api-key", "protocol: grpc, authentication: api-key"),
        ],
    );
    std::fs::write(folder.join("broken.yaml"), several)?;
    let said = on(&daemon, folder, 8, &["assembly", "lock", "broken.yaml", "--out", "broken.lock.yaml"])?;
    for rule in ["version-out-of-range", "policy/raw-code-has-an-owner", "part-missing", "protocol-mismatch"] {
        assert!(said.contains(&format!("error {rule} at")), "{rule}:\n{said}");
    }
    assert!(!folder.join("broken.lock.yaml").exists(), "what does not pass is not locked");

    std::fs::write(folder.join("fixed.yaml"), portal())?;
    let said = on(&daemon, folder, 0, &["assembly", "check", "fixed.yaml"])?;
    assert!(said.contains("customer/portal passes: 0 errors"), "{said}");
    // What cannot be read is no finding.
    on(&daemon, folder, 4, &["assembly", "check", "absent.yaml"])?;
    std::fs::write(folder.join("torn.yaml"), "name: [")?;
    on(&daemon, folder, 3, &["assembly", "check", "torn.yaml"])?;
    Ok(())
}
