//! Numbers that an API server refuses for being too small or too large: ports, weights, replicas. The schemas of Tradewind's own
//! kinds say it themselves; these are the kinds of Kubernetes and Istio that are read.
//!
//! Never judges types, which are for whoever reads the field.

use serde_json::Value;

use super::ManifestProblem;
use crate::model::Kind;

/// A number of a port.
const PORT: (i128, i128) = (1, 65_535);
/// A number of a port, or 0 for none.
const PORT_OR_NONE: (i128, i128) = (0, 65_535);
/// A whole number that is not negative, of 32 bits as Kubernetes has it.
const COUNT: (i128, i128) = (0, 2_147_483_647);
/// A whole number that is not negative, of 32 bits as Istio has it.
const UNSIGNED: (i128, i128) = (0, 4_294_967_295);

/// What a field of some kinds may be.
struct Range {
    kinds: &'static [Kind],
    /// The field; `[]` means every item of a list, `{}` every value of a map.
    field: &'static str,
    bounds: (i128, i128),
    required: bool,
}

const fn range(kinds: &'static [Kind], field: &'static str, bounds: (i128, i128)) -> Range {
    Range { kinds, field, bounds, required: false }
}

const fn required(kinds: &'static [Kind], field: &'static str, bounds: (i128, i128)) -> Range {
    Range { kinds, field, bounds, required: true }
}

/// Kinds whose pods Kubernetes itself makes; the CRD of Rollouts has no ranges.
const PODS: &[Kind] = &[Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet, Kind::Job];
const SERVICE: &[Kind] = &[Kind::Service];
const ENTRY: &[Kind] = &[Kind::ServiceEntry];
const MACHINE: &[Kind] = &[Kind::WorkloadEntry];
const SIDECAR: &[Kind] = &[Kind::Sidecar];
const ROUTE: &[Kind] = &[Kind::VirtualService];
const RULE: &[Kind] = &[Kind::DestinationRule];

/// All ranges. Kubernetes: `pkg/apis/core/validation`, `validateServicePort` and `validateContainerPorts`;
/// `pkg/apis/apps/validation`. Istio: the CRDs (`manifests/charts/base/files/crd-all.gen.yaml`), and where these bound a
/// port by 32 bits alone, the webhook (`pkg/config/validation`, `ValidatePort` and its callers).
const RANGES: &[Range] = &[
    required(SERVICE, "spec.ports[].port", PORT),
    range(SERVICE, "spec.ports[].targetPort", PORT),
    range(&[Kind::Deployment, Kind::StatefulSet], "spec.replicas", COUNT),
    range(PODS, "spec.template.spec.containers[].ports[].containerPort", PORT),
    range(PODS, "spec.template.spec.containers[].ports[].hostPort", PORT_OR_NONE),
    range(PODS, "spec.template.spec.initContainers[].ports[].containerPort", PORT),
    range(PODS, "spec.template.spec.initContainers[].ports[].hostPort", PORT_OR_NONE),
    required(ENTRY, "spec.ports[].number", PORT),
    range(ENTRY, "spec.ports[].targetPort", PORT),
    range(ENTRY, "spec.endpoints[].ports{}", PORT),
    range(ENTRY, "spec.endpoints[].weight", UNSIGNED),
    range(MACHINE, "spec.ports{}", PORT),
    range(MACHINE, "spec.weight", UNSIGNED),
    range(SIDECAR, "spec.ingress[].port.number", PORT),
    // 0 is a Unix domain socket.
    range(SIDECAR, "spec.egress[].port.number", PORT_OR_NONE),
    range(ROUTE, "spec.http[].match[].port", PORT_OR_NONE),
    range(ROUTE, "spec.http[].route[].destination.port.number", PORT),
    range(ROUTE, "spec.http[].route[].weight", COUNT),
    range(ROUTE, "spec.http[].mirror.port.number", PORT),
    range(ROUTE, "spec.http[].mirrors[].destination.port.number", PORT),
    range(ROUTE, "spec.tls[].match[].port", PORT_OR_NONE),
    range(ROUTE, "spec.tls[].route[].destination.port.number", PORT),
    range(ROUTE, "spec.tls[].route[].weight", COUNT),
    range(ROUTE, "spec.tcp[].match[].port", PORT_OR_NONE),
    range(ROUTE, "spec.tcp[].route[].destination.port.number", PORT),
    range(ROUTE, "spec.tcp[].route[].weight", COUNT),
    range(RULE, "spec.trafficPolicy.portLevelSettings[].port.number", UNSIGNED),
    range(RULE, "spec.trafficPolicy.tunnel.targetPort", PORT),
    range(RULE, "spec.trafficPolicy.loadBalancer.localityLbSetting.distribute[].to{}", UNSIGNED),
    range(RULE, "spec.subsets[].trafficPolicy.portLevelSettings[].port.number", UNSIGNED),
    range(RULE, "spec.subsets[].trafficPolicy.tunnel.targetPort", PORT),
    range(RULE, "spec.subsets[].trafficPolicy.loadBalancer.localityLbSetting.distribute[].to{}", UNSIGNED),
];

/// Refuses the numbers of an object that are out of range.
pub(super) fn check(kind: Kind, object: &Value, problems: &mut Vec<ManifestProblem>) {
    for range in RANGES.iter().filter(|range| range.kinds.contains(&kind)) {
        visit(object, range.field, String::new(), &mut |path, value| {
            let number = value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from));
            let (least, most) = range.bounds;
            if let Some(number) = number.filter(|number| !(least..=most).contains(number)) {
                let message = format!("Invalid value: {number}: must be between {least} and {most}, inclusive");
                problems.push(ManifestProblem::error(path, message));
            } else if range.required && value.is_null() {
                problems.push(ManifestProblem::error(path, "Required value: it is missing"));
            }
        });
    }
}

/// Calls `judge` with every value that `field` leads to below `value`, which is at `path`; with null where the last part of
/// it is missing.
fn visit(value: &Value, field: &str, path: String, judge: &mut impl FnMut(&str, &Value)) {
    let (name, rest) = field.split_once('.').map_or((field, None), |(name, rest)| (name, Some(rest)));
    let bare = name.trim_end_matches(['[', ']', '{', '}']);
    let path = if path.is_empty() { bare.to_owned() } else { format!("{path}.{bare}") };
    let Some(found) = value.as_object().map(|fields| fields.get(bare).unwrap_or(&Value::Null)) else { return };
    let mut follow = |path: String, value: &Value| match rest {
        Some(rest) => visit(value, rest, path, judge),
        None => judge(&path, value),
    };
    if name.ends_with("[]") {
        for (index, item) in found.as_array().into_iter().flatten().enumerate() {
            follow(format!("{path}[{index}]"), item);
        }
    } else if name.ends_with("{}") {
        found.as_object().into_iter().flatten().for_each(|(key, value)| follow(format!("{path}.{key}"), value));
    } else {
        follow(path, found);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(kind: Kind, object: &Value) -> Vec<String> {
        let mut problems = Vec::new();
        check(kind, object, &mut problems);
        problems.iter().map(ToString::to_string).collect()
    }

    /// An object with nothing but this value at a field.
    fn with(field: &str, value: Value) -> Value {
        field.rsplit('.').fold(value, |value, name| {
            let bare = name.trim_end_matches(['[', ']', '{', '}']);
            match name {
                _ if name.ends_with("[]") => json!({bare: [value]}),
                _ if name.ends_with("{}") => json!({bare: {"http": value}}),
                _ => json!({bare: value}),
            }
        })
    }

    #[test]
    fn every_range_takes_its_ends_and_nothing_beyond() {
        for range in RANGES {
            let (least, most) = range.bounds;
            let path = range.field.replace("[]", "[0]").replace("{}", ".http");
            for kind in range.kinds {
                let judged = |number: i128| {
                    let mut said = said(*kind, &with(range.field, json!(i64::try_from(number).unwrap())));
                    said.retain(|problem| problem.contains("Invalid value"));
                    said
                };
                for good in [least, most] {
                    assert_eq!(judged(good), [""; 0], "{kind:?} {path} {good}");
                }
                for bad in [least - 1, most + 1] {
                    let message =
                        format!("{path}: Invalid value: {bad}: must be between {least} and {most}, inclusive");
                    assert_eq!(judged(bad), [message], "{kind:?}");
                }
            }
        }
    }

    #[test]
    fn every_field_is_judged_and_types_are_for_whoever_reads_them() {
        let ports =
            json!([{"number": 0, "targetPort": 70_000}, {"name": "http"}, {"number": u64::MAX}, {"number": 80}]);
        let range = "must be between 1 and 65535, inclusive";
        assert_eq!(
            said(Kind::ServiceEntry, &json!({"spec": {"ports": ports}})),
            [
                format!("spec.ports[0].number: Invalid value: 0: {range}"),
                "spec.ports[1].number: Required value: it is missing".to_owned(),
                format!("spec.ports[2].number: Invalid value: 18446744073709551615: {range}"),
                format!("spec.ports[0].targetPort: Invalid value: 70000: {range}"),
            ]
        );
        let named = json!({"spec": {"ports": [{"port": 80, "targetPort": "http"}, {"port": "80"}, 5, null]}});
        assert_eq!(said(Kind::Service, &named), [""; 0]);
        for odd in
            [json!(5), json!({"spec": 5}), json!({"spec": {"ports": 5}}), json!({"spec": {"endpoints": {"a": 1}}})]
        {
            assert_eq!(said(Kind::ServiceEntry, &odd), [""; 0], "{odd}");
        }
        // A Rollout's CRD has no ranges, and takes what it gets.
        assert_eq!(said(Kind::Rollout, &json!({"spec": {"replicas": -1}})), [""; 0]);
    }
}
