//! Identities of API gateways that serve one partition each.

/// Splits an identity that ends with a dot and one of `aliases`, in any case, into its partition and the alias
/// (Admiral, docs/admiral-behaviour.md#partitions).
#[must_use]
pub fn gateway_of_partition<'a>(identity: &'a str, aliases: &'a [String]) -> Option<(&'a str, &'a str)> {
    aliases.iter().find_map(|alias| {
        let (partition, tail) = identity.split_at_checked(identity.len().checked_sub(alias.len())?)?;
        let partition = partition.strip_suffix('.').filter(|partition| !partition.is_empty())?;
        (!alias.is_empty() && tail.eq_ignore_ascii_case(alias)).then_some((partition, alias.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alias_is_the_end_of_the_identity_in_any_case() {
        let aliases = ["Shop.gateway".to_owned(), "edge".to_owned(), String::new()];
        let split = |identity| gateway_of_partition(identity, &aliases);
        assert_eq!(split("west.shop.Gateway"), Some(("west", "Shop.gateway")));
        assert_eq!(split("a.b.edge"), Some(("a.b", "edge")));
        for other in ["Shop.gateway", ".edge", "westedge", "edge", "ä.edg", "payments", ""] {
            assert_eq!(split(other), None, "{other}");
        }
    }
}
