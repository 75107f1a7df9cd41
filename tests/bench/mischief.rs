//! A server for one publisher and one subscriber that does not always hand on what it should.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What happens to the message with this number, counted from 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mischief {
    None,
    Lose(usize),
    Repeat(usize),
    /// The last one comes again as late as it can: right before the answer to a PINGREQ.
    RepeatLast,
    /// It comes after the next one.
    Delay(usize),
    Damage(usize),
}

#[derive(Default)]
struct Relay {
    subscriber: Option<TcpStream>,
    published: usize,
    delayed: Vec<u8>,
    last: Vec<u8>,
}

/// Serves on threads of its own, which end with their connections.
pub(crate) fn serve(mischief: Mischief) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        let relay = Arc::new(Mutex::new(Relay::default()));
        for stream in listener.incoming().take(2) {
            let (stream, relay) = (stream.expect("a connection"), Arc::clone(&relay));
            // Whoever leaves ends the thread by an error.
            thread::spawn(move || serve_client(&stream, &relay, mischief));
        }
    });
    address
}

fn serve_client(stream: &TcpStream, relay: &Mutex<Relay>, mischief: Mischief) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    let mut is_subscriber = false;
    loop {
        let packet = read_packet(&mut reader)?;
        match packet[0] >> 4 {
            1 => writer.write_all(&[0x20, 2, 0, 0])?,
            3 => relay.lock().expect("no panic").hand_on(packet, mischief)?,
            8 => {
                is_subscriber = true;
                relay.lock().expect("no panic").subscriber = Some(stream.try_clone()?);
                writer.write_all(&[0x90, 3, packet[2], packet[3], 0])?;
            }
            12 => {
                let mut answer = vec![0xD0, 0];
                if mischief == Mischief::RepeatLast && is_subscriber {
                    answer.splice(..0, relay.lock().expect("no panic").last.clone());
                }
                writer.write_all(&answer)?;
            }
            _ => return Ok(()),
        }
    }
}

impl Relay {
    fn hand_on(&mut self, mut packet: Vec<u8>, mischief: Mischief) -> io::Result<()> {
        let number = self.published;
        self.published += 1;
        match mischief {
            Mischief::Lose(at) if at == number => return Ok(()),
            Mischief::Delay(at) if at == number => {
                self.delayed = packet;
                return Ok(());
            }
            Mischief::Repeat(at) if at == number => packet.extend_from_within(..),
            Mischief::Damage(at) if at == number => *packet.last_mut().expect("a byte") ^= 1,
            _ => {}
        }
        self.last.clone_from(&packet);
        packet.append(&mut self.delayed);
        self.subscriber.as_ref().expect("it came first").write_all(&packet)
    }
}

/// One with a Remaining Length of one byte.
fn read_packet(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut packet = vec![0; 2];
    reader.read_exact(&mut packet)?;
    assert!(packet[1] < 0x80, "a packet of the test is short");
    let length = u64::from(packet[1]);
    reader.take(length).read_to_end(&mut packet)?;
    Ok(packet)
}
