//! The SYN proxy: TCP handshakes that are answered for a server, without memory for those that nobody
//! completes (nf_synproxy_core.c, nft_synproxy.c; RFC 4987, section 3.6).
//!
//! ```text
//! client                          here                          server
//!   SYN ------------------------->
//!       <------- SYN-ACK, window 0      its number is a cookie: nothing is kept
//!   ACK of the cookie ----------->      SYN ---------------------->      the connection is tracked
//!                                       <---------------------- SYN-ACK
//!       <-------- ACK, window open      ACK ---------------------->
//!   data ...                            passes, with the server's numbers and timestamps shifted
//! ```
//!
//! The client's window stays closed until the server has answered, so the client sends nothing but its
//! ACK, and probes that have us ask the server again. What the SYN offered beside its segment size is
//! not in the cookie but in the timestamp that the client echoes: without timestamps there is neither
//! window scaling nor selective acknowledgement.
//!
//! Here are the cookies and the segments, pure functions of packet, time and key. The statement is in
//! `program/synproxy.rs`, what happens to packets of a proxied connection in `worker/proxied.rs`, what is
//! kept of one in `conntrack/proxied.rs`.
//!
//! Limits: an ICMP error quotes numbers as the other side sees them, as in Linux; ECN is not offered, which
//! nft has no word for.

mod cookie;
mod handshake;
mod options;
mod segment;
mod timestamp;

pub use cookie::{Conversation, Cookies};
pub use handshake::{Handshake, Offer, client_ack, server_ack, server_syn, syn_ack};
pub use options::{Options, option};
pub use segment::{Framed, Segment, Towards, flag};
pub use timestamp::{Clock, shift};
