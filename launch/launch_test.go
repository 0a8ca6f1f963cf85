package launch_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/launch"
	"agentmarket/marketplace"
	"agentmarket/product"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// world is everything that a launcher asks.
type world struct {
	product.AgentStore
	product.ChannelStore
	claim    marketplace.Claim
	versions map[string]product.Version
	rollouts []product.Rollout
	policies []product.Policy
	limits   []product.Limit
	usages   []product.Usage
	keyErr   error
	secrets  []marketplace.Secret

	byKey     product.Run
	stored    []product.Run
	installed *marketplace.Installation
	scopes    []product.Scope
}

// newWorld has acme/greeter in two versions, of which stable is the first one, and
// a buyer for whom it is free.
func newWorld() *world {
	w := &world{versions: map[string]product.Version{}, keyErr: fault.New(fault.NotFound, "run_not_found", "")}
	for _, number := range []string{"1.0.0", "2.0.0"} {
		w.versions[number] = product.Version{
			ID: ids.Version("ver_" + number), AgentID: "agt_1", Number: number,
			Manifest: agentruntime.Manifest{
				InputSchema: []byte(`{"type":"object"}`), Resources: agentruntime.Resources{CPUMillis: 500, MemoryMiB: 128, DiskMiB: 64},
				Timeouts: agentruntime.Timeouts{RunSeconds: 60, StartSeconds: 60},
			},
		}
	}
	w.versions["stable"], w.versions["latest"] = w.versions["1.0.0"], w.versions["2.0.0"]
	w.claim = marketplace.Claim{
		OrgID: "org_buyer", AgentID: "agt_1", Publisher: "org_acme",
		Status: marketplace.ListingPublished, Visibility: marketplace.VisibilityPublic,
	}
	return w
}

func (w *world) launcher() *launch.Launcher {
	return &launch.Launcher{
		Market: w, Agents: w, Channels: w, Runs: w, Control: w,
		Limits: product.DefaultLimits(), Policy: marketplace.DefaultPolicy(), Now: func() time.Time { return now },
	}
}

func (w *world) AgentByName(_ context.Context, publisher, name string) (product.Agent, error) {
	return product.Agent{ID: "agt_1", OrgID: "org_acme", Publisher: publisher, Name: name}, nil
}

func (w *world) Version(_ context.Context, id ids.Version) (product.Version, error) {
	return w.versions[string(id[len("ver_"):])], nil
}

func (w *world) Resolve(_ context.Context, _ ids.Agent, name string) (product.Version, error) {
	version, there := w.versions[name]
	if !there {
		return product.Version{}, fault.New(fault.NotFound, "version_not_found", "")
	}
	return version, nil
}

func (w *world) Claim(context.Context, marketplace.ClaimQuery) (marketplace.Claim, error) {
	return w.claim, nil
}

func (w *world) Spending(context.Context, ids.Org, ids.User, marketplace.Month) (marketplace.Spending, error) {
	return marketplace.Spending{}, nil
}

func (w *world) AverageRun(context.Context, ids.Agent) (time.Duration, error) { return 0, nil }

func (w *world) UpdateInstallation(_ context.Context, _ audit.Actor, _ ids.Org, _ ids.Agent, _ time.Time, change func(*marketplace.Installation) error) (marketplace.Installation, error) {
	stored := *w.claim.Installation
	err := change(&stored)
	w.installed = &stored
	return stored, err
}

func (w *world) PoliciesFor(context.Context, ids.Org, ids.Team, ids.Agent) ([]product.Policy, error) {
	return w.policies, nil
}

func (w *world) ActiveRollouts(context.Context, ids.Agent) ([]product.Rollout, error) {
	return w.rollouts, nil
}

func (w *world) Limits(_ context.Context, scopes []product.Scope, _ time.Time) ([]product.Limit, []product.Usage, error) {
	w.scopes = scopes
	return w.limits, w.usages, nil
}

func (w *world) RunOfKey(context.Context, ids.Org, product.IdempotencyKey) (product.Run, error) {
	return w.byKey, w.keyErr
}

func (w *world) Run(context.Context, ids.Run) (product.Run, error) {
	return product.Run{ID: "run_parent", OrgID: "org_other"}, nil
}

func (w *world) CreateRun(_ context.Context, r product.Run, _ []byte, _ *product.IdempotencyKey) (product.Run, bool, error) {
	w.stored = append(w.stored, r)
	return r, true, nil
}

// request is one of a person of the buyer.
func request() launch.Start {
	return launch.Start{
		Caller:    launch.Caller{OrgID: "org_buyer", KeyID: "key_1", UserID: "usr_1", Teams: []ids.Team{"team_1"}},
		Publisher: "acme", Name: "greeter", Input: []byte(`{}`),
	}
}

func TestStartStoresTheRun(t *testing.T) {
	w := newWorld()
	s := request()
	s.Request.Priority, s.Labels = 3, map[string]string{"a": "b"}
	s.Webhook = &product.Endpoint{ID: "whk_1"}
	run, created, err := w.launcher().Start(t.Context(), s)
	require.NoError(t, err)
	require.True(t, created)
	require.True(t, ids.Valid(ids.PrefixRun, string(run.ID)))
	want := product.Run{
		ID: run.ID, OrgID: "org_buyer", KeyID: "key_1", UserID: "usr_1", TeamID: "team_1", AgentID: "agt_1", Agent: "acme/greeter",
		VersionID: "ver_1.0.0", Version: "1.0.0", Status: product.StatusQueued, Labels: s.Labels,
		Origin: product.Origin{Kind: product.OriginAPI}, Request: product.Request{Priority: 3, VersionRule: product.RuleChannel},
		CreatedAt: now, QueueDeadline: now.Add(product.DefaultQueueTimeout),
		Webhook: &product.Endpoint{ID: "whk_1", OrgID: "org_buyer", RunID: run.ID},
	}
	require.Empty(t, cmp.Diff([]product.Run{want}, w.stored))
	require.Empty(t, s.Webhook.RunID, "the request stays as it was")
	require.ElementsMatch(t, run.Scopes("org_acme"), w.scopes)
}

// What has happened to the right since does not matter to a repeat.
func TestRepeatAsksNothingElse(t *testing.T) {
	w := newWorld()
	w.byKey, w.keyErr = product.Run{ID: "run_before"}, nil
	w.claim.Status = marketplace.ListingSuspended
	s := request()
	s.Key = &product.IdempotencyKey{Key: "k"}
	run, created, err := w.launcher().Start(t.Context(), s)
	require.NoError(t, err)
	require.False(t, created)
	require.Equal(t, ids.Run("run_before"), run.ID)

	for _, kind := range []fault.Kind{fault.Invalid, fault.Unavailable} { // fails closed
		w.keyErr = fault.New(kind, "", "")
		_, _, err = w.launcher().Start(t.Context(), s)
		require.Equal(t, kind, fault.KindOf(err))
	}
	require.Empty(t, w.stored)
}

func TestStartIsDenied(t *testing.T) {
	for code, c := range map[string]struct {
		change func(*world, *launch.Start)
		kind   fault.Kind
	}{
		"listing_suspended": {func(w *world, _ *launch.Start) { w.claim.Status = marketplace.ListingSuspended }, fault.Forbidden},
		"agent_not_found":   {func(w *world, _ *launch.Start) { w.claim.Status = "" }, fault.NotFound},
		"version_not_found": {func(_ *world, s *launch.Start) { s.Version = "3.0.0" }, fault.NotFound},
		"team_required":     {func(_ *world, s *launch.Start) { s.Teams = []ids.Team{"team_1", "team_2"} }, fault.Invalid},
		"team_unknown":      {func(_ *world, s *launch.Start) { s.TeamID = "team_2" }, fault.Invalid},
		"policy_denied":     {func(w *world, _ *launch.Start) { w.policies = []product.Policy{{Agents: []string{}}} }, fault.Forbidden},
		"plan_invalid": {func(w *world, _ *launch.Start) {
			v := w.versions["stable"]
			v.Manifest.Resources.CPUMillis = 1_000_000
			w.versions["stable"] = v
		}, fault.Invalid},
		"limit_reached": {func(w *world, _ *launch.Start) {
			w.limits = []product.Limit{{Scope: product.PlatformScope(), RunsPerDay: 5}}
			w.usages = []product.Usage{{Scope: product.PlatformScope(), RunsToday: 5}}
		}, fault.Forbidden},
		"input_invalid": {func(_ *world, s *launch.Start) { s.Input = []byte(`1`) }, fault.Invalid},
		"input_too_large": {func(_ *world, s *launch.Start) {
			s.Input = append([]byte(`{}`), make([]byte, product.MaxInputBytes)...)
		}, fault.TooLarge},
		"parent_not_found": {func(_ *world, s *launch.Start) { s.Origin.ParentID = "run_parent" }, fault.NotFound},
	} {
		t.Run(code, func(t *testing.T) {
			w, s := newWorld(), request()
			c.change(w, &s)
			_, _, err := w.launcher().Start(t.Context(), s)
			require.Error(t, err)
			require.Equal(t, code, fault.From(err).Code)
			require.Equal(t, c.kind, fault.KindOf(err))
			require.Empty(t, w.stored)
			require.Nil(t, w.installed)

			preview, err := w.launcher().Preview(t.Context(), s)
			switch code {
			case "listing_suspended", "policy_denied", "plan_invalid", "limit_reached":
				require.NoError(t, err)
				require.Equal(t, code, fault.From(preview.Denial).Code)
				require.Equal(t, code == "limit_reached", preview.Plan != nil)
			default:
				require.Equal(t, code, fault.From(err).Code)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	installed := func(change func(*marketplace.Installation)) func(*world) {
		return func(w *world) {
			i := marketplace.NewInstallation("org_buyer", "agt_1", now.Add(-time.Hour))
			change(&i)
			w.claim.Installation = &i
		}
	}
	rollout := func(r product.Rollout) func(*world) {
		return func(w *world) {
			r.AgentID, r.FromID, r.ToID, r.Status = "agt_1", "ver_1.0.0", "ver_2.0.0", product.RolloutRunning
			w.rollouts = []product.Rollout{r}
		}
	}
	named := []product.Stage{{Organizations: []ids.Org{"org_buyer"}}}
	greedyRollout := func(w *world) {
		rollout(product.Rollout{Channel: "stable", Stages: named})(w)
		v := w.versions["2.0.0"]
		v.Manifest.Secrets = []string{"TOKEN"}
		w.versions["2.0.0"] = v
	}
	for _, c := range []struct {
		name, wanted, version, rule string
		world                       func(*world)
		moves                       bool
	}{
		{name: "a number", wanted: "2.0.0", version: "2.0.0", rule: product.RuleRequest},
		{name: "latest", wanted: "latest", version: "2.0.0", rule: product.RuleLatest},
		{name: "a channel", wanted: "stable", version: "1.0.0", rule: product.RuleChannel},
		{name: "nothing is installed", version: "1.0.0", rule: product.RuleChannel},
		{name: "the publisher", version: "2.0.0", rule: product.RuleLatest, world: func(w *world) { w.claim.OrgID = "org_acme" }},
		{name: "pinned", version: "2.0.0", rule: product.RulePin, world: installed(func(i *marketplace.Installation) {
			i.Channel, i.VersionID = "", "ver_2.0.0"
		})},
		{name: "follows", version: "1.0.0", rule: product.RuleChannel, moves: true, world: installed(func(*marketplace.Installation) {})},
		{name: "is there", version: "1.0.0", rule: product.RuleChannel, world: installed(func(i *marketplace.Installation) { i.VersionID = "ver_1.0.0" })},
		{name: "waits for a consent", version: "2.0.0", rule: product.RuleInstallation, world: func(w *world) {
			installed(func(i *marketplace.Installation) { i.VersionID = "ver_2.0.0" })(w)
			v := w.versions["stable"]
			v.Manifest.Secrets = []string{"TOKEN"}
			w.versions["stable"] = v
		}},
		{name: "a rollout reaches the organization", version: "2.0.0", rule: product.RuleRollout,
			world: rollout(product.Rollout{Channel: "stable", Stages: named})},
		{name: "a rollout of a channel that is named", wanted: "stable", version: "2.0.0", rule: product.RuleRollout,
			world: rollout(product.Rollout{Channel: "stable", Stages: named})},
		{name: "a rollout that asks for more", version: "1.0.0", rule: product.RuleChannel, world: greedyRollout},
		{name: "a rollout that asks for more, of a channel that is named", wanted: "stable", version: "1.0.0",
			rule: product.RuleChannel, world: greedyRollout},
		{name: "a rollout that asks for more, nothing runs yet", version: "1.0.0", rule: product.RuleChannel, moves: true,
			world: func(w *world) {
				installed(func(*marketplace.Installation) {})(w)
				greedyRollout(w)
			}},
		{name: "a rollout that asks for more, an older version runs", version: "1.0.0", rule: product.RuleChannel, moves: true,
			world: func(w *world) {
				installed(func(i *marketplace.Installation) { i.VersionID = "ver_0.9.0" })(w)
				greedyRollout(w)
			}},
		{name: "a rollout that asks for more, the old version runs", version: "1.0.0", rule: product.RuleChannel,
			world: func(w *world) {
				installed(func(i *marketplace.Installation) { i.VersionID = "ver_1.0.0" })(w)
				greedyRollout(w)
			}},
		{name: "a rollout of another channel", version: "1.0.0", rule: product.RuleChannel,
			world: rollout(product.Rollout{Channel: "beta", Stages: named})},
		{name: "a rollout that has not come so far", version: "1.0.0", rule: product.RuleChannel,
			world: rollout(product.Rollout{Channel: "stable", Stages: []product.Stage{{}}})},
		{name: "a number during a rollout", wanted: "1.0.0", version: "1.0.0", rule: product.RuleRequest,
			world: rollout(product.Rollout{Channel: "stable", Stages: named})},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, s := newWorld(), request()
			if c.world != nil {
				c.world(w)
			}
			s.OrgID, s.Version = w.claim.OrgID, c.wanted
			preview, err := w.launcher().Preview(t.Context(), s)
			require.NoError(t, err)
			require.NoError(t, preview.Denial)
			require.Equal(t, c.version, preview.Version.Number)
			require.Nil(t, w.installed, "a preview moves nothing")

			run, _, err := w.launcher().Start(t.Context(), s)
			require.NoError(t, err)
			require.Equal(t, c.version, run.Version)
			require.Equal(t, c.rule, run.Request.VersionRule)
			require.Equal(t, c.wanted, run.Request.Version)
			require.Equal(t, c.moves, w.installed != nil)
			if c.moves {
				require.Equal(t, c.version, w.installed.Version)
			}
		})
	}
}

func TestPreviewWaits(t *testing.T) {
	w := newWorld()
	platform, quota := product.PlatformScope(), product.Scope{Kind: product.ScopeQuota, ID: "org_buyer"}
	w.limits = []product.Limit{{Scope: platform, ConcurrentRuns: 1}, {Scope: quota, CPUMillis: 600}, {Scope: product.Scope{Kind: product.ScopeAgent, ID: "agt_1"}, ConcurrentRuns: 1}}
	w.usages = []product.Usage{{Scope: quota, CPUMillis: 500, Waiting: 4}, {Scope: platform, Running: 1}} // in no order, and one is absent
	preview, err := w.launcher().Preview(t.Context(), request())
	require.NoError(t, err)
	require.NoError(t, preview.Denial)
	require.Empty(t, cmp.Diff([]product.Wait{
		{Scope: platform, Bound: product.BoundRuns, Limit: 1, Position: 1, Since: now},
		{Scope: quota, Bound: product.BoundCPU, Limit: 600, Position: 5, Since: now},
	}, preview.Waits))
	require.Empty(t, w.stored)
}

// Without a version, and without the right to it, the right is what is told.
func TestPreviewOfAnAgentWithoutAVersion(t *testing.T) {
	w := newWorld()
	delete(w.versions, "stable")
	_, err := w.launcher().Preview(t.Context(), request())
	require.Equal(t, "version_not_found", fault.From(err).Code)
	w.claim.Status = marketplace.ListingSuspended
	preview, err := w.launcher().Preview(t.Context(), request())
	require.NoError(t, err)
	require.Equal(t, "listing_suspended", fault.From(preview.Denial).Code)
	require.Empty(t, preview.Version.ID)
}

func (w *world) Secrets(context.Context, ids.Org) ([]marketplace.Secret, error) {
	return w.secrets, nil
}

// TestASecretThatIsMissingDenies the start; one that is there does not.
func TestASecretThatIsMissingDenies(t *testing.T) {
	w := newWorld()
	for name, version := range w.versions {
		version.Manifest.Secrets = []string{"TOKEN"}
		w.versions[name] = version
	}
	w.claim.OrgID = "org_acme" // nobody has to consent
	start := request()
	start.Caller.OrgID = "org_acme"
	_, _, err := w.launcher().Start(t.Context(), start)
	require.True(t, fault.Is(err, fault.Invalid), "%v", err)
	require.ErrorContains(t, err, "the secret TOKEN")
	w.secrets = []marketplace.Secret{{Name: "TOKEN"}}
	_, _, err = w.launcher().Start(t.Context(), start)
	require.NoError(t, err)
}
