//! What a host shall be, until it starts.

use std::time::Duration;

use crate::{
    Disk, Host, Lab, Layer, Network, Result, Shape,
    host::{BOOT, Config, Origin, card},
};

/// What a host shall be. Without further words: a snapshot of the image, booted; 2 GiB, 2 processors.
#[derive(Debug)]
#[must_use = "a host starts with start()"]
pub struct HostBuilder<'a> {
    lab: &'a Lab,
    number: u8,
    shape: Shape,
    layer: Option<Layer>,
    cold: bool,
    disks: Vec<Disk>,
    networks: Vec<Network>,
    kernel_args: Vec<String>,
    ready_within: Duration,
}

impl<'a> HostBuilder<'a> {
    pub(crate) fn new(lab: &'a Lab, number: u8) -> Self {
        Self {
            lab,
            number,
            shape: Shape::default(),
            layer: None,
            cold: false,
            disks: Vec::new(),
            networks: Vec::new(),
            kernel_args: Vec::new(),
            ready_within: BOOT,
        }
    }

    /// Starts from this layer.
    pub fn layer(mut self, layer: &Layer) -> Self {
        self.layer = Some(layer.clone());
        self
    }

    /// Boots, instead of starting from memory.
    pub fn cold(mut self) -> Self {
        self.cold = true;
        self
    }

    /// Other memory or processors. (A snapshot is made for each shape once: a boot.)
    pub fn shape(mut self, shape: Shape) -> Self {
        self.shape = shape;
        self
    }

    /// With this disk.
    pub fn disk(mut self, disk: &Disk) -> Self {
        self.disks.push(disk.clone());
        self
    }

    /// With an interface in this network: the first is `data0`, the next `data1`.
    pub fn nic(mut self, network: &Network) -> Self {
        self.networks.push(network.clone());
        self
    }

    /// One more word on the kernel's command line. The host boots, then.
    pub fn kernel_arg(mut self, arg: &str) -> Self {
        self.kernel_args.push(arg.to_owned());
        self.cold = true;
        self
    }

    /// How long it may take until it is ready (12 minutes).
    pub fn ready_within(mut self, time: Duration) -> Self {
        self.ready_within = time;
        self
    }

    /// Starts it; returns when commands run and its devices are there.
    pub fn start(self) -> Result<Host> {
        let layer = self
            .layer
            .unwrap_or_else(|| Layer::pristine(self.lab.image()));
        let origin = if self.cold {
            Origin::Cold(layer.cold_disk(self.number, self.shape)?)
        } else {
            layer.origin(self.number, self.shape)?
        };
        let config = Config {
            number: self.number,
            dir: self.lab.host_dir(self.number)?,
            image: self.lab.image().clone(),
            shape: self.shape,
            origin,
            kernel_args: self.kernel_args,
            ready_within: self.ready_within,
            stays: false,
        };
        let mut cards = Vec::new();
        for (index, network) in (0..).zip(&self.networks) {
            let wire = network.port()?;
            cards.push(card(index, wire)?);
        }
        let host = Host::new(config, self.disks, cards);
        self.lab.remember(&host);
        host.start()?;
        Ok(host)
    }
}
