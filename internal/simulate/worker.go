package simulate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.temporal.io/sdk/client"
	_ "gocloud.dev/blob/fileblob" // the blob store is a folder
	"golang.org/x/sync/errgroup"

	"agentmarket/activities"
	"agentmarket/blobs"
	"agentmarket/conductor"
	"agentmarket/marketplace"
	"agentmarket/product"
	"agentmarket/store"
	"agentmarket/workers"
)

// Worker is a worker of the platform on a simulated cluster: everything but the
// cluster is real.
type Worker struct {
	DatabaseURL string
	Temporal    client.Options
	ClusterURL  string
	BlobURL     string
	Quota       product.Quota
	Log         *slog.Logger
}

// environment names what Main reads, in the order of Environment.
var environment = []string{
	"SIMULATED_DATABASE_URL", "SIMULATED_TEMPORAL_ADDRESS", "SIMULATED_TEMPORAL_NAMESPACE", "SIMULATED_CLUSTER_URL",
	"SIMULATED_BLOB_URL", "SIMULATED_QUOTA",
}

// Environment is that of a process whose Main is this worker.
func (w Worker) Environment() []string {
	values := []string{
		w.DatabaseURL, w.Temporal.HostPort, w.Temporal.Namespace, w.ClusterURL, w.BlobURL, fmt.Sprint(w.Quota.ConcurrentRuns),
	}
	var env []string
	for i, name := range environment {
		env = append(env, name+"="+values[i])
	}
	return env
}

// Main runs the worker that the environment describes, and ends the process. In a
// process that was not started for it, it returns. A test package calls it first
// in its TestMain, and starts its own binary again.
func Main() {
	if os.Getenv(environment[0]) == "" {
		return
	}
	w := Worker{
		DatabaseURL: os.Getenv(environment[0]),
		Temporal:    client.Options{HostPort: os.Getenv(environment[1]), Namespace: os.Getenv(environment[2])},
		ClusterURL:  os.Getenv(environment[3]), BlobURL: os.Getenv(environment[4]),
		Log: slog.New(slog.NewJSONHandler(os.Stderr, nil)),
	}
	if _, err := fmt.Sscan(os.Getenv(environment[5]), &w.Quota.ConcurrentRuns); err != nil {
		fmt.Fprintln(os.Stderr, "read quota:", err)
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := w.Run(ctx)
	stop()
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "simulated worker:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Run works until the context ends.
func (w Worker) Run(ctx context.Context) error {
	db, err := store.Open(ctx, store.Config{URL: w.DatabaseURL, Quota: w.Quota, Logger: w.Log})
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	bodies, err := blobs.Open(ctx, w.BlobURL)
	if err != nil {
		return err
	}
	defer func() { _ = bodies.Close() }()
	options := w.Temporal
	options.Logger = workers.Logger(w.Log)
	temporal, err := client.Dial(options)
	if err != nil {
		return fmt.Errorf("reach Temporal: %w", err)
	}
	defer temporal.Close()
	engine := conductor.New(temporal, options.Namespace)
	cluster := &Cluster{URL: w.ClusterURL}
	market, runs, agents := db.Marketplace(), db.Runs(), db.Agents()
	limits, policy := product.DefaultLimits(), marketplace.DefaultPolicy()
	limits.Quota = w.Quota
	relay := &conductor.Relay{Outboxes: map[string]conductor.Outbox{
		"runs":  conductor.RunOutbox(engine, runs, w.Log),
		"slots": conductor.SlotOutbox(engine, db.Product(), w.Log),
	}, Log: w.Log, Now: time.Now}
	work := workers.Activities{
		Marketplace: &activities.Marketplace{Store: market, Runs: runs, Agents: agents, Limits: limits, Policy: policy, Now: time.Now},
		Product: &activities.Product{
			Runs: runs, Agents: agents, Names: agents, Policies: db.Product(), Bodies: runs, Settlements: market, Queue: db.Product(), Waker: engine, Canceler: engine,
			Limits: limits, Policy: policy, Now: time.Now,
		},
		Infra: &activities.Infra{Cluster: cluster, Runs: runs, Reports: runs, Now: time.Now, Watch: cluster},
		AgentRuntime: &activities.AgentRuntime{
			Cluster: cluster, Watch: cluster, Runs: runs, Agents: agents, Blobs: bodies, Sessions: runs, Now: time.Now,
		},
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		cluster.Watch(ctx, &conductor.Reporter{Conductor: engine, Runs: runs}, w.Log)
		return nil
	})
	group.Go(func() error { return relay.Run(ctx) })
	group.Go(func() error { return workers.Run(ctx, temporal, work, workers.Config{}) })
	return group.Wait()
}
