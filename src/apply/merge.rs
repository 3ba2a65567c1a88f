//! Merging Tradewind's hosts into a user's Sidecar, and removing exactly these hosts again. Pure.
//!
//! Only host lists of egress listeners and Tradewind's annotations are decided here. A host that the user lists anyway is never Tradewind's.
//!
//! The hosts go into the catch-all listener, the one without a port, because a listener with a port takes only services that have
//! this port (Istio, `pilot/pkg/model/sidecar.go`, `needsPortMatch`). Where there is none, one with only Tradewind's hosts is put
//! behind the others, and goes with the last of them: Istio wants it last (`pkg/config/validation/validation.go`, `ValidateSidecar`).
//! It makes nothing else visible. On a port the listener for that port comes before the catch-all (`sidecar.go`,
//! `GetEgressListenerForRDS`): where the user has a listener for port 80, under which every host is published, the hosts go there,
//! too, and so they do into a listener for a further port under which they are published.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{
    istio::keys,
    model::{EgressHost, EgressListener, Labels, SidecarHosts},
    plan::MAIN_PORT,
};

/// The annotations that list Tradewind's hosts: of the catch-all listener, of that for port 80, and of those for other ports.
pub(super) const ANNOTATIONS: [&str; 3] =
    [keys::EGRESS_HOSTS, keys::EGRESS_HOSTS_OF_MAIN_PORT, keys::EGRESS_HOSTS_OF_PORTS];

/// What the egress listeners of a Sidecar should list.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Merged {
    /// The hosts of each listener that is there.
    listeners: Vec<Vec<String>>,
    /// The hosts of a catch-all listener to be put behind them; empty for none.
    appended: Vec<String>,
    /// The listener that is removed, because it had only Tradewind's hosts.
    dropped: Option<usize>,
    /// Tradewind's hosts in the catch-all listener and in the listener for port 80.
    ours: [Vec<String>; 2],
    /// Tradewind's hosts in the listeners for other ports.
    ours_of_ports: BTreeMap<u64, Vec<String>>,
}

impl Merged {
    /// Whether anything has to be written.
    pub(super) fn differs_from(&self, sidecar: &SidecarHosts) -> bool {
        let is_same = self.listeners.iter().eq(sidecar.listeners.iter().map(|listener| &listener.hosts))
            && self.appended.is_empty()
            && self.dropped.is_none()
            && self.ours == [&*sidecar.ours, &*sidecar.ours_of_main_port]
            && self.ours_of_ports == sidecar.ours_of_ports;
        !is_same
    }
}

/// Replaces Tradewind's hosts in a Sidecar by `wanted`.
///
/// # Errors
/// Why the Sidecar cannot take any. Removing hosts always works.
pub(super) fn merged(sidecar: &SidecarHosts, wanted: &[EgressHost]) -> Result<Merged, &'static str> {
    let hosts: Vec<String> = wanted.iter().map(|wanted| wanted.host.clone()).collect();
    let mut listeners: Vec<Vec<String>> = sidecar.listeners.iter().map(|listener| listener.hosts.clone()).collect();
    let find = |is: &dyn Fn(&EgressListener) -> bool| sidecar.listeners.iter().position(is);
    let catch_all = find(&|listener| listener.port.is_none() && !listener.is_bound);
    if catch_all.is_none() && !wanted.is_empty() && find(&|listener| listener.port.is_none()).is_some() {
        return Err("has an egress listener without a port that is bound to an address");
    }
    let main_port = find(&|listener| listener.port == Some(u64::from(MAIN_PORT)) && !listener.is_proxy);
    // Earlier versions put them into the first listener, whatever it was.
    let is_elsewhere = |host: &&String| catch_all.is_none_or(|at| !sidecar.listeners[at].hosts.contains(host));
    if let Some(first) = listeners.first_mut().filter(|_| catch_all != Some(0)) {
        sidecar.ours.iter().filter(is_elsewhere).for_each(|host| remove_last(first, host));
    }
    let mut ours = [Vec::new(), Vec::new()];
    let slots = [(catch_all, &sidecar.ours), (main_port, &sidecar.ours_of_main_port)];
    for (ours, (at, known)) in ours.iter_mut().zip(slots) {
        if let Some(listed) = at.and_then(|at| listeners.get_mut(at)) {
            let before = Hosts { all: std::mem::take(listed), ours: known.clone() };
            Hosts { all: *listed, ours: *ours } = before.with(&hosts);
        }
    }
    let ours_of_ports = merge_ports(sidecar, wanted, &mut listeners);
    let mut appended = Vec::new();
    let mut dropped = None;
    match catch_all {
        // Without any listener the workloads see everything: there is nothing to add to.
        None if !listeners.is_empty() => {
            let nothing = Hosts { all: Vec::new(), ours: Vec::new() };
            Hosts { all: appended, ours: ours[0] } = nothing.with(&hosts);
        }
        None => {}
        Some(at) => dropped = (listeners[at].is_empty() && !sidecar.ours.is_empty()).then_some(at),
    }
    Ok(Merged { listeners, appended, dropped, ours, ours_of_ports })
}

/// Brings the hosts that are published under further ports into the listeners for these ports. Returns which of each are
/// Tradewind's.
fn merge_ports(
    sidecar: &SidecarHosts,
    wanted: &[EgressHost],
    listeners: &mut [Vec<String>],
) -> BTreeMap<u64, Vec<String>> {
    let mut ours_of_ports = BTreeMap::new();
    for (at, listener) in sidecar.listeners.iter().enumerate() {
        let Some(port) = listener.port.filter(|port| *port > 0 && *port != u64::from(MAIN_PORT)) else { continue };
        if listener.is_proxy
            || sidecar.listeners.iter().position(|other| other.port == Some(port) && !other.is_proxy) != Some(at)
        {
            continue;
        }
        let on_port = wanted.iter().filter(|wanted| wanted.ports.iter().any(|of| u64::from(*of) == port));
        let on_port: Vec<String> = on_port.map(|wanted| wanted.host.clone()).collect();
        let known = sidecar.ours_of_ports.get(&port).cloned().unwrap_or_default();
        let before = Hosts { all: std::mem::take(&mut listeners[at]), ours: known };
        let after = before.with(&on_port);
        listeners[at] = after.all;
        if !after.ours.is_empty() {
            ours_of_ports.insert(port, after.ours);
        }
    }
    ours_of_ports
}

/// A Sidecar, as a manifest, with `wanted` in place of Tradewind's hosts.
///
/// # Errors
/// As [`merged`].
pub(super) fn edited(manifest: &Value, wanted: &[EgressHost]) -> Result<Value, &'static str> {
    let annotations: Labels = serde_json::from_value(manifest["metadata"]["annotations"].clone()).unwrap_or_default();
    let sidecar = SidecarHosts::read(&manifest["spec"], &annotations);
    let merged = merged(&sidecar, wanted)?;
    let mut edited = manifest.clone();
    if let Some(egress) = edited.pointer_mut("/spec/egress").and_then(Value::as_array_mut) {
        for ((value, known), hosts) in egress.iter_mut().zip(&sidecar.listeners).zip(&merged.listeners) {
            if known.hosts != *hosts {
                value["hosts"] = json!(hosts);
            }
        }
        if let Some(at) = merged.dropped {
            egress.remove(at);
        }
        if !merged.appended.is_empty() {
            egress.push(json!({"hosts": merged.appended}));
        }
    }
    let Some(metadata) = edited.get_mut("metadata").and_then(Value::as_object_mut) else { return Ok(edited) };
    let had_annotations = metadata.get("annotations").is_some_and(Value::is_object);
    let mut annotations = metadata.get("annotations").and_then(Value::as_object).cloned().unwrap_or_else(Map::new);
    let had_ours = ANNOTATIONS.iter().any(|key| annotations.contains_key(*key));
    let [catch_all, main_port] = &merged.ours;
    let of_ports = &merged.ours_of_ports;
    let ours = [
        (!catch_all.is_empty()).then(|| json!(catch_all)),
        (!main_port.is_empty()).then(|| json!(main_port)),
        (!of_ports.is_empty()).then(|| json!(of_ports)),
    ];
    for (key, ours) in ANNOTATIONS.into_iter().zip(ours) {
        match ours {
            Some(ours) => annotations.insert(key.to_owned(), ours.to_string().into()),
            None => annotations.remove(key),
        };
    }
    if annotations.is_empty() && (had_ours || !had_annotations) {
        metadata.remove("annotations");
    } else {
        metadata.insert("annotations".to_owned(), Value::Object(annotations));
    }
    Ok(edited)
}

fn remove_last(hosts: &mut Vec<String>, host: &String) {
    if let Some(at) = hosts.iter().rposition(|other| other == host) {
        hosts.remove(at);
    }
}

/// The host list of a listener, and which of the hosts are Tradewind's.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hosts {
    /// All hosts: the user's in their order, then Tradewind's.
    all: Vec<String>,
    /// Ours among them.
    ours: Vec<String>,
}

impl Hosts {
    /// Replaces Tradewind's hosts by `wanted`.
    fn with(&self, wanted: &[String]) -> Self {
        let mut all = self.all.clone();
        for host in &self.ours {
            // A host that is listed twice was added by the user too: one of the two is Tradewind's.
            remove_last(&mut all, host);
        }
        let mut ours: Vec<String> = Vec::new();
        for host in wanted {
            if !all.contains(host) && !ours.contains(host) {
                ours.push(host.clone());
            }
        }
        all.extend(ours.iter().cloned());
        Self { all, ours }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn ours_come_behind_the_users_and_go_without_a_trace() {
        let user = Hosts { all: texts(&["./*", "istio-system/*"]), ours: vec![] };
        let merged = user.with(&texts(&["sync/a.global", "./*", "sync/a.global"]));
        assert_eq!(merged.all, texts(&["./*", "istio-system/*", "sync/a.global"]));
        assert_eq!(merged.ours, texts(&["sync/a.global"]));
        assert_eq!(merged.with(&texts(&["sync/a.global"])), merged, "again changes nothing");
        assert_eq!(merged.with(&[]), user);
    }

    #[test]
    fn a_host_that_the_user_added_too_remains_when_the_managed_one_is_removed() {
        let both = Hosts { all: texts(&["sync/a.global", "./*", "sync/a.global"]), ours: texts(&["sync/a.global"]) };
        assert_eq!(both.with(&[]).all, texts(&["sync/a.global", "./*"]));
    }

    /// An egress listener in words: port or `-`, `bind` where it has one, and its hosts.
    fn shown(egress: &Value) -> Vec<String> {
        let one = |listener: &Value| {
            let port = listener.pointer("/port/number").map_or("-".to_owned(), Value::to_string);
            let hosts: Vec<&str> =
                listener["hosts"].as_array().unwrap().iter().map(|host| host.as_str().unwrap()).collect();
            format!("{port} {}", hosts.join(" "))
        };
        egress.as_array().unwrap().iter().map(one).collect()
    }

    /// Merges, and returns the listeners and Tradewind's hosts; merging again must change nothing.
    fn merge(manifest: &Value, wanted: &[&str]) -> (Value, Vec<String>) {
        merge_with_ports(manifest, &egress(wanted))
    }

    fn egress(wanted: &[&str]) -> Vec<EgressHost> {
        wanted.iter().copied().map(EgressHost::from).collect()
    }

    fn merge_with_ports(manifest: &Value, wanted: &[EgressHost]) -> (Value, Vec<String>) {
        let edited = edited(manifest, wanted).unwrap();
        let annotations = serde_json::from_value(edited["metadata"]["annotations"].clone()).unwrap_or_default();
        let now = SidecarHosts::read(&edited["spec"], &annotations);
        assert!(!merged(&now, wanted).unwrap().differs_from(&now), "again changes nothing: {edited}");
        let listeners = shown(&edited["spec"]["egress"]);
        (edited, listeners)
    }

    fn sidecar(egress: Value) -> Value {
        json!({"metadata": {"name": "default"}, "spec": {"egress": egress}})
    }

    fn of_port(port: u16, hosts: &[&str]) -> Value {
        json!({"port": {"number": port, "protocol": "HTTP"}, "bind": "127.0.0.1", "hosts": hosts})
    }

    #[test]
    fn hosts_go_into_the_listener_without_a_port_and_out_again() {
        let user = sidecar(json!([of_port(3306, &["*/mysql.foo.com"]), {"hosts": ["./*", "istio-system/*"]}]));
        let (both, listeners) = merge(&user, &["s/a", "s/b"]);
        assert_eq!(listeners, ["3306 */mysql.foo.com", "- ./* istio-system/* s/a s/b"]);
        assert_eq!(both["spec"]["egress"][0], user["spec"]["egress"][0]);
        let (one, listeners) = merge(&both, &["s/b"]);
        assert_eq!(listeners[1], "- ./* istio-system/* s/b");
        assert_eq!(merge(&one, &[]).0, user);
    }

    #[test]
    fn a_listener_without_a_port_is_made_behind_the_others_and_goes_with_the_last_host() {
        let user = sidecar(json!([of_port(3306, &["*/mysql.foo.com"]), of_port(0, &["./uds"])]));
        let (made, listeners) = merge(&user, &["s/a"]);
        assert_eq!(listeners, ["3306 */mysql.foo.com", "0 ./uds", "- s/a"]);
        assert_eq!(merge(&made, &["s/b"]).1[2], "- s/b");
        assert_eq!(merge(&made, &[]).0, user);
        let mut theirs = made;
        theirs["spec"]["egress"][2]["hosts"] = json!(["./*", "s/a"]);
        assert_eq!(merge(&theirs, &[]).1[2], "- ./*", "what the user added to it stays");
    }

    #[test]
    fn hosts_that_an_earlier_version_put_into_the_first_listener_move() {
        let mut old = sidecar(json!([of_port(3306, &["*/mysql.foo.com", "s/a"]), {"hosts": ["./*"]}]));
        old["metadata"]["annotations"] = json!({keys::EGRESS_HOSTS: "[\"s/a\"]", "note": "x"});
        let (moved, listeners) = merge(&old, &["s/a"]);
        assert_eq!(listeners, ["3306 */mysql.foo.com", "- ./* s/a"]);
        assert_eq!(moved["metadata"]["annotations"], old["metadata"]["annotations"]);
        let (none, listeners) = merge(&old, &[]);
        assert_eq!(listeners, ["3306 */mysql.foo.com", "- ./*"]);
        assert_eq!(none["metadata"]["annotations"], json!({"note": "x"}));
        let mut alone = sidecar(json!([of_port(3306, &["s/a"])]));
        alone["metadata"]["annotations"] = json!({keys::EGRESS_HOSTS: "[\"s/a\"]"});
        assert_eq!(merge(&alone, &["s/a"]).1, ["3306 ", "- s/a"]);
    }

    #[test]
    fn a_listener_for_port_80_gets_them_too_and_keeps_what_the_user_has() {
        let user = sidecar(json!([of_port(80, &["./*", "s/a"]), {"hosts": ["x/*"]}]));
        let (both, listeners) = merge(&user, &["s/a", "s/b"]);
        assert_eq!(listeners, ["80 ./* s/a s/b", "- x/* s/a s/b"]);
        assert_eq!(both["metadata"]["annotations"][keys::EGRESS_HOSTS_OF_MAIN_PORT], "[\"s/b\"]");
        assert_eq!(merge(&both, &[]).0, user);
        let mut proxy = user;
        proxy["spec"]["egress"][0]["port"]["protocol"] = json!("HTTP_PROXY");
        assert_eq!(merge(&proxy, &["s/b"]).1, ["80 ./* s/a", "- x/* s/b"]);
        // Earlier versions put them there, too.
        let mut old = sidecar(json!([of_port(80, &["./*", "s/a"]), {"hosts": ["x/*"]}]));
        old["metadata"]["annotations"] = json!({keys::EGRESS_HOSTS: "[\"s/a\"]"});
        let (moved, listeners) = merge(&old, &["s/a"]);
        assert_eq!(listeners, ["80 ./* s/a", "- x/* s/a"]);
        assert_eq!(merge(&moved, &[]).1, ["80 ./*", "- x/*"]);
    }

    #[test]
    fn a_listener_for_a_further_port_gets_the_hosts_that_are_published_under_it() {
        let on = |host: &str, ports: &[u16]| EgressHost { host: host.into(), ports: ports.iter().copied().collect() };
        let user = sidecar(json!([
            of_port(9000, &["./*"]), of_port(3306, &["*/mysql.foo.com"]), of_port(80, &["./*"]), of_port(0, &["./uds"]),
            of_port(9000, &["x/*"]), {"hosts": ["./*"]},
        ]));
        let wanted = [on("s/a", &[9000]), on("s/b", &[]), on("s/c", &[9000, 9001])];
        let (both, listeners) = merge_with_ports(&user, &wanted);
        let expected = [
            "9000 ./* s/a s/c",
            "3306 */mysql.foo.com",
            "80 ./* s/a s/b s/c",
            "0 ./uds",
            "9000 x/*",
            "- ./* s/a s/b s/c",
        ];
        assert_eq!(listeners, expected);
        assert_eq!(both["metadata"]["annotations"][keys::EGRESS_HOSTS_OF_PORTS], r#"{"9000":["s/a","s/c"]}"#);
        let (moved, listeners) = merge_with_ports(&both, &[on("s/a", &[3306]), on("s/c", &[9000])]);
        assert_eq!(listeners[..2], ["9000 ./* s/c", "3306 */mysql.foo.com s/a"]);
        assert_eq!(merge(&moved, &[]).0, user);
        let mut proxy = user;
        proxy["spec"]["egress"][0]["port"]["protocol"] = json!("HTTP_PROXY");
        assert_eq!(merge_with_ports(&proxy, &wanted).1[0], "9000 ./*", "a proxy takes every port by its own hosts");
    }

    #[test]
    fn a_bound_listener_without_a_port_and_a_sidecar_without_listeners_get_no_hosts() {
        let bound = sidecar(json!([{"bind": "127.0.0.1", "hosts": ["./*", "s/a"]}]));
        assert!(edited(&bound, &egress(&["s/a"])).unwrap_err().contains("bound"));
        let mut ours = bound.clone();
        ours["metadata"]["annotations"] = json!({keys::EGRESS_HOSTS: "[\"s/a\"]"});
        assert_eq!(merge(&ours, &[]).1, ["- ./*"], "ours always come out");
        for everything in [json!({"metadata": {}, "spec": {"ingress": []}}), sidecar(json!([])), sidecar(json!("text"))]
        {
            assert_eq!(edited(&everything, &egress(&["s/a"])).unwrap(), everything);
        }
    }
}
