//! Where endpoints run: region and zone, in Istio's `region/zone` text form.

use std::{fmt, sync::Arc};

/// A region, with a zone where it is known (Istio: `region/zone/sub-zone`; sub-zones are not used).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Locality {
    /// `topology.kubernetes.io/region` of the nodes.
    pub region: Arc<str>,
    /// `topology.kubernetes.io/zone` of the nodes, where all agree.
    pub zone: Option<Arc<str>>,
}

impl Locality {
    /// A whole region.
    #[must_use]
    pub fn region(region: &str) -> Self {
        Self { region: region.into(), zone: None }
    }

    /// A zone of a region.
    #[must_use]
    pub fn zone(region: &str, zone: &str) -> Self {
        Self { region: region.into(), zone: Some(zone.into()) }
    }

    /// Reads `region` or `region/zone`; an empty text is no locality.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '/');
        let region = parts.next().filter(|r| !r.is_empty())?;
        Some(Self { region: region.into(), zone: parts.next().filter(|z| !z.is_empty()).map(Into::into) })
    }
}

impl fmt::Display for Locality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.zone {
            Some(zone) => write!(f, "{}/{zone}", self.region),
            None => f.write_str(&self.region),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_is_istios() {
        for text in ["us-west", "us-west/us-west-2a"] {
            assert_eq!(Locality::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Locality::parse("us-west/a/rack1"), Some(Locality::zone("us-west", "a")));
        assert_eq!(Locality::parse(""), None);
    }
}
