//! The few MQTT 3.1.1 packets a publisher at QoS 1 needs, from the specification: CONNECT, CONNACK, PUBLISH, PUBACK,
//! PINGREQ, PINGRESP, DISCONNECT.

/// Where a publish frame holds its packet id, to be filled in when it is sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublishFrame {
    bytes: Vec<u8>,
    id_at: usize,
}

/// Longest rest of a packet that four bytes can announce.
const REMAINING_MAX: usize = 268_435_455;

/// PINGREQ.
pub const PING: [u8; 2] = [0xc0, 0];
/// DISCONNECT.
pub const DISCONNECT: [u8; 2] = [0xe0, 0];

/// CONNECT with a clean session: what is not acknowledged is kept and sent again by the publisher, not by the broker.
pub fn connect(client: &str, keep_alive_s: u16, login: Option<(&str, &str)>) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, "MQTT");
    body.push(4);
    let login_flags = match login {
        Some((_, password)) => 0x80 | if password.is_empty() { 0 } else { 0x40 },
        None => 0,
    };
    body.push(0x02 | login_flags);
    body.extend_from_slice(&keep_alive_s.to_be_bytes());
    text(&mut body, client);
    if let Some((user, password)) = login {
        text(&mut body, user);
        if !password.is_empty() {
            text(&mut body, password);
        }
    }
    framed(0x10, &body)
}

impl PublishFrame {
    /// PUBLISH at QoS 1; `None` when topic or payload are longer than the protocol allows or the topic has a wildcard.
    pub fn new(topic: &str, payload: &[u8]) -> Option<Self> {
        let rest = 2 + topic.len() + 2 + payload.len();
        if topic.is_empty() || topic.len() > usize::from(u16::MAX) || topic.contains(['+', '#', '\0']) {
            return None;
        }
        if rest > REMAINING_MAX {
            return None;
        }
        let mut bytes = Vec::with_capacity(5 + rest);
        bytes.push(0x32);
        remaining(&mut bytes, rest);
        text(&mut bytes, topic);
        let id_at = bytes.len();
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(payload);
        Some(Self { bytes, id_at })
    }

    /// Sets the packet id.
    pub fn number(&mut self, id: u16) {
        self.bytes[self.id_at..self.id_at + 2].copy_from_slice(&id.to_be_bytes());
    }

    /// The packet id.
    pub fn id(&self) -> u16 {
        u16::from_be_bytes([self.bytes[self.id_at], self.bytes[self.id_at + 1]])
    }

    /// Marks it as sent before.
    pub fn again(&mut self) {
        self.bytes[0] |= 0x08;
    }

    /// As it goes over the wire.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// What a broker sends to a publisher.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FromBroker {
    /// CONNACK with its return code; 0 is taken.
    Connected(u8),
    /// PUBACK.
    Ack(u16),
    /// PINGRESP.
    Pong,
}

/// The first packet of a buffer and its length; `None` when there is not a whole one yet.
///
/// # Errors
/// A packet that no broker sends to a publisher.
pub fn parse(buffer: &[u8]) -> Result<Option<(FromBroker, usize)>, String> {
    let &[kind, rest, ..] = buffer else { return Ok(None) };
    let end = 2 + usize::from(rest);
    let packet = match (kind, rest) {
        (0x20, 2) | (0x40, 2) if buffer.len() < end => return Ok(None),
        (0x20, 2) => FromBroker::Connected(buffer[3]),
        (0x40, 2) => FromBroker::Ack(u16::from_be_bytes([buffer[2], buffer[3]])),
        (0xd0, 0) => FromBroker::Pong,
        _ => return Err(format!("the broker sent a packet of kind {kind:#04x} and length {rest}")),
    };
    Ok(Some((packet, end)))
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    remaining(&mut out, body.len());
    out.extend_from_slice(body);
    out
}

/// The length of the rest, seven bits a byte, lowest first.
fn remaining(out: &mut Vec<u8>, mut length: usize) {
    loop {
        let more = length > 127;
        out.push((length & 127) as u8 | if more { 128 } else { 0 });
        length >>= 7;
        if !more {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_as_the_specification_draws_them() {
        assert_eq!(connect("ab", 30, None), b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x1e\x00\x02ab");
        let with = connect("a", 1, Some(("u", "pw")));
        assert_eq!(with, b"\x10\x14\x00\x04MQTT\x04\xc2\x00\x01\x00\x01a\x00\x01u\x00\x02pw");
        let mut frame = PublishFrame::new("a/b", b"hi").unwrap();
        frame.number(0x1234);
        assert_eq!(frame.bytes(), b"\x32\x09\x00\x03a/b\x12\x34hi");
        frame.again();
        assert_eq!((frame.bytes()[0], frame.id()), (0x3a, 0x1234));
        // 321 = 65 + 2 * 128 takes two bytes of length.
        let long = PublishFrame::new("t", &[0; 316]).unwrap();
        assert_eq!(long.bytes()[1..3], [193, 2]);
        assert!(PublishFrame::new("a/+", b"").is_none() && PublishFrame::new("", b"").is_none());
    }

    #[test]
    fn only_whole_packets_that_a_broker_sends() {
        assert_eq!(parse(b"\x40\x02\x00"), Ok(None));
        assert_eq!(parse(b"\x40\x02\x01\x02\xd0"), Ok(Some((FromBroker::Ack(258), 4))));
        assert_eq!(parse(b"\x20\x02\x00\x05"), Ok(Some((FromBroker::Connected(5), 4))));
        assert_eq!(parse(b"\xd0\x00"), Ok(Some((FromBroker::Pong, 2))));
        assert!(parse(b"\x30\x02\x00\x00").is_err());
    }
}
