//! A name server on loopback that says what a story needs, and remembers what it was asked.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a server of the stories, in a process of its own"
)]

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;

/// Answers, in turn: the n-th question for a name gets the n-th answer, the last one for ever.
type Answers = HashMap<String, Vec<Vec<Says>>>;

/// What it says of a name.
#[derive(Clone)]
enum Says {
    /// It has this address.
    Address(IpAddr),
    /// It is another one's alias; what is known of that one follows in the same answer, as servers do it.
    Alias(String),
    /// Nothing, ever.
    Nothing,
}

/// Aliases of aliases that it follows; a resolver gives up earlier.
const MOST_ALIASES: usize = 16;

/// A running name server.
pub struct Dns {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Dns {
    /// The answer that never comes.
    pub const SILENCE: &str = "silence";

    /// Serves these names (without a trailing dot), each with its answers in turn: addresses, names of which it is an
    /// alias, or [`Dns::SILENCE`]. TTL 0. All else: NXDOMAIN.
    pub async fn start(names: &[(&str, &[&[&str]])]) -> Dns {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let dns = Dns {
            address: socket.local_addr().expect("bound"),
            asked: Arc::default(),
        };
        let answers = names.iter().map(|(name, turns)| {
            (
                name.to_string(),
                turns
                    .iter()
                    .map(|turn| turn.iter().map(|text| Says::of(text)).collect())
                    .collect(),
            )
        });
        tokio::spawn(serve(socket, answers.collect(), dns.asked.clone()));
        dns
    }

    /// `127.0.0.1:PORT`, for `--dns`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The names it was asked for IPv4 addresses of, in order.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic inside").clone()
    }
}

async fn serve(socket: UdpSocket, answers: Answers, asked: Arc<Mutex<Vec<String>>>) {
    let mut buffer = [0; 2048];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let Ok(question) = Message::from_vec(&buffer[..length]) else {
            continue;
        };
        if let Some(answer) = answer(&question, &answers, &asked) {
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

fn answer(question: &Message, answers: &Answers, asked: &Mutex<Vec<String>>) -> Option<Vec<u8>> {
    let query = question.queries.first()?.clone();
    let name = query.name().to_ascii().trim_end_matches('.').to_lowercase();
    let mut message = Message::new(question.id, MessageType::Response, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.metadata.recursion_available = true;
    let mut asked = asked.lock().expect("no panic inside");
    let turn = asked.iter().filter(|before| **before == name).count();
    if query.query_type() == RecordType::A {
        asked.push(name.clone());
    }
    match answers.get(&name) {
        None => message.metadata.response_code = ResponseCode::NXDomain,
        Some(turns) => {
            let says = turns.get(turn).or(turns.last()).into_iter().flatten();
            let says: Vec<Says> = says.cloned().collect();
            if says.iter().any(|says| matches!(says, Says::Nothing)) {
                return None;
            }
            message.answers = records(&name, &says, query.query_type(), answers);
        }
    }
    message.queries.push(query);
    message.to_vec().ok()
}

/// The records of a name, and after an alias those of the name that it leads to.
fn records(name: &str, says: &[Says], kind: RecordType, answers: &Answers) -> Vec<Record> {
    let (mut records, mut name, mut says) = (Vec::new(), name.to_owned(), says.to_vec());
    for _ in 0..MOST_ALIASES {
        let mut next = None;
        for said in &says {
            let data = match (said, kind) {
                (Says::Address(IpAddr::V4(v4)), RecordType::A) => RData::A((*v4).into()),
                (Says::Address(IpAddr::V6(v6)), RecordType::AAAA) => RData::AAAA((*v6).into()),
                (Says::Alias(of), _) => {
                    next = Some(of.clone());
                    RData::CNAME(CNAME(absolute(of)))
                }
                _ => continue,
            };
            records.push(Record::from_rdata(absolute(&name), 0, data));
        }
        let Some(of) = next else { break };
        says = answers
            .get(&of)
            .and_then(|turns| turns.last().cloned())
            .unwrap_or_default();
        name = of;
    }
    records
}

fn absolute(name: &str) -> Name {
    let mut name = Name::from_ascii(name).expect("a name");
    name.set_fqdn(true);
    name
}

impl Says {
    fn of(text: &str) -> Says {
        match text.parse() {
            Ok(address) => Says::Address(address),
            Err(_) if text == Dns::SILENCE => Says::Nothing,
            Err(_) => Says::Alias(text.to_owned()),
        }
    }
}
