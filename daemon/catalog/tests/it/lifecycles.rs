//! Which stage of a version's life may follow which.

use fitment_catalog::Lifecycle;

#[test]
fn only_the_listed_changes_are_allowed() {
    use Lifecycle::{Candidate, Certified, Deprecated, Draft, Revoked};
    let allowed = [
        (Draft, Candidate),
        (Draft, Revoked),
        (Candidate, Draft),
        (Candidate, Certified),
        (Candidate, Revoked),
        (Certified, Deprecated),
        (Certified, Revoked),
        (Deprecated, Certified),
        (Deprecated, Revoked),
    ];
    for &from in Lifecycle::ALL {
        for &to in Lifecycle::ALL {
            assert_eq!(from.may_become(to), allowed.contains(&(from, to)), "{from} -> {to}");
        }
    }
}

#[test]
fn nothing_comes_back_from_where_its_life_has_no_way() {
    use Lifecycle::{Candidate, Certified, Deprecated, Draft, Revoked};
    for (here, there, leads) in [
        (Draft, Certified, true),
        (Certified, Deprecated, true),
        (Deprecated, Certified, true),
        (Certified, Revoked, true),
        (Revoked, Certified, false),
        (Certified, Candidate, false),
        (Candidate, Draft, false),
    ] {
        assert_eq!(here.leads_to(there), leads, "{here} {there}");
    }
}
