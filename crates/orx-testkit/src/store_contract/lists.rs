//! Cases of reads: jobs by id, counts, pages and filters.

use orx_model::filter::Filter;
use orx_model::job::Labels;
use orx_model::time::UtcClock;
use orx_model::wire::StatusCounts;
use orx_model::{Command, JobId, JobSpec, NewJob, Origin, Priority};
use orx_store::ListRequest;

use super::{AStore, add, cancel, cancel_of, claim, get, send};
use crate::make::{NOW, at, job, json, name, not_before, outcome, request, succeeded};

/// A read by ids returns each existing job once, in the order of ids.
pub async fn jobs_are_read_by_their_ids_each_once(store: AStore) {
    let ids = [add(&store, job()).await, add(&store, job()).await, add(&store, job()).await];
    let asked = vec![ids[2], JobId(1_000_000), ids[0], ids[2]];
    let read = store.jobs(asked).await.expect("read");
    assert_eq!(read.iter().map(|job| job.id).collect::<Vec<_>>(), [ids[0], ids[2]]);
    assert!(store.jobs(Vec::new()).await.expect("read").is_empty());
}

/// The counts of each queue match the statuses after every transition.
pub async fn counts_follow_every_move(store: AStore) {
    let a = add(&store, job()).await;
    let b = add(&store, JobSpec { queue: name("media"), ..job() }).await;
    add(&store, not_before(at(60), job())).await;
    store.claim_ready(vec![request(1, 1, 1)], store.term, at(1)).await.expect("claim");
    cancel(&store, cancel_of(b)).await;
    let _ = send(&store, outcome(a, 1, succeeded())).await;
    let counts = store.queue_counts().await.expect("counts");
    let default = StatusCounts { completed: 1, scheduled: 1, ..StatusCounts::default() };
    let media = StatusCounts { cancelled: 1, ..StatusCounts::default() };
    assert_eq!(counts, [(name("default"), default), (name("media"), media)]);
    store.promote_due(store.term, at(60), 10).await.expect("promote");
    let oldest = store.oldest_due().await.expect("read");
    assert_eq!(oldest, [(name("default"), at(60))]);
}

/// Pages contain every job once, in either direction.
pub async fn lists_page_in_both_directions_without_loss(store: AStore) {
    store.enqueue(vec![job().into(); 7], NOW).await.expect("enqueue");
    for oldest_first in [false, true] {
        let (mut after, mut seen) = (None, Vec::new());
        loop {
            let request = ListRequest { filter: Filter::default(), oldest_first, after, limit: 3 };
            let page = store.list(request, NOW).await.expect("list");
            seen.extend(page.rows.iter().map(|job| job.id.0));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let mut all: Vec<i64> = (1..=7).collect();
        if !oldest_first {
            all.reverse();
        }
        assert_eq!(seen, all);
    }
}

/// A filter selects the same jobs for a list and for a count; a count stops at its limit.
pub async fn filters_are_applied_to_lists_and_counts(store: AStore) {
    let tagged = JobSpec { tags: [("tenant".to_owned(), "acme".to_owned())].into(), ..job() };
    let media = JobSpec { queue: name("media"), priority: Priority::High, ..job() };
    store.enqueue([tagged, media, job()].map(NewJob::from).into(), NOW).await.expect("enqueue");
    claim(&store, 1).await;
    for (text, expected) in [
        ("", vec![3, 2, 1]),
        ("status:pending", vec![3, 1]),
        ("-status:pending", vec![2]),
        ("queue:media", vec![2]),
        ("queue:MEDIA,default id<3", vec![2, 1]),
        ("priority:high status:dispatched", vec![2]),
        ("tag.tenant:ac*", vec![1]),
        ("attempts>=1", vec![2]),
        ("name:w*k age<1m", vec![3, 2, 1]),
        ("status:completed", vec![]),
        ("worker:w", vec![2]),
        ("acme", vec![1]),
    ] {
        let filter = Filter::parse(text, NOW, &UtcClock).expect("a filter");
        let request =
            ListRequest { filter: filter.clone(), oldest_first: false, after: None, limit: 10 };
        let page = store.list(request, at(1)).await.expect("list");
        let ids: Vec<i64> = page.rows.iter().map(|job| job.id.0).collect();
        assert_eq!(ids, expected, "{text}");
        let count = store.count(filter, 100, at(1)).await.expect("count");
        assert_eq!((count.count, count.exact), (expected.len() as u64, true), "{text}");
    }
    let count = store.count(Filter::default(), 2, at(1)).await.expect("count");
    assert_eq!((count.count, count.exact), (2, false));
}

/// Filters on indexed fields select the same jobs, alone and combined, page by page.
pub async fn filters_find_by_name_queue_tag_and_schedule(store: AStore) {
    let tags = |tenant: &str| Labels::from([("tenant".to_owned(), tenant.to_owned())]);
    let origin = |id: &str| Some(Origin { id: name(id), slot: None });
    let command = || Some(Command { argv: vec!["make".to_owned()], ..Command::default() });
    let (media, make) = (|| name("media"), || name("make"));
    let jobs = [
        JobSpec { name: name("video.cut"), queue: media(), ..job() },
        JobSpec { name: name("video.mix"), tags: tags("\u{c4}rger"), ..job() },
        JobSpec { name: make(), command: command(), ..job() },
        JobSpec {
            name: name("Make"),
            command: command(),
            queue: media(),
            tags: tags("acme"),
            ..job()
        },
        JobSpec { name: make(), schedule: origin("nightly"), ..job() },
        JobSpec {
            schedule: origin("Hourly"),
            tags: tags("ACME"),
            priority: Priority::Low,
            ..job()
        },
    ];
    store.enqueue(jobs.map(NewJob::from).into(), NOW).await.expect("enqueue");
    let cases: [(&str, &[i64]); 21] = [
        ("name:make", &[5, 4, 3]),
        ("name:MAKE,video.cut", &[5, 4, 3, 1]),
        ("name:video.*", &[2, 1]),
        ("-name:make", &[6, 2, 1]),
        ("name:make queue:media", &[4]),
        ("name:make status:pending", &[5, 4, 3]),
        ("name:make status:completed", &[]),
        ("name:none", &[]),
        ("queue:media", &[4, 1]),
        ("-queue:media", &[6, 5, 3, 2]),
        ("queue:none", &[]),
        ("tag.tenant:acme", &[6, 4]),
        ("tag.tenant:\u{e4}rger,acme", &[6, 4, 2]),
        ("-tag.tenant:acme", &[5, 3, 2, 1]),
        ("tag.tenant:acme queue:media", &[4]),
        ("tag.Tenant:acme", &[]),
        ("schedule:nightly", &[5]),
        ("schedule:nightly,HOURLY", &[6, 5]),
        ("schedule:*ly -priority:low", &[5]),
        ("priority:low", &[6]),
        ("name:make,make,work -tag.tenant:acme id>=3", &[5, 3]),
    ];
    for (text, expected) in cases {
        let filter = Filter::parse(text, NOW, &UtcClock).expect("a filter");
        for oldest_first in [false, true] {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let filter = filter.clone();
                let request = ListRequest { filter, oldest_first, after, limit: 2 };
                let page = store.list(request, NOW).await.expect("list");
                found.extend(page.rows.iter().map(|job| job.id.0));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            if oldest_first {
                found.reverse();
            }
            assert_eq!(found, expected, "{text}");
        }
        let count = store.count(filter, 100, NOW).await.expect("count");
        assert_eq!((count.count, count.exact), (expected.len() as u64, true), "{text}");
    }
}

/// A page contains no arguments and at most `PAGE_BYTES` bytes; filters and claims still see the
/// arguments.
pub async fn lists_contain_no_args_and_are_bounded_in_bytes(store: AStore) {
    let args = |n: usize| json(&format!(r#"{{"n": {n}, "x": "{}"}}"#, "x".repeat(20_000)));
    let tags: Labels = (0..30).map(|n| (format!("t{n}"), "y".repeat(250))).collect();
    let large = |n| NewJob::from(JobSpec { args: args(n), tags: tags.clone(), ..job() });
    for some in (0..100).collect::<Vec<_>>().chunks(20) {
        store.enqueue(some.iter().copied().map(large).collect(), NOW).await.expect("enqueue");
    }
    let list = async |text: &str, after| {
        let filter = Filter::parse(text, NOW, &UtcClock).expect("a filter");
        let request = ListRequest { filter, oldest_first: true, after, limit: 500 };
        store.list(request, NOW).await.expect("list")
    };
    let (mut found, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = list("", after).await;
        let bytes = serde_json::to_string(&page.rows).expect("json").len();
        assert!(bytes <= orx_model::limits::PAGE_BYTES, "{bytes} bytes");
        found.extend(page.rows.iter().map(|job| job.id.0));
        (after, pages) = (page.next, pages + 1);
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, (1..=100).collect::<Vec<_>>());
    assert!(pages > 1, "{pages} pages");
    // Filters and claims still see the whole arguments.
    let one = list("arg.n:70 id>60 id<=80", None).await;
    assert_eq!(one.rows.iter().map(|job| job.id.0).collect::<Vec<_>>(), [71]);
    assert_eq!(get(&store, JobId(71)).await.spec.args.get(), args(70).get());
    let claimed =
        store.claim_ready(vec![request(1, 1, 1)], store.term, NOW).await.expect("claim").claimed;
    assert_eq!(claimed[0].dispatch.args.get(), args(0).get());
}
