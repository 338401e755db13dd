//! `/healthz` and `/readyz`: a service that runs says so, and one that could not do its work says that, and why.

use http::{Method, StatusCode};
use tokio::time::{Duration, Instant, sleep};

use crate::client::{Answer, Client};
use crate::system::System;

const PATIENCE: Duration = Duration::from_mins(1);

async fn asked(address: &str, path: &str) -> Answer {
    Client::new(address, "").send(Method::GET, path, "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_is_ready_while_a_ledger_could_lease_it_funds() {
    let system = System::distributed().await;
    let [ledger, projector] =
        ["MODELHUB_LEDGER__LISTEN", "MODELHUB_PROJECTOR__LISTEN"].map(|key| system.variable(key).expect("an address"));
    for address in [&system.address, ledger, projector] {
        for path in ["/healthz", "/readyz"] {
            let answer = asked(address, path).await;
            assert_eq!(answer.status, StatusCode::OK, "{address}{path}: {}", answer.body);
        }
    }

    system.service("ledger").kill9().await;
    let refused = asked(&system.address, "/readyz").await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{}", refused.body);
    assert_eq!(refused.json()["error"]["code"], "ledger_not_ready");
    assert_eq!(refused.header("retry-after"), "1");
    let said = system.service("gateway").line("not ready").await;
    assert!(said.contains("ledger is not available"), "{said}");
    // It runs all the same: nothing is gained by starting it again.
    assert_eq!(asked(&system.address, "/healthz").await.status, StatusCode::OK);

    system.start_service_again("ledger").await;
    let deadline = Instant::now() + PATIENCE;
    while asked(&system.address, "/readyz").await.status != StatusCode::OK {
        assert!(Instant::now() < deadline, "the gateway does not see that the ledger is back");
        sleep(Duration::from_millis(50)).await;
    }
}
