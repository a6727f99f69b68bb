//! Pages follow their index, end where it ends, and find what they should.

use super::*;
use crate::command::{Actor, Command};
use crate::entities::OrderStatus;
use crate::market::Market;
use crate::money::Decimal;
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
