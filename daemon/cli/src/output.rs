//! What commands print: tables for people, JSON for programs, and exit codes that stay.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Context;
use comfy_table::{ContentArrangement, Table};
use fitment_engine::{EngineError, ErrorKind};
use fitment_models::ModelErrorKind;
use fitment_trust::{TrustError, TrustErrorKind};
use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde::Serialize;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::cli::Interrupted;
use crate::client::{Unreachable, root_cause};

/// Width of tables where the output is no terminal.
const PLAIN_WIDTH: u16 = 140;

/// How a command ended, the same in every version; clap itself ends with 2 on a wrong command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Input that breaks a documented rule.
    InvalidInput = 3,
    /// What was named is not there.
    NotFound = 4,
    /// No daemon answers, it is not ready, overloaded or too slow.
    Unavailable = 5,
    /// The state forbids it: another model, a store in use, a name taken.
    Precondition = 6,
    /// Stored or fetched bytes are damaged.
    Damaged = 7,
    /// An assembly, a configuration or a tree that was checked does not pass, or what was asked about is denied.
    Findings = 8,
    /// No valid credentials, or what they allow does not cover the call.
    Denied = 9,
    /// Ctrl-C.
    Interrupted = 130,
    /// Anything else.
    Failure = 1,
}

pub(crate) use fitment_server::Invalid;

/// Prints an error with its causes and gives its exit code.
pub(crate) fn report_failure(error: &anyhow::Error) -> ExitCode {
    let mut stderr = std::io::stderr().lock();
    if let Some(status) = error.downcast_ref::<Status>() {
        // Nothing can be done about a closed standard error.
        // What broke a connection is behind the status that a call on it ends with.
        let cause = std::error::Error::source(status).map(|source| format!(": {}", root_cause(source)));
        drop(writeln!(stderr, "error: {}{}", status.message(), cause.unwrap_or_default()));
        let details = status.get_error_details();
        for violation in details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default() {
            if !status.message().contains(&violation.description) {
                drop(writeln!(stderr, "  {}: {}", violation.field, violation.description));
            }
        }
    } else {
        // Many errors say their cause themselves.
        let mut message = String::new();
        for cause in error.chain().map(ToString::to_string) {
            if !message.contains(&cause) {
                let separator = if message.is_empty() { "" } else { ": " };
                message = format!("{message}{separator}{cause}");
            }
        }
        drop(writeln!(stderr, "error: {message}"));
    }
    ExitCode::from(exit_of(error) as u8)
}

fn exit_of(error: &anyhow::Error) -> Exit {
    if let Some(status) = error.downcast_ref::<Status>() {
        return exit_of_code(status.code());
    }
    if error.downcast_ref::<Interrupted>().is_some() {
        return Exit::Interrupted;
    }
    if error.downcast_ref::<Invalid>().is_some() {
        return Exit::InvalidInput;
    }
    if error.downcast_ref::<Unreachable>().is_some() {
        return Exit::Unavailable;
    }
    if let Some(error) = error.downcast_ref::<fitment_models::ModelError>() {
        return match error {
            fitment_models::ModelError::Io { source, .. } => exit_of_io(source),
            _ => exit_of_model(error.kind()),
        };
    }
    if let Some(error) = error.downcast_ref::<EngineError>() {
        return match error {
            EngineError::Model(model) => exit_of_model(model.kind()),
            EngineError::Io { source, .. } => exit_of_io(source),
            _ => exit_of_kind(error.classify().0),
        };
    }
    if let Some(error) = error.downcast_ref::<TrustError>() {
        return match error.kind() {
            TrustErrorKind::InvalidInput => Exit::InvalidInput,
            TrustErrorKind::Precondition => Exit::Precondition,
        };
    }
    if error.downcast_ref::<fitment_catalog::CatalogError>().is_some()
        || error.downcast_ref::<fitment_assembly::AssemblyError>().is_some()
        || error.downcast_ref::<fitment_access::AccessError>().is_some()
    {
        return Exit::InvalidInput;
    }
    Exit::Failure
}

fn exit_of_io(error: &std::io::Error) -> Exit {
    if error.kind() == std::io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Failure }
}

fn exit_of_kind(kind: ErrorKind) -> Exit {
    match kind {
        ErrorKind::InvalidArgument => Exit::InvalidInput,
        ErrorKind::PermissionDenied => Exit::Denied,
        ErrorKind::NotFound => Exit::NotFound,
        ErrorKind::AlreadyExists | ErrorKind::FailedPrecondition | ErrorKind::Aborted => Exit::Precondition,
        ErrorKind::ResourceExhausted | ErrorKind::Unavailable => Exit::Unavailable,
        ErrorKind::DataLoss => Exit::Damaged,
        ErrorKind::Internal => Exit::Failure,
    }
}

fn exit_of_model(kind: ModelErrorKind) -> Exit {
    match kind {
        ModelErrorKind::InvalidInput | ModelErrorKind::Unsupported => Exit::InvalidInput,
        ModelErrorKind::NotFound => Exit::NotFound,
        ModelErrorKind::Corrupt => Exit::Damaged,
        ModelErrorKind::Unavailable => Exit::Unavailable,
        ModelErrorKind::Internal => Exit::Failure,
    }
}

fn exit_of_code(code: Code) -> Exit {
    match code {
        Code::InvalidArgument | Code::OutOfRange => Exit::InvalidInput,
        Code::NotFound => Exit::NotFound,
        Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => Exit::Precondition,
        Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded | Code::Cancelled => Exit::Unavailable,
        Code::DataLoss => Exit::Damaged,
        Code::Unauthenticated | Code::PermissionDenied => Exit::Denied,
        _ => Exit::Failure,
    }
}

/// Prints a line to standard output; a reader that left early is no failure.
pub(crate) fn line(text: impl std::fmt::Display) -> anyhow::Result<()> {
    ok_if_closed(writeln!(std::io::stdout().lock(), "{text}"))
}

/// Prints a line to standard error, for people who watch.
pub(crate) fn warn(text: impl std::fmt::Display) {
    // Nothing can be done about a closed standard error.
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}

fn ok_if_closed(written: std::io::Result<()>) -> anyhow::Result<()> {
    match written {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => other.context("standard output"),
    }
}

/// An empty table for people, as wide as the terminal.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    if !std::io::stdout().is_terminal() {
        table.set_width(PLAIN_WIDTH);
    }
    table.set_header(header.iter().copied());
    table
}

/// A text for a cell of a table.
pub(crate) fn shorten(text: &str) -> String {
    const LONGEST: usize = 72;
    if text.chars().count() <= LONGEST {
        text.to_owned()
    } else {
        format!("{}…", text.chars().take(LONGEST).collect::<String>())
    }
}

/// Prints a value as JSON.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string_pretty(value)?)
}

/// A message of the protocol as JSON, in protobuf's own mapping, all fields shown.
pub(crate) fn message_json(name: &str, message: &impl Message) -> anyhow::Result<serde_json::Value> {
    let pool = DescriptorPool::decode(fitment_proto::FILE_DESCRIPTOR_SET)?;
    let descriptor = pool.get_message_by_name(name).with_context(|| format!("the protocol has no message {name}"))?;
    let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())?;
    let options = SerializeOptions::new().skip_default_fields(false).stringify_64_bit_integers(false);
    Ok(dynamic.serialize_with_options(serde_json::value::Serializer, &options)?)
}

/// A progress bar on standard error for steps that are told as (what, done, of how many).
pub(crate) struct Steps(Mutex<(String, ProgressBar)>);

impl Steps {
    /// Shows nothing until the first step.
    pub(crate) fn new() -> Self {
        Self(Mutex::new((String::new(), ProgressBar::hidden())))
    }

    /// A step has come so far.
    pub(crate) fn tell(&self, what: &str, done: u64, total: u64) {
        let mut state = self.0.lock();
        if state.0 != what {
            state.1.finish_and_clear();
            let bar = ProgressBar::new(total);
            if let Ok(style) = ProgressStyle::with_template("{msg} [{wide_bar}] {pos}/{len} {per_sec} {eta}") {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_message(what.to_owned());
            if bar.is_hidden() && total > 0 {
                drop(writeln!(std::io::stderr().lock(), "{what} ({total})"));
            }
            *state = (what.to_owned(), bar);
        }
        state.1.set_length(total);
        state.1.set_position(done);
    }

    /// Clears the bar.
    pub(crate) fn finish(&self) {
        self.0.lock().1.finish_and_clear();
    }
}
