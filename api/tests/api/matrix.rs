//! The authorisation matrix: every route of the OpenAPI document, asked by everybody there is, and what each is answered.
//!
//! The expected statuses stand in one table, `matrix.txt`, which has a line for every route: a route without one fails the
//! test. Requests are well formed, so that a status tells who was let in rather than what was mistyped. Over the table stand
//! rules that follow from what the document says of a route, so that a table that was regenerated carelessly fails as well.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use futures_util::future::join_all;
use holdfast_ledger::command::{Command, Service};
use holdfast_ledger::entities::{Policy, Roles};
use holdfast_services::key::ServiceKey;
use serde_json::{Value, json};

use crate::client::{Client, NO_SUCH_ID, PASSWORD, new_email};
use crate::server::World;

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/matrix.txt");
const HEAD: &str = "\
# What each route answers to whom. Regenerate with UPDATE_GOLDENFILES=1 and read the diff.
# `owner` is the one whom the ticket, order or payment belongs to; `banned` was that before he was banned; `buyer` may not sell.
# `a|b`: either, as the first of its kind may be followed too soon by the second.
";

/// Everybody there is, in the order of the table's columns.
const CALLERS: [&str; 9] =
    ["nobody", "buyer", "seller", "owner", "banned", "read", "admin", "payments", "notifications"];

/// Whom a route is for, as the document says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    Everybody,
    SignedIn,
    OperatorsReading,
    OperatorsActing,
    Services,
}

struct Route {
    method: String,
    path: String,
    whom: For,
    /// Services may come as well.
    also_services: bool,
}

/// The routes of the document, in its order.
async fn routes(url: &str) -> Vec<Route> {
    let document = Client::anonymous(url).get("/api/openapi.json").await.is(200).body;
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let security = &operation["security"][0];
            let scope = security["session"][0].as_str();
            let whom = match (security.is_null(), security.get("service").is_some(), scope) {
                (true, _, _) => For::Everybody,
                (_, true, _) => For::Services,
                (_, _, None) => For::SignedIn,
                (_, _, Some("operator-read")) => For::OperatorsReading,
                (_, _, Some("operator-admin")) => For::OperatorsActing,
                (_, _, Some(other)) => panic!("{method} {path}: no such scope as {other}"),
            };
            let mut ways = operation["security"].as_array().into_iter().flatten().skip(1);
            let also_services = ways.any(|way| way.get("service").is_some());
            routes.push(Route { method: method.to_uppercase(), path: path.clone(), whom, also_services });
        }
    }
    routes
}

/// Where everybody comes from. People are made anew for each request, as a request may change their account.
struct Cast {
    world: World,
    /// Whom all others are made from: a client of its own for each would take longer than what it asks.
    nobody: Client,
    tokens: BTreeMap<&'static str, String>,
}

impl Cast {
    fn new() -> Cast {
        let world = World::new(Policy { locks_per_user_max: 1_000, ..Policy::default() });
        let mut tokens = BTreeMap::new();
        let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        for (name, service) in [("payments", Service::Payments), ("notifications", Service::Notifications)] {
            let key = ServiceKey::from_seed(service, &[service as u8 + 100; 32]);
            tokens.insert(name, key.token("holdfast", now_s));
        }
        Cast { nobody: Client::anonymous(&world.url), world, tokens }
    }

    async fn register(&self) {
        for service in [Service::Payments, Service::Notifications] {
            let key = ServiceKey::from_seed(service, &[service as u8 + 100; 32]);
            let (key_id, public_key) = (key.key_id().to_string(), key.public_key().to_vec());
            self.world.as_system(Command::RegisterServiceKey { service, key_id, public_key }).await;
        }
    }

    /// Somebody new with these roles.
    async fn person(&self, roles: Roles) -> (Client, Person) {
        let email = new_email();
        let body = json!({"email": email, "password": PASSWORD});
        let mut client = self.nobody.clone();
        let id = client.post("/api/users/signup", body.clone()).await.is(201).id();
        if roles != Roles::default() {
            self.world.as_system(Command::SetRoles { user: id.parse().unwrap(), roles }).await;
            client.post("/api/users/signin", body).await.is(200);
        }
        (client, Person { id, email })
    }
}

struct Person {
    id: String,
    email: String,
}

/// What a request is about: all of it belongs to one owner.
struct Things {
    ticket: Option<String>,
    order: Option<String>,
    payment: Option<String>,
    /// A ticket that anybody may buy.
    free_ticket: Option<String>,
    /// An account that operators may do something to.
    victim: Option<Person>,
}

impl Things {
    /// Those that the route is about; the others are left out, as making them takes time.
    async fn for_route(route: &Route, owner: &mut Client, cast: &Cast) -> Things {
        let path = route.path.as_str();
        let is_about = |part: &str| path.contains(part);
        let mut things = Things { ticket: None, order: None, payment: None, free_ticket: None, victim: None };
        if is_about("/tickets/{id}") {
            things.ticket = Some(owner.ticket("20").await);
        }
        if is_about("/orders") || is_about("/payments") {
            let (mut seller, _) = cast.person(Roles::default()).await;
            let held = seller.ticket("20").await;
            let order = owner.order(&held).await;
            if is_about("/payments/{id}") {
                things.payment = Some(owner.pay(&order, "tok_visa").await.is(201).id());
            }
            things.order = Some(order);
            things.free_ticket = Some(seller.ticket("20").await);
        }
        if is_about("/users") {
            things.victim = Some(cast.person(Roles::default()).await.1);
        }
        things
    }

    /// The route's path, about these things.
    fn path(&self, path: &str) -> String {
        let id = [
            ("/tickets/{id}", &self.ticket),
            ("/orders/{id}", &self.order),
            ("/payments/{id}", &self.payment),
            ("/users/{id}", &self.victim.as_ref().map(|victim| victim.id.clone())),
        ]
        .into_iter()
        .find_map(|(part, id)| id.clone().filter(|_| path.contains(part)))
        .unwrap_or(NO_SUCH_ID.into());
        let file = format!("{}.svg", self.free_ticket.as_deref().unwrap_or(NO_SUCH_ID));
        path.replace("{id}", &id).replace("{file}", &file).replace("{key}", "no-such-key").replace("{step}", "captured")
    }

    /// A body that is right for the route.
    fn body(&self, route: &Route, caller: &Person) -> Option<Value> {
        let ticket = json!({"title": "concert", "price": 20});
        let password = json!({ "password": PASSWORD });
        let victim = self.victim.as_ref().map_or("", |victim| victim.email.as_str());
        let body = match (route.method.as_str(), route.path.as_str()) {
            ("GET", _) => return None,
            ("POST", "/api/tickets") | ("PUT", "/api/tickets/{id}") => ticket,
            ("POST", "/api/tickets/bulk") => json!([ticket]),
            ("PUT", "/api/tickets/{id}/next-price") => json!({"price": 30}),
            ("POST", "/api/tickets/verify" | "/api/users/verify" | "/api/users/claim-operator") => {
                json!({"token": "x"})
            }
            ("POST", "/api/orders") => json!({ "ticketId": self.free_ticket }),
            ("POST", "/api/payments") => json!({"token": "tok_visa", "orderId": self.order}),
            ("POST", "/api/users/signup") => json!({"email": new_email(), "password": PASSWORD}),
            ("POST", "/api/users/signin") => json!({"email": victim, "password": PASSWORD}),
            ("POST", "/api/users/reset") => json!({ "email": victim }),
            ("POST", "/api/users/reset/confirm") => json!({"token": "x", "password": PASSWORD}),
            ("PUT", "/api/users/me/email") => json!({"email": new_email(), "password": PASSWORD}),
            ("PUT", "/api/users/me/password") => json!({"password": PASSWORD, "newPassword": "tr0ub4dor"}),
            ("DELETE", "/api/users/me") => password,
            ("PUT", "/api/operator/users/{id}/roles") => json!({"roles": ["seller"]}),
            (_, "/api/operator/webhooks" | "/api/operator/webhooks/{id}") => {
                json!({"url": format!("https://{}.example/", caller.id), "eventTypes": []})
            }
            (_, "/api/services/users/{id}/link") => json!({"purpose": "reset", "request": NO_SUCH_ID}),
            _ => json!({}),
        };
        Some(body)
    }
}

/// The status that `caller` gets.
async fn ask(cast: &Cast, route: &Route, caller: &'static str) -> u16 {
    let roles = match caller {
        "buyer" => Roles { seller: false, ..Roles::default() },
        "read" => Roles { operator_read: true, ..Roles::default() },
        "admin" => Roles { operator_read: true, operator_admin: true, ..Roles::default() },
        _ => Roles::default(),
    };
    let (mut client, person) = cast.person(roles).await;
    let (mut other, _) = cast.person(Roles::default()).await;
    let owner = if matches!(caller, "owner" | "banned") { &mut client } else { &mut other };
    let things = Things::for_route(route, owner, cast).await;
    match caller {
        "nobody" => client.cookie = None,
        "banned" => {
            cast.world.as_system(Command::BanUser { user: person.id.parse().unwrap() }).await;
        }
        "payments" | "notifications" => {
            client = cast.nobody.with("authorization", format!("Bearer {}", cast.tokens[caller]));
        }
        _ => {}
    }
    client.status_of(&route.method, &things.path(&route.path), things.body(route, &person)).await
}

/// What follows from whom a route is for, whatever the table says.
fn check_rule(route: &Route, caller: &str, status: u16) -> Result<(), &'static str> {
    let is_success = (200..300).contains(&status);
    let is_service = matches!(caller, "payments" | "notifications");
    let is_nobody = matches!(caller, "nobody" | "banned") || is_service && route.whom != For::Services;
    match route.whom {
        _ if status >= 500 => Err("nobody can make it fail"),
        _ if is_service && route.also_services => {
            if matches!(status, 401 | 403) {
                Err("it is for services too")
            } else {
                Ok(())
            }
        }
        For::Everybody => Ok(()),
        For::Services if is_service => {
            if status == 401 {
                Err("a service is known")
            } else {
                Ok(())
            }
        }
        For::Services => {
            if matches!(status, 401 | 403) {
                Ok(())
            } else {
                Err("it is for services")
            }
        }
        _ if is_nobody => {
            if status == 401 {
                Ok(())
            } else {
                Err("it needs somebody who is signed in")
            }
        }
        For::SignedIn => {
            if status == 403 && caller != "buyer" {
                Err("any account may ask")
            } else {
                Ok(())
            }
        }
        For::OperatorsReading if matches!(caller, "read" | "admin") => {
            if status == 403 {
                Err("it is for operators who read")
            } else {
                Ok(())
            }
        }
        For::OperatorsActing if caller == "admin" => {
            if status == 403 {
                Err("it is for operators who act")
            } else {
                Ok(())
            }
        }
        For::OperatorsReading | For::OperatorsActing if is_success => Err("it is for operators"),
        For::OperatorsReading | For::OperatorsActing => {
            if status == 403 {
                Ok(())
            } else {
                Err("operators are told apart")
            }
        }
    }
}

/// The table in the repository: the cells of each route.
fn table(text: &str) -> BTreeMap<String, Vec<String>> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let line = |line: &str| {
        let mut words = line.split_whitespace().map(str::to_string);
        let (method, path) = (words.next().expect("a method"), words.next().expect("a path"));
        (format!("{method} {path}"), words.collect())
    };
    lines.map(line).collect()
}

#[tokio::test]
async fn every_route_answers_everybody_as_the_matrix_says() {
    let cast = Cast::new();
    cast.register().await;
    let expected = table(&std::fs::read_to_string(TABLE).unwrap_or_default());
    let (mut written, mut wrong, mut listed) = (HEAD.to_string(), String::new(), Vec::new());
    writeln!(written, "# {:<50} {}", "", CALLERS.join(" ")).unwrap();
    for route in routes(&cast.world.url).await {
        let name = format!("{} {}", route.method, route.path);
        let cells = expected.get(&name).cloned().unwrap_or_default();
        let mut line = format!("{name:<52}");
        let statuses = join_all(CALLERS.map(|caller| ask(&cast, &route, caller))).await;
        for (column, (caller, status)) in CALLERS.into_iter().zip(statuses).enumerate() {
            if let Err(rule) = check_rule(&route, caller, status) {
                writeln!(wrong, "{name}: {caller} is answered {status}, but {rule}").unwrap();
            }
            let cell = cells.get(column).cloned().unwrap_or_default();
            let fits = cell.split('|').any(|allowed| allowed == status.to_string());
            if !fits {
                writeln!(wrong, "{name}: {caller} is answered {status}, not {cell:?}").unwrap();
            }
            let cell = if fits { cell } else { status.to_string() };
            write!(line, " {cell:<width$}", width = caller.len()).unwrap();
        }
        writeln!(written, "{}", line.trim_end()).unwrap();
        listed.push(name);
    }
    for name in expected.keys().filter(|name| !listed.contains(name)) {
        writeln!(wrong, "{name}: no such route any more").unwrap();
    }
    if std::env::var_os("UPDATE_GOLDENFILES").is_some() {
        std::fs::write(TABLE, &written).expect("the repository can be written");
        wrong = wrong.lines().filter(|line| line.contains(", but ")).collect::<Vec<_>>().join("\n");
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}
