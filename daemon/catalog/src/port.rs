//! Ports: where one component can be joined to another.

use crate::config_schema::ValueSchema;
use crate::token::tokens;

/// A place where a component offers something or needs something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    pub(crate) name: String,
    pub(crate) protocol: String,
    pub(crate) authentication: Authentication,
    pub(crate) scopes: Vec<String>,
    pub(crate) data_classes: Vec<DataClass>,
    pub(crate) optional: bool,
    pub(crate) value_schema: Option<ValueSchema>,
}

impl Port {
    /// Name of the port, unique among the offered or the needed ports of its component.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Protocol spoken, a lower-case word such as `https`, `grpc` or `sql`.
    pub fn protocol(&self) -> &str {
        &self.protocol
    }

    /// How the side that connects proves who it is.
    pub fn authentication(&self) -> Authentication {
        self.authentication
    }

    /// Permissions granted or asked for, in the author's order.
    pub fn scopes(&self) -> &[String] {
        &self.scopes
    }

    /// Classes of the data that pass, in the author's order.
    pub fn data_classes(&self) -> &[DataClass] {
        &self.data_classes
    }

    /// Whether the component works without this port being joined. Always false for an offered port.
    pub fn optional(&self) -> bool {
        self.optional
    }

    /// What the port gives to properties that are bound to it; absent means that nothing can be. Always absent for a
    /// needed port.
    pub fn value_schema(&self) -> Option<&ValueSchema> {
        self.value_schema.as_ref()
    }
}

tokens! {
    /// How the connecting side of a port proves who it is.
    Authentication, "authentication scheme" {
        /// Not at all.
        None = "none",
        /// A shared key sent with each request.
        ApiKey = "api-key",
        /// User name and password.
        Basic = "basic",
        /// An `OAuth` 2.0 access token.
        OAuth2 = "oauth2",
        /// An `OpenID` Connect identity token.
        Oidc = "oidc",
        /// Certificates on both sides of TLS.
        Mtls = "mtls",
        /// A signature over each message.
        Signature = "signature",
    }
}

tokens! {
    /// How sensitive data is.
    DataClass, "data class" {
        /// Anyone may see it.
        Public = "public",
        /// Anyone in the organisation may see it.
        Internal = "internal",
        /// It is about a person.
        Personal = "personal",
        /// It is about a person and especially protected by law.
        SensitivePersonal = "sensitive-personal",
        /// Payment card data.
        Card = "card",
        /// Health data.
        Health = "health",
        /// Keys, passwords and the like.
        Secret = "secret",
    }
}
