//! The listening socket that whoever started us has opened: systemd's socket activation, `LISTEN_FDS`.

use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;

use crate::exit::{Exit, Failure};

/// Takes the socket, if there is one for us. Must be called before there is a second thread: the variables are taken out
/// of the environment.
pub(crate) fn take() -> Result<Option<TcpListener>, Failure> {
    let mut handed = ListenFd::from_env();
    if handed.len() > 1 {
        return Err(refused(
            format!("`LISTEN_FDS` hands over {} sockets", handed.len()),
            "hand over one: one listening TCP socket is served",
        ));
    }
    let help = "hand over a listening TCP socket as file descriptor 3, or unset `LISTEN_FDS`";
    let Some(socket) = handed.take_tcp_listener(0).map_err(|error| {
        refused(
            format!("what `LISTEN_FDS` hands over cannot be used: {error}"),
            help,
        )
    })?
    else {
        return Ok(None);
    };
    if !socket_acceptconn(&socket).unwrap_or(false) {
        return Err(refused(
            "the socket that `LISTEN_FDS` hands over does not listen",
            help,
        ));
    }
    Ok(Some(socket))
}

/// Whether a socket is the one that `--listen` asks for.
pub(crate) fn check(socket: &TcpListener, listen: Option<SocketAddr>) -> Result<(), Failure> {
    let address = socket
        .local_addr()
        .map_err(|error| Failure::of(Exit::Environment, &error))?;
    match listen {
        Some(wanted) if !fits(address, wanted) => Err(refused(
            format!(
                "the socket that `LISTEN_FDS` hands over listens on `{address}`, not on `{wanted}`"
            ),
            "leave `--listen` out, or let it name the same address",
        )),
        _ => Ok(()),
    }
}

/// Whether a socket at `address` is one that `wanted` asks for, which may leave the port open.
pub(crate) fn fits(address: SocketAddr, wanted: SocketAddr) -> bool {
    address.ip() == wanted.ip() && (wanted.port() == 0 || wanted.port() == address.port())
}

fn refused(sentence: impl std::fmt::Display, help: &str) -> Failure {
    Failure::new(Exit::Environment, sentence, help)
}
