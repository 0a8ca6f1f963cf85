package activities_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/activities"
	"agentmarket/ids"
	"agentmarket/launch"
	"agentmarket/marketplace"
	"agentmarket/money"
	"agentmarket/product"
	"agentmarket/store"
)

// TestScheduledRunsOnARealStore: a person's schedule starts paid runs by the rules
// of launch, one for each time, until its budget of the month is used up, and is
// paused when she leaves.
func TestScheduledRunsOnARealStore(t *testing.T) {
	s := openShop(t, marketplace.SourcePurchase, marketplace.Limits{})
	runs, agents := s.Product.Runs.(*store.Runs), s.Product.Agents.(*store.Agents)
	control := s.Product.Policies.(*store.Product)
	clock := func() time.Time { return now }
	owner, err := marketplace.NewUser("owner@example.com", "Owner", now)
	require.NoError(t, err)
	ada, err := marketplace.NewUser("ada@example.com", "Ada", now)
	require.NoError(t, err)
	for user, role := range map[marketplace.User]marketplace.Role{owner: marketplace.RoleOwner, ada: marketplace.RoleMember} {
		_, err := s.market.AddMember(t.Context(), tests, marketplace.Member{OrgID: s.buyer.ID, User: user, Role: role, JoinedAt: now})
		require.NoError(t, err)
	}
	schedules := &activities.Schedules{
		Store: control, People: s.market, Runs: runs, Now: clock,
		Launcher: &launch.Launcher{
			Market: s.market, Agents: agents, Channels: agents, Runs: runs, Control: control,
			Limits: product.DefaultLimits(), Policy: marketplace.DefaultPolicy(), Now: clock,
		},
	}
	plan := product.Schedule{
		ID: ids.New[ids.Schedule](ids.PrefixSchedule), OrgID: s.buyer.ID, UserID: ada.ID, Name: "Nightly",
		AgentID: s.agent.ID, Agent: s.agent.FullName(), Input: []byte(`{}`), Cron: "@daily", Overlap: product.OverlapAllow,
		Budget: money.Of(700_000, "USD"), CreatedAt: now, UpdatedAt: now,
	}
	require.NoError(t, control.CreateSchedule(t.Context(), tests, plan))
	start := func(hour int) activities.StartedRun {
		got, err := schedules.StartScheduledRun(t.Context(), activities.StartScheduledRunInput{
			ScheduleID: plan.ID, ScheduledAt: now.Add(time.Duration(hour) * time.Hour),
		})
		require.NoError(t, err)
		return got
	}

	first := start(1)
	require.False(t, first.Skipped, first.Reason)
	require.Equal(t, first, start(1), "one run for each time")
	run, err := runs.Run(t.Context(), first.RunID)
	require.NoError(t, err)
	require.Equal(t, product.Origin{Kind: product.OriginSchedule, ScheduleID: plan.ID}, run.Origin)
	require.Equal(t, ada.ID, run.UserID)
	require.Equal(t, money.Of(300_000, "USD"), run.Request.MaxCost, "30 seconds at 0.01 USD")
	require.NoError(t, schedules.MarkDispatched(t.Context(), activities.ScheduledRun{RunID: run.ID}))
	due, err := runs.ClaimDispatch(t.Context(), now.Add(time.Hour), time.Minute, 10)
	require.NoError(t, err)
	require.Empty(t, due)

	require.False(t, start(2).Skipped)
	third := start(3)
	require.Equal(t, product.CodeScheduleBudget, third.Code)
	stored, err := control.Schedule(t.Context(), plan.ID)
	require.NoError(t, err)
	require.Equal(t, &product.Skip{ScheduledAt: now.Add(3 * time.Hour), At: now, Code: third.Code, Reason: third.Reason}, stored.LastSkip)
	require.Equal(t, int64(1), stored.Revision)
	micros, err := control.ScheduleSpend(t.Context(), plan.ID, product.BudgetMonth(now))
	require.NoError(t, err)
	require.Equal(t, int64(600_000), micros)

	require.NoError(t, s.market.RemoveMember(t.Context(), tests, s.buyer.ID, ada.ID, now))
	require.True(t, start(4).Skipped)
	stored, err = control.Schedule(t.Context(), plan.ID)
	require.NoError(t, err)
	require.True(t, stored.Paused)
	require.Contains(t, stored.PauseReason, "no member")
	require.Equal(t, first, start(1), "what was started stays")
	found, err := runs.Runs(t.Context(), s.buyer.ID, product.RunQuery{ScheduleID: plan.ID})
	require.NoError(t, err)
	require.Len(t, found, 2)
}
