//! Live streams of a real server, as a dashboard reads them.

mod common;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use common::{Machine, SOON, read};
use orx_client::{Client, ClientError, Endpoint, LiveStream, LiveUpdate, Locate};
use orx_model::JobStatus;
use orx_model::wire::live::{
    LiveEvent, LiveJobsQuery, LiveLogsQuery, LiveState, LiveTopic, ResetReason,
};

/// Finds the server of a machine by its address file.
struct AddressFile(PathBuf);

#[async_trait]
impl Locate for AddressFile {
    async fn endpoint(&self) -> orx_client::Result<Endpoint> {
        let text = read(self.0.join("server.json"));
        let address: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let url = address["url"].as_str().ok_or_else(|| ClientError::no_server("no server"))?;
        let token = read(self.0.join("token")).trim().to_owned();
        Ok(Endpoint { url: url.to_owned(), token: Some(token) })
    }
}

fn client(machine: &Machine) -> Client {
    Client::new(Arc::new(AddressFile(machine.state())), SOON).expect("a client")
}

async fn update(stream: &mut LiveStream) -> LiveUpdate {
    let update = tokio::time::timeout(SOON, stream.next()).await.expect("an update in time");
    update.expect("no error").expect("the stream goes on")
}

/// The next event that is not a ping.
async fn event(stream: &mut LiveStream) -> LiveEvent {
    loop {
        if let LiveUpdate::Event { event, .. } = update(stream).await
            && event.name() != "ping"
        {
            return *event;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dashboard_sees_each_change_at_once_and_goes_on_with_the_next_server() {
    let mut machine = Machine::with_server();
    let client = client(&machine);
    let mut jobs = client.live(LiveTopic::Jobs(LiveJobsQuery::default()));
    let mut overview = client.live(LiveTopic::Overview);
    assert!(matches!(event(&mut jobs).await, LiveEvent::Snapshot(_)));
    assert!(matches!(event(&mut overview).await, LiveEvent::Snapshot(_)));
    let request = serde_json::from_str(r#"{"name": "nobody"}"#).expect("a request");
    let began = Instant::now();
    let id = client.enqueue(request).await.expect("accepted").id;
    let LiveEvent::JobStatusUpdated(updated) = event(&mut jobs).await else { panic!("other") };
    // 100 ms where nothing else runs on the machine.
    let took = began.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!((updated.jobs[0].id, updated.jobs[0].state.status), (id, JobStatus::Pending));
    let LiveEvent::OverviewUpdated(seen) = event(&mut overview).await else { panic!("other") };
    assert_eq!(seen.counts.pending, 1);

    machine.kill();
    while !matches!(update(&mut jobs).await, LiveUpdate::Lost { .. }) {}
    machine.start(&[]);
    while !matches!(update(&mut jobs).await, LiveUpdate::Connected) {}
    let LiveEvent::Reset(reset) = event(&mut jobs).await else { panic!("no reset") };
    assert_eq!(reset.why, ResetReason::OtherNode);
    let LiveEvent::Snapshot(snapshot) = event(&mut jobs).await else { panic!("no snapshot") };
    let LiveState::Jobs(page) = snapshot.state else { panic!("another topic") };
    assert_eq!(page.jobs[0].id, id);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_line_of_a_log_is_lost_or_doubled_though_the_server_is_killed() {
    let mut machine = Machine::with_server();
    let script = "i=0; while [ $i -lt 40 ]; do echo line $i; i=$((i+1)); sleep 0.1; done";
    let ran = machine.orx(["run", "--detach", "-o", "id", "--", "sh", "-c", script]);
    let job = ran.out.trim().to_owned();
    let mut stream = client(&machine).live(LiveTopic::Logs(job, LiveLogsQuery::default()));
    let (mut attempts, mut killed) = (std::collections::BTreeMap::<u32, String>::new(), false);
    let ended = loop {
        match event(&mut stream).await {
            LiveEvent::LogReceived(received) => {
                for part in received.parts {
                    let text = attempts.entry(part.attempt).or_default();
                    text.push_str(&String::from_utf8_lossy(&part.data));
                }
                if !killed {
                    killed = true;
                    machine.kill();
                    machine.start(&[]);
                }
            }
            LiveEvent::LogEnded(ended) => break ended,
            _ => {}
        }
    };
    assert_eq!(ended.status, JobStatus::Completed);
    let all: String = (0..40).map(|at| format!("line {at}\n")).collect();
    let (_, last) = attempts.pop_last().expect("an attempt");
    assert_eq!(last, all);
    for (_, text) in attempts {
        assert!(all.starts_with(&text), "{text}");
    }
    assert!(
        tokio::time::timeout(SOON, stream.next()).await.expect("at once").expect("fine").is_none()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_ends_a_stream_with_the_reason() {
    let machine = Machine::with_server();
    std::fs::write(machine.state().join("token"), "nonsense").expect("written");
    let mut stream = client(&machine).live(LiveTopic::Workers);
    let error = stream.next().await.expect_err("refused");
    assert!(matches!(error, ClientError::Problem(_)), "{error:?}");
}
