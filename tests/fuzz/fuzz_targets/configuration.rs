//! A configuration file, TOML: what is accepted reads back from what `config print` would write, and to the same daemon.
#![no_main]

use figment::Figment;
use figment::providers::{Format, Serialized, Toml};
use fitment_fuzz::refused;
use fitment_server::config::{Config, RawConfig};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let defaults = Figment::from(Serialized::defaults(RawConfig::default()));
    let raw: RawConfig = match defaults.merge(Toml::string(text)).extract() {
        Err(error) => return refused(&error, text.len()),
        Ok(raw) => raw,
    };
    let written = serde_json::to_value(&raw).expect("plain data");
    let again: RawConfig = Figment::from(Serialized::defaults(&raw)).extract().expect("what it writes");
    assert_eq!(serde_json::to_value(&again).expect("plain data"), written);
    let (one, other) = (Config::try_from(raw), Config::try_from(again));
    match (one, other) {
        (Ok(one), Ok(other)) => assert_eq!(format!("{one:?}"), format!("{other:?}")),
        (Err(one), Err(other)) => {
            assert_eq!(format!("{one:#}"), format!("{other:#}"));
            refused(&format!("{one:#}"), text.len());
        }
        (one, other) => panic!("{one:?} and {other:?} of the same configuration"),
    }
});
