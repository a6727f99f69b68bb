//! Payments: the saga, its providers and its webhooks against a real node and its routes.

mod credentials;
mod provider;
mod saga;
mod secrets;
mod stripe;
mod webhooks;
mod world;
