//! End to end: the real binary, the real model, real clients.

mod bad_input;
mod bundle;
mod catalog;
mod catalog_files;
mod certify;
mod cli;
mod commands;
mod demo;
mod disk;
mod durability;
mod eval_cli;
mod evaluation;
mod feedback;
mod gaps;
mod kills;
mod lifecycle;
mod matching;
mod metrics;
mod migrate;
mod near_duplicates;
mod network;
mod operations;
mod python;
mod second_stage;
mod snapshot;
mod versions;
