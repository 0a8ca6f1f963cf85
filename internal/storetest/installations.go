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
	"agentmarket/product"
)

// install changes the buyer's installation, or a new one.
func (m market) install(t *testing.T, at time.Time, change func(*marketplace.Installation) error) marketplace.Installation {
	t.Helper()
	i, err := m.Marketplace.UpdateInstallation(t.Context(), actor, m.buyer.ID, m.agent.ID, at, change)
	require.NoError(t, err)
	return i
}

func keep(*marketplace.Installation) error { return nil }

var installationTests = []testCase{
	{"a new one follows the stable channel", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		_, err := s.Marketplace.Installation(t.Context(), m.buyer.ID, m.agent.ID)
		requireFault(t, err, fault.NotFound, "installation_not_found")
		want := marketplace.NewInstallation(m.buyer.ID, m.agent.ID, stored(start))
		requireSame(t, want, m.install(t, start, keep))
		got, err := s.Marketplace.Installation(t.Context(), m.buyer.ID, m.agent.ID)
		require.NoError(t, err)
		requireSame(t, want, got)
	}},
	{"everything in it is stored, whose it is does not change", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		m.install(t, start, keep)
		full := marketplace.Installation{
			OrgID: m.publisher.ID, AgentID: "agt_other", Channel: "beta", VersionID: "ver_x", Version: "1.2.3",
			Consented: product.Permissions{
				Tools: []string{"a", "b"}, Models: []string{"m"}, Secrets: []string{"C"}, SecretFiles: []string{"D"}, Egress: []string{"*.example.com:443"},
				CPUMillis: 2, MemoryMiB: 3, DiskMiB: 5, RunSeconds: 7,
			},
			ConsentedAt: after(time.Minute), ConsentedBy: "usr_x", CreatedAt: after(time.Hour), UpdatedAt: after(2 * time.Minute),
		}
		want := full
		want.OrgID, want.AgentID, want.CreatedAt = m.buyer.ID, m.agent.ID, stored(start)
		want.ConsentedAt, want.UpdatedAt = stored(full.ConsentedAt), stored(full.UpdatedAt)
		requireSame(t, want, m.install(t, after(time.Hour), func(i *marketplace.Installation) error {
			*i = full
			return nil
		}))
		got, err := s.Marketplace.Installation(t.Context(), m.buyer.ID, m.agent.ID)
		require.NoError(t, err)
		requireSame(t, want, got)
	}},
	{"a change that is refused leaves none behind", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		refusal := errors.New("no")
		_, err := s.Marketplace.UpdateInstallation(t.Context(), actor, m.buyer.ID, m.agent.ID, start,
			func(*marketplace.Installation) error { return refusal })
		require.Equal(t, refusal, err)
		_, err = s.Marketplace.Installation(t.Context(), m.buyer.ID, m.agent.ID)
		requireFault(t, err, fault.NotFound, "installation_not_found")
	}},
	{"many changes at once all count, the first one too", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		var failed atomic.Int32
		together(20, func(int) {
			_, err := s.Marketplace.UpdateInstallation(t.Context(), actor, m.buyer.ID, m.agent.ID, start,
				func(i *marketplace.Installation) error {
					i.Consented.RunSeconds++
					return nil
				})
			if err != nil {
				failed.Add(1)
			}
		})
		require.Zero(t, failed.Load())
		got, err := s.Marketplace.Installation(t.Context(), m.buyer.ID, m.agent.ID)
		require.NoError(t, err)
		require.EqualValues(t, 20, got.Consented.RunSeconds)
	}},
	{"organization and agent must exist", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		for org, agent := range map[ids.Org]ids.Agent{"org_none": m.agent.ID, m.buyer.ID: "agt_none"} {
			_, err := s.Marketplace.UpdateInstallation(t.Context(), actor, org, agent, start, keep)
			requireFault(t, err, fault.NotFound, "")
		}
	}},
	{"those of an organization are listed by agent, in pages", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		second, third := m.another(t, "second"), m.another(t, "third")
		var want []marketplace.Installation
		for _, m := range []market{third, second, m} {
			want = append(want, m.install(t, start, keep))
		}
		list := func(org ids.Org, before ids.Agent, limit int) []marketplace.Installation {
			got, err := s.Marketplace.Installations(t.Context(), org, before, limit)
			require.NoError(t, err)
			return got
		}
		requireSame(t, want, list(m.buyer.ID, "", 0))
		requireSame(t, want[:2], list(m.buyer.ID, "", 2))
		requireSame(t, want[2:], list(m.buyer.ID, second.agent.ID, 2))
		require.Empty(t, list(m.publisher.ID, "", 0))
	}},
	{"the audit log has each change, and none that changes nothing", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		m.install(t, start, keep)
		m.install(t, after(time.Minute), keep)
		m.install(t, after(time.Hour), func(i *marketplace.Installation) error {
			i.Pin(m.version, after(time.Hour))
			return nil
		})
		entries := m.audit(t, m.buyer, string(m.agent.ID))
		require.Len(t, entries, 2)
		for _, e := range entries {
			require.Equal(t, "installation.update", e.Action)
			require.Equal(t, actor, e.Actor)
		}
		require.Nil(t, entries[1].Before)
		require.JSONEq(t, `{"channel": "stable", "consented": {}}`, string(entries[1].After))
		require.JSONEq(t, string(entries[1].After), string(entries[0].Before))
		require.JSONEq(t, `{"version": "1.0.0", "consented": {}}`, string(entries[0].After))
		require.Equal(t, stored(after(time.Hour)), entries[0].At)
	}},
}
