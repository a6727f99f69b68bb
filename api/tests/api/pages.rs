//! The pages, as a browser without JavaScript meets them: cookies, forms, 303.

use std::collections::BTreeMap;

use holdfast_ledger::command::Command;
use holdfast_ledger::entities::Roles;
use reqwest::redirect::Policy;
use serde_json::json;

use crate::client::{Client, NO_SUCH_ID, PASSWORD, new_email};
use crate::server::{World, limited};

/// The first page, its stylesheet and its script, in bytes on the wire.
const FIRST_PAGE_BYTES_MAX: usize = 50_000;

/// A page, read whole.
pub struct Page {
    status: u16,
    location: String,
    headers: reqwest::header::HeaderMap,
    html: String,
}

impl Page {
    #[track_caller]
    pub fn is(self, status: u16) -> Page {
        assert_eq!(self.status, status, "{}\n{}", self.location, self.html);
        self
    }

    #[track_caller]
    pub fn has(self, text: &str) -> Page {
        assert!(self.html.contains(text), "no {text:?} in\n{}", self.html);
        self
    }

    #[track_caller]
    fn has_not(self, text: &str) -> Page {
        assert!(!self.html.contains(text), "{text:?} in\n{}", self.html);
        self
    }

    /// The hidden fields of the form that posts to `action`.
    #[track_caller]
    fn form(&self, action: &str) -> BTreeMap<String, String> {
        let start = self.html.find(&format!("action=\"{action}\"")).unwrap_or_else(|| {
            panic!("no form for {action} in\n{}", self.html);
        });
        let form = self.html[start..].split("</form>").next().unwrap();
        let attribute = |tag: &str, name: &str| {
            let from = tag.find(&format!("{name}=\""))? + name.len() + 2;
            Some(tag[from..].split('"').next().unwrap().replace("&#38;", "&"))
        };
        let hidden = form.split('<').filter(|tag| tag.starts_with("input") && tag.contains("type=\"hidden\""));
        hidden.filter_map(|tag| Some((attribute(tag, "name")?, attribute(tag, "value")?))).collect()
    }
}

/// A browser without JavaScript: keeps cookies, follows nothing by itself.
pub struct Browser {
    url: String,
    http: reqwest::Client,
}

impl Browser {
    fn at(url: &str) -> Browser {
        let http = reqwest::Client::builder().cookie_store(true).redirect(Policy::none()).build().unwrap();
        Browser { url: url.into(), http }
    }

    /// The same person at another server.
    pub fn at_another(&self, url: &str) -> Browser {
        Browser { url: url.into(), http: self.http.clone() }
    }

    fn new() -> Browser {
        Browser::at(&World::shared().url)
    }

    /// Somebody new, signed in by the form.
    async fn signed_up() -> (Browser, String) {
        let browser = Browser::new();
        let email = new_email();
        let fields = [("email", email.as_str()), ("password", PASSWORD)];
        browser.submit("/auth/signup", "/auth/signup", &fields).await.is(303);
        (browser, email)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Page {
        let response = request.header("accept", "text/html").send().await.expect("the server answers");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let location = headers.get("location").map_or("", |value| value.to_str().unwrap()).to_string();
        Page { status, location, headers, html: response.text().await.expect("the answer is whole") }
    }

    pub async fn get(&self, path: &str) -> Page {
        self.send(self.http.get(format!("{}{path}", self.url))).await
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        self.send(self.http.post(format!("{}{path}", self.url)).form(fields)).await
    }

    /// Somebody who operates.
    pub async fn operator() -> Browser {
        let (browser, email) = Browser::signed_up().await;
        let found = Client::operator().await.get(&format!("/api/operator/users?q={email}")).await.is(200);
        let user = found.body[0]["id"].as_str().unwrap().parse().unwrap();
        let roles = Roles { seller: true, operator_read: true, operator_admin: true };
        World::shared().as_system(Command::SetRoles { user, roles }).await;
        let fields = [("email", email.as_str()), ("password", PASSWORD)];
        browser.submit("/auth/signin", "/auth/signin", &fields).await.is(303);
        browser
    }

    /// Opens `page`, fills in its form for `action` and sends it.
    async fn submit(&self, page: &str, action: &str, fields: &[(&str, &str)]) -> Page {
        let hidden = self.get(page).await.form(action);
        let mut all: Vec<(&str, &str)> = hidden.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        all.extend_from_slice(fields);
        self.post(action, &all).await
    }
}

/// A ticket of somebody else's, at 20 dollars.
async fn a_ticket(title: &str) -> String {
    Client::new().await.post("/api/tickets", json!({"title": title, "price": "20.00"})).await.is(201).id()
}

#[tokio::test]
async fn a_whole_purchase_needs_no_javascript() {
    let ticket = a_ticket("Cubs at Dodgers").await;
    let here = format!("/tickets/{ticket}");
    let browser = Browser::new();
    browser.get(&here).await.is(200).has("Cubs at Dodgers").has("$20.00").has("Buy this ticket");

    // Nobody is signed in: the way leads over the sign-up and back to the ticket.
    let buy = format!("{here}/buy");
    let to_sign_in = browser.submit(&here, &buy, &[]).await.is(303).location;
    assert_eq!(to_sign_in, format!("/auth/signin?next=%2Ftickets%2F{ticket}"));
    let sign_up = to_sign_in.replace("signin", "signup");
    browser.get(&to_sign_in).await.is(200).has(&sign_up);
    let fields = [("email", &*new_email()), ("password", PASSWORD)];
    let back = browser.submit(&sign_up, "/auth/signup", &fields).await.is(303);
    assert_eq!(back.location, here, "signing up leads back to the ticket");

    let order = browser.submit(&here, &buy, &[]).await.is(303).location;
    assert!(order.starts_with("/orders/"), "{order}");
    let shown = browser.get(&order).await.is(200).has("Time left to pay").has("$20.00");
    assert!(shown.html.contains("<noscript><meta http-equiv=\"refresh\""), "the page comes again when time is over");

    let pay = format!("{order}/pay");
    let paid = browser.submit(&order, &pay, &[("token", "tok_visa")]).await.is(303);
    assert_eq!(paid.location, order);
    browser.get(&order).await.is(200).has("The ticket is yours").has_not("Test cards");
    browser.get("/orders").await.is(200).has("Cubs at Dodgers").has("Paid");
    browser.get(&here).await.is(200).has("This ticket is yours");
}

#[tokio::test]
async fn a_decline_is_told_with_its_reason() {
    let ticket = a_ticket("declined").await;
    let (browser, _) = Browser::signed_up().await;
    let here = format!("/tickets/{ticket}");
    let order = browser.submit(&here, &format!("{here}/buy"), &[]).await.is(303).location;
    let card = [("token", "tok_chargeDeclinedInsufficientFunds")];
    browser.submit(&order, &format!("{order}/pay"), &card).await.is(402).has("declined").has("not enough money");
    browser.get(&order).await.is(200).has("declined").has("not enough money").has_not("Test cards");
}

#[tokio::test]
async fn a_raw_card_number_comes_back_as_an_error_and_is_not_shown() {
    let ticket = a_ticket("card").await;
    let (browser, _) = Browser::signed_up().await;
    let here = format!("/tickets/{ticket}");
    let order = browser.submit(&here, &format!("{here}/buy"), &[]).await.is(303).location;
    let card = [("token", "4242424242424242")];
    let refused = browser.submit(&order, &format!("{order}/pay"), &card).await.is(400);
    refused.has("never a card number").has_not("4242424242424242");
}

#[tokio::test]
async fn the_same_form_sent_twice_is_one_order() {
    let ticket = a_ticket("twice").await;
    let (browser, _) = Browser::signed_up().await;
    let here = format!("/tickets/{ticket}");
    let buy = format!("{here}/buy");
    let form = browser.get(&here).await.form(&buy);
    let fields: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let first = browser.post(&buy, &fields).await.is(303).location;
    let second = browser.post(&buy, &fields).await.is(303).location;
    assert_eq!(first, second);
}

#[tokio::test]
async fn a_changed_price_is_asked_about_with_old_and_new() {
    let mut seller = Client::new().await;
    let ticket = seller.ticket("20.00").await;
    let here = format!("/tickets/{ticket}");
    let (browser, _) = Browser::signed_up().await;
    let form = browser.get(&here).await.form(&format!("{here}/buy"));
    seller.put(&format!("/api/tickets/{ticket}"), json!({"title": "concert", "price": "25.50"})).await.is(200);
    let fields: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let asked = browser.post(&format!("{here}/buy"), &fields).await.is(409);
    let asked = asked.has("The price has changed").has("<s>$20.00</s>").has("$25.50");
    let again = asked.form(&format!("{here}/buy"));
    let fields: Vec<(&str, &str)> = again.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let order = browser.post(&format!("{here}/buy"), &fields).await.is(303).location;
    browser.get(&order).await.is(200).has("$25.50");
}

#[tokio::test]
async fn a_held_ticket_says_so_and_a_lost_race_is_told() {
    let ticket = a_ticket("raced").await;
    let here = format!("/tickets/{ticket}");
    let (browser, _) = Browser::signed_up().await;
    let form = browser.get(&here).await.form(&format!("{here}/buy"));
    Client::new().await.order(&ticket).await;
    let fields: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let lost = browser.post(&format!("{here}/buy"), &fields).await.is(400);
    lost.has("Another buyer was a moment faster").has("Held by another buyer until").has("Join the line");
}

#[tokio::test]
async fn whoever_joins_the_line_is_offered_the_ticket_when_it_is_free() {
    let (mut holder, ticket) = (Client::new().await, a_ticket("lined").await);
    let order = holder.order(&ticket).await;
    let here = format!("/tickets/{ticket}");
    let (browser, _) = Browser::signed_up().await;
    let joined = browser.submit(&here, &format!("{here}/join"), &[]).await.is(303);
    browser.get(&joined.location).await.is(200).has("You are in line").has("<strong>number 1</strong> of 1");
    browser.get("/account").await.is(200).has("Lines you stand in").has("lined").has("Number 1");
    holder.delete(&format!("/api/orders/{order}")).await.is(204);
    browser.get(&here).await.is(200).has("It is your turn").has("data-left=");
    let (other, _) = Browser::signed_up().await;
    other.get(&here).await.is(200).has("Offered to the line").has_not("Buy this ticket");
    browser.submit(&here, &format!("{here}/buy"), &[]).await.is(303);
    let held = browser.get(&here).await.is(200).has("You hold this ticket");
    held.has_not("Join the line");
}

#[tokio::test]
async fn a_price_is_watched_and_no_longer() {
    let ticket = a_ticket("watched").await;
    let here = format!("/tickets/{ticket}");
    let (browser, _) = Browser::signed_up().await;
    let watching = browser.submit(&here, &format!("{here}/watch"), &[]).await.is(303);
    browser.get(&watching.location).await.is(200).has("We will mail you").has("Stop telling me");
    browser.submit(&here, &format!("{here}/unwatch"), &[]).await.is(303);
    browser.get(&here).await.is(200).has("Tell me when its price changes");
}

#[tokio::test]
async fn a_bought_ticket_is_shown_printed_and_checked() {
    let ticket = a_ticket("Signed seat").await;
    let (browser, _) = Browser::signed_up().await;
    let here = format!("/tickets/{ticket}");
    let order = browser.submit(&here, &format!("{here}/buy"), &[]).await.is(303).location;
    browser.submit(&order, &format!("{order}/pay"), &[("token", "tok_visa")]).await.is(303);
    browser.get(&order).await.is(200).has(&format!("{ticket}.svg")).has(&format!("{ticket}.jws"));
    let pass = browser.get(&format!("{order}/tickets/{ticket}")).await.is(200).has("Signed seat");
    let token = pass.html.split("<code id=\"token\">").nth(1).unwrap().split('<').next().unwrap();
    let anybody = Browser::new();
    anybody.get(&format!("/verify?token={token}")).await.is(200).has("This ticket is good").has("Signed seat");
    anybody.submit("/verify", "/verify", &[("token", token)]).await.is(200).has("This ticket is good");
    let forged = format!("{}AAAA", &token[..token.len() - 4]);
    anybody.submit("/verify", "/verify", &[("token", &forged)]).await.is(200).has("This ticket is not good");
    anybody.submit("/verify", "/verify", &[("token", "nonsense")]).await.is(200).has("This ticket is not good");
}

#[tokio::test]
async fn an_account_is_changed_and_erased_by_forms() {
    let (browser, email) = Browser::signed_up().await;
    browser.get("/account").await.is(200).has(&email).has("This device").has("Address not confirmed");
    let wrong = [("email", "other@test.com"), ("password", "not the password")];
    let refused = browser.submit("/account", "/account/email", &wrong).await.is(400);
    refused.has("value=\"other@test.com\"").has("id=\"email-password-error\"");
    let other = new_email();
    let right = [("email", other.as_str()), ("password", PASSWORD)];
    browser.submit("/account", "/account/email", &right).await.is(303);
    let changed = [("password", PASSWORD), ("newPassword", "another one")];
    browser.submit("/account", "/account/password", &changed).await.is(303);
    browser.get("/account").await.is(200).has(&other);
    browser.submit("/account", "/account/erase", &[("password", "another one")]).await.is(303);
    assert_eq!(browser.get("/account").await.is(303).location, "/auth/signin?next=%2Faccount");
    let again = [("email", other.as_str()), ("password", "another one")];
    browser.submit("/auth/signin", "/auth/signin", &again).await.is(400).has("Invalid credentials");
}

#[tokio::test]
async fn mailed_links_that_are_not_good_say_so() {
    let browser = Browser::new();
    let asked = browser.submit("/auth/forgot", "/auth/forgot", &[("email", "nobody@test.com")]).await.is(200);
    asked.has("If there is an account");
    let fields = [("token", "forged"), ("password", "long enough")];
    let form = browser.get("/auth/reset?token=forged").await.is(200).form("/auth/reset");
    let refused = browser.post("/auth/reset", &[fields[0], fields[1], ("csrf", &form["csrf"])]).await.is(400);
    refused.has("This link is not good any more");
    let refused = browser.submit("/auth/verify?token=forged", "/auth/verify", &[]).await.is(400);
    refused.has("This link is not good any more");
}

#[tokio::test]
async fn operators_see_and_act_and_others_are_told_that_they_may_not() {
    let (user, _) = Browser::signed_up().await;
    user.get("/operator").await.is(403).has("Your role does not allow this");
    assert_eq!(Browser::new().get("/operator/users").await.is(303).location, "/auth/signin?next=%2Foperator%2Fusers");

    let operator = Browser::operator().await;
    for tab in ["", "/locks", "/orders", "/users", "/payments", "/outbox", "/invariants", "/audit", "/webhooks"] {
        operator.get(&format!("/operator{tab}")).await.is(200).has("aria-current=\"page\"").has("<h1>");
    }
    // A check that has ended is shown, whoever asked for it.
    let mut api = Client::operator().await;
    api.post("/api/operator/invariants", json!({})).await;
    api.until("/api/operator/invariants", |answer| answer.body["last"].is_object()).await;
    operator.get("/operator/invariants").await.is(200).has("All hold");
    let (buyer, email) = Browser::signed_up().await;
    let ticket = a_ticket("operated").await;
    let here = format!("/tickets/{ticket}");
    let order = buyer.submit(&here, &format!("{here}/buy"), &[]).await.is(303).location;
    let order_desk = format!("/operator{order}");
    operator.get(&format!("/operator/orders?q={ticket}")).await.is(200).has(&order_desk);
    operator.submit(&order_desk, &format!("{order_desk}/release"), &[]).await.is(303);
    operator.get(&order_desk).await.is(200).has("Released by an operator");
    buyer.get(&order).await.is(200).has("Released by an operator").has("Nothing was charged");

    let found = operator.get(&format!("/operator/users?q={email}")).await.is(200);
    let user_desk = found.html.split("<td><a href=\"").nth(1).unwrap().split('"').next().unwrap().to_string();
    operator.submit(&user_desk, &format!("{user_desk}/ban"), &[]).await.is(303);
    operator.get(&user_desk).await.is(200).has("Banned").has("Lift the ban");
    buyer.get("/orders").await.is(303);
    operator.get("/operator/audit").await.is(200).has("<td>1</td>");
}

#[tokio::test]
async fn an_expired_order_says_so_before_any_card_is_shown() {
    let world = World::hasty();
    let ticket = Client::signed_up(&world.url).await.ticket("20").await;
    let here = format!("/tickets/{ticket}");
    let browser = Browser::at(&world.url);
    let fields = [("email", &*new_email()), ("password", PASSWORD)];
    browser.submit("/auth/signup", "/auth/signup", &fields).await.is(303);
    let order = browser.submit(&here, &format!("{here}/buy"), &[]).await.is(303).location;
    let form = browser.get(&order).await.form(&format!("{order}/pay"));
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    while !browser.get(&order).await.html.contains("Order expired") {
        assert!(tokio::time::Instant::now() < deadline, "the order never runs out");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    browser.get(&order).await.is(200).has("Order expired").has_not("Test cards");
    // The form that was open all the time charges nobody.
    let mut fields: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    fields.push(("token", "tok_visa"));
    browser.post(&format!("{order}/pay"), &fields).await.is(400).has("Order expired").has_not("Test cards");
}

#[tokio::test]
async fn forms_say_what_is_wrong_beside_the_field_and_keep_what_was_typed() {
    let browser = Browser::new();
    let fields = [("email", "nobody@nowhere"), ("password", "x")];
    let refused = browser.submit("/auth/signup", "/auth/signup", &fields).await.is(400);
    let refused = refused.has("id=\"email-error\">Email must be valid").has("value=\"nobody@nowhere\"");
    refused.has("id=\"password-error\"").has("aria-invalid=\"true\"").has_not("value=\"x\"");
    let unknown = [("email", "nobody@test.com"), ("password", "wrong-password")];
    let refused = browser.submit("/auth/signin", "/auth/signin", &unknown).await.is(400);
    refused.has("Invalid credentials").has("value=\"nobody@test.com\"").has_not("wrong-password");

    let (seller, _) = Browser::signed_up().await;
    let fields = [("title", "Front row"), ("price", "1.999"), ("currency", "USD"), ("venue", "Hall \"A\" <1>")];
    let refused = seller.submit("/tickets/new", "/tickets/new", &fields).await.is(400);
    let refused = refused.has("id=\"price-error\"").has("value=\"Front row\"").has("value=\"1.999\"");
    refused.has("Hall &#34;A&#34; &#60;1&#62;");
}

#[tokio::test]
async fn a_seller_creates_edits_and_withdraws_by_forms() {
    let (seller, _) = Browser::signed_up().await;
    seller.get("/sell").await.is(200).has("You sell nothing yet");
    let fields = [
        ("title", "Front row"),
        ("price", "1,250.50"),
        ("currency", "EUR"),
        ("eventName", "Gala"),
        ("row", "1"),
        ("startsAt", "2031-05-01T20:00"),
    ];
    let made = seller.submit("/tickets/new", "/tickets/new", &fields).await.is(303).location;
    let here = made.split('?').next().unwrap();
    let shown = seller.get(&made).await.is(200).has("is on sale").has("€1,250.50").has("1 May 2031, 20:00 UTC");
    shown.has("You sell this ticket").has_not("Buy this ticket");
    let edit = format!("{here}/edit");
    seller.get(&edit).await.is(200).has("value=\"1250.50\"").has("value=\"2031-05-01T20:00\"").has("value=\"Gala\"");
    let fields = [("title", "Front row, left"), ("price", "900"), ("eventName", "Gala")];
    seller.submit(&edit, &edit, &fields).await.is(303);
    seller.get("/sell").await.is(200).has("Front row, left").has("€900.00").has("Available");
    seller.submit(here, &format!("{here}/withdraw"), &[]).await.is(303);
    seller.get("/sell").await.is(200).has("Off sale");
    let (stranger, _) = Browser::signed_up().await;
    stranger.get(&edit).await.is(403).has("belongs to somebody else");
}

#[tokio::test]
async fn an_edit_of_what_has_changed_meanwhile_is_refused() {
    let (seller, _) = Browser::signed_up().await;
    let fields = [("title", "once"), ("price", "5"), ("currency", "USD")];
    let made = seller.submit("/tickets/new", "/tickets/new", &fields).await.is(303).location;
    let edit = format!("{}/edit", made.split('?').next().unwrap());
    let old = seller.get(&edit).await.form(&edit);
    seller.submit(&edit, &edit, &[("title", "twice"), ("price", "6")]).await.is(303);
    let mut fields: Vec<(&str, &str)> = old.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    fields.extend([("title", "thrice"), ("price", "7")]);
    let refused = seller.post(&edit, &fields).await.is(412).has("value=\"thrice\"").has("It has changed");
    let refused =
        refused.has("id=\"title-error\">Saved meanwhile: twice").has("id=\"price-error\">Saved meanwhile: 6.00");
    // Whoever has seen it and sends it again means it.
    let again = refused.form(&edit);
    let mut fields: Vec<(&str, &str)> = again.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    fields.extend([("title", "thrice"), ("price", "7")]);
    seller.post(&edit, &fields).await.is(303);
}

#[tokio::test]
async fn the_last_detail_of_a_ticket_can_be_cleared() {
    let (seller, _) = Browser::signed_up().await;
    let fields = [("title", "Front row"), ("price", "5"), ("currency", "USD"), ("venue", "City Hall")];
    let made = seller.submit("/tickets/new", "/tickets/new", &fields).await.is(303).location;
    let here = made.split('?').next().unwrap();
    let edit = format!("{here}/edit");
    seller.get(here).await.is(200).has("City Hall");
    let fields = [("title", "Front row"), ("price", "5"), ("venue", ""), ("startsAt", "")];
    seller.submit(&edit, &edit, &fields).await.is(303);
    seller.get(here).await.is(200).has("Front row").has_not("City Hall");
}

#[tokio::test]
async fn a_next_price_that_is_none_is_said_beside_its_field() {
    let (seller, _) = Browser::signed_up().await;
    let fields = [("title", "Priced"), ("price", "5"), ("currency", "USD")];
    let made = seller.submit("/tickets/new", "/tickets/new", &fields).await.is(303).location;
    let here = made.split('?').next().unwrap();
    Client::new().await.order(here.trim_start_matches("/tickets/")).await;
    let refused = seller.submit(here, &format!("{here}/price"), &[("price", "cheap")]).await.is(400);
    refused.has("id=\"next-price-error\"").has("value=\"cheap\"").has("<details class=\"more\" open>");
}

/// Hidden fields with those that somebody typed.
fn filled<'a>(hidden: &'a BTreeMap<String, String>, typed: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let hidden = hidden.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    hidden.filter(|(name, _)| typed.iter().all(|(other, _)| other != name)).chain(typed.iter().copied()).collect()
}

#[tokio::test]
async fn a_form_that_is_out_of_date_keeps_what_was_typed_and_is_good_when_sent_again() {
    const OLD: (&str, &str) = ("csrf", "of-another-time");
    let (seller, _) = Browser::signed_up().await;
    let ticket = [("title", "Late \"show\""), ("price", "12.50"), ("currency", "EUR"), ("venue", "Old Hall")];
    let form = seller.get("/tickets/new").await.form("/tickets/new");
    let refused = seller.post("/tickets/new", &filled(&form, &[&ticket[..], &[OLD]].concat())).await.is(403);
    let refused = refused.has("open for too long").has("Late &#34;show&#34;").has("value=\"12.50\"");
    let refused = refused.has("value=\"Old Hall\"").has("<option selected>EUR");
    seller.get("/sell").await.is(200).has("You sell nothing yet");
    let again = refused.form("/tickets/new");
    seller.post("/tickets/new", &filled(&again, &ticket)).await.is(303);
    seller.get("/sell").await.is(200).has("€12.50");

    let csv = "title,price\nKept line,5\n";
    for action in ["/sell/import", "/sell/import/confirm"] {
        seller.post(action, &[OLD, ("csv", csv)]).await.is(403).has("open for too long").has("Kept line,5");
    }
    seller.post("/account/email", &[OLD, ("email", "new@test.com")]).await.is(403).has("new@test.com");
    seller.post("/verify", &[OLD, ("token", "a.b.c")]).await.is(403).has("a.b.c").has_not("is not good");
    let stranger = Browser::new();
    let typed = [OLD, ("email", "late@test.com"), ("password", PASSWORD)];
    for action in ["/auth/signup", "/auth/signin"] {
        let refused = stranger.post(action, &typed).await.is(403).has("open for too long");
        refused.has("value=\"late@test.com\"").has_not(PASSWORD);
    }
    stranger.post("/auth/forgot", &typed).await.is(403).has("value=\"late@test.com\"");
}

#[tokio::test]
async fn whoever_was_signed_out_while_typing_finds_it_again_after_the_sign_in() {
    let (seller, email) = Browser::signed_up().await;
    let form = seller.get("/tickets/new").await.form("/tickets/new");
    seller.submit("/auth/signout", "/auth/signout", &[]).await.is(303);
    let ticket = [("title", "Signed out & back"), ("price", "30"), ("currency", "GBP"), ("row", "7")];
    let to_sign_in = seller.post("/tickets/new", &filled(&form, &ticket)).await.is(303).location;
    assert!(to_sign_in.starts_with("/auth/signin?next=%2Ftickets%2Fnew%3F"), "{to_sign_in}");
    let credentials = [("email", email.as_str()), ("password", PASSWORD)];
    let back = seller.submit(&to_sign_in, "/auth/signin", &credentials).await.is(303).location;
    let kept = seller.get(&back).await.is(200).has("You were signed out in between");
    let kept = kept.has("value=\"Signed out &#38; back\"").has("value=\"30\"").has("<option selected>GBP");
    seller.post("/tickets/new", &filled(&kept.form("/tickets/new"), &ticket)).await.is(303);
    let csv = [("csv", "title,price\nKept line,5\n")];
    seller.submit("/auth/signout", "/auth/signout", &[]).await.is(303);
    seller.post("/sell/import", &csv).await.is(401).has("Kept line,5").has("sign in in another tab");
}

#[tokio::test]
async fn an_import_shows_errors_by_line_before_anything_is_created() {
    let (seller, _) = Browser::signed_up().await;
    let csv = "title,price,currency\nGood,5,USD\nBad,-1,USD\n,3,USD\nAlso good,7.50,EUR\n";
    let preview = seller.submit("/sell/import", "/sell/import", &[("csv", csv)]).await.is(200);
    let preview = preview.has("2 of 4 lines can go on sale").has("price: Price must be greater than 0");
    let preview = preview.has("title: Title is required");
    seller.get("/sell").await.is(200).has("You sell nothing yet");
    let form = preview.form("/sell/import/confirm");
    let mut fields: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    fields.push(("csv", csv));
    let done = seller.post("/sell/import/confirm", &fields).await.is(303).location;
    seller.get(&done).await.is(200).has("Tickets put on sale: 2").has("Also good").has("€7.50");
    let refused = seller.submit("/sell/import", "/sell/import", &[("csv", "name,cost\na,1")]).await.is(400);
    refused.has("no column “title”").has("name,cost");
}

#[tokio::test]
async fn html_in_titles_stays_text() {
    let title = "<script>alert(1)</script> & \"quotes\"";
    let ticket = a_ticket(title).await;
    let (browser, _) = Browser::signed_up().await;
    let here = format!("/tickets/{ticket}");
    for path in [here.clone(), "/?q=script".into(), "/?q=%22%3E%3Cscript%3Ealert(1)".into()] {
        browser.get(&path).await.is(200).has_not("<script>alert(1)");
    }
    let order = browser.submit(&here, &format!("{here}/buy"), &[]).await.is(303).location;
    browser.get(&order).await.is(200).has("&#60;script&#62;").has_not("<script>alert(1)");
}

#[tokio::test]
async fn every_page_keeps_to_itself() {
    let (browser, _) = Browser::signed_up().await;
    for path in ["/", "/orders", "/sell", "/tickets/new", "/sell/import", "/verify", "/nowhere", "/auth/signout"] {
        let page = browser.get(path).await;
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "form-action 'self'"] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(page.headers["cache-control"], "no-store");
        assert!(page.headers["content-type"].to_str().unwrap().starts_with("text/html"), "{path}");
        // Neither script nor style stands inside a page.
        page.has_not("<style").has_not(" style=").has_not("<script>").has_not(" onclick");
    }
}

#[tokio::test]
async fn the_first_page_is_small_and_its_files_are_kept_for_ever() {
    let browser = Browser::new();
    let page = browser.get("/").await.is(200);
    let links = page.html.split('"').filter(|text| text.starts_with("/assets/"));
    let mut bytes = page.html.len();
    let mut count = 0;
    for link in links {
        let file = browser.get(link).await.is(200);
        assert_eq!(file.headers["cache-control"], "public, max-age=31536000, immutable");
        (bytes, count) = (bytes + file.html.len(), count + 1);
    }
    assert_eq!(count, 3, "icon, stylesheet and script");
    assert!(bytes < FIRST_PAGE_BYTES_MAX, "{bytes}");
    assert!(page.html.contains("<script type=\"module\""), "a module never holds a page up");
}

#[tokio::test]
async fn a_form_without_its_token_or_with_anothers_does_nothing() {
    let ticket = a_ticket("forged").await;
    let here = format!("/tickets/{ticket}");
    let (browser, _) = Browser::signed_up().await;
    let (other, _) = Browser::signed_up().await;
    let buy = format!("{here}/buy");
    let foreign = other.get(&here).await.form(&buy);
    for token in ["", "nonsense", foreign["csrf"].as_str()] {
        let fields = [("price", "20.00"), ("csrf", token)];
        browser.post(&buy, &fields).await.is(403).has("open for too long").has("Buy this ticket");
    }
    let request = browser.http.post(format!("{}{buy}", browser.url)).header("origin", "https://evil.example");
    browser.send(request.form(&[("price", "20.00")])).await.is(403).has("another site");
    browser.get("/orders").await.is(200).has("No orders yet");
}

#[tokio::test]
async fn sign_in_leads_to_this_site_only_and_out_again() {
    let (browser, email) = Browser::signed_up().await;
    browser.get("/").await.is(200).has("Sign out").has_not(">Sign up<");
    browser.submit("/auth/signout", "/auth/signout", &[]).await.is(303);
    browser.get("/").await.is(200).has(">Sign up<").has_not("Sign out");
    assert_eq!(browser.get("/orders").await.is(303).location, "/auth/signin?next=%2Forders");
    for elsewhere in ["https://evil.example/", "//evil.example"] {
        let fields = [("email", &*email), ("password", PASSWORD), ("next", elsewhere)];
        let form = browser.get("/auth/signin").await.form("/auth/signin");
        let mut all = fields.to_vec();
        all.push(("csrf", &form["csrf"]));
        assert_eq!(browser.post("/auth/signin", &all).await.is(303).location, "/");
        browser.submit("/auth/signout", "/auth/signout", &[]).await.is(303);
    }
}

#[tokio::test]
async fn failures_have_pages_and_programs_still_get_json() {
    let browser = Browser::new();
    for path in ["/nowhere", "/tickets/x", &format!("/tickets/{NO_SUCH_ID}")] {
        browser.get(path).await.is(404).has("Nothing here").has("<main");
    }
    let mut program = Client::anonymous(&World::shared().url);
    program.get("/nowhere").await.fails(404, "Not Found", None);
    browser.get("/api/nowhere").await.is(404).has("\"errors\"");
    let hurried = Browser::at(&World::shared().with(limited(3)));
    let mut last = hurried.get("/").await;
    for _ in 0..3 {
        last = hurried.get("/").await;
    }
    last.is(429).has("A little too fast");
}

#[tokio::test]
async fn search_filters_and_pages_keep_what_was_asked() {
    let mut seller = Client::new().await;
    for price in 1..=30 {
        let body = json!({"title": format!("Paginated {price}"), "price": price});
        seller.post("/api/tickets", body).await.is(201);
    }
    let browser = Browser::new();
    let first = browser.get("/?q=paginated&maxPrice=28").await.is(200).has("value=\"paginated\"").has("value=\"28\"");
    assert_eq!(first.html.matches("<li class=\"card\"").count(), 24);
    let next = first.html.split("rel=\"next\" href=\"").nth(1).expect("a next page").split('"').next().unwrap();
    let next = next.replace("&#38;", "&");
    let second = browser.get(&next).await.is(200);
    assert_eq!(second.html.matches("<li class=\"card\"").count(), 4);
    browser.get("/?q=paginated&minPrice=abc").await.is(400).has("id=\"minPrice-error\"").has("value=\"abc\"");
    browser.get("/?q=certainlynothinghasthisname").await.is(200).has("Nothing found");
}
