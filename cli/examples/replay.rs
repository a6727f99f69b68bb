//! Real prices, replayed: tickets of real games, their observed resale prices as edits at high speed, buyers who insist on
//! the price they saw, three nodes, and the leader killed twice.
//!
//! `cargo run --release -p holdfast --example replay -- FILE.csv [--tickets-per-game N] [--buyers N]`
//!
//! The file has a header and the columns `event_id,event_date,title,observed_at,lowest_price_usd,tickets_listed`, in the
//! order of observation. Each observation sets the price of all tickets of its game that are not sold yet; observations
//! are replayed one after the other, so prices change in the order in which they did. Buyers keep pace with the replay:
//! they spread the sale over all of it. Exit code 1 if a ticket was sold twice, an acknowledged purchase was lost, or a
//! buyer was charged another price than the one he saw and locked.

#[cfg(madsim)]
fn main() {}

#[cfg(not(madsim))]
fn main() -> std::process::ExitCode {
    replay::main()
}

#[cfg(not(madsim))]
mod replay {
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};
    use std::process::ExitCode;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::time::{Duration, Instant};

    use clap::Parser;
    use holdfast_cli::client::{Ask, Client};
    use holdfast_cli::cluster::{Cluster, Plan};
    use holdfast_cli::failure::Failure;
    use holdfast_cli::money;
    use holdfast_cli::sale::{Attempt, Buyer, Edit, Offer, Purchase, Seller, Tally, audit};
    use holdfast_ledger::money::{Currency, Decimal};
    use serde_json::json;
    use tokio::task::JoinSet;

    const PATIENCE: Duration = Duration::from_secs(60);
    const PASSWORD: &str = "replay-password";
    /// How long a buyer looks at a price before he decides, and how long he types his card's details, in milliseconds.
    const THINK_MS: std::ops::Range<u64> = 1..40;
    const TYPE_MS: std::ops::Range<u64> = 5..60;
    /// The leader is killed when these parts of the observations are replayed.
    const KILLS: [f64; 2] = [1.0 / 3.0, 2.0 / 3.0];

    #[derive(Parser)]
    struct ReplayArgs {
        /// CSV of observed prices
        file: PathBuf,
        #[arg(long, default_value_t = 20)]
        tickets_per_game: usize,
        #[arg(long, default_value_t = 200)]
        buyers: usize,
        /// Folder of the nodes' data
        #[arg(long)]
        data: Option<PathBuf>,
    }

    /// One line of the file.
    struct Observation {
        game: String,
        title: String,
        price_minor: u64,
    }

    /// A game's tickets, and the price that was set last.
    struct Game {
        title: String,
        tickets: Vec<Arc<OnSale>>,
    }

    /// A ticket as the seller and the buyers share it.
    struct OnSale {
        id: String,
        sold: AtomicBool,
    }

    /// What buyers, seller and onlooker share.
    struct Stage {
        client: Client,
        tally: Tally,
        tickets: Vec<Arc<OnSale>>,
        observations: u64,
        replayed: AtomicU64,
        over: AtomicBool,
    }

    pub fn main() -> ExitCode {
        // The nodes are this same program, started again.
        if std::env::args().nth(1).as_deref() == Some("serve") {
            return holdfast_cli::run();
        }
        let args = ReplayArgs::parse();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
        match runtime.block_on(run(args)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                eprintln!("replay: {failure}");
                failure.exit.into()
            }
        }
    }

    async fn run(args: ReplayArgs) -> Result<(), Failure> {
        let observations = read(&args.file)?;
        let dir =
            args.data.unwrap_or_else(|| std::env::temp_dir().join(format!("holdfast-replay-{}", std::process::id())));
        let program = std::env::current_exe().map_err(Failure::cannot_start)?;
        println!("{} observations; nodes in {}", observations.len(), dir.display());
        // Hundreds of buyers sign up at once, which is not what is replayed: their passwords cost little.
        let flags = ["--password-memory-kib", "64", "--password-passes", "1"].map(str::to_string).to_vec();
        let mut cluster = Cluster::start(Plan { program, dir, nodes: 3, flags }).await?;
        let client = Client::new(&cluster.urls(), PATIENCE)?;
        let seller = Seller::sign_up(&client, "seller@replay.example", PASSWORD).await?;
        let games = import(&seller, &observations, args.tickets_per_game).await?;
        let buyers = sign_up(&client, args.buyers).await?;
        let stage = Arc::new(Stage {
            client: client.clone(),
            tally: Tally::default(),
            tickets: games.values().flat_map(|game| game.tickets.iter().cloned()).collect(),
            observations: observations.len() as u64,
            replayed: AtomicU64::new(0),
            over: AtomicBool::new(false),
        });
        println!("{} games, {} tickets, {} buyers: replaying …", games.len(), stage.tickets.len(), buyers.len());

        let started = Instant::now();
        let mut shopping = JoinSet::new();
        for buyer in buyers {
            shopping.spawn(shop(stage.clone(), buyer));
        }
        let selling = replay(stage.clone(), seller, games, observations);
        let (outages, ()) = tokio::try_join!(kill_leaders(&mut cluster, &stage), selling)?;
        let replay_took = started.elapsed();
        stage.over.store(true, Ordering::Relaxed);
        let mut buyers = Vec::new();
        while let Some(joined) = shopping.join_next().await {
            buyers.push(joined.map_err(Failure::failed)??);
        }
        cluster.wait_for_voters().await?;
        let audit = audit(&client, &buyers, &cluster.charges().await?).await?;
        cluster.stop_all();

        let tally = &stage.tally;
        let edits = Tally::read(&tally.edits);
        for (what, value) in [
            ("observations replayed", stage.observations.to_string()),
            ("replayed in", format!("{:.1} s", replay_took.as_secs_f64())),
            ("price edits made", format!("{edits} ({:.0}/s)", edits as f64 / replay_took.as_secs_f64())),
            ("price edits refused, ticket locked or just sold", Tally::read(&tally.edits_refused).to_string()),
            ("purchases acknowledged", Tally::read(&tally.bought).to_string()),
            ("tickets in complete orders, read again", audit.sold.to_string()),
            ("refused: price_changed", Tally::read(&tally.price_changed).to_string()),
            ("refused: somebody else has it", Tally::read(&tally.lost).to_string()),
            ("locks that ended unpaid", Tally::read(&tally.unpaid).to_string()),
            ("buyers' requests sent again over the fail-overs", Tally::read(&tally.resent).to_string()),
            ("leader killed, ms without one", format!("{outages:?}")),
            ("sold twice", audit.double_sold.to_string()),
            ("acknowledged and lost", audit.lost.to_string()),
            ("amounts compared with the provider's book", audit.charges_compared.to_string()),
            ("charged without a ticket", audit.charged_for_nothing.to_string()),
            ("charged another price than locked", audit.other_price.to_string()),
        ] {
            println!("{what:>50}  {value}");
        }
        audit.findings.iter().for_each(|finding| eprintln!("{finding}"));
        if audit.is_clean() { Ok(()) } else { Err(Failure::failed("an invariant does not hold")) }
    }

    fn read(file: &Path) -> Result<Vec<Observation>, Failure> {
        let complain = |error: &dyn std::fmt::Display| Failure::usage(format!("{}: {error}", file.display()));
        let mut reader = csv::Reader::from_path(file).map_err(|error| complain(&error))?;
        let header = reader.headers().map_err(|error| complain(&error))?.clone();
        let column = |name: &str| {
            let position = header.iter().position(|column| column == name);
            position.ok_or_else(|| complain(&format!("no column {name}")))
        };
        let (game, title, price) = (column("event_id")?, column("title")?, column("lowest_price_usd")?);
        let mut observations = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|error| complain(&error))?;
            let price_minor = record[price].parse::<Decimal>().and_then(|price| price.to_minor(Currency::USD));
            match price_minor {
                // A game without an offer has no price.
                Ok(0) | Err(_) => continue,
                Ok(price_minor) => observations.push(Observation {
                    game: record[game].to_string(),
                    title: record[title].to_string(),
                    price_minor,
                }),
            }
        }
        Ok(observations)
    }

    /// Puts each game's tickets on sale at its first price.
    async fn import(
        seller: &Seller,
        observations: &[Observation],
        per_game: usize,
    ) -> Result<BTreeMap<String, Game>, Failure> {
        let mut first: BTreeMap<&str, &Observation> = BTreeMap::new();
        for observation in observations {
            first.entry(&observation.game).or_insert(observation);
        }
        let mut games = BTreeMap::new();
        for (game, observation) in first {
            let price = money::price(observation.price_minor, Currency::USD);
            let bodies: Vec<_> = (0..per_game)
                .map(|n| json!({ "title": observation.title, "price": price, "externalId": format!("{game}-{n}") }))
                .collect();
            let ids = seller.create(&bodies).await?;
            let tickets = ids.into_iter().map(|id| Arc::new(OnSale { id, sold: AtomicBool::new(false) })).collect();
            games.insert(game.to_string(), Game { title: observation.title.clone(), tickets });
        }
        Ok(games)
    }

    async fn sign_up(client: &Client, count: usize) -> Result<Vec<Buyer>, Failure> {
        const AT_ONCE: usize = 8;
        let numbers: Vec<usize> = (0..count).collect();
        let mut buyers = Vec::with_capacity(count);
        for some in numbers.chunks(AT_ONCE) {
            let signing_up = some.iter().map(|number| async move {
                Buyer::sign_up(client, *number, &format!("buyer-{number}@replay.example"), PASSWORD).await
            });
            buyers.extend(futures_util::future::try_join_all(signing_up).await?);
        }
        Ok(buyers)
    }

    /// The seller: sets every game's price as it was observed, in order.
    async fn replay(
        stage: Arc<Stage>,
        seller: Seller,
        games: BTreeMap<String, Game>,
        observations: Vec<Observation>,
    ) -> Result<(), Failure> {
        for (number, observation) in observations.iter().enumerate() {
            let game = &games[&observation.game];
            let unsold = game.tickets.iter().filter(|ticket| !ticket.sold.load(Ordering::Relaxed));
            let edits = unsold.enumerate().map(|(n, ticket)| {
                let (stage, seller, title) = (&stage, &seller, game.title.clone());
                async move {
                    let currency = Currency::USD;
                    let offer =
                        Offer { ticket: ticket.id.clone(), title, price_minor: observation.price_minor, currency };
                    let edit = seller.edit(&offer, observation.price_minor, number + n, &stage.tally).await?;
                    if edit == Edit::Refused && is_sold(&stage.client, &ticket.id, number).await? {
                        ticket.sold.store(true, Ordering::Relaxed);
                    }
                    Ok::<(), Failure>(())
                }
            });
            futures_util::future::try_join_all(edits).await?;
            stage.replayed.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn is_sold(client: &Client, ticket: &str, node: usize) -> Result<bool, Failure> {
        let reply = client.send(Ask::get(format!("/api/tickets/{ticket}")).at(node)).await?;
        Ok(reply.expect(200, "ticket")?["status"] == "sold")
    }

    /// A buyer: looks at a ticket, thinks, locks it at the price he saw, types, pays. Keeps pace with the replay.
    async fn shop(stage: Arc<Stage>, mut buyer: Buyer) -> Result<(Buyer, Vec<Purchase>), Failure> {
        let mut purchases = Vec::new();
        while !stage.over.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(rand::random_range(THINK_MS))).await;
            if !stage.may_buy() {
                continue;
            }
            let ticket = &stage.tickets[rand::random_range(0..stage.tickets.len())];
            if ticket.sold.load(Ordering::Relaxed) {
                continue;
            }
            let node = rand::random_range(0..stage.client.nodes());
            let reply = stage.client.send(Ask::get(format!("/api/tickets/{}", ticket.id)).at(node)).await?;
            let offer = Offer::parse(&reply.expect(200, "ticket")?)?;
            tokio::time::sleep(Duration::from_millis(rand::random_range(THINK_MS))).await;
            let Ok(order) = buyer.lock(&offer, &stage.tally).await? else { continue };
            tokio::time::sleep(Duration::from_millis(rand::random_range(TYPE_MS))).await;
            if let Attempt::Bought(purchase) = buyer.pay(&offer, &order, &stage.tally).await? {
                ticket.sold.store(true, Ordering::Relaxed);
                purchases.push(purchase);
            }
        }
        Ok((buyer, purchases))
    }

    impl Stage {
        fn progress(&self) -> f64 {
            self.replayed.load(Ordering::Relaxed) as f64 / self.observations as f64
        }

        /// No larger part of the tickets is sold than of the observations is replayed.
        fn may_buy(&self) -> bool {
            Tally::read(&self.tally.bought) as f64 <= self.progress() * self.tickets.len() as f64
        }
    }

    /// Kills the leader at the planned moments and starts it again once another leads. How long nobody led, in ms.
    async fn kill_leaders(cluster: &mut Cluster, stage: &Stage) -> Result<Vec<u128>, Failure> {
        let mut outages = Vec::new();
        for part in KILLS {
            while stage.progress() < part {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            cluster.wait_for_voters().await?;
            let leader = cluster.wait_for_leader().await?;
            cluster.kill(leader);
            let killed = Instant::now();
            cluster.wait_for_leader().await?;
            outages.push(killed.elapsed().as_millis());
            println!("leader killed at {:.0} % of the observations", stage.progress() * 100.0);
            cluster.restart(leader)?;
        }
        Ok(outages)
    }
}
