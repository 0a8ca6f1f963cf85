package storetest

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// start is when the tests take place: in another time zone and with more digits
// than a database keeps.
var start = time.Date(2026, 3, 1, 9, 30, 15, 123456789, time.FixedZone("CET", 3600))

// stored is a time as it comes back.
func stored(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

func after(d time.Duration) time.Time { return start.Add(d) }

func requireSame(t *testing.T, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("want (-), got (+):\n%s", diff)
	}
}

func requireFault(t *testing.T, err error, kind fault.Kind, code string) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, kind, fault.KindOf(err), "kind of %v", err)
	if code != "" {
		require.Equal(t, code, fault.From(err).Code, "code of %v", err)
	}
}

// together runs do in n goroutines that begin at the same moment.
func together(n int, do func(i int)) {
	var ready, done sync.WaitGroup
	begin := make(chan struct{})
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			ready.Done()
			<-begin
			do(i)
		})
	}
	ready.Wait()
	close(begin)
	done.Wait()
}

// actor makes the changes of the tests.
var actor = audit.Actor{Kind: audit.KindKey, ID: "key_actor", Org: "org_actor", RequestID: "req_test"}

func anOrganization(t *testing.T, s Stores, name string) marketplace.Organization {
	t.Helper()
	org, err := marketplace.NewOrganization(name, start)
	require.NoError(t, err)
	require.NoError(t, s.Marketplace.CreateOrganization(t.Context(), actor, org))
	org.CreatedAt = stored(org.CreatedAt)
	return org
}

func manifest(name, number, summary string) agentruntime.Manifest {
	return agentruntime.Manifest{
		APIVersion: agentruntime.APIVersion, Name: name, Version: number, Summary: summary,
		Command: []string{"/agent", "--fast"},
		// The order of the keys is part of the content.
		InputSchema: json.RawMessage(`{"type":"object","properties":{"z":{"type":"number","maximum":1.0},"a":{}}}`),
		Resources:   agentruntime.DefaultResources(), Timeouts: agentruntime.DefaultTimeouts(),
		Env: map[string]string{"MODE": "test"},
	}
}

func image(digit string) string { return "registry.test/agents/a@sha256:" + strings.Repeat(digit, 64) }

// draft is a version of an agent as the API would hand it over, with fresh
// identifiers.
func draft(t *testing.T, org marketplace.Organization, name, number, summary string, at time.Time) (product.Agent, product.Version) {
	t.Helper()
	agent := product.Agent{
		ID: ids.New[ids.Agent](ids.PrefixAgent), OrgID: org.ID, Publisher: org.Name, Name: name,
		CreatedAt: at, UpdatedAt: at,
	}
	version, err := product.NewVersion(agent.ID, manifest(name, number, summary), image("a"), at)
	require.NoError(t, err)
	return agent, version
}

func publish(t *testing.T, s Stores, org marketplace.Organization, name, number string, at time.Time) (product.Agent, product.Version) {
	t.Helper()
	agent, version := draft(t, org, name, number, "summary of "+number, at)
	agent, version, added, err := s.Agents.AddVersion(t.Context(), actor, agent, version)
	require.NoError(t, err)
	require.True(t, added)
	return agent, version
}

// aGrant lets an organization run an agent of another one.
func aGrant(t *testing.T, s Stores, org marketplace.Organization, agent product.Agent) marketplace.Grant {
	t.Helper()
	g := marketplace.Grant{
		ID: ids.New[ids.Grant](ids.PrefixGrant), AgentID: agent.ID, OrgID: org.ID,
		Access: marketplace.AccessRun, CreatedBy: actor.ID, CreatedAt: start,
	}
	require.NoError(t, s.Marketplace.CreateGrant(t.Context(), actor, g))
	return g
}

// own gives a publisher the right to run its agent.
func own(t *testing.T, s Stores, agent product.Agent) {
	t.Helper()
	e := marketplace.NewEntitlement(agent.OrgID, agent.ID, marketplace.SourceOwnership, start)
	require.NoError(t, s.Marketplace.Entitle(t.Context(), actor, e))
}

// world is what a run needs.
type world struct {
	Stores
	org     marketplace.Organization
	agent   product.Agent
	version product.Version
}

func newWorld(t *testing.T, s Stores) world {
	t.Helper()
	w := world{Stores: s, org: anOrganization(t, s, "acme")}
	w.agent, w.version = publish(t, s, w.org, "reviewer", "1.0.0", start)
	return w
}

func (w world) queued(at time.Time) product.Run {
	return product.Run{
		ID: ids.New[ids.Run](ids.PrefixRun), OrgID: w.org.ID, KeyID: ids.New[ids.Key](ids.PrefixKey),
		AgentID: w.agent.ID, Agent: w.agent.FullName(), VersionID: w.version.ID, Version: w.version.Number,
		Image: w.version.Image, Status: product.StatusQueued,
		Labels:    map[string]string{"team": "blue", "a.b/c": `quote " and \`},
		Request:   product.Request{RunTimeout: 90 * time.Second},
		Origin:    product.Origin{Kind: product.OriginAPI},
		CreatedAt: at, QueueDeadline: at.Add(time.Hour),
	}
}

// create stores a run.
func (w world) create(t *testing.T, r product.Run) product.Run {
	t.Helper()
	run, created, err := w.Runs.CreateRun(t.Context(), r, []byte(`{"a": 1}`), nil)
	require.NoError(t, err)
	require.True(t, created)
	return run
}

func (w world) update(t *testing.T, id ids.Run, change func(*product.Run) ([]*product.Event, error)) product.Run {
	t.Helper()
	run, err := w.Runs.UpdateRun(t.Context(), id, change)
	require.NoError(t, err)
	loaded, err := w.Runs.Run(t.Context(), id)
	require.NoError(t, err)
	requireSame(t, loaded, run)
	return run
}

func (w world) cancel(t *testing.T, id ids.Run, at time.Time) product.Run {
	t.Helper()
	return w.update(t, id, func(r *product.Run) ([]*product.Event, error) {
		e, err := r.RequestCancel(product.Cancel{RequestedBy: "key", Reason: "enough"}, at)
		return []*product.Event{e}, err
	})
}

func (w world) settle(t *testing.T, id ids.Run, reason product.Reason, at time.Time) product.Run {
	t.Helper()
	return w.update(t, id, func(r *product.Run) ([]*product.Event, error) {
		return []*product.Event{r.Settle(reason, "", at)}, nil
	})
}

func runIDs(runs []product.Run) []ids.Run {
	var list []ids.Run
	for _, r := range runs {
		list = append(list, r.ID)
	}
	return list
}
