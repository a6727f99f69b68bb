//! Pages follow their index, end where it ends, and find what they should.

use super::*;
use crate::command::{Actor, Command};
use crate::entities::{AuditAction, AuditSubject, OrderStatus};
use crate::market::Market;
use crate::money::Decimal;
use crate::outcome::Reply;
use crate::store::MemoryStore;

/// All rows, page by page.
fn all<T>(limit: usize, page: impl Fn(Option<&Cursor>, usize) -> Result<Page<T>, StoreError>) -> Vec<T> {
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let page = page(after.as_ref(), limit).expect("a store in memory");
        assert!(page.rows.len() <= limit);
        rows.extend(page.rows);
        after = match page.next {
            Some(next) => Some(next.to_string().parse().expect("a cursor is printed and read back")),
            None => return rows,
        };
    }
}

fn available(state: &State<MemoryStore>, filter: &TicketFilter, limit: usize) -> Vec<TicketId> {
    all(limit, |after, limit| tickets_available(state, filter, after, limit)).into_iter().map(|(id, _)| id).collect()
}

fn search(text: &str) -> TicketFilter {
    TicketFilter { search: Some(text.into()), ..TicketFilter::default() }
}

#[test]
fn what_can_be_bought_is_listed_and_nothing_else() {
    let mut market = Market::open();
    let second = market.sell(&market.seller.clone(), "Balcony", 9);
    for limit in [1, 2, 100] {
        assert_eq!(available(&market.state, &TicketFilter::default(), limit), [market.free, second]);
    }
    let price = Some(Decimal { digits: 30, decimals: 0 });
    market.ask(&market.seller.clone(), Command::SchedulePrice { ticket: second, price });
    let cheap = TicketFilter { price_minor_max: Some(2_999), ..TicketFilter::default() };
    let dear = TicketFilter { price_minor_min: Some(2_001), ..TicketFilter::default() };
    let euro = TicketFilter { currency: "EUR".parse().ok(), ..TicketFilter::default() };
    let of_alice = TicketFilter { seller: Some(market.alice), ..TicketFilter::default() };
    let of_bob = TicketFilter { seller: Some(market.bob), ..TicketFilter::default() };
    assert_eq!(available(&market.state, &cheap, 1), [market.free]);
    assert_eq!(available(&market.state, &dear, 1), [second]);
    assert_eq!(available(&market.state, &of_alice, 1), [market.free, second]);
    assert!(available(&market.state, &euro, 1).is_empty());
    assert!(available(&market.state, &of_bob, 1).is_empty());
    market.ask(&Actor::System, Command::BanUser { user: market.alice });
    assert!(
        available(&market.state, &TicketFilter::default(), 1).is_empty(),
        "a banned seller's tickets are not offered"
    );
}

#[test]
fn a_search_finds_each_ticket_once_by_the_beginnings_of_its_words() {
    let mut market = Market::open();
    let seller = market.seller.clone();
    let game = market.sell(&seller, "Game of games: Dodgers", 10);
    let night = market.sell(&seller, "Dodgers night", 11);
    for limit in [1, 100] {
        assert_eq!(available(&market.state, &search("GAM"), limit), [game], "two of its words begin so");
        assert_eq!(available(&market.state, &search("dod"), limit), [game, night]);
        assert_eq!(available(&market.state, &search("dodg night"), limit), [night]);
        assert_eq!(available(&market.state, &search("row 0"), limit), [market.free]);
        assert!(available(&market.state, &search("dodgers opera"), limit).is_empty());
        assert!(available(&market.state, &search("row 1"), limit).is_empty(), "it is locked");
    }
    let details = None;
    let price = Decimal { digits: 20, decimals: 0 };
    let edit = Command::EditTicket { ticket: night, title: "Opera".into(), price, version: None, details };
    market.ask(&seller, edit);
    assert_eq!(available(&market.state, &search("opera"), 1), [night]);
    assert_eq!(available(&market.state, &search("dod"), 1), [game]);
}

#[test]
fn a_users_orders_come_newest_first_and_a_sellers_tickets_oldest_first() {
    let mut market = Market::open();
    let buyer = market.buyer.clone();
    let newest = market.lock(&buyer, market.free);
    for limit in [1, 2, 100] {
        let orders = all(limit, |after, limit| orders_of_user(&market.state, market.bob, after, limit));
        let ids: Vec<OrderId> = orders.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, [newest, market.live, market.paid]);
        assert_eq!(orders[2].1.status, OrderStatus::Complete);
        let tickets = all(limit, |after, limit| tickets_of_seller(&market.state, market.alice, after, limit));
        assert_eq!(tickets.len(), 5);
        assert!(tickets.is_sorted_by_key(|(id, _)| *id));
        let open = all(limit, |after, limit| payments_open(&market.state, after, limit));
        assert_eq!(open.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [market.asked]);
    }
}

#[test]
fn histories_and_events_are_dense() {
    let market = Market::open();
    let history = all(2, |after, limit| history(&market.state, market.sold.0, after, limit));
    assert_eq!(history.iter().map(|(version, _)| *version).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(history[1].1.order, Some(market.paid));
    let last = market.state.meta().event_seq;
    let page = events(&market.state, last - 3, 100).expect("a store in memory");
    assert_eq!((page.first_kept, page.last), (1, last));
    assert_eq!(page.events.iter().map(|event| event.seq).collect::<Vec<_>>(), [last - 2, last - 1, last]);
    assert!(events(&market.state, u64::MAX, 1).expect("a store in memory").events.is_empty());
}

#[test]
fn people_are_found_by_their_address_whatever_its_case() {
    let mut market = Market::open();
    let found = user_by_email(&market.state, "BOB@Example.com").expect("a store in memory").expect("Bob is there");
    assert_eq!((found.0, found.2.email.as_str()), (market.bob, "bob@example.com"));
    market.ask(&Actor::System, Command::EraseUser { user: market.bob });
    assert_eq!(user_by_email(&market.state, "bob@example.com"), Ok(None));
    assert_eq!(personal(&market.state, market.bob), Ok(None));
    assert!(user(&market.state, market.bob).expect("a store in memory").expect("the account stays").erased);
}

#[test]
fn operators_see_what_is_live_who_there_is_and_what_hangs() {
    let mut market = Market::open();
    let ids = |rows: Vec<(OrderId, Order)>| rows.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    let state = &market.state;
    let live = ids(all(1, |after, limit| locks_live(state, after, limit)));
    assert_eq!(live[0], market.live, "what runs out first comes first");
    assert_eq!(live.len() as u64, state.meta().orders_live);
    let complete = |order: &Order| order.status == OrderStatus::Complete;
    assert_eq!(ids(all(1, |after, limit| orders(state, complete, after, limit))), [market.paid]);
    let found = ids(all(2, |after, limit| orders(state, |_| true, after, limit)));
    assert!(found.len() as u64 == state.meta().orders && found.is_sorted_by(|one, next| one > next), "newest first");

    let named = |prefix: &str| all(1, |after, limit| users_by_email(state, prefix, after, limit));
    let emails: Vec<_> = named("").into_iter().map(|(.., personal)| personal.email).collect();
    assert_eq!(emails, ["alice@example.com", "bob@example.com", "carol@example.com"]);
    assert_eq!(named("BO").into_iter().map(|(id, ..)| id).collect::<Vec<_>>(), [market.bob]);
    assert!(named("bob@example.com.").is_empty());
    let sold = all(1, |after, limit| sales_of_seller(state, market.alice, after, limit));
    assert_eq!(sold.into_iter().map(|(id, _)| id).collect::<Vec<_>>(), [market.sold]);

    assert_eq!(all(1, |after, limit| payments(state, after, limit)).len(), 2);
    let stuck = |market: &Market| {
        let rows = all(1, |after, limit| payments_stuck(&market.state, 60_000, after, limit));
        rows.into_iter().map(|(id, _)| id).collect::<Vec<_>>()
    };
    assert!(stuck(&market).is_empty());
    market.ask_at(61_000, &Actor::System, None, Command::Tick);
    assert_eq!(stuck(&market), [market.asked]);
}

#[test]
fn what_operators_did_is_listed_newest_first_and_chained() {
    let mut market = Market::open();
    let (bob, live) = (market.bob, market.live);
    market.ask(&Actor::System, Command::ReleaseLock { order: live });
    market.ask(&Actor::System, Command::BanUser { user: bob });
    market.ask(&Actor::System, Command::BanUser { user: bob });
    let rows = all(1, |after, limit| audit(&market.state, after, limit));
    let told: Vec<_> = rows.iter().map(|(seq, row)| (*seq, row.action, row.subject.clone())).collect();
    let (ban, release) = (AuditSubject::User(bob), AuditSubject::Order(live));
    assert_eq!(told, [(2, AuditAction::BanUser, ban), (1, AuditAction::ReleaseLock, release)]);
    assert_eq!(rows[0].1.previous_hash, rows[1].1.hash);
    assert_eq!(market.state.meta().audit_hash, rows[0].1.hash);
}

#[test]
fn a_line_has_positions() {
    let mut market = Market::open();
    let (dora, erik, ticket) = (market.sign_up("dora"), market.sign_up("erik"), market.locked);
    for waiting in [&dora, &erik] {
        market.ask(waiting, Command::JoinLine { ticket });
    }
    let [dora, erik] = [dora, erik].map(|actor| actor.user().expect("a user"));
    let ahead = |market: &Market, user| {
        let position = line_position(&market.state, user, ticket).expect("a store in memory");
        position.map(|position| (position.ahead, position.offered_until_ms))
    };
    assert_eq!((ahead(&market, dora), ahead(&market, erik)), (Some((0, None)), Some((1, None))));
    assert_eq!(ahead(&market, market.bob), None);
    let live = market.live;
    market.ask(&Actor::System, Command::ReleaseLock { order: live });
    let until_ms = market.state.meta().now_ms + market.state.meta().policy.offer_ttl_ms;
    assert_eq!((ahead(&market, dora), ahead(&market, erik)), (Some((0, Some(until_ms))), Some((1, None))));
    assert!(!available(&market.state, &TicketFilter::default(), 9).contains(&ticket), "an offered ticket is held");
    let places = places_of_user(&market.state, erik).expect("a store in memory");
    assert_eq!(places.len(), 1);
    assert_eq!(place(&market.state, places[0].0), Ok(Some(places[0].1.clone())));
}

#[test]
fn what_is_listed_of_a_user_is_his() {
    let mut market = Market::open();
    let (bob, buyer, free) = (market.bob, market.buyer.clone(), market.free);
    market.ask(&buyer, Command::WatchTicket { ticket: free });
    let watched = all(1, |after, limit| watches_of_user(&market.state, bob, after, limit));
    assert_eq!(watched.into_iter().map(|(id, _)| id).collect::<Vec<_>>(), [free]);
    assert_eq!(all(1, |after, limit| watchers(&market.state, free, after, limit)), [bob]);
    assert_eq!(is_watching(&market.state, bob, market.locked), Ok(false));
    let sessions = sessions_of_user(&market.state, bob).expect("a store in memory");
    assert_eq!(sessions.iter().map(|(_, session)| session.agent.as_str()).collect::<Vec<_>>(), ["a browser"]);
    let Reply::Request { request: id, expires_ms, .. } =
        market.ask(&Actor::Anonymous, Command::RequestReset { user: bob })
    else {
        unreachable!("a request is answered with it")
    };
    assert!(request(&market.state, bob, id).is_ok_and(|request| request.is_some()));
    market.ask_at(expires_ms, &Actor::System, None, Command::SetPolicy(Default::default()));
    assert_eq!(request(&market.state, bob, id), Ok(None));
}

#[test]
fn a_made_up_cursor_reads_nothing_outside_its_list() {
    let market = Market::open();
    for made_up in ["00", "ff", &"ab".repeat(CURSOR_BYTES_MAX)] {
        let cursor: Cursor = made_up.parse().expect("hexadecimal");
        let page = orders_of_user(&market.state, market.bob, Some(&cursor), 100).expect("a store in memory");
        assert!(page.rows.iter().all(|(_, order)| order.user == market.bob));
        let page = tickets_of_seller(&market.state, market.bob, Some(&cursor), 100).expect("a store in memory");
        assert!(page.rows.is_empty());
        tickets_available(&market.state, &search("row"), Some(&cursor), 100).expect("a store in memory");
    }
    for bad in ["", "0", "zz", "0x", "+1", &"ab".repeat(CURSOR_BYTES_MAX + 1)] {
        assert_eq!(bad.parse::<Cursor>(), Err(CursorError), "{bad}");
    }
}

/// A page passes over a bounded number of index rows, and goes on from there.
#[test]
fn a_page_of_rare_rows_stops_and_says_where_it_goes_on() {
    let mut market = Market::open();
    let seller = market.seller.clone();
    let many = PAGE_SCAN_MAX as u64 + 10;
    for seat in 0..many {
        market.sell(&seller, "Gallery", 100 + seat);
    }
    let rare = market.sell(&seller, "Gallery of rare things", 99);
    let filter = search("gallery rare");
    let first = tickets_available(&market.state, &filter, None, 10).expect("a store in memory");
    assert!(first.rows.is_empty() && first.next.is_some());
    assert_eq!(available(&market.state, &filter, 10), [rare]);
}
