//! Small models made here, and the checks that both parity tests share.

pub(crate) mod reference;
pub(crate) mod tiny;
