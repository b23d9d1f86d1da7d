//! How many messages lie in a message, counted on its bytes before anything of it is decoded.
//!
//! An entry of a list that says nothing takes two bytes on the wire and a hundred or more in memory: a message of
//! the size that is allowed could claim a third of a gigabyte before anybody looks at how long its
//! lists are. Here they are counted first, which costs as much as there are entries; a live agent's batch has
//! a handful.
//!
//! Invariant: whatever the decoder would read as a message is counted. So bytes that end in the middle, or
//! whose parts reach beyond their whole, are refused: the decoder follows a part to where it says to end, and
//! finds out behind it.

use crate::limits::ENTRIES_PER_MESSAGE_MAX;
use crate::v1::{AgentMessage, CollectorMessage};
use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// The fields of a message that hold messages, by number, and what those hold in turn.
pub struct Holds(&'static [(u32, &'static Self)]);

const NOTHING: Holds = Holds(&[]);
const INVENTORY: Holds = Holds(&[(1, &NOTHING), (2, &NOTHING)]);
const SEGMENT: Holds = Holds(&[(3, &INVENTORY)]);
const SHARE: Holds = Holds(&[(1, &NOTHING)]);
const HOLDING: Holds = Holds(&[(1, &SHARE)]);
const BATCH: Holds = Holds(&[(4, &HOLDING)]);

/// A message that a peer sends.
pub trait FromPeer: prost::Message + Default {
    const HOLDS: Holds;
}

impl FromPeer for AgentMessage {
    const HOLDS: Holds = Holds(&[(1, &NOTHING), (2, &SEGMENT), (3, &BATCH)]);
}

impl FromPeer for CollectorMessage {
    const HOLDS: Holds = Holds(&[(1, &NOTHING), (2, &NOTHING), (3, &NOTHING), (4, &NOTHING)]);
}

/// Why a message is not decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    #[error("it holds more than {ENTRIES_PER_MESSAGE_MAX} entries in all its lists")]
    TooMany,
    #[error("{0}")]
    NoMessage(#[from] DecodeError),
    #[error("a part of it reaches beyond its end")]
    Cut,
}

/// Counts what is in a message; an error where it is too much, or where the bytes are no message.
pub fn count<M: FromPeer>(bytes: &[u8]) -> Result<usize, Undecodable> {
    let mut room = ENTRIES_PER_MESSAGE_MAX;
    take(bytes, &M::HOLDS, &mut room)?;
    Ok(ENTRIES_PER_MESSAGE_MAX - room)
}

/// Takes room for what one message holds. As deep as [`Holds`] is.
fn take(mut bytes: &[u8], holds: &Holds, room: &mut usize) -> Result<(), Undecodable> {
    while !bytes.is_empty() {
        let (field, kind) = decode_key(&mut bytes)?;
        let held = holds.0.iter().find(|(number, _)| *number == field && kind == WireType::LengthDelimited);
        let Some((_, holds)) = held else {
            skip_field(kind, field, &mut bytes, DecodeContext::default())?;
            continue;
        };
        *room = room.checked_sub(1).ok_or(Undecodable::TooMany)?;
        let length = usize::try_from(decode_varint(&mut bytes)?).map_err(|_| Undecodable::Cut)?;
        let (part, rest) = bytes.split_at_checked(length).ok_or(Undecodable::Cut)?;
        take(part, holds, room)?;
        bytes = rest;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::agent_message::Kind;
    use crate::v1::{Batch, GpuInfo, Holding, HostInfo, Inventory, Owner, Segment, Share};
    use prost::Message as _;

    fn bytes(kind: Kind) -> Vec<u8> {
        AgentMessage { kind: Some(kind), wall_ms: Some(7) }.encode_to_vec()
    }

    fn segment(gpus: usize) -> Vec<u8> {
        let inventory = Inventory { host: Some(HostInfo::default()), gpus: vec![GpuInfo::default(); gpus] };
        bytes(Kind::Segment(Segment { inventory: Some(inventory), ..Segment::default() }))
    }

    fn of_agent(bytes: &[u8]) -> Result<usize, Undecodable> {
        count::<AgentMessage>(bytes)
    }

    /// One field of bytes.
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut field = vec![number << 3 | 2];
        prost::encoding::encode_varint(content.len() as u64, &mut field);
        [field.as_slice(), content].concat()
    }

    #[test]
    fn each_message_in_a_message_is_counted() {
        let share = Share { owner: Some(Owner::default()), share_ppm: 1 };
        let holding = Holding { shares: vec![share.clone(), share] };
        let batch = Batch { holdings: vec![holding; 3], columns: vec![0x22; 99], ..Batch::default() };
        assert_eq!(of_agent(&bytes(Kind::Batch(batch))), Ok(1 + 3 * (1 + 2 * 2)));
        assert_eq!(of_agent(&segment(5)), Ok(1 + 1 + 1 + 5));
        assert_eq!(of_agent(&[]), Ok(0));
    }

    #[test]
    fn lists_have_their_room_together_and_not_more() {
        assert_eq!(of_agent(&segment(ENTRIES_PER_MESSAGE_MAX - 3)), Ok(ENTRIES_PER_MESSAGE_MAX));
        assert_eq!(of_agent(&segment(ENTRIES_PER_MESSAGE_MAX - 2)), Err(Undecodable::TooMany));
        // A field that comes again is added to: each time counts.
        let twice = segment(ENTRIES_PER_MESSAGE_MAX / 2).repeat(2);
        assert_eq!(of_agent(&twice), Err(Undecodable::TooMany));
    }

    #[test]
    fn a_part_that_reaches_beyond_its_whole_hides_nothing() {
        let inventory = field(3, &field(2, &[]).repeat(1_000));
        // The segment says that it ends after two bytes; the inventory in it goes on for all of them.
        let mut hiding = vec![2 << 3 | 2, 2];
        hiding.extend_from_slice(&inventory);
        assert_eq!(
            of_agent(&hiding),
            Err(Undecodable::NoMessage(decode_varint(&mut &[0x80][..]).unwrap_err()))
        );
        hiding[1] = 4;
        assert_eq!(of_agent(&hiding), Err(Undecodable::Cut));
    }

    #[test]
    fn what_is_unknown_is_passed_over_and_what_is_broken_is_refused() {
        let unknown = [field(9, &[0xff; 50]), vec![10 << 3, 0x96, 1]].concat();
        assert_eq!(of_agent(&unknown), Ok(0));
        assert_eq!(count::<CollectorMessage>(&field(3, &[])), Ok(1));
        for broken in [&[0xff; 100][..], &[2 << 3 | 2], &[2 << 3 | 2, 9], &[0]] {
            of_agent(broken).unwrap_err();
            AgentMessage::decode(broken).unwrap_err();
        }
    }

    #[test]
    fn every_field_that_holds_a_message_is_known_and_no_other() {
        let files = protox::compile(["gpuledger/v1/telemetry.proto"], ["."]).unwrap();
        let messages = &files.file[0].message_type;
        let mut left =
            vec![("AgentMessage", &AgentMessage::HOLDS), ("CollectorMessage", &CollectorMessage::HOLDS)];
        while let Some((name, holds)) = left.pop() {
            let message = messages.iter().find(|message| message.name() == name).unwrap();
            let fields = message.field.iter().filter_map(|field| {
                let held = field.type_name().strip_prefix(".gpuledger.v1.")?;
                let is_message = messages.iter().any(|message| message.name() == held);
                is_message.then(|| (u32::try_from(field.number()).unwrap(), held))
            });
            let fields: Vec<(u32, &str)> = fields.collect();
            let known: Vec<u32> = holds.0.iter().map(|(number, _)| *number).collect();
            assert_eq!(fields.iter().map(|(number, _)| *number).collect::<Vec<_>>(), known, "{name}");
            left.extend(fields.iter().zip(holds.0).map(|((_, held), (_, holds))| (*held, *holds)));
        }
    }
}
