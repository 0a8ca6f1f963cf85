// Package wire is the composition root: the one place where concrete things
// meet. Every process is this, or a part of it:
//
//	            ┌──────────────── api ────────────────┐
//	client ──►  │ api.Server ──► store (the outbox)   │
//	            │     │             ▲                 │
//	            └─────┼─────────────┼─────────────────┘
//	                  ▼             │
//	             conductor ──► Temporal ◄── workers.Run ──► activities ──► store
//	                  ▲                                        │           blobs
//	            ┌─────┴──────────── worker ───────────────┐    ▼
//	            │ relay ◄── store      kube.Watcher ◄── cluster (Jobs, pods)
//	            │ reporter ◄───────────────┘              │
//	            │ housekeeping ──► store                  │
//	            │ retention ──► blobs, store              │
//	            └─────────────────────────────────────────┘
package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
	_ "time/tzdata" // schedules have time zones, also where the system has none

	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"agentmarket/activities"
	"agentmarket/api"
	"agentmarket/blobs"
	"agentmarket/conductor"
	"agentmarket/infra/kube"
	"agentmarket/launch"
	"agentmarket/marketplace"
	"agentmarket/metrics"
	"agentmarket/registry"
	"agentmarket/store"
	"agentmarket/webhooks"
	"agentmarket/workers"
)

// Platform is the opened configuration: connections that the processes share.
type Platform struct {
	cfg       Config
	log       *slog.Logger
	DB        *store.DB
	blobs     *blobs.Store
	temporal  client.Client
	conductor *conductor.Conductor
}

// Open connects to everything. The database and the blob store must answer;
// Temporal and the cluster may be away and come back.
func Open(ctx context.Context, cfg Config, log *slog.Logger) (_ *Platform, err error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	p := &Platform{cfg: cfg, log: log}
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	if p.DB, err = store.Open(ctx, store.Config{URL: cfg.DatabaseURL, Quota: cfg.Limits.Quota, Logger: log}); err != nil {
		return nil, err
	}
	if p.blobs, err = blobs.Open(ctx, cfg.BlobURL); err != nil {
		return nil, err
	}
	options := cfg.Temporal
	options.Logger = workers.Logger(log)
	if p.temporal, err = client.NewLazyClient(options); err != nil {
		return nil, fmt.Errorf("make Temporal client: %w", err)
	}
	p.conductor = conductor.New(p.temporal, cfg.Temporal.Namespace)
	return p, nil
}

// cluster makes a client of the cluster. It makes no call.
func (p *Platform) cluster() (kube.Client, *kube.Cluster, error) {
	client, err := kube.Connect(p.cfg.Kubeconfig, p.cfg.KubeContext, p.cfg.Kube)
	if err != nil {
		return nil, nil, err
	}
	return client, kube.NewCluster(client, p.cfg.Kube), nil
}

// Close releases the connections.
func (p *Platform) Close() {
	if p.temporal != nil {
		p.temporal.Close()
	}
	if p.blobs != nil {
		_ = p.blobs.Close()
	}
	if p.DB != nil {
		_ = p.DB.Close()
	}
}

// Migrate brings the database and Temporal's search attributes to the form that
// this version needs.
func (p *Platform) Migrate(ctx context.Context) error {
	if err := p.DB.Migrate(ctx); err != nil {
		return err
	}
	return p.conductor.EnsureSearchAttributes(ctx)
}

// ServeAPI serves the REST API until the context ends, then lets requests in
// flight finish.
func (p *Platform) ServeAPI(ctx context.Context, listener net.Listener) error {
	_, cluster, err := p.cluster()
	if err != nil {
		return err
	}
	server := &api.Server{
		Marketplace: p.DB.Marketplace(),
		Agents:      p.DB.Agents(),
		Channels:    p.DB.Agents(),
		Names:       p.DB.Agents(),
		Runs:        p.DB.Runs(),
		Bodies:      p.DB.Runs(),
		Control:     p.DB.Product(),
		Engine:      p.conductor,
		Schedules:   p.conductor,
		Logs:        cluster,
		Blobs:       p.blobs,
		Policy:      p.cfg.Policy,
		Limits:      p.cfg.Limits,
		Images:      registry.New(registry.Config{Preloaded: p.cfg.PreloadedImages, Private: p.cfg.PrivateNetworks}),
		Payments:    marketplace.ManualPayments{Instructions: p.cfg.PaymentInstructions},

		WebhookInsecure: p.cfg.WebhookInsecure,
		// Not Temporal and not the cluster: without them the API still takes
		// runs and cancels, and they are carried out when these are back.
		Checks: map[string]func(context.Context) error{
			"database": p.DB.Ping, "blob_store": p.blobs.Accessible,
		},
		Version:        p.cfg.Version,
		Log:            p.log,
		Now:            time.Now,
		NamespaceOf:    p.cfg.Kube.NamespaceOf,
		TemporalWebURL: p.cfg.TemporalWebURL, TemporalNamespace: p.cfg.Temporal.Namespace,
	}
	if p.cfg.SmokeAgent != "" {
		server.SmokeTest = &api.SmokeTest{Agent: p.cfg.SmokeAgent, OrgID: p.cfg.SmokeOrg}
	}
	serving := api.NewHTTPServer(listener.Addr().String(), server.Handler())
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := serving.Serve(listener); !errors.Is(err, api.ErrServerClosed) {
			return fmt.Errorf("serve API: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if err := serving.Shutdown(stop); err != nil {
			return serving.Close() // followers of logs do not end by themselves
		}
		return nil
	})
	return group.Wait()
}

// RunWorker serves the task queues, watches the cluster, relays what the API
// could not say and keeps house, until the context ends.
func (p *Platform) RunWorker(ctx context.Context) error {
	if err := p.cfg.Kube.Validate(); err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	client, cluster, err := p.cluster()
	if err != nil {
		return err
	}
	if err := p.untilReady(ctx, "temporal", p.conductor.Ping); err != nil {
		return err
	}
	if p.cfg.ManageNamespace {
		ensure := func(ctx context.Context) error { return kube.EnsureNamespace(ctx, client, p.cfg.Kube) }
		if err := p.untilReady(ctx, "cluster", ensure); err != nil {
			return err
		}
	}
	objects, err := kube.ConnectMetadata(p.cfg.Kubeconfig, p.cfg.KubeContext, p.cfg.Kube)
	if err != nil {
		return err
	}
	inventory := kube.NewInventory(objects, p.cfg.Kube)
	market, runs, agents := p.DB.Marketplace(), p.DB.Runs(), p.DB.Agents()
	watcher, err := kube.NewWatcher(client, p.cfg.Kube, cluster, &conductor.Reporter{Conductor: p.conductor, Runs: runs}, p.log)
	if err != nil {
		return err
	}
	relay := &conductor.Relay{Outboxes: map[string]conductor.Outbox{
		"runs":      conductor.RunOutbox(p.conductor, runs, p.log),
		"slots":     conductor.SlotOutbox(p.conductor, p.DB.Product(), p.log),
		"rollouts":  conductor.RolloutOutbox(p.conductor, p.DB.Product(), p.log),
		"schedules": conductor.ScheduleOutbox(p.conductor, p.DB.Product(), p.log),
		"webhooks":  conductor.WebhookOutbox(p.conductor, p.DB.Product(), p.log),
	}, Log: p.log, Now: time.Now}
	housekeeping := &workers.Housekeeping{Store: market, Policy: p.cfg.Policy, Log: p.log, Now: time.Now}
	retention := &workers.Retention{Runs: runs, Blobs: p.blobs, Messages: p.DB.Product(), Log: p.log, Now: time.Now}
	numbers := metrics.New()
	settling := &activities.Product{
		Runs: runs, Agents: agents, Names: agents, Policies: p.DB.Product(), Bodies: runs, Settlements: market,
		Queue: p.DB.Product(), Waker: p.conductor, Canceler: p.conductor,
		Limits: p.cfg.Limits, Policy: p.cfg.Policy, Now: time.Now,
	}
	work := workers.Activities{
		Marketplace: &activities.Marketplace{
			Store: market, Runs: runs, Agents: agents, Limits: p.cfg.Limits, Policy: p.cfg.Policy, Now: time.Now,
		},
		Product: settling,
		Reconcile: &activities.Reconcile{
			Runs: runs, Queue: p.DB.Product(), Engine: p.conductor, Inventory: inventory, Cluster: cluster,
			Product: settling, KeepFinished: p.cfg.Kube.KeepFinishedJobs, Margin: 2 * p.cfg.Reconcile, Found: numbers.Found, Now: time.Now,
		},
		Infra: &activities.Infra{Cluster: cluster, Runs: runs, Now: time.Now, Watch: watcher},
		AgentRuntime: &activities.AgentRuntime{
			Cluster: cluster, Watch: watcher, Runs: runs, Agents: agents, Blobs: p.blobs, Now: time.Now,
		},
		Webhooks: &activities.Webhooks{
			Endpoints: p.DB.Product(), Deliveries: p.DB.Product(),
			Sender: webhooks.New(webhooks.Config{Insecure: p.cfg.WebhookInsecure, Private: p.cfg.PrivateNetworks}), Now: time.Now,
		},
		Rollouts: &activities.Rollouts{Store: p.DB.Product(), Now: time.Now},
		Schedules: &activities.Schedules{
			Store: p.DB.Product(), People: market, Runs: runs, Now: time.Now,
			Launcher: &launch.Launcher{
				Market: market, Agents: agents, Channels: agents, Runs: runs, Control: p.DB.Product(),
				Limits: p.cfg.Limits, Policy: p.cfg.Policy, Now: time.Now,
			},
		},
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return watcher.Run(ctx) })
	group.Go(func() error { return relay.Run(ctx) })
	group.Go(func() error { return housekeeping.Run(ctx) })
	group.Go(func() error { return retention.Run(ctx) })
	if p.cfg.ManageNamespace {
		group.Go(func() error { return kube.KeepNamespaces(ctx, client, p.cfg.Kube, p.log) })
	}
	group.Go(func() error {
		return p.untilReady(ctx, "temporal", func(ctx context.Context) error { return p.conductor.EnsureReconcile(ctx, p.cfg.Reconcile) })
	})
	if p.cfg.MetricsListen != "" {
		group.Go(func() error { return serveMetrics(ctx, p.cfg.MetricsListen, numbers.Handler()) })
	}
	group.Go(func() error {
		return workers.Run(ctx, p.temporal, work, workers.Config{})
	})
	return group.Wait()
}

// serveMetrics serves the numbers of this process until the context ends.
func serveMetrics(ctx context.Context, address string, handler http.Handler) error {
	server := &http.Server{Addr: address, Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics: %w", err)
	}
	return nil
}

// untilReady waits for a dependency that may start later than this process.
func (p *Platform) untilReady(ctx context.Context, name string, check func(context.Context) error) error {
	for pause := 200 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := check(attempt)
		cancel()
		if err == nil {
			return nil
		}
		p.log.Warn("waiting for a dependency", "dependency", name, "error", err)
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", name, ctx.Err())
		case <-time.After(pause):
		}
	}
}
