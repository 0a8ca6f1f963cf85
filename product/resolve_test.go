package product

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/money"
)

var now = time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)

var pinned = "registry.test:5000/acme/reviewer@sha256:" + strings.Repeat("a", 64)

var aRight = Right{Entitlement: "ent_1"}

func aManifest() agentruntime.Manifest {
	return agentruntime.Manifest{
		APIVersion: agentruntime.APIVersion, Name: "reviewer", Version: "1.2.3", Command: []string{"/agent", "--fast"},
		Resources: agentruntime.DefaultResources(), Timeouts: agentruntime.DefaultTimeouts(),
		Env: map[string]string{"MODE": "test"},
	}
}

func aVersion(change func(*agentruntime.Manifest)) Version {
	m := aManifest()
	if change != nil {
		change(&m)
	}
	return Version{ID: "ver_1", AgentID: "agt_1", Number: m.Version, Manifest: m, Image: pinned}
}

var anAgent = Agent{ID: "agt_1", OrgID: "org_acme", Publisher: "acme", Name: "reviewer"}

// aQuestion is the plainest one.
func aQuestion() Question {
	return Question{Agent: anAgent, Version: aVersion(nil), Right: aRight, Limits: DefaultLimits(), Now: now}
}

func TestResolveDefaults(t *testing.T) {
	want := Plan{
		AgentID: "agt_1", PublisherID: "org_acme", VersionID: "ver_1", Version: "1.2.3", Image: pinned, EntitlementID: "ent_1",
		Command: []string{"/agent", "--fast"}, Env: map[string]string{"MODE": "test"},
		Resources:   Resources{CPUMillis: 500, MemoryMiB: 128, DiskMiB: 64},
		Deadlines:   Deadlines{Queue: time.Hour, Start: 2 * time.Minute, Run: 5 * time.Minute, Grace: 10 * time.Second},
		MaxAttempts: 3, AgentAttempts: 1, MaxOutputBytes: 1 << 20, MaxLogBytes: 4 << 20,
		Tier: TierStandard, Mode: ModeAsync, ResolvedAt: now,
	}
	got, err := Resolve(aQuestion())
	require.NoError(t, err)
	require.NotEmpty(t, got.Sources)
	got.Sources = nil
	require.Empty(t, cmp.Diff(want, got))
}

func TestResolveDeadlines(t *testing.T) {
	limits := DefaultLimits()
	limits.MaxRun, limits.MaxQueue, limits.MaxGrace = 200*time.Second, 50*time.Minute, 5*time.Second
	wide := DefaultLimits()
	for _, tt := range []struct {
		name   string
		req    Request
		limits Limits
		want   Deadlines
	}{
		{"the request narrows", Request{RunTimeout: time.Minute, QueueTimeout: time.Minute}, wide,
			Deadlines{Queue: time.Minute, Start: 2 * time.Minute, Run: time.Minute, Grace: 10 * time.Second}},
		{"the request never widens the run", Request{RunTimeout: time.Hour}, wide,
			Deadlines{Queue: time.Hour, Start: 2 * time.Minute, Run: 5 * time.Minute, Grace: 10 * time.Second}},
		{"the platform's limits narrow the manifest", Request{}, limits,
			Deadlines{Queue: 50 * time.Minute, Start: 2 * time.Minute, Run: 200 * time.Second, Grace: 5 * time.Second}},
		{"the platform's limits narrow the request", Request{RunTimeout: 250 * time.Second, QueueTimeout: 2 * time.Hour}, limits,
			Deadlines{Queue: 50 * time.Minute, Start: 2 * time.Minute, Run: 200 * time.Second, Grace: 5 * time.Second}},
		{"the strictest wins", Request{RunTimeout: time.Second}, limits,
			Deadlines{Queue: 50 * time.Minute, Start: 2 * time.Minute, Run: time.Second, Grace: 5 * time.Second}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan, err := Resolve(Question{Agent: anAgent, Version: aVersion(nil), Request: tt.req, Right: aRight, Limits: tt.limits, Now: now})
			require.NoError(t, err)
			require.Empty(t, cmp.Diff(tt.want, plan.Deadlines))
		})
	}
}

func TestResolveBudget(t *testing.T) {
	usd := money.Of(500_000, "USD")
	narrow := DefaultLimits()
	narrow.MaxRun = time.Minute
	for _, tt := range []struct {
		name   string
		req    Request
		right  Right
		limits Limits
		run    time.Duration
		bound  bool
	}{
		{"free", Request{}, Right{}, DefaultLimits(), 5 * time.Minute, false},
		{"time costs nothing", Request{}, Right{Budget: usd}, DefaultLimits(), 5 * time.Minute, false},
		{"the budget is shorter", Request{}, Right{Budget: usd, Affordable: 50 * time.Second}, DefaultLimits(), 50 * time.Second, true},
		{"the budget pays for all of it", Request{}, Right{Budget: usd, Affordable: 5 * time.Minute}, DefaultLimits(), 5 * time.Minute, false},
		{"the budget pays for more", Request{}, Right{Budget: usd, Affordable: time.Hour}, DefaultLimits(), 5 * time.Minute, false},
		{"the request is shorter", Request{RunTimeout: 20 * time.Second}, Right{Budget: usd, Affordable: 50 * time.Second}, DefaultLimits(), 20 * time.Second, false},
		{"the platform's limit is shorter", Request{}, Right{Budget: usd, Affordable: 2 * time.Minute}, narrow, time.Minute, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.right.Entitlement, tt.right.Price = "ent_1", "prc_1"
			plan, err := Resolve(Question{Agent: anAgent, Version: aVersion(nil), Request: tt.req, Right: tt.right, Limits: tt.limits, Now: now})
			require.NoError(t, err)
			require.Equal(t, tt.run, plan.Deadlines.Run)
			require.Equal(t, tt.bound, plan.BudgetBound)
			require.Equal(t, tt.right.Budget, plan.Budget)
			require.Equal(t, ids.Price("prc_1"), plan.PriceID)
			require.Equal(t, ids.Entitlement("ent_1"), plan.EntitlementID)
		})
	}
}

func TestResolveTooLarge(t *testing.T) {
	limits := DefaultLimits()
	most := agentruntime.Resources{CPUMillis: limits.Resources.CPUMillis, MemoryMiB: limits.Resources.MemoryMiB, DiskMiB: limits.Resources.DiskMiB}
	_, err := Resolve(Question{Version: aVersion(func(m *agentruntime.Manifest) { m.Resources = most }), Right: aRight, Limits: limits, Now: now})
	require.NoError(t, err, "exactly the limit fits")

	for name, tt := range map[string]struct {
		change func(*agentruntime.Resources)
		want   []string
	}{
		"cpu":    {func(r *agentruntime.Resources) { r.CPUMillis++ }, []string{"/manifest/resources/cpu_millis"}},
		"memory": {func(r *agentruntime.Resources) { r.MemoryMiB++ }, []string{"/manifest/resources/memory_mib"}},
		"disk":   {func(r *agentruntime.Resources) { r.DiskMiB++ }, []string{"/manifest/resources/disk_mib"}},
		"all": {func(r *agentruntime.Resources) { r.CPUMillis++; r.MemoryMiB++; r.DiskMiB++ },
			[]string{"/manifest/resources/cpu_millis", "/manifest/resources/memory_mib", "/manifest/resources/disk_mib"}},
	} {
		t.Run(name, func(t *testing.T) {
			res := most
			tt.change(&res)
			plan, err := Resolve(Question{Version: aVersion(func(m *agentruntime.Manifest) { m.Resources = res }), Right: aRight, Limits: limits, Now: now})
			require.Empty(t, cmp.Diff(Plan{}, plan))
			require.Equal(t, fault.Invalid, fault.KindOf(err))
			require.Equal(t, string(ReasonPlanInvalid), fault.From(err).Code)
			require.Equal(t, tt.want, pointersOf(err))
		})
	}
}

func TestResolveIsPure(t *testing.T) {
	question := func() Question {
		q := aQuestion()
		q.Version = aVersion(func(m *agentruntime.Manifest) { m.Tools, m.Egress = []string{"b", "a"}, []string{"a.example.com"} })
		q.Request.RunTimeout, q.Request.MaxCost = time.Minute, money.Of(5, "USD")
		q.Policies = []Policy{{Scope: PolicyScope{Kind: ScopePlatform}, Tools: []string{"*"}, MaxRun: time.Hour, ApprovalAgents: []string{"acme/*"}}}
		return q
	}
	asked := question()
	first, err := Resolve(asked)
	require.NoError(t, err)
	second, err := Resolve(asked)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(first, second))
	require.Empty(t, cmp.Diff(question(), asked), "the question is not touched")
}

func TestNewVersionImage(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("0f", 32)
	for image, valid := range map[string]bool{
		"reviewer" + digest:                           true,
		"acme/reviewer" + digest:                      true,
		"registry.test/acme/re_view.er-2" + digest:    true,
		"registry.test:5000/acme/reviewer" + digest:   true,
		"localhost:5000/reviewer" + digest:            true,
		strings.Repeat("a", 512-len(digest)) + digest: true,
		strings.Repeat("a", 513-len(digest)) + digest: false,
		"":                                            false,
		digest:                                        false,
		"reviewer":                                    false,
		"reviewer:latest":                             false,
		"registry.test/reviewer:1.0":                  false,
		"reviewer:latest" + digest:                    false,
		"Acme/reviewer" + digest:                      false,
		"acme/Reviewer" + digest:                      false,
		"REGISTRY.test/reviewer" + digest:             false,
		"registry.test:500000/reviewer" + digest:      false,
		"registry.test:/reviewer" + digest:            false,
		"acme//reviewer" + digest:                     false,
		"/reviewer" + digest:                          false,
		"acme/" + digest:                              false,
		"acme/../reviewer" + digest:                   false,
		"https://registry.test/reviewer" + digest:     false,
		"-reviewer" + digest:                          false,
		"reviewer-" + digest:                          false,
		"re viewer" + digest:                          false,
		"reviewer" + digest + "\n":                    false,
		"\nreviewer" + digest:                         false,
		"reviewer" + digest + "0":                     false,
		"reviewer@sha256:" + strings.Repeat("0F", 32): false,
		"reviewer@sha256:" + strings.Repeat("a", 63):  false,
		"reviewer@sha512:" + strings.Repeat("a", 128): false,
		"reviewer@sha256:" + strings.Repeat("g", 64):  false,
		"user:secret@registry.test/reviewer" + digest: false,
		"reviewer" + digest + "@sha256:" + digest[8:]: false,
	} {
		version, err := NewVersion("agt_1", aManifest(), image, now)
		if valid {
			require.NoError(t, err, "%q", image)
			require.Equal(t, image, version.Image)
			continue
		}
		require.Equal(t, fault.Invalid, fault.KindOf(err), "%q", image)
		require.Equal(t, []string{"/image"}, pointersOf(err), "%q", image)
	}
}

func TestNewVersion(t *testing.T) {
	m := aManifest()
	version, err := NewVersion("agt_1", m, pinned, now)
	require.NoError(t, err)
	want := Version{ID: version.ID, AgentID: "agt_1", Number: "1.2.3", Manifest: m, Image: pinned, CreatedAt: now}
	require.Empty(t, cmp.Diff(want, version))
	require.Regexp(t, `^ver_[0-9a-z]{26}$`, version.ID)

	again, err := NewVersion("agt_1", m, pinned, now)
	require.NoError(t, err)
	require.NotEqual(t, version.ID, again.ID)
	require.True(t, version.SameContent(again))
	again.Image = strings.Replace(pinned, "aaa", "bbb", 1)
	require.False(t, version.SameContent(again), "another image")
	again = version
	again.Manifest.Env = map[string]string{"MODE": "live"}
	require.False(t, version.SameContent(again), "another manifest")
}

func TestVersionWithChangelog(t *testing.T) {
	version := aVersion(nil)
	longest := strings.Repeat("é", MaxChangelogBytes/2)
	for text, valid := range map[string]bool{
		"": true, "- faster\n- größer ✓\n": true, longest: true,
		longest + "x": false, "a\x00b": false, "\xff": false,
	} {
		got, err := version.WithChangelog(text)
		if !valid {
			require.Equal(t, fault.Invalid, fault.KindOf(err), "%.20q", text)
			require.Equal(t, []string{"/changelog"}, pointersOf(err))
			continue
		}
		require.NoError(t, err, "%.20q", text)
		require.Equal(t, text, got.Changelog)
		require.True(t, version.SameContent(got), "it runs the same")
	}
	require.Empty(t, version.Changelog)
}

func TestNewVersionReportsEverything(t *testing.T) {
	m := aManifest()
	m.InputSchema = []byte(`{"type":"text"}`)
	m.OutputSchema = []byte(`{"$ref":"https://example.com/schema.json"}`)
	version, err := NewVersion("agt_1", m, "reviewer:latest", now)
	require.Empty(t, cmp.Diff(Version{}, version))
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	require.Equal(t, "version_invalid", fault.From(err).Code)
	require.Equal(t, []string{"/image", "/manifest/input_schema", "/manifest/output_schema"}, pointersOf(err))
	for _, f := range fault.From(err).Fields {
		require.NotEmpty(t, f.Message)
	}
}

func pointersOf(err error) []string {
	var list []string
	for _, f := range fault.From(err).Fields {
		list = append(list, f.Pointer)
	}
	return list
}
