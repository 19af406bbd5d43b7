//! How many connections there may be, of everybody and of one peer.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use super::peer::Transport;

/// Who is counted as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Origin {
    V4([u8; 4]),
    /// A /64 network: a host has all of its addresses to itself.
    V6([u16; 4]),
    User(u32),
}

impl Origin {
    fn of(transport: &Transport) -> Self {
        match transport {
            Transport::Unix { uid, .. } => Self::User(*uid),
            Transport::Tcp(address) => match address.ip().to_canonical() {
                IpAddr::V4(address) => Self::V4(address.octets()),
                IpAddr::V6(address) => {
                    let [first, second, third, fourth, ..] = address.segments();
                    Self::V6([first, second, third, fourth])
                }
            },
        }
    }
}

/// Why a connection is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// There are too many.
    Connections,
    /// There are too many of this peer.
    Peer,
}

/// Counts connections.
#[derive(Debug)]
pub(super) struct Admission {
    most: usize,
    most_of_one: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_origin: HashMap<Origin, usize>,
}

/// The place of a connection, free again when this is dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    admission: Arc<Admission>,
    origin: Origin,
}

impl Admission {
    pub(super) fn new(most: usize, most_of_one: usize) -> Arc<Self> {
        Arc::new(Self { most, most_of_one, open: Mutex::default() })
    }

    /// A place for one more, if there is one.
    pub(super) fn admit(self: &Arc<Self>, transport: &Transport) -> Result<Admitted, Full> {
        let origin = Origin::of(transport);
        let mut open = self.open.lock();
        if open.all >= self.most {
            return Err(Full::Connections);
        }
        let of_one = open.by_origin.get(&origin).copied().unwrap_or_default();
        if of_one >= self.most_of_one {
            return Err(Full::Peer);
        }
        open.by_origin.insert(origin, of_one + 1);
        open.all += 1;
        Ok(Admitted { admission: Arc::clone(self), origin })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut open = self.admission.open.lock();
        open.all -= 1;
        if let Some(of_one) = open.by_origin.get_mut(&self.origin) {
            *of_one -= 1;
            if *of_one == 0 {
                open.by_origin.remove(&self.origin);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(address: &str) -> Transport {
        Transport::Tcp(address.parse().expect("an address"))
    }

    #[test]
    fn places_are_counted_and_given_back() {
        let admission = Admission::new(4, 2);
        let first = admission.admit(&from("10.0.0.1:1")).expect("a place");
        let _mapped = admission.admit(&from("[::ffff:10.0.0.1]:2")).expect("a place");
        assert_eq!(admission.admit(&from("10.0.0.1:3")).expect_err("it has two"), Full::Peer);
        let _near = admission.admit(&from("[2001:db8::1]:1")).expect("a place");
        let last = admission.admit(&from("[2001:db8::2]:1")).expect("a place");
        assert_eq!(admission.admit(&from("10.0.0.2:1")).expect_err("four are there"), Full::Connections);
        drop(last);
        let far = admission.admit(&from("[2001:db8:0:1::1]:1")).expect("another network");
        drop((first, far));
        let user = Transport::Unix { uid: 7, gid: 7, pid: None };
        let (_one, two) = (admission.admit(&user).expect("a place"), admission.admit(&user).expect("a place"));
        drop(two);
        assert_eq!(admission.open.lock().by_origin.len(), 3);
    }
}
