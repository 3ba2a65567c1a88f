//! How the text of a setting becomes a value, whatever source it came from.
//!
//! All sources hand over the same thing, a list of texts (one for all but lists), so a value is
//! accepted or refused alike in the file, on the command line and in the environment.

use std::{fmt::Display, net::SocketAddr, path::PathBuf};

use crate::model::Kind;

/// How many texts make a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Exactly one.
    One,
    /// One; the flag alone means `true`.
    Switch,
    /// Any number: a YAML list, or separated by commas.
    Many,
}

/// Why a value is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Which of several texts is the bad one; `None` when it is all of them together.
    pub item: Option<usize>,
    /// What is wrong, where the allowed values alone do not say it.
    pub why: Option<&'static str>,
}

impl Refusal {
    /// It is none of the allowed values.
    pub const fn not_allowed() -> Self {
        Self { item: None, why: None }
    }

    /// A specific reason.
    pub const fn because(why: &'static str) -> Self {
        Self { item: None, why: Some(why) }
    }
}

/// A type of setting.
pub(super) trait Value: Sized {
    /// How many texts it is made of.
    const FORM: Form;
    /// Its name in the help text.
    const PLACEHOLDER: &'static str;
    /// Its words with their meanings, where it is one of a few.
    const WORDS: &'static [(&'static str, &'static str)] = &[];

    /// Takes the texts.
    fn read(items: &[&str]) -> Result<Self, Refusal>;

    /// The text that `read` takes; items of lists joined by commas.
    fn show(&self) -> String;
}

/// The only text.
pub(super) fn single<'a>(items: &[&'a str]) -> Result<&'a str, Refusal> {
    match items {
        [item] => Ok(item),
        _ => Err(Refusal::because("it is one value, not a list")),
    }
}

macro_rules! parsed {
    ($($type:ty, $placeholder:literal;)+) => {$(
        impl Value for $type {
            const FORM: Form = Form::One;
            const PLACEHOLDER: &'static str = $placeholder;

            fn read(items: &[&str]) -> Result<Self, Refusal> {
                single(items)?.parse().map_err(|_| Refusal::not_allowed())
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )+};
}

parsed! {
    String, "TEXT";
    u32, "NUMBER";
    i32, "NUMBER";
    usize, "NUMBER";
    SocketAddr, "ADDRESS";
    ipnet::Ipv4Net, "RANGE";
}

impl Value for bool {
    const FORM: Form = Form::Switch;
    const PLACEHOLDER: &'static str = "true|false";

    fn read(items: &[&str]) -> Result<Self, Refusal> {
        match single(items)? {
            text if text.eq_ignore_ascii_case("true") => Ok(true),
            text if text.eq_ignore_ascii_case("false") => Ok(false),
            _ => Err(Refusal::not_allowed()),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for Option<SocketAddr> {
    const FORM: Form = Form::One;
    const PLACEHOLDER: &'static str = "ADDRESS";

    fn read(items: &[&str]) -> Result<Self, Refusal> {
        match single(items)? {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| Refusal::not_allowed()),
        }
    }

    fn show(&self) -> String {
        self.map(|address| address.to_string()).unwrap_or_default()
    }
}

impl Value for Option<PathBuf> {
    const FORM: Form = Form::One;
    const PLACEHOLDER: &'static str = "FILE";

    fn read(items: &[&str]) -> Result<Self, Refusal> {
        Ok(Some(single(items)?).filter(|text| !text.is_empty()).map(PathBuf::from))
    }

    fn show(&self) -> String {
        self.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
    }
}

impl Value for Option<String> {
    const FORM: Form = Form::One;
    const PLACEHOLDER: &'static str = "NAME";

    fn read(items: &[&str]) -> Result<Self, Refusal> {
        Ok(Some(single(items)?).filter(|text| !text.is_empty()).map(str::to_owned))
    }

    fn show(&self) -> String {
        self.clone().unwrap_or_default()
    }
}

impl Value for Vec<String> {
    const FORM: Form = Form::Many;
    const PLACEHOLDER: &'static str = "LIST";

    fn read(items: &[&str]) -> Result<Self, Refusal> {
        each(items, |text| (!text.is_empty()).then(|| text.to_owned()))
    }

    fn show(&self) -> String {
        self.join(",")
    }
}

impl Value for Vec<Kind> {
    const FORM: Form = Form::Many;
    const PLACEHOLDER: &'static str = "LIST";

    fn read(items: &[&str]) -> Result<Self, Refusal> {
        each(items, |text| {
            Kind::WORKLOADS.iter().chain(Kind::CLIENTS).copied().find(|kind| kind.as_str().eq_ignore_ascii_case(text))
        })
    }

    fn show(&self) -> String {
        joined(self.iter().map(|kind| kind.as_str()))
    }
}

fn each<T: PartialEq>(items: &[&str], read: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, Refusal> {
    let mut values = Vec::with_capacity(items.len());
    for (item, text) in items.iter().enumerate() {
        let refused = |why| Refusal { item: Some(item), why };
        let value = read(text).ok_or(refused(None))?;
        if values.contains(&value) {
            return Err(refused(Some("it stands in the list twice")));
        }
        values.push(value);
    }
    Ok(values)
}

fn joined(items: impl Iterator<Item = impl Display>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}
