//! Things change while the controller runs: exactly what no longer fits is written, once.

use std::collections::BTreeMap;

use serde_json::json;

use crate::{
    operations::configure,
    support::eventually,
    world::{ALL, GATEWAYS, SOON, World, endpoints_of, host, noted, text, unnoted},
};

const NAMES: [&str; 3] = ["cluster-1", "cluster-2", "cluster-3"];

fn once(writes: impl IntoIterator<Item = String>) -> BTreeMap<String, usize> {
    writes.into_iter().map(|write| (write, 1)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_policy_writes_the_entries_whose_weights_changed() {
    let world = World::shared().await;
    world.register(&ALL).await;
    world.deploy(&[1, 2], "payments").await;
    world.deploy(&[1, 2], "other").await;
    let (split, west): (&[_], &[_]) = (&[("us-west", 80), ("us-east", 20)], &[("us-west", 100), ("us-east", 0)]);
    world.clusters[2].apply(vec![world.policy("payments", &[("default", split), ("west", west)])]).await;
    let controller = world.start(&[]).await;
    for cluster in ALL {
        let local = world.local("payments");
        let endpoint = |of: usize| if of == cluster { local.as_str() } else { GATEWAYS[of] };
        world.sees(cluster, "west.stage.payments.global", &[endpoint(1), endpoint(2)]).await;
        world.sees(cluster, &host("payments"), &[endpoint(1), endpoint(2)]).await;
        eventually("the other service is there, too", SOON, async || {
            world.entry(cluster, &host("other")).await.map(drop).ok_or_else(String::new)
        })
        .await;
    }

    let since = world.marks().await;
    let edited: &[_] = &[("us-west", 30), ("us-east", 70)];
    world.clusters[2].apply(vec![world.policy("payments", &[("default", edited), ("west", west)])]).await;
    for cluster in ALL {
        eventually("the new weights are there", SOON, async || {
            let entry = world.entry(cluster, &host("payments")).await.ok_or_else(String::new)?;
            let mut weights: Vec<u64> = endpoints_of(&entry).iter().map(|(_, _, weight)| *weight).collect();
            weights.sort_unstable();
            if weights == [30, 70] { Ok(()) } else { Err(format!("{weights:?}")) }
        })
        .await;
    }
    world.sentinel(&ALL).await;
    let expected = once(NAMES.map(|name| format!("{name} patch serviceentries stage.payments.global-se")));
    assert_eq!(world.writes(&since).await, expected);
    // One line for each of them says what changed, and because of which object.
    for name in NAMES {
        let log = controller.log();
        let of_write = |line: &&str| line.contains(&format!("cluster={name}")) && line.contains("].weight ");
        let lines: Vec<&str> = log.lines().filter(of_write).collect();
        let says = |words: &str| lines.iter().all(|line| line.contains(words));
        let is_said =
            says("].weight 80→30, ") && says("].weight 20→70\"") && says("because=\"GlobalTrafficPolicy cluster-3/");
        assert!(lines.len() == 1 && is_said && !says("differs from the plan"), "{lines:#?}");
    }

    let since = world.marks().await;
    world.clusters[2].apply(vec![world.policy("payments", &[("default", edited)])]).await;
    for cluster in ALL {
        eventually("nothing is left of the prefix", SOON, async || {
            let hosts = world.hosts(cluster).await;
            if hosts.iter().any(|host| host.starts_with("west.")) { Err(format!("{hosts:?}")) } else { Ok(()) }
        })
        .await;
    }
    world.removal_sentinel(&ALL).await;
    let removed = world.writes(&since).await;
    assert!(removed.iter().all(|(write, count)| write.contains(" delete ") && write.contains(" west.") && *count == 1));
    assert_eq!(removed.len(), 6, "an entry and a rule in each cluster: {removed:#?}");
    let log = controller.log();
    let of_removals: Vec<&str> = log.lines().filter(|line| line.contains("no longer wanted")).collect();
    let is_said = |line: &&str| line.contains("because=\"GlobalTrafficPolicy cluster-3/");
    assert_eq!(
        of_removals.iter().filter(|line| line.contains("west.stage.payments") && is_said(line)).count(),
        6,
        "{of_removals:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dependency_brings_a_service_and_its_end_takes_it_away() {
    let world = World::shared().await;
    world.register(&ALL).await;
    world.deploy(&[0], "web").await;
    world.deploy(&[1], "payments").await;
    let _controller = world.start(&["--without-dependency=none"]).await;
    world.sees(1, &host("payments"), &[&world.local("payments")]).await;
    world.sees(0, &host("web"), &[&world.local("web")]).await;

    let since = world.marks().await;
    world.depend("web", &["payments"]).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1]]).await;
    world.depend("web", &["something-else"]).await;
    world.gone(0, &host("payments")).await;
    world.depend("web", &["payments"]).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1]]).await;
    world.hub().delete("Dependency.admiral.io", world.hub_namespace().as_str(), "web").await;
    world.gone(0, &host("payments")).await;

    assert_eq!(world.hosts(2).await, Vec::<String>::new(), "nobody there depends on anything");
    let writes = world.writes(&since).await;
    assert!(
        writes.iter().all(|(write, _)| write.starts_with("cluster-1") && write.contains("payments")),
        "{writes:#?}"
    );
    assert_eq!(writes.values().sum::<usize>(), 8, "two objects come and go twice: {writes:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_identity_environment_or_ignore_withdraws_the_old_and_publishes_the_new() {
    let world = World::shared().await;
    world.register(&ALL).await;
    world.deploy(&[1], "payments").await;
    let _controller = world.start(&[]).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1]]).await;
    let change = async |pointer: &str, key: &str, value: &str| {
        let mut deployment = world.deployment("payments");
        deployment.pointer_mut(pointer).expect("a place")[key] = json!(value);
        world.clusters[1].apply(vec![deployment]).await;
    };
    let labels = "/spec/template/metadata/labels";

    change(labels, &world.identity_key(), "billing").await;
    world.sees(0, &host("billing"), &[GATEWAYS[1]]).await;
    world.gone(0, &host("payments")).await;

    change(labels, "env", "prod").await;
    world.sees(0, "prod.payments.global", &[GATEWAYS[1]]).await;
    world.gone(0, &host("billing")).await;

    change(labels, "admiral-ignore", "true").await;
    world.gone(0, "prod.payments.global").await;

    change(labels, "app", "payments").await;
    world.sees(0, &host("payments"), &[GATEWAYS[1]]).await;
    assert_eq!(world.hosts(0).await, [host("payments")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_service_takes_its_endpoint_along_and_comes_back() {
    let world = World::shared().await;
    world.register(&ALL).await;
    world.deploy(&[1, 2], "payments").await;
    let controller = world.start(&[]).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1], GATEWAYS[2]]).await;
    world.clusters[1].delete("Service", world.namespace("payments").as_str(), "payments").await;
    world.sees(0, &host("payments"), &[GATEWAYS[2]]).await;
    noted(&controller, "service-missing", &["cluster-2", "payments"]).await;
    world.clusters[1].apply(vec![world.service("payments")]).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1], GATEWAYS[2]]).await;
    unnoted(&controller, "service-missing", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_namespaces_with_one_identity_both_count() {
    let world = World::shared().await;
    world.register(&ALL).await;
    world.deploy(&[1], "payments").await;
    let _controller = world.start(&[]).await;
    world.sees(1, &host("payments"), &[&world.local("payments")]).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1]]).await;

    let (mut deployment, mut service) = (world.deployment("payments"), world.service("payments"));
    let second = world.namespace("second");
    deployment["metadata"]["namespace"] = json!(second);
    service["metadata"]["namespace"] = json!(second);
    world.clusters[1].apply(vec![deployment, service]).await;
    let of_second = format!("payments.{second}.svc.cluster.local:8080");
    world.sees(1, &host("payments"), &[&world.local("payments"), &of_second]).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1]]).await;

    world.undeploy(1, "payments").await;
    world.sees(1, &host("payments"), &[&of_second]).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1]]).await;
}

/// A cluster joins and leaves while the controller runs.
async fn joins_and_leaves(flags: &[&str], is_cleaned: bool) {
    let world = World::shared().await;
    world.register(&[0, 1]).await;
    world.deploy(&[1, 2], "payments").await;
    let controller = world.start(flags).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1]]).await;

    world.register(&[2]).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1], GATEWAYS[2]]).await;
    world.sees(1, &host("payments"), &[&world.local("payments"), GATEWAYS[2]]).await;
    world.sees(2, &host("payments"), &[&world.local("payments"), GATEWAYS[1]]).await;

    let stands = world.hosts(2).await;
    assert_eq!(stands, [host("payments")]);
    // A life that never wrote there cleans as well.
    controller.kill();
    let controller = world.start(flags).await;
    let since = world.marks().await;
    world.confirm_leaving(2).await;
    world.unregister(2).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1]]).await;
    world.sees(1, &host("payments"), &[&world.local("payments")]).await;
    if is_cleaned {
        world.gone(2, &host("payments")).await;
    } else {
        world.removal_sentinel(&[0, 1]).await;
        let writes = world.writes(&since).await;
        assert!(!writes.keys().any(|write| write.starts_with("cluster-3")), "{writes:#?}");
        assert_eq!(world.hosts(2).await, stands);
    }

    // It comes back as if nothing had been.
    world.register(&[2]).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1], GATEWAYS[2]]).await;
    world.sees(2, &host("payments"), &[&world.local("payments"), GATEWAYS[1]]).await;

    // It leaves while nobody is there.
    controller.kill();
    world.unregister(2).await;
    let _controller = world.start(flags).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1]]).await;
    world.sees(1, &host("payments"), &[&world.local("payments")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_into_a_removed_cluster_stays_by_default() {
    joins_and_leaves(&[], false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_cluster_is_cleaned_on_request() {
    joins_and_leaves(&["--removed-cluster=clean"], true).await;
}

/// Secrets that vanish together, or lose their data, or one that returns in time, cost nothing; what is confirmed leaves.
// Invariant: No single reading of the cluster Secrets empties the fleet.
#[tokio::test(flavor = "multi_thread")]
async fn clusters_that_lose_their_registration_stay_until_it_is_certain_that_they_leave() {
    let world = World::shared().await;
    world.register(&ALL).await;
    world.deploy(&[1, 2], "payments").await;
    let controller = world.start(&["--removed-cluster=clean", "--removed-cluster-grace-seconds=3600"]).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1], GATEWAYS[2]]).await;
    world.sees(1, &host("payments"), &[&world.local("payments"), GATEWAYS[2]]).await;
    world.sees(2, &host("payments"), &[&world.local("payments"), GATEWAYS[1]]).await;
    let since = world.marks().await;

    let leaves_later = async |cluster: &str| noted(&controller, "cluster-leaving", &[cluster, "after 3600 s"]).await;
    world.unregister(2).await;
    leaves_later("cluster-3").await;
    world.register(&[2]).await;
    unnoted(&controller, "cluster-leaving", &[]).await;

    world.empty_secret(1).await;
    noted(&controller, "cluster-refused", &["it has no data", "cluster-2: the last good connection stays"]).await;
    world.register(&[1]).await;
    unnoted(&controller, "cluster-refused", &[]).await;

    for cluster in ALL {
        world.unregister(cluster).await;
    }
    for cluster in ["cluster-1", "cluster-2", "cluster-3"] {
        noted(&controller, "cluster-leaving", &[cluster, "3 clusters lost their registration together"]).await;
    }
    world.sentinel(&ALL).await;
    world.register(&[0, 1]).await;
    leaves_later("cluster-3").await;
    world.wrote_nothing(&since).await;

    let confirmation = json!([world.clusters[2].name()]);
    configure(&world, json!({"leavingClusters": confirmation})).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1]]).await;
    world.sees(1, &host("payments"), &[&world.local("payments")]).await;
    world.gone(2, &host("payments")).await;
    unnoted(&controller, "cluster-leaving", &[]).await;
}

/// Addresses are remembered by what is written, equal everywhere and different for each host.
// Invariant: An address outlives a restart and ends with its host.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_outlives_the_controller() {
    let world = World::shared().await;
    world.register(&ALL).await;
    world.deploy(&[1], "payments").await;
    world.deploy(&[2], "orders").await;
    let controller = world.start(&[]).await;
    let addresses = async |cluster: usize| {
        let mut addresses = Vec::new();
        for identity in ["orders", "payments"] {
            let what = format!("{identity} has an address");
            let entry =
                eventually(&what, SOON, async || world.entry(cluster, &host(identity)).await.ok_or_else(String::new));
            addresses.push(text(&entry.await["spec"]["addresses"][0]));
        }
        addresses
    };
    let first = addresses(0).await;
    assert!(first[0] != first[1] && first.iter().all(|address| address.starts_with("240.0.")), "{first:?}");
    assert_eq!((addresses(1).await, addresses(2).await), (first.clone(), first.clone()));

    controller.kill();
    // Sorted before the others: allocation anew would give it the first address.
    world.deploy(&[1], "aaa").await;
    let _controller = world.start(&[]).await;
    world.sees(0, &host("aaa"), &[GATEWAYS[1]]).await;
    assert_eq!(addresses(0).await, first);
    let aaa = world.entry(0, &host("aaa")).await.expect("it was just seen");
    assert!(!first.contains(&text(&aaa["spec"]["addresses"][0])));
}
