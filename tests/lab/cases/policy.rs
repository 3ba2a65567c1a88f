//! Policies of payments, as its owners would write them, and what is expected of them.

use crate::{load::Outcome, world::World};

/// Ejects a dead region after five errors, for ten seconds: the defaults are 50 errors and five minutes, which is long
/// for a table that a person waits for.
pub const QUICK_EJECTION: &str = "{consecutive_gateway_errors: 5, interval: 1, base_ejection_time: 10}";

/// One entry: for a host's prefix, the regions and their weights in order.
pub fn entry(prefix: &str, targets: &[(&str, u32)]) -> String {
    let targets: Vec<String> =
        targets.iter().map(|(region, weight)| format!("{{region: {region}, weight: {weight}}}")).collect();
    format!("{{dnsPrefix: {prefix}, lbType: 1, outlier_detection: {QUICK_EJECTION}, target: [{}]}}", targets.join(", "))
}

/// The entry of the service's own host that sends everybody to the nearest region.
pub fn nearest() -> String {
    format!("{{dnsPrefix: default, lbType: 0, outlier_detection: {QUICK_EJECTION}}}")
}

/// The policy in whole.
pub fn of(entries: &[String]) -> String {
    format!(
        "apiVersion: admiral.io/v1alpha1\n\
         kind: GlobalTrafficPolicy\n\
         metadata: {{name: payments, namespace: payments-east, labels: {{identity: payments, env: stage}}}}\n\
         spec: {{policy: [{}]}}\n",
        entries.join(", ")
    )
}

/// Sets the policy for the service's own host.
pub async fn set(world: &World, targets: &[(&str, u32)]) {
    world.policy(&of(&[entry("default", targets)])).await;
}

/// Whether so many of so many are a share, but for chance: four standard deviations of independent draws, which one
/// honest run in 16,000 misses.
pub fn is_share(count: u64, total: u64, share: f64) -> bool {
    let (count, total) = (count as f64, total as f64);
    let bound = 4.0 * (total * share * (1.0 - share)).sqrt();
    (count - total * share).abs() <= bound.max(0.5)
}

/// Panics unless every request was answered, and by each cluster its share of them.
pub fn assert_shares(who: &str, outcome: &Outcome, shares: &[(&str, f64)]) {
    assert_eq!(outcome.failures(), 0, "{who}: {}", outcome.line());
    for (cluster, share) in shares {
        let count = outcome.by(cluster);
        assert!(is_share(count, outcome.total(), *share), "{who}: {cluster} has not {share}: {}", outcome.line());
    }
}
