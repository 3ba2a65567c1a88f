//! Admiral's command line as flags and values, read as its library reads it (spf13/pflag): no flag is known here.

use super::{
    flag_error::FlagError,
    flags::{FLAGS, Flag, named},
};

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// A text.
    Text,
    /// `true` or `false`; the flag alone is `true`, and another value needs the `=`.
    Switch,
    /// A whole number.
    Integer,
    /// A time, such as `5m`.
    Duration,
    /// Texts separated by commas; may be repeated.
    List,
    /// `key=value` pairs separated by commas; may be repeated.
    Map,
}

impl Takes {
    /// In words, for the reference page.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Switch => "true or false",
            Self::Integer => "number",
            Self::Duration => "duration",
            Self::List => "list",
            Self::Map => "map",
        }
    }

    /// One text for all but lists (their items) and maps (`key=value` each). What was given first is replaced by what comes
    /// later, but for lists and maps, which add up.
    pub(super) fn read(self, given: &[String]) -> Result<Vec<String>, FlagError> {
        let last = given.last().map(String::as_str).unwrap_or_default();
        match self {
            Self::Text => Ok(vec![last.to_owned()]),
            Self::Switch => match last {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(vec!["true".into()]),
                "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(vec!["false".into()]),
                _ => Err(FlagError::NotASwitch(last.to_owned())),
            },
            Self::Integer => match integer(last) {
                Some(number) => Ok(vec![number.to_string()]),
                None => Err(FlagError::NotANumber(last.to_owned())),
            },
            Self::Duration if is_duration(last) => Ok(vec![last.to_owned()]),
            Self::Duration => Err(FlagError::NotADuration(last.to_owned())),
            Self::List => {
                let items: Result<Vec<Vec<String>>, FlagError> = given.iter().map(|text| fields(text)).collect();
                Ok(items?.concat())
            }
            Self::Map => pairs(given),
        }
    }
}

/// What was given: each flag with its texts in order, and the words that belong to no flag, with what precedes them.
#[derive(Default)]
pub(super) struct Given {
    pub(super) flags: Vec<(&'static Flag, Vec<String>)>,
    pub(super) stray: Vec<String>,
    pub(super) problems: Vec<String>,
}

impl Given {
    fn add(&mut self, flag: &'static Flag, text: &str) {
        match self.flags.iter_mut().find(|(known, _)| known.name == flag.name) {
            Some((_, texts)) => texts.push(text.to_owned()),
            None => self.flags.push((flag, vec![text.to_owned()])),
        }
    }
}

/// Reads a command line.
pub(super) fn read(words: &[String]) -> Given {
    let mut given = Given::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (shown, flag, value) = if word == "--" {
            given.stray.extend(words.by_ref().cloned());
            break;
        } else if let Some(rest) = word.strip_prefix("--") {
            let (name, value) = rest.split_once('=').map_or((rest, None), |(name, value)| (name, Some(value)));
            (format!("--{name}"), named(name), value)
        } else if let Some(rest) = word.strip_prefix('-').filter(|rest| !rest.is_empty()) {
            let (letter, value) = rest.split_at(rest.chars().next().map_or(0, char::len_utf8));
            let flag = FLAGS.iter().find(|flag| flag.letter.is_some_and(|of| letter.chars().eq([of])));
            let value = value.strip_prefix('=').unwrap_or(value);
            (format!("-{letter}"), flag, Some(value).filter(|value| !value.is_empty()))
        } else {
            given.stray.push(word.clone());
            continue;
        };
        match (flag, value) {
            (None, _) => given.problems.push(unknown(&shown)),
            (Some(flag), Some(value)) => given.add(flag, value),
            (Some(flag), None) if flag.takes == Takes::Switch => given.add(flag, "true"),
            (Some(flag), None) => match words.next() {
                Some(value) => given.add(flag, value),
                None => given.problems.push(format!("{shown}: its value is missing")),
            },
        }
    }
    given
}

/// Farthest a misspelt flag may be from the one that is suggested, in edits.
const MAX_SUGGESTION_EDITS: usize = 4;

fn unknown(shown: &str) -> String {
    let folded = |name: &str| name.trim_start_matches('-').to_ascii_lowercase().replace(['_', '-'], "");
    let name = folded(shown);
    let limit = MAX_SUGGESTION_EDITS.min(name.chars().count() / 3);
    let near = FLAGS
        .iter()
        .map(|flag| (strsim::damerau_levenshtein(&name, &folded(flag.name)), flag.name))
        .filter(|(edits, _)| *edits <= limit)
        .min();
    match near {
        Some((_, near)) => format!("{shown} is no flag of Admiral; did you mean --{near}?"),
        None => format!("{shown} is no flag of Admiral"),
    }
}

/// As Go reads a number whose base is given by its prefix.
fn integer(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (base, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, &lower[..]),
    };
    let number = i64::from_str_radix(digits, base).ok().filter(|_| !digits.starts_with(['+', '-']))?;
    Some(sign * number)
}

fn is_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let unit = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"].into_iter().filter(|unit| tail.starts_with(unit));
        let Some(unit) = unit.max_by_key(|unit| unit.len()) else { return false };
        if !number.contains(|c: char| c.is_ascii_digit()) || number.matches('.').count() > 1 {
            return false;
        }
        rest = &tail[unit.len()..];
    }
    !text.is_empty()
}

/// The fields of one line of comma-separated values; a field in double quotes may hold commas.
fn fields(text: &str) -> Result<Vec<String>, FlagError> {
    let mut found = Vec::new();
    let mut rest = text;
    if rest.is_empty() {
        return Ok(found);
    }
    loop {
        let Some(quoted) = rest.strip_prefix('"') else {
            let (field, tail) = rest.split_once(',').map_or((rest, None), |(field, tail)| (field, Some(tail)));
            if field.contains('"') {
                return Err(FlagError::QuoteInsideField(text.to_owned()));
            }
            found.push(field.to_owned());
            match tail {
                Some(tail) => rest = tail,
                None => return Ok(found),
            }
            continue;
        };
        let (mut field, mut after) = (String::new(), quoted);
        loop {
            let (part, tail) = after.split_once('"').ok_or_else(|| FlagError::UnclosedQuote(text.to_owned()))?;
            field.push_str(part);
            match tail.strip_prefix('"') {
                Some(tail) => {
                    field.push('"');
                    after = tail;
                }
                None => {
                    after = tail;
                    break;
                }
            }
        }
        found.push(field);
        match (after.is_empty(), after.strip_prefix(',')) {
            (true, _) => return Ok(found),
            (_, Some(tail)) => rest = tail,
            _ => return Err(FlagError::TextAfterQuote(text.to_owned())),
        }
    }
}

/// A single pair may hold commas in its value; several are comma-separated values, whose fields may be quoted.
fn pairs(given: &[String]) -> Result<Vec<String>, FlagError> {
    let mut all: Vec<(String, String)> = Vec::new();
    for text in given {
        let found = match text.matches('=').count() {
            0 => return Err(FlagError::NotAPair(text.clone())),
            1 => vec![text.trim_matches('"').to_owned()],
            _ => fields(text)?,
        };
        for pair in found {
            let (key, value) = pair.split_once('=').ok_or_else(|| FlagError::NotAPair(pair.clone()))?;
            all.retain(|(known, _)| known != key);
            all.push((key.to_owned(), value.to_owned()));
        }
    }
    all.sort();
    Ok(all.into_iter().map(|(key, value)| format!("{key}={value}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn given(words: &[&str]) -> Vec<String> {
        let given = read(&texts(words));
        assert_eq!(given.problems, [""; 0]);
        let flags = given.flags.iter().map(|(flag, texts)| format!("{}={}", flag.name, texts.join("|")));
        flags.chain(given.stray.iter().map(|word| format!("stray {word}"))).collect()
    }

    #[test]
    fn flags_are_read_as_the_references_library_does() {
        assert_eq!(given(&["--gateway_app", "gw", "--san_prefix=a=b"]), ["gateway_app=gw", "san_prefix=a=b"]);
        assert_eq!(given(&["--metrics", "--enable_san=false"]), ["metrics=true", "enable_san=false"]);
        assert_eq!(given(&["--enable_san", "false"]), ["enable_san=true", "stray false"]);
        assert_eq!(given(&["--gateway_app", "--metrics"]), ["gateway_app=--metrics"], "a value is a value");
        assert_eq!(given(&["--dns_retries", "-1"]), ["dns_retries=-1"]);
        assert_eq!(given(&["--env_key=a", "--env_key", "b"]), ["env_key=a|b"]);
        assert_eq!(
            given(&["-e", "*=a", "-e=b=c", "-db=*"]),
            ["vs_routing_in_cluster_enabled_resources=*=a|b=c", "vs_routing_in_cluster_disabled_resources=b=*"]
        );
        assert_eq!(given(&["--metrics", "--", "--env_key"]), ["metrics=true", "stray --env_key"]);
    }

    #[test]
    fn what_is_no_flag_names_the_nearest() {
        let problems = |words: &[&str]| read(&texts(words)).problems;
        assert_eq!(
            problems(&["--hostname-sufix=x"]),
            ["--hostname-sufix is no flag of Admiral; did you mean --hostname_suffix?"]
        );
        assert_eq!(problems(&["--nonsense"]), ["--nonsense is no flag of Admiral"]);
        assert_eq!(problems(&["-x"]), ["-x is no flag of Admiral"]);
        assert_eq!(problems(&["--env_key"]), ["--env_key: its value is missing"]);
    }

    #[test]
    fn values_are_read_by_their_type() {
        let read = |takes: Takes, given: &[&str]| takes.read(&texts(given)).map(|items| items.join(" ; "));
        assert_eq!(read(Takes::Switch, &["T"]), Ok("true".into()));
        assert!(read(Takes::Switch, &["yes"]).is_err());
        assert_eq!(read(Takes::Integer, &["0x10"]), Ok("16".into()));
        assert_eq!(read(Takes::Integer, &["010"]), Ok("8".into()));
        assert_eq!(read(Takes::Integer, &["-7"]), Ok("-7".into()));
        assert!(read(Takes::Integer, &["1.5"]).is_err() && read(Takes::Integer, &["--1"]).is_err());
        for good in ["0", "20s", "1h30m", "1.5h", "100ms"] {
            assert!(read(Takes::Duration, &[good]).is_ok(), "{good}");
        }
        for bad in ["", "5", "m", "1.2.3s", "5 m"] {
            assert!(read(Takes::Duration, &[bad]).is_err(), "{bad}");
        }
        assert_eq!(read(Takes::List, &["a,b", "c"]), Ok("a ; b ; c".into()));
        assert_eq!(read(Takes::List, &["\"a,b\",\"say \"\"x\"\"\""]), Ok("a,b ; say \"x\"".into()));
        assert_eq!(read(Takes::List, &[""]), Ok(String::new()));
        assert!(read(Takes::List, &["\"a"]).is_err() && read(Takes::List, &["a\"b"]).is_err());
        assert_eq!(read(Takes::Map, &["c1=a,b"]), Ok("c1=a,b".into()), "one pair may hold commas");
        assert_eq!(read(Takes::Map, &["*=a,\"c1=x,y\"", "*=b"]), Ok("*=b ; c1=x,y".into()));
        assert!(read(Takes::Map, &["a"]).is_err());
    }
}
