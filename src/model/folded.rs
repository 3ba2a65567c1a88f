//! Text that is shown as written and compared without regard to case.
//!
//! Hosts are case-insensitive (RFC 4343), so the identity and environment that make a host
//! must be too: otherwise `Greeting` and `greeting` are two services with one host.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

#[derive(Clone)]
pub(super) struct Folded {
    shown: Arc<str>,
    key: Arc<str>,
}

impl Folded {
    pub(super) fn new(text: &str) -> Self {
        let shown: Arc<str> = text.into();
        let key =
            if text.bytes().any(|b| b.is_ascii_uppercase()) { text.to_ascii_lowercase().into() } else { shown.clone() };
        Self { shown, key }
    }

    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }
}

impl PartialEq for Folded {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Folded {}

impl PartialOrd for Folded {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Folded {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }
}

impl Hash for Folded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl fmt::Display for Folded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Folded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.shown, f)
    }
}
