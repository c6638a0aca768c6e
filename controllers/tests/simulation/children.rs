//! Sends writes to children as the product does, to a table that may fail: the product's [`Intents`] say what each answer
//! means.

use corten_api::{ApiError, Key, Object};
use corten_client::seeds::Chance;
use corten_controllers::intents::{self, Answer, Ask, Found, Heard, Intents};

use crate::store::{Fault, Ids, Luck, Table};

/// How objects of a kind are made and deleted.
pub(crate) struct Maker<'a, C, K> {
    pub(crate) owner_uid: &'a str,
    pub(crate) make: &'a dyn Fn(&str, &C) -> K,
    /// Deletes what is there, or begins to; returns the revision.
    pub(crate) delete: &'a dyn Fn(&mut Table<K>, &mut Ids, &Key) -> i64,
}

fn no_answer() -> ApiError {
    ApiError::unavailable("the apiserver did not answer")
}

fn told<T>(done: Result<T, Fault>, name: &str) -> Result<T, ApiError> {
    done.map_err(|fault| match fault {
        Fault::Exists => ApiError::already_exists("", "children", name),
        Fault::Missing => ApiError::not_found("", "children", name),
        Fault::Conflict => ApiError::stale("", "children", name),
    })
}

/// What a client hears of a write that ends with this luck. One that was not done may be refused, or get no answer.
fn heard<T>(luck: Luck, chance: &mut Chance, write: impl FnOnce() -> Result<T, ApiError>) -> Result<T, ApiError> {
    match luck {
        Luck::Failed if chance.percent(50) => Err(ApiError::forbidden("", "children", "", "exceeded quota")),
        Luck::Failed => Err(no_answer()),
        Luck::Unanswered => write().and(Err(no_answer())),
        Luck::Answered | Luck::Crash => write(),
    }
}

/// Returns what the product then knows.
pub(crate) fn send<C: Clone, K: Object>(
    open: &mut Intents<C>,
    (table, ids): (&mut Table<K>, &mut Ids),
    (ask, again): (&Ask<C>, bool),
    (luck, chance): (Luck, &mut Chance),
    maker: &Maker<'_, C, K>,
) -> Answer {
    open.begin(ask);
    let key = |table: &Table<K>| table.live.keys().find(|key| key.name == ask.name()).cloned();
    let heard = match ask {
        Ask::Create { name, what } => {
            let child = (maker.make)(name, what);
            intents::created(heard(luck, chance, || told(table.create(ids, child), name)), again)
        }
        Ask::Delete { uid, .. } => {
            let there = key(table).filter(|key| table.live[key].uid() == uid);
            let delete = || Ok(there.map(|key| (maker.delete)(table, ids, &key)));
            intents::deleted(heard(luck, chance, delete), again)
        }
    };
    let answer = match heard {
        Heard::Settled(answer) => answer,
        Heard::Look(refusal) => {
            let found = key(table).ok_or(Fault::Missing).map(|key| Found {
                uid: table.live[&key].uid().to_owned(),
                revision: table.live[&key].revision(),
                ours: table.live[&key].is_controlled_by(maker.owner_uid),
                going: table.live[&key].is_deleting(),
            });
            intents::looked_at(ask, told(found, ask.name()), refusal)
        }
    };
    open.settle(ask, &answer);
    answer
}
