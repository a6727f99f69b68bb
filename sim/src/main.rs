//! `cargo sim`: runs of the simulated cluster, by seed or from a file.

#[cfg(madsim)]
mod cli;

/// A run allocates some millions of times.
#[cfg(madsim)]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(madsim)]
fn main() -> std::process::ExitCode {
    cli::main()
}

/// Without the simulator there is nothing to run.
#[cfg(not(madsim))]
fn main() {
    eprintln!("the simulator is built under `--cfg madsim`: use `cargo sim`");
    std::process::exit(2);
}
