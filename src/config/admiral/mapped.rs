//! Flags of the reference that become settings of another name or another form.

use super::Values;

/// What a flag's value becomes, given the values of all flags.
pub(super) type Mapping = fn(&[String], &Values) -> Result<Became, String>;

/// Settings, and what there is to say about them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Became {
    /// Field of the settings, and its text.
    pub setting: Option<(&'static str, String)>,
    /// Said in the file.
    pub remark: Option<&'static str>,
}

impl Became {
    fn setting(field: &'static str, text: impl Into<String>) -> Result<Self, String> {
        Ok(Self { setting: Some((field, text.into())), remark: None })
    }

    fn remark(remark: &'static str) -> Result<Self, String> {
        Ok(Self { setting: None, remark: Some(remark) })
    }
}

fn text(value: &[String]) -> &str {
    value.first().map(String::as_str).unwrap_or_default()
}

pub(super) fn sidecars(value: &[String], _: &Values) -> Result<Became, String> {
    Became::setting("sidecars", if text(value) == "enabled" { "merge" } else { "off" })
}

pub(super) fn addresses(value: &[String], _: &Values) -> Result<Became, String> {
    Became::setting("addresses", if text(value) == "true" { "istio" } else { "tradewind" })
}

pub(super) fn address_range(value: &[String], _: &Values) -> Result<Became, String> {
    let prefix = text(value).trim_end_matches('.');
    let octets: Vec<Option<u8>> = prefix.split('.').map(|octet| octet.parse().ok()).collect();
    match octets[..] {
        [Some(first), Some(second)] => Became::setting("address_range", format!("{first}.{second}.0.0/16")),
        _ => Err(format!("{prefix:?} is not the first two numbers of an IPv4 address, such as 240.0")),
    }
}

pub(super) fn local_fqdn(value: &[String], values: &Values) -> Result<Became, String> {
    match (text(value), values.text("enable_absolute_fqdn")) {
        ("true", "false") => Became::remark("without enable_absolute_fqdn it has no effect in Admiral either"),
        (local, _) => Became::setting("enable_absolute_fqdn_for_local_endpoints", local),
    }
}

pub(super) fn state_checker(value: &[String], _: &Values) -> Result<Became, String> {
    if text(value).eq_ignore_ascii_case("NoOPStateChecker") {
        return Ok(Became::default());
    }
    Became::remark("there is no lease in DynamoDB; where a second instance stands by, give it readOnly: true")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_numbers_make_a_range() {
        let range = |text: &str| address_range(&[text.to_owned()], &Values::default());
        assert_eq!(range("240.0").unwrap().setting, Some(("address_range", "240.0.0.0/16".into())));
        assert_eq!(range("10.77.").unwrap().setting, Some(("address_range", "10.77.0.0/16".into())));
        for bad in ["240", "240.0.1", "240.x", "", "240.256"] {
            assert!(range(bad).is_err(), "{bad}");
        }
    }
}
