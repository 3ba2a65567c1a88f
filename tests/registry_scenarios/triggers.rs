//! What made a service be planned again: the object that changed first, and how many changed after it.

use super::*;

fn because(world: &World, identity: &str) -> String {
    let units = world.registry.take_triggered();
    units.get(&WorkKey::Service(key(identity, "stage"))).map(ToString::to_string).unwrap_or_default()
}

fn push(world: &World, name: &str, text: &str) {
    for object in manifests(&world.observer, text) {
        world.registry.apply(&cluster(name), object);
    }
}

#[test]
fn the_first_change_is_named_and_the_others_are_counted() {
    let fleet = payments();
    let world = World::new(Settings::default());
    for (name, text) in &fleet {
        list(&world, name, text, &Objects::new(), &[]);
    }
    world.registry.fleet_listed();
    assert_eq!(because(&world, "payments"), "start of the controller");

    let mut world = running(&Settings::default(), &fleet);
    world.settle();
    push(&world, "cluster-2", &policy("us-west", "us-east"));
    assert_eq!(because(&world, "payments"), "GlobalTrafficPolicy cluster-2/payments/payments");
    push(&world, "cluster-2", &policy("us-east", "us-west"));
    push(&world, "cluster-2", &policy("us-west", "us-east"));
    push(&world, "cluster-3", &gateway("192.0.2.33"));
    assert_eq!(because(&world, "payments"), "GlobalTrafficPolicy cluster-2/payments/payments and 1 other");
    world.registry.delete(&cluster("cluster-2"), &ObjectId::new(Kind::Deployment, "payments", "payments"));
    assert_eq!(because(&world, "payments"), "Deployment cluster-2/payments/payments");
    let changed = dependency("orders", "payments").replace("[payments]", "[payments, ledger]");
    push(&world, "cluster-1", &changed);
    push(&world, "cluster-3", &node("eu-west"));
    assert_eq!(because(&world, "payments"), "Dependency cluster-1/admiral/orders and 1 other");
    world.registry.deregister(&cluster("cluster-3"));
    assert_eq!(because(&world, "payments"), "cluster cluster-3, which joined, left, changed or became readable");
    world.registry.mark([WorkKey::Service(key("payments", "stage"))]);
    assert_eq!(because(&world, "payments"), "retry of an earlier write");
}
