//! From a [`HostPort`] to an open TCP connection: names resolved, addresses tried as RFC 8305 advises.
//!
//! The families alternate, beginning with that of the resolver's first answer; the next address is tried when
//! the one before has failed or has said nothing for [`STAGGER`], and the first that answers wins. A dead IPv6
//! route so costs a quarter of a second, not the whole timeout. The caller bounds the whole.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use host_model::HostPort;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// RFC 8305: "Connection Attempt Delay".
const STAGGER: Duration = Duration::from_millis(250);

/// Connects to whichever address of the host answers first.
///
/// # Errors
/// Of the resolver, or of the last address that failed.
pub(super) async fn connect(address: &HostPort) -> io::Result<TcpStream> {
    // The zone of a link-local address needs the resolver too: it knows the numbers of interfaces.
    let host = address.host().to_string();
    let found = lookup_host((host.as_str(), address.port())).await?;
    race(alternate(found.collect()), TcpStream::connect).await
}

/// The same addresses, families in turn.
fn alternate(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut ours, mut others): (VecDeque<_>, VecDeque<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == first_is_v6);
    let mut ordered = Vec::with_capacity(ours.len() + others.len());
    while !ours.is_empty() || !others.is_empty() {
        ordered.extend(ours.pop_front());
        ordered.extend(others.pop_front());
    }
    ordered
}

/// The first success; each further address joins when the running ones fail or stay silent.
async fn race<T, F: Future<Output = io::Result<T>>>(
    addresses: Vec<SocketAddr>,
    attempt: impl Fn(SocketAddr) -> F,
) -> io::Result<T> {
    let mut waiting = addresses.into_iter();
    let mut running = FuturesUnordered::new();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        let more = waiting.next().map(|address| running.push(attempt(address)));
        let ended = if more.is_some() {
            // Nothing ended in time: go on with one more at the side.
            let Ok(ended) = timeout(STAGGER, running.next()).await else {
                continue;
            };
            ended
        } else {
            running.next().await
        };
        match ended {
            Some(Ok(connected)) => return Ok(connected),
            Some(Err(error)) => last = error,
            None => return Err(last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn families_take_turns() {
        let found = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"]);
        let ordered = addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]);
        assert_eq!(alternate(found), ordered);
        assert!(alternate(Vec::new()).is_empty());
    }

    #[tokio::test]
    async fn a_silent_address_does_not_hold_up_the_next() {
        let found = addresses(&["[::1]:1", "1.1.1.1:1"]);
        let won = race(found, |address| async move {
            if address.is_ipv6() {
                std::future::pending::<()>().await;
            }
            Ok(address)
        });
        assert!(won.await.unwrap().is_ipv4());
    }

    #[tokio::test]
    async fn a_silent_address_may_still_answer_while_the_next_is_tried() {
        let found = addresses(&["[::1]:1", "1.1.1.1:1"]);
        let (tried, second) = tokio::sync::oneshot::channel();
        let (tried, second) = (
            std::cell::Cell::new(Some(tried)),
            std::cell::Cell::new(Some(second)),
        );
        let won = race(found, async |address: SocketAddr| {
            if address.is_ipv6() {
                second.take().unwrap().await.map_err(io::Error::other)?;
            } else {
                tried
                    .take()
                    .unwrap()
                    .send(())
                    .map_err(|()| io::Error::other("gone"))?;
                std::future::pending::<()>().await;
            }
            Ok(address)
        });
        assert!(won.await.unwrap().is_ipv6());
    }

    #[tokio::test]
    async fn refusals_let_the_next_begin_and_the_last_is_told() {
        let found = addresses(&["[::1]:1", "1.1.1.1:1", "2.2.2.2:1"]);
        let lost: io::Result<()> = race(found, |address| async move {
            Err(io::Error::other(address.to_string()))
        })
        .await;
        assert_eq!(lost.unwrap_err().to_string(), "2.2.2.2:1");
        let none: io::Result<()> = race(Vec::new(), |_| async { Ok(()) }).await;
        assert_eq!(none.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
