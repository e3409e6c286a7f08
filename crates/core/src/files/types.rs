//! Which types of files are taken: the setting `FILE_TYPES`.

use std::fmt;
use std::str::FromStr;

/// Media types, each whole (`application/pdf`) or a family (`image/*`). None: all are taken. Pictures that may hold scripts
/// are of no family: who wants them names them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Types(Box<[Box<str>]>);

const SCRIPTED: &str = "image/svg+xml";

impl Types {
    pub fn take(&self, kind: &str) -> bool {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let is_meant = |meant: &str| match meant.strip_suffix('*') {
            Some(family) => kind.len() > family.len() && kind.starts_with(family) && kind != SCRIPTED,
            None => kind == meant,
        };
        self.0.is_empty() || self.0.iter().any(|meant| is_meant(meant))
    }
}

/// Comma-separated.
impl FromStr for Types {
    type Err = String;

    fn from_str(list: &str) -> Result<Self, String> {
        let parsed = |meant: &str| {
            let is_name = |name: &str| {
                !name.is_empty()
                    && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
            };
            match meant.split_once('/') {
                Some((family, "*")) if is_name(family) => Ok(meant.to_ascii_lowercase().into()),
                Some((family, kind)) if is_name(family) && is_name(kind) => {
                    Ok(meant.to_ascii_lowercase().into())
                }
                _ => Err(format!(
                    "{meant:?} is no media type; write image/* or application/pdf, separated by commas"
                )),
            }
        };
        list.split(',')
            .map(str::trim)
            .filter(|meant| !meant.is_empty())
            .map(parsed)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl fmt::Display for Types {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "in a test a panic is a result")]
mod tests {
    use super::*;

    #[test]
    fn families_and_single_types_are_told_apart() {
        let types: Types = " image/*, Application/PDF ".parse().unwrap();
        assert_eq!(types.to_string(), "image/*,application/pdf");
        for kind in ["image/png", "application/pdf", "application/pdf; charset=x"] {
            assert!(types.take(kind), "{kind}");
        }
        assert!("image/*,image/svg+xml".parse::<Types>().unwrap().take(SCRIPTED));
        for kind in [SCRIPTED, "image/", "imagery/png", "application/pdfx", "text/html", ""] {
            assert!(!types.take(kind), "{kind}");
        }
    }

    #[test]
    fn none_named_are_all_taken() {
        for list in ["", " , "] {
            assert!(list.parse::<Types>().unwrap().take("text/html"));
        }
    }

    #[test]
    fn what_is_no_type_is_named() {
        for list in ["png", "*/*", "image/png,*", "image/", "/png", "image/p ng"] {
            assert!(list.parse::<Types>().unwrap_err().contains("is no media type"), "{list}");
        }
    }
}
