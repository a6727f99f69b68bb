//! Mails by SMTP, against a server that says what a test wants it to say.

use std::sync::Arc;

use holdfast_services::notifications::SentLog;
use holdfast_services::notifications::post::Smtp;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// What the server says when it has the whole mail.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Says {
    Taken,
    /// 451.
    Later,
    /// 550, already to the reader's address.
    Never,
    /// Nothing: the connection ends, and nobody knows whether the mail was taken.
    Nothing,
}

/// Says in turn what its script has, then takes everything. Keeps every mail that it had whole, taken or not.
#[derive(Clone, Default)]
struct Server {
    script: Arc<Mutex<Vec<Says>>>,
    tries: Arc<Mutex<Vec<(String, bool)>>>,
}

impl Server {
    async fn start(script: &[Says]) -> (Server, String) {
        let server = Server::default();
        server.script.lock().unwrap().extend(script.iter().rev());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("smtp://{}", listener.local_addr().expect("an address"));
        let accepting = server.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let server = accepting.clone();
                // A client that goes away ends its conversation.
                tokio::spawn(async move { server.talk(connection).await.unwrap_or_default() });
            }
        });
        (server, url)
    }

    /// `Message-ID` of each mail that came, and whether it was taken.
    fn tries(&self) -> Vec<(String, bool)> {
        self.tries.lock().unwrap().clone()
    }

    fn next(&self) -> Says {
        self.script.lock().unwrap().pop().unwrap_or(Says::Taken)
    }

    fn had(&self, mail: &str, taken: bool) {
        let id = mail.lines().find_map(|line| line.strip_prefix("Message-ID: ")).unwrap_or_default().to_string();
        self.tries.lock().unwrap().push((id, taken));
    }

    async fn talk(&self, connection: TcpStream) -> std::io::Result<()> {
        let mut connection = BufReader::new(connection);
        connection.write_all(b"220 test\r\n").await?;
        let mut says = Says::Taken;
        loop {
            let mut line = String::new();
            if connection.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let answer = match line.split_whitespace().next().unwrap_or_default().to_uppercase().as_str() {
                "EHLO" | "MAIL" | "NOOP" | "RSET" => "250 ok\r\n",
                "RCPT" => {
                    says = self.next();
                    if says == Says::Never {
                        self.had("Message-ID: refused", false);
                        "550 no such mailbox\r\n"
                    } else {
                        "250 ok\r\n"
                    }
                }
                "DATA" => {
                    connection.write_all(b"354 go on\r\n").await?;
                    let mut mail = String::new();
                    while !mail.ends_with("\r\n.\r\n") && connection.read_line(&mut mail).await? > 0 {}
                    self.had(&mail, says == Says::Taken);
                    match says {
                        Says::Nothing => return Ok(()),
                        Says::Later => "451 try later\r\n",
                        Says::Taken | Says::Never => "250 taken\r\n",
                    }
                }
                "QUIT" => {
                    connection.write_all(b"221 bye\r\n").await?;
                    return Ok(());
                }
                _ => "500 what?\r\n",
            };
            connection.write_all(answer.as_bytes()).await?;
        }
    }
}

async fn started(script: &[Says]) -> (Server, Running) {
    let (server, url) = Server::start(script).await;
    let post = Arc::new(Smtp::new(&url).expect("a URL"));
    (server, Running::start(&Routes::with_buyer("Floor"), post, SentLog::memory(100), false).await)
}

fn message_id(event: &Event, template: &str) -> String {
    format!("<{template}.{}.{}@example.org>", event.entity, event.version)
}

#[tokio::test]
async fn a_451_is_tried_again_until_the_mail_is_taken() {
    let (server, mut running) = started(&[Says::Later, Says::Later]).await;
    running.publish(&locked()).await;
    until("the mail is taken", || server.tries().last().is_some_and(|(_, taken)| *taken)).await;
    let id = message_id(&locked(), "locked");
    assert_eq!(server.tries(), [(id.clone(), false), (id.clone(), false), (id, true)]);
    running.end().await;
}

#[tokio::test]
async fn a_550_is_not_tried_again() {
    let (server, mut running) = started(&[Says::Never]).await;
    running.publish(&locked()).await;
    until("the refusal", || server.tries().len() == 1).await;
    running.publish(&locked()).await;
    running.publish(&expired()).await;
    until("the next mail", || server.tries().len() >= 2).await;
    assert_eq!(server.tries(), [("refused".to_string(), false), (message_id(&expired(), "expired"), true)]);
    running.end().await;
}

/// After the whole mail nobody knows whether it was taken: it comes again under the same name, so that the reader's side can
/// tell.
#[tokio::test]
async fn a_connection_that_drops_after_the_mail_brings_it_again_under_the_same_name() {
    let (server, mut running) = started(&[Says::Nothing]).await;
    running.publish(&locked()).await;
    until("the mail is taken", || server.tries().last().is_some_and(|(_, taken)| *taken)).await;
    let id = message_id(&locked(), "locked");
    assert_eq!(server.tries(), [(id.clone(), false), (id, true)]);
    running.end().await;
}

#[tokio::test]
async fn what_is_no_smtp_server_is_said_in_one_line_without_its_password() {
    let error = Smtp::new("http://user:secret@example.org").err().expect("no SMTP URL").to_string();
    assert!(error.contains("smtp://") && !error.contains("secret") && !error.contains('\n'), "{error}");
}
