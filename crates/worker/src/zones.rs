//! The time zones of the world, as the platform knows them: their data would be a third of the Worker's size.

use js_sys::{Array, Date, Function, Object, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use weeziq_core::domains::hours::Zones;
use weeziq_core::time::UnixMs;

pub(crate) struct TimeZones;

impl Zones for TimeZones {
    /// A zone that the platform does not know throws, so all of it goes through calls that catch.
    fn offset_s(&self, zone: &str, at: UnixMs) -> Option<i32> {
        offset_text(zone, at).ok().flatten().as_deref().and_then(offset_of)
    }
}

/// As `Intl.DateTimeFormat` shows it: `GMT`, `GMT+02:00`, `GMT-00:44:30`.
fn offset_text(zone: &str, at: UnixMs) -> Result<Option<String>, JsValue> {
    let intl = Reflect::get(&js_sys::global(), &"Intl".into())?;
    let format: Function = Reflect::get(&intl, &"DateTimeFormat".into())?.dyn_into()?;
    let options = Object::new();
    Reflect::set(&options, &"timeZone".into(), &zone.into())?;
    Reflect::set(&options, &"timeZoneName".into(), &"longOffset".into())?;
    let format = Reflect::construct(&format, &Array::of2(&"en".into(), &options))?;
    let to_parts: Function = Reflect::get(&format, &"formatToParts".into())?.dyn_into()?;
    let date = Date::new(&JsValue::from_f64(at.0 as f64));
    let parts: Array = to_parts.call1(&format, &date)?.dyn_into()?;
    for part in parts.iter() {
        if Reflect::get(&part, &"type".into())?.as_string().as_deref() == Some("timeZoneName") {
            return Ok(Reflect::get(&part, &"value".into())?.as_string());
        }
    }
    Ok(None)
}

fn offset_of(text: &str) -> Option<i32> {
    let offset = text.strip_prefix("GMT")?;
    if offset.is_empty() {
        return Some(0);
    }
    let (sign, digits) = match offset.strip_prefix('+') {
        Some(digits) => (1, digits),
        None => (-1, offset.strip_prefix(['-', '\u{2212}'])?),
    };
    let mut parts = digits.split(':').map(|part| part.parse::<i32>().ok());
    let (hours, minutes, seconds) =
        (parts.next()??, parts.next().unwrap_or(Some(0))?, parts.next().unwrap_or(Some(0))?);
    Some(sign * (hours * 3_600 + minutes * 60 + seconds))
}
