//! TFTP (RFC 1350): the server answers a request from a port that it chooses then.

use super::Expected;
use crate::conntrack::tuple::Tuple;

const READ: u16 = 1;
const WRITE: u16 = 2;

/// What a datagram announces. `reply` is the reply tuple of its flow.
pub fn inspect(payload: &[u8], reply: &Tuple) -> Option<Expected> {
    let [high, low, ..] = *payload else {
        return None;
    };
    matches!(u16::from_be_bytes([high, low]), READ | WRITE)
        .then(|| Expected::new(reply.src, reply.dst, reply.dport, reply))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_announce_the_answer_from_any_port() {
        let reply = Tuple {
            src: [2; 16],
            dst: [1; 16],
            sport: 69,
            dport: 5000,
            protocol: 17,
            l3: 10,
            ..Tuple::default()
        };
        for request in [&b"\0\x01file\0octet\0"[..], b"\0\x02file\0octet\0"] {
            let expected = inspect(request, &reply).unwrap();
            assert_eq!(expected.tuple, Tuple { sport: 0, ..reply });
            assert_eq!((expected.mask.src, expected.mask.sport), ([0xff; 16], 0));
        }
        for other in [
            &b"\0\x03\0\x01data"[..],
            b"\0\x04\0\x01",
            b"\0\x05",
            b"\x01",
            b"",
        ] {
            assert_eq!(inspect(other, &reply), None);
        }
    }
}
