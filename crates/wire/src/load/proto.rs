//! Owns a report as the message itself: as much of protobuf as numbers and maps of numbers need.
//!
//! Fields of other kinds are passed over, groups are none. As protobuf has it, of a field that stands there twice the last holds,
//! and zero says that it was not set; a writer of this message writes each once, so that two are refused here.

use std::sync::Arc;

use super::{Filling, Map, Number, Report, Unread, bounded};

pub(super) fn read(bytes: &[u8], chosen: &[Arc<str>]) -> Result<Report, Unread> {
    let mut filling = Filling::new(chosen);
    fields(bytes, |number, value| {
        let known = match number {
            1 => Some(Number::Cpu),
            2 => Some(Number::Memory),
            6 => Some(Number::Rps),
            7 => Some(Number::Eps),
            9 => Some(Number::Application),
            _ => None,
        };
        let map = match number {
            4 => Some(Map::RequestCost),
            5 => Some(Map::Utilization),
            8 => Some(Map::Named),
            _ => None,
        };
        match (known, map, value) {
            (Some(known), _, Value::Double(value)) => filling.number(Some(known), bounded(value)?),
            (_, Some(map), Value::Bytes(entry)) => {
                let (key, value) = entry_of(entry)?;
                filling.metric(Some(map), key, value)
            }
            (None, None, _) => Ok(()),
            _ => Err(Unread::Syntax),
        }
    })?;
    Ok(filling.report)
}

/// An entry of a map; what is absent is empty, or zero.
fn entry_of(entry: &[u8]) -> Result<(&[u8], f64), Unread> {
    let (mut key, mut number) = (&[][..], 0.0);
    fields(entry, |field, value| {
        match (field, value) {
            (1, Value::Bytes(bytes)) => key = bytes,
            (2, Value::Double(value)) => number = bounded(value)?,
            (1 | 2, _) => return Err(Unread::Syntax),
            _ => {}
        }
        Ok(())
    })?;
    Ok((key, number))
}

/// What a field holds, as far as it matters.
enum Value<'a> {
    Double(f64),
    Bytes(&'a [u8]),
    Other,
}

/// Each field of a message, by its number.
fn fields<'a>(
    mut rest: &'a [u8],
    mut each: impl FnMut(u64, Value<'a>) -> Result<(), Unread>,
) -> Result<(), Unread> {
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        let number = key >> 3;
        if number == 0 || key > u64::from(u32::MAX) {
            return Err(Unread::Syntax);
        }
        let value = match key & 7 {
            0 => {
                varint(&mut rest)?;
                Value::Other
            }
            1 => {
                let bytes = take(&mut rest, 8)?;
                let bytes = bytes.try_into().map_err(|_| Unread::Syntax)?;
                Value::Double(f64::from_le_bytes(bytes))
            }
            2 => {
                let length = usize::try_from(varint(&mut rest)?);
                Value::Bytes(take(&mut rest, length.map_err(|_| Unread::Syntax)?)?)
            }
            5 => {
                take(&mut rest, 4)?;
                Value::Other
            }
            _ => return Err(Unread::Syntax),
        };
        each(number, value)?;
    }
    Ok(())
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], Unread> {
    let (taken, behind) = rest.split_at_checked(length).ok_or(Unread::Syntax)?;
    *rest = behind;
    Ok(taken)
}

/// Seven bits a byte, the lowest first; ten bytes at most.
fn varint(rest: &mut &[u8]) -> Result<u64, Unread> {
    let mut value = 0_u64;
    for at in 0..10 {
        let (&byte, behind) = rest.split_first().ok_or(Unread::Syntax)?;
        *rest = behind;
        let bits = u64::from(byte & 0x7F);
        if at == 9 && bits > 1 {
            break;
        }
        value |= bits << (7 * at);
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Unread::Syntax)
}
