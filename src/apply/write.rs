//! One request that changes a cluster: to an object, to a status, or a delete.
//!
//! Decides nothing: [`super::diff`] decides what is written over what, [`super::guard`] which deletes may happen. Every
//! destination ([`super::Store`]) takes exactly these.

use std::{fmt, sync::Arc};

use serde_json::Value;

use super::store::is_merged;
use crate::{
    istio::{self, Object, Owner},
    model::{EgressHost, ObjectId, Written},
};

/// One request that changes a cluster.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// To an object.
    Object(Box<ObjectWrite>),
    /// To the status of an object that users own.
    Status(StatusWrite),
    /// Deletes exactly the state that was compared with, else [`super::WriteError::Conflict`]. An object that is gone
    /// already is no error.
    Delete(Arc<Written>),
}

/// A write to an object. Each is over exactly the state that was compared with, else [`super::WriteError::Conflict`].
#[derive(Debug, Clone, PartialEq)]
pub enum ObjectWrite {
    /// Of an object that is not there. One that is there after all is left as it was: [`super::WriteError::Conflict`].
    Create {
        /// What is to be there.
        object: Object,
    },
    /// Over a managed object.
    Update {
        /// What is to be there.
        object: Object,
        /// What is there.
        over: Arc<Written>,
    },
    /// As an update, and what others wrote into the fields that Tradewind decides goes: over an object of Admiral, over
    /// one that its owner handed over, or over a managed object that somebody else wrote into.
    TakeOver {
        /// What is to be there.
        object: Object,
        /// What is there.
        over: Arc<Written>,
    },
    /// Takes Tradewind's marks off an object whose owner took it back, and leaves its spec unchanged.
    GiveBack {
        /// What is there.
        over: Arc<Written>,
    },
    /// Brings exactly these hosts into a user's Sidecar as Tradewind's; none takes Tradewind's out again.
    Merge {
        /// What is there.
        over: Arc<Written>,
        /// Tradewind's hosts in it.
        hosts: Vec<EgressHost>,
    },
}

/// The whole status that Tradewind writes of one object, over exactly the state that it is about, else
/// [`super::WriteError::Conflict`]. Nothing else of the object changes.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusWrite {
    /// The object.
    pub id: ObjectId,
    /// The version of it that the status is about. The API server compares it, and no uid: the status neither goes to another
    /// object of that name nor stays behind an edit unnoticed.
    pub resource_version: Arc<str>,
    /// The status.
    pub status: Value,
}

impl Write {
    /// What removes an object that is no longer wanted: a delete, or a merge without hosts where it is a user's Sidecar. None
    /// where nothing of it is Tradewind's.
    #[must_use]
    pub fn removal(of: &Arc<Written>) -> Option<Self> {
        if of.owner == Owner::Tradewind {
            Some(Self::Delete(Arc::clone(of)))
        } else if is_merged(of) {
            Some(ObjectWrite::Merge { over: Arc::clone(of), hosts: Vec::new() }.into())
        } else {
            None
        }
    }

    /// The object that it changes.
    #[must_use]
    pub fn id(&self) -> ObjectId {
        match self {
            Self::Object(write) => write.id(),
            Self::Status(write) => write.id.clone(),
            Self::Delete(over) => over.id.clone(),
        }
    }

    /// What it does.
    #[must_use]
    pub fn verb(&self) -> Verb {
        match self {
            Self::Object(write) => write.verb(),
            Self::Status(_) => Verb::UpdateStatus,
            Self::Delete(_) => Verb::Delete,
        }
    }
}

impl From<ObjectWrite> for Write {
    fn from(write: ObjectWrite) -> Self {
        Self::Object(Box::new(write))
    }
}

impl ObjectWrite {
    /// The object.
    #[must_use]
    pub fn id(&self) -> ObjectId {
        match self {
            Self::Create { object } | Self::Update { object, .. } | Self::TakeOver { object, .. } => object.id(),
            Self::Merge { over, .. } | Self::GiveBack { over } => over.id.clone(),
        }
    }

    /// What is to be there, where the whole object is Tradewind's.
    #[must_use]
    pub fn object(&self) -> Option<&Object> {
        match self {
            Self::Create { object } | Self::Update { object, .. } | Self::TakeOver { object, .. } => Some(object),
            Self::Merge { .. } | Self::GiveBack { .. } => None,
        }
    }

    /// What is there before it.
    pub(super) fn over(&self) -> Option<&Arc<Written>> {
        match self {
            Self::Create { .. } => None,
            Self::Update { over, .. }
            | Self::TakeOver { over, .. }
            | Self::GiveBack { over }
            | Self::Merge { over, .. } => Some(over),
        }
    }

    /// Tells contents apart, so that what was refused or logged once is not repeated.
    #[must_use]
    pub fn digest(&self) -> u64 {
        match self {
            Self::Create { object } | Self::Update { object, .. } | Self::TakeOver { object, .. } => object.digest(),
            Self::GiveBack { over } => over.digest,
            Self::Merge { hosts, .. } => {
                use std::hash::{DefaultHasher, Hash, Hasher};
                let mut hasher = DefaultHasher::new();
                hosts.hash(&mut hasher);
                hasher.finish()
            }
        }
    }

    /// What it does.
    #[must_use]
    pub fn verb(&self) -> Verb {
        match self {
            Self::Create { .. } => Verb::Create,
            Self::Update { .. } => Verb::Update,
            Self::TakeOver { .. } => Verb::TakeOver,
            Self::GiveBack { .. } => Verb::GiveBack,
            Self::Merge { .. } => Verb::Merge,
        }
    }

    /// Why it is written, where [`ObjectWrite::summary`] does not show it.
    pub(super) fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Create { .. } => Some("wanted and not there"),
            Self::Update { .. } | Self::Merge { .. } => None,
            Self::TakeOver { over, .. } if over.owner == Owner::Admiral => Some("made by Admiral, adoption is on"),
            Self::TakeOver { .. } => Some("handed over by its owner"),
            Self::GiveBack { .. } => Some("its owner no longer hands it over"),
        }
    }

    /// What an update changes, in words.
    pub(super) fn summary(&self) -> Option<String> {
        match self {
            Self::Update { object, over } => Some(istio::changes(&over.shape, object)),
            Self::Merge { over, hosts } => {
                let before = over.sidecar.as_ref().map(|sidecar| sidecar.ours.as_slice()).unwrap_or_default();
                let hosts: Vec<String> = hosts.iter().map(|wanted| wanted.host.clone()).collect();
                Some(istio::list_changes("host", before, &hosts))
            }
            Self::Create { .. } | Self::TakeOver { .. } | Self::GiveBack { .. } => None,
        }
    }
}

/// What is done to an object, in logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Create.
    Create,
    /// Update.
    Update,
    /// Take over from Admiral, from the owner of a hand-written object, or back from another writer.
    TakeOver,
    /// Change Tradewind's hosts in a user's Sidecar.
    Merge,
    /// Give a hand-written object back to its owner.
    GiveBack,
    /// Update the status.
    UpdateStatus,
    /// Delete.
    Delete,
}

impl Verb {
    /// In words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::TakeOver => "take over",
            Self::Merge => "merge",
            Self::GiveBack => "give back",
            Self::UpdateStatus => "update the status of",
            Self::Delete => "delete",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
