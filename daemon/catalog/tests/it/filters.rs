//! Filters: what they match, what they print, how they fail.

use fitment_catalog::{CatalogError, Filter, Format, MAX_FILTER_DEPTH, MAX_FILTER_NODES, Manifest};

use crate::support::manifest;

fn check_match(filter: &str, expected: bool) {
    let manifest = manifest("tags: [form, payments]\ncompliance: { pci-dss-4.0: [\"3.2.1\"], iso: [\"a(b)\"] }\n");
    let parsed = Filter::parse(filter).unwrap_or_else(|error| panic!("{filter}: {error}"));
    assert_eq!(parsed.matches(&manifest), expected, "{filter}");
}

#[test]
fn conditions_match_what_the_manual_says() {
    for filter in [
        "*",
        "tag:payments",
        "kind:ui",
        "lifecycle:certified",
        "license:Apache-2.0",
        "namespace:forms",
        "name:forms/address",
        "version>=1.2.0",
        "version>=1.2.0-rc.1",
        "version:^1.1",
        "version:~1.2",
        "version:=1.2.0",
        "version:1.*",
        "version:*",
        "version:>=1.2,<2",
        "version:\">= 1.0.0, < 1.3\"",
        "version:>1.1.9 and not version:^2",
        "compliance:pci-dss-4.0",
        "compliance:pci-dss-4.0/3.2.1",
        "compliance:\"iso/a(b)\"",
        "tag:none or tag:form",
        "tag:none and tag:form or kind:ui",
        "not tag:none",
        "not not kind:ui",
        "tag:payments and (kind:ui or kind:service) and not license:GPL-3.0-only and version>=1.0.0 and compliance:pci-dss-4.0/3.2.1",
        "  ( tag:form )  ",
        "not(tag:none)",
    ] {
        check_match(filter, true);
    }
    for filter in [
        "not *",
        "tag:form and tag:none",
        "tag:none and (tag:form or kind:ui)",
        "kind:service",
        "lifecycle:draft",
        "license:MIT",
        "namespace:form",
        "name:forms/addresses",
        "version>=1.2.1",
        "version:^1.3",
        "version:^2",
        "version:=1.2.1",
        "version:>=1.0,<1.2",
        "version:<1.2.0",
        "compliance:pci-dss-4.0/3.2",
        "compliance:pci",
    ] {
        check_match(filter, false);
    }
}

#[test]
fn a_range_takes_a_pre_release_only_where_it_names_one() {
    let bytes = crate::support::MINIMAL.replace("1.2.0", "1.2.0-rc.2");
    let early = Manifest::parse("early.yaml", bytes.as_bytes(), Format::Yaml).expect("valid");
    for (filter, expected) in [
        ("version:^1.1", false),
        ("version:*", false),
        ("version:>=1.2.0-rc.1", true),
        ("version:>=1.2.0-rc.3", false),
        ("version:>=1.1.0-rc.1", false),
        ("version>=1.1.0", true),
    ] {
        assert_eq!(Filter::parse(filter).expect(filter).matches(&early), expected, "{filter}");
    }
}

#[test]
fn faults_name_the_column_and_the_way_out() {
    let report: Vec<String> = [
        "",
        "tag",
        "tag:",
        "tag: payments",
        "colour:red",
        "version:1.0.0",
        "version:>=1.0, <2",
        "version:>=1.0,2",
        "version:latest",
        "version:^1.2.3.4",
        "version:\"\"",
        "version>=1",
        "kind:widget",
        "tag:a tag:b",
        "tag:a and",
        "(tag:a",
        "tag:a)",
        "tag:\"a",
        "license:\"MIT OR Apache-2.0\"",
        "license:mine",
        "compliance:pci/",
        "name:address",
        "Tag:a",
        "tag:ä",
        "tag:a AND tag:b",
        "ä and tag:b",
    ]
    .into_iter()
    .map(|text| match Filter::parse(text) {
        Ok(filter) => panic!("{text} was read as {filter}"),
        Err(error) => format!("{text:?}\n  {error}"),
    })
    .collect();
    insta::assert_snapshot!("bad_filters", report.join("\n"));
}

#[test]
fn size_and_depth_are_limited() {
    let deep = |levels: usize| format!("{}tag:a{}", "(".repeat(levels), ")".repeat(levels));
    assert!(Filter::parse(&deep(MAX_FILTER_DEPTH - 1)).is_ok());
    assert!(Filter::parse(&deep(MAX_FILTER_DEPTH)).is_err());
    assert!(Filter::parse(&"not ".repeat(100_000)).is_err());
    let wide = |parts: usize| vec!["tag:a"; parts].join(" or ");
    assert!(Filter::parse(&wide(MAX_FILTER_NODES - 1)).is_ok());
    assert!(matches!(Filter::parse(&wide(MAX_FILTER_NODES)), Err(CatalogError::InvalidFilter { .. })));

    let leaf = Filter::parse("tag:a").expect("valid");
    assert!(Filter::Or(vec![leaf.clone(); MAX_FILTER_NODES - 1]).check_limits().is_ok());
    assert!(Filter::Or(vec![leaf.clone(); MAX_FILTER_NODES]).check_limits().is_err());
    let mut nested = leaf;
    for _ in 1..MAX_FILTER_DEPTH {
        nested = Filter::Not(Box::new(nested));
    }
    assert!(nested.check_limits().is_ok());
    assert!(Filter::Not(Box::new(nested)).check_limits().is_err());
}
