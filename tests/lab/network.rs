//! The lab's network: a router, a node for each cluster behind it, pods behind each node.
//!
//! | range | what | routed between clusters |
//! |---|---|---|
//! | `172.17.N.0/30` | the link of cluster N: the router is .1, the node .2 with API server and istiod | yes |
//! | `172.18.N.0/24` | the outside of cluster N: its gateway is .20; what leaves pod P has the source .(100 + P) | yes |
//! | `10.N.0.0/24` | pods of cluster N | between two that [`peer`] has joined |
//! | `172.19.0.0/24` | the link between those two | |
//! | `10.96.0.10` | the name server of each cluster | no |
//!
//! Each pod has an address on the outside because there is nothing here to translate addresses. Nobody is told of it.

use std::{
    io::Write,
    net::Ipv4Addr,
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::{enclosure, support::Place};

/// Where every pod and node asks for names.
pub const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);

/// The node of a cluster.
pub fn node_address(cluster: u8) -> Ipv4Addr {
    Ipv4Addr::new(172, 17, cluster, 2)
}

/// Where other clusters reach a cluster's gateway.
pub fn gateway_address(cluster: u8) -> Ipv4Addr {
    Ipv4Addr::new(172, 18, cluster, 20)
}

/// A pod inside its cluster.
pub fn pod_address(cluster: u8, pod: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, cluster, 0, 10 + pod)
}

/// A pod as everybody outside sees it, and as the test reaches it.
pub fn outside_address(cluster: u8, pod: u8) -> Ipv4Addr {
    Ipv4Addr::new(172, 18, cluster, 100 + pod)
}

/// The router: this process's own network.
pub fn make_router() {
    enclosure::run("ip", &["link", "set", "lo", "up"]);
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("a network of our own");
}

/// The node of a cluster, and its link to the router.
pub fn make_node(cluster: u8) -> Place {
    let n = cluster;
    let netns = node_name(n);
    enclosure::run("ip", &["netns", "add", &netns]);
    batch(
        None,
        &format!(
            "link add n{n} type veth peer name eth0 netns {netns}\n\
             address add 172.17.{n}.1/30 dev n{n}\n\
             link set n{n} up\n"
        ),
    );
    batch(
        Some(&netns),
        &format!(
            "link set lo up\n\
             address add {NAME_SERVER}/32 dev lo\n\
             address add 172.17.{n}.2/30 dev eth0\n\
             link set eth0 up\n\
             route add default via 172.17.{n}.1\n\
             link add pods type bridge\n\
             address add 10.{n}.0.1/24 dev pods\n\
             link set pods up\n"
        ),
    );
    batch(None, &format!("route add 172.18.{n}.0/24 via 172.17.{n}.2\n"));
    let place = Place { netns: path_of(&netns), address: node_address(n) };
    let mut forward = place.command("sh".as_ref());
    forward.args(["-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"]);
    assert!(forward.status().expect("nsenter").success(), "a node must forward");
    place
}

/// A pod of a cluster whose node is there. `gateway` gives it the address by which others reach the cluster.
pub fn make_pod(cluster: u8, pod: u8, name: &str, gateway: bool) -> Place {
    let (n, netns) = (cluster, format!("{}-{name}", node_name(cluster)));
    let (inside, outside) = (pod_address(n, pod), outside_address(n, pod));
    enclosure::run("ip", &["netns", "add", &netns]);
    let mut in_pod = format!(
        "link set lo up\n\
         address add {inside}/24 dev eth0\n\
         address add {outside}/32 dev eth0\n\
         link set eth0 up\n\
         route add default via 10.{n}.0.1 src {outside}\n"
    );
    let mut on_node = format!(
        "link add pod{pod} type veth peer name eth0 netns {netns}\n\
         link set pod{pod} master pods\n\
         link set pod{pod} up\n\
         route add {outside}/32 via {inside}\n"
    );
    if gateway {
        in_pod += &format!("address add {}/32 dev lo\n", gateway_address(n));
        on_node += &format!("route add {}/32 via {inside}\n", gateway_address(n));
    }
    batch(Some(&node_name(n)), &on_node);
    batch(Some(&netns), &in_pod);
    Place { netns: path_of(&netns), address: outside }
}

/// From now on nothing that is sent to the outside of a cluster arrives, and nobody is told: its region is gone.
pub fn cut_outside(cluster: u8) {
    batch(None, &format!("route replace blackhole 172.18.{cluster}.0/24\n"));
}

/// Ends [`cut_outside`], if it was.
pub fn mend_outside(cluster: u8) {
    batch(None, &format!("route replace 172.18.{cluster}.0/24 via 172.17.{cluster}.2\n"));
}

/// Joins the pod ranges of two clusters by a link of their own; pods still need [`reach`].
pub fn peer(a: u8, b: u8) {
    let (on_a, on_b) = (node_name(a), node_name(b));
    batch(
        Some(&on_a),
        &format!(
            "link add peer type veth peer name peer netns {on_b}\n\
             address add 172.19.0.{a}/24 dev peer\n\
             link set peer up\n"
        ),
    );
    batch(Some(&on_b), &format!("address add 172.19.0.{b}/24 dev peer\nlink set peer up\n"));
    for (netns, other) in [(on_a, b), (on_b, a)] {
        batch(Some(&netns), &format!("route add 10.{other}.0.0/24 via 172.19.0.{other}\n"));
    }
}

/// Ends [`peer`], if it was.
pub fn unpeer(a: u8) {
    // Where there is no such link, there is nothing to end.
    let _ = Command::new("ip").args(["-netns", &node_name(a), "link", "delete", "peer"]).output();
}

/// A pod takes the pods of another cluster for its neighbours, and is known to them by its own address.
pub fn reach(place: &Place, cluster: u8, pod: u8, other: u8) {
    let source = pod_address(cluster, pod);
    batch_in(place, &format!("route replace 10.{other}.0.0/24 via 10.{cluster}.0.1 src {source}\n"));
}

/// Ends [`reach`], if it was.
pub fn unreach(place: &Place, other: u8) {
    batch_in(place, &format!("route flush 10.{other}.0.0/24\n"));
}

fn batch_in(place: &Place, lines: &str) {
    let netns = place.netns.file_name().and_then(|name| name.to_str()).expect("a name");
    batch(Some(netns), lines);
}

fn node_name(cluster: u8) -> String {
    format!("cluster-{cluster}")
}

fn path_of(netns: &str) -> PathBuf {
    PathBuf::from(enclosure::PRIVATE).join("netns").join(netns)
}

/// Runs lines of ip(8) in a network, or in this process's own.
fn batch(netns: Option<&str>, lines: &str) {
    let mut command = Command::new("ip");
    if let Some(netns) = netns {
        command.args(["-netns", netns]);
    }
    let mut ip = command
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ip ran a moment ago");
    ip.stdin.take().expect("was piped").write_all(lines.as_bytes()).expect("ip reads");
    let output = ip.wait_with_output().expect("our own child");
    assert!(output.status.success(), "ip: {}:\n{lines}", String::from_utf8_lossy(&output.stderr));
}
