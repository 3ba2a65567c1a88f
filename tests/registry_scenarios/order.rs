//! The order of clusters when all traffic moves: also after a restart, and while a cluster is out of reach.

use super::*;

/// The clusters that are written first when payments is planned now.
fn first(world: &World) -> Vec<String> {
    let plan = planning::plan_service(&world.registry, &key("payments", "stage")).expect("payments is known");
    plan.decision.first.iter().map(ToString::to_string).collect()
}

#[test]
fn the_clusters_of_the_region_that_gets_all_traffic_come_first_until_all_is_written() {
    let fleet = with(payments(), "cluster-3", &policy("us-east", "us-west"));
    let mut world = running(&Settings::default(), &fleet);
    assert!(first(&world).is_empty());
    // cluster-1 is in that region too, and runs nothing of it.
    apply(&mut world, "cluster-3", &policy("us-west", "us-east"));
    assert_eq!(first(&world), ["cluster-2"]);
    world.write_back();
    world.settle();
    assert!(first(&world).is_empty());
    apply(&mut world, "cluster-3", &policy("us-east", "us-west"));
    assert_eq!(first(&world), ["cluster-3"]);

    let split =
        policy("us-east", "us-west").replace("weight: 100}, {", "weight: 60}, {").replace("weight: 0", "weight: 40");
    apply(&mut world, "cluster-3", &split);
    assert!(first(&world).is_empty(), "a split takes all traffic nowhere");

    let settings = Settings { prevent_split_brain: false, ..Settings::default() };
    let mut world = running(&settings, &fleet);
    apply(&mut world, "cluster-3", &policy("us-west", "us-east"));
    assert!(first(&world).is_empty());
}

// Invariant: When all traffic moves to a region, the clusters there are written first, and an unreachable region delays
// no other.
#[test]
fn a_move_is_noticed_after_a_restart_and_while_it_is_half_written() {
    let settings = Settings::default();
    let [before, after] = [("us-east", "us-west"), ("us-west", "us-east")]
        .map(|(one, other)| with(payments(), "cluster-3", &policy(one, other)));
    let [old, new] = [&before, &after].map(|fleet| running(&settings, fleet).picture().objects);
    let world = restarted(&settings, &after, &old, "", &[]);
    assert_eq!(first(&world), ["cluster-2"], "the policy changed while the controller was down");

    let mut half = in_clusters(&new, &["cluster-1", "cluster-2"]);
    half.extend(in_clusters(&old, &["cluster-3"]));
    let world = restarted(&settings, &after, &half, "", &[]);
    assert_eq!(first(&world), ["cluster-2"], "cluster-3 still holds the old");
    let world = restarted(&settings, &after, &new, "", &[]);
    assert!(first(&world).is_empty());

    // What stands there cannot be read, and the workloads neither: it still is where the traffic goes.
    let world = restarted(&settings, &after, &old, "cluster-2", &everything());
    assert_eq!(first(&world), ["cluster-2"]);
}
