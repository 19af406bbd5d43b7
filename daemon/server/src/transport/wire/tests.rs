use super::super::frames::PREFACE;
use super::*;

const LIMITS: WireLimits = WireLimits {
    write_stall: Duration::from_secs(20),
    answer_stall: Duration::from_secs(60),
    control_frames_per_second: 100,
    max_concurrent_streams: 8,
};

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A connection whose client has greeted with this first window.
fn greeted(first_window: u32, now: Instant) -> Wire {
    let mut wire = Wire::new(LIMITS, now);
    let setting = [&INITIAL_WINDOW_SIZE.to_be_bytes()[..], &first_window.to_be_bytes()].concat();
    wire.read(&[PREFACE, &frame(kind::SETTINGS, 0, 0, &setting)].concat(), now).expect("a greeting");
    assert!(wire.is_greeted());
    wire
}

fn request(stream: u32) -> Vec<u8> {
    frame(kind::HEADERS, 0x5, stream, b"headers")
}

fn after(now: Instant, seconds: u64) -> Instant {
    now + Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn a_client_that_gives_no_window_is_found_and_one_that_has_some_is_not() {
    let now = Instant::now();
    let mut wire = greeted(1000, now);
    wire.read(&request(1), now).expect("a request");
    assert_eq!(wire.check(after(now, 3600)), Ok(()), "nothing is to be sent: a stream may be silent for ever");
    wire.wrote(&frame(kind::DATA, 0, 1, &[0; 1000]), now);
    assert_eq!(wire.check(after(now, 59)), Ok(()));
    assert_eq!(wire.check(after(now, 61)), Err(Offence::AnswerStalled));
    wire.read(&frame(kind::WINDOW_UPDATE, 0, 1, &1000_u32.to_be_bytes()), after(now, 59)).expect("a window");
    assert_eq!(wire.check(after(now, 3600)), Ok(()));
    wire.wrote(&frame(kind::DATA, 1, 1, &[0; 1000]), after(now, 59));
    assert_eq!(wire.check(after(now, 3600)), Ok(()), "the answer is complete");
    assert_eq!(wire.open_streams(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_byte_of_window_now_and_then_is_no_progress() {
    let now = Instant::now();
    let mut wire = greeted(1, now);
    wire.read(&request(1), now).expect("a request");
    let mut at = now;
    let mut rounds = 0;
    loop {
        wire.wrote(&frame(kind::DATA, 0, 1, &[0]), at);
        at = after(at, 10);
        if wire.check(at).is_err() {
            break;
        }
        wire.read(&frame(kind::WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes()), at).expect("a window");
        rounds += 1;
    }
    assert_eq!(rounds, 6, "ten seconds of waiting each, of sixty and what six bytes are worth");
}

#[tokio::test(start_paused = true)]
async fn the_connections_window_counts_while_a_stream_is_open() {
    let now = Instant::now();
    let mut wire = greeted(1 << 20, now);
    wire.read(&request(1), now).expect("a request");
    for _ in 0..4 {
        wire.wrote(&frame(kind::DATA, 0, 1, &[0; 16_384]), now);
    }
    assert_eq!(wire.check(after(now, 61)), Err(Offence::AnswerStalled));
    wire.read(&frame(kind::RST_STREAM, 0, 1, &[0; 4]), now).expect("a reset");
    assert_eq!(wire.check(after(now, 61)), Ok(()));
    assert_eq!(wire.quiet(after(now, 5)), Some(Duration::from_secs(5)));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_not_taken_is_found() {
    let now = Instant::now();
    let mut wire = greeted(1000, now);
    wire.write_blocked(now);
    assert_eq!(wire.check(after(now, 19)), Ok(()));
    wire.write_blocked(after(now, 19));
    assert_eq!(wire.check(after(now, 20)), Err(Offence::WriteStalled));
    wire.flushed(after(now, 20));
    assert_eq!(wire.check(after(now, 60)), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn floods_of_each_kind_of_frame_end_and_the_same_frames_at_leisure_do_not() {
    const PING: u8 = 0x6;
    const CONTINUATION: u8 = 0x9;
    for (kind, flags, payload) in [
        (PING, 0, &[0; 8][..]),
        (kind::SETTINGS, 0, &[]),
        (kind::DATA, 0, &[]),
        (kind::RST_STREAM, 0, &[0; 4]),
        (kind::WINDOW_UPDATE, 0, &[0, 0, 0, 1]),
        (CONTINUATION, 0, &[]),
        (0xbe, 0, &[1]),
    ] {
        let now = Instant::now();
        let mut wire = greeted(1000, now);
        let bytes = frame(kind, flags, 1, payload);
        let count = (0..10_000).take_while(|_| wire.read(&bytes, now).is_ok()).count();
        assert!((400..600).contains(&count), "frames of type {kind}: {count}");
        let mut wire = greeted(1000, now);
        let mut at = now;
        for _ in 0..10_000 {
            at += Duration::from_millis(10);
            wire.read(&bytes, at).expect("as many as are allowed");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_reads_much_may_acknowledge_much() {
    let now = Instant::now();
    let mut wire = greeted(u32::MAX >> 1, now);
    wire.read(&request(1), now).expect("a request");
    for _ in 0..10_000 {
        wire.wrote(&frame(kind::DATA, 0, 1, &[0; 1024]), now);
        wire.read(&frame(kind::WINDOW_UPDATE, 0, 0, &1024_u32.to_be_bytes()), now).expect("an acknowledgement");
    }
}

#[tokio::test(start_paused = true)]
async fn streams_beyond_what_the_protocol_refuses_are_a_flood() {
    let now = Instant::now();
    let mut wire = greeted(1000, now);
    let count = (0..1000).take_while(|number| wire.read(&request(2 * number + 1), now).is_ok()).count();
    assert_eq!(count, 32);
}
