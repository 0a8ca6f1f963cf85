package workflows_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"agentmarket/activities"
	"agentmarket/product"
	"agentmarket/workflows"
)

var rollouts *activities.Rollouts

// release is one rollout in virtual time: its record changes as the test says, at
// the looks of its workflow.
type release struct {
	*testsuite.TestWorkflowEnvironment
	began   time.Time
	rollout product.Rollout
	looks   []time.Duration // since the beginning
	look    func(*product.Rollout, time.Time)
	pause   time.Duration // of a view; 0: 30 seconds
}

func newRelease(t *testing.T) *release {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	r := &release{TestWorkflowEnvironment: suite.NewTestWorkflowEnvironment(), began: time.Unix(1_800_000_000, 0)}
	r.SetStartTime(r.began)
	r.RegisterWorkflow(workflows.Rollout)
	r.RegisterActivity(&activities.Rollouts{})
	r.rollout = product.Rollout{
		ID: "rol_x", To: "2.0.0", Channel: "stable", Status: product.RolloutRunning, StagedAt: r.began,
		Stages: []product.Stage{{Percent: 10, Duration: time.Hour}, {Percent: 50, Duration: 2 * time.Hour}, {Percent: 100, Duration: time.Hour}},
	}
	r.look = func(record *product.Rollout, now time.Time) { // what EvaluateRollout does
		if record.Status == product.RolloutRunning && !now.Before(record.StagedAt.Add(record.Stages[record.Stage].Duration)) {
			require.NoError(t, record.Advance(record.Stage, now))
		}
	}
	r.OnActivity(rollouts.EvaluateRollout, mock.Anything, activities.EvaluateRolloutInput{RolloutID: "rol_x"}).Return(
		func(context.Context, activities.EvaluateRolloutInput) (activities.RolloutView, error) {
			r.looks = append(r.looks, r.Now().Sub(r.began).Round(time.Second))
			r.look(&r.rollout, r.Now())
			return r.view(), nil
		})
	return r
}

func (r *release) view() activities.RolloutView {
	view := activities.RolloutView{Status: r.rollout.Status, Stage: r.rollout.Stage, Percent: r.rollout.Percent(), Version: "2.0.0"}
	switch {
	case r.rollout.Status == product.RolloutPaused:
		view.NextLook = 24 * time.Hour
	case r.pause != 0:
		view.NextLook = r.pause
	case r.rollout.Status == product.RolloutRunning:
		view.NextLook = 30 * time.Second
	}
	return view
}

// changes is a call of the API at a time: it changes the record, and the relay
// tells the workflow.
func (r *release) changes(t *testing.T, at time.Duration, change func(*product.Rollout, time.Time) error) {
	r.RegisterDelayedCallback(func() {
		require.NoError(t, change(&r.rollout, r.Now()))
		r.SignalWorkflow(workflows.SignalRolloutChanged, nil)
	}, at)
}

func (r *release) run(t *testing.T) workflows.RolloutResult {
	t.Helper()
	r.ExecuteWorkflow(workflows.Rollout, workflows.RolloutInput{RolloutID: "rol_x"})
	require.True(t, r.IsWorkflowCompleted())
	require.NoError(t, r.GetWorkflowError())
	var result workflows.RolloutResult
	require.NoError(t, r.GetWorkflowResult(&result))
	return result
}

func (r *release) asked(t *testing.T) (view workflows.RolloutResult) {
	t.Helper()
	answer, err := r.QueryWorkflow(workflows.QueryRollout)
	require.NoError(t, err)
	require.NoError(t, answer.Get(&view))
	return view
}

func TestRolloutPassesItsStages(t *testing.T) {
	r := newRelease(t)
	r.pause = 10 * time.Minute
	seen := map[time.Duration]int{}
	for _, at := range []time.Duration{30 * time.Minute, 90 * time.Minute, 210 * time.Minute} {
		r.RegisterDelayedCallback(func() { seen[at] = r.asked(t).Percent }, at)
	}
	result := r.run(t)
	require.Equal(t, product.RolloutCompleted, result.Status)
	require.Equal(t, map[time.Duration]int{30 * time.Minute: 10, 90 * time.Minute: 50, 210 * time.Minute: 100}, seen)
	require.Equal(t, 4*time.Hour, r.Now().Sub(r.began).Round(time.Minute))
}

func TestRolloutEndsWhenItIsRolledBack(t *testing.T) {
	r := newRelease(t)
	ordinary := r.look
	r.look = func(record *product.Rollout, now time.Time) {
		if ordinary(record, now); len(r.looks) == 4 {
			require.NoError(t, record.RollBack("30 % of the runs of 2.0.0 failed", now))
		}
	}
	require.Equal(t, product.RolloutRolledBack, r.run(t).Status)
	require.Equal(t, []time.Duration{0, 30 * time.Second, time.Minute, 90 * time.Second}, r.looks)
}

// TestRolloutWakesForAChange: a rollout that is paused is not looked at until
// somebody changes it.
func TestRolloutWakesForAChange(t *testing.T) {
	r := newRelease(t)
	at := 10*time.Minute + 10*time.Second
	r.changes(t, at, func(r *product.Rollout, now time.Time) error { return r.Pause("for the weekend", now) })
	r.RegisterDelayedCallback(func() { require.Equal(t, product.RolloutPaused, r.asked(t).Status) }, at+time.Second)
	r.changes(t, at+5*time.Hour, func(r *product.Rollout, now time.Time) error { return r.Resume(now) })
	r.changes(t, at+6*time.Hour, func(r *product.Rollout, now time.Time) error { return r.RollBack("enough", now) })
	require.Equal(t, product.RolloutRolledBack, r.run(t).Status)
	require.Contains(t, r.looks, at, "at once")
	require.Contains(t, r.looks, at+5*time.Hour)
	require.Equal(t, at+6*time.Hour, r.looks[len(r.looks)-1])
	for _, look := range r.looks {
		require.False(t, look > at && look < at+5*time.Hour, "a look at %s, while it was paused", look)
	}
}

// TestRolloutThatIsPausedLooksOnceADay: in case that nobody told it.
func TestRolloutThatIsPausedLooksOnceADay(t *testing.T) {
	r := newRelease(t)
	r.rollout.Status = product.RolloutPaused
	r.RegisterDelayedCallback(func() { r.rollout.Status = product.RolloutRolledBack }, 36*time.Hour)
	require.Equal(t, product.RolloutRolledBack, r.run(t).Status)
	require.Equal(t, []time.Duration{0, 24 * time.Hour, 48 * time.Hour}, r.looks)
}

// TestRolloutGoesOnInANewExecution: a history does not grow for ever.
func TestRolloutGoesOnInANewExecution(t *testing.T) {
	r := newRelease(t)
	r.rollout.Stages = []product.Stage{{Percent: 10, Duration: 1000 * time.Hour}}
	r.ExecuteWorkflow(workflows.Rollout, workflows.RolloutInput{RolloutID: "rol_x"})
	var again *workflow.ContinueAsNewError
	require.ErrorAs(t, r.GetWorkflowError(), &again)
	require.Len(t, r.looks, 500)
	require.Equal(t, "Rollout", again.WorkflowType.Name)
}

func TestRolloutThatIsNotThereFails(t *testing.T) {
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	env.RegisterActivity(&activities.Rollouts{})
	env.OnActivity(rollouts.EvaluateRollout, mock.Anything, mock.Anything).
		Return(activities.RolloutView{}, fails("not_found", "there is no rollout")).Once()
	env.ExecuteWorkflow(workflows.Rollout, workflows.RolloutInput{RolloutID: "rol_x"})
	require.ErrorContains(t, env.GetWorkflowError(), "there is no rollout")
	env.AssertExpectations(t)
}
