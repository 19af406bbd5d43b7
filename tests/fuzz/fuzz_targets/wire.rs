//! What watches a connection from beside the protocol's implementation, over bytes of a client and of the daemon in pieces of
//! any length: what it takes for open is bounded, and where the pieces end makes no difference.
#![no_main]

use fitment_fuzz::choice;
use fitment_server::testing::{MOST_STREAMS, Sent, watch_connection};
use libfuzzer_sys::fuzz_target;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frames that clients and daemons send: kind, flags, stream and length from a few bytes each.
fn frames(bytes: &[u8]) -> Vec<u8> {
    let mut made = Vec::new();
    for frame in bytes.chunks_exact(4) {
        let length = usize::from(frame[3] % 32);
        made.extend([0, 0, frame[3] % 32, frame[0] % 12, frame[1], 0, 0, 0, frame[2] % 16]);
        made.extend((0..length).map(|at| frame[at % 4].rotate_left(u32::from(frame[1]))));
    }
    made
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, rest)) = choice(bytes) else { return };
    let Some((cut, rest)) = choice(rest) else { return };
    let (client, daemon) = rest.split_at(rest.len() / 2);
    let (client, daemon) =
        if kind & 1 == 0 { (client.to_vec(), daemon.to_vec()) } else { (frames(client), frames(daemon)) };
    let client = if kind & 2 == 0 { [PREFACE, &client[..]].concat() } else { client };
    let whole = watch_connection(&[Sent::ByClient(&client), Sent::ByDaemon(&daemon)]);
    assert!(whole.is_none_or(|open| open <= MOST_STREAMS));
    let length = usize::from(cut % 40) + 1;
    let pieces: Vec<Sent<'_>> =
        (client.chunks(length).map(Sent::ByClient)).chain(daemon.chunks(length).map(Sent::ByDaemon)).collect();
    // A connection that is ended for too many streams at a piece's end may have fewer of them at another's.
    if let (Some(whole), Some(in_pieces)) = (whole, watch_connection(&pieces)) {
        assert_eq!(whole, in_pieces, "the end of a piece made a difference");
    }
});
