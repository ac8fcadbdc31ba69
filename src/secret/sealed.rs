//! Secrets in what is written down.
//!
//! In: values with secrets somewhere in them, while they are serialized. Out: the same with `{"sealed": 7}` in the place
//! of each secret, and the secrets apart, to be encrypted as one. Never: a secret in clear: outside of [`sealing`],
//! serializing one is an error.
//!
//! serde has no place for such a table, so it is the thread's own, and there only while the function runs that opened it.
//! Tables lie on a stack: one that is opened while another is open hides it, and a panic takes away no more than its own.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use zeroize::Zeroizing;

use super::bytes::Written;
use super::{Content, Secret};

thread_local! {
    static TABLES: RefCell<Vec<Table>> = const { RefCell::new(Vec::new()) };
}

/// What takes the place of secrets while a value is written or read.
enum Table {
    Writing { secrets: Secrets, known: HashMap<Secret<Vec<u8>>, usize>, guard: Guard },
    Reading(Rc<Secrets>),
    Hiding,
}

/// What else is sealed beside secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// Nothing.
    Secrets,
    /// Digests of what may hold a secret: a short one could be guessed from them.
    Digests,
}

/// Secrets that were taken out of a value.
///
/// Each place has a number of its own, so that nobody sees which are the same; here each is kept once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    values: Vec<Secret<Vec<u8>>>,
    /// By number, the place in `values`.
    places: Vec<usize>,
}

/// As it is encrypted.
#[derive(Serialize, Deserialize)]
struct Text {
    values: Vec<Written>,
    places: Vec<usize>,
}

impl Secrets {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// All of them in clear, to be encrypted at once.
    pub fn text(&self) -> Zeroizing<Vec<u8>> {
        let values = self.values.iter().map(|value| Written::of(value.expose())).collect();
        let text = Text { values, places: self.places.clone() };
        // Texts and numbers can always be written.
        Zeroizing::new(serde_json::to_vec(&text).unwrap_or_default())
    }

    /// Reads what [`Secrets::text`] wrote.
    ///
    /// # Errors
    /// When it is something else; without a word of what is in it.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let strange = || "the encrypted secrets are not a list".to_owned();
        let Text { values, places } = serde_json::from_slice(text).map_err(|_| strange())?;
        let values = values.into_iter().map(|value| value.bytes().map(Secret::new)).collect::<Result<Vec<_>, _>>();
        let values = values.map_err(|_| strange())?;
        if places.iter().any(|place| *place >= values.len()) {
            return Err(strange());
        }
        Ok(Self { values, places })
    }

    fn get(&self, number: usize) -> Option<&Secret<Vec<u8>>> {
        self.places.get(number).map(|place| &self.values[*place])
    }
}

/// Opens a table and closes it however the work ends.
struct Scope;

impl Scope {
    fn open(table: Table) -> Self {
        TABLES.with_borrow_mut(|tables| tables.push(table));
        Self
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        TABLES.with_borrow_mut(|tables| drop(tables.pop()));
    }
}

/// Does work that serializes, and gives the secrets it met.
pub fn sealing<T>(guard: Guard, work: impl FnOnce() -> T) -> (T, Secrets) {
    let scope = Scope::open(Table::Writing { secrets: Secrets::default(), known: HashMap::new(), guard });
    let done = work();
    let table = TABLES.with_borrow_mut(|tables| tables.last_mut().map(|table| std::mem::replace(table, Table::Hiding)));
    drop(scope);
    match table {
        Some(Table::Writing { secrets, .. }) => (done, secrets),
        _ => (done, Secrets::default()),
    }
}

/// Does work that deserializes, with these secrets.
pub fn unsealing<T>(secrets: Secrets, work: impl FnOnce() -> T) -> T {
    let _scope = Scope::open(Table::Reading(Rc::new(secrets)));
    work()
}

/// Does work that deserializes, without the secrets: each is empty. What is read so can be shown, and nothing else.
pub fn hiding<T>(work: impl FnOnce() -> T) -> T {
    let _scope = Scope::open(Table::Hiding);
    work()
}

/// Whether digests are to be sealed, too.
pub fn guards_digests() -> bool {
    TABLES.with_borrow(|tables| matches!(tables.last(), Some(Table::Writing { guard: Guard::Digests, .. })))
}

fn put(bytes: &[u8]) -> Option<usize> {
    TABLES.with_borrow_mut(|tables| {
        let Some(Table::Writing { secrets, known, .. }) = tables.last_mut() else { return None };
        let secret = Secret::new(bytes.to_vec());
        let place = *known.entry(secret).or_insert_with_key(|secret| {
            secrets.values.push(secret.clone());
            secrets.values.len() - 1
        });
        secrets.places.push(place);
        Some(secrets.places.len() - 1)
    })
}

fn take(number: usize) -> Result<Vec<u8>, &'static str> {
    TABLES.with_borrow(|tables| match tables.last() {
        Some(Table::Reading(secrets)) => {
            secrets.get(number).map(|secret| secret.expose().clone()).ok_or("unknown secret number")
        }
        Some(Table::Hiding) => Ok(Vec::new()),
        _ => Err("a secret can be read only where it is decrypted"),
    })
}

/// What stands in the place of a secret.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Number {
    sealed: usize,
}

impl<T: AsRef<[u8]>> Serialize for Secret<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let sealed =
            put(self.expose().as_ref()).ok_or_else(|| ser::Error::custom("a secret can be written only encrypted"))?;
        Number { sealed }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Secret<Vec<u8>> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Number { sealed } = Number::deserialize(deserializer)?;
        take(sealed).map(Secret::new).map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Secret<String> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Number { sealed } = Number::deserialize(deserializer)?;
        let bytes = take(sealed).map_err(de::Error::custom)?;
        String::from_utf8(bytes).map(Secret::new).map_err(|_| de::Error::custom("the secret is not text"))
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Plain(bytes) => super::bytes::serialize(bytes, serializer),
            Self::Secret(secret) => secret.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Any {
            Plain(Written),
            Sealed(Number),
        }
        match Any::deserialize(deserializer)? {
            Any::Plain(written) => written.bytes().map(Self::Plain).map_err(de::Error::custom),
            Any::Sealed(Number { sealed }) => {
                take(sealed).map(|bytes| Self::Secret(Secret::new(bytes))).map_err(de::Error::custom)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Content {
        Content::Secret(Secret::new(text.as_bytes().to_vec()))
    }

    #[test]
    fn a_secret_is_written_only_sealed() {
        assert!(serde_json::to_string(&Secret::new("hunter2".to_owned())).is_err());
        assert!(serde_json::to_string(&secret("hunter2")).is_err());
        let all = [secret("hunter2"), Content::from("plain"), Content::Plain(vec![255]), secret("hunter2")];
        let (text, secrets) = sealing(Guard::Secrets, || serde_json::to_string(&all).expect("sealed"));
        assert_eq!(text, r#"[{"sealed":0},"plain",{"base64":"/w=="},{"sealed":1}]"#);
        assert!(serde_json::from_str::<Vec<Content>>(&text).is_err());
        let secrets = Secrets::parse(&secrets.text()).expect("as it was written");
        assert_eq!(secrets.values.len(), 1);
        let read: Vec<Content> = unsealing(secrets, || serde_json::from_str(&text)).expect("unsealed");
        assert_eq!(read, all);
        let hidden: Vec<Content> = hiding(|| serde_json::from_str(&text)).expect("hidden");
        assert_eq!(hidden[0], secret(""));
    }

    #[test]
    fn a_table_ends_with_its_work_even_if_that_panics() {
        let (inner, outer) = sealing(Guard::Secrets, || {
            let caught = std::panic::catch_unwind(|| sealing(Guard::Digests, || panic!("in the middle")));
            assert!(caught.is_err() && !guards_digests());
            sealing(Guard::Digests, || serde_json::to_string(&secret("inner")).expect("sealed")).1
        });
        assert_eq!((inner.places.len(), outer.places.len()), (1, 0));
        assert!(serde_json::to_string(&secret("after")).is_err());
    }

    #[test]
    fn a_number_that_was_not_given_is_refused() {
        let read = unsealing(Secrets::default(), || serde_json::from_str::<Content>(r#"{"sealed":0}"#));
        assert!(read.is_err());
        assert!(Secrets::parse(br#"{"values":["a"],"places":[1]}"#).is_err());
    }
}
