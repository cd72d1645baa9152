//! How many copies each owner should have and has, by groups of CIDs.

use std::collections::BTreeMap;

use super::Group;
use super::labels::GROUPS;
use crate::Owner;
use crate::placement::PinRecord;

/// Owners that are told apart in the end.
pub(super) const SHOWN: usize = 50;
/// Owners that one count tells apart. Large ones are met early in a walk.
const COUNTED: usize = 1000;
/// The name of all others.
const OTHER: &str = "other";

/// Copies of one owner: those that should be there, and those of them that are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Copies {
    pub(super) desired: u64,
    pub(super) actual: u64,
}

type Groups = [Copies; GROUPS];

/// Copies by the owner of the oldest request for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tenants {
    owners: BTreeMap<Owner, Groups>,
    others: Groups,
}

impl Tenants {
    /// Counts a record.
    pub fn add(&mut self, record: &PinRecord) {
        let Some(wanted) = &record.wanted else { return };
        let desired = record.placements.iter().filter(|(_, p)| p.desired);
        let copies = Copies {
            desired: desired.clone().count() as u64,
            actual: desired.filter(|(_, p)| p.is_pinned()).count() as u64,
        };
        let mut groups = Groups::default();
        if let Some(group) = groups.get_mut(Group::of(&record.cid).index()) {
            *group = copies;
        }
        self.add_groups(&wanted.owner, &groups);
    }

    /// Adds another count.
    pub fn join(&mut self, other: &Self) {
        for (owner, groups) in &other.owners {
            self.add_groups(owner, groups);
        }
        add(&mut self.others, &other.others);
    }

    fn add_groups(&mut self, owner: &Owner, groups: &Groups) {
        if let Some(known) = self.owners.get_mut(owner) {
            add(known, groups);
        } else if self.owners.len() < COUNTED {
            self.owners.insert(owner.clone(), *groups);
        } else {
            add(&mut self.others, groups);
        }
    }

    /// The largest owners by name, and the sum of the others.
    pub(super) fn shown(&self) -> BTreeMap<&str, Groups> {
        let mut owners: Vec<_> = self.owners.iter().collect();
        owners.sort_by_key(|(owner, groups)| {
            let copies: u64 = groups.iter().map(|copies| copies.desired).sum();
            (std::cmp::Reverse(copies), *owner)
        });
        let mut shown: BTreeMap<&str, Groups> = BTreeMap::new();
        for (place, (owner, groups)) in owners.into_iter().enumerate() {
            let name = if place < SHOWN { owner.as_str() } else { OTHER };
            add(shown.entry(name).or_default(), groups);
        }
        if self.others != Groups::default() {
            add(shown.entry(OTHER).or_default(), &self.others);
        }
        shown
    }
}

fn add(to: &mut Groups, more: &Groups) {
    for (to, more) in to.iter_mut().zip(more) {
        to.desired += more.desired;
        to.actual += more.actual;
    }
}
