//! Compiles `fitment/v1/*.proto` with protox, so that no protoc is needed on the machine.

use std::env;
use std::error::Error;
use std::path::PathBuf;

const FILES: [&str; 13] = [
    "fitment/v1/common.proto",
    "fitment/v1/matcher.proto",
    "fitment/v1/catalog.proto",
    "fitment/v1/feedback.proto",
    "fitment/v1/evaluation.proto",
    "fitment/v1/info.proto",
    "fitment/v1/audit.proto",
    "fitment/v1/certification.proto",
    "fitment/v1/snapshot.proto",
    "fitment/v1/gaps.proto",
    "fitment/v1/bundle.proto",
    "fitment/v1/model.proto",
    "fitment/v1/assembly.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=fitment");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut compiler = protox::Compiler::new(["."])?;
    compiler.include_imports(true).include_source_info(true).open_files(FILES)?;
    std::fs::write(out.join("fitment_descriptor.bin"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure()
        // Clients are made from a channel; that way no HTTP client is linked into what only serves.
        .build_transport(false)
        .client_mod_attribute(".", "#[cfg(feature = \"client\")]")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
