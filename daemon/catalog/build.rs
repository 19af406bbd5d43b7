//! Rebuilds the crate when a file of the embedded sample catalogue changes, which the macro cannot notice by itself.

fn main() {
    println!("cargo::rerun-if-changed=sample");
}
