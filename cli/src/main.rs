//! The `holdfast` program. Everything it does is in the library beside it, so that tests and examples can use it too.

#[cfg(not(madsim))]
fn main() -> std::process::ExitCode {
    holdfast_cli::run()
}

/// The simulator drives the layers below; it has no use for a command line.
#[cfg(madsim)]
fn main() {}
