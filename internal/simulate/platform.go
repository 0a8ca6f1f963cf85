package simulate

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"agentmarket/agentruntime"
	"agentmarket/audit"
	"agentmarket/conductor"
	"agentmarket/ids"
	"agentmarket/internal/testenv"
	"agentmarket/marketplace"
	"agentmarket/product"
	"agentmarket/store"
)

// Platform is a platform on a simulated cluster: a real PostgreSQL, a real
// Temporal, and workers in processes of their own or in this one.
type Platform struct {
	testenv.Dev
	Jobs      *Jobs
	DB        *store.DB
	Temporal  client.Client
	Conductor *conductor.Conductor
	Worker    Worker

	workers int
}

// Options of a platform.
type Options struct {
	// Quota is that of organizations which have none of their own.
	Quota product.Quota
	// TemporalOnPostgres puts Temporal on the PostgreSQL of the test instead of a
	// SQLite file.
	TemporalOnPostgres bool
}

// NewPlatform starts everything but the workers.
func NewPlatform(t testing.TB, o Options) *Platform {
	t.Helper()
	p := &Platform{Dev: testenv.NewDev(t), Jobs: NewJobs()}
	server := testenv.Postgres(t)
	port := testenv.FreePort(t)
	if o.TemporalOnPostgres {
		p.StartTemporalOnPostgres(t, server.Address(), port)
	} else {
		p.StartTemporal(t, filepath.Join(t.TempDir(), "temporal.db"), port)
	}
	name, err := server.CreateDatabase(t.Context(), "")
	require.NoError(t, err)
	cluster := httptest.NewServer(p.Jobs.Handler())
	t.Cleanup(cluster.Close)
	p.Worker = Worker{
		DatabaseURL: server.URL(name), ClusterURL: cluster.URL, Quota: o.Quota,
		BlobURL:  "file://" + t.TempDir() + "?no_tmp_dir=true",
		Temporal: client.Options{HostPort: fmt.Sprintf("127.0.0.1:%d", port), Namespace: testenv.TemporalNamespace},
		Log:      slog.New(slog.DiscardHandler),
	}
	p.DB, err = store.Open(t.Context(), store.Config{URL: p.Worker.DatabaseURL, Quota: o.Quota})
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.DB.Close() })
	require.NoError(t, p.DB.Migrate(t.Context()))
	options := p.Worker.Temporal
	options.Logger = quiet{}
	p.Temporal, err = client.Dial(options)
	require.NoError(t, err)
	t.Cleanup(p.Temporal.Close)
	p.Conductor = conductor.New(p.Temporal, testenv.TemporalNamespace)
	require.NoError(t, p.Conductor.EnsureSearchAttributes(t.Context()))
	return p
}

// quiet is a logger of the Temporal client that says nothing.
type quiet struct{}

func (quiet) Debug(string, ...any) {}
func (quiet) Info(string, ...any)  {}
func (quiet) Warn(string, ...any)  {}
func (quiet) Error(string, ...any) {}

// StartWorker starts a worker in a process of its own: this binary again, whose
// TestMain calls Main.
func (p *Platform) StartWorker(t testing.TB) *testenv.Process {
	t.Helper()
	p.workers++
	self, err := os.Executable()
	require.NoError(t, err)
	return p.Start(t, testenv.Program{
		Name: fmt.Sprintf("worker-%d", p.workers), Path: self, Args: []string{"-test.run=^$"}, Env: p.Worker.Environment(),
	})
}

var setUp = audit.System("simulation")

// Agent makes an organization with an agent of its own.
func (p *Platform) Agent(t testing.TB, name string) product.Version {
	t.Helper()
	now := time.Now()
	org, err := marketplace.NewOrganization(name, now)
	require.NoError(t, err)
	require.NoError(t, p.DB.Marketplace().CreateOrganization(t.Context(), setUp, org))
	manifest, err := agentruntime.ParseManifest([]byte(`{"api_version": "agentmarket/v1", "name": "agent", "version": "1.0.0",
		"summary": "An agent of a simulation.", "command": ["/agent"]}`))
	require.NoError(t, err)
	agent := product.Agent{
		ID: ids.New[ids.Agent](ids.PrefixAgent), OrgID: org.ID, Publisher: org.Name, Name: "agent", Summary: manifest.Summary, CreatedAt: now,
	}
	image := "agents.test/agent@sha256:" + strings.Repeat("a", 64)
	version, err := product.NewVersion(agent.ID, manifest, image, now)
	require.NoError(t, err)
	_, version, _, err = p.DB.Agents().AddVersion(t.Context(), setUp, agent, version)
	require.NoError(t, err)
	return version
}

// Run is a run of an agent by its publisher, which nobody has stored yet.
func (p *Platform) Run(t testing.TB, v product.Version, key ids.Key) product.Run {
	t.Helper()
	agents, err := p.DB.Agents().AgentsByID(t.Context(), []ids.Agent{v.AgentID})
	require.NoError(t, err)
	agent, now := agents[v.AgentID], time.Now()
	return product.Run{
		ID: ids.New[ids.Run](ids.PrefixRun), OrgID: agent.OrgID, KeyID: key, AgentID: agent.ID, Agent: agent.FullName(),
		VersionID: v.ID, Version: v.Number, Image: v.Image, Status: product.StatusQueued,
		CreatedAt: now, QueueDeadline: now.Add(time.Hour),
	}
}

// StartRun stores a run and starts its workflow, as the API does.
func (p *Platform) StartRun(t testing.TB, r product.Run) {
	t.Helper()
	_, _, err := p.DB.Runs().CreateRun(t.Context(), r, []byte(`{}`), nil)
	require.NoError(t, err)
	require.NoError(t, p.Conductor.StartRun(t.Context(), r))
	require.NoError(t, p.DB.Runs().Dispatched(t.Context(), r))
}
