//! The name server of a cluster: a Service's name leads to the addresses of its pods, as of a Service without an
//! address of its own, for nobody here translates the addresses of Services.

use std::{collections::HashMap, fs, net::Ipv4Addr, path::Path};

use tokio::net::UdpSocket;

/// Where name servers listen.
const PORT: u16 = 53;

/// How long an answer may be kept. Pods keep their addresses, so this only spares questions.
const TTL_SECONDS: u32 = 30;

/// Answers questions by a file of lines `NAME ADDRESS…`, for ever.
pub async fn serve(address: Ipv4Addr, table: &Path) {
    let text = fs::read_to_string(table).expect("a table of names");
    let names: HashMap<String, Vec<Ipv4Addr>> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next()?.to_owned();
            Some((name, words.map(|word| word.parse().expect("an address")).collect()))
        })
        .collect();
    let socket = UdpSocket::bind((address, PORT)).await.expect("the name server's address");
    let mut question = [0; 512];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut question).await else { continue };
        if let Some(answer) = answer(&question[..length], &names) {
            // Who asked asks again if this is lost.
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

/// The answer to one question; nothing to what is none.
fn answer(message: &[u8], names: &HashMap<String, Vec<Ipv4Addr>>) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    let mut labels = Vec::new();
    let mut at = HEADER;
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(message.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let asked_type = u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]);
    let question = message.get(HEADER..at + 4)?;

    const A: u16 = 1;
    let found = names.get(&labels.join("."));
    let addresses: &[Ipv4Addr] = match found {
        Some(addresses) if asked_type == A => addresses,
        _ => &[],
    };
    // An authoritative answer, without an error or with "no such name".
    let flags: u16 = if found.is_some() { 0x8580 } else { 0x8583 };
    let count = u16::try_from(addresses.len()).ok()?;
    let mut answer = message.get(..2)?.to_vec();
    for word in [flags, 1, count, 0, 0] {
        answer.extend(word.to_be_bytes());
    }
    answer.extend(question);
    for address in addresses {
        // The name is the one at the beginning of the question.
        answer.extend([0xc0, 0x0c, 0, 1, 0, 1]);
        answer.extend(TTL_SECONDS.to_be_bytes());
        answer.extend([0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}
