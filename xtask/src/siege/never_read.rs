//! Clients that ask for much and read nothing of it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::siege::client::{attacker, dial_narrow};
use crate::siege::ground::{Ground, runtime};
use crate::siege::honest::Honest;
use crate::siege::report::{Finding, Measure};
use crate::siege::runner::Runner;

/// The guest writes in small pieces: its own memory is not what is measured.
const REQUEST: &[u8] =
    b"GET /big?bytes=50000000&chunk=4096 HTTP/1.1\r\nhost: siege.example\r\n\r\n";

/// Within this all of them are cut.
const CUT_WITHIN: Duration = Duration::from_secs(60);

/// Sockets that the honest client may have open while they are counted.
const HONEST: usize = 3;

pub(crate) fn run(ground: &Ground) -> Result<Vec<Finding>> {
    let runner = ground.start("never-read", &[])?;
    let count = ground.connections(ground.pick(200, 200));
    let honest = Honest::start(runner.address(), None)?;
    let (sockets, memory) = (runner.sockets(), runner.memory());
    let runtime = runtime()?;
    let clients = runtime.block_on(open(runner.address(), count))?;
    let open = runner.sockets().saturating_sub(sockets);
    let (cut_after, most_open) = runtime.block_on(until_cut(&runner, sockets, open));
    let grown = runner.peak() - memory;
    let orphans = runner.orphans();
    drop(clients);
    let honest = honest.finish();
    let mut measures = vec![
        Measure::told("most of them open", most_open as f64, "").at_least(count as f64 / 2.0),
        Measure::told("all cut after", cut_after.as_secs_f64(), "s")
            .below(CUT_WITHIN.as_secs_f64()),
        // Closed without a reset, what was never read stays with the kernel for many minutes.
        Measure::told("left to the kernel", orphans as f64, "").exactly(0.0),
        Measure::told("memory grew by", grown, "MiB").below(40.0),
    ];
    measures.extend(honest.measures());
    Ok(vec![
        Finding::new("never-read", measures).noting(honest.notes()),
    ])
}

async fn open(to: SocketAddr, count: u64) -> Result<Vec<TcpStream>> {
    let mut clients = Vec::new();
    for number in 0..count {
        let mut client = dial_narrow(attacker(number), to).await?;
        client.write_all(REQUEST).await?;
        clients.push(client);
    }
    Ok(clients)
}

/// When the server had no more sockets than before, and how many more it had at most.
async fn until_cut(runner: &Runner, before: usize, mut most: usize) -> (Duration, usize) {
    let begun = Instant::now();
    loop {
        sleep(Duration::from_millis(250)).await;
        let now = runner.sockets();
        most = most.max(now.saturating_sub(before));
        if now <= before + HONEST || begun.elapsed() > CUT_WITHIN {
            return (begun.elapsed(), most);
        }
    }
}
