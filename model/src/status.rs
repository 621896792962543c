//! The status word of a reading: the raw national bit mask in the low byte, firedamp's own bits above it.
//!
//! A missing value is the bit [`MISSING`] with the value NaN, never the number 0. The raw low byte is stored as
//! the mine sent it. Source of the low byte: MT/T 1201.1, point status.

/// The mine's own system says: alarm.
pub const ALARM: i32 = 1;
/// The mine's own system says: power cut.
pub const CUT: i32 = 2;
/// The sensor is being calibrated.
pub const CALIBRATION: i32 = 4;
/// Beyond the sensor's range.
pub const OVER_RANGE: i32 = 8;
/// The substation is at fault: the value is stale.
pub const STATION_FAULT: i32 = 16;
/// Not inspected in this cycle.
pub const NOT_INSPECTED: i32 = 32;
/// Paused by an operator.
pub const PAUSED: i32 = 64;
/// The sensor is at fault.
pub const SENSOR_FAULT: i32 = 128;
/// All bits a mine may send.
pub const NATIONAL: i32 = 0xff;

/// Known to be old when it was sent (a stale snapshot, a gateway repeating itself).
pub const STALE: i32 = 1 << 8;
/// Event time more than 5 minutes ahead of receive time.
pub const FUTURE: i32 = 1 << 9;
/// Back-fill after a break: corrects history, is not judged as live.
pub const HISTORICAL: i32 = 1 << 10;
/// From a source configured as drill.
pub const SIMULATED: i32 = 1 << 11;
/// The device gave no value; the value column holds NaN (null in the table).
pub const MISSING: i32 = 1 << 12;
/// The device gave no time: event time is receive time, and the reading is at least once.
pub const NO_DEVICE_TIME: i32 = 1 << 13;

/// Bits that make a value unfit to raise or clear by value.
pub const BAD: i32 = STATION_FAULT | NOT_INSPECTED | PAUSED | SENSOR_FAULT;

/// Whether the value can be judged as a good one: it is there and no bad, calibration or over-range bit is set.
#[inline]
pub fn is_good(status: i32) -> bool {
    status & (BAD | CALIBRATION | OVER_RANGE | MISSING) == 0
}

/// The names of the set bits, lowest first, for people: `["alarm", "calibration"]`.
pub fn names(status: i32) -> Vec<&'static str> {
    const NAMES: [&str; 14] = [
        "alarm",
        "cut",
        "calibration",
        "over_range",
        "station_fault",
        "not_inspected",
        "paused",
        "sensor_fault",
        "stale",
        "future",
        "historical",
        "simulated",
        "missing",
        "no_device_time",
    ];
    NAMES.iter().enumerate().filter(|(bit, _)| status & (1 << bit) != 0).map(|(_, name)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_is_calibration_and_alarm() {
        assert_eq!(names(5), ["alarm", "calibration"]);
        assert!(!is_good(5) && !is_good(MISSING) && is_good(ALARM | CUT));
    }
}
