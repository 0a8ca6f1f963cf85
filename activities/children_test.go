package activities

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
)

func aChild(id ids.Run, status product.Status) product.Run {
	return product.Run{ID: id, OrgID: "org_1", Status: status, Origin: product.Origin{ParentID: runID}}
}

func TestSettleRunSaysWhetherChildrenGoOn(t *testing.T) {
	done, going := aChild("run_a", product.StatusSucceeded), aChild("run_b", product.StatusWaitingApproval)
	for _, tt := range []struct {
		name     string
		run      product.Run
		children []product.Run
		err      error
		want     bool
	}{
		{"none", running(), nil, nil, false},
		{"ended", running(), []product.Run{done}, nil, false},
		{"one goes on", running(), []product.Run{done, going}, nil, true},
		{"nobody knows", running(), nil, fault.New(fault.Unavailable, "", "away"), true},
		{"a run that never ran has none", queuedRun(), []product.Run{going}, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, _, _, o := aCrowd(tt.run)
			o.children, o.err = tt.children, tt.err
			got, err := p.SettleRun(t.Context(), SettleRunInput{RunID: runID, Reason: product.ReasonCanceled})
			require.NoError(t, err)
			require.Equal(t, tt.want, got.HasChildren)
		})
	}
}

func TestCancelChildren(t *testing.T) {
	p, store, _, o := aCrowd(running())
	asked := &product.Cancel{RequestedBy: "key_1", Reason: "enough", SignaledAt: now}
	canceling := aChild("run_c", product.StatusCanceling)
	canceling.Cancel = asked
	o.children = []product.Run{aChild("run_a", product.StatusRunning), aChild("run_b", product.StatusFailed), canceling}
	for _, child := range o.children {
		store.byID[child.ID] = child
	}
	require.NoError(t, p.CancelChildren(t.Context(), CancelChildrenInput{RunID: runID}))
	require.Equal(t, []string{"cancel run_a", "cancel run_c"}, o.said)
	require.Equal(t, []ids.Run{"run_a", "run_c"}, store.dispatched)
	want := &product.Cancel{RequestedBy: "parent run " + string(runID), Reason: "the run that started it has ended", SignaledAt: now}
	require.Empty(t, cmp.Diff(want, store.byID["run_a"].Cancel))
	require.Empty(t, cmp.Diff(asked, store.byID["run_c"].Cancel), "the first request stands")
	require.Equal(t, product.StatusFailed, store.byID["run_b"].Status)
}

func TestCancelChildrenLeavesTheEngineToTheRelay(t *testing.T) {
	for _, kind := range []fault.Kind{fault.NotFound, fault.Unavailable} {
		p, store, _, o := aCrowd(running())
		o.children, o.signal = []product.Run{aChild("run_a", product.StatusQueued)}, fault.New(kind, "", "")
		store.byID["run_a"] = o.children[0]
		require.NoError(t, p.CancelChildren(t.Context(), CancelChildrenInput{RunID: runID}))
		require.Equal(t, product.StatusCanceling, store.byID["run_a"].Status)
		require.Empty(t, store.dispatched, "it stays due")
	}
}

func TestCancelChildrenThatEndMeanwhile(t *testing.T) {
	p, store, _, o := aCrowd(running())
	o.children = []product.Run{aChild("run_a", product.StatusRunning)}
	store.byID["run_a"] = o.children[0]
	store.rival = func(r *product.Run) { r.Status = product.StatusSucceeded }
	require.NoError(t, p.CancelChildren(t.Context(), CancelChildrenInput{RunID: runID}))
	require.Empty(t, o.said)
	require.Nil(t, store.byID["run_a"].Cancel)
}

func TestCancelChildrenFails(t *testing.T) {
	away := fault.New(fault.Unavailable, "", "away")
	p, store, _, o := aCrowd(running())
	o.err = away
	requireKind(t, p.CancelChildren(t.Context(), CancelChildrenInput{RunID: runID}), fault.Unavailable)
	o.err, store.err = nil, away
	o.children = []product.Run{aChild("run_a", product.StatusRunning)}
	requireKind(t, p.CancelChildren(t.Context(), CancelChildrenInput{RunID: runID}), fault.Unavailable)
}

func TestCancelChildrenOfManyPages(t *testing.T) {
	p, store, _, o := aCrowd(running())
	for i := range product.MaxTreeRuns + 1 {
		child := aChild(ids.Run(fmt.Sprintf("run_%03d", i)), product.StatusQueued)
		o.children = append(o.children, child)
		store.byID[child.ID] = child
	}
	require.NoError(t, p.CancelChildren(t.Context(), CancelChildrenInput{RunID: runID}))
	require.Len(t, o.said, product.MaxTreeRuns+1)
	require.Equal(t, []ids.Run{"", "run_099"}, o.pages)
}
