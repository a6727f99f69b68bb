//! One run: a schedule in, a verdict out.
//!
//! The cluster forms and the tickets are put on sale in peace; then the clients work while the faults happen; then everything
//! is healed, and the cluster has to recover, end what is open and stand before the checks. Each run has an operating system
//! thread of its own, since what the simulator keeps by thread would otherwise leak from one run into the next.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use holdfast_ledger::command::{Actor, Command, Submitted};
use holdfast_ledger::entities::{Policy, Roles};
use holdfast_ledger::planted;
use holdfast_raft::settings::Settings;
use madsim::net::Endpoint;
use madsim::runtime::{NodeHandle, Runtime};
use madsim::task::JoinHandle;
use rand::RngExt;
use tokio::time::{sleep, timeout};

use crate::bus::Bus;
use crate::check::{self, Evidence};
use crate::client::{Client, Clients};
use crate::clocks::elapsed;
use crate::evidence::{self, Archive};
use crate::frames::Frames;
use crate::history::{Asked, Call, History};
use crate::hop::Propose;
use crate::machine::{Ground, Machine, Observed, Present, http_addr};
use crate::mirror::{Book, Copy, Letterbox};
use crate::past::{self, Pasts};
use crate::provider::Bank;
use crate::schedule::Schedule;
use crate::second;
use crate::services;
use crate::streams::stream;
use crate::trace::{Recorded, Trace};
use crate::workload::{self, Closing};
use crate::world::{Reached, World};

/// How long a new cluster may take to form.
const FORMING_MAX: Duration = Duration::from_secs(60);
/// How long, after everything is healed, until all machines are up and there is a leader.
pub const RECOVERY_MAX: Duration = Duration::from_secs(20);
/// How long, after healing, until every client that still asks has its answer.
const LAST_ANSWERS_MAX: Duration = Duration::from_secs(30);
/// How long locks and payments may take to end, beyond the locks' own time.
const SETTLING_MAX: Duration = Duration::from_secs(30);
/// How often, and how long each time, an operator's role is asked for.
const ROLE_ATTEMPTS_MAX: usize = 20;
const ROLE_WAIT: Duration = Duration::from_secs(2);
/// Longer than any run, however clocks jump, in milliseconds.
const KEPT_MS: u64 = 365 * 24 * 3_600_000;
/// The longest run, in virtual time beyond its duration.
const OVERTIME_MAX: Duration = Duration::from_secs(600);

/// How a run ended, worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    Passed,
    /// Something did not happen within its bound.
    Liveness,
    /// A process panicked, or a machine stopped by itself.
    Crash,
    /// A promise was broken.
    Safety,
    /// The same schedule gave two different runs.
    Divergence,
}

impl Class {
    pub fn name(self) -> &'static str {
        match self {
            Class::Passed => "passed",
            Class::Liveness => "liveness",
            Class::Crash => "crash",
            Class::Safety => "safety",
            Class::Divergence => "divergence",
        }
    }

    /// What the process says when it ends.
    pub fn exit_code(self) -> u8 {
        match self {
            Class::Passed => 0,
            Class::Crash => 10,
            Class::Liveness => 11,
            Class::Safety => 12,
            Class::Divergence => 13,
        }
    }
}

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Report {
    pub class: Class,
    /// What is wrong, in sentences; empty for a run that passed.
    pub findings: Vec<String>,
    pub trace: Recorded,
    pub calls: Vec<Call>,
    pub virtual_time: Duration,
    pub wall_time: Duration,
    /// From healing until all machines were up under a leader.
    pub recovery: Option<Duration>,
    pub leaders: usize,
    /// Purchases that were acknowledged.
    pub purchases: usize,
    /// The last log index.
    pub index: u64,
    /// What the faults met.
    pub reached: BTreeSet<Reached>,
    /// Tickets that the second checker looked at, and those that used up its budget.
    pub searched: (usize, usize),
}

/// Carries out a schedule, in a thread of its own. With `keeps_lines` the trace can be read.
pub fn run(schedule: &Schedule, keeps_lines: bool) -> Report {
    let schedule = schedule.clone();
    let thread = std::thread::Builder::new().name(format!("seed {}", schedule.seed));
    let spawned = thread.spawn(move || run_here(&schedule, keeps_lines)).expect("the machine has a thread to spare");
    spawned.join().expect("panics are caught inside")
}

/// Whether the runs of this process differ on purpose, and how many there were.
static UNLIKE: AtomicBool = AtomicBool::new(false);
static RUNS: AtomicU64 = AtomicU64::new(0);

/// From now on every run of this process is another one, whatever its schedule says: to show that it is noticed.
pub fn plant_divergence() {
    UNLIKE.store(true, Ordering::Relaxed);
}

/// What a run writes as it goes, so that it is there after a panic too.
#[derive(Default)]
struct Progress {
    findings: Mutex<Vec<(Class, String)>>,
    recovery: Mutex<Option<Duration>>,
    index: Mutex<u64>,
    virtual_time: Mutex<Duration>,
    reached: Mutex<BTreeSet<Reached>>,
    searched: Mutex<(usize, usize)>,
}

impl Progress {
    fn find(&self, class: Class, what: String) {
        self.findings.lock().expect("nothing panics while it reports").push((class, what));
    }
}

fn run_here(schedule: &Schedule, keeps_lines: bool) -> Report {
    planted::plant(schedule.planted.map(|planted| planted.0));
    let began = Instant::now();
    let progress = Arc::new(Progress::default());
    let trace = Arc::new(Trace::new(keeps_lines));
    let ground = Arc::new(ground(schedule, trace.clone()));
    let clients = Arc::new(Clients {
        seed: schedule.seed,
        present: ground.present.clone(),
        trace: trace.clone(),
        history: History::default(),
        loss_permille: AtomicU32::new(0),
    });
    let mut config = madsim::Config::default();
    let (least_us, most_us) = schedule.cluster.latency_us;
    config.net.send_latency = Duration::from_micros(least_us)..Duration::from_micros(most_us);
    let simulation = {
        let (progress, ground, clients) = (progress.clone(), ground.clone(), clients.clone());
        let schedule = schedule.clone();
        move || {
            let mut runtime = Runtime::with_seed_and_config(schedule.seed, config);
            runtime.set_time_limit(Duration::from_millis(schedule.duration_ms) + OVERTIME_MAX);
            runtime.block_on(simulate(schedule, ground, clients, progress));
        }
    };
    if let Err(panic) = catch_unwind(AssertUnwindSafe(simulation)) {
        let place = crate::quiet::last_place().map_or(String::new(), |place| format!(" at {place}"));
        let class = if ground.given_up.load(Ordering::Relaxed) { Class::Liveness } else { Class::Crash };
        progress.find(class, format!("panic{place}: {}", message(&*panic)));
    }
    report(&progress, &ground, &clients, &trace, began)
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("of no text").to_string()
}

fn report(progress: &Progress, ground: &Ground, clients: &Clients, trace: &Trace, began: Instant) -> Report {
    let mut findings = std::mem::take(&mut *progress.findings.lock().expect("the run has ended"));
    let observed = ground.observed.lock();
    let (violations, leaders) = match &observed {
        Ok(observed) => (observed.violations.clone(), observed.leaders()),
        Err(_) => Default::default(),
    };
    findings.extend(violations.into_iter().map(|what| {
        let class = if what.contains("stopped by itself") { Class::Crash } else { Class::Safety };
        (class, what)
    }));
    findings.sort_by_key(|(class, _)| std::cmp::Reverse(*class));
    let calls = clients.history.take();
    let is_purchase = |call: &&Call| {
        matches!(call.asked, crate::history::Asked::Pay { .. })
            && call.told.as_ref().is_some_and(|told| told.status == 201)
    };
    Report {
        class: findings.first().map_or(Class::Passed, |(class, _)| *class),
        findings: findings.into_iter().map(|(class, what)| format!("{}: {what}", class.name())).collect(),
        trace: trace.take(),
        virtual_time: *progress.virtual_time.lock().expect("the run has ended"),
        wall_time: began.elapsed(),
        recovery: *progress.recovery.lock().expect("the run has ended"),
        leaders,
        purchases: calls.iter().filter(is_purchase).count(),
        calls,
        reached: progress.reached.lock().expect("the run has ended").clone(),
        index: *progress.index.lock().expect("the run has ended"),
        searched: *progress.searched.lock().expect("the run has ended"),
    }
}

fn ground(schedule: &Schedule, trace: Arc<Trace>) -> Ground {
    let mut machines = BTreeMap::new();
    let mut rng = stream(schedule.seed, "clocks");
    for number in 1..=schedule.nodes {
        let machine = Machine::new(schedule.seed, number);
        let offset_ms = rng.random_range(0..=2 * schedule.cluster.clock_offset_ms) as i64;
        machine.clock.jump(offset_ms - schedule.cluster.clock_offset_ms as i64);
        machines.insert(number, machine);
    }
    let unlike = if UNLIKE.load(Ordering::Relaxed) { RUNS.fetch_add(1, Ordering::Relaxed) } else { 0 };
    Ground {
        seed: schedule.seed,
        settings: settings(schedule),
        frames: Arc::new(Frames::new(schedule.seed, trace.clone())),
        bank: Arc::new(Bank::new(schedule.seed.wrapping_add(unlike), trace.clone())),
        bus: Arc::new(Bus::new(schedule.seed, trace.clone())),
        letterbox: Arc::new(Letterbox::new(schedule.seed, trace.clone())),
        copy: Copy::default(),
        heard: Book::default(),
        archive: Archive::default(),
        pasts: Pasts::default(),
        trace,
        machines,
        given_up: AtomicBool::new(false),
        founded: AtomicBool::new(false),
        present: Present::new((1..=schedule.nodes).filter(|number| schedule.is_founder(*number))),
        live: Mutex::default(),
        relays: Mutex::default(),
        observed: Mutex::new(Observed::default()),
    }
}

/// Everything that takes its time in production is quicker here, so that a short run sees it often.
fn settings(schedule: &Schedule) -> Settings {
    Settings {
        heartbeat_ms: 100,
        election_min_ms: 400,
        election_max_ms: 800,
        append_timeout_ms: 1_000,
        connect_timeout_ms: 500,
        snapshot_entries: schedule.cluster.snapshot_entries,
        log_entries_kept: schedule.cluster.log_entries_kept,
        purge_batch_entries: 16,
        lag_entries_max: schedule.cluster.snapshot_entries + schedule.cluster.log_entries_kept + 20,
        snapshot_timeout_ms: 5_000,
        leader_wait_ms: 1_000,
        proposal_timeout_ms: 3_000,
        read_timeout_ms: 2_000,
        clock_interval_ms: 200,
        clock_tolerance_ms: 1_000,
        clock_wait_ms: 1_000,
        cleanup_interval_ms: 5_000,
        housekeeping_interval_ms: 200,
        unfinished_wait_ms: 2_000,
        voters_target: schedule.nodes as usize,
        ..Settings::default()
    }
}

fn policy(schedule: &Schedule) -> Policy {
    Policy {
        lock_ttl_ms: schedule.workload.lock_ttl_ms,
        lock_extension_ms: schedule.workload.lock_ttl_ms,
        offer_ttl_ms: 2_000,
        payment_grace_ms: 3_000,
        payment_attempts_max: schedule.workload.payment_attempts,
        cooldown_after_expiries: 1_000_000,
        idempotency_ttl_ms: 120_000,
        outbox_retention_ms: match schedule.cluster.outbox_retention_ms {
            0 => KEPT_MS,
            retention_ms => retention_ms,
        },
        ..Policy::default()
    }
}

async fn simulate(schedule: Schedule, ground: Arc<Ground>, clients: Arc<Clients>, progress: Arc<Progress>) {
    let mut world = World::build(ground, clients, schedule.cluster.clone());
    // The seller, the buyers, an operator, and who only looks.
    let clients = 0..schedule.workload.buyers + 3;
    let machines: Vec<NodeHandle> = clients.map(|client| world.add_client(client)).collect();
    world.add_services();
    let world = Arc::new(world);
    world.watch_points();
    let listening = madsim::task::spawn(services::listen(world.ground.clone()));
    let mut watching = vec![madsim::task::spawn(world.clone().watch()), listening];
    work(&schedule, &world, &machines, &mut watching, &progress).await;
    *progress.virtual_time.lock().expect("nothing panics while it reports") = elapsed();
    *progress.reached.lock().expect("nothing panics while it reports") = world.reached();
    watching.iter().for_each(|task| task.abort());
    world.end_all().await;
}

/// The clients work while the faults happen; what is found goes into `progress`.
async fn work(
    schedule: &Schedule,
    world: &Arc<World>,
    machines: &[NodeHandle],
    watching: &mut Vec<JoinHandle<()>>,
    progress: &Progress,
) {
    if world.wait_until(FORMING_MAX, World::is_formed).await.is_none() {
        return progress.find(Class::Liveness, format!("no cluster has formed within {FORMING_MAX:?}"));
    }
    let Some((seller, tickets)) = open(&machines[0], schedule, world.clients.clone()).await else {
        return progress.find(Class::Liveness, "the sale could not be opened".into());
    };
    let closing: Closing = Arc::new(AtomicBool::new(false));
    let began = elapsed();
    world.ground.trace.note(format_args!("clients begin"));
    let work = &schedule.workload;
    let on_sale = tickets.clone();
    let mut working = vec![machines[0].spawn(workload::sell(seller, work.clone(), tickets, closing.clone()))];
    let (operator, reader) = (work.buyers + 1, work.buyers + 2);
    if work.operator_ms > 0 {
        let machine = &machines[operator as usize];
        let (clients, work, closing) = (world.clients.clone(), work.clone(), closing.clone());
        working.push(machine.spawn(async move {
            if let Some(operator) = become_operator(operator, clients).await {
                workload::operate(operator, work, closing).await;
            }
        }));
    }
    if work.reading_ms > 0 {
        let (clients, work, closing, nodes) = (world.clients.clone(), work.clone(), closing.clone(), schedule.nodes);
        working.push(machines[reader as usize].spawn(async move {
            let client = Client::new(reader, clients).await;
            workload::look(client, work, nodes, on_sale, closing).await;
        }));
    }
    for (number, machine) in (1..operator).zip(&machines[1..]) {
        let (clients, work, closing) = (world.clients.clone(), work.clone(), closing.clone());
        working.push(machine.spawn(async move {
            let mut buyer = Client::new(number, clients).await;
            let email = format!("buyer{number}@example.com");
            if workload::sign_up(&mut buyer, &email).await {
                workload::buy(buyer, work, email, closing).await;
            }
        }));
    }
    let faults = schedule.faults.iter().cloned();
    watching.extend(faults.map(|fault| madsim::task::spawn(world.clone().carry_out(fault, began))));
    let end = began + Duration::from_millis(schedule.duration_ms) + Duration::from_millis(1);
    sleep(end.saturating_sub(elapsed())).await;
    closing.store(true, Ordering::Relaxed);
    recover(world, working, schedule, progress).await;
}

/// Sets the policy, and puts the tickets on sale.
async fn open(machine: &NodeHandle, schedule: &Schedule, clients: Arc<Clients>) -> Option<(Client, Vec<String>)> {
    let (schedule, policy) = (schedule.clone(), policy(schedule));
    let opening = machine.spawn(async move {
        let endpoint = Endpoint::bind("0.0.0.0:0").await.expect("a client's own machine has a free port");
        for command in [Command::SetPolicy(policy)].into_iter().chain(services::registrations(schedule.seed)) {
            let submitted = Submitted { actor: Actor::System, idempotency: None, command };
            let call = endpoint.call_timeout(http_addr(1), Propose(submitted), FORMING_MAX);
            let answer = call.await.ok()?.ok()?;
            answer.outcome.settled.ok()?;
        }
        let mut seller = Client::new(0, clients).await;
        if !workload::sign_up(&mut seller, "seller@example.com").await {
            return None;
        }
        let tickets = workload::put_on_sale(&mut seller, &schedule.workload).await;
        (!tickets.is_empty()).then_some((seller, tickets))
    });
    timeout(FORMING_MAX, opening).await.ok()?.ok()?
}

/// Signs an account up that may do what operators may, and signs it in. `None`: it gave up.
async fn become_operator(number: u32, clients: Arc<Clients>) -> Option<Client> {
    let email = "operator@example.com";
    let mut operator = Client::new(number, clients.clone()).await;
    if !workload::sign_up(&mut operator, email).await {
        return None;
    }
    let is_own = |call: &&Call| call.client == number && call.told.as_ref().is_some_and(|told| told.status < 300);
    let user = clients.history.calls().iter().filter(is_own).find_map(|call| call.told.as_ref()?.id.clone());
    let user = user?.parse().ok()?;
    let command = Command::SetRoles { user, roles: Roles { operator_admin: true, ..Roles::default() } };
    let endpoint = Endpoint::bind("0.0.0.0:0").await.expect("a client's own machine has a free port");
    let mut node = 0;
    for _ in 0..ROLE_ATTEMPTS_MAX {
        node = clients.present.next(node);
        let submitted = Submitted { actor: Actor::System, idempotency: None, command: command.clone() };
        let asked = endpoint.call_timeout(http_addr(node), Propose(submitted), ROLE_WAIT).await;
        if asked.is_ok_and(|answer| answer.is_ok_and(|answer| answer.outcome.settled.is_ok())) {
            // A role ends the sessions that were there before.
            let signed_in = operator.call(Asked::SignIn { email: email.into() }).await;
            return signed_in.filter(|(told, _)| told.status == 200).map(|_| operator);
        }
    }
    None
}

/// Everything is healed: the cluster must come to rest, within bounds, and stand before the checks.
async fn recover(world: &Arc<World>, working: Vec<JoinHandle<()>>, schedule: &Schedule, progress: &Progress) {
    world.ground.trace.note(format_args!("everything is healed"));
    let healed = |world: &World| world.is_manned() && world.leader().is_some();
    let Some(recovery) = world.wait_until(RECOVERY_MAX, healed).await else {
        return progress
            .find(Class::Liveness, format!("no leader, or a machine is away, {RECOVERY_MAX:?} after healing"));
    };
    *progress.recovery.lock().expect("nothing panics while it reports") = Some(recovery);
    world.set_clocks();
    let answers = async {
        for client in working {
            if client.await.is_err() {
                progress.find(Class::Crash, "a client died".into());
            }
        }
    };
    if timeout(LAST_ANSWERS_MAX, answers).await.is_err() {
        progress.find(Class::Liveness, format!("a client has no answer {LAST_ANSWERS_MAX:?} after healing"));
    }
    let settling_max = SETTLING_MAX + Duration::from_millis(schedule.workload.lock_ttl_ms);
    if world.wait_until(settling_max, evidence::is_settled).await.is_none() {
        let open = evidence::what_is_open(world).unwrap_or_else(|| {
            if world.is_staffed() { "the machines are not level" } else { "the voters are not the machines" }.into()
        });
        progress.find(Class::Liveness, format!("not at rest {settling_max:?} after healing: {open}"));
    }
    let mut evidence: Evidence = evidence::collect(world).await;
    evidence.pasts = world.ground.pasts.all();
    (evidence.calls, evidence.lost) = past::split(world.clients.history.calls().clone(), &evidence.pasts);
    *progress.index.lock().expect("nothing panics while it reports") =
        evidence.ends.iter().map(|end| end.index).max().unwrap_or(0);
    let survey = second::survey(&evidence);
    *progress.searched.lock().expect("nothing panics while it reports") = (survey.tickets, survey.undecided);
    for line in check::judge(&evidence) {
        let class = if line.starts_with("nothing left open") { Class::Liveness } else { Class::Safety };
        progress.find(class, line);
    }
}
