//! `holdfast guard`: another program that does not outlive whoever started it.
//!
//! A broker or a browser's driver does not watch its standard input as our own nodes do. A guard does it for them: it starts
//! the program, says its process id, and ends it when its own standard input closes, which happens however its parent ends.
//! `demo` and the tests start their companions through it.
//!
//! What this deliberately does not do: start again what ended. Whoever started it decides that.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use rustix::process::{Pid, Signal, kill_process};

use crate::failure::Failure;
use crate::stop;

/// How long the program may take to end after SIGTERM, before SIGKILL.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// Between two looks at a log or at a process that is to end.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Run another program until standard input closes
#[derive(Debug, Args)]
pub struct GuardArgs {
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "PROGRAM")]
    command: Vec<OsString>,
}

/// Runs the program; returns when it has ended.
pub async fn run(args: GuardArgs) -> Result<(), Failure> {
    let name = args.command[0].display().to_string();
    let complain = |error: io::Error| Failure::cannot_start(format!("{name}: {error}"));
    let stderr = io::stderr();
    let stderr = std::os::fd::AsFd::as_fd(&stderr).try_clone_to_owned().map_err(complain)?;
    let mut child = tokio::process::Command::new(&args.command[0])
        .args(&args.command[1..])
        .stdin(Stdio::null())
        .stdout(stderr)
        .spawn()
        .map_err(complain)?;
    let pid = child.id().and_then(|id| Pid::from_raw(id as i32)).expect("a child that was not waited for has an id");
    say!("{}", pid.as_raw_nonzero());
    let mut closed = std::pin::pin!(stop::stdin_closed());
    // Ctrl-C reaches the whole group of processes: the program answers it itself, its guard waits for that.
    let mut asked = std::pin::pin!(stop::requested());
    let mut was_asked = false;
    let status = loop {
        tokio::select! {
            biased;
            status = child.wait() => break status,
            () = &mut asked, if !was_asked => was_asked = true,
            () = &mut closed => {
                let _ = kill_process(pid, Signal::TERM);
                if let Ok(status) = tokio::time::timeout(STOP_TIMEOUT, child.wait()).await {
                    break status;
                }
                child.start_kill().map_err(complain)?;
                break child.wait().await;
            }
        }
    };
    match status.map_err(complain)? {
        status if status.success() => Ok(()),
        status => Err(Failure::failed(format!("{name}: {status}"))),
    }
}

/// A program that runs under a guard. Dropping it kills it.
pub struct Guarded {
    guard: Child,
    pid: Pid,
    /// What the program writes; shared by all programs that were started on the same file.
    log: PathBuf,
    /// Where this program's own output begins in it.
    log_start: u64,
}

impl Guarded {
    /// Starts `program`. `holdfast` is this program, or one that understands `guard` as it does. What the surroundings say
    /// of a node in `HOLDFAST_*` is kept from it.
    pub fn start<A: AsRef<OsStr>>(
        holdfast: &Path,
        program: &Path,
        args: impl IntoIterator<Item = A>,
        variables: &[(&str, &str)],
        log: &Path,
    ) -> Result<Guarded, Failure> {
        let complain = |error: &dyn std::fmt::Display| Failure::cannot_start(format!("{}: {error}", program.display()));
        let file = File::options().create(true).append(true).open(log).map_err(|error| complain(&error))?;
        let log_start = file.metadata().map_err(|error| complain(&error))?.len();
        let mut command = Command::new(holdfast);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HOLDFAST_") && name != "HOLDFAST_LOG" {
                command.env_remove(name);
            }
        }
        command.arg("guard").arg("--").arg(program).args(args).envs(variables.iter().copied());
        let mut guard = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .map_err(|error| complain(&error))?;
        let mut line = String::new();
        let stdout = guard.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).map_err(|error| complain(&error))?;
        match line.trim().parse().ok().and_then(Pid::from_raw) {
            Some(pid) => Ok(Guarded { guard, pid, log: log.to_path_buf(), log_start }),
            None => {
                let _ = guard.wait();
                let said = std::fs::read_to_string(log).unwrap_or_default();
                Err(complain(&said.lines().last().unwrap_or("it did not start")))
            }
        }
    }

    /// Sends a signal to the program.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process(self.pid, signal)?)
    }

    /// Whether the program still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.guard.try_wait(), Ok(None))
    }

    /// Waits until the program writes a line that contains `words`, and gives that line.
    pub async fn wait_for_line(&mut self, words: &str, patience: Duration) -> Result<String, Failure> {
        let started = Instant::now();
        loop {
            let said = std::fs::read(&self.log).unwrap_or_default();
            let own = String::from_utf8_lossy(said.get(self.log_start as usize..).unwrap_or_default()).into_owned();
            // A line without its end may still grow.
            let complete = own.rsplit_once('\n').map(|(lines, _)| lines).unwrap_or_default();
            if let Some(line) = complete.lines().find(|line| line.contains(words)) {
                return Ok(line.to_string());
            }
            let log = self.log.display().to_string();
            if !self.is_running() {
                let last = complete.lines().last().unwrap_or_default();
                return Err(Failure::cannot_start(format!("it ended before it said {words:?}: {last} ({log})")));
            }
            if started.elapsed() > patience {
                return Err(Failure::cannot_start(format!("{words:?} was not said within {patience:?}: see {log}")));
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Ends the program at once, as `kill -9` does.
    pub fn kill(mut self) {
        self.end();
    }

    /// Asks the program to stop and waits for it. Blocks.
    pub fn stop(mut self) -> io::Result<bool> {
        drop(self.guard.stdin.take());
        Ok(self.guard.wait()?.success())
    }

    fn end(&mut self) {
        // It may have ended by itself; its id stays its own until the guard has been waited for.
        if self.is_running() {
            let _ = self.signal(Signal::KILL);
        }
        let _ = self.guard.wait();
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.end();
    }
}
