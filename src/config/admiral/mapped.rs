//! Flags of Admiral that become settings of another name or another form.

use super::{Values, flag_error::FlagError};
use crate::{config::Settings, model::Kind};

/// What a flag's value becomes, given the values of all flags.
pub(super) type Mapping = fn(&[String], &Values) -> Result<Became, FlagError>;

/// Settings, and what there is to say about them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Became {
    /// Field of the settings, and its text; of a list the items with commas between them.
    pub setting: Option<(&'static str, String)>,
    /// Said in the file.
    pub remark: Option<&'static str>,
}

impl Became {
    fn setting(field: &'static str, text: impl Into<String>) -> Result<Self, FlagError> {
        Ok(Self { setting: Some((field, text.into())), remark: None })
    }

    fn remark(remark: &'static str) -> Result<Self, FlagError> {
        Ok(Self { setting: None, remark: Some(remark) })
    }
}

fn text(value: &[String]) -> &str {
    value.first().map(String::as_str).unwrap_or_default()
}

pub(super) fn sidecars(value: &[String], _: &Values) -> Result<Became, FlagError> {
    Became::setting("sidecars", if text(value) == "enabled" { "merge" } else { "off" })
}

pub(super) fn addresses(value: &[String], _: &Values) -> Result<Became, FlagError> {
    Became::setting("addresses", if text(value) == "true" { "istio" } else { "tradewind" })
}

pub(super) fn address_range(value: &[String], _: &Values) -> Result<Became, FlagError> {
    let prefix = text(value).trim_end_matches('.');
    let octets: Vec<Option<u8>> = prefix.split('.').map(|octet| octet.parse().ok()).collect();
    match octets[..] {
        [Some(first), Some(second)] => Became::setting("address_range", format!("{first}.{second}.0.0/16")),
        _ => Err(FlagError::NotAPrefix(prefix.to_owned())),
    }
}

pub(super) fn local_fqdn(value: &[String], values: &Values) -> Result<Became, FlagError> {
    match (text(value), values.text("enable_absolute_fqdn")) {
        ("true", "false") => Became::remark("without enable_absolute_fqdn it has no effect in Admiral either"),
        (local, _) => Became::setting("enable_absolute_fqdn_for_local_endpoints", local),
    }
}

pub(super) fn argo_rollouts(value: &[String], _: &Values) -> Result<Became, FlagError> {
    let mut kinds = Settings::default().workload_kinds;
    kinds.retain(|kind| text(value) != "false" || *kind != Kind::Rollout);
    Became::setting("workload_kinds", names(&kinds))
}

pub(super) fn clients(value: &[String], _: &Values) -> Result<Became, FlagError> {
    let kinds = if text(value) == "false" { Vec::new() } else { Settings::default().client_kinds };
    Became::setting("client_kinds", names(&kinds))
}

fn names(kinds: &[Kind]) -> String {
    kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(",")
}

pub(super) fn state_checker(value: &[String], _: &Values) -> Result<Became, FlagError> {
    if text(value).eq_ignore_ascii_case("NoOPStateChecker") {
        return Ok(Became::default());
    }
    Became::remark("there is no lease in DynamoDB; where a second instance stands by, give it readOnly: true")
}

/// Admiral's default matches no current proxy; a filter that matched none must not start to match after migrating.
pub(super) fn filter_version(value: &[String], values: &Values) -> Result<Became, FlagError> {
    let is_default = text(value) == "1.17,1.20" && values.text("enable_routing_policy") != "true";
    if is_default { Ok(Became::default()) } else { Became::setting("envoy_filter_version", text(value)) }
}

pub(super) fn ingress_routing(value: &[String], values: &Values) -> Result<Became, FlagError> {
    match (text(value), values.text("vs_routing_gateways")) {
        ("true", "") => Became::remark("without vs_routing_gateways Admiral writes no VirtualServices either"),
        (routing, _) => Became::setting("enable_vs_routing", routing),
    }
}

pub(super) fn custom_merge(value: &[String], values: &Values) -> Result<Became, FlagError> {
    match (text(value), values.text("process_vs_created_by")) {
        ("true", "") => Became::remark("without process_vs_created_by there is nothing to merge"),
        (merge, _) => Became::setting("enable_custom_vs_merge", merge),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_switched_off_is_no_kind() {
        let of =
            |mapping: Mapping, text: &str| mapping(&[text.to_owned()], &Values::default()).unwrap().setting.unwrap();
        let kinds = "Deployment,StatefulSet,DaemonSet,WorkloadEntry";
        assert_eq!(of(argo_rollouts, "false"), ("workload_kinds", kinds.to_owned()));
        assert_eq!(of(clients, "false"), ("client_kinds", String::new()));
        assert_eq!(of(clients, "true"), ("client_kinds", "Job,CronJob,Vertex,MonoVertex".to_owned()));
    }

    #[test]
    fn two_numbers_make_a_range() {
        let range = |text: &str| address_range(&[text.to_owned()], &Values::default());
        assert_eq!(range("240.0").unwrap().setting, Some(("address_range", "240.0.0.0/16".into())));
        assert_eq!(range("10.77.").unwrap().setting, Some(("address_range", "10.77.0.0/16".into())));
        for bad in ["240", "240.0.1", "240.x", "", "240.256"] {
            assert!(range(bad).is_err(), "{bad}");
        }
    }
}
