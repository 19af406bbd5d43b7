//! W3C Trace Context, level 1: <https://www.w3.org/TR/trace-context/>.

use tonic::codegen::http::HeaderMap;

/// Bytes of a `tracestate` that is passed on; a longer one is dropped, as the recommendation allows.
const MAX_STATE_BYTES: usize = 512;

/// Where a call stands in a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TraceContext {
    pub(super) trace_id: [u8; 16],
    /// The caller's span; `None`: the trace begins here.
    pub(super) parent: Option<[u8; 8]>,
    /// The caller's word on whether to record; `None`: it has none.
    pub(super) sampled: Option<bool>,
    pub(super) state: String,
}

impl TraceContext {
    /// The caller's context; a malformed one is none, as the recommendation asks.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut parents = headers.get_all("traceparent").iter();
        let (parent, None) = (parents.next()?.to_str().ok()?, parents.next()) else { return None };
        let (trace_id, span_id, flags) = read_parent(parent)?;
        let state: Vec<&str> = headers.get_all("tracestate").iter().filter_map(|value| value.to_str().ok()).collect();
        let state = state.join(",");
        Some(Self {
            trace_id,
            parent: Some(span_id),
            sampled: Some(flags & 1 == 1),
            state: if state.len() <= MAX_STATE_BYTES { state } else { String::new() },
        })
    }

    /// A trace that begins here.
    pub(super) fn new() -> Self {
        Self { trace_id: random(), parent: None, sampled: None, state: String::new() }
    }

    /// Whether a call of this trace is recorded. `ratio`: share of the traces that begin here, 0..=1.
    pub(super) fn is_sampled(&self, ratio: f64) -> bool {
        // The lower bytes are random also where the upper ones are a time; every daemon decides alike for one trace.
        let [.., a, b, c, d] = self.trace_id;
        let place = f64::from(u32::from_be_bytes([a, b, c, d])) / (f64::from(u32::MAX) + 1.0);
        self.sampled.unwrap_or(place < ratio)
    }
}

/// Random bytes, not all of them zero.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // Without the system's random numbers a trace is not told from others, and everything else goes on.
    if getrandom::fill(&mut bytes).is_err() || bytes.iter().all(|&byte| byte == 0) {
        bytes[N - 1] = 1;
    }
    bytes
}

/// `00-TRACE-SPAN-FLAGS`; later versions may have more behind the flags.
fn read_parent(text: &str) -> Option<([u8; 16], [u8; 8], u8)> {
    let (version, rest) = text.split_once('-')?;
    let version = byte(version)?;
    if version == 0xff || (version == 0 && text.len() != 55) {
        return None;
    }
    let mut fields = rest.splitn(4, '-');
    let trace_id: [u8; 16] = bytes(fields.next()?)?;
    let span_id: [u8; 8] = bytes(fields.next()?)?;
    let flags = byte(fields.next()?)?;
    let is_valid = trace_id != [0; 16] && span_id != [0; 8];
    is_valid.then_some((trace_id, span_id, flags))
}

fn byte(text: &str) -> Option<u8> {
    bytes::<1>(text).map(|[byte]| byte)
}

/// Lower-case hexadecimal digits.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let is_digit = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
    if text.len() != 2 * N || !text.bytes().all(is_digit) {
        return None;
    }
    let mut read = [0; N];
    for (place, byte) in read.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parent: &str) -> Option<TraceContext> {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", parent.parse().expect("a header"));
        headers.append("tracestate", "a=1".parse().expect("a header"));
        headers.append("tracestate", "b=2".parse().expect("a header"));
        TraceContext::of(&headers)
    }

    #[test]
    fn a_callers_trace_is_continued() {
        let context = read("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").expect("a context");
        assert_eq!(context.trace_id[..2], [0x4b, 0xf9]);
        assert_eq!(context.parent, Some([0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]));
        assert!(context.is_sampled(0.0), "the caller records");
        assert_eq!(context.state, "a=1,b=2");
        let silent = read("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00").expect("a context");
        assert!(!silent.is_sampled(1.0), "the caller does not record");
        assert!(read("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more").is_some(), "a later version");
    }

    #[test]
    fn a_malformed_context_is_none() {
        for parent in [
            "",
            "00",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-zz",
        ] {
            assert_eq!(read(parent), None, "{parent}");
        }
    }

    #[test]
    fn the_ratio_is_the_share_of_traces() {
        let sampled = (0..4000).filter(|_| TraceContext::new().is_sampled(0.25)).count();
        assert!((800..1200).contains(&sampled), "{sampled}");
        assert!(!TraceContext::new().is_sampled(0.0) && TraceContext::new().is_sampled(1.0));
    }
}
