package storetest

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
)

// anEntitlement has a value in every field.
func anEntitlement(m market) marketplace.Entitlement {
	e := marketplace.NewEntitlement(m.buyer.ID, m.agent.ID, marketplace.SourceSubscription, start)
	e.TeamID, e.UserID, e.OrderID, e.GrantID, e.PriceID = "team_x", "usr_x", "ord_x", "gra_x", "prc_x"
	e.Versions, e.Renews = "1.4", true
	e.Limits = marketplace.Limits{RunsPerMonth: 2, Concurrent: 3, Runs: 5, Included: 7}
	e.Usage = marketplace.Usage{Month: "2026-03", Runs: 11, Seconds: 13, Total: 17, Active: 19}
	e.ExpiresAt, e.RevokedAt = after(time.Hour), after(2*time.Hour)
	return e
}

var entitlementTests = []testCase{
	{"what is entitled is listed, newest first, in pages", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		full := anEntitlement(m)
		require.NoError(t, s.Marketplace.Entitle(t.Context(), actor, full))
		second := m.right(t, marketplace.SourcePurchase, nil)
		third := m.another(t, "other").right(t, marketplace.SourceOwnership, nil)
		list := func(before ids.Entitlement, limit int) []marketplace.Entitlement {
			got, err := s.Marketplace.Entitlements(t.Context(), m.buyer.ID, before, limit)
			require.NoError(t, err)
			return got
		}
		requireSame(t, []marketplace.Entitlement{third, second, storedEntitlement(full)}, list("", 0))
		requireSame(t, []marketplace.Entitlement{third, second}, list("", 2))
		requireSame(t, []marketplace.Entitlement{storedEntitlement(full)}, list(second.ID, 2))
		got, err := s.Marketplace.Entitlements(t.Context(), m.publisher.ID, "", 0)
		require.NoError(t, err)
		require.Empty(t, got)
	}},
	{"a right that is had once stays as it is", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		for _, source := range []marketplace.Source{marketplace.SourceOwnership, marketplace.SourceFree, marketplace.SourceTrial} {
			first := m.right(t, source, func(e *marketplace.Entitlement) { e.Limits.Runs = 3 })
			m.right(t, source, func(e *marketplace.Entitlement) { e.Limits.Runs = 5 })
			got := m.claim(t, "", start).Entitlements
			requireSame(t, first, got[0].Entitlement)
		}
		require.Len(t, m.claim(t, "", start).Entitlements, 3)
		for _, source := range []marketplace.Source{marketplace.SourcePurchase, marketplace.SourceSubscription, marketplace.SourceGrant} {
			m.right(t, source, nil)
			m.right(t, source, nil)
		}
		require.Len(t, m.claim(t, "", start).Entitlements, 9)
	}},
	{"many at once leave one", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		var failed atomic.Int32
		together(20, func(int) {
			e := marketplace.NewEntitlement(m.publisher.ID, m.agent.ID, marketplace.SourceOwnership, start)
			if s.Marketplace.Entitle(t.Context(), actor, e) != nil {
				failed.Add(1)
			}
		})
		require.Zero(t, failed.Load())
		got, err := s.Marketplace.Entitlements(t.Context(), m.publisher.ID, "", 0)
		require.NoError(t, err)
		require.Len(t, got, 1)
		require.Len(t, m.audit(t, m.publisher, string(got[0].ID)), 1, "and one entry of the audit log")
	}},
	{"organization and agent must exist", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		for _, e := range []marketplace.Entitlement{
			marketplace.NewEntitlement("org_none", m.agent.ID, marketplace.SourceOwnership, start),
			marketplace.NewEntitlement(m.buyer.ID, "agt_none", marketplace.SourceOwnership, start),
		} {
			requireFault(t, s.Marketplace.Entitle(t.Context(), actor, e), fault.NotFound, "")
		}
	}},
	{"limits, versions and its end can be changed, nothing else", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		before := anEntitlement(m)
		require.NoError(t, s.Marketplace.Entitle(t.Context(), actor, before))
		want := storedEntitlement(before)
		want.Versions, want.Limits, want.Renews = "2", marketplace.Limits{RunsPerMonth: 20, Concurrent: 30, Runs: 50, Included: 70}, false
		want.ExpiresAt, want.RevokedAt = stored(after(3*time.Hour)), time.Time{}
		got, err := s.Marketplace.UpdateEntitlement(t.Context(), actor, m.buyer.ID, before.ID, after(time.Minute),
			func(e *marketplace.Entitlement) error {
				requireSame(t, storedEntitlement(before), *e)
				*e = marketplace.Entitlement{Versions: "2", Limits: want.Limits, ExpiresAt: after(3 * time.Hour)}
				return nil
			})
		require.NoError(t, err)
		requireSame(t, want, got)
		list, err := s.Marketplace.Entitlements(t.Context(), m.buyer.ID, "", 0)
		require.NoError(t, err)
		requireSame(t, []marketplace.Entitlement{want}, list)

		entries := m.audit(t, m.buyer, string(before.ID))
		require.Len(t, entries, 2)
		require.Equal(t, "entitlement.update", entries[0].Action)
		require.Equal(t, stored(after(time.Minute)), entries[0].At)
		require.JSONEq(t, string(entries[1].After), string(entries[0].Before))
		require.NotContains(t, string(entries[0].After), "revoked_at")
		require.Equal(t, "entitlement.create", entries[1].Action)
	}},
	{"a change that changes nothing leaves no trace", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		e := m.right(t, marketplace.SourcePurchase, nil)
		got, err := s.Marketplace.UpdateEntitlement(t.Context(), actor, m.buyer.ID, e.ID, start, func(*marketplace.Entitlement) error { return nil })
		require.NoError(t, err)
		requireSame(t, e, got)
		require.Len(t, m.audit(t, m.buyer, string(e.ID)), 1)
	}},
	{"a change that is refused changes nothing", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		e := m.right(t, marketplace.SourcePurchase, nil)
		refusal := errors.New("no")
		_, err := s.Marketplace.UpdateEntitlement(t.Context(), actor, m.buyer.ID, e.ID, start, func(e *marketplace.Entitlement) error {
			e.Versions = "1"
			return refusal
		})
		require.Equal(t, refusal, err)
		requireSame(t, e, m.claim(t, "", start).Entitlements[0].Entitlement)
	}},
	{"only a right of the organization can be changed", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		e := m.right(t, marketplace.SourcePurchase, nil)
		for org, id := range map[ids.Org]ids.Entitlement{m.publisher.ID: e.ID, m.buyer.ID: "ent_none"} {
			_, err := s.Marketplace.UpdateEntitlement(t.Context(), actor, org, id, start, func(*marketplace.Entitlement) error { return nil })
			requireFault(t, err, fault.NotFound, "entitlement_not_found")
		}
	}},
}
