//! Which GPUs the kubelet has given to which pod, by its pod-resources API over its Unix socket.
//!
//! The socket is the node's own and belongs to root: the agent asks it as root in a `DaemonSet`, or as
//! a user that was let in. It names what device plugins gave (a whole GPU, or one of several replicas of
//! it, which are split by their number) and what claims gave (dynamic resource allocation). An instance
//! of MIG is named by its own UUID, which is not the GPU's: its pod is found by its processes.

use super::allocation::{Device, Grant};
use gpuledger_proto::frame::{Owner, OwnerKind};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};

/// The kubelet's protocol, `v1`.
#[allow(clippy::pedantic, clippy::allow_attributes_without_reason, reason = "generated code")]
pub mod v1 {
    tonic::include_proto!("v1");
}

use v1::pod_resources_lister_client::PodResourcesListerClient;

/// Where the kubelet has it.
pub const SOCKET: &str = "/var/lib/kubelet/pod-resources/kubelet.sock";
/// It answers from memory.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// Five hundred pods with all their devices are below it.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// What resources of NVIDIA begin with, by device plugin and by claim.
const RESOURCE: &str = "nvidia.com/";
const CLAIM_DRIVER: &str = "gpu.nvidia.com";

/// Why the kubelet has not told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KubeletError {
    #[error("may not open {}: let the agent run as root or in a group that may", .0.display())]
    NoPermission(PathBuf),
    #[error("{}: {message}", socket.display())]
    Failed { socket: PathBuf, message: String },
}

/// The kubelet, connected when it is first asked.
pub struct Kubelet {
    socket: PathBuf,
    runtime: tokio::runtime::Runtime,
    client: Option<PodResourcesListerClient<Channel>>,
}

impl Kubelet {
    /// Whether there is a kubelet at this socket; a folder that may not be looked into counts as one.
    pub fn is_there(socket: &Path) -> bool {
        match std::fs::metadata(socket) {
            Ok(_) => true,
            Err(error) => error.kind() == std::io::ErrorKind::PermissionDenied,
        }
    }

    pub fn new(socket: PathBuf) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { socket, runtime, client: None })
    }

    /// All GPUs that are given to pods. Blocks for as long as the answer may take: not for async code.
    pub fn grants(&mut self) -> Result<Vec<Grant>, KubeletError> {
        // A connection says no more than that it failed; the file says why.
        if let Err(error) = std::os::unix::net::UnixStream::connect(&self.socket) {
            self.client = None;
            return Err(match error.kind() {
                std::io::ErrorKind::PermissionDenied => KubeletError::NoPermission(self.socket.clone()),
                _ => self.failed(error.to_string()),
            });
        }
        let client = self.client.take();
        let asked = self.runtime.block_on(async {
            let mut client = match client {
                Some(client) => client,
                None => connect(&self.socket).await?,
            };
            let list = client.list(v1::ListPodResourcesRequest {});
            let answer = tokio::time::timeout(ANSWER_MAX, list).await;
            let answer = answer.map_err(|_| format!("no answer within {ANSWER_MAX:?}"))?;
            let answer = answer.map_err(|status| status.to_string())?;
            Ok((client, answer.into_inner()))
        });
        let (client, answer) = asked.map_err(|message: String| self.failed(message))?;
        self.client = Some(client);
        Ok(grants(answer))
    }

    fn failed(&self, message: String) -> KubeletError {
        KubeletError::Failed { socket: self.socket.clone(), message }
    }
}

async fn connect(socket: &Path) -> Result<PodResourcesListerClient<Channel>, String> {
    let address = format!("unix://{}", socket.display());
    let endpoint = Endpoint::from_shared(address).map_err(|error| error.to_string())?;
    let channel = endpoint.connect_timeout(ANSWER_MAX).connect().await.map_err(|error| error.to_string())?;
    Ok(PodResourcesListerClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX))
}

/// The GPUs among what pods were given. Containers of one pod are one owner.
fn grants(answer: v1::ListPodResourcesResponse) -> Vec<Grant> {
    let mut grants = Vec::new();
    for pod in answer.pod_resources {
        let owner =
            Owner { kind: OwnerKind::Kubernetes, account: pod.namespace, name: pod.name, job: String::new() };
        let mut devices: BTreeMap<String, (Device, u64)> = BTreeMap::new();
        for container in pod.containers {
            for (key, device) in plugged(container.devices).chain(claimed(container.dynamic_resources)) {
                devices.entry(key).or_insert((device, 0)).1 += 1;
            }
        }
        grants.extend(devices.into_values().map(|(device, weight)| Grant {
            device,
            owner: owner.clone(),
            weight,
        }));
    }
    grants
}

/// What device plugins gave: a UUID or the driver's index, with the number of a replica behind it.
fn plugged(devices: Vec<v1::ContainerDevices>) -> impl Iterator<Item = (String, Device)> {
    let ours = devices.into_iter().filter(|devices| devices.resource_name.starts_with(RESOURCE));
    ours.flat_map(|devices| devices.device_ids).map(|id| {
        let whole = id.split("::").next().map(str::to_owned).unwrap_or(id);
        let device = whole.parse().map_or_else(|_| Device::Uuid(whole.clone()), Device::Index);
        (whole, device)
    })
}

/// What claims gave. Two containers that use one claim have one GPU, counted for each: it is one pod's.
fn claimed(resources: Vec<v1::DynamicResource>) -> impl Iterator<Item = (String, Device)> {
    let parts = resources.into_iter().flat_map(|resource| resource.claim_resources);
    parts.filter(|part| part.driver_name == CLAIM_DRIVER).filter_map(|part| {
        let minor = part.device_name.strip_prefix("gpu-")?.parse().ok()?;
        Some((part.device_name, Device::Minor(minor)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices(resource: &str, ids: &[&str]) -> v1::ContainerDevices {
        let device_ids = ids.iter().map(|&id| id.to_owned()).collect();
        v1::ContainerDevices { resource_name: resource.to_owned(), device_ids }
    }

    fn pod(name: &str, containers: Vec<v1::ContainerResources>) -> v1::PodResources {
        v1::PodResources { name: name.to_owned(), namespace: "ml".to_owned(), containers }
    }

    fn container(devices: Vec<v1::ContainerDevices>) -> v1::ContainerResources {
        v1::ContainerResources { name: "main".to_owned(), devices, dynamic_resources: Vec::new() }
    }

    #[test]
    fn whole_gpus_replicas_and_claims_are_read_and_other_devices_are_not() {
        let claim = v1::ClaimResource {
            driver_name: CLAIM_DRIVER.to_owned(),
            pool_name: "n1".to_owned(),
            device_name: "gpu-3".to_owned(),
        };
        let dynamic = v1::DynamicResource { claim_resources: vec![claim], ..v1::DynamicResource::default() };
        let claims = v1::ContainerResources { dynamic_resources: vec![dynamic], ..container(Vec::new()) };
        let answer = v1::ListPodResourcesResponse {
            pod_resources: vec![
                pod("whole", vec![container(vec![devices("nvidia.com/gpu", &["GPU-a", "1"])])]),
                pod(
                    "twice",
                    vec![container(vec![devices("nvidia.com/gpu.shared", &["GPU-b::0", "GPU-b::1"])])],
                ),
                pod("once", vec![container(vec![devices("nvidia.com/gpu.shared", &["GPU-b::2"])])]),
                pod("claims", vec![claims]),
                pod("network", vec![container(vec![devices("mellanox.com/hca", &["mlx5_0"])])]),
                pod("nothing", vec![container(Vec::new())]),
            ],
        };
        let told: Vec<(String, Device, u64)> =
            grants(answer).into_iter().map(|grant| (grant.owner.name, grant.device, grant.weight)).collect();
        let of = |name: &str, device, weight| (name.to_owned(), device, weight);
        let expected = [
            of("whole", Device::Index(1), 1),
            of("whole", Device::Uuid("GPU-a".to_owned()), 1),
            of("twice", Device::Uuid("GPU-b".to_owned()), 2),
            of("once", Device::Uuid("GPU-b".to_owned()), 1),
            of("claims", Device::Minor(3), 1),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_socket_that_nobody_serves_is_told_by_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("kubelet.sock");
        assert!(!Kubelet::is_there(&socket));
        let error = Kubelet::new(socket.clone()).unwrap().grants().unwrap_err();
        assert!(error.to_string().starts_with(&socket.display().to_string()), "{error}");
    }
}
