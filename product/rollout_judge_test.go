package product_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
)

var begun = time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)

// aRollout goes from named organizations to a tenth to all of them.
func aRollout() product.Rollout {
	return product.Rollout{
		ID: "rol_1", AgentID: "agt_1", Channel: "stable", FromID: "ver_1", From: "1.0.0", ToID: "ver_2", To: "2.0.0",
		Stages:     []product.Stage{{Organizations: []ids.Org{"org_a"}, Duration: time.Hour}, {Percent: 10, Duration: time.Hour}, {Percent: 100}},
		Thresholds: product.Thresholds{MinSamples: 10, FailureRate: 0.1, Cost: 1.5, Duration: 2},
		Status:     product.RolloutRunning, CreatedAt: begun, StagedAt: begun, UpdatedAt: begun,
	}
}

func TestNewRollout(t *testing.T) {
	want := aRollout()
	from := product.Version{ID: "ver_1", AgentID: "agt_1", Number: "1.0.0"}
	to := product.Version{ID: "ver_2", AgentID: "agt_1", Number: "2.0.0"}
	got, err := product.NewRollout("stable", from, to, want.Stages, want.Thresholds, begun)
	require.NoError(t, err)
	require.True(t, ids.Valid(ids.PrefixRollout, string(got.ID)))
	got.ID = want.ID
	require.Empty(t, cmp.Diff(want, got))
	_, err = product.NewRollout("stable", to, to, want.Stages, want.Thresholds, begun)
	require.Equal(t, "rollout_invalid", fault.From(err).Code)
}

func TestRolloutCheck(t *testing.T) {
	for name, tt := range map[string]struct {
		change   func(*product.Rollout)
		pointers []string
	}{
		"as it should be":            {func(*product.Rollout) {}, nil},
		"the same version":           {func(r *product.Rollout) { r.ToID = r.FromID }, []string{"/version"}},
		"no name of a channel":       {func(r *product.Rollout) { r.Channel = "Latest" }, []string{"/channel"}},
		"no stages":                  {func(r *product.Rollout) { r.Stages = nil }, []string{"/stages"}},
		"too many stages":            {func(r *product.Rollout) { r.Stages = make([]product.Stage, product.MaxStages+1) }, []string{"/stages"}},
		"the most stages":            {func(r *product.Rollout) { r.Stages = make([]product.Stage, product.MaxStages) }, nil},
		"a share that shrinks":       {func(r *product.Rollout) { r.Stages[2].Percent = 9 }, []string{"/stages/2/percent"}},
		"a share beyond all":         {func(r *product.Rollout) { r.Stages[2].Percent = 101 }, []string{"/stages/2/percent"}},
		"less than nobody":           {func(r *product.Rollout) { r.Stages[0].Percent = -1 }, []string{"/stages/0/percent", "/stages/0/percent"}},
		"a stage of more than 30 d":  {func(r *product.Rollout) { r.Stages[1].Duration = product.MaxStageDuration + 1 }, []string{"/stages/1/duration_seconds"}},
		"a stage before its time":    {func(r *product.Rollout) { r.Stages[1].Duration = -1 }, []string{"/stages/1/duration_seconds"}},
		"too many who are named":     {func(r *product.Rollout) { r.Stages[0].Organizations = make([]ids.Org, 101) }, []string{"/stages/0/organizations"}},
		"judged by nothing":          {func(r *product.Rollout) { r.Thresholds.MinSamples = 0 }, []string{"/thresholds/min_samples"}},
		"judged never":               {func(r *product.Rollout) { r.Thresholds.MinSamples = product.MaxSamples + 1 }, []string{"/thresholds/min_samples"}},
		"a rate that is none":        {func(r *product.Rollout) { r.Thresholds.FailureRate = math.NaN() }, []string{"/thresholds/failure_rate"}},
		"a rate beyond all":          {func(r *product.Rollout) { r.Thresholds.FailureRate = 1.01 }, []string{"/thresholds/failure_rate"}},
		"a factor that asks to save": {func(r *product.Rollout) { r.Thresholds.Cost, r.Thresholds.Duration = 0.9, math.Inf(1) }, []string{"/thresholds/cost_factor", "/thresholds/duration_factor"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := aRollout()
			tt.change(&r)
			err := r.Check()
			if tt.pointers == nil {
				require.NoError(t, err)
				return
			}
			require.True(t, fault.Is(err, fault.Invalid))
			var pointers []string
			for _, f := range fault.From(err).Fields {
				pointers = append(pointers, f.Pointer)
			}
			require.Equal(t, tt.pointers, pointers)
		})
	}
}

// reached are the organizations of 2000 that a rollout covers.
func reached(r product.Rollout) map[ids.Org]bool {
	got := map[ids.Org]bool{}
	for i := range 2000 {
		if org := ids.Org(fmt.Sprint("org_", i)); r.Covers(org) {
			got[org] = true
		}
	}
	return got
}

func TestRolloutCovers(t *testing.T) {
	r := aRollout()
	require.True(t, r.Covers("org_a"))
	require.Empty(t, reached(r))
	require.Zero(t, r.Percent())
	r.Stage = 1
	tenth := reached(r)
	require.InDelta(t, 200, len(tenth), 50)
	require.True(t, r.Covers("org_a"), "it has got it before")

	other := r
	other.ID = "rol_2"
	require.NotEqual(t, tenth, reached(other), "others are the first in another rollout")

	r.Stages[2].Percent, r.Stage = 50, 2
	half := reached(r)
	require.InDelta(t, 1000, len(half), 100)
	for org := range tenth {
		require.True(t, half[org], "%s keeps it", org)
	}
	r.Stages[2].Percent = 100
	require.Len(t, reached(r), 2000)
	r.Status = product.RolloutPaused
	require.Len(t, reached(r), 2000)
	for _, end := range []product.RolloutStatus{product.RolloutCompleted, product.RolloutRolledBack} {
		r.Status = end
		require.Empty(t, reached(r), "the channel decides")
	}
}

// of are samples of organizations, in this order.
func of(each ...product.Samples) product.OrgSamples {
	all := product.OrgSamples{}
	for i, s := range each {
		all[ids.Org(fmt.Sprint("org_", i))] = s
	}
	return all
}

func TestRolloutJudge(t *testing.T) {
	old := product.Samples{Runs: 100, Failed: 5, Micros: 100_000, Duration: 100 * time.Second}
	for name, tt := range map[string]struct {
		from, to product.Samples
		want     string
	}{
		"nothing yet":                {product.Samples{}, product.Samples{}, ""},
		"too few":                    {old, product.Samples{Runs: 9, Failed: 9}, ""},
		"as good":                    {old, product.Samples{Runs: 20, Failed: 1, Micros: 20_000, Duration: 20 * time.Second}, ""},
		"as bad as it may be":        {old, product.Samples{Runs: 20, Failed: 3}, ""},
		"worse":                      {old, product.Samples{Runs: 10, Failed: 3}, "30 % of the runs of 2.0.0 failed, 5 % of those of 1.0.0"},
		"worse, but by chance":       {product.Samples{Runs: 10, Failed: 1}, product.Samples{Runs: 10, Failed: 3}, ""},
		"worse than by chance":       {product.Samples{Runs: 10, Failed: 1}, product.Samples{Runs: 10, Failed: 5}, "50 % of the runs of 2.0.0 failed, 10 % of those of 1.0.0"},
		"nothing to compare with":    {product.Samples{}, product.Samples{Runs: 10, Failed: 2, Micros: 1 << 40}, "20 % of the runs of 2.0.0 failed, 0 % of those of 1.0.0"},
		"costs more":                 {old, product.Samples{Runs: 10, Micros: 20_000}, "a run of 2.0.0 costs 2.00 times what one of 1.0.0 does"},
		"costs as much as it may":    {old, product.Samples{Runs: 10, Micros: 15_000}, ""},
		"takes longer":               {old, product.Samples{Runs: 10, Duration: 25 * time.Second}, "a run of 2.0.0 takes 2.50 times as long as one of 1.0.0"},
		"the old one costs nothing":  {product.Samples{Runs: 10}, product.Samples{Runs: 10, Micros: 1, Duration: 1}, ""},
		"the old one fails as often": {product.Samples{Runs: 10, Failed: 9}, product.Samples{Runs: 10, Failed: 10}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tt.want, aRollout().Judge(of(tt.from), of(tt.to)))
		})
	}
	r := aRollout()
	r.Thresholds.Cost, r.Thresholds.Duration = 0, 0
	require.Empty(t, r.Judge(of(old), of(product.Samples{Runs: 10, Micros: math.MaxInt64, Duration: math.MaxInt64})), "not judged by them")
}

// No organization decides alone while others have samples.
func TestRolloutJudgeWithoutOne(t *testing.T) {
	old := of(product.Samples{Runs: 60, Micros: 60_000, Duration: 60 * time.Second}, product.Samples{Runs: 40, Micros: 40_000, Duration: 40 * time.Second})
	good := product.Samples{Runs: 5, Micros: 5000, Duration: 5 * time.Second}
	fails := product.Samples{Runs: 5, Failed: 5, Micros: 5000, Duration: 5 * time.Second}
	costs := product.Samples{Runs: 5, Micros: 50_000, Duration: 5 * time.Second}
	lasts := product.Samples{Runs: 5, Micros: 5000, Duration: time.Hour}
	for name, tt := range map[string]struct {
		to   product.OrgSamples
		want string
	}{
		"one fails":       {of(good, good, good, fails), ""},
		"one costs more":  {of(good, costs, good, good), ""},
		"one takes hours": {of(lasts, good, good, good), ""},
		"one of two":      {of(good, fails), ""},
		"one by each":     {of(fails, costs, good), "33.3 % of the runs of 2.0.0 failed, 0 % of those of 1.0.0"},
		"two":             {of(good, fails, good, fails), "50 % of the runs of 2.0.0 failed, 0 % of those of 1.0.0"},
		"two cost more":   {of(good, costs, costs, good), "a run of 2.0.0 costs 5.50 times what one of 1.0.0 does"},
		"there is one":    {of(product.Samples{Runs: 10, Failed: 10}), "100 % of the runs of 2.0.0 failed, 0 % of those of 1.0.0"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tt.want, aRollout().Judge(old, tt.to))
		})
	}
}

func TestRolloutSteps(t *testing.T) {
	r := aRollout()
	at := begun.Add
	require.NoError(t, r.Pause("for lunch", at(20*time.Minute)))
	require.Equal(t, []any{product.RolloutPaused, "for lunch", at(20 * time.Minute)}, []any{r.Status, r.Reason, r.UpdatedAt})
	paused := r
	require.NoError(t, r.Pause("again", at(time.Hour)))
	require.Equal(t, paused, r)
	require.NoError(t, r.Resume(at(50*time.Minute)))
	require.Equal(t, []any{product.RolloutRunning, "", at(30 * time.Minute)}, []any{r.Status, r.Reason, r.StagedAt}, "30 minutes longer")
	running := r
	require.NoError(t, r.Resume(at(time.Hour)))
	require.Equal(t, running, r)

	for _, elsewhere := range []int{-1, 1, 2} {
		err := r.Advance(elsewhere, at(2*time.Hour))
		require.Equal(t, "rollout_stage", fault.From(err).Code)
		require.True(t, fault.Is(err, fault.Conflict))
		require.Equal(t, running, r)
	}
	require.NoError(t, r.Advance(0, at(2*time.Hour)))
	require.Equal(t, []any{1, at(2 * time.Hour)}, []any{r.Stage, r.StagedAt})
	back := r
	require.NoError(t, r.Advance(1, at(3*time.Hour)))
	require.NoError(t, r.Advance(2, at(4*time.Hour)))
	require.Equal(t, []any{2, product.RolloutCompleted, at(4 * time.Hour)}, []any{r.Stage, r.Status, r.EndedAt})
	require.NoError(t, r.Complete(at(5*time.Hour)), "a second time")
	require.Equal(t, at(4*time.Hour), r.EndedAt)

	require.NoError(t, back.RollBack("it fails", at(3*time.Hour)))
	require.Equal(t, []any{product.RolloutRolledBack, "it fails", at(3 * time.Hour)}, []any{back.Status, back.Reason, back.EndedAt})
	require.NoError(t, back.RollBack("again", at(4*time.Hour)), "a second time")
	require.Equal(t, "it fails", back.Reason)
	for name, err := range map[string]error{
		"completed, back":     r.RollBack("late", begun),
		"completed, advanced": r.Advance(2, begun),
		"rolled back, done":   back.Complete(begun),
		"rolled back, paused": back.Pause("", begun),
		"rolled back, on":     back.Resume(begun),
	} {
		require.Equal(t, "rollout_state", fault.From(err).Code, name)
		require.True(t, fault.Is(err, fault.Conflict), name)
	}
}
