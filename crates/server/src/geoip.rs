//! Which country an address is in: by a database in MaxMind's format (GeoLite2, DB-IP and others), read once, at the start.

use std::net::IpAddr;
use std::path::Path;

use maxminddb::{Reader, path};
use weeziq_core::visitors::whence::Country;

pub(crate) struct GeoIp(Reader<Vec<u8>>);

/// Networks that are looked at to see whether a database knows countries at all: one of addresses' operators does not.
const NETWORKS_TRIED: usize = 1_000;

impl GeoIp {
    /// The error is a sentence that names the setting.
    pub(crate) fn open(file: &Path) -> Result<Self, String> {
        let shown = file.display();
        let reader = Reader::open_readfile(file).map_err(|error| {
            format!("GEOIP_FILE {shown} cannot be read as a MaxMind database: {error}; name a .mmdb file of countries or cities, or unset it")
        })?;
        let known = Self(reader);
        if known.knows_countries() {
            return Ok(known);
        }
        let kind = &known.0.metadata().database_type;
        Err(format!(
            "GEOIP_FILE {shown} ({kind}) knows no countries; name a .mmdb file of countries or cities"
        ))
    }

    pub(crate) fn country(&self, address: IpAddr) -> Option<Country> {
        // What cannot be read of a damaged record is not known.
        let found = self.0.lookup(address.to_canonical()).ok()?;
        Country::parse(found.decode_path::<&str>(&path!["country", "iso_code"]).ok()??)
    }

    /// What it says that it is, and the day on which it was made: addresses move.
    pub(crate) fn describe(&self) -> (String, Option<std::time::SystemTime>) {
        let metadata = self.0.metadata();
        (metadata.database_type.clone(), metadata.build_time().ok())
    }

    fn knows_countries(&self) -> bool {
        let Ok(networks) = self.0.networks(Default::default()) else { return false };
        let mut codes = networks
            .take(NETWORKS_TRIED)
            .filter_map(|network| network.ok()?.decode_path::<&str>(&path!["country", "iso_code"]).ok()?);
        codes.any(|code| Country::parse(code).is_some())
    }
}
