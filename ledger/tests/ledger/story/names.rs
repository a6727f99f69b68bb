//! What a story calls its people and things.

use std::collections::BTreeMap;

use holdfast_ledger::entities::SignedIn;
use holdfast_ledger::id::{ID_BYTES, Id};

use super::Fallible;

/// Names of ids, both ways, and who is signed in under which name.
#[derive(Default)]
pub struct Names {
    ids: BTreeMap<String, Id>,
    names: BTreeMap<Id, String>,
    sessions: BTreeMap<String, SignedIn>,
    numbers: BTreeMap<&'static str, u32>,
}

impl Names {
    /// The id called `name`. `missing` is one that nothing has.
    pub fn id(&self, name: &str) -> Fallible<Id> {
        if name == "missing" {
            return Ok(Id::from_bytes([0xff; ID_BYTES]));
        }
        self.ids.get(name).copied().ok_or_else(|| format!("nothing here is called {name}").into())
    }

    /// What `id` is called; the id itself if nobody has named it.
    pub fn of(&self, id: Id) -> String {
        self.names
            .get(&id)
            .cloned()
            .unwrap_or_else(|| if self.id("missing").ok() == Some(id) { "missing".into() } else { id.to_string() })
    }

    /// Names a new entity by its kind and the next number. One that has a name keeps it.
    pub fn number(&mut self, kind: &'static str, id: Id) {
        if !self.names.contains_key(&id) {
            let number = self.numbers.entry(kind).or_default();
            *number += 1;
            let name = format!("{kind}{number}");
            self.ids.insert(name.clone(), id);
            self.names.insert(id, name);
        }
    }

    /// `who` is signed in from here on; a `new` user is called so as well.
    pub fn sign_in(&mut self, who: &str, signed_in: SignedIn, new: bool) {
        if new {
            self.ids.insert(who.into(), signed_in.user.0);
            self.names.insert(signed_in.user.0, who.into());
        }
        self.sessions.insert(who.into(), signed_in);
    }

    pub fn signed_in(&self, who: &str) -> Fallible<SignedIn> {
        self.sessions.get(who).copied().ok_or_else(|| format!("{who} has never signed in").into())
    }
}
