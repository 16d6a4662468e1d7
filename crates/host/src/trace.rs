//! Where a request stands among others: W3C Trace Context, read from a caller and written for a callee.
//!
//! Identifiers are made for every request, whether anybody collects traces or not: they are two words of a random
//! number generator that each thread has of its own. Headers are touched only where an operator has traces collected.

use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};

use http::{HeaderMap, HeaderName, HeaderValue};

pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The only version there is.
const VERSION: &str = "00";

/// What `VERSION-TRACE-SPAN-FLAGS` takes; a later version may go on behind another dash.
const LENGTH: usize = 55;

/// As much of a `tracestate` as everybody must pass on; a longer one is left out, as the recommendation allows.
const MAX_STATE: usize = 512;

/// Names a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId(NonZeroU128);

/// Names a span within its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanId(NonZeroU64);

/// A span's place in its trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Which trace.
    pub id: TraceId,
    /// The span itself.
    pub span: SpanId,
    /// The span that caused it; none where the trace begins.
    pub parent: Option<SpanId>,
    /// Whether its spans are to be collected.
    pub sampled: bool,
    /// What other vendors pass along, `tracestate`.
    pub state: Option<HeaderValue>,
}

/// Whether traces are collected.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Tracing {
    /// Nobody listens: headers stay as they were written.
    #[default]
    Off,
    /// Somebody listens: guests and upstreams are told which span called them.
    On(Sampler),
}

/// Which traces are collected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// What decides about a trace that begins here, or about all.
    pub root: Share,
    /// Whether a caller's own decision counts instead, where there is a caller.
    pub parent_decides: bool,
}

/// A share of all traces.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Share {
    /// All of them.
    All,
    /// None.
    None,
    /// This part of them, from 0 to 1. It follows from the trace's id alone, so that others decide alike.
    Part(f64),
}

impl Tracing {
    pub(crate) fn is_on(self) -> bool {
        matches!(self, Tracing::On(_))
    }

    fn samples(self, id: TraceId, parent: Option<bool>) -> bool {
        match self {
            Tracing::Off => parent.unwrap_or(false),
            Tracing::On(sampler) => sampler.samples(id, parent),
        }
    }
}

impl Sampler {
    fn samples(self, id: TraceId, parent: Option<bool>) -> bool {
        match parent {
            Some(sampled) if self.parent_decides => sampled,
            _ => self.root.has(id),
        }
    }
}

impl Share {
    fn has(self, id: TraceId) -> bool {
        match self {
            Share::All => true,
            Share::None => false,
            // As OpenTelemetry's own libraries compare: 63 of the id's lower bits.
            Share::Part(part) => {
                let bound = (part.clamp(0.0, 1.0) * (1_u64 << 63) as f64) as u64;
                (id.0.get() as u64) >> 1 < bound
            }
        }
    }
}

impl Trace {
    /// The span of a request that came with these headers. What is no valid `traceparent` begins a new trace.
    pub(crate) fn of_request(headers: &HeaderMap, tracing: Tracing) -> Trace {
        let Some((id, parent, sampled)) = parent(headers) else {
            return Trace::root(tracing);
        };
        Trace {
            id,
            span: SpanId::random(),
            parent: Some(parent),
            sampled: tracing.samples(id, Some(sampled)),
            state: if tracing.is_on() {
                state(headers)
            } else {
                None
            },
        }
    }

    /// The first span of a new trace.
    pub fn root(tracing: Tracing) -> Trace {
        let id = TraceId::random();
        Trace {
            id,
            span: SpanId::random(),
            parent: None,
            sampled: tracing.samples(id, None),
            state: None,
        }
    }

    /// A span that this one causes.
    pub(crate) fn child(&self) -> Trace {
        Trace {
            span: SpanId::random(),
            parent: Some(self.span),
            ..self.clone()
        }
    }

    /// Tells a guest, in place of what its caller said.
    pub(crate) fn tell_guest(&self, headers: &mut HeaderMap) {
        headers.insert(TRACEPARENT, self.header());
        match self.state.clone() {
            Some(state) => headers.insert(TRACESTATE, state),
            None => headers.remove(TRACESTATE),
        };
    }

    /// Tells an upstream. What the guest has written of another trace is the guest's.
    pub(crate) fn tell_upstream(&self, headers: &mut HeaderMap) {
        if headers.contains_key(TRACEPARENT) && parent(headers).is_none_or(|(id, ..)| id != self.id)
        {
            return;
        }
        headers.insert(TRACEPARENT, self.header());
        if let Some(state) = self
            .state
            .clone()
            .filter(|_| !headers.contains_key(TRACESTATE))
        {
            headers.insert(TRACESTATE, state);
        }
    }

    fn header(&self) -> HeaderValue {
        let flags = u8::from(self.sampled);
        let text = format!("{VERSION}-{}-{}-{flags:02x}", self.id, self.span);
        HeaderValue::try_from(text).expect("digits and dashes")
    }
}

/// The caller's trace and span, and whether it collects them.
fn parent(headers: &HeaderMap) -> Option<(TraceId, SpanId, bool)> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    parse(value.as_bytes())
}

fn parse(value: &[u8]) -> Option<(TraceId, SpanId, bool)> {
    let (known, rest) = value.split_at_checked(LENGTH)?;
    let mut fields = known.split(|byte| *byte == b'-');
    let version = hex(fields.next()?, 2)?;
    let id = NonZeroU128::new(hex(fields.next()?, 32)?)?;
    let span = NonZeroU64::new(hex(fields.next()?, 16)?.try_into().ok()?)?;
    let flags = hex(fields.next()?, 2)?;
    let may_go_on = version != 0 && rest.first() == Some(&b'-');
    if version == 0xff || fields.next().is_some() || !(rest.is_empty() || may_go_on) {
        return None;
    }
    Some((TraceId(id), SpanId(span), flags & 1 == 1))
}

/// So many digits, in lower case.
fn hex(digits: &[u8], count: usize) -> Option<u128> {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if digits.len() != count || !digits.iter().all(is_digit) {
        return None;
    }
    u128::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// All lines of it as one, as HTTP joins lists.
fn state(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut lines = headers.get_all(TRACESTATE).iter();
    let first = lines.next()?;
    let mut whole = first.as_bytes().to_vec();
    for line in lines {
        whole.push(b',');
        whole.extend_from_slice(line.as_bytes());
    }
    if whole.len() > MAX_STATE {
        return None;
    }
    HeaderValue::from_bytes(&whole).ok()
}

impl TraceId {
    fn random() -> TraceId {
        // Zero is no id, and as likely as any other.
        TraceId(NonZeroU128::new(fastrand::u128(..)).unwrap_or(NonZeroU128::MAX))
    }

    /// As OTLP writes it.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.get().to_be_bytes()
    }
}

impl SpanId {
    pub(crate) fn random() -> SpanId {
        SpanId(NonZeroU64::new(fastrand::u64(..)).unwrap_or(NonZeroU64::MAX))
    }

    /// As OTLP writes it.
    pub fn to_bytes(self) -> [u8; 8] {
        self.0.get().to_be_bytes()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Tracing = Tracing::On(Sampler {
        root: Share::All,
        parent_decides: true,
    });
    const ID: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let fields = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, value);
        }
        headers
    }

    #[test]
    fn a_traceparent_is_read_as_the_recommendation_has_it() {
        for (text, expected) in [
            (format!("00-{ID}-{SPAN}-01"), Some(true)),
            (format!("00-{ID}-{SPAN}-00"), Some(false)),
            (format!("00-{ID}-{SPAN}-03"), Some(true)), // a flag nobody knows yet
            (format!("cc-{ID}-{SPAN}-01"), Some(true)), // a later version
            (format!("cc-{ID}-{SPAN}-01-what-it-adds"), Some(true)),
            (format!("cc-{ID}-{SPAN}-01.what-it-adds"), None),
            (format!("00-{ID}-{SPAN}-01-more"), None), // this version has no more
            (format!("ff-{ID}-{SPAN}-01"), None),
            (format!("00-{}-{SPAN}-01", "0".repeat(32)), None),
            (format!("00-{ID}-{}-01", "0".repeat(16)), None),
            (format!("00-{}-{SPAN}-01", ID.to_uppercase()), None),
            (format!("00-{ID}-{SPAN}-1"), None),
            (format!("00-{ID}-{SPAN}-0g"), None),
            (format!("0-{ID}-{SPAN}-001"), None),
            (format!("00-{ID}-+7ad6b7169203331-01"), None),
            (format!("00_{ID}_{SPAN}_01"), None),
            (format!("00-{ID}-{SPAN}"), None),
            (String::new(), None),
        ] {
            let found = parse(text.as_bytes());
            assert_eq!(found.map(|(.., sampled)| sampled), expected, "{text}");
            if let Some((id, span, _)) = found {
                assert_eq!((id.to_string(), span.to_string()), (ID.into(), SPAN.into()));
            }
        }
    }

    #[test]
    fn a_request_goes_on_with_its_callers_trace_or_begins_one() {
        let (caller, state) = (format!("00-{ID}-{SPAN}-01"), ("tracestate", "a=1"));
        let one = [("traceparent", caller.as_str()), state];
        let trace = Trace::of_request(&headers(&one), ALL);
        assert_eq!(trace.id.to_string(), ID);
        assert_eq!(trace.parent.map(|span| span.to_string()), Some(SPAN.into()));
        assert_eq!(trace.state.as_ref().unwrap(), "a=1");
        assert!(trace.sampled && trace.span != trace.parent.unwrap());

        let long = "x=".repeat(MAX_STATE);
        let more = [one[0], state, ("tracestate", "b=2")];
        let most = [one[0], ("tracestate", &long)];
        assert_eq!(
            Trace::of_request(&headers(&more), ALL).state.unwrap(),
            "a=1,b=2"
        );
        assert_eq!(Trace::of_request(&headers(&most), ALL).state, None);

        for others in [&[][..], &[state], &[one[0], one[0]]] {
            let trace = Trace::of_request(&headers(others), ALL);
            assert_eq!((trace.parent, trace.state), (None, None), "{others:?}");
            assert_ne!(trace.id.to_string(), ID);
        }
    }

    #[test]
    fn who_decides_whether_a_trace_is_collected() {
        let id = |low: u64| TraceId(NonZeroU128::new((1 << 100) | u128::from(low)).unwrap());
        let (low, high) = (id(1 << 62), id(3 << 62));
        for (root, parent_decides, id, parent, expected) in [
            (Share::All, false, high, Some(false), true),
            (Share::None, false, low, Some(true), false),
            (Share::All, true, high, Some(false), false),
            (Share::None, true, low, Some(true), true),
            (Share::None, true, low, None, false),
            (Share::Part(0.5), false, low, None, true),
            (Share::Part(0.5), false, high, None, false),
            (Share::Part(0.5), true, high, Some(true), true),
            (Share::Part(1.0), false, id(u64::MAX), None, true),
            (Share::Part(0.0), false, id(0), None, false),
        ] {
            let sampler = Sampler {
                root,
                parent_decides,
            };
            assert_eq!(sampler.samples(id, parent), expected, "{sampler:?} {id}");
        }
    }

    #[test]
    fn an_upstream_is_told_unless_the_guest_speaks_of_another_trace() {
        let own = Trace {
            state: Some(HeaderValue::from_static("a=1")),
            ..Trace::of_request(
                &headers(&[("traceparent", &format!("00-{ID}-{SPAN}-01"))]),
                ALL,
            )
        };
        let ours = format!("00-{ID}-{}-01", own.span);
        let same = format!("00-{ID}-{SPAN}-00");
        let other = format!("00-{}-{SPAN}-01", ID.replace('0', "1"));
        for (written, parent, state) in [
            (vec![], ours.as_str(), Some("a=1")),
            (vec![("traceparent", same.as_str())], &ours, Some("a=1")),
            (vec![("tracestate", "b=2")], &ours, Some("b=2")),
            (vec![("traceparent", other.as_str())], &other, None),
            (vec![("traceparent", "mine")], "mine", None),
        ] {
            let mut headers = headers(&written);
            own.tell_upstream(&mut headers);
            let found = headers.get(TRACESTATE).map(|state| state.to_str().unwrap());
            assert_eq!(
                (headers[TRACEPARENT].to_str().unwrap(), found),
                (parent, state)
            );
        }
    }
}
