//! The namespace in which Istio runs, by cluster.

use std::{collections::BTreeMap, sync::Arc};

use super::ClusterName;

/// The namespace of Istio in each cluster.
#[derive(Debug, Clone)]
pub struct IstioNamespaces {
    of_setting: Arc<str>,
    /// Those of clusters for which the setting does not count.
    own: BTreeMap<ClusterName, Arc<str>>,
}

impl IstioNamespaces {
    /// Of clusters for which the setting counts.
    #[must_use]
    pub fn new(of_setting: &str) -> Self {
        Self { of_setting: of_setting.into(), own: BTreeMap::new() }
    }

    /// The one of a cluster.
    #[must_use]
    pub fn of(&self, cluster: &ClusterName) -> &Arc<str> {
        self.own.get(cluster).unwrap_or(&self.of_setting)
    }

    /// Makes a namespace that of a cluster's Istio; with `None` the setting counts.
    pub fn set(&mut self, cluster: &ClusterName, namespace: Option<&str>) {
        match namespace {
            Some(namespace) => drop(self.own.insert(cluster.clone(), namespace.into())),
            None => drop(self.own.remove(cluster)),
        }
    }
}
