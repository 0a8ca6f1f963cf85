package conductor

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
	"agentmarket/workflows"
)

// rolloutStore has rollouts that are due; what a test does not fake panics.
type rolloutStore struct {
	product.RolloutStore
	due     []product.Rollout
	told    []ids.Rollout
	err     error // of DueRollouts
	toldErr error
}

func (s *rolloutStore) DueRollouts(_ context.Context, at time.Time, lease time.Duration, limit int) ([]product.Rollout, error) {
	if !at.Equal(now) || lease != relayLease || limit != relayBatch {
		return nil, errors.New("asked with other values")
	}
	return s.due, s.err
}

func (s *rolloutStore) RolloutDispatched(_ context.Context, seen product.Rollout) error {
	s.told = append(s.told, seen.ID)
	return s.toldErr
}

var aRollout = product.Rollout{
	ID: "rol_1", AgentID: "agt_1", Channel: "stable", From: "1.0.0", To: "2.0.0", Status: product.RolloutRunning,
}

func TestStartRollout(t *testing.T) {
	for name, tt := range map[string]struct {
		answer error
		want   fault.Kind
	}{
		"started":     {nil, ""},
		"ended":       {serviceerror.NewWorkflowExecutionAlreadyStarted("ended", "", ""), ""},
		"no Temporal": {serviceerror.NewUnavailable("down"), fault.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			c := aClient(t)
			var got client.StartWorkflowOptions
			c.On("ExecuteWorkflow", mock.Anything, mock.Anything, mock.Anything, workflows.RolloutInput{RolloutID: "rol_1"}).
				Run(func(args mock.Arguments) { got = args.Get(1).(client.StartWorkflowOptions) }).Return(nil, tt.answer).Once()
			err := New(c, "default").StartRollout(t.Context(), aRollout)
			require.Equal(t, tt.want == "", err == nil)
			if err != nil {
				require.Equal(t, tt.want, fault.KindOf(err))
			}
			require.Equal(t, []any{"rol_1", "product", "rollout of 2.0.0 on stable"}, []any{got.ID, got.TaskQueue, got.StaticSummary})
			require.Equal(t, enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY, got.WorkflowIDReusePolicy)
			require.Equal(t, enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING, got.WorkflowIDConflictPolicy)
		})
	}
}

func TestRolloutOutbox(t *testing.T) {
	changed, ended := aRollout, aRollout
	changed.Revision = 1
	ended.Revision, ended.Status = 2, product.RolloutRolledBack
	down, gone := serviceerror.NewUnavailable("down"), serviceerror.NewNotFound("gone")
	all := []ids.Rollout{"rol_1"}
	for _, tt := range []struct {
		name           string
		rollout        product.Rollout
		starts, signal []error // answers of Temporal
		store          rolloutStore
		told           []ids.Rollout
		want           fault.Kind
	}{
		{name: "a new one is started", rollout: aRollout, starts: []error{nil}, told: all},
		{name: "a change is told, to a workflow that may be new", rollout: changed, starts: []error{nil}, signal: []error{nil}, told: all},
		{name: "an end is told", rollout: ended, signal: []error{nil}, told: all},
		{name: "an end that nobody waits for", rollout: ended, signal: []error{gone}, told: all},
		{name: "Temporal is away: it stays due", rollout: changed, starts: []error{nil}, signal: []error{down}, want: fault.Unavailable},
		{name: "Temporal is away at the start", rollout: aRollout, starts: []error{down}, want: fault.Unavailable},
		{name: "the store is away", store: rolloutStore{err: away}, want: fault.Unavailable},
		{name: "the store is away when it was told", rollout: aRollout, starts: []error{nil}, store: rolloutStore{toldErr: away}, told: all, want: fault.Unavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := aClient(t)
			for _, answer := range tt.starts {
				c.On("ExecuteWorkflow", mock.Anything, mock.Anything, mock.Anything, mock.Anything).Return(nil, answer).Once()
			}
			for _, answer := range tt.signal {
				c.On("SignalWorkflow", mock.Anything, "rol_1", "", workflows.SignalRolloutChanged, nil).Return(answer).Once()
			}
			tt.store.due = []product.Rollout{tt.rollout}
			_, err := RolloutOutbox(New(c, "default"), &tt.store, slog.New(slog.DiscardHandler))(t.Context(), now)
			require.Equal(t, tt.want == "", err == nil, err)
			if err != nil {
				require.Equal(t, tt.want, fault.KindOf(err))
			}
			require.Equal(t, tt.told, tt.store.told)
		})
	}
}
