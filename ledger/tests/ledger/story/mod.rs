//! Runs stories: golden transcripts in which people do things to the ledger and it answers.
//!
//! A story is a text file whose name is a sentence. Each line is what somebody asks, as one would write it on paper; below the
//! `---` stands what the ledger decided, then the events it emitted. The prefix says who asks:
//!
//! ```text
//! alice: sell "Row 1, seat 2" price=20.00
//! bob: order t1 price=20.00
//! ---
//! alice: ok t1 v0
//! alice:   ticket:created t1 v0 20.00 USD free
//! bob: ok o1 v0
//! …
//! ```
//!
//! A signed-up user is known by the prefix he signed up with. `payments:` and `notifications:` are the services, `nobody:` is
//! somebody not signed in, and no prefix is the cluster itself. Tickets, orders and payments are called `t1`, `o1`, `p1` … in
//! the order in which they come to be, places in line `l1`, requests for mails `r1`, webhooks `w1`; `missing` is an id that nothing
//! has. [`command`] is the manual of the commands.
//!
//! Time: `at "12:00:00"` sets the leader's clock, forwards or back, `advance 15m` moves it; each entry is stamped with it.
//! `show`, `id`, `history`, `available`, `open_payments`, `outbox`, `audit`, `now` and `hash` (of the state) look at what is there; `restart`
//! opens the ledger again on its store. Commands between `begin` and `commit` travel in one entry.
//!
//! The runner checks the invariants after every entry and at the end. It is generic over the store, so the stories of this
//! folder also run on the replicated store: it depends on nothing but the ledger and goldenscript. Regenerate with
//! `UPDATE_GOLDENFILES=1`.

mod command;
mod describe;
mod names;

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use holdfast_ledger::command::{Actor, Batch, Command, IdempotencyKey, Service, Submitted};
use holdfast_ledger::entities::SignedIn;
use holdfast_ledger::event::Event;
use holdfast_ledger::invariants::check_invariants;
use holdfast_ledger::outcome::{Outcome, Reply};
use holdfast_ledger::state::State;
use holdfast_ledger::store::{Order, Write};
use holdfast_ledger::tables::Table;
use holdfast_ledger::{codec, id::UserId};

use command::Line;
use names::Names;

/// Midnight of 1 January 2026, UTC: the day on which every story begins, at noon.
const DAY_MS: u64 = 1_767_225_600_000;
const NOON_MS: u64 = DAY_MS + 12 * 3_600_000;

type Fallible<T> = Result<T, Box<dyn Error>>;

/// The story files of `folder`, in order of their names.
pub fn stories(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|file| Ok(file?.path())).collect::<std::io::Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    Ok(files)
}

/// Runs the story at `path` on `store` and says what differs from the file, without ever writing it.
pub fn replay<S: Write>(path: &Path, store: S) -> Result<(), String> {
    let written = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let told = goldenscript::generate(&mut Story::new(store), &written)
        .map_err(|error| format!("{}: {error}", path.display()))?;
    let differs = written.lines().zip(told.lines()).position(|(written, told)| written != told);
    let differs = differs.or_else(|| (written != told).then(|| written.lines().count().min(told.lines().count())));
    differs.map_or(Ok(()), |line| {
        let at = |text: &str| text.lines().nth(line).unwrap_or("(the end)").to_string();
        Err(format!("{}:{}: expected {:?}, got {:?}", path.display(), line + 1, at(&written), at(&told)))
    })
}

/// One story under way.
pub struct Story<S: Write> {
    /// `None` only while [`Story::restart`] moves the store.
    state: Option<State<S>>,
    /// The leader's wall clock.
    clock_ms: u64,
    names: Names,
    /// Lines that wait for `commit`, with who asked.
    entry: Option<Vec<(Line, Option<String>)>>,
}

impl<S: Write> Story<S> {
    /// A story that begins with what `store` holds: normally nothing.
    pub fn new(store: S) -> Story<S> {
        let state = State::open(store).expect("a store that opens");
        Story { state: Some(state), clock_ms: NOON_MS, names: Names::default(), entry: None }
    }

    fn state(&self) -> &State<S> {
        self.state.as_ref().expect("a state is there between commands")
    }

    /// Who speaks under `prefix`.
    fn actor(&self, prefix: Option<&str>) -> Fallible<Actor> {
        Ok(match prefix {
            None => Actor::System,
            Some("nobody") => Actor::Anonymous,
            Some("payments") => Actor::Service(Service::Payments),
            Some("notifications") => Actor::Service(Service::Notifications),
            Some(name) => Actor::User(self.names.signed_in(name)?),
        })
    }

    /// Proposes `lines` as one entry, and tells what came of it.
    fn apply(&mut self, lines: Vec<(Line, Option<String>)>) -> Fallible<String> {
        let mut commands = Vec::with_capacity(lines.len());
        for (line, who) in &lines {
            let actor = match line.command {
                Command::SignUp { .. } | Command::SignIn { .. } => Actor::Anonymous,
                _ => self.actor(who.as_deref())?,
            };
            let idempotency = line.key.as_ref().map(|(key, request)| IdempotencyKey {
                key: key.clone(),
                request_hash: request.unwrap_or_else(|| hash(&codec::encode(&line.command))),
            });
            commands.push(Submitted { actor, idempotency, command: line.command.clone() });
        }
        let index = self.state().meta().index + 1;
        let seq = self.state().meta().event_seq;
        let batch = Batch { time_ms: self.clock_ms, commands };
        let applied = self.state.as_mut().expect("a state is there between commands").apply(index, &batch)?;
        for ((line, who), outcome) in lines.iter().zip(&applied.outcomes) {
            self.name(line, who.as_deref(), outcome)?;
        }
        let mut told = String::new();
        for ((line, _), outcome) in lines.iter().zip(&applied.outcomes) {
            let many = if lines.len() > 1 { format!("{}: ", line.name) } else { String::new() };
            writeln!(told, "{many}{}", self.names.outcome(outcome))?;
        }
        for event in self.events_after(seq)? {
            writeln!(told, "  {}", self.names.event(&event))?;
        }
        self.check()?;
        Ok(told)
    }

    /// Gives a name to what an outcome has made.
    fn name(&mut self, line: &Line, who: Option<&str>, outcome: &Outcome) -> Fallible<()> {
        match &outcome.settled {
            Ok(Reply::SignedIn { user, session, epoch }) => {
                let who = who.ok_or("who signs in? prefix the line with a name")?;
                let signed_in = SignedIn { user: *user, session: *session, epoch: *epoch };
                self.names.sign_in(who, signed_in, matches!(line.command, Command::SignUp { .. }));
            }
            Ok(Reply::Ticket { ticket, .. }) => self.names.number("t", ticket.0),
            Ok(Reply::Tickets(tickets)) => {
                tickets.iter().flatten().for_each(|(ticket, _)| self.names.number("t", ticket.0));
            }
            Ok(Reply::Order { order, .. }) => self.names.number("o", order.0),
            Ok(Reply::Payment { payment, .. }) => self.names.number("p", payment.0),
            Ok(Reply::Request { request, .. }) => self.names.number("r", request.0),
            Ok(Reply::Webhook { webhook }) => self.names.number("w", webhook.0),
            Ok(Reply::Place { place, .. }) => self.names.number("l", place.0),
            _ => (),
        }
        Ok(())
    }

    /// The events numbered above `seq`.
    fn events_after(&self, seq: u64) -> Fallible<Vec<Event>> {
        let rows =
            self.state().store().range(Table::Outbox, &(seq + 1).to_be_bytes(), None, Order::Ascending, usize::MAX)?;
        rows.iter().map(|(_, row)| Ok(codec::decode(row)?)).collect()
    }

    /// All invariants hold, or an error that names those that do not.
    fn check(&self) -> Fallible<()> {
        check_invariants(self.state()).map_err(|broken| format!("broken invariants: {broken:?}").into())
    }

    /// Stops and opens the ledger again on what its store holds.
    fn restart(&mut self) -> Fallible<()> {
        let state = self.state.take().expect("a state is there between commands");
        let hash = state.state_hash();
        let state = State::open(state.into_store())?;
        assert_eq!(state.state_hash(), hash, "a restart changes nothing");
        self.state = Some(state);
        Ok(())
    }

    /// The epoch that a password check would find now.
    fn epoch(&self, user: UserId) -> Fallible<u32> {
        let row = self.state().store().get(Table::Users, user.as_bytes())?.ok_or("no such user")?;
        Ok(codec::decode::<holdfast_ledger::entities::User>(&row)?.epoch)
    }
}

impl<S: Write> goldenscript::Runner for Story<S> {
    type Command = goldenscript::Command;

    fn run(&mut self, line: &goldenscript::Command, context: &goldenscript::Context) -> Fallible<String> {
        let mut arguments = line.consume_args();
        let told = match line.name.as_str() {
            "at" => {
                self.clock_ms = DAY_MS + command::clock(arguments.next_pos().ok_or("when?")?)?;
                String::new()
            }
            "advance" => {
                self.clock_ms += command::duration(arguments.next_pos().ok_or("how long?")?)?;
                String::new()
            }
            "restart" => {
                self.restart()?;
                "the same state".into()
            }
            "begin" => {
                self.entry = Some(Vec::new());
                String::new()
            }
            "commit" => {
                let lines = self.entry.take().ok_or("nothing was begun")?;
                self.apply(lines)?
            }
            "show" => {
                let mut told = String::new();
                while let Some(name) = arguments.next_pos() {
                    writeln!(told, "{}", self.names.show(self.state().store(), name)?)?;
                }
                told
            }
            "id" => {
                let mut told = String::new();
                while let Some(name) = arguments.next_pos() {
                    writeln!(told, "{name} {}", self.names.id(name)?)?;
                }
                told
            }
            "hash" => format!("{:032x}", self.state().state_hash()),
            "history" => self.names.history(self.state().store(), arguments.next_pos().ok_or("of what?")?)?,
            "outbox" => {
                let meta = self.state().meta();
                format!("events {} to {}, {} acknowledged", meta.outbox_first, meta.event_seq, meta.outbox_acked)
            }
            "available" => self.names.available(self.state().store())?,
            "open_payments" => self.names.open_payments(self.state().store())?,
            "audit" => self.names.audit(self.state().store())?,
            "now" => describe::time(self.state().meta().now_ms),
            _ => {
                let who = context.prefix.clone();
                let parsed = command::parse(line, who.as_deref(), self)?;
                match &mut self.entry {
                    Some(entry) => {
                        entry.push((parsed, who));
                        return Ok(String::new());
                    }
                    None => return self.apply(vec![(parsed, who)]),
                }
            }
        };
        arguments.reject_next()?;
        Ok(told)
    }

    fn end_script(&mut self) -> Fallible<()> {
        match self.entry {
            Some(_) => Err("an entry was begun and not committed".into()),
            None => self.check(),
        }
    }
}

/// FNV-1a: any function of the request's bytes does here.
fn hash(bytes: &[u8]) -> u128 {
    let step = |hash: u128, byte: &u8| (hash ^ u128::from(*byte)).wrapping_mul(0x0000000001000000000000000000013b);
    bytes.iter().fold(0x6c62272e07bb014262b821756295c58d, step)
}
