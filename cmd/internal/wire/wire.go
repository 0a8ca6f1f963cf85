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
//	            ┌──────────── gateway ────────────────────┐
//	pods   ──►  │ gateway.Server ──► store, blobs         │ ──► hosts of plans
//	            │     │       ▲── kube.Identities         │
//	            │     └─► conductor ──► Temporal          │
//	            └─────────────────────────────────────────┘
package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"
	_ "time/tzdata" // schedules have time zones, also where the system has none

	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"agentmarket/activities"
	"agentmarket/api"
	"agentmarket/blobs"
	"agentmarket/conductor"
	"agentmarket/gateway"
	"agentmarket/gateway/egress"
	"agentmarket/gateway/models"
	"agentmarket/infra/kube"
	"agentmarket/launch"
	"agentmarket/marketplace"
	"agentmarket/metrics"
	"agentmarket/product"
	"agentmarket/registry"
	"agentmarket/secrets"
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
	cfg.Limits.Tiers = &product.Tiers{Strict: cfg.Doctor == DoctorRequire}
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
	vault, err := secrets.Open(ctx, p.cfg.Secrets)
	if err != nil {
		return err
	}
	server := &api.Server{
		Marketplace:   p.DB.Marketplace(),
		Agents:        p.DB.Agents(),
		Channels:      p.DB.Agents(),
		Names:         p.DB.Agents(),
		Runs:          p.DB.Runs(),
		Bodies:        p.DB.Runs(),
		Artifacts:     p.DB.Runs(),
		Control:       p.DB.Product(),
		ToolApprovals: p.DB.Runs(),
		Engine:        p.conductor,
		Schedules:     p.conductor,
		Logs:          cluster,
		Blobs:         p.blobs,
		Vault:         vault,
		Policy:        p.cfg.Policy,
		Limits:        p.cfg.Limits,
		Images:        registry.New(registry.Config{Preloaded: p.cfg.PreloadedImages, Private: p.cfg.PrivateNetworks}),
		Payments:      marketplace.ManualPayments{Instructions: p.cfg.PaymentInstructions},

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
	group.Go(func() error { return p.learn(ctx) })
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
	doctor := &workers.Doctor{
		Cluster: kube.NewDoctor(client, cluster, p.cfg.Kube, apiServer()), Store: p.DB.Product(), AtStart: p.cfg.Doctor != DoctorRequest, Log: p.log, Now: time.Now,
		Found: func(check string, tier product.Tier, value float64) { numbers.Checked(check, string(tier), value) },
	}
	settling := &activities.Product{
		Runs: runs, Agents: agents, Names: agents, Policies: p.DB.Product(), Secrets: market, Bodies: runs, Settlements: market,
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
		Infra: &activities.Infra{Cluster: cluster, Runs: runs, Reports: runs, Now: time.Now, Watch: watcher, Tiers: p.cfg.Limits.Tiers},
		AgentRuntime: &activities.AgentRuntime{
			Cluster: cluster, Watch: watcher, Runs: runs, Agents: agents, Blobs: p.blobs, Sessions: runs, Now: time.Now,
		},
		Webhooks: &activities.Webhooks{
			Endpoints: p.DB.Product(), Deliveries: p.DB.Product(),
			Sender: webhooks.New(webhooks.Config{Insecure: p.cfg.WebhookInsecure, Private: p.cfg.PrivateNetworks}), Now: time.Now,
		},
		Rollouts: &activities.Rollouts{Store: p.DB.Product(), Now: time.Now},
		Schedules: &activities.Schedules{
			Store: p.DB.Product(), People: market, Runs: runs, Now: time.Now,
			Launcher: p.launcher(),
		},
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return watcher.Run(ctx) })
	group.Go(func() error { return relay.Run(ctx) })
	group.Go(func() error { return housekeeping.Run(ctx) })
	group.Go(func() error { return retention.Run(ctx) })
	group.Go(func() error { return p.learn(ctx) })
	group.Go(func() error { return doctor.Run(ctx) })
	if p.cfg.Kube.Warm {
		group.Go(func() error {
			return cluster.KeepWarm(ctx, func(err error) { p.log.Warn("warm pods are not made", "error", err) })
		})
	}
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

// learn keeps what this process knows of the tiers fresh.
func (p *Platform) learn(ctx context.Context) error {
	return (&workers.Learning{Store: p.DB.Product(), Tiers: p.cfg.Limits.Tiers, Log: p.log}).Run(ctx)
}

// launcher starts runs that nobody asks the API for.
func (p *Platform) launcher() *launch.Launcher {
	market, agents := p.DB.Marketplace(), p.DB.Agents()
	return &launch.Launcher{
		Market: market, Agents: agents, Channels: agents, Runs: p.DB.Runs(), Control: p.DB.Product(),
		Limits: p.cfg.Limits, Policy: p.cfg.Policy, Now: time.Now,
	}
}

// apiServer is the address of the API server that Kubernetes tells every pod; empty
// outside of one.
func apiServer() string {
	host := os.Getenv("KUBERNETES_SERVICE_HOST")
	if host == "" {
		return ""
	}
	return net.JoinHostPort(host, os.Getenv("KUBERNETES_SERVICE_PORT"))
}

// models are those that the gateway has for agents. Models that cost something need money
// that is held for them.
func (p *Platform) models(secret models.Secret) (models.Catalog, error) {
	if p.cfg.ModelsFile == "" {
		return models.Catalog{}, nil
	}
	catalog, err := models.ReadFile(p.cfg.ModelsFile, p.cfg.Policy.Currency, secret)
	if err == nil && catalog.Priced() && p.cfg.Policy.ModelBudget.IsZero() {
		err = errors.New("AGENTMARKET_MODELS_FILE has prices, and AGENTMARKET_MODEL_BUDGET_MICROS is 0: no run could pay them")
	}
	return catalog, err
}

// ServeGateway serves the pods of runs until the context ends.
func (p *Platform) ServeGateway(ctx context.Context) error {
	vault, err := secrets.Open(ctx, p.cfg.Secrets)
	if err != nil {
		return err
	}
	opened := credentials{dir: p.cfg.ToolSecrets, secrets: p.DB.Marketplace(), vault: vault}
	catalog, err := p.models(opened.Secret)
	if err != nil {
		return err
	}
	client, _, err := p.cluster()
	if err != nil {
		return err
	}
	objects, err := kube.ConnectMetadata(p.cfg.Kubeconfig, p.cfg.KubeContext, p.cfg.Kube)
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", p.cfg.GatewayListen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", p.cfg.GatewayListen, err)
	}
	identities := kube.NewIdentities(client, objects, p.cfg.Kube)
	server := gateway.Server{
		Identities: identities, Runs: p.DB.Runs(), Sessions: p.DB.Runs(), Charges: p.DB.Marketplace(),
		Engine: p.conductor, Blobs: p.blobs, Children: p.launcher(), PerAddress: p.cfg.GatewayPerAddress, Log: p.log, Now: time.Now,
		Models: gateway.Models{Catalog: catalog, Client: &http.Client{Transport: http.DefaultTransport}},
		Egress: egress.Config{
			Resolve: egress.Resolver(p.cfg.Egress.Resolver), Private: p.cfg.PrivateNetworks, Allowed: p.cfg.Egress.Networks,
			Limits: egress.Limits{Bytes: p.cfg.Egress.RunBytes},
		},
		Tools: gateway.Tools{
			Servers: p.DB.Product(), Approvals: p.DB.Runs(), Secrets: opened, Private: p.cfg.PrivateNetworks,
		},
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return identities.Run(ctx) })
	group.Go(func() error { return server.Serve(ctx, listener) })
	group.Go(func() error { return p.learn(ctx) })
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
