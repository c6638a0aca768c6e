//! Our table in the kernel: set up, changed, compared, taken away. All calls block.

use std::collections::BTreeSet;

use super::base;
use super::dump::{Found, RememberedClient};
use super::socket::NetfilterSocket;
use super::{NftError, antispoof, batch, dump};
use crate::ruleset::Place;
use crate::ruleset::diff::{Edit, diff};
use crate::ruleset::elements::{Chain, Elements};

pub struct Kernel {
    socket: NetfilterSocket,
    /// Chains that were made since the table was last set up.
    chains: BTreeSet<Chain>,
}

/// What a full comparison found and mended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mended {
    pub added: usize,
    pub replaced: usize,
    pub removed: usize,
}

impl Kernel {
    pub fn open() -> Result<Self, NftError> {
        Ok(Self { socket: NetfilterSocket::open()?, chains: BTreeSet::new() })
    }

    /// Makes the kernel hold exactly `want`: the base rules are written anew, the maps compared and
    /// mended. Connections and elements that are right are not touched.
    pub fn reconcile(&mut self, place: &Place, want: &Elements) -> Result<Mended, NftError> {
        let found = self.prepare(place)?;
        self.mend(&found, want)
    }

    /// Writes the base rules anew, and reads what the maps hold.
    pub fn prepare(&mut self, place: &Place) -> Result<Found, NftError> {
        let script = base::script(place);
        if let Err(refused @ NftError::Refused { .. }) = base::run(&script) {
            // Another version's table may declare the same names otherwise.
            tracing::warn!(error = %refused, "our nftables table cannot be kept and is made anew");
            base::run(&(base::removal_script() + &script))?;
        }
        // A kernel without nftables on bridges still has Services.
        if let Err(err) = base::run(&antispoof::script(place.pod_cidr)) {
            tracing::warn!(%err, "pods are not kept from sending under their neighbours' addresses");
        }
        dump::elements(&mut self.socket)
    }

    /// Makes the maps hold exactly `want`, where they hold `found` now.
    pub fn mend(&mut self, found: &Found, want: &Elements) -> Result<Mended, NftError> {
        let needed: BTreeSet<Chain> =
            want.iter().filter_map(|(slot, value)| Edit::Add(*slot, *value).needs()).collect();
        remember(&needed)?;
        let foreign = found.foreign.iter().map(|slot| Edit::Remove(*slot));
        let edits: Vec<Edit> = foreign.chain(diff(&found.elements, want)).collect();
        batch::apply(&mut self.socket, &needed, &edits)?;
        self.chains = needed;
        let mut mended = Mended::default();
        for edit in &edits {
            match edit {
                Edit::Add(..) => mended.added += 1,
                Edit::Replace(..) => mended.replaced += 1,
                Edit::Remove(_) => mended.removed += 1,
            }
        }
        Ok(mended)
    }

    /// Does `edits` at once. After an error nothing of them was done, and [`Self::reconcile`] is due.
    pub fn apply(&mut self, edits: &[Edit]) -> Result<(), NftError> {
        let missing: BTreeSet<Chain> =
            edits.iter().filter_map(Edit::needs).filter(|chain| !self.chains.contains(chain)).collect();
        remember(&missing)?;
        batch::apply(&mut self.socket, &missing, edits)?;
        self.chains.extend(missing);
        Ok(())
    }

    /// All elements, as the kernel has them.
    pub fn elements(&mut self) -> Result<Elements, NftError> {
        Ok(dump::elements(&mut self.socket)?.elements)
    }

    /// Forgets the remembered clients that `stale` names. Returns how many.
    pub fn forget_clients(&mut self, stale: impl Fn(&RememberedClient) -> bool) -> Result<usize, NftError> {
        let clients = dump::remembered_clients(&mut self.socket)?;
        let keys: Vec<Vec<u8>> = clients.into_iter().filter(|c| stale(c)).map(|c| c.key).collect();
        batch::forget_clients(&mut self.socket, &keys)?;
        Ok(keys.len())
    }

    /// Takes the table away.
    pub fn remove(&mut self) -> Result<(), NftError> {
        self.chains.clear();
        base::run(&(base::removal_script() + &antispoof::removal_script()))
    }
}

/// Makes the chains that `batch` does not write.
fn remember(chains: &BTreeSet<Chain>) -> Result<(), NftError> {
    let script: String = chains.iter().map(|chain| base::remember_script(*chain)).collect();
    if script.is_empty() { Ok(()) } else { base::run(&script) }
}
