//! Assemblies that are kept by name.

use std::path::PathBuf;
use std::process::ExitCode;

use fitment_proto::v1;

use super::{show_check, verdict};
use crate::cli::common::{Common, time_text};
use crate::cli::trust::read_file;
use crate::client::AuthorFlags;
use crate::output;

/// Assemblies of a page.
const PAGE: u32 = 1000;

#[derive(Debug, clap::Args)]
pub(super) struct RegisterArguments {
    /// The document.
    document: PathBuf,
    /// The etag that what it replaces must have.
    #[arg(long, default_value = "")]
    etag: String,
    #[command(flatten)]
    author: AuthorFlags,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArguments {
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
pub(super) struct ShowArguments {
    /// NAMESPACE/NAME.
    name: String,
    /// Print the document and nothing else.
    #[arg(long)]
    document: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
pub(super) struct DeleteArguments {
    /// NAMESPACE/NAME.
    name: String,
    /// The etag that it must have.
    #[arg(long, default_value = "")]
    etag: String,
    #[command(flatten)]
    author: AuthorFlags,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn register(arguments: RegisterArguments) -> anyhow::Result<ExitCode> {
    let RegisterArguments { document, etag, author: AuthorFlags { actor, reason }, common } = arguments;
    let request = v1::RegisterAssemblyRequest {
        document: read_file(&document)?,
        source: document.display().to_string(),
        etag,
        actor,
        reason,
    };
    let mut client = common.server.assemblies().await?;
    let kept = client.register_assembly(common.server.request(request)).await?.into_inner();
    if common.json {
        output::json(&output::message_json("fitment.v1.AssemblyRecord", &kept)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    show_check(&kept.check.unwrap_or_default())?;
    output::line(format!("{} is kept; etag {}", kept.name, kept.etag))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn list(arguments: ListArguments) -> anyhow::Result<ExitCode> {
    let ListArguments { common } = arguments;
    let mut client = common.server.assemblies().await?;
    let (mut assemblies, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListAssembliesRequest { page_size: PAGE, page_token };
        let page = client.list_assemblies(common.server.request(request)).await?.into_inner();
        assemblies.extend(page.assemblies);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if common.json {
        let listed: Vec<_> = assemblies
            .iter()
            .map(|assembly| output::message_json("fitment.v1.AssemblyRecord", assembly))
            .collect::<Result<_, _>>()?;
        output::json(&serde_json::json!({ "assemblies": listed }))?;
        return Ok(ExitCode::SUCCESS);
    }
    if assemblies.is_empty() {
        output::line("no assembly is kept; keep one with `fitment assembly register FILE`")?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = output::table(&["assembly", "owner", "parts", "kept", "by", "digest"]);
    for v1::AssemblyRecord { name, owner, parts, time, actor, digest, .. } in assemblies {
        table.add_row([name, owner, parts.to_string(), time_text(time), actor, digest.chars().take(19).collect()]);
    }
    output::line(table)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn show(arguments: ShowArguments) -> anyhow::Result<ExitCode> {
    let ShowArguments { name, document, common } = arguments;
    let mut client = common.server.assemblies().await?;
    let kept = client.get_assembly(common.server.request(v1::GetAssemblyRequest { name })).await?.into_inner();
    if document {
        output::line(String::from_utf8_lossy(&kept.document).trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    if common.json {
        output::json(&output::message_json("fitment.v1.AssemblyRecord", &kept)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let check = kept.check.unwrap_or_default();
    show_check(&check)?;
    output::line(format!("kept {} by {}; etag {}", time_text(kept.time), kept.actor, kept.etag))?;
    Ok(verdict(check.passes))
}

pub(super) async fn delete(arguments: DeleteArguments) -> anyhow::Result<ExitCode> {
    let DeleteArguments { name, etag, author: AuthorFlags { actor, reason }, common } = arguments;
    let request = v1::DeleteAssemblyRequest { name: name.clone(), etag, actor, reason };
    let mut client = common.server.assemblies().await?;
    client.delete_assembly(common.server.request(request)).await?;
    if common.json {
        output::json(&serde_json::json!({ "deleted": name }))?;
    } else {
        output::line(format!("{name} is forgotten"))?;
    }
    Ok(ExitCode::SUCCESS)
}
