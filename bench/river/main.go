// Measures River as `orx bench` measures orx: jobs that do nothing, in PostgreSQL. Prints a JSON object a figure.
//
//	river postgres://… JOBS
package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

type Noop struct{}

func (Noop) Kind() string { return "noop" }

type worker struct {
	river.WorkerDefaults[Noop]
	started chan time.Time
}

func (w *worker) Work(context.Context, *river.Job[Noop]) error {
	select {
	case w.started <- time.Now():
	default:
	}
	return nil
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func show(name string, value float64, unit string) {
	check(json.NewEncoder(os.Stdout).Encode(map[string]any{"name": name, "value": value, "unit": unit}))
}

func rate(count int, began time.Time) float64 { return float64(count) / time.Since(began).Seconds() }

func enqueue(ctx context.Context, client *river.Client[pgx.Tx], clients, count int, opts *river.InsertOpts) {
	var all sync.WaitGroup
	for range clients {
		all.Add(1)
		go func() {
			defer all.Done()
			for range count / clients {
				_, err := client.Insert(ctx, Noop{}, opts)
				check(err)
			}
		}()
	}
	all.Wait()
}

func bulk(ctx context.Context, client *river.Client[pgx.Tx], count int, opts *river.InsertOpts) {
	for range count / 1000 {
		params := make([]river.InsertManyParams, 1000)
		for i := range params {
			params[i] = river.InsertManyParams{Args: Noop{}, InsertOpts: opts}
		}
		_, err := client.InsertManyFast(ctx, params)
		check(err)
	}
}

// Runs `work` with workers, and answers when so many jobs had completed.
func with(ctx context.Context, pool *pgxpool.Pool, slots, count int, work func(*river.Client[pgx.Tx], *worker)) time.Time {
	w := &worker{started: make(chan time.Time, 1)}
	workers := river.NewWorkers()
	river.AddWorker(workers, w)
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		Queues:            map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: slots, FetchCooldown: time.Millisecond, FetchPollInterval: 100 * time.Millisecond}},
		Workers:           workers,
		FetchCooldown:     time.Millisecond,
		FetchPollInterval: 100 * time.Millisecond,
		Logger:            slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	check(err)
	events, cancel := client.Subscribe(river.EventKindJobCompleted)
	var done atomic.Int64
	var ended time.Time
	all := make(chan struct{})
	if count > 0 {
		go func() {
			for range events {
				if done.Add(1) == int64(count) {
					ended = time.Now()
					close(all)
				}
			}
		}()
	}
	check(client.Start(ctx))
	work(client, w)
	if count > 0 {
		// Of events some may be lost: then the table says when none is left.
		for waiting := true; waiting; {
			select {
			case <-all:
				waiting = false
			case <-time.After(20 * time.Millisecond):
				var left int
				check(pool.QueryRow(ctx, "select count(*) from river_job where state in ('available', 'running')").Scan(&left))
				if left == 0 {
					ended, waiting = time.Now(), false
				}
			}
		}
	}
	cancel()
	check(client.Stop(ctx))
	return ended
}

func median(all []float64) float64 {
	sort.Float64s(all)
	return all[len(all)/2]
}

func main() {
	ctx := context.Background()
	count, err := strconv.Atoi(os.Args[2])
	check(err)
	config, err := pgxpool.ParseConfig(os.Args[1])
	check(err)
	config.MaxConns = 20
	pool, err := pgxpool.NewWithConfig(ctx, config)
	check(err)
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), nil)
	check(err)
	_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	check(err)
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{})
	check(err)
	clear := func() { _, err := pool.Exec(ctx, "truncate river_job"); check(err) }

	later := &river.InsertOpts{ScheduledAt: time.Now().Add(24 * time.Hour)}
	for _, clients := range []int{1, 8} {
		began := time.Now()
		enqueue(ctx, client, clients, count, later)
		show("durable enqueue, no key, "+strconv.Itoa(clients)+" clients", rate(count, began), "1/s")
	}
	began := time.Now()
	bulk(ctx, client, count*4, later)
	show("durable enqueue, no key, 1,000 a call", rate(count*4, began), "1/s")
	for _, slots := range []int{10, 100} {
		clear()
		bulk(ctx, client, count*4, nil)
		began := time.Now()
		ended := with(ctx, pool, slots, count*4, func(*river.Client[pgx.Tx], *worker) {})
		show("drain of no-op jobs, "+strconv.Itoa(slots)+" slots", float64(count*4)/ended.Sub(began).Seconds(), "1/s")
	}
	clear()
	show("cpu: begins", 0, "")
	ended := with(ctx, pool, 10, count, func(client *river.Client[pgx.Tx], _ *worker) {
		began = time.Now()
		enqueue(ctx, client, 8, count, nil)
	})
	show("cpu: ended", 0, "")
	show("enqueue to outcome, 8 producers, 10 slots", float64(count)/ended.Sub(began).Seconds(), "1/s")
	clear()
	var starts, seen []float64
	with(ctx, pool, 10, 0, func(client *river.Client[pgx.Tx], w *worker) {
		events, cancel := client.Subscribe(river.EventKindJobCompleted)
		defer cancel()
		time.Sleep(time.Second)
		for range 30 {
			began := time.Now()
			_, err := client.Insert(ctx, Noop{}, nil)
			check(err)
			starts = append(starts, float64((<-w.started).Sub(began).Microseconds())/1000)
			<-events
			seen = append(seen, float64(time.Since(began).Microseconds())/1000)
		}
	})
	show("idle latency, call to start, median", median(starts), "ms")
	show("idle latency, call to outcome seen, median", median(seen), "ms")
}
