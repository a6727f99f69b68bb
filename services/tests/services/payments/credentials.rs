//! Who may call the routes for services.

use bytes::Bytes;
use holdfast_ledger::command::{Command, Service};
use holdfast_ledger::entities::Policy;
use holdfast_services::client::{Api, CallError, Signed};
use serde_json::Value;

use super::world::{World, key};

async fn open(api: &Signed) -> Result<Vec<Value>, CallError> {
    api.get("/api/services/payments?state=open").await
}

fn status(result: &Result<Vec<Value>, CallError>) -> (u16, &str) {
    match result {
        Ok(_) => (200, ""),
        Err(CallError::Refused { status, code, .. }) => (*status, code),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn only_a_registered_key_of_the_right_service_opens_the_routes() {
    let world = World::new(Policy::default()).await;
    assert_eq!(status(&open(&world.signed(Service::Payments)).await), (200, ""));
    // A key that nobody has registered, and the registered key under another name.
    let other = holdfast_services::key::ServiceKey::from_seed(Service::Payments, &[9; 32]);
    let clock = holdfast_services::system_clock();
    let unknown = Signed::new(std::sync::Arc::new(world.api()), other, "holdfast", clock.clone());
    assert_eq!(status(&open(&unknown).await), (401, "not_signed_in"));
    assert_eq!(status(&open(&world.signed(Service::Notifications)).await), (401, "not_signed_in"));
    let elsewhere = Signed::new(std::sync::Arc::new(world.api()), key(Service::Payments), "elsewhere", clock);
    assert_eq!(status(&open(&elsewhere).await), (401, "not_signed_in"));

    let notifications = holdfast_services::key::ServiceKey::from_seed(Service::Notifications, &[8; 32]);
    world.as_system(notifications.register()).await;
    let clock = holdfast_services::system_clock();
    let notifications = Signed::new(std::sync::Arc::new(world.api()), notifications, "holdfast", clock);
    assert_eq!(status(&open(&notifications).await), (403, "wrong_service"));

    world.as_system(Command::RevokeServiceKey { key_id: key(Service::Payments).key_id().into() }).await;
    assert_eq!(status(&open(&world.signed(Service::Payments)).await), (401, "not_signed_in"));
}

#[tokio::test]
async fn a_signed_in_person_is_no_service_and_a_service_no_person() {
    let world = World::new(Policy::default()).await;
    let mut person = world.person().await;
    person.send("GET", "/api/services/payments", None).await.is(401);
    let token = key(Service::Payments).token("holdfast", holdfast_services::system_clock()() / 1_000);
    let request = http::Request::get("/api/orders").header("authorization", format!("Bearer {token}"));
    let answer = world.api().call(request.body(Bytes::new()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 401);
}
