//! What an engine changes about the interfaces it uses, and changes back: offloads, and on a bridge for which addresses they take
//! frames.

use std::io;

use rtnetlink::{Handle, LinkUnspec};

use super::{
    Interface,
    offload::{switch_off, switch_on, warn_of_those_on},
    record::{Changed, Record},
};

/// The changes. They stay if this is dropped, and so does their record, for the next engine.
#[derive(Debug)]
pub struct Changes {
    sides: Vec<Side>,
    is_bridge: bool,
    offloads: bool,
}

/// An interface cannot be made to take all frames.
#[derive(Debug, thiserror::Error)]
#[error("cannot make {interface} take frames for every address: {reason}")]
pub struct PromiscuousError {
    /// The interface.
    pub interface: String,
    /// What went wrong.
    pub reason: String,
}

#[derive(Debug)]
struct Side {
    interface: Interface,
    record: Record,
    /// What was changed when this engine came.
    before: Changed,
}

impl Changes {
    /// Nothing but what engines before have left. The servers' side is that of a bridge; `offloads` says whether those that
    /// hinder are to be switched off.
    #[must_use]
    pub fn new(interfaces: &[Interface], servers: Option<&Interface>, offloads: bool) -> Self {
        let side = |interface: &Interface| {
            let record = Record::open(interface);
            Side {
                interface: interface.clone(),
                before: record.changed().clone(),
                record,
            }
        };
        Self {
            is_bridge: servers.is_some(),
            sides: interfaces.iter().chain(servers).map(side).collect(),
            offloads,
        }
    }

    /// Changes what has to be otherwise, which is before programs are attached: some drivers refuse them until then.
    ///
    /// # Errors
    ///
    /// See [`PromiscuousError`]; offloads that cannot be switched off are warned of.
    pub async fn make(&mut self) -> Result<(), PromiscuousError> {
        for side in &mut self.sides {
            if self.is_bridge {
                side.take_all_frames().await?;
            }
            if self.offloads {
                side.switch_off().await;
            } else {
                warn_of_those_on(&side.interface).await;
            }
        }
        Ok(())
    }

    /// Takes back what this engine has changed: its programs were not attached, and those of a predecessor may be.
    pub async fn undo(self) {
        for side in self.sides {
            let before = side.before.clone();
            side.back_to(before).await;
        }
    }

    /// Takes back everything that engines have changed: no program is attached any more.
    pub async fn restore(self) {
        for side in self.sides {
            side.back_to(Changed::default()).await;
        }
    }
}

impl Changes {
    /// The same, and says what had been changed, if anything.
    pub(super) async fn restore_and_say(self) -> Option<String> {
        let changed = self.sides.iter().filter_map(|side| {
            let Changed {
                features,
                promiscuous,
            } = side.record.changed();
            let mut what: Vec<_> = features.iter().map(String::as_str).collect();
            what.extend(promiscuous.then_some("frames for every address"));
            (!what.is_empty()).then(|| format!("changed back {}: {}", side.interface.name, what.join(", ")))
        });
        let changed: Vec<_> = changed.collect();
        self.restore().await;
        (!changed.is_empty()).then(|| changed.join("; "))
    }
}

impl Side {
    /// Switches off the offloads that hinder, and says which.
    async fn switch_off(&mut self) {
        let name = &self.interface.name;
        let off = switch_off(&self.interface, &mut self.record).await;
        if !off.is_empty() {
            tracing::info!(
                "offloads of {name} switched off until the end: {}",
                off.join(", ")
            );
        }
        if !self.before.features.is_empty() {
            let earlier: Vec<_> = self.before.features.iter().map(String::as_str).collect();
            tracing::info!(
                "an engine before this one has switched off offloads of {name}; they are on again at the end of this one: {}",
                earlier.join(", ")
            );
        }
    }

    /// Makes the interface take frames for every address, unless it does.
    async fn take_all_frames(&mut self) -> Result<(), PromiscuousError> {
        if self.interface.is_promiscuous {
            return Ok(());
        }
        self.record.note(Changed {
            promiscuous: true,
            ..self.record.changed().clone()
        });
        set_promiscuous(self.interface.index, true)
            .await
            .map_err(|reason| PromiscuousError {
                interface: self.interface.name.clone(),
                reason,
            })
    }

    /// Takes back all changes but those that are to be `left`. What cannot be taken back stays on record.
    async fn back_to(mut self, left: Changed) {
        let Changed {
            features,
            promiscuous,
        } = self.record.changed().clone();
        let name = &self.interface.name;
        let mut left = left;
        if promiscuous
            && !left.promiscuous
            && let Err(error) = set_promiscuous(self.interface.index, false).await
        {
            tracing::warn!(
                "{name} still takes frames for every address: {error}; `ip link set dev {name} promisc off` ends that"
            );
            left.promiscuous = true;
        }
        let on: Vec<_> = features.difference(&left.features).cloned().collect();
        if !switch_on(&self.interface, on).await {
            left.features = features;
        }
        self.record.note(left);
    }
}

async fn set_promiscuous(index: u32, on: bool) -> Result<(), String> {
    let (connection, handle, _) =
        rtnetlink::new_connection().map_err(|error: io::Error| error.to_string())?;
    let connection = tokio::spawn(connection);
    let result = request(&handle, index, on).await;
    connection.abort();
    result.map_err(|error| error.to_string())
}

async fn request(handle: &Handle, index: u32, on: bool) -> Result<(), rtnetlink::Error> {
    let message = LinkUnspec::new_with_index(index).promiscuous(on).build();
    handle.link().set(message).execute().await
}
