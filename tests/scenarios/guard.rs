//! Removals of many objects at once wait for an operator; and the namespace that objects need.

use std::process::Command;

use serde_json::{Value, json};

use crate::{
    support::{Who, controller::Controller, eventually, file_for_test},
    world::{ALL, GATEWAYS, SOON, World, host, noted, unnoted},
};

const SERVICES: usize = 14;

fn identities() -> Vec<String> {
    (0..SERVICES).map(|number| format!("service-{number}")).collect()
}

/// Many services in the second cluster, all of which go at once.
async fn mass_removal(world: &World<'_>, flags: &[&str]) -> Controller {
    world.register(&ALL).await;
    let objects = identities().into_iter().flat_map(|identity| [world.deployment(&identity), world.service(&identity)]);
    world.clusters[1].apply(objects.collect()).await;
    world.deploy(&[2], "payments").await;
    let flags: Vec<&str> = ["--max-removal-floor=6"].iter().chain(flags).copied().collect();
    let controller = world.start(&flags).await;
    all_there(world).await;
    for identity in identities() {
        world.undeploy(1, &identity).await;
    }
    controller
}

async fn all_there(world: &World<'_>) {
    for cluster in ALL {
        eventually("all services are there", SOON, async || {
            let hosts = world.hosts(cluster).await;
            let there = identities().iter().all(|identity| hosts.contains(&host(identity)));
            if there { Ok(()) } else { Err(format!("{hosts:?}")) }
        })
        .await;
    }
}

async fn withheld_id(controller: &Controller, cluster: &str) -> String {
    let note = noted(controller, "removals-withheld", &[cluster, "release-removals"]).await;
    let message = note["message"].as_str().expect("a message").to_owned();
    message.rsplit(' ').next().expect("it ends with the id").to_owned()
}

async fn left(world: &World<'_>, cluster: usize) -> usize {
    let hosts = world.hosts(cluster).await;
    identities().iter().filter(|identity| hosts.contains(&host(identity))).count()
}

async fn all_gone(world: &World<'_>, cluster: usize) {
    eventually("what was released is gone", SOON, async || match left(world, cluster).await {
        0 => Ok(()),
        left => Err(format!("{left} are left")),
    })
    .await;
}

async fn annotate(world: &World<'_>, cluster: usize, id: &str) {
    let name = world.clusters[cluster].name();
    let annotated = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": name, "namespace": world.hub_namespace(), "labels": {"admiral/sync": "true"},
                     "annotations": {"tradewind.io/release-removals": id}},
        "stringData": {name: world.clusters[cluster].kubeconfig()},
    });
    world.hub().apply(vec![annotated]).await;
}

// Invariant: A mass removal waits for an operator.
#[tokio::test(flavor = "multi_thread")]
async fn a_mass_removal_waits_until_an_operator_releases_it() {
    let world = World::shared().await;
    let controller = mass_removal(&world, &[]).await;
    let id = withheld_id(&controller, "cluster-1").await;
    let second = withheld_id(&controller, "cluster-2").await;
    withheld_id(&controller, "cluster-3").await;
    // The budget is counted over a minute, so a part of them may have passed before.
    let kept: Vec<usize> = [left(&world, 0).await, left(&world, 1).await, left(&world, 2).await].into();
    assert!(kept.iter().all(|kept| *kept > SERVICES / 2), "{kept:?}");

    // Everything else goes on, and what is withheld stays.
    world.deploy(&[1], "payments").await;
    world.sees(0, &host("payments"), &[GATEWAYS[1], GATEWAYS[2]]).await;
    world.sentinel(&ALL).await;
    assert_eq!([left(&world, 0).await, left(&world, 1).await, left(&world, 2).await].to_vec(), kept);
    let metrics = controller.metrics().await.expect("metrics");
    let withheld = |line: &&str| line.starts_with("tradewind_removals_withheld") && line.contains("cluster-1");
    let withheld: Vec<&str> = metrics.lines().filter(withheld).collect();
    assert!(withheld.len() == 1 && !withheld[0].ends_with(" 0"), "{withheld:?}");

    // Any pod can post the right id: it changes nothing, then and later.
    let refused = controller.post(&format!("/api/clusters/cluster-1/release-removals?id={id}")).await;
    assert!(refused.as_ref().is_err_and(|error| error.contains("switched off")), "{refused:?}");

    annotate(&world, 0, "000000000000").await;
    annotate(&world, 1, &second).await;
    all_gone(&world, 1).await;
    assert_eq!([left(&world, 0).await, left(&world, 2).await], [kept[0], kept[2]], "neither a wrong id nor another's");
    annotate(&world, 0, &id).await;
    all_gone(&world, 0).await;
    unnoted(&controller, "removals-withheld", &["cluster-1"]).await;
    assert_eq!(left(&world, 2).await, kept[2]);
    assert!(controller.log().contains("the id on the cluster's Secret"), "{}", controller.last_words());
}

/// Accounts on the hub: `alice` may patch the Secret of the first cluster, `bob` may read it.
async fn accounts(world: &World<'_>) {
    let namespace = world.hub_namespace();
    let account = |name: &str, verb: &str| {
        format!(
            "
apiVersion: v1
kind: ServiceAccount
metadata: {{name: {name}, namespace: {namespace}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: {name}, namespace: {namespace}}}
rules: [{{apiGroups: [''], resources: [secrets], resourceNames: [cluster-1], verbs: [{verb}]}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: {name}, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {name}}}
subjects: [{{kind: ServiceAccount, namespace: {namespace}, name: {name}}}]
"
        )
    };
    world.hub().apply_yaml(&account("alice", "patch")).await;
    world.hub().apply_yaml(&account("bob", "get")).await;
}

// Invariant: A mass removal waits for an operator.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_releases_what_its_user_may_annotate_and_nothing_else() {
    let world = World::shared().await;
    let controller = mass_removal(&world, &["--release-over-http"]).await;
    accounts(&world).await;
    let (hub, namespace) = (world.hub(), world.hub_namespace());
    let id = withheld_id(&controller, "cluster-1").await;
    let second = withheld_id(&controller, "cluster-2").await;
    let kept = [left(&world, 0).await, left(&world, 1).await];
    let alice = hub.token_for(&namespace, "alice", &["tradewind.io"]).await;
    let bob = hub.token_for(&namespace, "bob", &["tradewind.io"]).await;
    let release = |cluster: &str, id: &str| format!("/api/clusters/{cluster}/release-removals?id={id}");

    let refused = async |token: &str, cluster: &str, id: &str, why: &str| {
        let answer = controller.post_as(token, &release(cluster, id)).await;
        assert!(answer.as_ref().is_err_and(|error| error.contains(why)), "{why}: {answer:?}");
    };
    assert!(controller.post(&release("cluster-1", &id)).await.is_err_and(|error| error.contains("token")));
    refused("nonsense", "cluster-1", &id, "does not take the token").await;
    // Tokens for the API server are never to be sent here, not even an administrator's.
    refused(&hub.token(Who::Admin), "cluster-1", &id, "does not take the token").await;
    refused(&hub.token_for(&namespace, "alice", &[]).await, "cluster-1", &id, "does not take the token").await;
    refused(&bob, "cluster-1", &id, "may not patch the Secret").await;
    refused(&alice, "cluster-2", &second, "may not patch the Secret").await;
    refused(&alice, "cluster-1", "000000000000", "nothing is withheld").await;
    world.sentinel(&ALL).await;
    assert_eq!([left(&world, 0).await, left(&world, 1).await], kept);

    controller.post_as(&alice, &release("cluster-1", &id)).await.expect("a release");
    all_gone(&world, 0).await;
    let log = controller.log();
    let released = log.lines().find(|line| line.contains("withheld removals were released")).expect("a line");
    assert!(released.contains(&format!("system:serviceaccount:{namespace}:alice")), "{released}");
    for token in [&alice, &bob] {
        assert!(!log.contains(token.as_str()), "a token is in the log");
    }
    assert_eq!(left(&world, 1).await, kept[1]);
}

// Invariant: A mass removal waits for an operator.
#[tokio::test(flavor = "multi_thread")]
async fn one_command_shows_and_releases_what_is_withheld_in_the_whole_fleet() {
    let world = World::shared().await;
    let controller = mass_removal(&world, &[]).await;
    for cluster in ["cluster-1", "cluster-2", "cluster-3"] {
        withheld_id(&controller, cluster).await;
    }
    let kept = left(&world, 2).await;
    accounts(&world).await;
    let (hub, url) = (world.hub(), controller.address());
    let file = |kubeconfig: &str| file_for_test("kubeconfig", kubeconfig).display().to_string();
    let withheld = async |arguments: &[&str], kubeconfig: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tradewind"));
        command.args(["withheld", "--controller", &url, "--kubeconfig", kubeconfig]).args(arguments);
        let output = tokio::task::spawn_blocking(move || command.output().expect("the binary runs")).await;
        let output = output.expect("it ends");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.code(), said)
    };

    // Bob may read the Secret of the first cluster and no more.
    let bob = hub.token_for(&world.hub_namespace(), "bob", &[]).await;
    let bob = file(&hub.kubeconfig_with(&hub.url(), &bob));
    let (code, said) = withheld(&["--release", "--yes"], &bob).await;
    assert!(code == Some(2) && said.matches("is forbidden: User").count() == 3, "{said}");
    assert_eq!(left(&world, 2).await, kept);

    let admin = file(&hub.kubeconfig());
    let (code, said) = withheld(&["cluster-1", "cluster-2", "--release", "--yes"], &admin).await;
    assert!(code == Some(0) && said.contains("cluster-1: released") && said.contains("cluster-2: released"), "{said}");
    all_gone(&world, 0).await;
    all_gone(&world, 1).await;
    assert_eq!(left(&world, 2).await, kept);
    let (code, said) = withheld(&[], &admin).await;
    assert!(code == Some(1) && said.contains("cluster-3") && !said.contains("cluster-1"), "{said}");
    assert_eq!(withheld(&["--release", "-y"], &admin).await.0, Some(0));
    all_gone(&world, 2).await;
    assert_eq!(withheld(&[], &admin).await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withheld_removal_ends_when_the_services_come_back() {
    let world = World::shared().await;
    let controller = mass_removal(&world, &[]).await;
    withheld_id(&controller, "cluster-1").await;
    let objects = identities().into_iter().map(|identity| world.deployment(&identity));
    world.clusters[1].apply(objects.collect()).await;
    unnoted(&controller, "removals-withheld", &[]).await;
    all_there(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_sync_namespace_is_created_or_reported() {
    let world = World::shared().await;
    for cluster in world.clusters {
        cluster.delete("Namespace", None, &world.sync_namespace()).await;
    }
    world.register(&[0, 1]).await;
    // May do everything but create namespaces.
    let limited: Vec<Value> = crate::support::documents(&format!(
        "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: writer-{id}}}
rules:
- {{apiGroups: ['*'], resources: ['*'], verbs: [get, list, watch]}}
- {{apiGroups: [networking.istio.io], resources: ['*'], verbs: ['*']}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: writer-{id}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: writer-{id}}}
subjects: [{{kind: ServiceAccount, namespace: {namespace}, name: writer}}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: writer, namespace: {namespace}}}
",
        id = world.hub_namespace(),
        namespace = world.hub_namespace(),
    ));
    let third = &world.clusters[2];
    third.apply(limited).await;
    let token = third.service_account_token(&world.hub_namespace(), "writer").await;
    assert!(!token.is_empty() && third.token(Who::Admin) != token);
    world.register_through(2, &third.kubeconfig_with(&third.url(), &token)).await;
    world.deploy(&[1], "payments").await;

    let controller = world.start(&[]).await;
    world.sees(0, &host("payments"), &[GATEWAYS[1]]).await;
    world.sees(1, &host("payments"), &[&world.local("payments")]).await;
    let note = noted(&controller, "sync-namespace-missing", &["cluster-3", &world.sync_namespace()]).await;
    assert!(!note.to_string().contains(&token) && !controller.log().contains(&token));
    assert_eq!(world.hosts(2).await, Vec::<String>::new());

    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": world.sync_namespace()}});
    third.apply(vec![namespace]).await;
    world.sees(2, &host("payments"), &[GATEWAYS[1]]).await;
    unnoted(&controller, "sync-namespace-missing", &[]).await;
}
