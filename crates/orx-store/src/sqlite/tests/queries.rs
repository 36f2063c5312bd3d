//! The plans of statements, and lists.

use super::*;

/// The query plan of a statement, one step per line.
fn plan(conn: &Connection, sql: &str) -> String {
    let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("prepare");
    let mut rows = statement.raw_query();
    let mut plan = String::new();
    while let Some(row) = rows.next().expect("a step") {
        plan.push_str(&row.get::<_, String>(3).expect("its text"));
        plan.push('\n');
    }
    plan
}

#[tokio::test]
async fn frequent_statements_read_an_index_in_its_order() {
    let folder = folder();
    let store = open(folder.path());
    let due = "SELECT id FROM jobs WHERE status = 2 AND run_at <= ?1 ORDER BY run_at, id LIMIT 9";
    let live = "SELECT id FROM jobs WHERE status IN (3, 4) AND status <> 5";
    let of_worker = "SELECT id FROM jobs WHERE worker = ?1 ORDER BY id";
    let cases = [
        (claim::READY, "COVERING INDEX jobs_ready"),
        (include_str!("../next_due.sql"), "jobs_due"),
        (include_str!("../oldest_due.sql"), "jobs_ready"),
        (due, "jobs_due"),
        (live, "jobs_status"),
        (of_worker, "jobs_live"),
        (dependencies::FOLLOW_UPS, "jobs_follow_up"),
        (dependencies::TO_CANCEL, "dependencies_cancel"),
        (retention::DELETE_LOGS, "SEARCH logs USING PRIMARY KEY (job=? AND attempt=? AND seq=?)"),
    ];
    let conn = open::reader(&folder.path().join("orx.db")).expect("a reader");
    for (sql, index) in cases {
        let plan = plan(&conn, sql);
        assert!(plan.contains(index), "{sql}\n{plan}");
        let sorts = plan.contains("USE TEMP B-TREE FOR ORDER BY") && sql != cases[2].0;
        assert!(!sorts, "{sql}\n{plan}");
    }
    store.close().await.expect("close");
}

#[tokio::test]
async fn a_list_reads_the_index_of_its_filter_in_order() {
    let folder = folder();
    let store = open(folder.path());
    let command = orx_model::Command { argv: vec!["make".to_owned()], ..Default::default() };
    let other = JobSpec { name: name("mail"), queue: name("other"), ..spec() };
    let make = JobSpec { name: name("make"), command: Some(command), ..spec() };
    enqueue(&store, vec![spec(), JobSpec { tags: tagged("acme"), ..other }, make]).await;
    let by_id = "jobs USING INTEGER PRIMARY KEY";
    let term = "terms USING PRIMARY KEY (term=? AND job<?)";
    let lane = "COVERING INDEX jobs_lane (lane=? AND rowid<?)";
    let status = "COVERING INDEX jobs_status";
    let cases: [(&str, bool, &[&str]); 16] = [
        ("", false, &[by_id]),
        ("status:completed", false, &[by_id]),
        ("status:failed", false, &[status]),
        ("status:failed,pending", false, &[status]),
        ("queue:other", false, &[lane]),
        ("name:mail queue:other", false, &[lane]),
        ("name:make", false, &[term]),
        ("name:video", false, &[lane, term]),
        ("tag.tenant:acme", false, &[term]),
        ("tag.tenant:acme,other status:pending", false, &[term]),
        ("schedule:nightly", false, &[term]),
        // The counts show that no job has failed, so the index by status has fewer jobs.
        ("status:failed name:video", false, &[status]),
        // As an operation reads its jobs: up to the last that existed at its start.
        ("status:failed id<=9", false, &[status]),
        ("", true, &["INDEX jobs_dead"]),
        ("name:video", true, &["INDEX jobs_dead"]),
        (
            "cause:0000000000000007",
            true,
            &["INDEX jobs_cause (cause=? AND rowid<?)", "jobs_causeless"],
        ),
    ];
    let conn = open::reader(&folder.path().join("orx.db")).expect("a reader");
    for (text, dead, indexes) in cases {
        let found = lists::plan(&conn, &filter(text), dead).expect("a plan").expect("may match");
        for oldest_first in [false, true] {
            let sql = crate::filter_pushdown::ids::<lists::InSqlite>(
                &found.sources,
                found.upto,
                oldest_first,
                "?1",
                "?2",
            );
            let plan = plan(&conn, &sql);
            for index in indexes {
                let index =
                    if oldest_first { index.replace('<', ">") } else { (*index).to_owned() };
                assert!(plan.contains(&index), "{text}: {sql}\n{plan}");
            }
            let reads_all = plan.contains("SCAN jobs\n") || plan.contains("SCAN terms");
            assert!(!plan.contains("TEMP B-TREE") && !reads_all, "{text}: {sql}\n{plan}");
        }
    }
    for sql in [row::SUMMARY, row::WITH_ARGS] {
        let plan = plan(&conn, &format!("{sql} WHERE j.id = ?1"));
        assert!(!plan.contains("SCAN") && !plan.contains("results"), "{plan}");
    }
    store.close().await.expect("close");
}

#[tokio::test]
async fn a_list_does_not_read_args_and_pruning_deletes_head_and_terms() {
    let folder = folder();
    let store = open(folder.path());
    let args = serde_json::from_str(&format!("\"{}\"", "x".repeat(200_000))).expect("json");
    let large = JobSpec { args, tags: tagged("acme"), ..spec() };
    let ids = enqueue(&store, vec![large, spec()]).await;
    // A list succeeds although the spec is damaged, because it reads the head.
    let damage = |tx: &mut Tx<'_>| {
        tx.conn.execute("UPDATE specs SET spec = '{' WHERE job = 1", [])?;
        Ok(())
    };
    let kept = store.job(ids[0]).await.expect("read").expect("a job");
    assert_eq!(kept.spec.args.get().len(), 200_002);
    store.write("damage", WriteKind::Durable, 1, damage).await.expect("damaged");
    assert!(
        store.job(ids[0]).await.expect("read").is_some_and(|job| job.state.unreadable.is_some())
    );
    assert_eq!(listed(&store, "tag.tenant:ACME name:video").await, [1]);

    let cancel = |id: &JobId| crate::CancelCommand {
        id: *id,
        reason: None,
        by: None,
        force: false,
        expected: None,
    };
    store.cancel(ids.iter().map(cancel).collect(), NOW).await.expect("cancelled");
    let all = PruneRequest { completed_before: LATER, others_before: LATER, limit: 9, chunks: 9 };
    assert_eq!(store.prune(all, term(&store).await).await.expect("prune").jobs, 2);
    let conn = open::reader(&folder.path().join("orx.db")).expect("a reader");
    let rows = "SELECT (SELECT count(*) FROM heads) + (SELECT count(*) FROM terms)";
    assert_eq!(conn.query_row(rows, [], |row| row.get::<_, i64>(0)).expect("a number"), 0);
    store.close().await.expect("close");
}

#[tokio::test]
async fn the_pages_of_a_list_return_every_job_once() {
    let folder = folder();
    let store = open(folder.path());
    enqueue(&store, (0..20).map(|_| spec()).collect()).await;
    let claimed = claim(&store, "video", 1, 10).await;
    for claimed in claimed.iter().step_by(2) {
        let kind = OutcomeKind::Failed { retryable: false, retry_after_ms: None };
        let _ = end(&store, claimed, kind).await;
    }
    let filter = Filter {
        terms: vec![orx_model::filter::FilterTerm {
            negated: true,
            test: orx_model::filter::Test::Status([JobStatus::Completed].into()),
        }],
    };
    let (mut after, mut found) = (None, Vec::new());
    loop {
        let request =
            crate::ListRequest { filter: filter.clone(), oldest_first: false, after, limit: 3 };
        let page = store.list(request, NOW).await.expect("list");
        found.extend(page.rows.iter().map(|job| job.id.0));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, (1..=20).rev().collect::<Vec<_>>());
    counts_are_right(&store).await;
}

#[test]
fn new_values_do_not_prepare_a_statement_again() {
    let folder = folder();
    let store = open(folder.path());
    let conn = super::open::reader(&store.shared.options.path).expect("a reader");
    let sql = "SELECT id FROM jobs WHERE status = 0 AND status <> 5 AND id < ?1 ORDER BY id DESC LIMIT ?2";
    let mut statement = conn.prepare(sql).expect("a statement");
    for after in [1, i64::MAX, 1] {
        let mut rows = statement.query([after, 2]).expect("a query");
        assert!(rows.next().expect("an answer").is_none());
    }
    assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
}
