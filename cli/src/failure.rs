//! How a command ends: one line for a person, one exit code for a script.

use std::fmt;
use std::process::ExitCode;

/// The exit codes of `holdfast`. 0 is success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// What was asked for was done, and the answer is no: lines were refused, an invariant does not hold.
    Failed = 1,
    /// A flag, a variable or a setting is wrong. The same code as clap's own.
    Usage = 2,
    /// The machine does not allow it: an address or a folder is in use, a folder cannot be written.
    CannotStart = 3,
    /// No server answered.
    Unreachable = 4,
    /// The storage failed while running. Nothing acknowledged is lost; the node must not go on.
    Storage = 5,
    /// The stored data is damaged. The node must not vote.
    Damaged = 6,
    /// The cluster refuses the change. Nothing was done.
    Refused = 7,
    /// It may or may not have been done.
    Unknown = 8,
    /// The data or the cluster is of a newer version than this build knows. Nothing was changed.
    Newer = 9,
}

/// Why a command could not do its work. The message is one line and names the flag, field or file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub exit: Exit,
    pub message: String,
}

impl Failure {
    pub fn new(exit: Exit, message: impl fmt::Display) -> Failure {
        // Errors of libraries may span lines; a log line and a shell want one.
        let message = message.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        Failure { exit, message }
    }

    pub fn usage(message: impl fmt::Display) -> Failure {
        Failure::new(Exit::Usage, message)
    }

    pub fn cannot_start(message: impl fmt::Display) -> Failure {
        Failure::new(Exit::CannotStart, message)
    }

    pub fn unreachable(message: impl fmt::Display) -> Failure {
        Failure::new(Exit::Unreachable, message)
    }

    pub fn failed(message: impl fmt::Display) -> Failure {
        Failure::new(Exit::Failed, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}
