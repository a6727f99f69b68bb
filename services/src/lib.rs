//! The programs that live on the ledger's events: payments and notifications.
