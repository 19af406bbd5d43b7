//! Documents, credentials, decisions and the table, from outside.

mod authenticating;
mod authorising;
mod documents;
mod policies;
mod properties;
mod support;
mod table;
mod tokens;
