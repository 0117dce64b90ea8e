//! Links, addresses and routes of a namespace, by netlink.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

use futures_util::TryStreamExt;
use rtnetlink::packet_route::link::LinkAttribute;
use rtnetlink::{Handle, LinkBridge, LinkUnspec, LinkVeth, RouteMessageBuilder};

use super::Namespace;

type Answer<T> = Result<T, rtnetlink::Error>;

impl Namespace {
    /// Makes a veth pair: `name` here, `peer_name` in `peer`. Both ends are still down.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn add_veth(&self, name: &str, peer: &Namespace, peer_name: &str) -> io::Result<()> {
        // Both ends are made here under names that cannot be taken, then moved and renamed.
        let (near, far) = (format!("n{}", unique()), format!("f{}", unique()));
        self.netlink(async |handle| {
            handle
                .link()
                .add(LinkVeth::new(&near, &far).build())
                .execute()
                .await?;
            let index = index_of(&handle, &near).await?;
            handle
                .link()
                .set(
                    LinkUnspec::new_with_index(index)
                        .name(name.to_owned())
                        .build(),
                )
                .execute()
                .await?;
            let index = index_of(&handle, &far).await?;
            let moved = LinkUnspec::new_with_index(index)
                .setns_by_fd(peer.as_fd().as_raw_fd())
                .name(peer_name.to_owned());
            handle.link().set(moved.build()).execute().await
        })
    }

    /// Makes a bridge and puts `members` into it; all of them are brought up.
    ///
    /// # Errors
    /// When the name is taken or a member does not exist.
    pub fn add_bridge(&self, name: &str, members: &[&str]) -> io::Result<()> {
        self.netlink(async |handle| {
            handle
                .link()
                .add(LinkBridge::new(name).up().build())
                .execute()
                .await?;
            let bridge = index_of(&handle, name).await?;
            for member in members {
                let index = index_of(&handle, member).await?;
                let member = LinkUnspec::new_with_index(index).controller(bridge).up();
                handle.link().set(member.build()).execute().await?;
            }
            Ok(())
        })
    }

    /// Removes a link.
    ///
    /// # Errors
    /// When it does not exist.
    pub fn remove_link(&self, name: &str) -> io::Result<()> {
        self.netlink(async |handle| {
            let index = index_of(&handle, name).await?;
            handle.link().del(index).execute().await
        })
    }

    /// Brings a link up.
    ///
    /// # Errors
    /// When it does not exist.
    pub fn set_up(&self, name: &str) -> io::Result<()> {
        self.change_link(name, rtnetlink::LinkMessageBuilder::up)
    }

    /// Takes a link down.
    ///
    /// # Errors
    /// When it does not exist.
    pub fn set_down(&self, name: &str) -> io::Result<()> {
        self.change_link(name, rtnetlink::LinkMessageBuilder::down)
    }

    /// Sets the MTU of a link.
    ///
    /// # Errors
    /// When the device does not take it.
    pub fn set_mtu(&self, name: &str, mtu: u32) -> io::Result<()> {
        self.change_link(name, |link| link.mtu(mtu))
    }

    /// Sets the MAC address of a link.
    ///
    /// # Errors
    /// When the device does not take it.
    pub fn set_mac(&self, name: &str, mac: [u8; 6]) -> io::Result<()> {
        self.change_link(name, |link| link.address(mac.to_vec()))
    }

    /// The MAC address of a link.
    ///
    /// # Errors
    /// When the link does not exist or has none.
    pub fn mac(&self, name: &str) -> io::Result<[u8; 6]> {
        let address = self.netlink(async |handle| {
            let mut links = handle.link().get().match_name(name.to_owned()).execute();
            let found = links.try_next().await?;
            Ok(found.and_then(|link| {
                link.attributes
                    .into_iter()
                    .find_map(|attribute| match attribute {
                        LinkAttribute::Address(address) => Some(address),
                        _ => None,
                    })
            }))
        })?;
        address
            .and_then(|bytes| <[u8; 6]>::try_from(bytes.as_slice()).ok())
            .ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::NotFound,
                    format!("{name} has no MAC address"),
                )
            })
    }

    /// The index of a link in its namespace.
    ///
    /// # Errors
    /// When it does not exist.
    pub fn index(&self, name: &str) -> io::Result<u32> {
        self.netlink(async |handle| index_of(&handle, name).await)
    }

    /// Gives a link an address, `address/prefix length`. IPv6 addresses are usable at once
    /// (no duplicate address detection).
    ///
    /// # Errors
    /// When the text is not an address with a prefix length or the link does not exist.
    pub fn add_address(&self, name: &str, address: &str) -> io::Result<()> {
        let (address, prefix) = parse_prefix(address)?;
        if address.is_ipv6() {
            self.sysctl(&format!("net/ipv6/conf/{name}/accept_dad"), "0")?;
        }
        self.netlink(async |handle| {
            let index = index_of(&handle, name).await?;
            handle.address().add(index, address, prefix).execute().await
        })
    }

    /// Adds a route to `to` (a prefix, e.g. `0.0.0.0/0`) by the neighbour `via`.
    ///
    /// # Errors
    /// When the texts do not parse, the families differ or the neighbour is not reachable.
    pub fn add_route(&self, to: &str, via: IpAddr) -> io::Result<()> {
        let (to, prefix) = parse_prefix(to)?;
        let route = RouteMessageBuilder::<IpAddr>::new()
            .destination_prefix(to, prefix)
            .and_then(|route| route.gateway(via))
            .map_err(io::Error::other)?
            .build();
        self.netlink(async |handle| handle.route().add(route).execute().await)
    }

    fn change_link(
        &self,
        name: &str,
        change: impl FnOnce(
            rtnetlink::LinkMessageBuilder<LinkUnspec>,
        ) -> rtnetlink::LinkMessageBuilder<LinkUnspec>
        + Send,
    ) -> io::Result<()> {
        self.netlink(async |handle| {
            let index = index_of(&handle, name).await?;
            handle
                .link()
                .set(change(LinkUnspec::new_with_index(index)).build())
                .execute()
                .await
        })
    }

    /// Runs netlink requests inside the namespace.
    fn netlink<T: Send, F: Future<Output = Answer<T>>>(
        &self,
        requests: impl FnOnce(Handle) -> F + Send,
    ) -> io::Result<T> {
        self.run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_io()
                .build()?;
            runtime.block_on(async {
                let (connection, handle, _) = rtnetlink::new_connection()?;
                let connection = tokio::spawn(connection);
                let answer = requests(handle).await.map_err(|error| self.explain(error));
                connection.abort();
                answer
            })
        })?
    }

    fn explain(&self, error: rtnetlink::Error) -> io::Error {
        match error {
            rtnetlink::Error::NetlinkError(message) => {
                let error = message.to_io();
                io::Error::new(error.kind(), format!("namespace {}: {error}", self.name()))
            }
            other => io::Error::other(format!("namespace {}: {other}", self.name())),
        }
    }
}

async fn index_of(handle: &Handle, name: &str) -> Answer<u32> {
    let mut links = handle.link().get().match_name(name.to_owned()).execute();
    match links.try_next().await? {
        Some(link) => Ok(link.header.index),
        None => Err(rtnetlink::Error::RequestFailed),
    }
}

fn parse_prefix(text: &str) -> io::Result<(IpAddr, u8)> {
    let bad = || {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("`{text}` is not an address/length"),
        )
    };
    let (address, length) = text.split_once('/').ok_or_else(bad)?;
    Ok((
        address.parse().map_err(|_| bad())?,
        length.parse().map_err(|_| bad())?,
    ))
}

/// Part of a link's name that no other link of this machine has at the moment.
fn unique() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!(
        "{:x}.{:x}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_needs_an_address_and_a_length() {
        assert!(parse_prefix("10.0.0.1/24").is_ok());
        assert!(parse_prefix("2001:db8::/32").is_ok());
        assert!(parse_prefix("10.0.0.1").is_err());
        assert!(parse_prefix("10.0.0/8").is_err());
    }
}
