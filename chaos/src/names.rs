//! Owns a name server of one name, which can fall silent or fail.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::net::UdpSocket;

use crate::fleet;

/// What it does with a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Answers = 0,
    Silent = 1,
    /// SERVFAIL.
    Fails = 2,
}

/// A running server.
pub(crate) struct Names {
    pub(crate) address: SocketAddr,
    mood: Arc<AtomicU8>,
    task: tokio::task::JoinHandle<()>,
}

impl Names {
    /// Answers each question for addresses with these, for a second each.
    pub(crate) async fn start(addresses: Vec<Ipv4Addr>) -> Result<Self, String> {
        let socket = UdpSocket::bind((fleet::own(200), 0)).await;
        let socket = socket.map_err(|error| format!("no name server: {error}"))?;
        let address = socket.local_addr().map_err(|error| error.to_string())?;
        let mood = Arc::new(AtomicU8::new(Mood::Answers as u8));
        let seen = mood.clone();
        let task = tokio::spawn(async move {
            let mut bytes = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut bytes).await {
                let mood = seen.load(Ordering::Relaxed);
                if mood == Mood::Silent as u8 {
                    continue;
                }
                if let Some(answer) = answer(&bytes[..length], &addresses, mood) {
                    let _ = socket.send_to(&answer, from).await;
                }
            }
        });
        Ok(Self {
            address,
            mood,
            task,
        })
    }

    pub(crate) fn be(&self, mood: Mood) {
        self.mood.store(mood as u8, Ordering::Relaxed);
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// RFC 1035 section 4.1, as far as one question of one name needs it. None: no question.
fn answer(question: &[u8], addresses: &[Ipv4Addr], mood: u8) -> Option<Vec<u8>> {
    let mut end = 12;
    while *question.get(end)? != 0 {
        end += usize::from(*question.get(end)?) + 1;
    }
    let asked = question.get(12..end + 5)?;
    let is_a = question.get(end + 1..end + 3)? == [0, 1];
    let fails = mood == Mood::Fails as u8;
    let count = if is_a && !fails { addresses.len() } else { 0 };
    let mut bytes = question.get(..2)?.to_vec();
    bytes.extend([0x84, if fails { 0x82 } else { 0x80 }, 0, 1, 0, count as u8]);
    bytes.extend([0, 0, 0, 0]);
    bytes.extend_from_slice(asked);
    for address in addresses.iter().take(count) {
        bytes.extend([0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
        bytes.extend(address.octets());
    }
    Some(bytes)
}
