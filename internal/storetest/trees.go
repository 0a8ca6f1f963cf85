package storetest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/money"
	"agentmarket/product"
)

var treeTests = []testCase{
	{"a child joins the tree of its parent", func(t *testing.T, s Stores) {
		c := newCrowd(t, s, product.Limit{})
		root := c.planned(t, "key_a", nil)
		_, err := c.tryChild(t, c.buyer.ID, root.ID)
		requireFault(t, err, fault.Conflict, "run_not_started")
		c.begins(t, root.ID)
		child := c.child(t, root.ID)
		require.Equal(t, product.Origin{Kind: product.OriginChild, ParentID: root.ID, RootID: root.ID, Depth: 1}, child.Origin)
		c.begins(t, child.ID)
		grandchild := c.child(t, child.ID)
		require.Equal(t, root.ID, grandchild.Origin.RootID)
		require.Equal(t, 2, grandchild.Origin.Depth)
		last := grandchild
		for range product.MaxTreeDepth - 2 {
			c.begins(t, last.ID)
			last = c.child(t, last.ID)
		}
		c.begins(t, last.ID)
		_, err = c.tryChild(t, c.buyer.ID, last.ID)
		requireFault(t, err, fault.Conflict, "tree_too_deep")
		_, err = c.tryChild(t, c.publisher.ID, root.ID)
		requireFault(t, err, fault.NotFound, "parent_not_found")
		_, err = c.tryChild(t, c.buyer.ID, "run_none")
		requireFault(t, err, fault.NotFound, "parent_not_found")
		for n := product.MaxTreeDepth; n < product.MaxTreeRuns; n++ {
			c.child(t, root.ID)
		}
		_, err = c.tryChild(t, c.buyer.ID, root.ID)
		requireFault(t, err, fault.Conflict, "tree_too_large")
		c.ends(t, root.ID)
		_, err = c.tryChild(t, c.buyer.ID, root.ID)
		requireFault(t, err, fault.Conflict, "run_ended")
	}},
	{"a tree costs no more than the budget of its root", func(t *testing.T, s Stores) {
		c := crowd{market: bought(t, s, 100_000, perRun(1_000))}
		root := c.planned(t, "key_a", func(r *product.Run) { r.Request.MaxCost = usd(2_500) })
		c.begins(t, root.ID)
		child, second := c.child(t, root.ID), c.child(t, root.ID)
		c.begins(t, child.ID)
		_, err := c.begin(t, second.ID)
		requireFault(t, err, fault.PaymentRequired, "tree_budget_reached")
		// A child that the platform failed costs nothing, and makes room.
		_, _, err = c.Marketplace.SettleRun(t.Context(), child.ID, start, func(r *product.Run) ([]*product.Event, error) {
			return []*product.Event{r.Settle(product.ReasonPlatformError, "", start)}, nil
		}, bill)
		require.NoError(t, err)
		c.begins(t, second.ID)
	}},
}

func (c crowd) tryChild(t *testing.T, org ids.Org, parent ids.Run) (product.Run, error) {
	w := world{Stores: c.Stores, org: c.buyer, agent: c.agent, version: c.version}
	r := w.queued(start)
	r.OrgID, r.Origin = org, product.Origin{Kind: product.OriginChild, ParentID: parent}
	run, _, err := c.Runs.CreateRun(t.Context(), r, []byte(`{}`), nil)
	return run, err
}

func (c crowd) child(t *testing.T, parent ids.Run) product.Run {
	t.Helper()
	run, err := c.tryChild(t, c.buyer.ID, parent)
	require.NoError(t, err)
	_, err = c.Runs.UpdateRun(t.Context(), run.ID, func(r *product.Run) ([]*product.Event, error) {
		return []*product.Event{r.Planned(product.Plan{AgentID: c.agent.ID, PublisherID: c.publisher.ID, Budget: money.Amount{}, ResolvedAt: start}, start)}, nil
	})
	require.NoError(t, err)
	return run
}
