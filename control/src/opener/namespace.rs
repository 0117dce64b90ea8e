//! Entering the namespace that a `device` names, for the length of one request.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A device and the namespace that it is in: `device`, or `netns:device`, where `netns` is a name
/// (as `ip netns` knows it) or a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) namespace: Option<String>,
    pub(super) device: String,
}

impl Place {
    pub(super) fn parse(text: &str) -> Self {
        match text.rsplit_once(':') {
            Some((namespace, device)) => Self {
                namespace: Some(namespace.to_owned()),
                device: device.to_owned(),
            },
            None => Self {
                namespace: None,
                device: text.to_owned(),
            },
        }
    }

    /// Opens the namespace, `None` for our own.
    pub(super) fn open(&self) -> io::Result<Option<File>> {
        let Some(name) = &self.namespace else {
            return Ok(None);
        };
        let path = if name.contains('/') {
            name.clone()
        } else {
            format!("/run/netns/{name}")
        };
        File::open(path).map(Some)
    }
}

/// Runs `work` inside a namespace and comes back.
///
/// # Errors
/// When the namespace cannot be entered.
///
/// # Panics
/// When the way back is barred: going on in the wrong namespace would open the wrong devices.
pub(super) fn inside<T>(
    namespace: Option<&File>,
    home: &File,
    work: impl FnOnce() -> T,
) -> io::Result<T> {
    let Some(namespace) = namespace else {
        return Ok(work());
    };
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
    let result = work();
    move_into_link_name_space(home.as_fd(), Some(LinkNameSpaceType::Network))
        .expect("a process may return to the namespace that it came from");
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_may_name_its_namespace() {
        let parsed = |text| {
            let place = Place::parse(text);
            (place.namespace, place.device)
        };
        assert_eq!(parsed("eth0"), (None, "eth0".into()));
        assert_eq!(parsed("blue:eth0"), (Some("blue".into()), "eth0".into()));
        assert_eq!(
            parsed("/proc/1/ns/net:eth0"),
            (Some("/proc/1/ns/net".into()), "eth0".into())
        );
    }
}
