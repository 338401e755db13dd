//! Builds again when a migration is added: the compiler sees only those that were embedded before.

#[expect(clippy::print_stdout, reason = "how a build script speaks to cargo")]
fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
