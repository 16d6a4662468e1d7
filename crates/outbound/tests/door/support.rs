//! Upstreams, names and grants for the stories.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the other side of the door: servers that the tests run"
)]

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hickory_resolver::proto::op::Message;
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use runner_manifest::{AllowList, Call, Destination};
use runner_outbound::{
    Body, BoxError, Error, Grants, Options, Outbound, Permit, Permitted, Timeouts, permit,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::task::JoinSet;

pub(crate) const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

/// A TCP server that remembers who came and what they said.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    pub(crate) log: Log,
    _task: JoinSet<()>,
}

#[derive(Clone, Default)]
pub(crate) struct Log {
    peers: Arc<Mutex<Vec<SocketAddr>>>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Log {
    pub(crate) fn peers(&self) -> Vec<SocketAddr> {
        self.peers.lock().unwrap().clone()
    }

    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    pub(crate) fn note(&self, head: String) {
        self.heads.lock().unwrap().push(head);
    }
}

impl Upstream {
    /// Runs `serve` for each connection.
    pub(crate) async fn start<S, F>(ip: &str, serve: S) -> Upstream
    where
        S: Fn(TcpStream, Log) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        Upstream::on(listener, serve)
    }

    pub(crate) fn on<S, F>(listener: TcpListener, serve: S) -> Upstream
    where
        S: Fn(TcpStream, Log) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let address = listener.local_addr().unwrap();
        let log = Log::default();
        let seen = log.clone();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, peer) = listener.accept().await.unwrap();
                seen.peers.lock().unwrap().push(peer);
                connections.spawn(serve(stream, seen.clone()));
            }
        });
        Upstream {
            address,
            log,
            _task: task,
        }
    }

    /// Answers every request with the same bytes, and keeps the connection.
    pub(crate) async fn answering(ip: &str, answer: impl Into<String>) -> Upstream {
        let answer = Arc::new(answer.into());
        Upstream::start(ip, move |stream, log| {
            answer_all(stream, log, answer.clone())
        })
        .await
    }

    /// Must never be connected to.
    pub(crate) async fn canary(ip: &str) -> Upstream {
        Upstream::answering(ip, HELLO).await
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }
}

async fn answer_all(mut stream: TcpStream, log: Log, answer: Arc<String>) {
    while let Some(head) = read_head(&mut stream).await {
        log.note(head);
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// A request up to its empty line; nothing once the peer has closed.
pub(crate) async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return None,
        }
    }
    Some(String::from_utf8(head).unwrap())
}

/// An address on which connections are refused, for as long as this lives. No upstream may live on `ip`, or it could
/// have the port already.
pub(crate) fn refusing(ip: &str, port: u16) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket
        .bind((ip.parse::<Ipv4Addr>().unwrap(), port).into())
        .unwrap();
    socket
}

/// A DNS server. Each question for an address takes the next answer; the last one is given for ever.
pub(crate) struct Dns {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    _task: JoinSet<()>,
}

impl Dns {
    /// Answers for every name there is.
    pub(crate) async fn answering(answers: &[&[&str]]) -> Dns {
        let parse = |answer: &&[&str]| answer.iter().map(|ip| ip.parse().unwrap()).collect();
        let mut answers: VecDeque<Vec<IpAddr>> = answers.iter().map(parse).collect();
        Dns::start(move |query| Some(reply(query, &mut answers))).await
    }

    /// Hears every question and says nothing.
    pub(crate) async fn silent() -> Dns {
        Dns::start(|_| None).await
    }

    async fn start(mut answer: impl FnMut(&Message) -> Option<Message> + Send + 'static) -> Dns {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let log = asked.clone();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut buffer = [0; 4096];
            loop {
                let (size, peer) = socket.recv_from(&mut buffer).await.unwrap();
                let query = Message::from_vec(&buffer[..size]).unwrap();
                let question = &query.queries[0];
                log.lock()
                    .unwrap()
                    .push(format!("{} {}", question.query_type(), question.name()));
                if let Some(reply) = answer(&query) {
                    socket
                        .send_to(&reply.to_vec().unwrap(), peer)
                        .await
                        .unwrap();
                }
            }
        });
        Dns {
            address,
            asked,
            _task: task,
        }
    }

    /// The questions so far, in the order of the alphabet.
    pub(crate) fn asked(&self) -> Vec<String> {
        let mut asked = self.asked.lock().unwrap().clone();
        asked.sort();
        asked
    }
}

fn reply(query: &Message, answers: &mut VecDeque<Vec<IpAddr>>) -> Message {
    let question = query.queries[0].clone();
    let mut reply = query.clone().into_response();
    if question.query_type() == RecordType::A {
        let records = match answers.len() {
            1 => answers[0].clone(),
            _ => answers.pop_front().unwrap(),
        };
        for ip in records {
            let data = RData::from(ip);
            reply.add_answer(Record::from_rdata(question.name().clone(), 0, data));
        }
    }
    reply
}

pub(crate) fn grants(component: &str, generation: u64, rules: &[&str]) -> Arc<Grants> {
    Arc::new(Grants {
        component: component.parse().unwrap(),
        allow: AllowList::parse(rules.iter().copied()).unwrap(),
        place: None,
        generation,
    })
}

pub(crate) fn remote(grants: &Arc<Grants>, url: &str) -> Permit {
    let to = Destination::from_url(url).unwrap();
    match permit(grants, &Call::get(&to)) {
        Ok(Permitted::Remote(permit)) => permit,
        other => panic!("{url} is not permitted: {other:?}"),
    }
}

pub(crate) fn door(options: Options) -> Outbound {
    Outbound::new(options).unwrap()
}

/// A door that knows names from `dns` alone.
pub(crate) fn door_with(dns: &Dns) -> Outbound {
    door(Options {
        dns: vec![dns.address],
        ..Options::default()
    })
}

pub(crate) fn nothing() -> impl http_body::Body<Data = Bytes, Error = BoxError> + Send + 'static {
    Empty::new().map_err(|never| match never {})
}

pub(crate) fn get(
    path: &str,
) -> Request<impl http_body::Body<Data = Bytes, Error = BoxError> + Send + 'static> {
    Request::get(path).body(nothing()).unwrap()
}

/// One request with these grants.
pub(crate) async fn send<B>(
    door: &Outbound,
    grants: &Arc<Grants>,
    url: &str,
    request: Request<B>,
) -> Result<Response<Body>, Error>
where
    B: http_body::Body<Data = Bytes, Error = BoxError> + Send + 'static,
{
    door.send(remote(grants, url), request, Timeouts::default())
        .await
}

/// One GET with these grants.
pub(crate) async fn fetch(
    door: &Outbound,
    grants: &Arc<Grants>,
    url: &str,
) -> Result<Response<Body>, Error> {
    send(door, grants, url, get("/")).await
}

pub(crate) async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The text of the error that must have come.
pub(crate) fn refusal(result: Result<Response<Body>, Error>) -> String {
    match result {
        Ok(response) => panic!("it was answered with {}", response.status()),
        Err(error) => error.to_string(),
    }
}
