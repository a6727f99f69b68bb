//! Bounds that are part of the code rather than of the policy: over one of them is a refusal, never a panic.

/// A title, in bytes.
pub const TITLE_BYTES_MAX: usize = 300;
/// Any other text of a ticket, in bytes.
pub const TEXT_BYTES_MAX: usize = 200;
/// An address, in bytes (RFC 5321, 4.5.3.1.3).
pub const EMAIL_BYTES_MAX: usize = 254;
/// An argon2id hash in PHC format, in bytes.
pub const PASSWORD_HASH_BYTES_MAX: usize = 200;
/// A seller's own id of a ticket, in bytes.
pub const EXTERNAL_ID_BYTES_MAX: usize = 100;
/// An idempotency key, in bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// A provider's token, intent id or failure code, in bytes.
pub const PROVIDER_TEXT_BYTES_MAX: usize = 255;
/// The address at which a buyer's bank asks him, in bytes.
pub const ACTION_URL_BYTES_MAX: usize = 2_000;
/// Commands in one entry.
pub const ENTRY_COMMANDS_MAX: usize = 8_192;
/// Rows in one page of a list.
pub const PAGE_ROWS_MAX: usize = 100;
/// Index rows that one page of a search may pass over.
pub const PAGE_SCAN_MAX: usize = 2_000;
/// Words of a ticket that are indexed for search.
pub const WORDS_PER_TICKET_MAX: usize = 16;
/// An indexed word, in bytes: a longer one is cut.
pub const WORD_BYTES_MAX: usize = 40;
/// Signing keys that are kept: beyond, the one registered first is dropped.
pub const NODE_KEYS_MAX: usize = 256;
/// A signing key's id, in bytes.
pub const KEY_ID_BYTES_MAX: usize = 100;
/// An Ed25519 public key, in bytes.
pub const PUBLIC_KEY_BYTES: usize = 32;
/// The label of a session, in bytes: a longer one is cut.
pub const AGENT_BYTES_MAX: usize = 100;
/// Open requests of one purpose of a user.
pub const REQUESTS_PER_PURPOSE_MAX: u32 = 5;
/// A SHA-256 hash, in bytes.
pub const TOKEN_HASH_BYTES: usize = 32;
/// Signing keys of services.
pub const SERVICE_KEYS_MAX: usize = 64;
/// Addresses to which events are posted.
pub const WEBHOOKS_MAX: usize = 32;
/// The URL of a webhook, in bytes.
pub const URL_BYTES_MAX: usize = 2_000;
/// The secret of a webhook, in bytes.
pub const SECRET_BYTES: std::ops::RangeInclusive<usize> = 16..=200;
/// Places in the line for one ticket, whatever the policy says: a position is counted in one page.
pub const LINE_PLACES_MAX: u32 = PAGE_SCAN_MAX as u32;
/// Places in lines, and watched tickets, of one user, whatever the policy says: an erasure drops them in one entry.
pub const USER_INTERESTS_MAX: u32 = 1_000;
/// Sessions of one user, whatever the policy says.
pub const SESSIONS_PER_USER_MAX: u32 = 1_000;
/// Tickets that one user's live locks hold, whatever the policy says: a ban releases them in one entry.
pub const LOCKS_PER_USER_MAX: u32 = 1_000;
/// Of each kind, what one entry may reclaim or drop beyond what its commands see, whatever the policy says.
pub const SWEEP_ENTRIES_MAX: u32 = 10_000;
/// Tickets of one bulk creation.
pub const BULK_TICKETS_MAX: usize = 1_000;
/// Tickets in one order, whatever the policy says.
pub const ORDER_TICKETS_MAX: usize = 100;
/// Payments of one order, whatever the policy says.
pub const ORDER_PAYMENTS_MAX: usize = 10;
/// Ledger time never passes the year 9999, in milliseconds since the Unix epoch.
pub const TIME_MS_MAX: u64 = 253_402_300_799_000;
