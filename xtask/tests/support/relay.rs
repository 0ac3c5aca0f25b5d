//! An address of this machine behind which a socket of this machine answers.

use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Open until it is dropped.
pub struct Relay {
    /// `tcp://127.0.0.1:PORT`.
    pub address: String,
    ended: Arc<AtomicBool>,
}

impl Relay {
    pub fn to(socket: &'static str) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&ended);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(server) = UnixStream::connect(socket) else { continue };
                both_ways(client, server);
            }
        });
        Relay { address: format!("tcp://{address}"), ended }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address.trim_start_matches("tcp://"));
    }
}

/// An end on one side is passed on to the other: `docker exec -i` relies on it.
fn both_ways(client: TcpStream, server: UnixStream) {
    let (Ok(mut from_client), Ok(mut from_server)) = (client.try_clone(), server.try_clone()) else { return };
    let (mut client, mut server) = (client, server);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut server);
        let _ = server.flush();
        let _ = server.shutdown(Shutdown::Write);
    });
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_server, &mut client);
        let _ = client.shutdown(Shutdown::Write);
    });
}
