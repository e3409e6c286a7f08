//! How long the parts of a path take. Times are this machine's: compare them within one run; what gates is the count
//! of instructions (`src/main.rs`).

fn main() {}
