//! Writing for people. A reader that has gone (`holdfast verify | head`) is no reason to panic, so its absence is ignored.

/// `println!` that does not mind a closed standard output.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

/// `eprintln!` that does not mind a closed standard error.
macro_rules! say_aside {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($text)*);
    }};
}
