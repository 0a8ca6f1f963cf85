package activities_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/activities"
	"agentmarket/agentruntime"
	"agentmarket/audit"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/money"
	"agentmarket/product"
	"agentmarket/store"
)

// shop is layers 1 and 2 on a real store: a publisher, a buyer with 1 USD, and
// an agent at 0.01 USD a second, of which a run takes 30 seconds at most.
type shop struct {
	*activities.Marketplace
	*activities.Product
	market           *store.Marketplace
	publisher, buyer marketplace.Organization
	agent            product.Agent
	version          product.Version
}

var (
	now   = time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)
	tests = audit.System("tests")
)

func openShop(t *testing.T, source marketplace.Source, limits marketplace.Limits) shop {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{URL: "sqlite://" + t.TempDir() + "/store.db"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	require.NoError(t, db.Migrate(t.Context()))
	s := shop{market: db.Marketplace()}
	clock := func() time.Time { return now }
	policy := marketplace.DefaultPolicy()
	s.Marketplace = &activities.Marketplace{
		Store: s.market, Runs: db.Runs(), Agents: db.Agents(), Limits: product.DefaultLimits(), Policy: policy, Now: clock,
	}
	s.Product = &activities.Product{
		Runs: db.Runs(), Agents: db.Agents(), Names: db.Agents(), Policies: db.Product(), Bodies: db.Runs(), Settlements: s.market,
		Limits: product.DefaultLimits(), Policy: policy, Now: clock,
	}
	s.publisher, s.buyer = s.organization(t, "acme"), s.organization(t, "buyer")
	s.publish(t)
	right := marketplace.NewEntitlement(s.buyer.ID, s.agent.ID, source, now)
	right.Limits = limits
	require.NoError(t, s.market.Entitle(t.Context(), tests, right))
	credit, err := marketplace.CreditMoney(s.buyer.ID, money.Of(money.Unit, "USD"), "for the test", now)
	require.NoError(t, err)
	_, _, err = s.market.Post(t.Context(), tests, credit, nil)
	require.NoError(t, err)
	return s
}

func (s shop) organization(t *testing.T, name string) marketplace.Organization {
	t.Helper()
	org, err := marketplace.NewOrganization(name, now)
	require.NoError(t, err)
	require.NoError(t, s.market.CreateOrganization(t.Context(), tests, org))
	return org
}

func (s *shop) publish(t *testing.T) {
	t.Helper()
	manifest := agentruntime.Manifest{
		APIVersion: agentruntime.APIVersion, Name: "greeter", Version: "1.0.0", Command: []string{"/agent"},
		Resources: agentruntime.DefaultResources(), Timeouts: agentruntime.DefaultTimeouts(),
	}
	manifest.Timeouts.RunSeconds = 30
	version, err := product.NewVersion("", manifest, "registry.test/a@sha256:"+"5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e", now)
	require.NoError(t, err)
	agent := product.Agent{
		ID: ids.New[ids.Agent](ids.PrefixAgent), OrgID: s.publisher.ID, Publisher: s.publisher.Name, Name: "greeter",
		CreatedAt: now, UpdatedAt: now,
	}
	s.agent, s.version, _, err = s.Product.Agents.AddVersion(t.Context(), tests, agent, version)
	require.NoError(t, err)
	require.NoError(t, s.market.SetPrice(t.Context(), tests, marketplace.Price{
		ID: ids.New[ids.Price](ids.PrefixPrice), AgentID: s.agent.ID, Currency: "USD", Model: marketplace.ModelPerSecond,
		PerSecond: 10_000, FailedRuns: marketplace.FailedRunsFree, EffectiveFrom: now, CreatedAt: now,
	}, func([]marketplace.Price) error { return nil }))
}

// order starts a run, up to its slot.
func (s shop) order(t *testing.T, most money.Amount) activities.AttemptRef {
	t.Helper()
	run, _, err := s.Product.Runs.CreateRun(t.Context(), product.Run{
		ID: ids.New[ids.Run](ids.PrefixRun), OrgID: s.buyer.ID, KeyID: "key_1", AgentID: s.agent.ID, Agent: s.agent.FullName(),
		VersionID: s.version.ID, Version: s.version.Number, Image: s.version.Image, Status: product.StatusQueued,
		Request: product.Request{MaxCost: most}, CreatedAt: now, QueueDeadline: now.Add(time.Hour),
	}, []byte(`{}`), nil)
	require.NoError(t, err)
	right, err := s.CheckEntitlement(t.Context(), activities.CheckEntitlementInput{OrgID: s.buyer.ID, AgentID: s.agent.ID, RunID: run.ID})
	require.NoError(t, err)
	_, err = s.ResolvePlan(t.Context(), activities.ResolvePlanInput{
		RunID: run.ID, EntitlementID: right.EntitlementID, PriceID: right.PriceID,
		BudgetMicros: right.BudgetMicros, Currency: right.Currency, Affordable: right.Affordable,
	})
	require.NoError(t, err)
	return activities.AttemptRef{RunID: run.ID, Attempt: 1}
}

// ends tells the record that the attempt ran for so long.
func (s shop) ends(t *testing.T, ref activities.AttemptRef, reason product.Reason, ran time.Duration) {
	t.Helper()
	_, err := s.Product.Runs.UpdateRun(t.Context(), ref.RunID, func(r *product.Run) ([]*product.Event, error) {
		return []*product.Event{
			r.AttemptStarted(ref.Attempt, now),
			r.AttemptEnded(ref.Attempt, product.End{Reason: reason, FinishedAt: now.Add(ran)}, now),
		}, nil
	})
	require.NoError(t, err)
}

// balances are those of wallet, held and earnings, in micros.
func (s shop) balances(t *testing.T, org ids.Org) (list []int64) {
	t.Helper()
	accounts, err := s.market.Accounts(t.Context(), org)
	require.NoError(t, err)
	for _, kind := range []marketplace.AccountKind{marketplace.AccountWallet, marketplace.AccountHeld, marketplace.AccountEarnings} {
		for _, a := range accounts {
			if a.Kind == kind {
				list = append(list, a.Balance.Micros)
			}
		}
	}
	return list
}

func TestARunIsPaidForOnce(t *testing.T) {
	s := openShop(t, marketplace.SourcePurchase, marketplace.Limits{})
	ref := s.order(t, money.Of(200_000, "USD"))
	run, err := s.Product.Runs.Run(t.Context(), ref.RunID)
	require.NoError(t, err)
	require.Equal(t, 20*time.Second, run.Plan.Deadlines.Run, "what the budget pays for")
	require.True(t, run.Plan.BudgetBound)
	require.Equal(t, []int64{1_000_000, 0, 0}, s.balances(t, s.buyer.ID), "a check takes nothing")

	for range 2 { // activities are repeated after their transaction was stored
		slot, err := s.AcquireSlot(t.Context(), ref)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(activities.Slot{Granted: true}, slot))
		require.Equal(t, []int64{800_000, 200_000, 0}, s.balances(t, s.buyer.ID))
	}
	s.ends(t, ref, product.ReasonOK, 4500*time.Millisecond)
	for range 2 {
		end, err := s.SettleRun(t.Context(), activities.SettleRunInput{RunID: ref.RunID, Reason: product.ReasonOK})
		require.NoError(t, err)
		require.Equal(t, product.StatusSucceeded, end.Status)
		require.Equal(t, []int64{950_000, 0, 0}, s.balances(t, s.buyer.ID), "five begun seconds")
		require.Equal(t, []int64{0, 0, 40_000}, s.balances(t, s.publisher.ID), "the platform keeps a fifth")
	}
	run, err = s.Product.Runs.Run(t.Context(), ref.RunID)
	require.NoError(t, err)
	require.Equal(t, money.Of(50_000, "USD"), run.Cost)
}

func TestWhatThePlatformBreaksIsGivenBack(t *testing.T) {
	s := openShop(t, marketplace.SourcePurchase, marketplace.Limits{})
	ref := s.order(t, money.Amount{})
	slot, err := s.AcquireSlot(t.Context(), ref)
	require.NoError(t, err)
	require.True(t, slot.Granted)
	require.Equal(t, []int64{700_000, 300_000, 0}, s.balances(t, s.buyer.ID))
	s.ends(t, ref, "node_lost", 10*time.Second)
	_, err = s.SettleRun(t.Context(), activities.SettleRunInput{RunID: ref.RunID, Reason: "node_lost"})
	require.NoError(t, err)
	require.Equal(t, []int64{1_000_000, 0, 0}, s.balances(t, s.buyer.ID))
}

// TestTheRaceForTheLastRun: both pass the check, and the slot decides.
func TestTheRaceForTheLastRun(t *testing.T) {
	for _, tt := range []struct {
		name   string
		source marketplace.Source
		limits marketplace.Limits
		runs   int
		kind   string
		code   string
	}{
		{"of a trial", marketplace.SourceTrial, marketplace.Limits{Runs: 1}, 2, "payment_required", marketplace.CodeTrialExhausted},
		{"of the month", marketplace.SourcePurchase, marketplace.Limits{RunsPerMonth: 1}, 2, "forbidden", marketplace.CodeRunLimitReached},
		{"at once", marketplace.SourcePurchase, marketplace.Limits{Concurrent: 1}, 2, "forbidden", marketplace.CodeConcurrencyReached},
		{"that the money pays for", marketplace.SourcePurchase, marketplace.Limits{}, 4, "payment_required", marketplace.CodeInsufficientFunds},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := openShop(t, tt.source, tt.limits)
			var refs []activities.AttemptRef
			for range tt.runs {
				refs = append(refs, s.order(t, money.Amount{}))
			}
			last := len(refs) - 1
			for _, ref := range refs[:last] {
				slot, err := s.AcquireSlot(t.Context(), ref)
				require.NoError(t, err)
				require.True(t, slot.Granted)
			}
			before := s.balances(t, s.buyer.ID)
			slot, err := s.AcquireSlot(t.Context(), refs[last])
			require.NoError(t, err)
			require.False(t, slot.Granted)
			require.Equal(t, tt.kind, slot.DeniedKind)
			require.Equal(t, tt.code, slot.DeniedCode)
			require.Equal(t, before, s.balances(t, s.buyer.ID))

			_, err = s.SettleRun(t.Context(), activities.SettleRunInput{
				RunID: refs[last].RunID, Reason: product.ReasonPaymentRequired, Message: slot.DeniedMessage,
			})
			require.NoError(t, err)
			run, err := s.Product.Runs.Run(t.Context(), refs[last].RunID)
			require.NoError(t, err)
			require.Equal(t, product.StatusRejected, run.Status)
			require.Empty(t, run.Attempts)
			require.Equal(t, before, s.balances(t, s.buyer.ID), "nothing was held for it")
		})
	}
}

// TestARunMustBePaidForAsLongAsItMayRun: both runs were planned under the last run
// of a trial, without a price. The one that falls through to the purchase must not
// run for half a minute on a budget that pays for a second.
func TestARunMustBePaidForAsLongAsItMayRun(t *testing.T) {
	s := openShop(t, marketplace.SourceTrial, marketplace.Limits{Runs: 1})
	purchase := marketplace.NewEntitlement(s.buyer.ID, s.agent.ID, marketplace.SourcePurchase, now)
	require.NoError(t, s.market.Entitle(t.Context(), tests, purchase))
	second := money.Of(10_000, "USD")
	first, last := s.order(t, second), s.order(t, second)
	slot, err := s.AcquireSlot(t.Context(), first)
	require.NoError(t, err)
	require.True(t, slot.Granted)

	slot, err = s.AcquireSlot(t.Context(), last)
	require.NoError(t, err)
	require.False(t, slot.Granted)
	require.Equal(t, marketplace.CodeBudgetTooLow, slot.DeniedCode)
	require.Equal(t, []int64{1_000_000, 0, 0}, s.balances(t, s.buyer.ID), "nothing was held for it")
}
