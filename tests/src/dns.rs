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
use hickory_proto::rr::{RData, Record, RecordType};
use tokio::net::UdpSocket;

/// Answers, in turn: the n-th question for a name gets the n-th answer, the last one for ever.
type Answers = HashMap<String, Vec<Vec<IpAddr>>>;

/// A running name server.
pub struct Dns {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Dns {
    /// Serves these names (without a trailing dot), each with its answers in turn. TTL 0. All else: NXDOMAIN.
    pub async fn start(names: &[(&str, &[&[&str]])]) -> Dns {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let dns = Dns {
            address: socket.local_addr().expect("bound"),
            asked: Arc::default(),
        };
        let address = |text: &&str| text.parse().expect("an address");
        let answers = names.iter().map(|(name, turns)| {
            (
                name.to_string(),
                turns
                    .iter()
                    .map(|turn| turn.iter().map(address).collect())
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
            let addresses = turns.get(turn).or(turns.last()).into_iter().flatten();
            for address in addresses {
                let data = match (address, query.query_type()) {
                    (IpAddr::V4(v4), RecordType::A) => RData::A((*v4).into()),
                    (IpAddr::V6(v6), RecordType::AAAA) => RData::AAAA((*v6).into()),
                    _ => continue,
                };
                message
                    .answers
                    .push(Record::from_rdata(query.name().clone(), 0, data));
            }
        }
    }
    message.queries.push(query);
    message.to_vec().ok()
}
