//! The index crate from outside: against brute force, against damaged files, and against itself.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall fail where it stands")]

mod data;
mod dense_basics;
mod dense_graph;
mod dense_oracle;
mod lexical;
mod lexical_files;
mod probe;
mod segment_file;
