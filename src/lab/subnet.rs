//! Addresses of one lab. In comes a subnet, out go the names and addresses of everything in it. It never repeats one
//! between two labs: all are derived from the subnet, and none depends on chance.

use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use super::error::LabError;

/// First and last host: .1 is the machine, and the rest is left free at both ends for things put there by hand.
const HOSTS: std::ops::RangeInclusive<u8> = 11..=240;

/// The network 10.x.y.0/24 of one lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subnet {
    second: u8,
    third: u8,
}

impl Subnet {
    /// Used unless a user says otherwise.
    pub(crate) const DEFAULT: Subnet = Subnet { second: 89, third: 0 };

    /// The bridge, and the word by which this lab's cgroup is known.
    pub(crate) fn bridge(self) -> String {
        match (self, self.third) {
            (Self::DEFAULT, _) => "armilla0".to_owned(),
            (_, 0) if self.second != 0 => format!("armilla{}", self.second),
            (_, third) => format!("armilla{}-{third}", self.second),
        }
    }

    /// The machine's own address in the lab.
    pub(crate) fn gateway(self) -> Ipv4Addr {
        self.address(1)
    }

    /// The machine's own hardware address: fixed, as a bridge otherwise takes that of its lowest port.
    pub(crate) fn gateway_mac(self) -> String {
        mac(self.gateway())
    }

    /// Bridge port of a host; at most 14 characters, as the kernel takes 15.
    pub(crate) fn port(self, address: Ipv4Addr) -> String {
        format!("arm{}-{}-{}", self.second, self.third, address.octets()[3])
    }

    /// The whole network, as `ip` writes it.
    pub(crate) fn network(self) -> String {
        format!("{}/24", self.address(0))
    }

    /// The lowest address that no host has.
    pub(crate) fn free(self, taken: &BTreeSet<Ipv4Addr>) -> Result<Ipv4Addr, LabError> {
        let mut all = HOSTS.map(|last| self.address(last));
        all.find(|address| !taken.contains(address)).ok_or(LabError::Full(HOSTS.len()))
    }

    fn address(self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, self.second, self.third, last)
    }
}

/// Hardware address of a host: locally administered, and the IP address is readable in it.
pub(crate) fn mac(address: Ipv4Addr) -> String {
    let [first, second, third, last] = address.octets();
    format!("02:61:{first:02x}:{second:02x}:{third:02x}:{last:02x}")
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "10.{}.{}", self.second, self.third)
    }
}

impl FromStr for Subnet {
    type Err = LabError;

    fn from_str(text: &str) -> Result<Self, LabError> {
        let bad = || LabError::BadSubnet(text.to_owned());
        let address: Ipv4Addr = format!("{text}.0").parse().map_err(|_| bad())?;
        match address.octets() {
            [10, second, third, 0] => Ok(Self { second, third }),
            _ => Err(bad()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_derived_from_the_subnet() {
        let lab = Subnet::DEFAULT;
        let first = lab.free(&BTreeSet::new()).expect("an empty lab has room");
        assert_eq!((first.to_string(), lab.bridge()), ("10.89.0.11".to_owned(), "armilla0".to_owned()));
        assert_eq!(mac(first), "02:61:0a:59:00:0b");
        assert_eq!(lab.port(first), "arm89-0-11");
        assert_eq!(lab.network(), "10.89.0.0/24");
    }

    #[test]
    fn no_two_subnets_share_a_name_and_names_fit() {
        let mut seen = BTreeSet::new();
        for (second, third) in (0..=255).flat_map(|second| (0..=255).map(move |third| (second, third))) {
            let lab = Subnet { second, third };
            assert!(lab.bridge().len() <= 15 && lab.port(lab.address(240)).len() <= 15);
            assert!(seen.insert(lab.bridge()), "{lab}");
        }
    }

    #[test]
    fn addresses_are_given_lowest_first_until_full() {
        let lab: Subnet = "10.90.3".parse().expect("a subnet");
        let mut taken = BTreeSet::new();
        while let Ok(address) = lab.free(&taken) {
            taken.insert(address);
        }
        assert_eq!(taken.len(), 230);
        taken.remove(&Ipv4Addr::new(10, 90, 3, 20));
        assert_eq!(lab.free(&taken).expect("one is free").to_string(), "10.90.3.20");
    }

    #[test]
    fn only_three_numbers_after_ten_are_a_subnet() {
        for text in ["", "10.90", "10.90.0.0", "192.168.1", "10.256.0", "10.90.0/24", "10.90.x"] {
            assert!(text.parse::<Subnet>().is_err(), "{text}");
        }
    }
}
