//! Who holds a GPU by Kubernetes: a server that speaks the kubelet's pod-resources API on a Unix socket.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use gpuledger_agent::collect::workload::kubernetes::v1::pod_resources_lister_server::{
    PodResourcesLister, PodResourcesListerServer,
};
use gpuledger_agent::collect::workload::kubernetes::v1::{
    ContainerDevices, ContainerResources, ListPodResourcesRequest, ListPodResourcesResponse, PodResources,
};
use gpuledger_e2e::built;
use gpuledger_e2e::fake::FakeNvml;
use gpuledger_e2e::process::run_json;
use serde_json::{Value, json};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status};

/// A kubelet that has given these devices away.
struct Kubelet(Vec<PodResources>);

#[tonic::async_trait]
impl PodResourcesLister for Kubelet {
    async fn list(
        &self,
        _: Request<ListPodResourcesRequest>,
    ) -> Result<Response<ListPodResourcesResponse>, Status> {
        Ok(Response::new(ListPodResourcesResponse { pod_resources: self.0.clone() }))
    }
}

fn pod(name: &str, resource: &str, ids: &[&str]) -> PodResources {
    let device_ids = ids.iter().map(|&id| id.to_owned()).collect();
    let devices = vec![ContainerDevices { resource_name: resource.to_owned(), device_ids }];
    let main = ContainerResources { name: "main".to_owned(), devices, dynamic_resources: Vec::new() };
    PodResources { name: name.to_owned(), namespace: "ml".to_owned(), containers: vec![main] }
}

fn probe(fake: &FakeNvml, socket: &Path) -> Result<Value> {
    let mut command = Command::new(built::binary("gpuledger-agent")?);
    command.args(["probe", "--format", "json", "--kubelet-socket"]).arg(socket);
    run_json(fake.attach(&mut command))
}

#[test]
fn pods_hold_the_gpus_that_the_kubelet_gave_them_and_share_what_is_shared() -> Result<()> {
    let folder = tempfile::tempdir()?;
    // A process runs on every GPU, and counts only where no pod has it.
    let scenario = "[[gpu]]\ncount = 3\n[[gpu.phase]]\nprocesses = [{ pid = \"self\" }]\n";
    let fake = FakeNvml::new(folder.path(), scenario)?;
    let socket = folder.path().join("kubelet.sock");
    let uuids: Vec<String> = probe(&fake, &socket)?["gpus"]
        .as_array()
        .context("no GPUs")?
        .iter()
        .map(|gpu| gpu["uuid"].as_str().unwrap_or_default().to_owned())
        .collect();
    let replica = |n: u32| format!("{}::{n}", uuids[1]);
    let kubelet = Kubelet(vec![
        pod("train-0", "nvidia.com/gpu", &[&uuids[0]]),
        pod("notebook", "nvidia.com/gpu.shared", &[&replica(0)]),
        pod("serve", "nvidia.com/gpu.shared", &[&replica(1), &replica(2), &replica(3)]),
        pod("network", "mellanox.com/hca", &[&uuids[2]]),
    ]);

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let listener = runtime.block_on(async { tokio::net::UnixListener::bind(&socket) })?;
    runtime.spawn(
        tonic::transport::Server::builder()
            .add_service(PodResourcesListerServer::new(kubelet))
            .serve_with_incoming(UnixListenerStream::new(listener)),
    );
    let report = probe(&fake, &socket)?;
    let owner = |name: &str, share: u32| json!({"kind": "kubernetes", "account": "ml", "name": name, "job": "", "share_ppm": share});
    ensure!(report["gpus"][0]["holders"] == json!([owner("train-0", 1_000_000)]), "{report}");
    ensure!(
        report["gpus"][1]["holders"] == json!([owner("notebook", 250_000), owner("serve", 750_000)]),
        "{report}"
    );
    let free = &report["gpus"][2]["holders"];
    ensure!(free[0]["kind"] != "kubernetes" && free[0]["share_ppm"] == 1_000_000, "by its process: {report}");

    // The kubelet is gone and its socket is not: what is idle may be anybody's.
    drop(runtime);
    fake.rewrite("[[gpu]]\ncount = 3\n")?;
    let report = probe(&fake, &socket)?;
    ensure!(
        report["gpus"].as_array().is_some_and(|gpus| gpus.iter().all(|gpu| gpu["holders"].is_null())),
        "{report}"
    );
    Ok(())
}
