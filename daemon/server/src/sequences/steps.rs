//! What may be asked: few names, versions, contents and request ids, so that they meet; and requests that nobody may send.

use proptest::prelude::*;

/// Components.
pub(super) const COMPONENTS: [&str; 3] = ["shop/cart", "shop/till", "bank/vault"];
/// Versions of each, in order; the second is a pre-release.
pub(super) const VERSIONS: [&str; 3] = ["1.0.0", "2.0.0-rc.1", "2.0.0"];

/// One version, by its places in [`COMPONENTS`] and [`VERSIONS`].
pub(super) type Which = (usize, usize);

/// A version's state as a caller believes it to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Believed {
    /// Nothing is said.
    Any,
    /// As it is.
    Current,
    /// As it never was.
    Other,
}

/// Where versions stand, in the order of the protocol.
pub(super) const LIFECYCLES: [&str; 5] = ["draft", "candidate", "certified", "deprecated", "revoked"];

/// A call.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Writes a version with one of two contents, at one of the first three places of a life.
    Create {
        which: Which,
        content: usize,
        lifecycle: usize,
        request: Option<usize>,
        validate_only: bool,
    },
    Delete {
        which: Which,
        believed: Believed,
        request: Option<usize>,
    },
    Undelete {
        which: Which,
        believed: Believed,
        request: Option<usize>,
    },
    Move {
        which: Which,
        to: usize,
        believed: Believed,
        request: Option<usize>,
    },
    /// Imports one of each component in one stream.
    Import {
        version: usize,
        content: usize,
    },
    /// Keeps an assembly that uses a version.
    Register {
        name: usize,
        which: Which,
        believed: Believed,
    },
    Forget {
        name: usize,
        believed: Believed,
    },
    /// Puts a trust root into force.
    InstallRoot {
        version: u64,
    },
    /// A certificate about a version, valid for some hours from an hour on, by a key that the root believes or by another.
    Certify {
        which: Which,
        hours: i64,
        believed_key: bool,
    },
    /// A revocation of a version.
    Revoke {
        which: Which,
        believed_key: bool,
    },
    /// Lets hours pass.
    Wait {
        hours: i64,
    },
    /// Closes the catalogue and opens it again.
    Restart,
    /// What is refused whatever the catalogue holds.
    Invalid(Invalid),
}

/// What no caller may send.
#[derive(Clone, Copy, Debug)]
pub(super) enum Invalid {
    Manifest,
    Digest,
    Name,
    Version,
    Lifecycle,
    Actor,
    RequestId,
    PageToken,
    PageSize,
    Filter,
    Intent,
    TopK,
    Revision,
    Envelope,
    TrustRoot,
    Assembly,
    Format,
}

fn which() -> impl Strategy<Value = Which> {
    (0..COMPONENTS.len(), 0..VERSIONS.len())
}

fn request() -> impl Strategy<Value = Option<usize>> {
    proptest::option::weighted(0.4, 0..3_usize)
}

fn believed() -> impl Strategy<Value = Believed> {
    prop_oneof![4 => Just(Believed::Any), 3 => Just(Believed::Current), 1 => Just(Believed::Other)]
}

fn invalid() -> impl Strategy<Value = Invalid> {
    use Invalid as I;
    prop::sample::select(vec![
        I::Manifest,
        I::Digest,
        I::Name,
        I::Version,
        I::Lifecycle,
        I::Actor,
        I::RequestId,
        I::PageToken,
        I::PageSize,
        I::Filter,
        I::Intent,
        I::TopK,
        I::Revision,
        I::Envelope,
        I::TrustRoot,
        I::Assembly,
        I::Format,
    ])
}

/// Any call.
pub(super) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (which(), 0..2_usize, 0..3_usize, request(), prop::bool::weighted(0.1)).prop_map(
            |(which, content, lifecycle, request, validate_only)| Step::Create {
                which, content, lifecycle, request, validate_only
            }
        ),
        5 => (which(), believed(), request())
            .prop_map(|(which, believed, request)| Step::Delete { which, believed, request }),
        4 => (which(), believed(), request())
            .prop_map(|(which, believed, request)| Step::Undelete { which, believed, request }),
        8 => (which(), 0..5_usize, believed(), request())
            .prop_map(|(which, to, believed, request)| Step::Move { which, to, believed, request }),
        2 => (0..VERSIONS.len(), 0..2_usize).prop_map(|(version, content)| Step::Import { version, content }),
        3 => (0..2_usize, which(), believed())
            .prop_map(|(name, which, believed)| Step::Register { name, which, believed }),
        2 => (0..2_usize, believed()).prop_map(|(name, believed)| Step::Forget { name, believed }),
        2 => (1..4_u64).prop_map(|version| Step::InstallRoot { version }),
        5 => (which(), 1..6_i64, prop::bool::weighted(0.8))
            .prop_map(|(which, hours, believed_key)| Step::Certify { which, hours, believed_key }),
        1 => (which(), prop::bool::weighted(0.7))
            .prop_map(|(which, believed_key)| Step::Revoke { which, believed_key }),
        3 => (1..4_i64).prop_map(|hours| Step::Wait { hours }),
        1 => Just(Step::Restart),
        4 => invalid().prop_map(Step::Invalid),
    ]
}
