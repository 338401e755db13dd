//! Rows by `COPY … FROM STDIN (FORMAT binary)`: <https://www.postgresql.org/docs/current/sql-copy.html>.
//!
//! A part is sent as soon as it is full, so the server takes it in while the next one is being written.

use std::fmt::{Display, Write as _};

use schemas::Usd;
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::write::{DOING, refused};
use crate::store::StoreError;

/// The signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// In place of a row's number of columns.
const TRAILER: i16 = -1;

/// Bytes that are sent at once.
const PART: usize = 128 << 10;

/// A part of the rows.
pub(super) struct Rows {
    bytes: Vec<u8>,
}

/// Copies rows into a table; `statement` names its columns, and `write` writes as many fields.
pub(super) async fn copy<T>(
    connection: &mut PgConnection,
    statement: &str,
    rows: impl Iterator<Item = T>,
    write: impl Fn(&mut Rows, T) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut part = Rows { bytes: Vec::with_capacity(PART + PART / 8) };
    part.bytes.extend_from_slice(HEADER);
    let mut copy = connection.copy_in_raw(statement).await.map_err(refused)?;
    for row in rows {
        write(&mut part, row)?;
        if part.bytes.len() >= PART {
            copy.send(&part.bytes[..]).await.map_err(refused)?;
            part.bytes.clear();
        }
    }
    part.bytes.extend_from_slice(&TRAILER.to_be_bytes());
    copy.send(&part.bytes[..]).await.map_err(refused)?;
    copy.finish().await.map(drop).map_err(refused)
}

impl Rows {
    /// Begins a row of so many fields.
    pub(super) fn row(&mut self, fields: i16) {
        self.bytes.extend_from_slice(&fields.to_be_bytes());
    }

    pub(super) fn null(&mut self) {
        self.bytes.extend_from_slice(&(-1_i32).to_be_bytes());
    }

    pub(super) fn uuid(&mut self, value: Uuid) {
        self.fixed(value.as_bytes());
    }

    pub(super) fn bigint(&mut self, value: i64) {
        self.fixed(&value.to_be_bytes());
    }

    pub(super) fn integer(&mut self, value: i32) {
        self.fixed(&value.to_be_bytes());
    }

    pub(super) fn text(&mut self, value: &str) -> Result<(), StoreError> {
        self.sized(|bytes| {
            bytes.extend_from_slice(value.as_bytes());
            Ok(())
        })
    }

    pub(super) fn display(&mut self, value: impl Display) -> Result<(), StoreError> {
        self.sized(|bytes| write!(Text(bytes), "{value}").map_err(|error| StoreError::unavailable(DOING, error)))
    }

    pub(super) fn json(&mut self, value: &impl Serialize) -> Result<(), StoreError> {
        self.sized(|bytes| serde_json::to_writer(bytes, value).map_err(|error| StoreError::unavailable(DOING, error)))
    }

    /// Money as `numeric`, with the 12 decimals of its columns.
    pub(super) fn money(&mut self, value: Usd) {
        self.numeric(trillionths(value));
    }

    /// A count of 10⁻¹² as `numeric` with 12 decimals: four 16-bit numbers (how many digits of base 10,000, the first
    /// one's power, sign, decimals), then the digits. See `numeric_recv` in PostgreSQL's `numeric.c`.
    pub(super) fn numeric(&mut self, value: i128) {
        const BASE: u128 = 10_000;
        const FRACTION: i16 = 3;
        // From the last one on.
        let mut digits = [0_u16; 10];
        let mut rest = value.unsigned_abs();
        for digit in &mut digits {
            // Most amounts need no more than 64 bits, and those divide far quicker.
            let last = match u64::try_from(rest) {
                Ok(small) => {
                    rest = u128::from(small / 10_000);
                    u128::from(small % 10_000)
                }
                Err(_) => {
                    let last = rest % BASE;
                    rest /= BASE;
                    last
                }
            };
            *digit = u16::try_from(last).unwrap_or(0);
        }
        let used = digits.iter().rposition(|digit| *digit != 0).map_or(0, |first| first + 1);
        let zeros = digits.iter().take(used).take_while(|digit| **digit == 0).count();
        let kept = digits.get(zeros..used).unwrap_or_default();
        let weight = if used == 0 { 0 } else { i16::try_from(used).unwrap_or(0) - 1 - FRACTION };
        let sign: u16 = if value < 0 { 0x4000 } else { 0 };
        let length = 8 + 2 * kept.len();
        self.bytes.extend_from_slice(&i32::try_from(length).unwrap_or(0).to_be_bytes());
        self.bytes.extend_from_slice(&u16::try_from(kept.len()).unwrap_or(0).to_be_bytes());
        self.bytes.extend_from_slice(&weight.to_be_bytes());
        self.bytes.extend_from_slice(&sign.to_be_bytes());
        self.bytes.extend_from_slice(&12_u16.to_be_bytes());
        for digit in kept.iter().rev() {
            self.bytes.extend_from_slice(&digit.to_be_bytes());
        }
    }

    fn fixed<const LENGTH: usize>(&mut self, value: &[u8; LENGTH]) {
        let length = i32::try_from(LENGTH).unwrap_or(0);
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(value);
    }

    /// A field whose length is known when it is written.
    fn sized(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        write(&mut self.bytes)?;
        let length = i32::try_from(self.bytes.len() - at - 4);
        let length = length.map_err(|_| StoreError::unavailable(DOING, "a text of more than 2 GB"))?;
        if let Some(place) = self.bytes.get_mut(at..at + 4) {
            place.copy_from_slice(&length.to_be_bytes());
        }
        Ok(())
    }
}

/// Money as a count of 10⁻¹² USD, of which it has no parts.
pub(super) fn trillionths(value: Usd) -> i128 {
    if let Some(small) = value.to_pico() {
        return small.into();
    }
    let decimal = value.as_decimal();
    decimal.mantissa().saturating_mul(10_i128.pow(12_u32.saturating_sub(decimal.scale())))
}

struct Text<'a>(&'a mut Vec<u8>);

impl std::fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rust_decimal::Decimal;
    use sqlx::encode::Encode;
    use sqlx::postgres::{PgArgumentBuffer, Postgres};

    use super::*;

    /// What the driver sends for the same number.
    fn driver(value: Decimal) -> Vec<u8> {
        let mut buffer = PgArgumentBuffer::default();
        assert!(matches!(Encode::<Postgres>::encode_by_ref(&value, &mut buffer), Ok(sqlx::encode::IsNull::No)));
        buffer.to_vec()
    }

    fn check(value: i128) {
        let mut rows = Rows { bytes: vec![] };
        rows.numeric(value);
        let (length, field) = rows.bytes.split_at(4);
        assert_eq!(length, i32::try_from(field.len()).unwrap().to_be_bytes(), "{value}");
        let mut expected = driver(Decimal::try_from_i128_with_scale(value, 12).unwrap());
        // How many decimals are shown is the column's business: there, always twelve.
        expected[6..8].copy_from_slice(&12_u16.to_be_bytes());
        assert_eq!(field, expected, "{value}");
    }

    #[test]
    fn amounts_are_written_as_the_driver_writes_them() {
        for value in [0, 1, -1, 9_999, 10_000, 999_999_999_999, 1_000_000_000_000, -10_000_000_000_000_000] {
            check(value);
        }
        check(i128::from(u64::MAX) * 1_000_000_000);
        check(i128::from(i64::MIN));
        assert_eq!(trillionths("-9000000".parse().unwrap()), -9_000_000_000_000_000_000);
        let above = Usd::from_decimal(Decimal::from(10_000_000)).unwrap();
        assert_eq!(trillionths(above), 10_000_000_000_000_000_000);
    }

    proptest! {
        #[test]
        fn any_amount_is(value in -(1_i128 << 90)..1_i128 << 90, shift in 0_u32..90) {
            check(value >> shift);
        }
    }
}
