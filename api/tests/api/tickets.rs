//! Rows T1 to T17, and what the contract adds to tickets.

use serde_json::{Value, json};

use crate::client::{Client, NO_SUCH_ID, a_ticket_and_a_buyer};
use crate::server::World;

fn nobody() -> Client {
    Client::anonymous(&World::shared().url)
}

#[tokio::test]
async fn t1_creating_needs_somebody_signed_in() {
    nobody().post("/api/tickets", json!({})).await.fails(401, "Not authorized", None);
    Client::new().await.post("/api/tickets", json!({})).await.is(400);
}

#[tokio::test]
async fn t2_creating_without_a_title_is_400() {
    let mut seller = Client::new().await;
    for title in [json!(""), json!(null), json!("  "), json!(5)] {
        let body = json!({"title": title, "price": 10});
        seller.post("/api/tickets", body).await.fails(400, "Title is required", Some("title"));
    }
}

#[tokio::test]
async fn t3_creating_with_a_bad_price_is_400() {
    let mut seller = Client::new().await;
    for price in [json!(-10), json!(null), json!(0), json!("abc"), json!("0.00"), json!([]), json!("1e3"), json!(1e300)]
    {
        let body = json!({"title": "concert", "price": price});
        seller.post("/api/tickets", body).await.fails(400, "Price must be greater than 0", Some("price"));
    }
}

#[tokio::test]
async fn t4_creating_returns_201_with_price_as_number() {
    let mut seller = Client::new().await;
    for (sent, stored) in [(json!("20.00"), json!(20)), (json!(19.99), json!(19.99)), (json!(5), json!(5))] {
        let answer = seller.post("/api/tickets", json!({"title": "concert", "price": sent})).await.is(201);
        assert_eq!(answer.body["title"], "concert");
        assert_eq!(answer.body["price"], stored);
        assert_eq!(answer.body["version"], 0);
        assert!(answer.body.get("orderId").is_none());
        assert_eq!(answer.header("etag"), "\"0\"");
    }
}

#[tokio::test]
async fn t4_more_decimals_than_the_currency_has_are_400() {
    let mut seller = Client::new().await;
    for (price, currency) in [("19.999", "USD"), ("5.5", "JPY")] {
        let body = json!({"title": "concert", "price": price, "currency": currency});
        let answer = seller.post("/api/tickets", body).await.is(400);
        assert_eq!((answer.code(), answer.body["errors"][0]["field"].as_str()), ("too_many_decimals", Some("price")));
    }
    let yen = seller.post("/api/tickets", json!({"title": "c", "price": 500, "currency": "JPY"})).await.is(201);
    assert_eq!((&yen.body["price"], &yen.body["currency"]), (&json!(500), &json!("JPY")));
    let answer = seller.post("/api/tickets", json!({"title": "c", "price": 5, "currency": "XXX"})).await.is(400);
    assert_eq!(answer.body["errors"][0]["field"], "currency");
}

#[tokio::test]
async fn t4_details_come_back_as_they_were_sent() {
    let sent = json!({"title": "concert", "price": 10, "externalId": "x-1", "eventName": "Dodgers", "venue": "Stadium",
        "section": "A", "row": "1", "seat": "2", "startsAt": "2030-01-01T20:00:00.000Z",
        "saleEndsAt": "2030-01-01T18:00:00.000Z"});
    let answer = Client::new().await.post("/api/tickets", sent.clone()).await.is(201);
    for (member, value) in sent.as_object().unwrap() {
        assert_eq!(&answer.body[member], value, "{member}");
    }
}

#[tokio::test]
async fn t5_the_list_is_public_and_has_no_reserved_tickets() {
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&World::shared().url).await;
    let seller = nobody().get(&format!("/api/tickets/{ticket}")).await.body["userId"].as_str().unwrap().to_string();
    let path = format!("/api/tickets?seller={seller}");
    let listed = nobody().get(&path).await.is(200);
    assert_eq!(listed.body.as_array().expect("a bare array").len(), 1);
    assert_eq!(listed.body[0]["id"], json!(ticket));
    buyer.order(&ticket).await;
    assert_eq!(nobody().get(&path).await.is(200).body, json!([]));
}

#[tokio::test]
async fn t6_a_ticket_is_shown_to_anybody() {
    let ticket = Client::new().await.ticket("20.00").await;
    let answer = nobody().get(&format!("/api/tickets/{ticket}")).await.is(200);
    assert_eq!((&answer.body["title"], &answer.body["price"]), (&json!("concert"), &json!(20)));
}

#[tokio::test]
async fn t7_an_unknown_ticket_is_404() {
    nobody().get(&format!("/api/tickets/{NO_SUCH_ID}")).await.fails(404, "Not Found", None);
}

#[tokio::test]
async fn t8_a_malformed_id_is_400_naming_the_field() {
    for id in ["1", "zzzzzzzzzzzzzzzzzzzzzzzz", "%ff", "0000000000000001000000000", "..%2f"] {
        let answer = nobody().get(&format!("/api/tickets/{id}")).await;
        assert_eq!(answer.fails(400, "Something went wrong", Some("id")).code(), "malformed_id");
    }
}

#[tokio::test]
async fn t9_editing_needs_somebody_signed_in() {
    let body = json!({"title": "x", "price": 20});
    nobody().put(&format!("/api/tickets/{NO_SUCH_ID}"), body).await.fails(401, "Not authorized", None);
}

#[tokio::test]
async fn t10_editing_with_a_bad_title_or_price_is_400() {
    let mut seller = Client::new().await;
    let path = format!("/api/tickets/{}", seller.ticket("20").await);
    let words = "Price must be provided and must be greater than 0";
    seller.put(&path, json!({"title": "", "price": 20})).await.fails(400, "Title is required", Some("title"));
    seller.put(&path, json!({"title": "x", "price": -10})).await.fails(400, words, Some("price"));
    seller.put(&path, json!({"title": "x"})).await.fails(400, words, Some("price"));
    seller.put(&path, json!({"title": "x", "price": "1.999"})).await.is(400);
}

#[tokio::test]
async fn t11_editing_an_unknown_ticket_is_404() {
    let body = json!({"title": "x", "price": 20});
    let answer = Client::new().await.put(&format!("/api/tickets/{NO_SUCH_ID}"), body).await;
    answer.fails(404, "Not Found", None);
}

#[tokio::test]
async fn t12_editing_a_reserved_ticket_is_400_before_ownership() {
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&World::shared().url).await;
    buyer.order(&ticket).await;
    let body = json!({"title": "x", "price": 20});
    let mut stranger = Client::new().await;
    let answer = stranger.put(&format!("/api/tickets/{ticket}"), body).await;
    assert_eq!(answer.fails(400, "Cannot edit a reserved ticket", None).code(), "ticket_not_editable");
}

#[tokio::test]
async fn t13_editing_somebody_elses_ticket_is_401() {
    let ticket = Client::new().await.ticket("20").await;
    let body = json!({"title": "x", "price": 20});
    let answer = Client::new().await.put(&format!("/api/tickets/{ticket}"), body).await;
    assert_eq!(answer.fails(401, "Not authorized", None).code(), "not_owner");
}

#[tokio::test]
async fn t14_editing_returns_200_with_the_next_version() {
    let mut seller = Client::new().await;
    let path = format!("/api/tickets/{}", seller.ticket("20").await);
    let answer = seller.put(&path, json!({"title": "new title", "price": "100.50"})).await.is(200);
    assert_eq!((&answer.body["title"], &answer.body["price"]), (&json!("new title"), &json!(100.5)));
    assert_eq!((&answer.body["version"], answer.header("etag")), (&json!(1), "\"1\""));
    let history = nobody().get(&format!("{path}/history")).await.is(200);
    let events: Vec<_> = history.body.as_array().unwrap().iter().map(|change| &change["event"]).collect();
    assert_eq!(events, ["ticket:created", "ticket:updated"]);
}

#[tokio::test]
async fn t15_t16_lock_and_release_set_and_unset_the_order_and_raise_the_version() {
    let (ticket, mut buyer) = a_ticket_and_a_buyer(&World::shared().url).await;
    let path = format!("/api/tickets/{ticket}");
    let order = buyer.order(&ticket).await;
    let locked = nobody().get(&path).await.body;
    assert_eq!((&locked["orderId"], &locked["version"]), (&json!(order), &json!(1)));
    buyer.delete(&format!("/api/orders/{order}")).await.is(204);
    let free = nobody().get(&path).await.body;
    assert_eq!((free.get("orderId"), &free["version"]), (None, &json!(2)));
}

#[tokio::test]
async fn t17_if_match_lets_only_one_of_two_edits_through() {
    let mut seller = Client::new().await;
    let path = format!("/api/tickets/{}", seller.ticket("20").await);
    let edit = |price: u32| json!({"title": "concert", "price": price});
    seller.with("if-match", "\"0\"").put(&path, edit(10)).await.is(200);
    let answer = seller.with("if-match", "\"0\"").put(&path, edit(15)).await.is(412);
    assert_eq!((answer.code(), &answer.body["version"]), ("version_mismatch", &json!(1)));
    seller.with("if-match", "*").put(&path, edit(15)).await.is(200);
    seller.with("if-match", "W/\"2\"").put(&path, edit(15)).await.is(412);
    seller.with("if-match", "2").put(&path, edit(15)).await.is(400);
}

#[tokio::test]
async fn a_known_version_is_304() {
    let ticket = Client::new().await.ticket("20").await;
    let path = format!("/api/tickets/{ticket}");
    let answer = nobody().with("if-none-match", "\"0\"").get(&path).await.is(304);
    assert!(answer.text.is_empty() && answer.header("etag") == "\"0\"");
    nobody().with("if-none-match", "\"1\"").get(&path).await.is(200);
}

#[tokio::test]
async fn d16_the_list_comes_in_pages_by_link() {
    let mut seller = Client::new().await;
    let rows: Vec<Value> = (0..7).map(|n| json!({"title": format!("paged {n}"), "price": n + 1})).collect();
    seller.post("/api/tickets/bulk", json!(rows)).await.is(200);
    let id = seller.get("/api/users/currentuser").await.body["currentUser"]["id"].as_str().unwrap().to_string();
    let mut path = format!("/api/tickets?seller={id}&limit=3");
    let mut titles = Vec::new();
    for rows in [3, 3, 1] {
        let page = nobody().get(&path).await.is(200);
        let listed = page.body.as_array().unwrap();
        assert_eq!(listed.len(), rows);
        titles.extend(listed.iter().map(|ticket| ticket["title"].as_str().unwrap().to_string()));
        match page.header("link").split_once(">; rel=\"next\"") {
            Some((next, "")) => {
                path = next.trim_start_matches('<').to_string();
                assert!(path.ends_with(page.header("x-next-cursor")));
            }
            _ => assert_eq!(titles.len(), 7, "only the last page has no next: {page:?}"),
        }
    }
    assert_eq!(titles, (0..7).map(|n| format!("paged {n}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn d16_the_list_is_searched_and_filtered() {
    let mut seller = Client::new().await;
    for (title, price) in [("zebra parade", "10"), ("zebra race", "20"), ("quagga race", "30")] {
        seller.post("/api/tickets", json!({"title": title, "price": price})).await.is(201);
    }
    let count = async |query: &str| {
        let answer = nobody().get(&format!("/api/tickets?{query}")).await.is(200);
        answer.body.as_array().unwrap().len()
    };
    assert_eq!(count("q=zebra").await, 2);
    assert_eq!(count("q=zeb+rac").await, 1);
    assert_eq!(count("q=ZEBRA&minPrice=15").await, 1);
    assert_eq!(count("q=race&maxPrice=20.00").await, 1);
    assert_eq!(count("q=zebra&currency=EUR").await, 0);
    assert_eq!(count("q=").await.min(1), 1);
    assert_eq!(seller.get("/api/tickets?seller=me").await.is(200).body.as_array().unwrap().len(), 3);
    nobody().get("/api/tickets?seller=me").await.is(401);
}

#[tokio::test]
async fn bulk_creation_answers_line_by_line_and_is_repeatable_by_external_id() {
    let mut seller = Client::new().await;
    let rows = json!([
        {"title": "one", "price": "1.00", "externalId": "e1"},
        {"title": "", "price": "1.00", "externalId": "e2"},
        {"title": "three", "price": "1.005", "externalId": "e3"},
        "not a ticket",
        {"title": "five", "price": 5, "externalId": "e5"},
    ]);
    let first = seller.post("/api/tickets/bulk", rows.clone()).await.is(200).body;
    assert_eq!((&first[0]["created"], &first[4]["created"]), (&json!(true), &json!(true)));
    assert_eq!(first[1]["errors"][0]["message"], "Title is required");
    assert_eq!(first[2]["errors"][0]["code"], "too_many_decimals");
    assert_eq!(first[3]["errors"][0]["code"], "malformed_json");
    let again = seller.post("/api/tickets/bulk", rows).await.is(200).body;
    assert_eq!((&again[0]["created"], &again[0]["id"]), (&json!(false), &first[0]["id"]));
    let many: Vec<Value> = vec![json!({"title": "x", "price": 1}); 1_001];
    seller.post("/api/tickets/bulk", json!(many)).await.is(400);
    nobody().post("/api/tickets/bulk", json!([])).await.is(401);
}

#[tokio::test]
async fn r3_a_scheduled_price_takes_effect_at_release() {
    let mut seller = Client::new().await;
    let ticket = seller.ticket("20").await;
    let mut buyer = Client::new().await;
    let order = buyer.order(&ticket).await;
    let path = format!("/api/tickets/{ticket}");
    let scheduled = seller.put(&format!("{path}/next-price"), json!({"price": "25.50"})).await.is(200);
    assert_eq!((&scheduled.body["price"], &scheduled.body["nextPrice"]), (&json!(20), &json!(25.5)));
    let held = buyer.get(&format!("/api/orders/{order}")).await.is(200);
    assert_eq!(held.body["ticket"]["price"], json!(20));
    buyer.delete(&format!("/api/orders/{order}")).await.is(204);
    let released = nobody().get(&path).await.is(200);
    assert_eq!((&released.body["price"], released.body.get("nextPrice")), (&json!(25.5), None));
    buyer.put(&format!("{path}/next-price"), json!({"price": 1})).await.is(401);
    seller.put(&format!("{path}/next-price"), json!({"price": "x"})).await.is(400);
}

#[tokio::test]
async fn r11_a_withdrawn_ticket_is_off_sale_and_a_locked_one_is_at_release() {
    let mut seller = Client::new().await;
    let mut buyer = Client::new().await;
    let free = seller.ticket("20").await;
    let gone = seller.delete(&format!("/api/tickets/{free}")).await.is(200);
    assert_eq!(gone.body["status"], "withdrawn");
    let answer = buyer.post("/api/orders", json!({"ticketId": free})).await.is(410);
    assert_eq!(answer.code(), "ticket_withdrawn");
    let locked = seller.ticket("20").await;
    let order = buyer.order(&locked).await;
    assert_eq!(seller.delete(&format!("/api/tickets/{locked}")).await.is(200).body["status"], "locked");
    buyer.delete(&format!("/api/orders/{order}")).await.is(204);
    assert_eq!(nobody().get(&format!("/api/tickets/{locked}")).await.body["status"], "withdrawn");
    buyer.delete(&format!("/api/tickets/{free}")).await.is(401);
}

#[tokio::test]
async fn a_seller_sees_what_he_has_sold_for_what_was_paid() {
    let mut seller = Client::new().await;
    let ticket = seller.ticket("20.00").await;
    let mut buyer = Client::new().await;
    let order = buyer.order(&ticket).await;
    assert_eq!(seller.get("/api/sales").await.is(200).body, json!([]));
    buyer.pay(&order, "tok_visa").await.is(201);
    let sales = seller.get("/api/sales").await.is(200).body;
    assert_eq!((&sales[0]["ticketId"], &sales[0]["orderId"]), (&json!(ticket), &json!(order)));
    assert_eq!((&sales[0]["price"], sales[0]["soldAt"].is_string()), (&json!(20), true));
    assert_eq!(buyer.get("/api/sales").await.is(200).body, json!([]));
    nobody().get("/api/sales").await.is(401);
}

#[tokio::test]
async fn d16_the_list_is_filtered_by_event() {
    let mut seller = Client::new().await;
    let mut of = async |event: &str| {
        let body = json!({"title": "seat", "price": 5, "eventName": event});
        seller.post("/api/tickets", body).await.is(201).id()
    };
    let (ticket, _) = (of("Otter Night").await, of("Otter Nightfall").await);
    let listed = nobody().get("/api/tickets?event=otter+night").await.is(200).body;
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["id"]), (1, &json!(ticket)));
}
