//! Schemas, servers and databases that a store opens or rejects.

use super::*;

#[tokio::test]
async fn no_node_leads_on_a_store_that_has_moved() {
    let database = TestDatabase::new().await;
    let store = open(&database).await;
    let home = store.home().await.expect("read");
    let moved = Home { moved_to: Some("/elsewhere".into()), ..home.clone() };
    store.put_home(moved).await.expect("put");
    let request = LeadRequest { node: Incarnation(1), ttl: HOUR, above: 0 };
    let refused = store.lead(request, NOW).await.expect_err("moved");
    assert!(matches!(&refused, StoreError::Moved { to, .. } if to == "/elsewhere"), "{refused:?}");
    store.put_home(home).await.expect("put");
    lead(&store, 1, HOUR).await.expect("leads");
}

#[tokio::test]
async fn nodes_that_start_at_once_create_one_schema() {
    let database = TestDatabase::new().await;
    let starts: Vec<_> = (0..4)
        .map(|_| {
            let options = PostgresOptions::new(database.url());
            tokio::spawn(async move { Postgres::open(options, NOW).await })
        })
        .collect();
    let mut nodes = Vec::new();
    for start in starts {
        nodes.push(start.await.expect("an answer").expect("a store"));
    }
    let first = add(&nodes[0], vec![job()]).await[0];
    assert_eq!(add(&nodes[3], vec![job()]).await, [JobId(first.0 + 1)]);
}

#[tokio::test]
async fn a_database_with_an_older_schema_opens_with_its_content() {
    let database = TestDatabase::new().await;
    database.run(include_str!("../../src/postgres/migrations/0001_first.sql")).await;
    database.run(include_str!("../../src/postgres/migrations/0002_schedules.sql")).await;
    let tags = [("tenant".to_owned(), "acme".to_owned())].into();
    let tagged = JobSpec { tags, ..job() };
    let spec = serde_json::to_string(&tagged).expect("json");
    let rows = format!(
        "create table orx_schema (id boolean primary key default true check (id), \
             version bigint not null);
         insert into orx_schema (version) values (2);
         insert into queues (name) values ('default');
         insert into lanes (queue, handler, require) values (1, 'work', '{{}}');
         insert into jobs (id, lane, run_at, created_at, status, urgency)
             values (nextval('job_ids'), 1, 5, 5, 1, 2);
         insert into jobs (id, lane, run_at, created_at, status, urgency, attempt, lost, epoch, execution,
             worker, worker_name, claimed_at)
             values (nextval('job_ids'), 1, 5, 5, 3, 2, 2, 1, 1,
                 '00000000-0000-0000-0000-000000000009', '00000000-0000-0000-0000-000000000007',
                 'w1', 6);
         insert into specs (job, spec) values (1, '{spec}'), (2, '{spec}')"
    );
    database.run(&rows).await;

    let store = open(&database).await;
    let live = store.live_attempts().await.expect("read");
    assert_eq!((live.len(), live[0].job, live[0].alone), (1, JobId(2), false));
    let ends = store.job(JobId(2)).await.expect("read").expect("the job").state.ends;
    assert_eq!((ends.lost, ends.server_lost), (1, 0));
    let term = lead(&store, 1, HOUR).await.expect("free");
    let claimed =
        store.claim_ready(vec![request(7, 20, 5)], term, NOW).await.expect("claimed").claimed;
    assert_eq!(claimed.len(), 1);
    assert_eq!(add(&store, vec![tagged]).await, [JobId(3)]);
    // Filters find jobs from before the migration, new jobs, and jobs whose columns for lists are empty.
    let older = "insert into specs (job, spec) select 4, spec from specs where job = 1; \
                 insert into jobs (id, lane, run_at, created_at, status, priority_rank) \
                 values (4, 1, 5, 5, 1, 2)";
    database.run(older).await;
    assert_eq!(listed(&store, "tag.tenant:ACME").await, [4, 3, 2, 1]);
    assert_eq!(listed(&store, "name:work queue:default").await, [4, 3, 2, 1]);
}

#[tokio::test]
async fn a_newer_schema_is_rejected_and_left_unchanged() {
    let database = TestDatabase::new().await;
    drop(open(&database).await);
    database.run("update orx_schema set version = 99").await;
    let refused = Postgres::open(PostgresOptions::new(database.url()), NOW).await;
    let error = refused.expect_err("refused");
    assert!(matches!(error, StoreError::NewerSchema { found: 99, .. }), "{error:?}");
    assert_eq!(database.run("select version from orx_schema").await, ["99"]);
}

#[tokio::test]
async fn a_database_that_may_lose_commits_is_rejected_unless_durability_is_relaxed() {
    let database = TestDatabase::new().await;
    let set = format!("alter database {} set synchronous_commit = off", database.name());
    database.run(&set).await;
    let options = PostgresOptions::new(database.url());
    let error = Postgres::open(options.clone(), NOW).await.expect_err("refused");
    let StoreError::Unsafe { setting, found, .. } = &error else { panic!("{error:?}") };
    assert_eq!((*setting, found.as_str()), ("synchronous_commit", "off"));
    assert!(error.hint().is_some());
    let relaxed = PostgresOptions { durability: Durability::Relaxed, ..options };
    let store = Postgres::open(relaxed, NOW).await.expect("a store");
    assert_ne!(store.info().durability, "full");
    add(&store, vec![job()]).await;
}

#[tokio::test]
async fn a_server_without_syncs_or_a_replica_is_rejected() {
    for (setting, replica, named) in [
        ("fsync=off", false, "fsync"),
        ("full_page_writes=off", false, "full_page_writes"),
        ("hot_standby=on", true, "pg_is_in_recovery()"),
    ] {
        let server = OwnPostgres::start_with(&[setting], replica);
        let url = format!("{}/postgres", server.url());
        let error = Postgres::open(PostgresOptions::new(url), NOW).await.expect_err("refused");
        assert!(
            matches!(&error, StoreError::Unsafe { setting, .. } if *setting == named),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_proxy_without_prepared_statements_is_rejected() {
    let database = TestDatabase::new().await;
    let url = database.url_by(&forgetful_bouncer());
    let error = Postgres::open(PostgresOptions::new(url), NOW).await.expect_err("refused");
    assert!(
        matches!(&error, StoreError::Unsafe { setting: "max_prepared_statements", .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_error_of_opening_shows_the_cause_and_never_the_password() {
    let database = TestDatabase::new().await;
    let missing = database.url().replace(database.name(), "nowhere");
    let secret = missing.replace("orx@", "orx:hunter2@");
    let error = Postgres::open(PostgresOptions::new(secret), NOW).await.expect_err("refused");
    assert!(matches!(error, StoreError::Open { .. }), "{error:?}");
    let text = format!("{error} {error:?}");
    assert!(text.contains("/nowhere") && !text.contains("hunter2"), "{text}");

    let closed =
        format!("postgres://orx:hunter2@127.0.0.1:{}/x", orx_testkit::servers::free_port());
    let options = PostgresOptions {
        connect_deadline: Duration::from_millis(300),
        ..PostgresOptions::new(closed)
    };
    assert!(!format!("{options:?}").contains("hunter2"));
    let error = Postgres::open(options, NOW).await.expect_err("unreachable");
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(!format!("{error:?}").contains("hunter2"));
}
