use super::*;
use crate::export::Health;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub(super) fn exporter() -> Arc<Exporter> {
    Arc::new(Exporter {
        latest: Arc::default(),
        tally: Arc::default(),
        costs: watch::channel(None).1,
        health: Arc::new(Health::new().unwrap()),
        keeper: None,
        sites: Arc::default(),
    })
}

/// Serves a router on a free port and gives the port.
pub(super) async fn served(router: Router) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, router).await });
    port
}

pub(super) async fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn readiness_gives_its_reason_and_life_goes_on() {
    let up = Arc::new(AtomicBool::new(false));
    let seen = up.clone();
    let check =
        move || if seen.load(Ordering::Relaxed) { Ok(None) } else { Err("ledger is locked".to_owned()) };
    let port = served(router(exporter(), Arc::new(check))).await;
    let refused = get(port, "/readyz").await;
    assert!(
        refused.starts_with("HTTP/1.0 503") && refused.ends_with("not ready: ledger is locked\n"),
        "{refused}"
    );
    assert!(get(port, "/healthz").await.starts_with("HTTP/1.0 200 OK"));
    up.store(true, Ordering::Relaxed);
    assert!(get(port, "/readyz").await.starts_with("HTTP/1.0 200 OK"));
}

#[tokio::test]
async fn trouble_that_does_not_keep_it_from_its_work_is_told_and_it_is_ready() {
    let check = || Ok(Some("days cannot be closed: the disk is full".to_owned()));
    let port = served(router(exporter(), Arc::new(check))).await;
    let answer = get(port, "/readyz").await;
    assert!(answer.starts_with("HTTP/1.0 200 OK"), "{answer}");
    assert!(answer.ends_with("ready, but days cannot be closed: the disk is full\n"), "{answer}");
}

#[tokio::test]
async fn the_page_names_addresses_that_answer() {
    let port = served(router(exporter(), Arc::new(|| Ok(None)))).await;
    let page = get(port, "/").await;
    let addresses: Vec<_> = page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(addresses, ["/metrics", "/readyz", "/healthz"]);
    for address in addresses {
        assert!(get(port, address).await.starts_with("HTTP/1.0 200 OK"), "{address}");
    }
}
