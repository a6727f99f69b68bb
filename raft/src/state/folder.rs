//! Where the state's database stands in the data folder, and the position that it holds.
//!
//! Installing a snapshot makes a new directory and then replaces one small file that names the directory in use: that is
//! the moment of the change. Directories that are not named are left over and removed when the folder is opened.
//!
//! A database that is damaged is given up for an empty one: replication installs the newest snapshot in it and applies the
//! log after that, and what neither has, it says, and stops.

use std::sync::Arc;

use holdfast_ledger::State;
use holdfast_ledger::store::Read as _;
use holdfast_ledger::tables::Table;
use holdfast_ledger::version::Versions;
use openraft::storage::SnapshotMeta as OpenraftMeta;

use super::store::StateStore;
use crate::damage::{Damage, Fault};
use crate::disk::{Purpose, SharedDisk};
use crate::engine::{Change, Engine, EngineError, SharedEngine, TableNumber};
use crate::failpoint::{Point, reach};
use crate::format::{self, SnapshotMetaRecord};
use crate::snapshot::Shelf;
use crate::types::{LogId, SnapshotMeta, StoredMembership};
use crate::version;

const POINTER_FILE: &str = "state-directory";
const DIRECTORY_PREFIX: &str = "state-";

/// The table of the position; the ledger's tables begin at 1.
const MARKS: TableNumber = 0;
const APPLIED: &[u8] = b"applied";

/// What a database of the state holds: everything up to `last_applied`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mark {
    pub last_applied: Option<LogId>,
    pub membership: StoredMembership,
}

impl Mark {
    pub fn record(&self) -> SnapshotMetaRecord {
        let meta: SnapshotMeta =
            OpenraftMeta { last_log_id: self.last_applied, last_membership: self.membership.clone() };
        (&meta).into()
    }

    /// The change that stores it; it travels with the rows that it is about.
    pub fn change(&self) -> Change {
        Change::Put { table: MARKS, key: APPLIED.into(), row: format::encode(&self.record()) }
    }
}

/// Whether it says where the state stands, to this crate or to the ledger: for a planted bug that writes this apart.
#[cfg(feature = "planted")]
pub fn is_position(change: &Change) -> bool {
    matches!(change, Change::Put { table, .. } if *table == MARKS || *table == Table::Meta as u8)
}

/// What becomes of a state that is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damaged {
    /// It is given up for an empty one, for replication to fill.
    IsBuiltAnew,
    /// It is left as it is.
    IsAnError,
}

/// The state as it was found in a data folder.
pub struct Found {
    pub engine: SharedEngine,
    pub directory: String,
    pub state: State<StateStore>,
    pub mark: Mark,
    pub shelf: Arc<Shelf>,
}

pub fn storage(doing: &'static str) -> impl Fn(std::io::Error) -> Fault {
    move |error| match error.get_ref().and_then(|inner| inner.downcast_ref::<Fault>()) {
        Some(fault) => fault.clone(),
        None => Fault::Storage { doing, reason: error.to_string() },
    }
}

pub fn engine_fault(doing: &'static str) -> impl Fn(EngineError) -> Fault {
    move |error| match error {
        EngineError::Io { doing: step, reason } => Fault::Storage { doing, reason: format!("{step}: {reason}") },
        EngineError::Damaged(reason) => Damage::Unreadable { what: "the state".to_string(), reason }.into(),
    }
}

/// Opens the state that the folder names, an empty one in a new folder, and removes what is left over. Blocks.
pub fn find(disk: &SharedDisk, cache_bytes_max: usize, known: Versions, damaged: Damaged) -> Result<Found, Fault> {
    let doing = "opening the state";
    version::check_folder(&**disk, known).map_err(storage(doing))?;
    let shelf = Arc::new(Shelf::open(disk.clone()).map_err(storage(doing))?);
    let named = disk.read(POINTER_FILE).map_err(storage(doing))?;
    let named = named.map(|name| String::from_utf8_lossy(&name).into_owned());
    let first = || format!("{DIRECTORY_PREFIX}0");
    let is_new = named.is_none();
    let mut directory = named.unwrap_or_else(first);
    let mut damage = number(&directory).is_none().then(|| {
        let (what, reason) = (POINTER_FILE.to_string(), format!("it names {directory:?}"));
        Fault::from(Damage::Unreadable { what, reason })
    });
    if damage.is_some() {
        directory = first();
    } else if is_new {
        point(disk, &directory)?;
    }
    if let (Some(fault), Damaged::IsAnError) = (&damage, damaged) {
        return Err(fault.clone());
    }
    for name in disk.list("").map_err(storage(doing))? {
        if name != directory && number(&name).is_some() {
            disk.remove_dir(&name).map_err(storage(doing))?;
        }
    }
    let mut opened = None;
    if damage.is_none() {
        match open(disk, &directory, cache_bytes_max, known) {
            Ok(found) => opened = Some(found),
            Err(fault @ Fault::Damage(_)) if damaged == Damaged::IsBuiltAnew => damage = Some(fault),
            Err(fault) => return Err(fault),
        }
    }
    if let Some(fault) = damage {
        tracing::error!(%fault, "the state is built anew from snapshot and log");
        reach(Point::StateGivenUp);
        let next = next_directory(&directory);
        let old = std::mem::replace(&mut directory, next);
        disk.remove_dir(&directory).map_err(storage(doing))?;
        point(disk, &directory)?;
        disk.remove_dir(&old).map_err(storage(doing))?;
    }
    let (engine, state, mark) = match opened {
        Some(found) => found,
        None => open(disk, &directory, cache_bytes_max, known)?,
    };
    // What a killed process left in the system's cache counts as durable from here on.
    engine.sync().map_err(engine_fault("syncing the state"))?;
    Ok(Found { engine, directory, state, mark, shelf })
}

fn open(
    disk: &SharedDisk,
    directory: &str,
    cache_bytes_max: usize,
    known: Versions,
) -> Result<(SharedEngine, State<StateStore>, Mark), Fault> {
    let engine = disk.open_engine(directory, Purpose::State).map_err(engine_fault("opening the state"))?;
    let (state, mark) = load(&engine, cache_bytes_max, known)?;
    Ok((engine, state, mark))
}

fn unreadable(reason: impl ToString) -> Fault {
    Damage::Unreadable { what: "the state".to_string(), reason: reason.to_string() }.into()
}

/// The position that a database holds.
pub fn read_mark(engine: &dyn Engine) -> Result<Mark, Fault> {
    let row = engine.get(MARKS, APPLIED).map_err(engine_fault("reading the state"))?;
    let Some(row) = row else { return Ok(Mark::default()) };
    let record: SnapshotMetaRecord = format::decode(&row).map_err(unreadable)?;
    let meta = SnapshotMeta::try_from(record).map_err(unreadable)?;
    Ok(Mark { last_applied: meta.last_log_id, membership: meta.last_membership })
}

/// Reads the state and its position from a database.
pub fn load(
    engine: &SharedEngine,
    cache_bytes_max: usize,
    known: Versions,
) -> Result<(State<StateStore>, Mark), Fault> {
    let mark = read_mark(&**engine)?;
    let store = StateStore::new(engine.clone(), cache_bytes_max);
    // A newer form of the first row is no damage.
    let first = store.get(Table::Meta, &[]).map_err(unreadable)?;
    if let Some(form) = first.as_deref().and_then(|row| row.first()) {
        version::check("the state", *form, known)?;
    }
    #[cfg_attr(not(feature = "planted"), expect(unused_mut, reason = "told for a planted bug alone"))]
    let mut state = State::open(store).map_err(unreadable)?;
    version::check("the state", state.meta().version, known)?;
    #[cfg(feature = "planted")]
    state.built_for(known.max);
    let (applied, entry) = (mark.last_applied.map_or(0, |id| id.index()), state.meta().index);
    if entry > applied {
        return Err(unreadable(format!("it says that entry {entry} is applied, and that {applied} is the last one")));
    }
    Ok((state, mark))
}

/// Makes `directory` the one in use. Durable when this returns.
pub fn point(disk: &SharedDisk, directory: &str) -> Result<(), Fault> {
    disk.replace(POINTER_FILE, directory.as_bytes()).map_err(storage("naming the state's directory"))
}

/// The directory for the state after the one in `directory`.
pub fn next_directory(directory: &str) -> String {
    let number = number(directory).expect("the directory in use was checked when it was opened");
    format!("{DIRECTORY_PREFIX}{}", number + 1)
}

fn number(directory: &str) -> Option<u64> {
    directory.strip_prefix(DIRECTORY_PREFIX)?.parse().ok()
}
