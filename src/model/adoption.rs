//! Whether Tradewind may take over a hand-written object.

use super::Host;

/// A hand-written ServiceEntry or DestinationRule, as far as its owner handed it over, or refused to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adoption {
    /// How far it came.
    pub stage: AdoptionStage,
    /// The host that it is for; absent where it names none that Tradewind could publish.
    pub host: Option<Host>,
    /// Whether the object itself carries the annotation, and not the setting `adopt` alone names it.
    pub annotated: bool,
}

/// How far the adoption of an object came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdoptionStage {
    /// Its owner hands it over.
    Requested,
    /// Its owner hands it over, and it cannot be taken over as it is, for this reason.
    Impossible(String),
    /// It is Tradewind's.
    Adopted,
    /// It is Tradewind's, and its owner no longer hands it over.
    Recalled,
    /// Its owner keeps it.
    Declined,
}

impl Adoption {
    /// Whether its owner hands it over to Tradewind, or did, and it can be taken over.
    #[must_use]
    pub fn is_handed_over(&self) -> bool {
        matches!(self.stage, AdoptionStage::Requested | AdoptionStage::Adopted)
    }

    /// Whether Tradewind made it its own and has to give it back.
    #[must_use]
    pub fn is_recalled(&self) -> bool {
        self.stage == AdoptionStage::Recalled
    }
}
