//! `fitment assembly`: from a requirement to an application whose parts, configuration and connections were checked.

mod configuration;
mod documents;
mod economics;
mod impact;
mod kept;
mod plan;
mod policies;
mod signature;
mod tree;

use std::path::Path;
use std::process::ExitCode;

use fitment_catalog::ComponentName;
use fitment_proto::v1;

use super::trust::read_file;
use crate::output::{self, Exit, Invalid};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  fitment assembly plan requirement.md --out assembly.yaml   # intents, what meets each, a draft to complete
  fitment assembly context ui/data-table@7.4.0 --tokens 2000 # what a language model is told of components
  fitment assembly schema payments/card-checkout@4.2.1 --form gbnf
  fitment assembly bind payments/card-checkout@4.2.1 checkout.yaml
  fitment assembly check assembly.yaml                       # all findings at once; exit code 8 where it does not pass
  fitment assembly lock assembly.yaml --tree .               # writes assembly.lock.yaml
  fitment assembly verify --tree .                           # files against the lock; no daemon needed
  fitment assembly report assembly.yaml --out report --key auditor.pem
  fitment assembly verify-report report --public auditor.pub.pem
  fitment assembly register assembly.yaml                    # so that impact finds it
  fitment assembly impact --component payments/card-checkout
  fitment assembly upgrade assembly.yaml                     # newer versions, with the difference, checked again
  fitment assembly economics --by month --svg economics.svg

Where ASSEMBLY is asked for, name a file, or an assembly that is kept (NAMESPACE/NAME).")]
pub(super) struct AssemblyArguments {
    #[command(subcommand)]
    command: AssemblyCommand,
}

#[derive(Debug, clap::Subcommand)]
enum AssemblyCommand {
    /// Split a requirement into intents, match each, say what is left to generate, draft a document.
    Plan(plan::PlanArguments),
    /// Print what a language model is told of components, within a budget of tokens.
    Context(plan::ContextArguments),
    /// Hold a configuration against a version's closed schema.
    Bind(configuration::BindArguments),
    /// Print a version's configuration schema in a form that language models are held to.
    Schema(configuration::SchemaArguments),
    /// Check an assembly.
    Check(documents::CheckArguments),
    /// Write the lock file of an assembly that passes.
    Lock(documents::LockArguments),
    /// Compare a tree with its lock file; files only.
    Verify(tree::VerifyArguments),
    /// Write the compliance report: two formats for machines and a page for people.
    Report(documents::ReportArguments),
    /// Say who signed a compliance report, and whether its files are those that were signed; files only.
    VerifyReport(signature::SignatureArguments),
    /// Keep an assembly, so that changes of the catalogue are told to those who use it.
    Register(kept::RegisterArguments),
    /// List the assemblies that are kept.
    List(kept::ListArguments),
    /// Show one that is kept, checked now.
    Show(kept::ShowArguments),
    /// Forget one.
    Delete(kept::DeleteArguments),
    /// Say which kept assemblies use something, and what each would need without it.
    Impact(impact::ImpactArguments),
    /// Print what happens to kept assemblies, as it happens.
    Watch(impact::WatchArguments),
    /// Propose newer versions.
    Upgrade(documents::UpgradeArguments),
    /// Show and set the organisation's policies.
    Policies(policies::PolicyArguments),
    /// Count outcomes, lines not generated, gaps closed and context tokens, by team and period.
    Economics(economics::EconomicsArguments),
}

pub(super) fn run(arguments: AssemblyArguments) -> anyhow::Result<ExitCode> {
    super::client_runtime()?.block_on(async {
        match arguments.command {
            AssemblyCommand::Plan(arguments) => plan::plan(arguments).await,
            AssemblyCommand::Context(arguments) => plan::context(arguments).await,
            AssemblyCommand::Bind(arguments) => configuration::bind(arguments).await,
            AssemblyCommand::Schema(arguments) => configuration::schema(arguments).await,
            AssemblyCommand::Check(arguments) => documents::check(arguments).await,
            AssemblyCommand::Lock(arguments) => documents::lock(arguments).await,
            AssemblyCommand::Verify(arguments) => tree::verify(&arguments),
            AssemblyCommand::Report(arguments) => documents::report(arguments).await,
            AssemblyCommand::VerifyReport(arguments) => signature::verify(&arguments),
            AssemblyCommand::Register(arguments) => kept::register(arguments).await,
            AssemblyCommand::List(arguments) => kept::list(arguments).await,
            AssemblyCommand::Show(arguments) => kept::show(arguments).await,
            AssemblyCommand::Delete(arguments) => kept::delete(arguments).await,
            AssemblyCommand::Impact(arguments) => impact::impact(arguments).await,
            AssemblyCommand::Watch(arguments) => impact::watch(arguments).await,
            AssemblyCommand::Upgrade(arguments) => documents::upgrade(arguments).await,
            AssemblyCommand::Policies(arguments) => policies::run(arguments).await,
            AssemblyCommand::Economics(arguments) => economics::run(arguments).await,
        }
    })
}

/// An assembly as a command line names it.
#[derive(Debug)]
struct Named {
    /// The document; empty: the one that is kept as `name`.
    document: Vec<u8>,
    name: String,
    source: String,
}

impl Named {
    /// A file, or the name of an assembly that is kept.
    ///
    /// Errors: neither.
    fn read(text: &str) -> anyhow::Result<Self> {
        let path = Path::new(text);
        if !path.exists() && text.parse::<ComponentName>().is_ok() {
            return Ok(Self { document: Vec::new(), name: text.to_owned(), source: String::new() });
        }
        let document = read_file(path)?;
        if document.is_empty() {
            return Err(Invalid(format!("{text} is empty; write an assembly into it")).into());
        }
        Ok(Self { document, name: String::new(), source: text.to_owned() })
    }
}

/// Prints what a check found, and what it was judged by.
fn show_check(check: &v1::CheckAssemblyResponse) -> anyhow::Result<()> {
    for finding in &check.findings {
        show_finding(finding)?;
    }
    let v1::AssemblyJudgement { name, digest, revision, .. } = check.judgement.clone().unwrap_or_default();
    let count = |severity: v1::Severity, word: &str| {
        let count = check.findings.iter().filter(|found| found.severity() == severity).count();
        format!("{count} {word}{}", if count == 1 { "" } else { "s" })
    };
    let (errors, warnings) = (count(v1::Severity::Error, "error"), count(v1::Severity::Warning, "warning"));
    let verdict = if check.passes { "passes" } else { "does not pass" };
    output::line(format!("{name} {verdict}: {errors}, {warnings}; {digest} at revision {revision}"))
}

fn show_finding(finding: &v1::AssemblyFinding) -> anyhow::Result<()> {
    let severity = match finding.severity() {
        v1::Severity::Warning => "warning",
        v1::Severity::Note => "note",
        v1::Severity::Error | v1::Severity::Unspecified => "error",
    };
    let v1::AssemblyFinding { rule, pointer, place, reason, way_out, .. } = finding;
    let place = match (place.is_empty(), pointer.is_empty()) {
        (true, true) => "the assembly".to_owned(),
        (true, false) => pointer.clone(),
        (false, true) => place.clone(),
        (false, false) => format!("{place} ({pointer})"),
    };
    output::line(format!("{severity} {rule} at {place}: {reason}\n    {way_out}"))
}

/// The exit code of something that passed, or did not.
fn verdict(passes: bool) -> ExitCode {
    if passes { ExitCode::SUCCESS } else { ExitCode::from(Exit::Findings as u8) }
}

/// Refuses to overwrite a file.
fn absent(path: &Path) -> anyhow::Result<()> {
    if path.exists() {
        return Err(Invalid(format!("{} is there already; name a new file", path.display())).into());
    }
    Ok(())
}
