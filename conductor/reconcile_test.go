package conductor

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/mocks"
	"go.temporal.io/sdk/temporal"
	"google.golang.org/protobuf/types/known/timestamppb"

	"agentmarket/fault"
)

func TestClosedAt(t *testing.T) {
	described := func(status enums.WorkflowExecutionStatus, closed *timestamppb.Timestamp) *workflowservice.DescribeWorkflowExecutionResponse {
		return &workflowservice.DescribeWorkflowExecutionResponse{WorkflowExecutionInfo: &workflowpb.WorkflowExecutionInfo{
			Execution: &commonpb.WorkflowExecution{WorkflowId: "run_1"}, Status: status, CloseTime: closed}}
	}
	for name, tt := range map[string]struct {
		answer *workflowservice.DescribeWorkflowExecutionResponse
		err    error
		want   time.Time
		kind   fault.Kind
	}{
		"open":       {answer: described(enums.WORKFLOW_EXECUTION_STATUS_RUNNING, nil)},
		"terminated": {answer: described(enums.WORKFLOW_EXECUTION_STATUS_TERMINATED, timestamppb.New(now)), want: now},
		"completed":  {answer: described(enums.WORKFLOW_EXECUTION_STATUS_COMPLETED, timestamppb.New(now)), want: now},
		"unknown":    {err: serviceerror.NewNotFound("no such workflow"), kind: fault.NotFound},
		"away":       {err: serviceerror.NewUnavailable("away"), kind: fault.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			c := aClient(t)
			c.On("DescribeWorkflowExecution", mock.Anything, "run_1", "").Return(tt.answer, tt.err)
			closed, err := New(c, "default").ClosedAt(t.Context(), "run_1")
			require.Equal(t, tt.err != nil, err != nil)
			if err != nil {
				require.Equal(t, tt.kind, fault.KindOf(err))
			}
			require.Equal(t, tt.want, closed)
		})
	}
}

// TestEnsureReconcile: the schedule is made, or made what the configuration says; what
// an operator did to it stays.
func TestEnsureReconcile(t *testing.T) {
	every := []client.ScheduleIntervalSpec{{Every: time.Minute}}
	for name, tt := range map[string]struct {
		created, updated error
		updates          bool
		kind             fault.Kind
	}{
		"made":                      {},
		"there is one":              {created: temporal.ErrScheduleAlreadyRunning, updates: true},
		"Temporal is away":          {created: serviceerror.NewUnavailable("away"), kind: fault.Unavailable},
		"deleted while it was told": {created: temporal.ErrScheduleAlreadyRunning, updates: true, updated: serviceerror.NewNotFound("gone"), kind: fault.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			c, schedules, handle := aClient(t), &mocks.ScheduleClient{}, &mocks.ScheduleHandle{}
			c.On("ScheduleClient").Return(schedules)
			schedules.On("Create", mock.Anything, mock.MatchedBy(func(o client.ScheduleOptions) bool {
				return o.ID == "reconcile" && o.CatchupWindow == time.Minute && o.Overlap == enums.SCHEDULE_OVERLAP_POLICY_SKIP
			})).Return(nil, tt.created).Once()
			if tt.updates {
				schedules.On("GetHandle", mock.Anything, "reconcile").Return(handle)
				handle.On("Update", mock.Anything, mock.Anything).Return(func(_ context.Context, o client.ScheduleUpdateOptions) error {
					var have client.ScheduleUpdateInput
					have.Description.Schedule.Policy = &client.SchedulePolicies{CatchupWindow: time.Hour, Overlap: enums.SCHEDULE_OVERLAP_POLICY_SKIP}
					have.Description.Schedule.State = &client.ScheduleState{Paused: true}
					update, err := o.DoUpdate(have)
					require.NoError(t, err)
					require.Equal(t, every, update.Schedule.Spec.Intervals)
					require.Equal(t, time.Minute, update.Schedule.Policy.CatchupWindow)
					require.True(t, update.Schedule.State.Paused, "an operator has paused it")
					return tt.updated
				}).Once()
			}
			err := New(c, "default").EnsureReconcile(t.Context(), time.Minute)
			if tt.kind == "" {
				require.NoError(t, err)
			} else {
				require.Equal(t, tt.kind, fault.KindOf(err))
			}
			schedules.AssertExpectations(t)
			handle.AssertExpectations(t)
		})
	}
}
