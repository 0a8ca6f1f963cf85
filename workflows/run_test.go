package workflows_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"agentmarket/activities"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/infra"
	"agentmarket/product"
	"agentmarket/workflows"
)

var (
	layer1 *activities.Marketplace
	layer2 *activities.Product
	layer3 *activities.Infra
	layer4 *activities.AgentRuntime
)

// bundle is one run of the workflow against activities that say what the test
// wants, in virtual time.
type bundle struct {
	*testsuite.TestWorkflowEnvironment
	in      workflows.AgentRunInput
	settled []activities.SettleRunInput
	deleted []activities.DeleteJobInput
	saved   []activities.AttemptRef

	record   error                                  // of RecordCancel
	gone     func() (activities.GoneReceipt, error) // instead of AwaitGone's success
	children bool                                   // runs that it started go on when it ends
}

func setup(t *testing.T) *bundle {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	b := &bundle{TestWorkflowEnvironment: suite.NewTestWorkflowEnvironment()}
	b.prepare()
	return b
}

// prepare registers what every test may expect unless it says otherwise.
func (b *bundle) prepare() {
	b.in = workflows.AgentRunInput{RunID: ids.New[ids.Run](ids.PrefixRun), OrgID: "org_x", AgentID: "agt_x", Agent: "acme/hello"}
	b.RegisterWorkflow(workflows.AgentRun)
	for _, a := range []any{&activities.Marketplace{}, &activities.Product{}, &activities.Infra{}, &activities.AgentRuntime{}} {
		b.RegisterActivity(a)
	}
	b.OnActivity(layer2.SettleRun, mock.Anything, mock.Anything).Return(
		func(_ context.Context, in activities.SettleRunInput) (activities.SettleRunResult, error) {
			b.settled = append(b.settled, in)
			rule := product.RuleOf(in.Reason)
			return activities.SettleRunResult{
				Status: rule.Status, Reason: in.Reason, Cause: rule.Cause, Message: in.Message, HasChildren: b.children,
			}, nil
		}).Maybe()
	b.OnActivity(layer2.RecordCancel, mock.Anything, mock.Anything).Return(activities.CancelOrder{Grace: 3 * time.Second}, b.record).Maybe()
	b.OnActivity(layer3.DeleteJob, mock.Anything, mock.Anything).Return(
		func(_ context.Context, in activities.DeleteJobInput) error {
			b.deleted = append(b.deleted, in)
			return nil
		}).Maybe()
	b.OnActivity(layer4.SaveLog, mock.Anything, mock.Anything).Return(
		func(_ context.Context, in activities.AttemptRef) error {
			b.saved = append(b.saved, in)
			return nil
		}).Maybe()
	b.OnActivity(layer3.AwaitGone, mock.Anything, mock.Anything).Return(
		func(_ context.Context, in activities.AttemptRef) (activities.GoneReceipt, error) {
			if b.gone != nil {
				return b.gone()
			}
			return activities.GoneReceipt{Attempt: in.Attempt, GoneAt: time.Unix(100, 0), TerminatedAt: time.Unix(99, 0)}, nil
		}).Maybe()
}

func (b *bundle) admitted() {
	b.OnActivity(layer1.CheckEntitlement, mock.Anything, mock.Anything).Return(activities.CheckEntitlementResult{EntitlementID: "ent_x"}, nil)
	b.OnActivity(layer2.ResolvePlan, mock.Anything, mock.Anything).Return(activities.PlanSummary{
		Version: "1.0.0", StartTimeout: time.Minute, RunTimeout: time.Hour, Grace: 5 * time.Second, MaxAttempts: 3,
	}, nil)
}

func (b *bundle) granted() {
	b.admitted()
	b.OnActivity(layer2.AcquireSlot, mock.Anything, mock.Anything).Return(activities.Slot{Granted: true}, nil)
	b.OnActivity(layer3.CreateJob, mock.Anything, mock.Anything).Return(nil).Maybe()
}

func (b *bundle) collects(v activities.Verdict) {
	b.OnActivity(layer4.CollectResult, mock.Anything, mock.Anything).Return(v, nil)
}

// waits makes AwaitJob wait for ever, as with a watcher that has nothing to say.
func (b *bundle) waits() {
	b.OnActivity(layer3.AwaitJob, mock.Anything, mock.Anything).After(10*time.Hour).Return(activities.JobOutcome{}, nil)
}

// shows collects the states that operators see.
func (b *bundle) shows(t *testing.T) *[]string {
	t.Helper()
	shown := &[]string{}
	b.OnUpsertTypedSearchAttributes(mock.Anything).Run(func(args mock.Arguments) {
		attributes, ok := args.Get(0).(temporal.SearchAttributes)
		require.True(t, ok)
		status, _ := attributes.GetKeyword(workflows.RunStatusKey)
		*shown = append(*shown, status)
	}).Return(nil)
	return shown
}

func (b *bundle) run(t *testing.T) (activities.SettleRunResult, error) {
	t.Helper()
	b.ExecuteWorkflow(workflows.AgentRun, b.in)
	require.True(t, b.IsWorkflowCompleted())
	var result activities.SettleRunResult
	if err := b.GetWorkflowError(); err != nil {
		return result, err
	}
	require.NoError(t, b.GetWorkflowResult(&result))
	return result, nil
}

func (b *bundle) settledAs(t *testing.T, reason product.Reason) activities.SettleRunInput {
	t.Helper()
	require.Len(t, b.settled, 1, "a run is settled exactly once")
	require.Equal(t, reason, b.settled[0].Reason, b.settled[0].Message)
	return b.settled[0]
}

func fails(kind, message string) error {
	return temporal.NewNonRetryableApplicationError(message, kind, nil)
}

func TestRunSucceeds(t *testing.T) {
	b := setup(t)
	b.granted()
	b.OnActivity(layer3.AwaitJob, mock.Anything, mock.Anything).Return(activities.JobOutcome{Reason: infra.ReasonOK}, nil)
	b.collects(activities.Verdict{Reason: product.ReasonOK})
	result, err := b.run(t)
	require.NoError(t, err)
	require.Equal(t, product.StatusSucceeded, result.Status)
	b.settledAs(t, product.ReasonOK)
	require.Empty(t, b.deleted, "a Job that ended by itself is left to its TTL")
}

func TestDeniedMakesNothing(t *testing.T) {
	for kind, want := range map[string]product.Reason{
		"forbidden": product.ReasonNotEntitled, "payment_required": product.ReasonPaymentRequired,
	} {
		t.Run("at the check: "+kind, func(t *testing.T) {
			b := setup(t)
			b.OnActivity(layer1.CheckEntitlement, mock.Anything, mock.Anything).
				Return(activities.CheckEntitlementResult{}, fails(kind, "no right"))
			result, err := b.run(t)
			require.NoError(t, err, "a denial is nothing for operators")
			require.Equal(t, product.StatusRejected, result.Status)
			require.Equal(t, "no right", b.settledAs(t, want).Message)
			b.AssertNotCalled(t, "ResolvePlan", mock.Anything, mock.Anything)
			b.AssertNotCalled(t, "CreateJob", mock.Anything, mock.Anything)
		})
		t.Run("at the slot: "+kind, func(t *testing.T) {
			b := setup(t)
			b.admitted()
			b.OnActivity(layer2.AcquireSlot, mock.Anything, mock.Anything).
				Return(activities.Slot{DeniedKind: kind, DeniedCode: "trial_exhausted", DeniedMessage: "another run was the last one"}, nil).Once()
			result, err := b.run(t)
			require.NoError(t, err)
			require.Equal(t, product.StatusRejected, result.Status)
			require.Equal(t, "another run was the last one", b.settledAs(t, want).Message)
			b.AssertNotCalled(t, "CreateJob", mock.Anything, mock.Anything)
			require.Empty(t, b.deleted)
		})
	}
}

// TestPlanDenialMakesNothing: a run that no plan can be made for is rejected, and
// what is said depends on who can mend it.
func TestPlanDenialMakesNothing(t *testing.T) {
	for kind, want := range map[string]product.Reason{
		"invalid": product.ReasonPlanInvalid, "forbidden": product.ReasonPolicyDenied,
	} {
		t.Run(kind, func(t *testing.T) {
			b := setup(t)
			b.OnActivity(layer1.CheckEntitlement, mock.Anything, mock.Anything).Return(activities.CheckEntitlementResult{EntitlementID: "ent_x"}, nil)
			b.OnActivity(layer2.ResolvePlan, mock.Anything, mock.Anything).Return(activities.PlanSummary{}, fails(kind, "not like this")).Once()
			result, err := b.run(t)
			require.NoError(t, err)
			require.Equal(t, product.StatusRejected, result.Status)
			require.Equal(t, "not like this", b.settledAs(t, want).Message)
			b.AssertNotCalled(t, "AcquireSlot", mock.Anything, mock.Anything)
			require.Empty(t, b.deleted)
		})
	}
}

// TestWhatTheRunMayCostReachesThePlan: the check is told the run, and the plan
// what the check found.
func TestWhatTheRunMayCostReachesThePlan(t *testing.T) {
	b := setup(t)
	b.OnActivity(layer1.CheckEntitlement, mock.Anything, activities.CheckEntitlementInput{OrgID: "org_x", AgentID: "agt_x", RunID: b.in.RunID}).
		Return(activities.CheckEntitlementResult{
			EntitlementID: "ent_x", PriceID: "prc_x", BudgetMicros: 500_000, Currency: "USD", Affordable: time.Minute,
		}, nil).Once()
	b.OnActivity(layer2.ResolvePlan, mock.Anything, activities.ResolvePlanInput{
		RunID: b.in.RunID, EntitlementID: "ent_x", PriceID: "prc_x", BudgetMicros: 500_000, Currency: "USD", Affordable: time.Minute,
	}).Return(activities.PlanSummary{}, fails("invalid", "enough seen")).Once()
	_, err := b.run(t)
	require.NoError(t, err)
	b.settledAs(t, product.ReasonPlanInvalid)
	b.AssertExpectations(t)
}

func TestBudgetExhaustedCompletesTheWorkflow(t *testing.T) {
	b := setup(t)
	b.granted()
	b.OnActivity(layer3.AwaitJob, mock.Anything, mock.Anything).Return(activities.JobOutcome{Reason: infra.ReasonDeadline}, nil).Once()
	b.collects(activities.Verdict{Reason: product.ReasonBudgetExhausted, Message: "the run reached its budget of 0.500000 USD"})
	result, err := b.run(t)
	require.NoError(t, err, "the caller said how much")
	require.Equal(t, product.StatusBudgetExhausted, result.Status)
	require.Equal(t, "the run reached its budget of 0.500000 USD", b.settledAs(t, product.ReasonBudgetExhausted).Message)
	require.Empty(t, b.deleted, "the supervisor ended it")
}

func TestInvalidPlanIsRejected(t *testing.T) {
	b := setup(t)
	b.OnActivity(layer1.CheckEntitlement, mock.Anything, mock.Anything).Return(activities.CheckEntitlementResult{}, nil)
	b.OnActivity(layer2.ResolvePlan, mock.Anything, mock.Anything).
		Return(activities.PlanSummary{}, fails("invalid", "too much"))
	_, err := b.run(t)
	require.NoError(t, err)
	b.settledAs(t, product.ReasonPlanInvalid)
}

func TestExpiresInsteadOfStartingLate(t *testing.T) {
	b := setup(t)
	b.admitted()
	b.OnActivity(layer2.AcquireSlot, mock.Anything, mock.Anything).Return(activities.Slot{Expired: true}, nil)
	_, err := b.run(t)
	require.NoError(t, err)
	b.settledAs(t, product.ReasonQueueTimeout)
	b.AssertNotCalled(t, "CreateJob", mock.Anything, mock.Anything)
}

func TestPlatformFaultIsANewAttempt(t *testing.T) {
	b := setup(t)
	b.granted()
	b.OnActivity(layer3.AwaitJob, mock.Anything, mock.Anything).Return(activities.JobOutcome{Reason: infra.ReasonEvicted}, nil).Once()
	b.OnActivity(layer3.AwaitJob, mock.Anything, mock.Anything).Return(activities.JobOutcome{Reason: infra.ReasonOK}, nil).Once()
	b.OnActivity(layer4.CollectResult, mock.Anything, mock.Anything).Return(
		func(_ context.Context, in activities.CollectResultInput) (activities.Verdict, error) {
			if in.Attempt == 1 {
				return activities.Verdict{Reason: product.Reason(infra.ReasonEvicted), Retry: true, Leftover: true}, nil
			}
			return activities.Verdict{Reason: product.ReasonOK}, nil
		})
	result, err := b.run(t)
	require.NoError(t, err)
	require.Equal(t, product.StatusSucceeded, result.Status)
	require.Len(t, b.deleted, 1, "the first attempt is gone before the second begins")
	require.Equal(t, 1, b.deleted[0].Attempt)
}

func TestAttemptsAreBoundedAndAPlatformFaultFailsTheWorkflow(t *testing.T) {
	b := setup(t)
	b.granted()
	b.OnActivity(layer3.AwaitJob, mock.Anything, mock.Anything).Return(activities.JobOutcome{Reason: infra.ReasonNodeLost}, nil).Times(3)
	b.collects(activities.Verdict{Reason: product.Reason(infra.ReasonNodeLost), Retry: true, Leftover: true})
	_, err := b.run(t)
	var app *temporal.ApplicationError
	require.ErrorAs(t, err, &app)
	require.Equal(t, "node_lost", app.Type())
	b.settledAs(t, product.Reason(infra.ReasonNodeLost))
	require.Len(t, b.deleted, 3)
}

func TestAgentFaultIsFinalAndCompletesTheWorkflow(t *testing.T) {
	b := setup(t)
	b.granted()
	b.OnActivity(layer3.AwaitJob, mock.Anything, mock.Anything).Return(activities.JobOutcome{Reason: infra.ReasonAgentError}, nil).Once()
	b.collects(activities.Verdict{Reason: product.Reason(infra.ReasonAgentError)})
	result, err := b.run(t)
	require.NoError(t, err)
	require.Equal(t, product.StatusFailed, result.Status)
}

func TestStartDeadlineAsksTheClusterWhy(t *testing.T) {
	b := setup(t)
	b.granted()
	b.waits()
	b.OnActivity(layer3.CheckStart, mock.Anything, mock.Anything).Return(
		activities.StartCheck{Outcome: activities.JobOutcome{Reason: infra.ReasonImagePull}}, nil).Once()
	b.collects(activities.Verdict{Reason: product.Reason(infra.ReasonImagePull), Leftover: true})
	_, err := b.run(t)
	require.NoError(t, err)
	b.settledAs(t, product.Reason(infra.ReasonImagePull))
	require.Len(t, b.deleted, 1, "a Pending pod never gives up by itself")
}

func TestStartDeadlineOfARunningAttemptChangesNothing(t *testing.T) {
	b := setup(t)
	b.granted()
	b.OnActivity(layer3.AwaitJob, mock.Anything, mock.Anything).After(30*time.Minute).
		Return(activities.JobOutcome{Reason: infra.ReasonOK}, nil)
	b.OnActivity(layer3.CheckStart, mock.Anything, mock.Anything).Return(activities.StartCheck{Started: true}, nil).Once()
	b.collects(activities.Verdict{Reason: product.ReasonOK})
	result, err := b.run(t)
	require.NoError(t, err)
	require.Equal(t, product.StatusSucceeded, result.Status)
}

func TestLosingSightIsTheNodesFault(t *testing.T) {
	b := setup(t)
	b.granted()
	b.OnActivity(layer3.CheckStart, mock.Anything, mock.Anything).Return(activities.StartCheck{Started: true}, nil).Maybe()
	b.OnActivity(layer3.AwaitJob, mock.Anything, mock.Anything).
		Return(activities.JobOutcome{}, temporal.NewTimeoutError(2, nil))
	b.OnActivity(layer3.LastLook, mock.Anything, mock.Anything).Return(activities.JobOutcome{Reason: infra.ReasonNodeLost}, nil)
	var outcome activities.JobOutcome
	b.OnActivity(layer4.CollectResult, mock.Anything, mock.Anything).Return(
		func(_ context.Context, in activities.CollectResultInput) (activities.Verdict, error) {
			outcome = in.Outcome
			return activities.Verdict{Reason: product.Reason(in.Outcome.Reason), Leftover: true}, nil
		})
	_, err := b.run(t)
	require.Error(t, err)
	require.Equal(t, infra.ReasonNodeLost, outcome.Reason)
}

func TestAnEndThatNobodySawIsFoundByTheLastLook(t *testing.T) {
	b := setup(t)
	b.granted()
	// The server reports the last error before the deadline, not a timeout.
	b.OnActivity(layer3.AwaitJob, mock.Anything, mock.Anything).Return(activities.JobOutcome{}, fails("unavailable", "cluster away"))
	b.OnActivity(layer3.LastLook, mock.Anything, mock.Anything).Return(activities.JobOutcome{Reason: infra.ReasonOK}, nil)
	b.collects(activities.Verdict{Reason: product.ReasonOK})
	result, err := b.run(t)
	require.NoError(t, err)
	require.Equal(t, product.StatusSucceeded, result.Status)
	require.Empty(t, b.deleted)
}

func TestCancelOfAPodWhoseNodeIsGone(t *testing.T) {
	var suite testsuite.WorkflowTestSuite
	b := &bundle{TestWorkflowEnvironment: suite.NewTestWorkflowEnvironment()}
	b.gone = func() (activities.GoneReceipt, error) {
		return activities.GoneReceipt{}, fails("not_yet", "not yet, and nothing watches")
	}
	b.prepare()
	b.granted()
	b.waits()
	b.RegisterDelayedCallback(b.CancelWorkflow, 10*time.Second)
	_, err := b.run(t)
	require.Error(t, err)
	in := b.settledAs(t, product.ReasonCanceled)
	require.True(t, in.Gone.GoneAt.IsZero(), "the receipt claims nothing that nobody saw")
	require.Len(t, b.deleted, 2)
	require.Negative(t, b.deleted[1].Grace, "the pod is given up")
}

func TestCancelWithoutARecordLeavesNothingBehind(t *testing.T) {
	var suite testsuite.WorkflowTestSuite
	b := &bundle{TestWorkflowEnvironment: suite.NewTestWorkflowEnvironment()}
	b.record = fails("not_found", "no such run")
	b.prepare()
	b.granted()
	b.waits()
	b.RegisterDelayedCallback(b.CancelWorkflow, 10*time.Second)
	_, err := b.run(t)
	require.Error(t, err)
	require.Len(t, b.deleted, 1)
}

func TestCancel(t *testing.T) {
	cancelSignal := func(b *bundle) {
		b.SignalWorkflow(workflows.SignalCancel, workflows.CancelSignal{RequestedBy: "key_x", Reason: "enough"})
	}
	for name, tc := range map[string]struct {
		arrange func(*bundle)
		deletes int
	}{
		"by signal while it runs": {func(b *bundle) {
			b.waits()
			b.RegisterDelayedCallback(func() { cancelSignal(b) }, 10*time.Second)
		}, 1},
		"by the Web UI's button while it runs": {func(b *bundle) {
			b.waits()
			b.RegisterDelayedCallback(b.CancelWorkflow, 10*time.Second)
		}, 1},
		"by both, and twice": {func(b *bundle) {
			b.waits()
			b.RegisterDelayedCallback(func() { cancelSignal(b); cancelSignal(b); b.CancelWorkflow() }, 10*time.Second)
			b.RegisterDelayedCallback(func() { cancelSignal(b) }, 11*time.Second)
		}, 1},
		"before anything was done": {func(b *bundle) { b.RegisterDelayedCallback(func() { cancelSignal(b) }, 0) }, 0},
		"between two attempts": {func(b *bundle) {
			b.OnActivity(layer3.AwaitJob, mock.Anything, mock.Anything).Return(activities.JobOutcome{Reason: infra.ReasonEvicted}, nil)
			b.collects(activities.Verdict{Reason: product.Reason(infra.ReasonEvicted), Retry: true, Leftover: true})
			b.RegisterDelayedCallback(func() { cancelSignal(b) }, 500*time.Millisecond)
		}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			b.granted()
			tc.arrange(b)
			_, err := b.run(t)
			var canceled *temporal.CanceledError
			require.ErrorAs(t, err, &canceled)
			in := b.settledAs(t, product.ReasonCanceled)
			require.NotNil(t, in.Gone)
			require.False(t, in.Gone.GoneAt.IsZero(), "the receipt says when nothing was left")
			require.Len(t, b.deleted, tc.deletes)
			require.Equal(t, tc.deletes > 0, len(b.saved) == 1, "its log is kept")
		})
	}
}

func TestCancelFoundInTheRecordMakesNothing(t *testing.T) {
	b := setup(t)
	b.admitted()
	b.OnActivity(layer2.AcquireSlot, mock.Anything, mock.Anything).Return(activities.Slot{CancelRequested: true}, nil)
	_, err := b.run(t)
	require.Error(t, err)
	b.settledAs(t, product.ReasonCanceled)
	b.AssertNotCalled(t, "CreateJob", mock.Anything, mock.Anything)
}

func TestCancelAfterTheEndOfTheAttemptKeepsItsEnd(t *testing.T) {
	b := setup(t)
	b.granted()
	b.OnActivity(layer3.AwaitJob, mock.Anything, mock.Anything).Return(activities.JobOutcome{Reason: infra.ReasonOK}, nil)
	b.OnActivity(layer4.CollectResult, mock.Anything, mock.Anything).After(time.Minute).
		Return(activities.Verdict{Reason: product.ReasonOK}, nil)
	b.RegisterDelayedCallback(func() { b.SignalWorkflow(workflows.SignalCancel, workflows.CancelSignal{}) }, 30*time.Second)
	result, err := b.run(t)
	require.NoError(t, err)
	require.Equal(t, product.StatusSucceeded, result.Status)
}

func TestCancelWhileCreatingDeletesWhatWasCreated(t *testing.T) {
	b := setup(t)
	b.admitted()
	b.OnActivity(layer2.AcquireSlot, mock.Anything, mock.Anything).Return(activities.Slot{Granted: true}, nil)
	b.OnActivity(layer3.CreateJob, mock.Anything, mock.Anything).After(20 * time.Second).Return(nil)
	b.waits()
	b.RegisterDelayedCallback(func() { b.SignalWorkflow(workflows.SignalCancel, workflows.CancelSignal{}) }, 5*time.Second)
	_, err := b.run(t)
	require.Error(t, err)
	b.settledAs(t, product.ReasonCanceled)
	require.Len(t, b.deleted, 1)
}

func TestStartedSignalShowsRunning(t *testing.T) {
	b := setup(t)
	b.granted()
	shown := b.shows(t)
	b.OnActivity(layer3.AwaitJob, mock.Anything, mock.Anything).After(20*time.Second).
		Return(activities.JobOutcome{Reason: infra.ReasonOK}, nil)
	b.collects(activities.Verdict{Reason: product.ReasonOK})
	b.RegisterDelayedCallback(func() {
		b.SignalWorkflow(workflows.SignalStarted, workflows.StartedSignal{Attempt: 1, StartedAt: time.Unix(1, 0)})
	}, 5*time.Second)
	_, err := b.run(t)
	require.NoError(t, err)
	require.Equal(t, []string{"running", "succeeded"}, *shown, "it starts as starting")
}

func TestStartedSignalThatCannotBeReadIsDropped(t *testing.T) {
	b := setup(t)
	b.granted()
	b.OnActivity(layer3.AwaitJob, mock.Anything, mock.Anything).After(20*time.Second).
		Return(activities.JobOutcome{Reason: infra.ReasonOK}, nil)
	b.collects(activities.Verdict{Reason: product.ReasonOK})
	b.RegisterDelayedCallback(func() { b.SignalWorkflow(workflows.SignalStarted, "now") }, 5*time.Second)
	_, err := b.run(t)
	require.NoError(t, err)
}

// TestRecordThatIsAway: an outage of the record costs time and next to no history.
func TestRecordThatIsAway(t *testing.T) {
	b := setup(t)
	b.admitted()
	var local, queued int
	b.OnActivity(layer2.AcquireSlot, mock.Anything, mock.Anything).Return(
		func(ctx context.Context, _ activities.AttemptRef) (activities.Slot, error) {
			away := temporal.NewApplicationError("away", string(fault.Unavailable))
			if activity.GetInfo(ctx).IsLocalActivity {
				local++
				return activities.Slot{}, away
			}
			if queued++; queued < 5 {
				return activities.Slot{}, away
			}
			return activities.Slot{Granted: true}, nil
		})
	b.OnActivity(layer3.CreateJob, mock.Anything, mock.Anything).Return(nil)
	b.OnActivity(layer3.AwaitJob, mock.Anything, mock.Anything).Return(activities.JobOutcome{Reason: infra.ReasonOK}, nil)
	b.collects(activities.Verdict{Reason: product.ReasonOK})
	_, err := b.run(t)
	require.NoError(t, err)
	require.Equal(t, 5, queued)
	require.Greater(t, local, 1)
	require.Less(t, local, 10, "within the worker only as long as a workflow task may take")
}

func TestFaultThatNoRetryMendsIsSettledAndCleanedUp(t *testing.T) {
	b := setup(t)
	b.granted()
	b.OnActivity(layer3.AwaitJob, mock.Anything, mock.Anything).Return(activities.JobOutcome{Reason: infra.ReasonOK}, nil)
	b.OnActivity(layer4.CollectResult, mock.Anything, mock.Anything).Return(activities.Verdict{}, fails("not_found", "no such run"))
	_, err := b.run(t)
	require.Error(t, err)
	b.settledAs(t, product.ReasonPlatformError)
	require.Len(t, b.deleted, 1)
}

func TestErrorsWithoutAFaultCarryNone(t *testing.T) {
	_, ok := activities.FaultOf(errors.New("x"))
	require.False(t, ok)
	_, ok = activities.FaultOf(workflow.ErrCanceled)
	require.False(t, ok)
}
