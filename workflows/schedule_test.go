package workflows_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"agentmarket/activities"
	"agentmarket/ids"
	"agentmarket/product"
	"agentmarket/workflows"
)

var schedules *activities.Schedules

// scheduled is one start of a schedule, in virtual time.
type scheduled struct {
	*testsuite.TestWorkflowEnvironment
	run      activities.StartedRun
	asked    []activities.StartScheduledRunInput
	marked   []activities.ScheduledRun
	children []workflows.AgentRunInput
	canceled []workflows.CancelSignal
}

func setupScheduled(t *testing.T) *scheduled {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	s := &scheduled{TestWorkflowEnvironment: suite.NewTestWorkflowEnvironment()}
	s.run = activities.StartedRun{
		RunID: ids.New[ids.Run](ids.PrefixRun), OrgID: "org_x", AgentID: "agt_x", Agent: "acme/hello", Version: "1.0.0",
	}
	s.RegisterWorkflow(workflows.ScheduledStart)
	s.RegisterActivity(&activities.Schedules{})
	s.OnActivity(schedules.MarkDispatched, mock.Anything, mock.Anything).Return(
		func(_ context.Context, in activities.ScheduledRun) error {
			s.marked = append(s.marked, in)
			return nil
		}).Maybe()
	return s
}

// starts lets the activity answer with the run of the test.
func (s *scheduled) starts() {
	s.OnActivity(schedules.StartScheduledRun, mock.Anything, mock.Anything).Return(
		func(_ context.Context, in activities.StartScheduledRunInput) (activities.StartedRun, error) {
			s.asked = append(s.asked, in)
			return s.run, nil
		})
}

// agent replaces the workflow of the run: it goes on for a time, and ends as told,
// or as canceled when it is.
func (s *scheduled) agent(takes time.Duration, end error) {
	s.RegisterWorkflowWithOptions(func(ctx workflow.Context, in workflows.AgentRunInput) (workflows.AgentRunResult, error) {
		s.children = append(s.children, in)
		waiting, giveUp := workflow.WithCancel(ctx)
		defer giveUp()
		selector := workflow.NewSelector(ctx)
		selector.AddFuture(workflow.NewTimer(waiting, takes), func(workflow.Future) {})
		selector.AddReceive(workflow.GetSignalChannel(ctx, workflows.SignalCancel), func(c workflow.ReceiveChannel, _ bool) {
			var signal workflows.CancelSignal
			c.Receive(ctx, &signal)
			s.canceled = append(s.canceled, signal)
			end = temporal.NewCanceledError()
		})
		selector.Select(ctx)
		return workflows.AgentRunResult{Status: product.StatusSucceeded}, end
	}, workflow.RegisterOptions{Name: "AgentRun"})
}

func (s *scheduled) execute(t *testing.T) (workflows.ScheduledStartResult, error) {
	t.Helper()
	s.ExecuteWorkflow(workflows.ScheduledStart, workflows.ScheduledStartInput{ScheduleID: "sch_x"})
	require.True(t, s.IsWorkflowCompleted())
	var result workflows.ScheduledStartResult
	if err := s.GetWorkflowError(); err != nil {
		return result, err
	}
	require.NoError(t, s.GetWorkflowResult(&result))
	return result, nil
}

func TestScheduledStartWaitsForItsRun(t *testing.T) {
	for name, end := range map[string]error{
		"that ends well":        nil,
		"that fails":            fails("platform_error", "node lost"),
		"that somebody cancels": temporal.NewCanceledError(),
	} {
		t.Run(name, func(t *testing.T) {
			s := setupScheduled(t)
			s.starts()
			s.agent(3*time.Hour, end)
			begun := s.Now()
			result, err := s.execute(t)
			require.NoError(t, err)
			require.Equal(t, workflows.ScheduledStartResult{RunID: s.run.RunID}, result)
			require.GreaterOrEqual(t, s.Now().Sub(begun), 3*time.Hour, "overlap policies need it")
			require.Equal(t, []workflows.AgentRunInput{{RunID: s.run.RunID, OrgID: "org_x", AgentID: "agt_x", Agent: "acme/hello"}}, s.children)
			require.Equal(t, []activities.ScheduledRun{{RunID: s.run.RunID}}, s.marked)
			require.Empty(t, s.canceled)
		})
	}
}

func TestScheduledStartTime(t *testing.T) {
	meant := time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)
	s := setupScheduled(t)
	key := temporal.NewSearchAttributeKeyTime("TemporalScheduledStartTime")
	require.NoError(t, s.SetTypedSearchAttributesOnStart(temporal.NewSearchAttributes(key.ValueSet(meant))))
	s.starts()
	s.agent(time.Minute, nil)
	_, err := s.execute(t)
	require.NoError(t, err)
	require.Equal(t, []activities.StartScheduledRunInput{{ScheduleID: "sch_x", ScheduledAt: meant}}, s.asked)

	s = setupScheduled(t)
	begun := time.Date(2026, 3, 1, 3, 0, 7, 0, time.UTC)
	s.SetStartTime(begun)
	s.starts()
	s.agent(time.Minute, nil)
	_, err = s.execute(t)
	require.NoError(t, err)
	require.Equal(t, begun, s.asked[0].ScheduledAt.UTC(), "a start by hand has the time that it was made at")
}

func TestScheduledStartWithoutARun(t *testing.T) {
	for name, run := range map[string]activities.StartedRun{
		"skipped": {Skipped: true, Code: "payment_required", Reason: "not ordered"},
		"ended":   {RunID: "run_1", Ended: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := setupScheduled(t)
			s.run = run
			s.starts()
			result, err := s.execute(t)
			require.NoError(t, err)
			require.Equal(t, workflows.ScheduledStartResult{RunID: run.RunID, Skipped: run.Skipped, Code: run.Code, Reason: run.Reason}, result)
			require.Empty(t, s.children)
			require.Empty(t, s.marked)
		})
	}
}

func TestScheduledStartCanceled(t *testing.T) {
	s := setupScheduled(t)
	s.starts()
	s.agent(3*time.Hour, nil)
	s.RegisterDelayedCallback(s.CancelWorkflow, time.Hour)
	begun := s.Now()
	_, err := s.execute(t)
	require.True(t, temporal.IsCanceledError(err), "%v", err)
	require.Less(t, s.Now().Sub(begun), 2*time.Hour)
	require.Len(t, s.canceled, 1)
	require.Equal(t, "sch_x", s.canceled[0].RequestedBy)
	require.NotEmpty(t, s.canceled[0].Reason)
}

// A cancel that arrives while the run is made must not leave it behind.
func TestScheduledStartCanceledWhileTheRunIsMade(t *testing.T) {
	s := setupScheduled(t)
	s.OnActivity(schedules.StartScheduledRun, mock.Anything, mock.Anything).After(time.Minute).Return(s.run, nil)
	s.agent(3*time.Hour, nil)
	s.RegisterDelayedCallback(s.CancelWorkflow, time.Second)
	_, err := s.execute(t)
	require.True(t, temporal.IsCanceledError(err), "%v", err)
	require.Len(t, s.children, 1, "the run has a workflow, which tells its end")
	require.Len(t, s.canceled, 1)
}

func TestScheduledStartFails(t *testing.T) {
	s := setupScheduled(t)
	s.OnActivity(schedules.StartScheduledRun, mock.Anything, mock.Anything).Return(activities.StartedRun{}, fails("conflict", "no"))
	_, err := s.execute(t)
	require.ErrorContains(t, err, "no")
	require.Empty(t, s.children)
}

// The relay was faster: the run has its workflow.
func TestScheduledStartOfARunThatGoesOn(t *testing.T) {
	for name, cancel := range map[string]bool{"to its end": false, "until it is canceled": true} {
		t.Run(name, func(t *testing.T) {
			s := setupScheduled(t)
			s.starts()
			s.agent(2*time.Hour, nil)
			s.OnActivity(schedules.AwaitRunEnd, mock.Anything, activities.ScheduledRun{RunID: s.run.RunID}).After(2 * time.Hour).Return(nil).Once()
			if cancel {
				s.RegisterDelayedCallback(s.CancelWorkflow, time.Hour)
			}
			var result workflows.ScheduledStartResult
			relayed := func(ctx workflow.Context) error {
				kept, _ := workflow.NewDisconnectedContext(ctx)
				run := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(kept, workflow.ChildWorkflowOptions{
					WorkflowID: string(s.run.RunID), ParentClosePolicy: enums.PARENT_CLOSE_POLICY_ABANDON,
				}), workflows.AgentRun, workflows.AgentRunInput{RunID: s.run.RunID})
				if err := run.GetChildWorkflowExecution().Get(kept, nil); err != nil {
					return err
				}
				ctx = workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{WaitForCancellation: true})
				return workflow.ExecuteChildWorkflow(ctx, workflows.ScheduledStart, workflows.ScheduledStartInput{ScheduleID: "sch_x"}).Get(ctx, &result)
			}
			s.RegisterWorkflow(relayed)
			s.ExecuteWorkflow(relayed)
			require.True(t, s.IsWorkflowCompleted())
			if err := s.GetWorkflowError(); cancel {
				require.True(t, temporal.IsCanceledError(err), "%v", err)
				require.Len(t, s.canceled, 1)
			} else {
				require.NoError(t, err)
				require.Equal(t, s.run.RunID, result.RunID)
			}
			require.Len(t, s.children, 1, "it is not started again")
			require.Empty(t, s.marked, "whoever started it has told so")
			s.AssertExpectations(t)
		})
	}
}
