//! The texts that are embedded and indexed.

use fitment_catalog::{FacetKind, Format, LexicalField, Manifest, facets, lexical_fields};

use crate::support::manifest;

#[test]
fn facets_start_with_the_profile() {
    let manifest =
        manifest("when_to_use: On checkout pages.\nexample_intents: [ask where to ship, check a postal code]\n");
    let shown: Vec<String> = facets(&manifest).iter().map(|facet| format!("{} = {}", facet.kind, facet.text)).collect();
    assert_eq!(
        shown,
        [
            "profile = Address form: Asks for a postal address and checks it.",
            "when-to-use = On checkout pages.",
            "example-intent:0 = ask where to ship",
            "example-intent:1 = check a postal code",
        ]
    );
}

#[test]
fn facet_kinds_read_back() {
    for kind in [FacetKind::Profile, FacetKind::WhenToUse, FacetKind::ExampleIntent(0), FacetKind::ExampleIntent(63)] {
        assert_eq!(kind.to_string().parse(), Ok(kind));
    }
    for bad in [
        "",
        "Profile",
        "example-intent",
        "example-intent:",
        "example-intent:01",
        "example-intent:+1",
        "example-intent:-1",
    ] {
        assert!(bad.parse::<FacetKind>().is_err(), "{bad}");
    }
}

#[test]
fn lexical_fields_hold_the_configuration_at_every_depth() {
    let manifest = manifest(
        "tags: [form, address]
config_schema:
  type: object
  additionalProperties: false
  properties:
    lookup_service:
      type: object
      description: Where addresses are checked
      additionalProperties: false
      properties:
        timeout: { type: integer, description: In milliseconds, default: 5 }
    areas: { type: array, items: { $ref: \"#/$defs/area\" } }
  $defs:
    area:
      type: object
      additionalProperties: false
      properties: { country-code: { type: string } }
",
    );
    let fields = lexical_fields(&manifest);
    assert_eq!(fields.each_ref().map(|(field, _)| *field).as_slice(), LexicalField::ALL);
    let text = |wanted| fields.iter().find(|(field, _)| *field == wanted).map(|(_, text)| text.as_str());
    assert_eq!(text(LexicalField::Name), Some("forms address"));
    assert_eq!(text(LexicalField::Tags), Some("form address"));
    assert_eq!(text(LexicalField::WhenToUse), Some(""));
    assert_eq!(
        text(LexicalField::Configuration),
        Some("country code\nareas\nlookup service Where addresses are checked\ntimeout In milliseconds")
    );
}

#[test]
fn aliases_are_searched_by_name_and_are_single_short_lines() {
    let known = manifest("aliases: [shipping form, PostcodeLookup]\n");
    assert_eq!(known.aliases(), ["shipping form", "PostcodeLookup"]);
    assert_eq!(lexical_fields(&known)[0].1, "forms address\nshipping form\nPostcodeLookup");
    assert_eq!(facets(&known).len(), 1, "what embeds a name embeds the title");
    for bad in ["aliases: [same, same]", "aliases: ['']", "aliases: name", "aliases: [\"two\\nlines\"]"] {
        let text = format!("{}{bad}\n", crate::support::MINIMAL);
        let read = Manifest::parse("test.yaml", text.as_bytes(), Format::Yaml);
        assert!(read.is_err_and(|error| error.to_string().contains("aliases")), "{bad}");
    }
}
