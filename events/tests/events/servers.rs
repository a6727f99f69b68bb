//! Real NATS servers on loopback, ended with the test.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use holdfast_events::broker::SharedBroker;
use holdfast_events::nats::Nats;

/// The versions that must work: a recent one, and Debian's.
pub const VERSIONS: [&str; 2] = ["nats-server", "nats-server-2.9.10"];

/// One server with its own folder. Ended and removed when dropped.
pub struct Server {
    program: PathBuf,
    folder: tempfile::TempDir,
    child: Option<Child>,
    port: u16,
}

/// Where setup has put the programs that tests start.
fn tools() -> PathBuf {
    let beside = || Some(std::env::current_exe().ok()?.ancestors().nth(3)?.join("tools"));
    std::env::var_os("HOLDFAST_TOOLS").map(PathBuf::from).or_else(beside).expect("a place for tools")
}

impl Server {
    /// A server that is ready, or nothing where setup has not put one: `make test` has.
    pub async fn start(version: &str) -> Option<Server> {
        let program = tools().join(version);
        if !program.exists() {
            eprintln!("not tested: {} is not there; deploy/setup.sh brings it", program.display());
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let mut server = Server { program, folder, child: None, port: 0 };
        server.launch();
        server.port = server.chosen_port().await;
        server.answers().await;
        Some(server)
    }

    fn launch(&mut self) {
        let port = if self.port == 0 { "-1".to_string() } else { self.port.to_string() };
        let folder = self.folder.path();
        let mut command = Command::new(&self.program);
        command.args(["-a", "127.0.0.1", "-p", &port, "-js"]);
        command.arg("-sd").arg(folder.join("store")).arg("--ports_file_dir").arg(folder);
        self.child = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the server starts"));
    }

    /// The server writes it into a file named after its process.
    async fn chosen_port(&self) -> u16 {
        for _ in 0..600 {
            let files = std::fs::read_dir(self.folder.path()).expect("a folder").flatten();
            let ports = files.map(|file| file.path()).find(|path| path.extension().is_some_and(|end| end == "ports"));
            let text = ports.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
            let url = text.split('"').find(|part| part.starts_with("nats://")).unwrap_or_default();
            if let Some(Ok(port)) = url.rsplit(':').next().map(str::parse) {
                return port;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the server does not say its port");
    }

    async fn answers(&self) {
        for _ in 0..600 {
            if let Ok(connection) = self.broker().connect().await
                && connection.streams().await.is_ok()
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the server does not answer");
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub fn broker(&self) -> SharedBroker {
        Arc::new(Nats::new(&[self.url()], None).expect("an address"))
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// At the same port, with what its folder holds.
    pub async fn start_again(&mut self) {
        self.launch();
        self.answers().await;
    }

    pub fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// All files below `from`, to `to`, which is made anew.
pub fn copy_folder(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder").flatten() {
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy_folder(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).expect("a copy")),
        }
    }
}
