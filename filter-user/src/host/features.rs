//! What an interface's driver and the kernel do with its packets on their own: the features that ethtool(8) shows.

use std::io;

use ethtool::{EthtoolAttr, EthtoolFeatureAttr, EthtoolHandle, EthtoolHeader};
use futures_util::StreamExt as _;
use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, NLA_F_NESTED, NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage,
    NetlinkPayload, ParseableParametrized,
};
use netlink_packet_generic::{GenlFamily, GenlHeader, GenlMessage};

/// The kernel's `ETHTOOL_MSG_FEATURES_SET`.
const FEATURES_SET: u8 = 12;
/// The first version of the protocol, and the only one.
const VERSION: u8 = 1;
/// `ETHTOOL_FLAG_OMIT_REPLY`: no list of what has changed, only whether the request was understood.
const OMIT_REPLY: u32 = 1 << 1;
/// Attributes of the request, of a set of bits, of its list, and of one bit.
const HEADER: u16 = 1;
const WANTED: u16 = 3;
const BITS: u16 = 3;
const BIT: u16 = 1;
const BIT_NAME: u16 = 2;
const BIT_VALUE: u16 = 3;

/// The features of an interface, by the kernel's names for them (`rx-lro`).
#[derive(Debug, Default)]
pub(super) struct Features {
    on: Vec<String>,
    changeable: Vec<String>,
}

impl Features {
    /// Asks the kernel for those of the interface `name`.
    pub(super) async fn of(name: &str) -> io::Result<Self> {
        let (connection, mut handle, _) = ethtool::new_connection()?;
        let connection = tokio::spawn(connection);
        let features = Self::ask(&mut handle, name).await;
        connection.abort();
        features.map_err(io::Error::other)
    }

    async fn ask(handle: &mut EthtoolHandle, name: &str) -> Result<Self, ethtool::EthtoolError> {
        let mut features = Self::default();
        let answers = handle.feature().get(Some(name)).execute().await?;
        let mut answers = std::pin::pin!(answers);
        while let Some(answer) = answers.next().await {
            for attribute in answer?.payload.nlas {
                let (bits, list) = match attribute {
                    EthtoolAttr::Feature(EthtoolFeatureAttr::Active(bits)) => (bits, &mut features.on),
                    EthtoolAttr::Feature(EthtoolFeatureAttr::Hw(bits)) => (bits, &mut features.changeable),
                    _ => continue,
                };
                list.extend(bits.into_iter().filter(|bit| bit.value).map(|bit| bit.name));
            }
        }
        Ok(features)
    }

    pub(super) fn is_on(&self, name: &str) -> bool {
        self.on.iter().any(|on| on == name)
    }

    /// Whether it can be switched, as far as the kernel knows.
    pub(super) fn is_changeable(&self, name: &str) -> bool {
        self.changeable.iter().any(|changeable| changeable == name)
    }
}

/// Wishes features of an interface on or off. A driver that does not follow is no error: [`Features::of`] shows it.
pub(super) async fn switch(index: u32, names: &[String], on: bool) -> io::Result<()> {
    let (connection, mut handle, _) = ethtool::new_connection()?;
    let connection = tokio::spawn(connection);
    let result = request(&mut handle, SetFeatures::new(index, names, on)).await;
    connection.abort();
    result
}

async fn request(handle: &mut EthtoolHandle, request: SetFeatures) -> io::Result<()> {
    let mut message = NetlinkMessage::from(GenlMessage::from_payload(request));
    message.header.flags = NLM_F_REQUEST | NLM_F_ACK;
    let answers = handle.handle.request(message).await.map_err(io::Error::other)?;
    let mut answers = std::pin::pin!(answers);
    while let Some(answer) = answers.next().await {
        if let NetlinkPayload::Error(answer) = answer.map_err(io::Error::other)?.payload
            && answer.code.is_some()
        {
            return Err(answer.to_io());
        }
    }
    // The library keeps the acknowledgement to itself.
    Ok(())
}

/// The request to switch features.
#[derive(Debug)]
struct SetFeatures {
    attributes: Vec<DefaultNla>,
}

impl SetFeatures {
    fn new(index: u32, names: &[String], on: bool) -> Self {
        let bits: Vec<_> = names
            .iter()
            .map(|name| {
                let mut bit = vec![DefaultNla::new(BIT_NAME, [name.as_bytes(), b"\0"].concat())];
                if on {
                    bit.push(DefaultNla::new(BIT_VALUE, Vec::new()));
                }
                nested(BIT, &bit)
            })
            .collect();
        let header = [EthtoolHeader::DevIndex(index), EthtoolHeader::Flags(OMIT_REPLY)];
        Self {
            attributes: vec![
                nested(HEADER, &header[..]),
                nested(WANTED, &[nested(BITS, &bits)]),
            ],
        }
    }
}

fn nested<T: netlink_packet_core::Nla>(kind: u16, inner: &[T]) -> DefaultNla {
    let mut value = vec![0; inner.buffer_len()];
    inner.emit(&mut value);
    DefaultNla::new(kind | NLA_F_NESTED, value)
}

impl GenlFamily for SetFeatures {
    fn family_name() -> &'static str {
        "ethtool"
    }

    fn command(&self) -> u8 {
        FEATURES_SET
    }

    fn version(&self) -> u8 {
        VERSION
    }
}

impl Emitable for SetFeatures {
    fn buffer_len(&self) -> usize {
        self.attributes.as_slice().buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        self.attributes.as_slice().emit(buffer);
    }
}

impl ParseableParametrized<[u8], GenlHeader> for SetFeatures {
    fn parse_with_param(_: &[u8], _: GenlHeader) -> Result<Self, DecodeError> {
        // None is asked for.
        Err(DecodeError::from("a reply that was to be left out"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attributes as `linux/ethtool_netlink.h` has them: lengths without padding, strings with their NUL.
    #[test]
    fn the_request_is_as_the_kernel_reads_it() {
        let request = SetFeatures::new(7, &["rx-lro".into()], true);
        let mut bytes = vec![0; request.buffer_len()];
        request.emit(&mut bytes);
        let nest = 0x80_u8;
        #[rustfmt::skip]
        let expected = [
            20, 0, 1, nest,
                8, 0, 1, 0, 7, 0, 0, 0,
                8, 0, 3, 0, 2, 0, 0, 0,
            28, 0, 3, nest,
                24, 0, 3, nest,
                    20, 0, 1, nest,
                        11, 0, 2, 0, b'r', b'x', b'-', b'l', b'r', b'o', 0, 0,
                        4, 0, 3, 0,
        ];
        assert_eq!(bytes, expected);
        // Off is a bit without a value.
        let off = SetFeatures::new(7, &["rx-lro".into()], false);
        assert_eq!(off.buffer_len(), expected.len() - 4);
    }
}
