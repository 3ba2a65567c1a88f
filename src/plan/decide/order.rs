//! Which clusters are written first when a policy moves all traffic of a host to another region, so that its clients there
//! do not go on sending it back (Admiral, docs/admiral-behaviour.md#write-order).
//!
//! Decides the order only; what waits, and how long, is decided where it is written.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    api::{LbType, TrafficPolicyEntry},
    config::Settings,
    model::ClusterName,
};

/// The region to which an entry sends all traffic: the target with weight exactly 100.
pub(super) fn policy_region(entry: Option<&TrafficPolicyEntry>, settings: &Settings) -> Option<Arc<str>> {
    let entry = entry.filter(|entry| settings.prevent_split_brain && entry.lb_type == LbType::Failover)?;
    let mut all = entry.target.iter().filter(|target| target.weight == 100).map(|target| target.region.trim());
    all.rfind(|region| !region.is_empty()).map(Into::into)
}

/// Of the `sources`, with their regions, those in a region to which all traffic of some host moves. `moves` has, for each host,
/// the region of the policy and those by which its objects were written: while some cluster still holds the old one, the move
/// is under way.
pub(super) fn first<'a>(
    moves: impl Iterator<Item = (Option<Arc<str>>, Option<&'a BTreeSet<Arc<str>>>)>,
    sources: impl Iterator<Item = (&'a ClusterName, Option<&'a Arc<str>>)>,
) -> BTreeSet<ClusterName> {
    let moved = moves.filter_map(|(now, before)| {
        let (now, before) = (now?, before?);
        before.iter().any(|before| *before != now).then_some(now)
    });
    let regions: BTreeSet<Arc<str>> = moved.collect();
    let is_there = |region: Option<&Arc<str>>| region.is_some_and(|region| regions.contains(region));
    sources.filter(|(_, region)| is_there(*region)).map(|(cluster, _)| cluster.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::TrafficTarget;

    fn region_of(lb_type: LbType, targets: &[(&str, i64)], prevent_split_brain: bool) -> Option<String> {
        let target = |(region, weight): &(&str, i64)| TrafficTarget { region: (*region).into(), weight: *weight };
        let target = targets.iter().map(target).collect();
        let entry = TrafficPolicyEntry { lb_type, target, ..TrafficPolicyEntry::default() };
        let settings = Settings { prevent_split_brain, ..Settings::default() };
        policy_region(Some(&entry), &settings).map(|region| region.to_string())
    }

    #[test]
    fn all_traffic_goes_to_the_region_with_weight_100() {
        let west = Some("us-west".to_owned());
        assert_eq!(region_of(LbType::Failover, &[("us-east", 0), ("us-west", 100)], true), west);
        assert_eq!(
            region_of(LbType::Failover, &[("us-east", 100), ("us-west", 100)], true),
            west,
            "the last one counts"
        );
        for targets in [&[("us-east", 99), ("us-west", 1)][..], &[("us-west", 101)], &[(" ", 100)], &[]] {
            assert_eq!(region_of(LbType::Failover, targets, true), None, "{targets:?}");
        }
        assert_eq!(region_of(LbType::Topology, &[("us-west", 100)], true), None);
        assert_eq!(region_of(LbType::Failover, &[("us-west", 100)], false), None, "switched off");
        assert_eq!(policy_region(None, &Settings::default()), None);
    }

    #[test]
    fn clusters_of_the_new_region_are_first_as_long_as_some_object_names_the_old_one() {
        let [west, east]: [Arc<str>; 2] = ["us-west".into(), "us-east".into()];
        let clusters = ["cluster-1", "cluster-2", "cluster-3"].map(|name| ClusterName::parse(name).unwrap());
        let regions = [Some(&west), Some(&east), None];
        let first = |now: Option<&Arc<str>>, before: &[&Arc<str>]| {
            let before: BTreeSet<_> = before.iter().map(|region| Arc::clone(region)).collect();
            let moves = [(now.cloned(), Some(&before).filter(|before| !before.is_empty()))];
            let first = super::first(moves.into_iter(), clusters.iter().zip(regions));
            first.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(first(Some(&west), &[&east]), ["cluster-1"]);
        assert_eq!(first(Some(&east), &[&west]), ["cluster-2"]);
        assert_eq!(first(Some(&west), &[&east, &west]), ["cluster-1"], "half written");
        assert!(first(Some(&west), &[&west]).is_empty(), "written");
        assert!(first(Some(&west), &[]).is_empty(), "all traffic went nowhere before");
        assert!(first(None, &[&east]).is_empty(), "all traffic goes nowhere now");
        assert!(first(Some(&"eu-north".into()), &[&east]).is_empty(), "nobody runs it there");
    }

    #[test]
    fn each_host_moves_by_itself() {
        let [west, east]: [Arc<str>; 2] = ["us-west".into(), "us-east".into()];
        let cluster = ClusterName::parse("cluster-1").unwrap();
        let (stays, moves) = (BTreeSet::from([west.clone()]), BTreeSet::from([east]));
        let hosts = [(Some(west.clone()), Some(&stays)), (Some(west.clone()), Some(&moves)), (None, None)];
        let first = super::first(hosts.into_iter(), [(&cluster, Some(&west))].into_iter());
        assert_eq!(first.len(), 1);
    }
}
