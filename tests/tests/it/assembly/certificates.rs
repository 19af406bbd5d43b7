//! Under a trust root: impact by certificate and by key, and a revoked certificate that names who is touched.

use fitment_tests::{Daemon, manifest};
use serde_json::json;

use crate::commands::{certify, keygen, on, revoke_certificate, told};

#[test]
fn a_revoked_certificate_touches_who_stands_on_it() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    let root = json!({
        "version": 1,
        "keys": [keygen(folder, "alice")?],
        "roles": [{ "id": "assessors", "keys": ["alice"], "components": ["*"], "standards": ["pci-*"], "may_revoke": true }],
        "policies": [{ "id": "all", "components": ["*"],
            "require": [{ "standard": "pci-dss-4.0", "requirements": ["6.4.3"] }] }],
    });
    std::fs::write(folder.join("root.json"), root.to_string())?;
    let daemon = Daemon::serve(&folder.join("data"), &[])?;
    std::fs::write(folder.join("card.yaml"), manifest("payments/card", "1.0.0", "Takes a card."))?;
    on(&daemon, folder, 0, &["catalog", "import", "card.yaml"])?;
    std::fs::write(
        folder.join("shop.yaml"),
        "name: team/shop\nparts:\n  - { id: pay, component: payments/card@1.0.0 }\n",
    )?;
    on(&daemon, folder, 0, &["assembly", "check", "shop.yaml"])?;
    on(&daemon, folder, 0, &["assembly", "register", "shop.yaml"])?;

    let said = on(&daemon, folder, 0, &["trust", "install", "root.json"])?;
    assert!(said.contains("touches 1 kept assemblies"), "a root that leaves parts uncertified says so: {said}");
    let said = on(&daemon, folder, 8, &["assembly", "check", "shop.yaml"])?;
    assert!(said.contains("error part-not-certified at pay"), "{said}");
    certify(folder, "card", &[])?;
    on(&daemon, folder, 0, &["certify", "add", "card.dsse.json"])?;
    on(&daemon, folder, 0, &["assembly", "check", "shop.yaml"])?;
    let soon = "name: team/shop\nparts:\n  - { id: pay, component: payments/card@1.0.0 }\npolicies: { certified_for_days: 3650 }\n";
    std::fs::write(folder.join("soon.yaml"), soon)?;
    let said = on(&daemon, folder, 8, &["assembly", "check", "soon.yaml"])?;
    assert!(said.contains("error certification-ends-soon at pay"), "{said}");

    let listed = told(&daemon, folder, &["certify", "list", "payments/card@1.0.0"])?;
    let certificate = listed["certificates"][0]["digest"].as_str().expect("a certificate").to_owned();
    for target in [["--certificate", certificate.as_str()], ["--key", "alice"], ["--standard", "pci-dss-4.0/6.4.3"]] {
        let found = told(&daemon, folder, &[&["assembly", "impact", "--names"][..], &target].concat())?;
        assert_eq!(found["assemblies"][0]["assembly"], "team/shop", "{target:?}: {found:#}");
    }
    on(&daemon, folder, 0, &["assembly", "lock", "shop.yaml", "--out", "shop.lock.yaml"])?;
    assert!(
        std::fs::read_to_string(folder.join("shop.lock.yaml"))?.contains(&certificate),
        "a lock names certificates"
    );

    let before = told(&daemon, folder, &["assembly", "check", "shop.yaml"])?["judgement"]["revision"].to_string();
    let said = revoke_certificate(&daemon, folder, "payments/card@1.0.0")?;
    assert!(said.contains("touches 1 kept assemblies (1 parts): team/shop"), "{said}");
    let after = before.trim_matches('"');
    let said = on(&daemon, folder, 8, &["assembly", "watch", "team/shop", "--after", after, "--most", "1"])?;
    assert!(said.contains("payments/card@1.0.0 is certified and not certified now (pay)"), "{said}");
    // What the certificate stood behind is still answered: that is what is asked for after a revocation.
    let found = told(&daemon, folder, &["assembly", "impact", "--certificate", &certificate])?;
    assert_eq!(found["assemblies"][0]["parts"][0]["remedy"], "REMEDY_NOTHING", "{found:#}");
    Ok(())
}
