//! The organisation's policies for assemblies.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fitment_assembly::{CEDAR_SCHEMA, InvariantSet, Policies, PolicySource};
use fitment_catalog::Format;
use fitment_proto::v1;

use crate::cli::common::{Common, time_text};
use crate::cli::trust::{read_file, read_text};
use crate::client::AuthorFlags;
use crate::output;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  fitment assembly policies show
  fitment assembly policies show --cedar > starter.cedar        # to be changed
  fitment assembly policies schema                              # what Cedar policies may speak of
  fitment assembly policies check org.yaml --cedar ours.cedar   # reads them, changes nothing; files only
  fitment assembly policies set org.yaml --cedar ours.cedar     # in force for every check from then on
  fitment assembly policies set org.yaml                        # with the Cedar policies that Fitment comes with")]
pub(super) struct PolicyArguments {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, clap::Subcommand)]
enum PolicyCommand {
    /// Show those in force.
    Show {
        /// Print the Cedar policies and nothing else.
        #[arg(long)]
        cedar: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Print the Cedar schema that policies are validated against.
    Schema,
    /// Read policies as `set` would; files only.
    Check {
        /// Policies as data, YAML or JSON.
        policies: Option<PathBuf>,
        /// A file of Cedar policies, several times.
        #[arg(long, value_name = "FILE")]
        cedar: Vec<PathBuf>,
    },
    /// Put policies into force, in place of those that are.
    Set {
        /// Policies as data, YAML or JSON; absent: none.
        policies: Option<PathBuf>,
        /// A file of Cedar policies, several times; absent: those that Fitment comes with.
        #[arg(long, value_name = "FILE", conflicts_with = "without_cedar")]
        cedar: Vec<PathBuf>,
        /// No Cedar policies at all.
        #[arg(long)]
        without_cedar: bool,
        /// The etag that those in force must have.
        #[arg(long, default_value = "")]
        etag: String,
        #[command(flatten)]
        author: AuthorFlags,
        #[command(flatten)]
        common: Common,
    },
}

pub(super) async fn run(arguments: PolicyArguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        PolicyCommand::Show { cedar, common } => {
            let mut client = common.server.assemblies().await?;
            let request = common.server.request(v1::GetAssemblyPoliciesRequest {});
            let policies = client.get_assembly_policies(request).await?.into_inner();
            if cedar {
                for file in &policies.cedar {
                    output::line(file.text.trim_end())?;
                }
                return Ok(ExitCode::SUCCESS);
            }
            show(&policies, common.json)
        }
        PolicyCommand::Schema => {
            output::line(CEDAR_SCHEMA.trim_end())?;
            Ok(ExitCode::SUCCESS)
        }
        PolicyCommand::Check { policies, cedar } => check(policies.as_deref(), &cedar),
        PolicyCommand::Set { policies, cedar, without_cedar, etag, author, common } => {
            let AuthorFlags { actor, reason } = author;
            let cedar = cedar.iter().map(|file| {
                let name = file.display().to_string();
                anyhow::Ok(v1::CedarFile { name, text: read_text(file)? })
            });
            let request = v1::SetAssemblyPoliciesRequest {
                policies: policies.map(|file| read_file(&file)).transpose()?.unwrap_or_default(),
                cedar: cedar.collect::<Result<_, _>>()?,
                without_cedar,
                etag,
                actor,
                reason,
            };
            let mut client = common.server.assemblies().await?;
            let policies = client.set_assembly_policies(common.server.request(request)).await?.into_inner();
            show(&policies, common.json)
        }
    }
}

fn check(policies: Option<&Path>, cedar: &[PathBuf]) -> anyhow::Result<ExitCode> {
    let data = match policies {
        Some(file) => Policies::parse(&file.display().to_string(), &read_file(file)?, Format::Auto)?,
        None => Policies::default(),
    };
    let files = cedar.iter().map(|file| anyhow::Ok((file.display().to_string(), read_text(file)?)));
    let files = files.collect::<anyhow::Result<Vec<(String, String)>>>()?;
    let sources: Vec<PolicySource<'_>> = files.iter().map(|(file, text)| PolicySource { file, text }).collect();
    let invariants = InvariantSet::load(&sources)?;
    output::line(format!("policies {}", data.digest()))?;
    let ids: Vec<&str> = invariants.ids().collect();
    output::line(format!("{} Cedar policies {}: {}", ids.len(), invariants.digest(), ids.join(", ")))?;
    Ok(ExitCode::SUCCESS)
}

fn show(policies: &v1::AssemblyPolicies, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        output::json(&output::message_json("fitment.v1.AssemblyPolicies", policies)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let data: serde_json::Value = serde_json::from_str(&policies.policies_json)?;
    output::line(format!("policies {}", policies.policies_digest))?;
    output::json(&data)?;
    let files: Vec<&str> = policies.cedar.iter().map(|file| file.name.as_str()).collect();
    let files = if files.is_empty() { "none".to_owned() } else { files.join(", ") };
    output::line(format!("Cedar policies {}: {files}", policies.invariants_digest))?;
    output::line(match policies.time {
        None => format!("never set; etag {}", policies.etag),
        Some(_) => format!("set {} by {}; etag {}", time_text(policies.time), policies.actor, policies.etag),
    })?;
    Ok(ExitCode::SUCCESS)
}
