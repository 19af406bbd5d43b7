//! What commands that ask a daemon have in common.

use fitment_proto::v1;

use crate::client::ServerFlags;
use crate::output::{self, Invalid};

/// Whom to ask, and how the answer is printed.
#[derive(Debug, clap::Args)]
pub(super) struct Common {
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) server: ServerFlags,
}

/// A version as a command line names it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    /// `namespace/name`; empty where a digest was given.
    pub(super) name: String,
    /// Semantic version; empty: the newest one.
    pub(super) version: String,
    /// `sha256:...`; empty: by name.
    pub(super) digest: String,
}

impl Named {
    /// NAMESPACE/NAME, NAMESPACE/NAME@VERSION or sha256:DIGEST. Whether there is such a thing is the daemon's to say.
    pub(super) fn read(text: &str) -> Self {
        if text.starts_with("sha256:") {
            return Self { digest: text.to_owned(), ..Self::default() };
        }
        let (name, version) = text.split_once('@').unwrap_or((text, ""));
        Self { name: name.to_owned(), version: version.to_owned(), digest: String::new() }
    }

    /// NAMESPACE/NAME@VERSION: name and version.
    ///
    /// Errors: a text that names no version.
    pub(super) fn exact(text: &str) -> anyhow::Result<(String, String)> {
        match Self::read(text) {
            Self { name, version, .. } if !version.is_empty() => Ok((name, version)),
            _ => Err(Invalid(format!("`{text}` names no version; write NAMESPACE/NAME@VERSION")).into()),
        }
    }
}

/// A time of the protocol; `None` where it is absent or out of range.
pub(super) fn timestamp(time: Option<prost_types::Timestamp>) -> Option<jiff::Timestamp> {
    time.and_then(|time| jiff::Timestamp::new(time.seconds, time.nanos).ok())
}

/// A time of the protocol to the second, as RFC 3339 has it; empty where it is absent.
pub(super) fn time_text(time: Option<prost_types::Timestamp>) -> String {
    timestamp(time).map(|time| format!("{time:.0}")).unwrap_or_default()
}

/// Says which kept assemblies a change touches; nothing where it touches none.
pub(super) fn show_touched(touched: Option<v1::TouchedAssemblies>) -> anyhow::Result<()> {
    let Some(v1::TouchedAssemblies { total, names, parts }) = touched else { return Ok(()) };
    let more = total.saturating_sub(names.len() as u64);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let names = names.join(", ");
    output::line(format!(
        "touches {total} kept assemblies ({parts} parts): {names}{more}; `fitment assembly impact` says what each needs"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_named_in_three_ways() {
        let named = |name: &str, version: &str, digest: &str| Named {
            name: name.into(),
            version: version.into(),
            digest: digest.into(),
        };
        assert_eq!(Named::read("a/b"), named("a/b", "", ""));
        assert_eq!(Named::read("a/b@1.0.0+x@y"), named("a/b", "1.0.0+x@y", ""));
        assert_eq!(Named::read("sha256:00"), named("", "", "sha256:00"));
        assert!(Named::exact("a/b").is_err() && Named::exact("a/b@").is_err() && Named::exact("sha256:00").is_err());
        assert_eq!(Named::exact("a/b@1.0.0").expect("a version"), ("a/b".to_owned(), "1.0.0".to_owned()));
    }

    #[test]
    fn times_are_to_the_second() {
        let time = prost_types::Timestamp { seconds: 0, nanos: 1 };
        assert_eq!(time_text(Some(time)), "1970-01-01T00:00:00Z");
        assert_eq!(time_text(None), "");
        assert_eq!(time_text(Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 })), "");
    }
}
