//! `cluster host add NAME lxd://…`: an instance that is made for the cluster, and its host key with it.

use bcm_cluster::lxd::{InstanceKind, InstanceSpec, Size, StaticAddress};
use bcm_cluster::{ClientEnv, Destination, Host, HostTarget, InstanceName, Lxd, Remote, SshTarget};
use bcm_keystore::ssh::SshStore;
use clap::Args;

use super::hosts::Add;
use super::reach::{InCluster, note};
use crate::commands::ssh::{Meeting, ensure_agent, meet};
use crate::report::Report;

/// What an instance is to be.
#[derive(Args, Debug)]
#[command(next_help_heading = "Instances of LXD or Incus")]
pub struct Instance {
    /// The alias or the fingerprint of an image on the server, with sshd in it
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// A virtual machine, with a kernel of its own
    #[arg(long, conflicts_with = "static_address")]
    vm: bool,
    /// How many processors it may use
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    cpus: Option<u16>,
    /// How much memory it may use, such as 4GiB
    #[arg(long, value_name = "SIZE")]
    memory: Option<Size>,
    /// How much disk it may use
    #[arg(long, value_name = "SIZE")]
    disk: Option<Size>,
    /// The bridge of the server that it is plugged to
    #[arg(long, value_name = "NAME")]
    bridge: Option<InstanceName>,
    /// Its address, where the bridge gives none
    #[arg(long = "static", value_name = "IP/PREFIX[,GATEWAY]")]
    static_address: Option<StaticAddress>,
}

impl Instance {
    /// Tells whether nothing was said of an instance.
    pub fn is_empty(&self) -> bool {
        let Self {
            image,
            vm,
            cpus,
            memory,
            disk,
            bridge,
            static_address,
        } = self;
        let sizes = memory.is_none() && disk.is_none() && cpus.is_none();
        let network = bridge.is_none() && static_address.is_none();
        image.is_none() && !vm && sizes && network
    }

    fn spec(&self, name: &InstanceName) -> Result<InstanceSpec, Report> {
        let image = self.image.clone().ok_or_else(|| {
            Report::usage("an image is needed to make an instance").with_hint(
                "give one that the server has, with openssh-server in it: `--image debian12`; `lxc \
                 image list` shows them",
            )
        })?;
        Ok(InstanceSpec {
            name: name.clone(),
            kind: if self.vm {
                InstanceKind::Vm
            } else {
                InstanceKind::Container
            },
            image,
            cpus: self.cpus,
            memory: self.memory.clone(),
            disk: self.disk.clone(),
            bridge: self.bridge.clone(),
            address: self.static_address,
        })
    }

    /// Makes the instance, lets the wallet in, and logs in once; what fails is deleted again.
    pub async fn launch(
        &self,
        cluster: &mut InCluster<'_>,
        add: &Add,
        server: Option<&Destination>,
        name: &InstanceName,
    ) -> Result<HostTarget, Report> {
        let spec = self.spec(name)?;
        let server = match server {
            None => None,
            Some(destination) => Some(self.meet_server(cluster, add, destination).await?),
        };
        let lxd = match &server {
            None => match crate::env::lxd_socket() {
                Some(socket) => Lxd::at("local", &socket).await?,
                None => {
                    let env = ClientEnv::pick(crate::env::variables());
                    Lxd::connect(&Remote::local(env)).await?
                }
            },
            Some(server) => {
                cluster.key(server.destination.identity()).await?;
                let remote = cluster.connections()?.remote_at(add.name(), server);
                let hush = ensure_agent(cluster.keeper, cluster.open)?.hush();
                let lxd = Lxd::connect(&remote).await;
                drop(hush);
                lxd?
            }
        };
        let address = lxd.launch(&spec, &|how_far| note(how_far)).await?;
        let admitted = async {
            let login = match address {
                std::net::IpAddr::V4(address) => format!("root@{address}"),
                std::net::IpAddr::V6(address) => format!("root@[{address}]"),
            };
            let destination: Destination = login.parse().expect("an address is a host");
            let (key, _) = cluster.key(destination.identity()).await?;
            let pin = lxd.admit(name, &key.to_string()).await?;
            let target = HostTarget::Lxd {
                server,
                instance: name.clone(),
                guest: SshTarget {
                    destination,
                    pin,
                    certified: false,
                },
            };
            let host = Host {
                name: add.name().clone(),
                target: target.clone(),
                chains: Vec::new(),
            };
            // the way in is proved before anybody relies on it
            let remote = cluster.connections()?.remote(&host);
            let hush = ensure_agent(cluster.keeper, cluster.open)?.hush();
            let connected = remote.connect().await;
            drop(hush);
            connected?;
            Ok(target)
        };
        let outcome: Result<_, Report> = admitted.await;
        if outcome.is_err() && lxd.delete(name).await.is_ok() {
            note(&format!("`{name}` was deleted again"));
        }
        outcome
    }

    async fn meet_server(
        &self,
        cluster: &mut InCluster<'_>,
        add: &Add,
        destination: &Destination,
    ) -> Result<SshTarget, Report> {
        let settings = cluster.settings()?;
        let wallet = cluster.open.session.store().clone();
        let mut store = SshStore::open(&wallet)?;
        let meeting = Meeting {
            destination,
            fingerprint: add.fingerprint(),
            again: &add.again(),
        };
        Ok(SshTarget::from(
            &meet(&mut store, &meeting, &settings).await?,
        ))
    }
}
