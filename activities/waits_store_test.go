package activities_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/activities"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// started is a run of the buyer, as the API stores it.
func (s shop) started(t *testing.T, origin product.Origin) product.Run {
	t.Helper()
	run, _, err := s.Product.Runs.CreateRun(t.Context(), product.Run{
		ID: ids.New[ids.Run](ids.PrefixRun), OrgID: s.buyer.ID, KeyID: "key_1", AgentID: s.agent.ID, Agent: s.agent.FullName(),
		VersionID: s.version.ID, Version: s.version.Number, Image: s.version.Image, Status: product.StatusQueued,
		Origin: origin, CreatedAt: now, QueueDeadline: now.Add(time.Hour),
	}, []byte(`{}`), nil)
	require.NoError(t, err)
	return run
}

func TestARunIsApprovedOnce(t *testing.T) {
	s := openShop(t, marketplace.SourceGrant, marketplace.Limits{})
	run := s.started(t, product.Origin{})
	_, err := s.Product.Runs.UpdateRun(t.Context(), run.ID, func(r *product.Run) ([]*product.Event, error) {
		return []*product.Event{r.Planned(product.Plan{Version: "1.0.0", Approval: "it writes"}, now)}, nil
	})
	require.NoError(t, err)
	in := activities.AwaitApprovalInput{RunID: run.ID}
	for range 2 { // activities are repeated after their transaction was stored
		state, err := s.AwaitApproval(t.Context(), in)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(activities.ApprovalState{Deadline: now.Add(product.ApprovalTimeout)}, state))
	}
	for _, approve := range []bool{true, true, false} {
		require.NoError(t, s.RecordDecision(t.Context(), activities.RecordDecisionInput{RunID: run.ID, Approve: approve, By: "ann"}))
	}
	state, err := s.AwaitApproval(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, product.DecisionApproved, state.Decision)
	events, err := s.Product.Runs.Events(t.Context(), run.ID, 0, 100)
	require.NoError(t, err)
	var types []product.EventType
	for _, e := range events {
		types = append(types, e.Type)
	}
	require.Equal(t, []product.EventType{
		product.EventCreated, product.EventPlanned, product.EventApprovalRequested, product.EventApproved,
	}, types)
}

// canceler takes note of whom it was told to cancel.
type canceler struct{ told []ids.Run }

func (c *canceler) CancelRun(_ context.Context, run product.Run) error {
	c.told = append(c.told, run.ID)
	return nil
}

func TestAnEndedRunTakesItsChildrenAlong(t *testing.T) {
	s := openShop(t, marketplace.SourceGrant, marketplace.Limits{})
	engine := &canceler{}
	s.Canceler = engine
	parent := s.started(t, product.Origin{})
	_, err := s.Product.Runs.UpdateRun(t.Context(), parent.ID, func(r *product.Run) ([]*product.Event, error) {
		event, err := r.BeginAttempt(1, now)
		return []*product.Event{event}, err
	})
	require.NoError(t, err)
	child := s.started(t, product.Origin{Kind: product.OriginChild, ParentID: parent.ID, RootID: parent.ID, Depth: 1})
	ended := s.started(t, product.Origin{Kind: product.OriginChild, ParentID: parent.ID, RootID: parent.ID, Depth: 1})
	_, err = s.SettleRun(t.Context(), activities.SettleRunInput{RunID: ended.ID, Reason: product.ReasonPlanInvalid})
	require.NoError(t, err)
	s.started(t, product.Origin{}) // of somebody else

	for range 2 {
		require.NoError(t, s.CancelChildren(t.Context(), activities.CancelChildrenInput{RunID: parent.ID}))
	}
	require.Equal(t, []ids.Run{child.ID, child.ID}, engine.told)
	got, err := s.Product.Runs.Run(t.Context(), child.ID)
	require.NoError(t, err)
	require.Equal(t, product.StatusCanceling, got.Status)
	require.Equal(t, "parent run "+string(parent.ID), got.Cancel.RequestedBy)
	due, err := s.Product.Runs.ClaimDispatch(t.Context(), now.Add(time.Hour), time.Second, 100)
	require.NoError(t, err)
	for _, run := range due {
		require.NotEqual(t, child.ID, run.ID, "the engine knows all of it")
	}
}
