//! Configurations held against closed schemas, and the schemas in the forms that language models are held to.

use std::path::PathBuf;
use std::process::ExitCode;

use fitment_proto::v1;

use super::verdict;
use crate::cli::common::Common;
use crate::cli::trust::read_file;
use crate::output::{self, Invalid};

#[derive(Debug, clap::Args)]
pub(super) struct BindArguments {
    /// NAMESPACE/NAME@VERSION or sha256:DIGEST.
    component: String,
    /// The configuration, YAML or JSON; absent: none, so that the defaults show.
    configuration: Option<PathBuf>,
    /// Another part whose ports may be bound to, several times.
    #[arg(long, value_name = "ID=NAMESPACE/NAME@VERSION")]
    part: Vec<String>,
    /// The configuration was generated in the structured-output form, which writes null for what is left out.
    #[arg(long)]
    structured: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
pub(super) struct SchemaArguments {
    /// NAMESPACE/NAME@VERSION or sha256:DIGEST.
    component: String,
    /// The form.
    #[arg(long, value_enum, default_value_t = Form::Closed)]
    form: Form,
    #[command(flatten)]
    common: Common,
}

/// Forms of a configuration schema.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Form {
    /// As it was certified: JSON Schema 2020-12.
    Closed,
    /// The restricted JSON Schema that structured-output features take.
    StructuredOutput,
    /// A GBNF grammar.
    Gbnf,
}

pub(super) async fn bind(arguments: BindArguments) -> anyhow::Result<ExitCode> {
    let BindArguments { component, configuration, part, structured, common } = arguments;
    let configuration = configuration.map(|path| read_file(&path)).transpose()?.unwrap_or_default();
    let parts = part.iter().map(|text| match text.split_once('=') {
        Some((id, component)) => Ok((id.to_owned(), component.to_owned())),
        None => Err(Invalid(format!("`{text}` names no part; write ID=NAMESPACE/NAME@VERSION"))),
    });
    let parts = parts.collect::<Result<_, _>>()?;
    let written_as = if structured { v1::SchemaForm::StructuredOutput } else { v1::SchemaForm::Unspecified };
    let request = v1::BindConfigurationRequest { component, configuration, parts, written_as: written_as as i32 };
    let mut client = common.server.assemblies().await?;
    let bound = client.bind_configuration(common.server.request(request)).await?.into_inner();
    let passes = bound.faults.is_empty();
    if common.json {
        output::json(&output::message_json("fitment.v1.BindConfigurationResponse", &bound)?)?;
        return Ok(verdict(passes));
    }
    for v1::BindingFault { pointer, rule, reason, way_out } in &bound.faults {
        let place = if pointer.is_empty() { "the configuration" } else { pointer };
        output::line(format!("error {rule} at {place}: {reason}\n    {way_out}"))?;
    }
    if passes {
        let value: serde_json::Value = serde_json::from_str(&bound.configuration_json)?;
        output::json(&value)?;
        eprintln!("bound: {}", bound.digest);
    }
    Ok(verdict(passes))
}

pub(super) async fn schema(arguments: SchemaArguments) -> anyhow::Result<ExitCode> {
    let SchemaArguments { component, form, common } = arguments;
    let wanted = match form {
        Form::Closed => v1::SchemaForm::Unspecified,
        Form::StructuredOutput => v1::SchemaForm::StructuredOutput,
        Form::Gbnf => v1::SchemaForm::Gbnf,
    };
    let request = v1::GetConfigurationFormRequest { component, form: wanted as i32 };
    let mut client = common.server.assemblies().await?;
    let written = client.get_configuration_form(common.server.request(request)).await?.into_inner();
    if common.json {
        output::json(&output::message_json("fitment.v1.ConfigurationForm", &written)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    match form {
        Form::Gbnf => output::line(written.text.trim_end())?,
        Form::Closed | Form::StructuredOutput => {
            output::json(&serde_json::from_str::<serde_json::Value>(&written.text)?)?;
        }
    }
    for v1::UncoveredKeyword { pointer, keyword } in &written.uncovered {
        eprintln!("not said by this form, judged by `fitment assembly bind`: {keyword} at {pointer}");
    }
    Ok(ExitCode::SUCCESS)
}
