//! Connections: how many, why some were refused or ended, and the certificates that they are made with.

use jiff::Timestamp;

use super::names::{CONNECTIONS, CONNECTIONS_ENDED, CONNECTIONS_REFUSED, TLS_EXPIRY, TLS_RELOAD_FAILURES, TLS_RELOADS};

/// An open connection; it ends when this is dropped.
pub(crate) struct OpenConnection(metrics::Gauge);

impl OpenConnection {
    /// transport: `tcp`, `tls` or `unix`.
    pub(crate) fn new(transport: &'static str) -> Self {
        let open = metrics::gauge!(CONNECTIONS, "transport" => transport);
        open.increment(1.0);
        Self(open)
    }

    /// Ends, for this reason.
    pub(crate) fn end(self, reason: &'static str) {
        metrics::counter!(CONNECTIONS_ENDED, "reason" => reason).increment(1);
        drop(self);
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// A connection was not taken.
pub(crate) fn connection_refused(reason: &'static str) {
    metrics::counter!(CONNECTIONS_REFUSED, "reason" => reason).increment(1);
}

/// What becomes of the files of TLS.
pub(crate) struct TlsMeters;

impl TlsMeters {
    pub(crate) fn reloaded() {
        metrics::counter!(TLS_RELOADS).increment(1);
    }

    pub(crate) fn reload_failed() {
        metrics::counter!(TLS_RELOAD_FAILURES).increment(1);
    }

    pub(crate) fn certificate_expires(at: Timestamp) {
        Self::expires("certificate", at);
    }

    /// The first of them that does.
    pub(crate) fn client_ca_expires(at: Timestamp) {
        Self::expires("client_ca", at);
    }

    fn expires(file: &'static str, at: Timestamp) {
        metrics::gauge!(TLS_EXPIRY, "file" => file).set(at.as_duration().as_secs_f64());
    }
}
