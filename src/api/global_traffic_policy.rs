//! GlobalTrafficPolicy: how traffic to a service is shared among regions.

use std::{borrow::Cow, collections::BTreeMap};

use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::PolicyStatus;

/// Splits the traffic to a service among regions, for its default host and for each prefixed host. The labels of the
/// object, or its selector, name the service.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "admiral.io",
    version = "v1alpha1",
    kind = "GlobalTrafficPolicy",
    plural = "globaltrafficpolicies",
    shortname = "gtp",
    namespaced,
    doc = "Splits the traffic to a service among regions.",
    status = "PolicyStatus",
    printcolumn = r#"{"name":"Policy","type":"string","priority":1,"jsonPath":".spec.policy"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
pub struct GlobalTrafficPolicySpec {
    /// One entry per host.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    pub policy: Vec<TrafficPolicyEntry>,
    /// Labels that name the identity and the environment, for a policy whose own labels do not.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub selector: BTreeMap<String, String>,
}

/// The policy of one host of the service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = (
        "(has(self.dnsPrefix) && self.dnsPrefix != '') || (has(self.dns) && self.dns != '')",
        "an entry must name its host by dnsPrefix or dns"
    ),
    validation = (
        "!has(self.lbType) || !(self.lbType == 1 || self.lbType == 'FAILOVER') || !has(self.target) || \
         self.target.all(t, has(t.region) && t.region != '')",
        "every target of lbType 1 (FAILOVER) must name its region"
    ),
)]
#[serde(rename_all = "camelCase")]
pub struct TrafficPolicyEntry {
    /// Prefix of the host. `default` or the name of the environment stands for the default host; any other prefix makes a
    /// further host.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub dns_prefix: String,
    /// Deprecated, use `dnsPrefix`: the whole host.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub dns: String,
    /// `TOPOLOGY` (0) prefers the nearest region. `FAILOVER` (1) splits the traffic by the weights of the targets.
    #[serde(default)]
    pub lb_type: LbType,
    /// Regions and their weights.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub target: Vec<TrafficTarget>,
    /// When an endpoint is ejected from the load balancing of this host.
    #[serde(default, rename = "outlier_detection", skip_serializing_if = "Option::is_none")]
    pub outlier_detection: Option<PolicyOutlierDetection>,
}

/// How endpoints are chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum LbType {
    /// The nearest region first.
    #[default]
    Topology,
    /// By the shares of the targets.
    Failover,
    /// Something else; kept so that the note can quote it.
    Unknown(String),
}

impl Serialize for LbType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Topology => serializer.serialize_i32(0),
            Self::Failover => serializer.serialize_i32(1),
            Self::Unknown(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for LbType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Ok(match text.to_ascii_uppercase().as_str() {
            "0" | "TOPOLOGY" | "NULL" => Self::Topology,
            "1" | "FAILOVER" => Self::Failover,
            _ => Self::Unknown(text),
        })
    }
}

impl JsonSchema for LbType {
    fn schema_name() -> Cow<'static, str> {
        "LbType".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "enum": [0, 1, "TOPOLOGY", "FAILOVER"],
        })
    }
}

/// One region and its weight.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrafficTarget {
    /// Region, as in the label `topology.kubernetes.io/region` of the nodes.
    #[serde(default)]
    pub region: String,
    /// Share of the traffic in percent. A region of weight 0 is a fallback.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub weight: i64,
}

/// Outlier detection of one host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyOutlierDetection {
    /// How long an endpoint stays ejected, in seconds. 0 uses the default.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub base_ejection_time: i64,
    /// Number of consecutive gateway errors after which an endpoint is ejected. 0 uses the default.
    #[serde(default)]
    pub consecutive_gateway_errors: u32,
    /// Time between two ejection sweeps, in seconds. 0 uses the default.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub interval: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lb_type_takes_numbers_and_words_and_keeps_the_rest_for_the_note() {
        let read = |text: &str| serde_json::from_str::<LbType>(text).unwrap();
        assert_eq!(read("0"), LbType::Topology);
        assert_eq!(read("1"), LbType::Failover);
        assert_eq!(read("\"failover\""), LbType::Failover);
        assert_eq!(read("7"), LbType::Unknown("7".into()));
    }
}
