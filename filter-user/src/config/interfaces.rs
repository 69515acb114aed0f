//! The interfaces to filter: the name of one, or a list of names.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The names of the interfaces to filter, in the order in which their queues are numbered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interfaces(Vec<String>);

impl Interfaces {
    /// Their names.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for Interfaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

impl Serialize for Interfaces {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [name] => out.serialize_str(name),
            names => names.serialize(out),
        }
    }
}

impl<'de> Deserialize<'de> for Interfaces {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Interfaces;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of an interface or a list of names")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Interfaces, E> {
                Ok(Interfaces(vec![name.to_owned()]))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Interfaces, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = list.next_element()? {
                    names.push(name);
                }
                Ok(Interfaces(names))
            }
        }
        de.deserialize_any(Visitor)
    }
}
